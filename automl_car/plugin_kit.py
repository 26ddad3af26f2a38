"""Writes a plugin that works as it is, and its test, for a person to change: `automl-car plugins new`."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Literal

from automl_car.errors import ConfigError
from automl_car.files import write_atomically

Kind = Literal["backbone", "augmentation"]
_PLACEHOLDER = "NAME"  # in the templates


def write_plugin(name: str, kind: Kind, directory: Path, *, taken: Collection[str]) -> tuple[Path, Path]:
    """Write `plugins/<name>.py` and `tests/test_<name>.py`.

    Args:
        name: of the file, and of the backbone or augmentation that it offers.
        directory: the two folders are made in it.
        taken: names that loaded plugins have.

    Returns:
        The plugin, and its test.

    Raises:
        ConfigError: the name will not do, or one of the files is there already; nothing is written.
    """
    _check_name(name, taken)
    plugin, test = directory / "plugins" / f"{name}.py", directory / "tests" / f"test_{name}.py"
    for path in (plugin, test):
        if path.exists():
            raise ConfigError(f"`{path}` is there already.", hint="take another name, or --output DIR.")
    for path, template in ((plugin, kind), (test, "test")):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _read(template).replace(_PLACEHOLDER, name))
    return plugin, test


def _check_name(name: str, taken: Collection[str]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"`{name}` cannot be the name of a plugin.",
            hint="it begins with a letter and holds a-z, 0-9 and _, as a Python module does: my_network",
        )
    if name in taken:
        raise ConfigError(
            f"The name `{name}` is taken by a plugin, or by what one offers.",
            hint="`automl-car plugins` lists all names.",
        )


def _read(template: str) -> str:
    return files("automl_car").joinpath("templates", f"{template}.py.txt").read_text(encoding="utf-8")
