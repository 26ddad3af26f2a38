"""The settings as a JSON schema, with which editors complete and check automl-car.yaml."""

from __future__ import annotations

from typing import Any

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
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of automl-car",
        **{key: value for key, value in schema.items() if key != "title"},
    }
