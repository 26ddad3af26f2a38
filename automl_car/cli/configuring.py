"""config: the settings, where their values come from, and the schema that editors complete them with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from automl_car.cli.app import config_app
from automl_car.cli.options import HERE, ConfigOption, JsonOption, WorkspaceOption
from automl_car.cli.shared import hint, open_workspace, print_json


@config_app.command("show")
def config_show(
    changed: Annotated[bool, typer.Option("--changed", help="Only those that are not at their default.")] = False,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every setting, its value, and where that comes from."""
    from automl_car.config_origin import origins
    from automl_car.report.tables import new_console, new_table

    default = open_workspace(workspace).config_file
    file = config or (default if default.is_file() else None)
    rows = [row for row in origins(file) if not changed or row.value != row.default]
    if as_json:
        print_json([{**dataclasses.asdict(row), "from": _place(row.line, file)} for row in rows])
        return
    table = new_table("setting", "value", "from", "default")
    for row in rows:
        default_text = "" if row.value == row.default else _text(row.default)
        table.add_row(row.setting, _text(row.value), _place(row.line, file), default_text)
    new_console().print(table)
    if file is None:
        hint("there is no settings file; `automl-car init` writes one")


@config_app.command("schema")
def config_schema(
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there. Default: print it on stdout.")
    ] = None,
) -> None:
    """Print the JSON schema of automl-car.yaml, for editors.

    `automl-car init` puts it beside the settings, with a first line that editors find it by.
    """
    from automl_car.config_schema import MODELINE, SCHEMA_FILE
    from automl_car.config_schema import config_schema as make
    from automl_car.files import write_atomically

    if output is None:
        print_json(make())
        return
    write_atomically(output, json.dumps(make(), ensure_ascii=False, indent=1) + "\n")
    print(output)
    hint(f"name it in the first line of automl-car.yaml: {MODELINE.replace(SCHEMA_FILE, str(output))}")


def _place(line: int | None, file: Path | None) -> str:
    return "default" if line is None or file is None else f"{file} line {line}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
