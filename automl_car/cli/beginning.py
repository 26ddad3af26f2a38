"""Beginning: a workspace, and photos to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from automl_car.cli.app import app
from automl_car.cli.options import HERE
from automl_car.cli.shared import hint


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Folder to begin in; made if it is not there.")] = HERE,
) -> None:
    """Make a workspace and its settings file.

    Writes the folders, and an automl-car.yaml with every setting explained, in which the contest's files stand where
    they were found. Editors complete it by the schema beside it.
    """
    from automl_car.init import write_workspace

    made, layout = write_workspace(directory)
    for path in made:
        print(path)
    if layout is None:
        hint("put the contest's files into data/, then: automl-car search --trials 50")
        return
    parts = [part for part in (layout.train, layout.test, layout.sample_submission) if part]
    hint(f"found in {layout.directory}/: {', '.join(parts)}, {layout.classes} classes; the settings name them")
    hint("next: automl-car check, then automl-car search --trials 50")


@app.command("sample-data")
def sample_data(
    directory: Annotated[Path, typer.Argument(help="Folder to write to.")],
    seed: Annotated[int, typer.Option(help="Other seeds give other photos of the same cars.")] = 0,
) -> None:
    """Draw photos of fictional cars to try things on.

    They come in the contest's layout, with the labels of the test photos for `score`.
    """
    from automl_car.data.parallel import processors
    from automl_car.data.sample import write_sample

    summary = write_sample(directory, seed=seed, workers=processors())
    print(summary.directory)
    hint(f"{summary.train_images} train and {summary.test_images} test photos of {len(summary.class_names)} models")
