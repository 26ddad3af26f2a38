"""bundle, predict and export: using what a search found."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from automl_car.cli.app import app
from automl_car.cli.options import (
    HERE,
    BundleOption,
    ConfigOption,
    JsonOption,
    NoLocalPluginsOption,
    PluginOption,
    StorageOption,
    StudyOption,
    TopKOption,
    WorkspaceOption,
)
from automl_car.cli.shared import (
    hint,
    latest_study_name,
    load_settings,
    open_workspace,
    plugin_overrides,
    print_json,
)


@app.command()
def bundle(
    study: StudyOption = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write. Default: bundles/<study>.")
    ] = None,
    top_k: TopKOption = None,
    budget_ms: Annotated[
        float | None,
        typer.Option(
            metavar="N", min=0, help="Milliseconds that a photo may take here; the best ensemble within them is taken."
        ),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="Take what `refit` trained on all photos: one network a member, not one a fold."),
    ] = False,
    storage: StorageOption = None,
    plugin: PluginOption = None,
    no_local_plugins: NoLocalPluginsOption = False,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a study's ensemble into a folder that predicts.

    Networks, weights of the pool and calibration: all that `automl-car predict` needs, on any machine.
    """
    settings = load_settings(
        workspace,
        config,
        {
            "ensemble.top_k": top_k,
            "search.storage": storage,
            **plugin_overrides(plugin, no_local=no_local_plugins),
        },
    )
    from automl_car import pipeline
    from automl_car.report.bundles import bundle_json, print_bundle

    place = open_workspace(workspace)
    name = study or settings.search.study or latest_study_name(place, settings.search.storage)
    made = pipeline.bundle(
        place,
        settings,
        study=name,
        output=output,
        top_k=settings.ensemble.top_k,
        budget_ms=budget_ms,
        refit=refit,
        note=hint,
    )
    if as_json:
        print_json(bundle_json(made))
    else:
        print_bundle(made)
    hint(f"`automl-car predict PHOTO... --bundle {made.directory}` predicts with it")


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Photos, folders, or CSV files.")],
    bundle: BundleOption = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="Ends in .csv or .parquet.")] = Path("predictions.csv"),
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Photos per step.")] = 32,
    plugin: PluginOption = None,
    no_local_plugins: NoLocalPluginsOption = False,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict photos with a bundle.

    Writes an id and a probability per class for each photo. A CSV lists ids and paths as test.csv does.
    """
    settings = load_settings(workspace, config, plugin_overrides(plugin, no_local=no_local_plugins))
    from automl_car import predicting  # not the journeys of a search: they load five times as much

    place = open_workspace(workspace)
    done = predicting.predict(
        bundle or _newest(place.bundles),
        paths,
        output,
        sources=place.plugin_sources(settings),
        batch_size=batch_size,
        progress=_Counter(),
        warn=lambda text: hint(f"warning: {text}"),
        announce=hint,
    )
    if as_json:
        print_json({"output": str(done.output), "photos": done.photos, "broken": done.broken})
    else:
        print(done.output)
    broken = f"; {done.broken} of them cannot be decoded and hold the classes' shares" if done.broken else ""
    hint(f"{done.photos} photos{broken}")


@app.command()
def export(
    bundle: BundleOption = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="Ends in .onnx.")] = Path("model.onnx"),
    check: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Photos to check the file with; may be repeated. Default: generated ones."),
    ] = None,
    plugin: PluginOption = None,
    no_local_plugins: NoLocalPluginsOption = False,
    workspace: WorkspaceOption = HERE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a bundle as one ONNX file.

    Photos in, probabilities out, in any ONNX runtime: squeezing, normalisation, networks, pool and calibration are
    in the file. It is kept when it says what the bundle says.
    """
    settings = load_settings(workspace, config, plugin_overrides(plugin, no_local=no_local_plugins))
    from automl_car import exporting

    place = open_workspace(workspace)
    made = exporting.export(
        bundle or _newest(place.bundles), output, sources=place.plugin_sources(settings), check=check or ()
    )
    if as_json:
        values = {"output": str(made.output), "bytes": made.size, "photos": made.photos, "difference": made.difference}
        print_json(values)
    else:
        print(made.output)
    hint(f"{made.size / 1e6:.1f} MB; its probabilities of {made.photos} photos differ by {made.difference:.1e} at most")


def _newest(bundles: Path) -> Path:
    from automl_car.ensemble.bundle_files import newest_bundle

    found = newest_bundle(bundles)
    hint(f"bundle: {found}")
    return found


class _Counter:
    """Tells how far a prediction is: in a terminal on one line, else every ten seconds."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told < (0.5 if self._terminal else 10) and not (self._terminal and done == total):
            return
        self._told = now
        text = f"{done} of {total} photos, {done / (now - self._began):.1f} per second"
        print(
            f"\r{text} " if self._terminal else text,
            end="" if self._terminal and done < total else "\n",
            file=sys.stderr,
        )
