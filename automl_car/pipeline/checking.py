"""A minute before a run of days: data, classes, plugins, weights, memory, disk, and one real step of each backbone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.config import Config
from automl_car.data.checkup import Checkup, check_photos
from automl_car.data.tables import shorten
from automl_car.errors import AutomlCarError
from automl_car.pipeline.checked import Finding, problem
from automl_car.pipeline.choices import largest_size, pick_augmentations, pick_backbones
from automl_car.pipeline.machine_check import check_disk, check_machine
from automl_car.pipeline.outcome import View
from automl_car.pipeline.reading import read_photos
from automl_car.pipeline.tracking import pick_trackers
from automl_car.records import Dataset
from automl_car.workspace import Workspace

_DECODING_SECONDS = 15.0
_UNBALANCED = 10  # times as many photos of one class as of another


def check(workspace: Workspace, config: Config, *, sample: bool, view: View, log: Path) -> Iterator[Finding]:
    """Look at everything that a search needs; every finding as soon as it is known.

    Args:
        sample: look at the generated photos.
        log: file for what the training process prints.
    """
    catalog = load_catalog(workspace.plugin_sources(config))
    yield from _check_plugins(catalog)
    yield from _check_trackers(catalog, config)
    try:
        dataset = read_photos(workspace, config, sample=sample, view=view)
    except AutomlCarError as error:
        yield problem("data", error)
        return
    yield from _check_classes(dataset, config)
    try:
        backbones = pick_backbones(catalog, config, view)
        pick_augmentations(catalog, config)
        side = max(largest_size(config, catalog, backbones), 32)
    except AutomlCarError as error:
        yield problem("backbones", error)
        return
    view.progress("looking at photos", 0, 1)
    photos = check_photos(dataset, short_side=side, seconds=_DECODING_SECONDS)
    yield from _check_photos(photos, side)
    yield check_disk(workspace, config, dataset, photos, len(backbones))
    yield from check_machine(workspace, config, catalog, dataset, backbones, photos, view, log)


# ---- plugins and data -----------------------------------------------------------------------------------------------


def _check_plugins(catalog: Catalog) -> Iterator[Finding]:
    loaded = [row for row in catalog.plugins if not row.error and not row.disabled]
    text = f"{len(loaded)} loaded: {len(catalog.backbones)} backbones, {len(catalog.augmentations)} augmentations"
    yield Finding("plugins", "good", text)
    for row in catalog.plugins:
        if row.error:
            todo = f"mend it, or leave it out: plugins: {{disabled: [{row.name}]}}"
            yield Finding("plugins", "problem", f"`{row.name}` ({row.location}): {row.error}", todo)


def _check_trackers(catalog: Catalog, config: Config) -> Iterator[Finding]:
    try:
        chosen = pick_trackers(catalog, config)
    except AutomlCarError as error:
        yield problem("trackers", error)
        return
    if chosen:
        yield Finding("trackers", "good", f"{', '.join(one.tracker.name for one in chosen)}: switched on and installed")


def _check_classes(dataset: Dataset, config: Config) -> Iterator[Finding]:
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    yield Finding(
        "data",
        "good",
        f"{len(dataset.train_paths)} training photos of {dataset.num_classes} classes ({counts.min()} to "
        f"{counts.max()} a class), {len(dataset.test_paths)} test photos",
    )
    if dataset.submission is None:
        yield Finding("data", "note", "there is no test set, so there will be no submission")
    else:
        columns = len(dataset.submission.columns)
        yield Finding("classes", "good", f"all {columns} columns of the submission have their class")
    if counts.max() > _UNBALANCED * counts.min():
        rare = [dataset.class_names[label] for label in np.argsort(counts, kind="stable")[:3]]
        yield Finding("classes", "note", f"unbalanced: {shorten(rare)} have the fewest photos", "add photos of those")
    if few := [dataset.class_names[label] for label in np.flatnonzero(counts < config.data.folds)]:
        text = f"{len(few)} have fewer photos than there are folds: {shorten(few, 3)}"
        yield Finding("classes", "note", text, f"some folds will not see them; try --folds {max(2, counts.min())}")
    if twins := _alike(dataset.class_names):
        todo = "if the contest counts them as one, say so in data.class_aliases"
        yield Finding("classes", "note", f"names that differ in spaces, case or signs only: {shorten(twins, 4)}", todo)


def _alike(names: tuple[str, ...]) -> list[str]:
    plain: dict[str, list[str]] = {}
    for name in names:
        plain.setdefault("".join(letter for letter in name.casefold() if letter.isalnum()), []).append(name)
    return [name for group in plain.values() if len(group) > 1 for name in group]


def _check_photos(photos: Checkup, side: int) -> Iterator[Finding]:
    all_of_them = photos.decoded == photos.photos
    text = f"{photos.decoded} of {photos.photos} decoded" if not all_of_them else f"all {photos.photos} decoded"
    if photos.broken:
        named = shorten([f"{path}: {reason}" for path, reason in photos.broken], 3)
        yield Finding(
            "photos", "note", f"{text}, {len(photos.broken)} cannot be: {named}", "training leaves those out; mend them"
        )
    else:
        yield Finding("photos", "good", f"{text}, none broken")
    smallest, middle, largest = photos.sides
    yield Finding("photos", "good", f"short sides of {smallest} to {largest} px, {middle} in the middle")
    if 0 < middle < side:
        text = f"most are smaller than the {side} px that the largest backbone looks at, and are enlarged for it"
        yield Finding("photos", "good", text)
    yield from _check_copies(photos)


def _check_copies(photos: Checkup) -> Iterator[Finding]:
    if photos.conflicts:
        named = shorten([" = ".join(group) for group in photos.conflicts], 2)
        text = f"{len(photos.conflicts)} photos are there under two labels: {named}"
        yield Finding("copies", "note", text, "at least one label is wrong: data.exclude leaves a photo out")
    if photos.shared:
        named = shorten([f"{one} = {other}" for one, other in photos.shared], 2)
        text = f"{len(photos.shared)} test photos are also training photos: {named}"
        yield Finding("copies", "note", text, "out-of-fold numbers will be worse than the test's")
    if not (photos.conflicts or photos.shared):
        extra = f"; {len(photos.repeated)} groups of equal training photos go into one fold" if photos.repeated else ""
        yield Finding("copies", "good", f"no photo twice under two labels, none in both train and test{extra}")
