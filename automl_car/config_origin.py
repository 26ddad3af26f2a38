"""Where each setting's value comes from: the file and its line, the command line, or the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl_car.config import load_config, told_settings
from automl_car.settings_file import read_settings


@dataclass(frozen=True)
class Origin:
    """One setting.

    Attributes:
        setting: dotted name.
        value: as it stands in JSON, without a password.
        default: what it is where nobody says otherwise.
        line: of the settings file, from 1; None where it is not there.
        description: what it means.
    """

    setting: str
    value: Any
    default: Any
    line: int | None
    description: str


def origins(path: Path | None, overrides: Mapping[str, Any] | None = None) -> tuple[Origin, ...]:
    """Every setting with its value, in the order of the file that `init` writes.

    Args:
        path: the settings file, or None where there is none.
        overrides: see `load_config`.

    Raises:
        ConfigError: as `load_config`.
    """
    config = load_config(path, overrides)
    told = told_settings(config)
    lines = read_settings(path)[1] if path else {}
    found = []
    for name, section in config:
        values, defaults = told[name], type(section)().model_dump(mode="json")
        for key, field in type(section).model_fields.items():
            line = lines.get((name, key))
            found.append(Origin(f"{name}.{key}", values[key], defaults[key], line, field.description or ""))
    for name, tracker in (config.trackers.model_extra or {}).items():
        value, line = tracker.model_dump(mode="json"), lines.get(("trackers", name))
        found.append(Origin(f"trackers.{name}", value, None, line, "a tracker that is switched on"))
    for name, executor in (config.executors.model_extra or {}).items():
        value, line = executor.model_dump(mode="json"), lines.get(("executors", name))
        found.append(Origin(f"executors.{name}", value, None, line, "settings of an executor"))
    return tuple(found)
