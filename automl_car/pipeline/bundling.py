"""From a study to a bundle: the networks of its ensemble in a folder that predicts without the study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from automl_car.catalog.joint import single
from automl_car.catalog.manager import Catalog, PluginInfo, load_catalog
from automl_car.catalog.records import PluginSources
from automl_car.config import Config
from automl_car.data.prepared import read_short_side
from automl_car.data.testset import plain_form
from automl_car.ensemble.bundle import Bundle, BundlePlugin, Measured
from automl_car.ensemble.bundle_files import MANIFEST, write_files, write_manifest
from automl_car.ensemble.bundle_readme import bundle_readme
from automl_car.ensemble_records import Ensemble
from automl_car.errors import BundleError, ConfigError
from automl_car.files import replaced_folder
from automl_car.pipeline.budgeting import Considered, within_budget
from automl_car.pipeline.bundle_parts import Models, Parts, collect_parts, fold_models
from automl_car.pipeline.finding import Found, find_ensemble
from automl_car.pipeline.refitted import refit_models, refit_probabilities
from automl_car.predicting import load_model
from automl_car.records import Dataset, FloatArray
from automl_car.workspace import Workspace

_CHECKED_PHOTOS = 16
_LARGEST_DIFFERENCE = 0.1
"""Of probabilities, half their summed distance. Rounding and other processors give 1e-3, JPEGs in the cache and half
precision a few times as much; other weights or another plugin nearer to 1."""


@dataclass(frozen=True)
class Bundled:
    """What the journey leaves.

    Attributes:
        directory: the bundle.
        bundle: what is in it.
        size: bytes of all its files.
        considered: what was compared for a budget, the best first; empty without one.
    """

    directory: Path
    bundle: Bundle
    size: int
    considered: tuple[Considered, ...] = ()


def bundle(
    workspace: Workspace,
    config: Config,
    *,
    study: str,
    output: Path | None,
    top_k: int,
    budget_ms: float | None = None,
    refit: bool = False,
    note: Callable[[str], None],
) -> Bundled:
    """Write the bundle of a study's ensemble.

    Args:
        output: folder, by default bundles/<study>; an older bundle there is replaced when the new one is complete.
        top_k: members at most.
        budget_ms: milliseconds that a photo may take on this machine; the best ensemble within it is taken.
        refit: take the one network of each member that `automl-car refit` trained on all photos, and not one a fold.
        note: called with a sentence about what is being done.

    Raises:
        StudyError: there is no such study, or nothing in it is finished.
        ConfigError: `output` is a folder that is no bundle, nothing fits into the budget, or there is one for a refit.
        PluginError: a plugin is missing, or was edited since a member was trained.
        BundleError: the bundle does not predict what the study did.
    """
    target = output or workspace.bundles / study
    _refuse_foreign(target)
    if refit and budget_ms is not None:
        raise ConfigError(
            "A budget chooses among the models of folds, which are not those of a refit.",
            hint="leave out one of --budget-ms and --refit; --top-k bounds the members of both commands.",
        )
    store, sources = workspace.checkpoints(study), workspace.plugin_sources(config)
    catalog = load_catalog(sources, announce=note)
    considered: tuple[Considered, ...] = ()
    milliseconds = None
    if budget_ms is None:
        found = find_ensemble(workspace, config, study=study, top_k=top_k)
    else:
        considered = within_budget(workspace, config, catalog, study=study, top_k=top_k, budget_ms=budget_ms, note=note)
        found, milliseconds = considered[0].found, considered[0].milliseconds
    models = refit_models(store, found.ensemble) if refit else fold_models(store, found.ensemble)
    if refit:
        found = replace(found, ensemble=_with_refits(found.ensemble, models))
    parts = collect_parts(models, found.ensemble, catalog, found.dataset.num_classes)
    made = _describe(study, found, parts, catalog, read_short_side(store, workspace.cache), milliseconds)
    made = replace(made, measured=replace(made.measured, refit=refit))
    with replaced_folder(target) as folder:
        note("writing the networks")
        made = _write(folder, made, parts, found, catalog, sources, note)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    return Bundled(target, made, size, considered)


def _with_refits(ensemble: Ensemble, models: Models) -> Ensemble:
    return replace(ensemble, test_probabilities=refit_probabilities(models, ensemble))


def _refuse_foreign(target: Path) -> None:
    if target.exists() and not (target / MANIFEST).is_file() and not _is_empty(target):
        raise ConfigError(f"`{target}` is there and is no bundle.", hint="name another folder by --output.")


def _is_empty(target: Path) -> bool:
    return target.is_dir() and not any(target.iterdir())


# ---- what is said of it ---------------------------------------------------------------------------------------------


def _describe(
    study: str, found: Found, parts: Parts, catalog: Catalog, short_side: int, milliseconds: float | None
) -> Bundle:
    from automl_car.training.checkpoint import versions

    ensemble, dataset = found.ensemble, found.dataset
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    form = dataset.submission or plain_form(dataset.class_names)
    return Bundle(
        study=study,
        class_names=dataset.class_names,
        class_shares=tuple((counts / counts.sum()).tolist()),
        form=replace(form, ids=()),
        members=tuple(parts.members),
        pool=ensemble.pool,
        temperature=ensemble.temperature,
        uniform=ensemble.uniform,
        short_side=short_side,
        plugins=_plugins(catalog, list(single(recipe.backbone for recipe in parts.recipes))),
        measured=Measured(
            ensemble.nested_log_loss,
            ensemble.standard_error,
            ensemble.rows,
            found.folds.fingerprint,
            found.partial,
            milliseconds,
        ),
        versions=versions(),
    )


def _plugins(catalog: Catalog, backbones: list[str]) -> tuple[BundlePlugin, ...]:
    rows = [(row, tuple(name for name in backbones if name in row.backbones)) for row in catalog.plugins]
    return tuple(
        BundlePlugin(row.name, row.origin, _location(row), row.version, used, _copy_of(row))
        for row, used in rows
        if used
    )


def _location(row: PluginInfo) -> str:
    """Nobody who gets the bundle has the folders of this machine."""
    return Path(row.location).name if _copy_of(row) else row.location


def _copy_of(row: PluginInfo) -> str:
    return f"plugins/{Path(row.location).name}" if row.origin in ("workspace", "file") else ""


# ---- writing and checking -------------------------------------------------------------------------------------------


def _write(
    folder: Path,
    made: Bundle,
    parts: Parts,
    found: Found,
    catalog: Catalog,
    sources: PluginSources,
    note: Callable[[str], None],
) -> Bundle:
    checksums = write_files(folder, parts.files())
    checksums |= write_files(folder, _plugin_copies(catalog, made))
    write_manifest(folder, made, checksums)
    note("comparing its predictions with the study's")
    made = replace(made, measured=replace(made.measured, difference=_difference(folder, found, sources)))
    checksums |= write_files(folder, [("README.md", bundle_readme(made).encode())])
    write_manifest(folder, made, checksums)
    return made


def _plugin_copies(catalog: Catalog, made: Bundle) -> Iterator[tuple[str, bytes]]:
    locations = {row.name: row.location for row in catalog.plugins if row.origin in ("workspace", "file")}
    for plugin in made.plugins:
        if plugin.file:
            yield plugin.file, Path(locations[plugin.name]).read_bytes()


def _difference(folder: Path, found: Found, sources: PluginSources) -> float | None:
    """How far a few test photos' probabilities are from the study's; None where there is no such photo at hand.

    Raises:
        BundleError: they are not the same but for rounding.
    """
    model = load_model(folder, sources)
    distances: list[float] = []
    rows = _test_photos(found.dataset)
    for chosen, probabilities, broken in model.batches(
        iter(rows), lambda row: model.read(found.dataset.root / found.dataset.test_paths[row]), _CHECKED_PHOTOS
    ):
        expected = found.ensemble.test_probabilities[chosen]
        apart: FloatArray = np.abs(probabilities - expected).sum(axis=1) / 2
        distances += [float(distance) for place, distance in enumerate(apart) if place not in broken]
    if not distances:
        return None
    difference = float(np.mean(distances))
    if difference > _LARGEST_DIFFERENCE:
        raise BundleError(
            f"The bundle does not predict what the study did: on {len(distances)} test photos the probabilities are "
            f"{difference:.3f} apart.",
            hint="were the test photos, the pretrained weights or a plugin changed since the search?",
        )
    return difference


def _test_photos(dataset: Dataset) -> list[int]:
    return [row for row, path in enumerate(dataset.test_paths) if (dataset.root / path).is_file()][:_CHECKED_PHOTOS]
