"""What a search will cost on this machine: measured in about a minute, before anything is trained."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from automl_car.catalog.joint import is_joint, parts_of
from automl_car.catalog.manager import load_catalog
from automl_car.config import Config
from automl_car.data.survey import Survey, survey_photos
from automl_car.errors import AutomlCarError
from automl_car.fold_records import Machine, Speed, SpeedTask
from automl_car.pipeline.choices import largest_size, pick_augmentations, pick_backbones, pick_tunings, tunings_of
from automl_car.pipeline.executing import open_executor
from automl_car.pipeline.outcome import View
from automl_car.pipeline.reading import read_photos
from automl_car.records import Dataset, Recipe, Tuning
from automl_car.search import cost
from automl_car.search.executor import Executor
from automl_car.search.first import default_recipe
from automl_car.search.space import Space, make_space
from automl_car.workspace import Workspace


@dataclass(frozen=True)
class PlanRow:
    """What one backbone costs with one way of tuning, at its defaults.

    Attributes:
        images_per_second: forward and backward for full tuning, forward for heads.
        features_seconds: of computing the frozen features of all photos, once.
        epoch_seconds: of one epoch of one fold.
        trial_seconds: of all folds with all epochs; early stopping may shorten fine-tuning.
        peak_memory_bytes: of the device where it is a GPU, else of the training process.
        problem: why nothing could be measured; else empty.
    """

    backbone: str
    tuning: Tuning
    image_size: int
    epochs: int
    images_per_second: float = 0.0
    features_seconds: float = 0.0
    epoch_seconds: float = 0.0
    trial_seconds: float = 0.0
    peak_memory_bytes: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Plan:
    """What a search will cost.

    Attributes:
        survey: of the photos, which are read once.
        longest: seconds when nothing is pruned.
        shortest: seconds when every trial that may be pruned stops after its first fold; equal without pruning.
        timeout: seconds of the time limit, or None.
    """

    photos: int
    test_photos: int
    classes: int
    folds: int
    trials: int
    machine: Machine
    survey: Survey
    rows: tuple[PlanRow, ...]
    longest: float
    shortest: float
    timeout: float | None


def plan(workspace: Workspace, config: Config, *, sample: bool, view: View, log: Path) -> Plan:
    """Measure every backbone and way of tuning of the search, and add up.

    Raises:
        AutomlCarError: the input is wrong, or nothing can be measured.
    """
    catalog = load_catalog(workspace.plugin_sources(config), announce=view.note)
    catalog.require_whole()
    backbones = pick_backbones(catalog, config, view)
    executor = open_executor(catalog, config, view, log)
    try:
        dataset = read_photos(workspace, config, sample=sample, view=view)
        side = max(largest_size(config, catalog, backbones), 32)
        survey = survey_photos(dataset.root, [*dataset.train_paths, *dataset.test_paths], short_side=side)
        space = make_space(
            catalog,
            backbones,
            pick_augmentations(catalog, config),
            tunings_of(backbones, pick_tunings(config, executor.machine)),
            config.space,
            config.training,
            seed=config.search.seed,
            photo_side=max(survey.short_side, 32),
        )
        rows = tuple(_rows(workspace, config, space, dataset, executor, view))
        machine = executor.machine()
    finally:
        executor.close()
    longest, shortest = _total(config, survey, rows)
    return Plan(
        photos=len(dataset.train_paths),
        test_photos=len(dataset.test_paths),
        classes=dataset.num_classes,
        folds=config.data.folds,
        trials=config.search.trials,
        machine=machine,
        survey=survey,
        rows=rows,
        longest=longest,
        shortest=shortest,
        timeout=config.search.timeout,
    )


def _rows(
    workspace: Workspace, config: Config, space: Space, dataset: Dataset, executor: Executor, view: View
) -> Iterator[PlanRow]:
    counts = cost.Counts(len(dataset.train_paths), len(dataset.test_paths), config.data.folds)
    recipes = [default_recipe(space, tuning, name) for tuning in space.tunings for name in space.backbones_for(tuning)]
    for done, recipe in enumerate(recipes):
        view.progress(f"measuring {recipe.backbone}", done, len(recipes))
        task = SpeedTask(
            recipe,
            dataset.num_classes,
            workspace.cache,
            images=recipe.epochs * counts.photos * (counts.folds - 1) // counts.folds,
            plugins=workspace.plugin_sources(config),
            step=config.training.step,
        )
        try:
            row = _row(recipe, executor.measure(task).result(), counts)
            # Side by side, backbones have the features that those have that work alone.
            has_others = is_joint(recipe.backbone) and set(parts_of(recipe.backbone)) <= set(space.backbones)
            yield replace(row, features_seconds=0.0) if has_others else row
        except AutomlCarError as error:  # one that is too large for this machine says nothing about the others
            yield PlanRow(recipe.backbone, recipe.tuning, recipe.image_size, recipe.epochs, problem=error.message)
    view.progress("measuring", len(recipes), len(recipes))


def _row(recipe: Recipe, speed: Speed, counts: cost.Counts) -> PlanRow:
    heads = recipe.tuning == "head"
    epoch = cost.head_epoch_seconds(speed, counts) if heads else cost.epoch_seconds(recipe, speed, counts)
    fold = speed.setup + recipe.epochs * epoch if heads else cost.fold_seconds(recipe, speed, counts)
    views = recipe.views if heads else 2  # the last layer of fine-tuning starts from photos and mirror images
    return PlanRow(
        recipe.backbone,
        recipe.tuning,
        recipe.image_size,
        recipe.epochs,
        images_per_second=speed.validation if heads else speed.training,
        features_seconds=cost.features_seconds(views, speed, counts) if recipe.weights != "random" or heads else 0.0,
        epoch_seconds=epoch,
        trial_seconds=counts.folds * fold,
        peak_memory_bytes=speed.peak_memory_bytes,
    )


def _total(config: Config, survey: Survey, rows: tuple[PlanRow, ...]) -> tuple[float, float]:
    """Seconds of the whole search with nothing pruned, and with as much pruned as can be."""
    measured = [row for row in rows if not row.problem]
    if not measured:
        return math.inf, math.inf
    once = survey.seconds + sum(row.features_seconds for row in measured)
    fold = statistics.fmean(row.trial_seconds for row in measured) / config.data.folds
    trials, folds = config.search.trials, config.data.folds
    startup = max(config.pruning.compare_with, config.ensemble.top_k)
    share = 1 / folds if config.pruning.enabled else 1.0
    longest = once + fold * folds * trials
    return longest, once + fold * cost.folds_trained(trials, folds, startup, share)
