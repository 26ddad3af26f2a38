"""Judging prediction files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from automl_car.cli.app import app
from automl_car.cli.options import JsonOption
from automl_car.cli.shared import print_json


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
