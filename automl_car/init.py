"""Writes a workspace: its folders, an automl-car.yaml that explains every setting, and the schema for editors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from automl_car.catalog.offering import bundled_executors, bundled_trackers
from automl_car.catalog.records import ExecutorKind, Tracker
from automl_car.config import Config
from automl_car.config_schema import MODELINE, SCHEMA_FILE, config_schema
from automl_car.data.layout import Layout, detect_layout
from automl_car.errors import DataError
from automl_car.files import write_atomically

FOLDERS = ("data", "plugins", "studies", "checkpoints")


def write_workspace(directory: Path) -> tuple[tuple[Path, ...], Layout | None]:
    """Make the folders, the settings file, in which the contest's layout stands, and its schema.

    Returns:
        What was made; folders that were there are left alone. And where the contest's files lie, if they are there.

    Raises:
        DataError: there is an automl-car.yaml already, or a file in place of the folder.
    """
    if directory.is_file():
        raise DataError(f"`{directory}` is a file, not a folder.", hint="name a folder: automl-car init DIR")
    settings = directory / "automl-car.yaml"
    if settings.exists():
        raise DataError(f"`{settings}` is there already.", hint="edit it, or name another folder: automl-car init DIR")
    layout = detect_layout(directory) if directory.is_dir() else None
    made = [directory / name for name in FOLDERS if not (directory / name).exists()]
    for folder in made:
        folder.mkdir(parents=True)
    schema = directory / SCHEMA_FILE
    write_atomically(schema, json.dumps(config_schema(), ensure_ascii=False, indent=1) + "\n")
    write_atomically(settings, f"{MODELINE}\n{settings_text(_found(layout))}")
    return (*made, settings, schema), layout


def _found(layout: Layout | None) -> dict[str, str]:
    """Settings of the section `data` that are not at their default."""
    if layout is None:
        return {}
    names = ("directory", "train", "test", "sample_submission")
    defaults = Config().data.model_dump(mode="json")
    return {name: value for name in names if (value := getattr(layout, name)) and value != defaults[name]}


def settings_text(data: Mapping[str, str] | None = None) -> str:
    """The sections, and in them every setting with its default, commented out, each with what it means.

    Args:
        data: settings of the section `data` that stand there with these values.
    """
    lines = ["# Settings of automl-car. Take `# ` off a line to change it; the values shown are the defaults.", ""]
    for name, section in Config.model_fields.items():
        assert isinstance(section.annotation, type)
        assert issubclass(section.annotation, BaseModel)
        first = (section.annotation.__doc__ or "").splitlines()[0]
        lines += [f"{name}:  # {first}", *_settings(section.annotation, (data or {}) if name == "data" else {})]
        lines += [_tracker(tracker) for tracker in bundled_trackers()] if name == "trackers" else []
        lines += [_executor(kind) for kind in bundled_executors() if kind.settings] if name == "executors" else []
        lines.append("")
    return "\n".join(lines)


def _settings(section: type[BaseModel], given: Mapping[str, str]) -> list[str]:
    defaults = section().model_dump(mode="json")
    return [
        f"  {'' if key in given else '# '}{key}: {_as_yaml(given.get(key, defaults[key]))}  # {field.description}"
        for key, field in section.model_fields.items()
    ]


def _tracker(tracker: Tracker) -> str:
    """One line, too: all settings of a tracker, and what they mean."""
    values = {"enabled": False, **{setting.name: setting.default for setting in tracker.settings}}
    meanings = "".join(f"; {setting.name}: {setting.about}" for setting in tracker.settings)
    return f"  # {tracker.name}: {_as_yaml(values)}  # {tracker.about}, pip install '{tracker.install}'{meanings}"


def _executor(kind: ExecutorKind) -> str:
    """One line, too: all settings of an executor, and what they mean."""
    values = {setting.name: setting.default for setting in kind.settings}
    install = f", pip install '{kind.install}'" if kind.install else ""
    meanings = "".join(f"; {setting.name}: {setting.about}" for setting in kind.settings)
    return f"  # {kind.name}: {_as_yaml(values)}  # {kind.about}{install}{meanings}"


def _as_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("...").strip()
