"""Judging prediction files: by their answers, and by their form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from automl_car.cli.app import app
from automl_car.cli.options import HERE, ConfigOption, DataOption, JsonOption, WorkspaceOption
from automl_car.cli.shared import load_settings, open_workspace, print_json
from automl_car.errors import DataError


@app.command()
def score(
    submission: Annotated[Path, typer.Argument(help="The file to judge.")],
    labels: Annotated[Path, typer.Argument(help="CSV with the true class of each id: ID,label.")],
    as_json: JsonOption = False,
) -> None:
    """Judge a submission as the contest's scorer does."""
    from automl_car.ensemble.scorer import score_submission

    result = score_submission(submission, labels)
    if as_json:
        print_json(
            {"log_loss": result.log_loss, "accuracy": result.accuracy, "rows": result.rows, "classes": result.classes}
        )
    else:
        print(f"log loss {result.log_loss:.4f}, accuracy {result.accuracy:.4f}, {result.rows} rows")


@app.command()
def lint(
    submission: Annotated[Path, typer.Argument(help="The file to check.")],
    data: DataOption = None,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a submission against the contest's sample.

    Ids and their order, the header byte for byte, values, row sums, and columns that count as one class.
    """
    settings = load_settings(workspace, config, {"data.directory": data.resolve() if data else None})
    from automl_car import pipeline

    problems = pipeline.lint(open_workspace(workspace), settings, submission)
    if as_json:
        print_json({"submission": str(submission), "problems": list(problems)})
    if problems:
        raise DataError(f"{submission} has {len(problems)} problems: " + "; ".join(problems) + ".")
    if not as_json:
        print(f"{submission} is as the contest wants it")
