"""Plugins of a test's own: what `automl-car plugins check` says of their records."""

from __future__ import annotations

from pathlib import Path

import pytest

from automl_car.catalog.records import PluginSources
from automl_car.checking import Broken, Checked, check_plugins
from automl_car.contract import check_plugin_file
from automl_car.errors import PluginError


def check_text(text: str, folder: Path) -> Checked:
    """What a check finds in a plugin with this text."""
    (folder / "many.py").write_text(text)
    (checked,) = check_plugins(PluginSources(folder, time_limit=60))
    return checked


def broken_rules(checked: Checked, record: str) -> list[Broken]:
    """Those that one record of the plugin breaks."""
    return [broken for broken in checked.broken if broken.record == record]


def refuses_record(record: str, words: str, folder: Path, *, kind: str, hook: str) -> None:
    """A plugin whose hook returns this record alone is refused with these words.

    Args:
        record: an expression in Python.
        kind: of record that the hook is for.
    """
    path = folder / "mine.py"
    head = f"from automl_car import {kind}, Setting, hookimpl\n@hookimpl\ndef {hook}():\n"
    path.write_text(f"{head}    return [{record}]\n")
    with pytest.raises(PluginError, match=words):
        check_plugin_file(path)
