"""Prediction files of any origin: combining them, and looking at what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from automl_car.cli.app import app
from automl_car.cli.options import JsonOption
from automl_car.cli.shared import hint, print_json


@app.command()
def blend(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the prediction files.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The file to write, outside of DIR.")] = Path(
        "blend.csv"
    ),
    weights: Annotated[
        str | None, typer.Option(metavar="A=0.7,B=0.3", help="Weights by file name. Default: fitted, else uniform.")
    ] = None,
    pool: Annotated[str, typer.Option(metavar="WORD", help="arithmetic, geometric or auto.")] = "auto",
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels of out-of-fold rows. Default: labels.csv of DIR.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Combine prediction files, from anywhere.

    Takes every *.csv of DIR with an id column first and a probability column per class. With the out-of-fold
    predictions of each NAME.csv in NAME.oof.csv or oof/NAME.csv, and labels (ID,label), weights and calibration are
    fitted; else all files count alike.
    """
    from automl_car.ensemble.blending import blend as combine
    from automl_car.report.blending import blend_json, print_blend

    done = combine(directory, output=output, weights=weights, pool=pool, labels=labels, note=hint)
    if as_json:
        print_json(blend_json(done))
    else:
        print_blend(done)


@app.command()
def analyze(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Prediction files of the same photos.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for plots and tables.")] = Path("analysis"),
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels of these photos, ID,label, if they are known.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how sure prediction files are.

    Confidence, entropy and class counts of each file, and how far the files agree; with labels, how good they are.
    """
    from automl_car.ensemble.analysis import analyze as measure
    from automl_car.report.confidence import analysis_json, print_analysis
    from automl_car.report.confidence_files import write_analysis

    analysis = measure(files, labels, hint)
    written = write_analysis(output, analysis)
    if as_json:
        print_json(analysis_json(analysis, written))
    else:
        print_analysis(analysis, written)
