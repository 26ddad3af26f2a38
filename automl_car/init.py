"""Writes a workspace: its folders, and an automl-car.yaml that explains every setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from automl_car.config import Config
from automl_car.errors import DataError
from automl_car.files import write_atomically

FOLDERS = ("data", "plugins", "studies", "checkpoints")


def write_workspace(directory: Path) -> tuple[Path, ...]:
    """Make the folders and the settings file.

    Returns:
        What was made; folders that were there are left alone.

    Raises:
        DataError: there is an automl-car.yaml already, or a file in place of the folder.
    """
    if directory.is_file():
        raise DataError(f"`{directory}` is a file, not a folder.", hint="name a folder: automl-car init DIR")
    settings = directory / "automl-car.yaml"
    if settings.exists():
        raise DataError(f"`{settings}` is there already.", hint="edit it, or name another folder: automl-car init DIR")
    made = [directory / name for name in FOLDERS if not (directory / name).exists()]
    for folder in made:
        folder.mkdir(parents=True)
    write_atomically(settings, settings_text())
    return (*made, settings)


def settings_text() -> str:
    """The sections, and in them every setting with its default, commented out, each with what it means."""
    lines = ["# Settings of automl-car. Take `# ` off a line to change it; the values shown are the defaults.", ""]
    for name, section in Config.model_fields.items():
        assert isinstance(section.annotation, type)
        assert issubclass(section.annotation, BaseModel)
        first = (section.annotation.__doc__ or "").splitlines()[0]
        lines += [f"{name}:  # {first}", *_settings(section.annotation), ""]
    return "\n".join(lines)


def _settings(section: type[BaseModel]) -> list[str]:
    defaults = section().model_dump(mode="json")
    return [
        f"  # {key}: {_as_yaml(defaults[key])}  # {field.description}" for key, field in section.model_fields.items()
    ]


def _as_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000)
    return text.removesuffix("\n").removesuffix("...").strip()
