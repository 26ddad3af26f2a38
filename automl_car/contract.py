"""The contract that every plugin must pass; plugin authors call it from their own tests.

Example:
    from automl_car.contract import check_plugin_file

    def test_my_plugin_keeps_the_contract():
        check_plugin_file("my_plugin.py")

A rule is a function that raises PluginError. `automl-car plugins check` goes through all of them; a test, and a search
that meets a plugin for the first time, stop at the first that is broken.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl_car.catalog.records import Augmentation, Backbone, ExecutorKind, PluginSources, Tracker
from automl_car.errors import PluginError
from automl_car.executor_rules import EXECUTOR_RULES, ExecutorBench
from automl_car.following import missing_modules
from automl_car.rules import AUGMENTATION_RULES, BACKBONE_RULES, BUILDS_ON, NetworkBench, PictureBench
from automl_car.tracker_rules import TRACKER_RULES, TrackerBench

# What a network must do to be trained at all; the other rules are for those who publish one.
TO_BE_TRAINED = ("build", "logits", "gradient", "last layer")
# What an augmentation must do.
TO_MAKE_PICTURES = ("build", "pictures")


@dataclass(frozen=True)
class Breach:
    """A rule that something which a plugin offers breaks; `cause` is what its code raised, if it did."""

    rule: str
    message: str
    cause: BaseException | None = None


def check_plugin_file(path: str | Path) -> tuple[str, ...]:
    """Load a one-file plugin and check all that it offers.

    Returns:
        The names of its backbones, augmentations, trackers and executors.

    Raises:
        PluginError: the file cannot be loaded, or a record breaks the contract.
    """
    from automl_car.catalog.manager import load_catalog

    file = Path(path).resolve()
    catalog = load_catalog(PluginSources(files=(file,)))
    # From the end, where named files come; a bundled file stands earlier and is not loaded twice.
    row = next(row for row in reversed(catalog.plugins) if row.name == file.stem)
    if row.error:
        raise PluginError(f"Plugin `{path}` cannot be loaded: {row.error}")
    for name in row.backbones:
        check_backbone(catalog.backbones[name])
    for name in row.augmentations:
        check_augmentation(catalog.augmentations[name])
    for name in row.trackers:
        check_tracker(catalog.trackers[name])
    for name in row.executors:
        check_executor(catalog.executors[name])
    return row.backbones + row.augmentations + row.trackers + row.executors


def check_backbone(backbone: Backbone, *, image_size: int | None = None, rules: Sequence[str] | None = None) -> None:
    """Build the backbone with random weights, run it forward and backward once, and check what comes out.

    Args:
        backbone: what to check.
        image_size: side in pixels of the test images; the backbone's own size by default. A smaller one is
            quicker for networks that accept any size.
        rules: of `BACKBONE_RULES`; by default all but `parameters`, which builds the network many times.

    Raises:
        PluginError: names the first rule that is broken.
    """
    chosen = rules or [rule for rule in BACKBONE_RULES if rule != "parameters"]
    for breach in backbone_breaches(backbone, image_size=image_size, rules=chosen):
        raise PluginError(breach.message) from breach.cause


def check_augmentation(augmentation: Augmentation, *, image_size: int = 64, rules: Sequence[str] | None = None) -> None:
    """Build the augmentation and check its pictures: shape, type, and that the seed alone decides them.

    Raises:
        PluginError: names the first rule that is broken.
    """
    for breach in augmentation_breaches(augmentation, image_size=image_size, rules=rules or list(AUGMENTATION_RULES)):
        raise PluginError(breach.message) from breach.cause


def check_tracker(tracker: Tracker) -> None:
    """Open the tracker with its defaults, in an empty folder, and tell it of a small made-up search.

    Raises:
        PluginError: names the first rule that is broken, or the library that is missing.
    """
    _require_library(tracker)
    for breach in tracker_breaches(tracker):
        raise PluginError(breach.message) from breach.cause


def check_executor(kind: ExecutorKind) -> None:
    """Build the executor with its defaults, give it small tasks, and end it.

    Raises:
        PluginError: names the first rule that is broken, or the library that is missing.
    """
    _require_library(kind)
    for breach in executor_breaches(kind):
        raise PluginError(breach.message) from breach.cause


def _require_library(record: Tracker | ExecutorKind) -> None:
    if missing := missing_modules(record):
        install = record.install or " ".join(missing)
        raise PluginError(f"`{record.name}` needs `{'`, `'.join(missing)}`.", hint=f"pip install '{install}'")


def backbone_breaches(
    backbone: Backbone,
    *,
    image_size: int | None = None,
    rules: Sequence[str] | None = None,
    begins: Callable[[str], None] = lambda rule: None,
) -> Iterator[Breach]:
    """Every rule that a backbone breaks; a rule that builds on a broken one is not looked at.

    Args:
        backbone, image_size: as `check_backbone`.
        rules: all by default.
        begins: called with each rule before it is looked at.
    """
    bench = NetworkBench(backbone, image_size or backbone.image_size)
    return _breaches(bench, BACKBONE_RULES, rules or list(BACKBONE_RULES), begins)


def augmentation_breaches(
    augmentation: Augmentation,
    *,
    image_size: int = 64,
    rules: Sequence[str] | None = None,
    begins: Callable[[str], None] = lambda rule: None,
) -> Iterator[Breach]:
    """Every rule that an augmentation breaks, as `backbone_breaches`."""
    bench = PictureBench(augmentation, image_size)
    return _breaches(bench, AUGMENTATION_RULES, rules or list(AUGMENTATION_RULES), begins)


def tracker_breaches(tracker: Tracker, *, begins: Callable[[str], None] = lambda rule: None) -> Iterator[Breach]:
    """Every rule that a tracker breaks, as `backbone_breaches`; its library has to be there."""
    with tempfile.TemporaryDirectory(prefix="automl-car-", ignore_cleanup_errors=True) as folder:
        bench = TrackerBench(tracker, Path(folder).resolve())
        yield from _breaches(bench, TRACKER_RULES, list(TRACKER_RULES), begins)


def executor_breaches(kind: ExecutorKind, *, begins: Callable[[str], None] = lambda rule: None) -> Iterator[Breach]:
    """Every rule that an executor breaks, as `backbone_breaches`; its library has to be there."""
    with tempfile.TemporaryDirectory(prefix="automl-car-", ignore_cleanup_errors=True) as folder:
        bench = ExecutorBench(kind, Path(folder).resolve())
        try:
            yield from _breaches(bench, EXECUTOR_RULES, list(EXECUTOR_RULES), begins)
        finally:
            bench.close()


def _breaches(
    bench: Any,
    known: Mapping[str, Callable[[Any], None]],
    rules: Sequence[str],
    begins: Callable[[str], None],
) -> Iterator[Breach]:
    broken = set()
    for name, rule in known.items():
        if name not in rules:
            continue
        if BUILDS_ON.get(name) in broken:
            broken.add(name)
            continue
        begins(name)
        try:
            rule(bench)
        except PluginError as error:
            broken.add(name)
            yield Breach(name, error.message, error.__cause__)
