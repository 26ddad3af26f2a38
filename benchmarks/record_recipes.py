"""Trains random recipes on all folds without pruning, and keeps what pruners and samplers can be replayed on.

python benchmarks/record_recipes.py WORK TABLE [--data DIR] [--heads 30] [--full 12] [--sizes 64 96] [--epochs 6]

WORK is a folder for the caches and the finished folds: a run that was stopped goes on where it was. TABLE is the .npz
that `replay.py` reads. Without `--data` the photos are those of the sample. The test photos are left out.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna

from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.config import SpaceConfig, TrainingConfig
from automl_car.data.index import read_dataset
from automl_car.data.prepare import Prepared, prepare
from automl_car.data.sample import write_sample
from automl_car.errors import DivergedError
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.losses import row_losses
from automl_car.records import Recipe, Tuning
from automl_car.search.space import make_space, suggest_recipe
from automl_car.store import read_logits, read_result
from automl_car.training import device as devices
from automl_car.training.fold import train_fold

FOLDS = 5


def main() -> None:
    """Train what is not trained yet, and write the table after each recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--heads", type=int, default=30)
    parser.add_argument("--full", type=int, default=12)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96], help="of fine-tuning; heads get 32 px more")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    devices.prepare(devices.pick_device(), options.threads)
    catalog = load_catalog()
    prepared = prepare_photos(options)
    recipes = list(draw_recipes(options, catalog, prepared))
    finished: dict[Recipe, list[FoldResult]] = {}
    for recipe in recipes:
        results = [train(recipe, fold, options.work, catalog, prepared) for fold in range(FOLDS)]
        finished[recipe] = [result for result in results if result is not None]
        write_table(options.table, options.work, finished, prepared)
        print(
            f"{len(finished)}/{len(recipes)} {recipe.backbone} {recipe.tuning}: {describe(finished[recipe])}",
            flush=True,
        )


def prepare_photos(options: argparse.Namespace) -> Prepared:
    """The photos without the test set, decoded and split."""
    data = options.data
    if data is None:
        data = options.work / "data"
        if not data.is_dir():
            write_sample(data, seed=0)
    dataset = replace(read_dataset(data), test_ids=(), test_paths=(), submission=None)
    return prepare(
        dataset,
        cache_directory=options.work / "cache",
        study_directory=options.work / "study",
        short_side=max(options.sizes) + 32,
        folds=FOLDS,
        seed=0,
    )


def draw_recipes(options: argparse.Namespace, catalog: Catalog, prepared: Prepared) -> Iterator[Recipe]:
    """Random points of the space that a search would have: heads, then fine-tunings."""
    kinds: tuple[tuple[Tuning, int, int, tuple[str, ...]], ...] = (
        ("head", options.heads, 32, ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")),
        ("full", options.full, 0, ("efficientnet_lite0", "efficientnet_lite1")),
    )
    for tuning, count, larger, backbones in kinds:
        space = make_space(
            catalog,
            backbones,
            tuple(catalog.augmentations),
            (tuning,),
            SpaceConfig(image_size=tuple(side + larger for side in options.sizes), views=2),
            TrainingConfig(epochs=options.epochs, patience=0),
            seed=0,
            photo_side=max(options.sizes),
        )
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(count):
            yield suggest_recipe(study.ask(), space, {"tuning": tuning})


def train(recipe: Recipe, fold: int, work: Path, catalog: Catalog, prepared: Prepared) -> FoldResult | None:
    """The finished fold, trained now or before; None when it diverged."""
    task = FoldTask(recipe, recipe.id(prepared.folds), fold, work / "study", work / "cache", step="plain")
    diverged = task.fold_directory / "diverged"
    if diverged.exists():
        return None
    try:
        return read_result(task.fold_directory) or train_fold(task, catalog, prepared, lambda message: None)
    except DivergedError as error:
        print(error.message, flush=True)
        diverged.parent.mkdir(parents=True, exist_ok=True)
        diverged.write_text(error.message)
        return None


def describe(results: list[FoldResult]) -> str:
    """Log losses of the folds, and their seconds."""
    losses = " ".join(f"{result.log_loss:.3f}" for result in results)
    return f"{losses} in {sum(result.seconds for result in results):.0f} s"


# ---- the table ------------------------------------------------------------------------------------------------------


def write_table(path: Path, work: Path, finished: dict[Recipe, list[FoldResult]], prepared: Prepared) -> None:
    """Write what `replay.py` reads: an infinite log loss for folds that diverged, and no curve for heads."""
    recipes = list(finished)
    labels = np.array(prepared.dataset.labels, np.int64)
    losses = np.full((len(recipes), len(labels)), math.inf, np.float32)
    seconds = np.zeros((len(recipes), FOLDS), np.float32)
    epochs = max([recipe.epochs for recipe in recipes if recipe.tuning == "full"], default=1)
    curves = np.full((len(recipes), FOLDS, epochs), math.nan, np.float32)
    for number, recipe in enumerate(recipes):
        for result in finished[recipe]:
            seconds[number, result.fold] = result.seconds
            curve = [epoch.calibrated for epoch in result.curve if epoch.calibrated is not None]
            curves[number, result.fold, : len(curve)] = curve
            logits = read_logits(work / "study" / result.recipe_id / f"fold-{result.fold}")
            own = row_losses(logits.oof, labels[logits.rows], temperature=result.temperature)
            losses[number, logits.rows] = own
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        recipes=np.array([json.dumps(recipe.to_json(), sort_keys=True) for recipe in recipes]),
        folds=prepared.folds.assignment.astype(np.int8),
        losses=losses,
        curves=curves,
        seconds=seconds,
    )


if __name__ == "__main__":
    main()
