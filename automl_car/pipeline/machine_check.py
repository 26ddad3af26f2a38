"""Whether the machine is up to a search: disk, memory, and one real step of each backbone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from automl_car.catalog.joint import single
from automl_car.catalog.manager import Catalog
from automl_car.config import Config
from automl_car.data.checkup import Checkup
from automl_car.errors import AutomlCarError
from automl_car.fold_records import Machine, Speed, SpeedTask
from automl_car.memory import available_memory
from automl_car.pipeline.checked import Finding, problem
from automl_car.pipeline.choices import pick_augmentations, pick_tunings
from automl_car.pipeline.executing import open_executor
from automl_car.pipeline.outcome import View
from automl_car.records import Dataset, Recipe
from automl_car.search.first import default_recipe
from automl_car.search.space import make_space
from automl_car.workspace import Workspace

_FEATURES = 2048  # numbers that a backbone makes of a view, at most
_MEMORY_SHARE = 0.8  # of what is free: the driver, and what else runs, need some


def check_disk(workspace: Workspace, config: Config, dataset: Dataset, photos: Checkup, backbones: int) -> Finding:
    """What a search will write, and whether there is room for it."""
    rows, tests, classes = len(dataset.train_paths), len(dataset.test_paths), dataset.num_classes
    pictures = min(photos.bytes, (config.cache.train_gb + config.cache.eval_gb) * 1e9)
    views = config.space.views if isinstance(config.space.views, int) else max(config.space.views)
    features = 2 * _FEATURES * views * (rows + tests) * backbones
    # Logits of all views in single precision, and of one and two views in half of it (see `store`).
    trial = (rows + config.data.folds * tests) * classes * (4 + 2 + 2) + 4 * _FEATURES * classes * config.data.folds
    needed = pictures + features + trial * config.search.trials
    free = shutil.disk_usage(workspace.root).free
    text = (
        f"at most {needed / 1e9:.1f} GB for {config.search.trials} trials ({pictures / 1e9:.1f} pictures, "
        f"{features / 1e9:.1f} features, {trial / 1e6:.0f} MB a trial, and the networks of fine-tuned ones); "
        f"{free / 1e9:.1f} GB are free"
    )
    if needed < free:
        return Finding("disk", "good", text)
    return Finding("disk", "problem", text, "free some, take fewer --trials, or lower cache.train_gb and cache.eval_gb")


def check_machine(
    workspace: Workspace,
    config: Config,
    catalog: Catalog,
    dataset: Dataset,
    backbones: tuple[str, ...],
    photos: Checkup,
    view: View,
    log: Path,
) -> Iterator[Finding]:
    """The device, and what a step of fine-tuning each backbone takes there.

    Args:
        log: file for what the training process prints.
    """
    backbones = single(backbones)
    space = make_space(
        catalog,
        backbones,
        pick_augmentations(catalog, config),
        ("full",),
        config.space,
        config.training,
        seed=config.search.seed,
        photo_side=max(photos.sides[1], 32),
    )
    try:
        executor = open_executor(catalog, config, view, log)
    except AutomlCarError as error:
        yield problem("machine", error)
        return
    try:
        machine = executor.machine()
        free = available_memory() if config.search.executor == "local" else 0  # it says nothing of other machines
        yield _describe(machine, free, executor.slots())
        tuned = "full" in pick_tunings(config, executor.machine)
        for number, name in enumerate(backbones):
            view.progress(f"a step of {name}", number, len(backbones))
            recipe = default_recipe(space, "full", name)
            try:
                speed = executor.measure(_task(workspace, config, dataset, recipe)).result()
            except AutomlCarError as error:
                yield problem("backbones", error)
                continue
            yield _step(recipe, speed, free if tuned and machine.device == "cpu" else 0)
        view.progress("steps", len(backbones), len(backbones))
    finally:
        executor.close()


def _describe(machine: Machine, free: int, slots: int) -> Finding:
    memory = f", {free / 1e9:.1f} GB of memory free" if free else ""
    several = f", {slots} folds at a time" if slots > 1 else ""
    return Finding("machine", "good", f"{machine.name}, {machine.cores} cores{memory}{several}")


def _task(workspace: Workspace, config: Config, dataset: Dataset, recipe: Recipe) -> SpeedTask:
    return SpeedTask(
        recipe,
        dataset.num_classes,
        workspace.cache,
        images=len(dataset.train_paths),
        plugins=workspace.plugin_sources(config),
        step="plain",
    )


def _step(recipe: Recipe, speed: Speed, free: int) -> Finding:
    """One real step; `free` is the memory that it has to fit into, 0 where that is not known or no matter."""
    text = (
        f"{recipe.backbone}: {recipe.batch_size / speed.training:.2f} s for a step of {recipe.batch_size} images of "
        f"{recipe.image_size} px, {speed.peak_memory_bytes / 1e9:.1f} GB"
    )
    if free and speed.peak_memory_bytes > _MEMORY_SHARE * free:
        return Finding("backbones", "note", text, "that is most of the free memory: take a smaller --batch-size")
    return Finding("backbones", "good", text)
