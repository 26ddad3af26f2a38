"""Milliseconds per photo of what an ensemble makes use of, each network and each square measured once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from automl_car.catalog.manager import Catalog
from automl_car.joint import part_recipes
from automl_car.pipeline.bundle_parts import frozen_key, own_params
from automl_car.records import Recipe
from automl_car.store import read_model

if TYPE_CHECKING:
    from automl_car.training.squares import Square
    from automl_car.training.views import View


@dataclass(frozen=True)
class Use:
    """The models of some folds of a trial, and how many views of each photo they see."""

    recipe: Recipe
    recipe_id: str
    folds: tuple[int, ...]
    views: int


class Costs:
    """What passes and squares take on this machine.

    Args:
        catalog: with the backbones.
        num_classes: C.
        short_side: of the photos.
        store: folds of the study.
    """

    def __init__(self, catalog: Catalog, num_classes: int, short_side: int, store: Path) -> None:
        self._catalog = catalog
        self._store = store
        self._classes = num_classes
        self._short_side = short_side
        self._networks: dict[object, float] = {}
        self._squares: dict[Square, float] = {}

    def milliseconds(self, uses: Iterable[Use]) -> float:
        """Of one photo, of all these together: what two of them share counts once."""
        passes: dict[object, float] = {}
        squares: dict[Square, float] = {}
        for use in uses:
            for part in self._parts(use):
                for view in _views(part):
                    square = self._square(part, view)
                    squares[square] = self._of_square(square)
                    for network in _networks(part):
                        passes[network, part.recipe.image_size, view] = self._of_network(part)
        return sum(passes.values()) + sum(squares.values())

    def kind(self, use: Use) -> object:
        """Equal for trials that take equally long."""
        return (*_architecture(use.recipe), use.recipe.tuning, len(use.folds), _views(use))

    def _parts(self, use: Use) -> list[Use]:
        """The same of each backbone alone, where several work side by side."""
        backbones = self._catalog.parts(use.recipe.backbone)
        return [replace(use, recipe=recipe) for recipe in part_recipes(use.recipe, backbones)]

    def _of_network(self, use: Use) -> float:
        """What one tuned network of an architecture takes, each of them takes; and so for frozen ones."""
        from automl_car.training.timing import network_milliseconds

        recipe = use.recipe
        key = (*_architecture(recipe), recipe.tuning)
        if key not in self._networks:
            tuned = recipe.tuning == "full"
            weights = read_model(self._store / use.recipe_id / f"fold-{use.folds[0]}") if tuned else None
            backbone = self._catalog.backbone(recipe.backbone)
            self._networks[key] = network_milliseconds(backbone, recipe, self._classes, weights)
        return self._networks[key]

    def _of_square(self, square: Square) -> float:
        from automl_car.training.timing import square_milliseconds

        if square not in self._squares:
            self._squares[square] = square_milliseconds(square, self._short_side)
        return self._squares[square]

    def _square(self, use: Use, view: View) -> Square:
        from automl_car.training.squares import Square

        return Square(use.recipe.image_size, self._catalog.backbone(use.recipe.backbone).interpolation, view.side)


def _architecture(recipe: Recipe) -> tuple[object, ...]:
    return recipe.backbone, own_params(recipe), recipe.image_size


def _networks(use: Use) -> Iterator[object]:
    """A name for each network that goes over a view; trials with the same frozen backbone share it."""
    if use.recipe.tuning == "head":
        yield frozen_key(use.recipe)
    else:
        yield from ((use.recipe_id, fold) for fold in use.folds)


def _views(use: Use) -> tuple[View, ...]:
    from automl_car.training.views import choose_views

    return choose_views(use.views, flip=use.recipe.flip)
