"""A recipe for several backbones side by side, as one recipe for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from automl_car.catalog.joint import versions_of
from automl_car.catalog.records import Backbone
from automl_car.records import Recipe


def joint_size(parts: Sequence[Backbone]) -> int:
    """The own image size of backbones side by side, in pixels: that of the largest."""
    return max(part.image_size for part in parts)


def part_recipes(recipe: Recipe, parts: Sequence[Backbone]) -> tuple[Recipe, ...]:
    """What each part of a recipe's backbone does: what it would do alone, so that it shares its features.

    At their own size together, each has its own; at any other one, all have that.

    Args:
        parts: of the recipe's backbone, in the order of its name; of a single one, that one.
    """
    if len(parts) == 1:
        return (recipe,)
    own = recipe.image_size == joint_size(parts)
    return tuple(
        replace(
            recipe,
            backbone=part.name,
            backbone_version=version,
            image_size=part.image_size if own else recipe.image_size,
        )
        for part, version in zip(parts, versions_of(recipe.backbone_version, len(parts)), strict=True)
    )
