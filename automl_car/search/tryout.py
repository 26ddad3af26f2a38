"""In the training process: what comes from a stranger's plugin is tried out on two images before it is trained.

A network of a wrong shape is then told as that, in words, and one that never answers ends this process alone.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from automl_car.catalog.guarded import blaming
from automl_car.catalog.joint import parts_of
from automl_car.catalog.manager import Catalog
from automl_car.catalog.state import left_alone
from automl_car.joint import part_recipes
from automl_car.records import Recipe
from automl_car.search.blame import HUNG_AUGMENTATION, HUNG_BACKBONE


class TryOut:
    """Tries each backbone and augmentation that does not come with automl-car, once in a process."""

    def __init__(self) -> None:
        self._passed: set[tuple[str, str]] = set()

    def __call__(self, recipe: Recipe, catalog: Catalog, time_limit: float) -> None:
        """Try what a recipe is made of.

        Args:
            time_limit: seconds for each of them. When they are over, the process ends with an exit code that says so.

        Raises:
            PluginError: it cannot be trained.
        """
        from automl_car.contract import TO_BE_TRAINED, TO_MAKE_PICTURES, check_augmentation, check_backbone

        parts = catalog.parts(recipe.backbone)
        for part, own in zip(parts, part_recipes(recipe, parts), strict=True):
            if self._is_new(part.name, catalog):
                with blaming(part.name), _limited(time_limit, part.name, HUNG_BACKBONE):
                    check_backbone(part, image_size=own.image_size, rules=TO_BE_TRAINED)
        if recipe.tuning == "full" and self._is_new(recipe.augmentation, catalog):
            with blaming(recipe.augmentation), _limited(time_limit, recipe.augmentation, HUNG_AUGMENTATION):
                augmentation = catalog.augmentation(recipe.augmentation)
                check_augmentation(augmentation, image_size=recipe.image_size, rules=TO_MAKE_PICTURES)
        tried = (*parts_of(recipe.backbone), recipe.augmentation)
        self._passed |= {(name, catalog.version_of(name)) for name in tried}

    def _is_new(self, name: str, catalog: Catalog) -> bool:
        version = catalog.version_of(name)
        return bool(version) and (name, version) not in self._passed


@contextmanager
def _limited(seconds: float, name: str, code: int) -> Iterator[None]:
    """End the process if the block takes longer; its random numbers go on as if there had been none."""

    def end() -> None:
        print(f"`{name}` was not done with two images after {seconds:g} s:", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(sys.stderr)
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    faulthandler.dump_traceback_later(seconds + 5, exit=True)  # for code that lets no other thread run
    try:
        with left_alone():
            yield
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()
