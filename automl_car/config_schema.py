"""The settings as a JSON schema, with which editors complete and check automl-car.yaml."""

from __future__ import annotations

from typing import Any

from automl_car.catalog.offering import bundled_executors, bundled_trackers
from automl_car.catalog.params import Setting
from automl_car.catalog.records import ExecutorKind, Tracker
from automl_car.config import Config

SCHEMA_FILE = "automl-car.schema.json"
# What the YAML extensions of VS Code, JetBrains, Neovim and others look for in a file.
MODELINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"


def config_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of automl-car.yaml."""
    schema = Config.model_json_schema()
    for section in schema["properties"].values():
        reference = section.pop("$ref")
        section.pop("default", None)
        section["anyOf"] = [{"$ref": reference}, {"type": "null"}]  # a section whose settings are all commented out
    schema["$defs"]["TrackersConfig"]["properties"] = {
        tracker.name: _tracker_schema(tracker) for tracker in bundled_trackers()
    }
    schema["$defs"]["ExecutorsConfig"]["properties"] = {
        kind.name: _executor_schema(kind) for kind in bundled_executors()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of automl-car",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _tracker_schema(tracker: Tracker) -> dict[str, Any]:
    """Of a tracker that comes with automl-car; those of other plugins may have any settings."""
    enabled = {"type": "boolean", "default": False, "description": "whether it is told of a search"}
    return {
        "type": ["object", "null"],
        "description": f"{tracker.about} (pip install '{tracker.install}')",
        "properties": {"enabled": enabled, **{setting.name: _setting_schema(setting) for setting in tracker.settings}},
        "additionalProperties": False,
    }


def _executor_schema(kind: ExecutorKind) -> dict[str, Any]:
    """Of an executor that comes with automl-car; those of other plugins may have any settings."""
    return {
        "type": ["object", "null"],
        "description": f"{kind.about}{kind.install and f' (pip install {kind.install!r})'}",
        "properties": {setting.name: _setting_schema(setting) for setting in kind.settings},
        "additionalProperties": False,
    }


def _setting_schema(setting: Setting) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": _TYPES[type(setting.default)],
        "default": setting.default,
        "description": setting.about,
    }
    return schema | ({"enum": list(setting.choices)} if setting.choices else {})


_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
