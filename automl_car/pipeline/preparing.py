"""The photos of a search: found, decoded once and split; and what a person should know about them."""

from __future__ import annotations

from pathlib import Path

from automl_car.catalog.manager import Catalog
from automl_car.config import Config
from automl_car.data.audit import Audit
from automl_car.data.budget import Budgets
from automl_car.data.prepare import Prepared, prepare
from automl_car.data.tables import shorten
from automl_car.memory import give_back_memory
from automl_car.pipeline.choices import largest_size
from automl_car.pipeline.outcome import View
from automl_car.pipeline.reading import read_photos
from automl_car.workspace import Workspace


def prepare_photos(
    workspace: Workspace,
    config: Config,
    study: str,
    catalog: Catalog,
    backbones: tuple[str, ...],
    *,
    sample: bool,
    view: View,
) -> Prepared:
    """Prepare the photos for these backbones, and note what the audit found.

    Raises:
        DataError: files are missing or contradict each other.
    """
    dataset = read_photos(workspace, config, sample=sample, view=view)
    directory = workspace.checkpoints(study)
    directory.mkdir(parents=True, exist_ok=True)
    prepared = prepare(
        dataset,
        cache_directory=workspace.cache,
        study_directory=directory,
        short_side=max(largest_size(config, catalog, backbones), 32),
        folds=config.data.folds,
        seed=config.search.seed,
        budgets=Budgets(round(config.cache.train_gb * 1e9), round(config.cache.eval_gb * 1e9)),
        progress=lambda done, total: view.progress("reading photos", done, total),
    )
    give_back_memory()  # decoding, hashing and splitting are over
    for line in _audit_lines(prepared.audit, directory / "quarantine.csv"):
        view.note(line)
    return prepared


def _audit_lines(audit: Audit, quarantine: Path) -> list[str]:
    """What a person should know about the photos before a search."""
    fewest, _, most = audit.photos_per_class
    lines = [
        f"{audit.train_photos} training photos ({fewest:.0f} to {most:.0f} a class), {audit.test_photos} test photos"
    ]
    if audit.quarantined:
        lines.append(f"{len(audit.quarantined)} training photos cannot be decoded and are left out: {quarantine}")
    if audit.broken_test:
        shown = shorten([problem.path for problem in audit.broken_test], 3)
        lines.append(
            f"{len(audit.broken_test)} test photos cannot be decoded; their answer is the classes' shares: {shown}"
        )
    if audit.conflicts:
        lines.append(f"{len(audit.conflicts)} pictures are there under two labels: audit.json lists them")
    return [*lines, *audit.notes]
