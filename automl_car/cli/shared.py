"""What several commands do: find the workspace, read the settings, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automl_car.config import Config
    from automl_car.pipeline import Outcome, Plan
    from automl_car.workspace import Workspace


def open_workspace(root: Path) -> Workspace:
    from automl_car.workspace import Workspace

    return Workspace(root)


def from_here(study: str | None) -> str | None:
    """A path on the command line begins in the current folder, one in the settings in the workspace."""
    return str(Path(study).resolve()) if study and study.endswith(".db") else study


def load_settings(root: Path, config: Path | None, overrides: dict[str, Any]) -> Config:
    from automl_car.config import load_config

    default = open_workspace(root).config_file
    return load_config(config or (default if default.is_file() else None), overrides)


def plugin_overrides(files: list[Path] | None, *, no_local: bool) -> dict[str, Any]:
    """What --plugin and --no-local-plugins say, as settings."""
    return {
        "plugins.files": [file.resolve() for file in files] if files else None,
        "plugins.local": False if no_local else None,
    }


def latest_study_name(place: Workspace, storage: str | None) -> str:
    from automl_car.search.overview import latest_study

    name = latest_study(place.studies, storage)
    hint(f"study: {name}")
    return name


def make_view(terminal: bool) -> Any:
    if terminal:
        from rich.console import Console

        from automl_car.live import LiveView

        return LiveView(Console(stderr=True))
    from automl_car.console import Lines

    return Lines()


def print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    from automl_car.pipeline import outcome_json
    from automl_car.report import tables

    if as_json:
        print_json(outcome_json(outcome))
    else:
        tables.print_outcome(outcome)


def print_plan(plan: Plan, *, as_json: bool) -> None:
    from automl_car.report.plan import plan_json, print_plan

    if as_json:
        print_json(plan_json(plan))
    else:
        print_plan(plan)


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1))


def hint(text: str) -> None:
    print(text, file=sys.stderr)
