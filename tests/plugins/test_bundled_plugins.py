from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm

from automl_car import Augmentation, Backbone
from automl_car.catalog.manager import load_catalog
from automl_car.catalog.params import default_values
from automl_car.contract import check_augmentation, check_backbone
from automl_car.training.augment import augment, build_transform

CATALOG = load_catalog()
HEAVY = ("eva02_large", "convnextv2_base")  # too large for a test of every day
LIGHT = [name for name in CATALOG.backbones if name not in HEAVY]
FROM_TIMM = [name for name in CATALOG.backbones if not name.startswith("efficientnet_lite")]
FULL_STRENGTH = {"heavy": {"border": 0.25}, "rand": {"count": 3, "strength": 1.0}}


def timm_tag(backbone: Backbone) -> str:
    """The network's name in timm, which the bundled plugins bind to their `build`."""
    tag: str = backbone.build.keywords["tag"]  # type: ignore[attr-defined]
    return tag


@pytest.mark.parametrize("name", LIGHT)
def test_a_bundled_backbone_keeps_the_contract(name: str) -> None:
    check_backbone(CATALOG.backbone(name), image_size=64)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_a_large_bundled_backbone_keeps_the_contract_at_its_own_size(name: str) -> None:
    check_backbone(CATALOG.backbone(name))


@pytest.mark.parametrize("name", FROM_TIMM)
def test_the_declared_facts_are_those_that_timm_has_of_the_weights(name: str) -> None:
    backbone = CATALOG.backbone(name)
    facts = timm.get_pretrained_cfg(timm_tag(backbone))
    declared = {
        "mean": backbone.mean,
        "std": backbone.std,
        "input_size": (3, backbone.image_size, backbone.image_size),
        "crop_pct": backbone.crop_pct,
        "interpolation": backbone.interpolation,
        "license": backbone.license.lower(),
    }
    assert declared == {fact: getattr(facts, fact) for fact in declared}


@pytest.mark.parametrize("name", FROM_TIMM)
def test_weights_are_looked_for_where_timm_would_load_them_from(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    backbone = CATALOG.backbone(name)
    repository = timm.get_pretrained_cfg(timm_tag(backbone)).hf_hub_id
    folder = tmp_path / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    assert backbone.find_weights is not None
    assert backbone.find_weights() is None
    (folder / "snapshots" / "abc" / "model.safetensors").touch()
    assert backbone.find_weights() == folder / "snapshots" / "abc" / "model.safetensors"


@pytest.mark.parametrize("name", CATALOG.augmentations)
def test_a_bundled_augmentation_keeps_the_contract(name: str) -> None:
    check_augmentation(CATALOG.augmentation(name))


@pytest.mark.parametrize(("name", "params"), FULL_STRENGTH.items())
def test_an_augmentation_at_full_strength_keeps_the_contract(name: str, params: dict[str, Any]) -> None:
    mild = CATALOG.augmentation(name)
    strong = Augmentation(name, lambda side, **defaults: mild.build(side, **{**defaults, **params}), source="a paper")
    check_augmentation(strong)


def test_none_keeps_a_picture_of_the_right_size_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    transform = build_transform(CATALOG.augmentation("none"), 64, {})
    np.testing.assert_array_equal(augment(transform, picture, seed=1), picture)


@pytest.mark.parametrize("name", [name for name in CATALOG.augmentations if name != "none"])
def test_other_seeds_give_other_pictures(name: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    augmentation = CATALOG.augmentation(name)
    transform = build_transform(augmentation, 64, default_values(augmentation.params))
    pictures = {augment(transform, picture, seed=seed).tobytes() for seed in range(4)}
    assert len(pictures) == 4


def test_every_record_says_where_it_comes_from_and_under_which_licence() -> None:
    for backbone in CATALOG.backbones.values():
        assert backbone.source
        assert backbone.license
    for augmentation in CATALOG.augmentations.values():
        assert augmentation.source
