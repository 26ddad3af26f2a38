"""The members of an ensemble in; the files of a bundle that their networks become out, each made when it is needed.

A member's models are those of its folds, or the one that `automl-car refit` trained on all photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from automl_car.bundle_records import BundleMember, BundleNetwork, Sight
from automl_car.catalog.manager import Catalog
from automl_car.catalog.params import ParamValue, own_values
from automl_car.catalog.records import Backbone
from automl_car.ensemble_records import Ensemble, Member
from automl_car.errors import PluginError, StudyError
from automl_car.joint import part_recipes
from automl_car.records import Recipe
from automl_car.store import read_model, read_recipe


@dataclass
class Parts:
    """What a bundle is made of.

    Attributes:
        members: heaviest first.
        recipes: of each.
        make: by name, how each file is made; all of them may be larger than the memory.
    """

    members: list[BundleMember] = field(default_factory=list)
    recipes: list[Recipe] = field(default_factory=list)
    make: dict[str, Callable[[], bytes]] = field(default_factory=dict)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file, one in memory at a time."""
        for name, make in self.make.items():
            yield name, make()


Models = Mapping[str, tuple[Path, ...]]
"""The folders of the models that each member predicts with, by its name."""


def fold_models(store: Path, ensemble: Ensemble) -> Models:
    """The models of the folds of each member.

    Args:
        store: of the study.

    Raises:
        StudyError: a member has no networks.
    """
    for member in ensemble.members:
        if not member.recipe_id:
            raise StudyError(f"{member.name} came from a file: there is no network of it to put into a bundle.")
    return {
        member.name: tuple(store / member.recipe_id / f"fold-{fold}" for fold in member.folds)
        for member in ensemble.members
    }


def collect_parts(models: Models, ensemble: Ensemble, catalog: Catalog, num_classes: int) -> Parts:
    """Everything that the members of an ensemble predict with.

    Args:
        models: that the bundle is to have.
        num_classes: C.

    Raises:
        PluginError: a backbone is missing, or its plugin was edited since the study was trained.
        StoreError: a fold is missing or damaged.
    """
    parts = Parts()
    frozen: dict[object, BundleNetwork] = {}
    for member in ensemble.members:
        folders = models[member.name]
        recipe = read_recipe(folders[0])
        _refuse_edited(recipe, catalog)
        if recipe.tuning == "head":
            networks, head = _add_head(parts, folders, member, recipe, frozen, catalog, num_classes)
        else:
            networks, head = _add_networks(parts, folders, member, recipe), ""
        sight = _sight(catalog.parts(recipe.backbone)[0], recipe)
        parts.recipes.append(recipe)
        parts.members.append(
            BundleMember(
                member.name,
                member.weight,
                member.temperature,
                networks,
                head,
                image_size=recipe.image_size,
                mean=sight.mean,
                std=sight.std,
                interpolation=sight.interpolation,
                views=member.views or recipe.views,
                flip=recipe.flip,
                power=recipe.power,
            )
        )
    return parts


def _sight(backbone: Backbone, recipe: Recipe) -> Sight:
    return Sight(recipe.image_size, backbone.mean, backbone.std, backbone.interpolation)


def _refuse_edited(recipe: Recipe, catalog: Catalog) -> None:
    catalog.parts(recipe.backbone)
    now = catalog.version_of(recipe.backbone)
    if now != recipe.backbone_version:
        raise PluginError(
            f"The plugin of `{recipe.backbone}` has version {now or 'of automl-car'}, and the study was trained with "
            f"{recipe.backbone_version or 'that of automl-car'}.",
            hint="bring the old plugin back, or let a search train the study on with the new one.",
        )


def _add_networks(parts: Parts, folders: tuple[Path, ...], member: Member, recipe: Recipe) -> tuple[BundleNetwork, ...]:
    networks = []
    for folder in folders:
        name = f"weights/{_slug(member.name)}-{folder.name}.safetensors"
        parts.make[name] = _reader(folder)
        networks.append(BundleNetwork(name, recipe.backbone, own_params(recipe)))
    return tuple(networks)


def _reader(fold: Path) -> Callable[[], bytes]:
    return lambda: read_model(fold)


def _add_head(
    parts: Parts,
    folders: tuple[Path, ...],
    member: Member,
    recipe: Recipe,
    frozen: dict[object, BundleNetwork],
    catalog: Catalog,
    num_classes: int,
) -> tuple[tuple[BundleNetwork, ...], str]:
    """The frozen backbones, each once for all members that share it, and the mean of the heads."""
    backbones, networks = catalog.parts(recipe.backbone), []
    for backbone, own in zip(backbones, part_recipes(recipe, backbones), strict=True):
        key = frozen_key(own)
        if key not in frozen:
            name = f"weights/{own.backbone}-{len(frozen) + 1}.safetensors"
            frozen[key] = BundleNetwork(name, own.backbone, own_params(own))
            parts.make[name] = _freezer(catalog, own, num_classes)
        beside_others = len(backbones) > 1
        networks.append(replace(frozen[key], sight=_sight(backbone, own)) if beside_others else frozen[key])
    head = f"weights/{_slug(member.name)}-head.safetensors"
    parts.make[head] = lambda: _mean_head(folders)
    return tuple(networks), head


def _freezer(catalog: Catalog, recipe: Recipe, num_classes: int) -> Callable[[], bytes]:
    from automl_car.training.frozen import frozen_weights

    return lambda: frozen_weights(catalog.backbone(recipe.backbone), recipe, num_classes)


def _mean_head(folds: tuple[Path, ...]) -> bytes:
    """A mean of linear functions is the linear function of the mean weights."""
    from safetensors.numpy import load, save

    heads = [load(read_model(fold)) for fold in folds]
    return save({name: _mean([head[name] for head in heads]) for name in ("weight", "bias")})


def _mean(arrays: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    mean: NDArray[np.float64] = np.stack(arrays).mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def own_params(recipe: Recipe) -> tuple[tuple[str, ParamValue], ...]:
    """The values of the backbone's own parameters, sorted."""
    return tuple(sorted(own_values(recipe.backbone, dict(recipe.params)).items()))


def _slug(name: str) -> str:
    return name.replace(" ", "-")


def frozen_key(recipe: Recipe) -> object:
    """Equal for recipes whose frozen backbones are one and the same."""
    seed = recipe.seed if recipe.weights == "random" else None  # as in the cache of features
    return recipe.backbone, own_params(recipe), recipe.weights_digest or recipe.weights, seed
