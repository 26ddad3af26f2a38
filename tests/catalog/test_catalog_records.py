from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from automl_car import Augmentation, Backbone, Param
from automl_car.catalog.params import default_values, own_values
from automl_car.errors import PluginError


def build(num_classes: int, **params: Any) -> None:
    """Stands where a network would be built."""


# ---- parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        (Param.float("a", 0, 1, default=1), {"kind": "float", "low": 0.0, "high": 1.0, "default": 1.0, "log": False}),
        (Param.int("a", 1, 8, default=2, log=True), {"kind": "int", "low": 1, "high": 8, "default": 2, "log": True}),
        (Param.choice("a", ["x", "y"], default="y"), {"kind": "choice", "choices": ["x", "y"], "default": "y"}),
    ],
)
def test_a_parameter_is_written_as_json_with_all_that_was_declared(param: Param, expected: dict[str, Any]) -> None:
    assert json.loads(json.dumps(param.to_json())) == {"name": "a", **expected}


@pytest.mark.parametrize("default", [-0.1, 1.1, float("nan")])
def test_a_default_outside_the_range_is_refused(default: float) -> None:
    with pytest.raises(PluginError, match=r"Default .* of parameter `drop` is outside 0.0 … 1.0"):
        Param.float("drop", 0, 1, default=default)


def test_a_default_that_is_no_choice_is_refused() -> None:
    with pytest.raises(PluginError, match=r"Default 'z' of parameter `a` is not one of \('x', 'y'\)"):
        Param.choice("a", ["x", "y"], default="z")


def test_a_logarithmic_range_from_zero_is_refused() -> None:
    with pytest.raises(PluginError, match=r"its low end 0\.0 must be above 0"):
        Param.float("a", 0, 1, default=0.5, log=True)


@pytest.mark.parametrize("high", [float("inf"), float("nan")])
def test_a_range_without_finite_ends_is_refused(high: float) -> None:
    with pytest.raises(PluginError, match="needs two finite ends"):
        Param.float("a", 0, high, default=0.5)


@pytest.mark.parametrize("name", ["Drop", "drop path", "drop.path", "", "드롭"])
def test_names_hold_lower_case_letters_digits_and_underscores_only(name: str) -> None:
    with pytest.raises(PluginError, match="may hold only a-z, 0-9 and _"):
        Param.float(name, 0, 1, default=0)
    with pytest.raises(PluginError, match="may hold only a-z, 0-9 and _"):
        Backbone(name, build)
    with pytest.raises(PluginError, match="may hold only a-z, 0-9 and _"):
        Augmentation(name, build)


def test_a_parameter_declared_twice_is_refused() -> None:
    twice = [Param.float("a", 0, 1, default=0), Param.int("a", 0, 1, default=0)]
    with pytest.raises(PluginError, match="`net` declares the parameter `a` twice"):
        Backbone("net", build, params=tuple(twice))
    with pytest.raises(PluginError, match="`crop` declares the parameter `a` twice"):
        Augmentation("crop", build, params=tuple(twice))


# ---- records --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_size": 8}, "`image_size=8` of backbone `net` is not in 16 … 4096 pixels"),
        ({"image_size": 5000}, "`image_size=5000`"),
        ({"default_lr": 0.0}, "`default_lr=0.0` of backbone `net` must be above 0"),
        ({"default_lr": float("nan")}, "`default_lr=nan`"),
        ({"interpolation": "nearest"}, "must be bicubic or bilinear"),
        ({"crop_pct": 87.5}, "`crop_pct=87.5` of backbone `net` must be a share"),
        ({"mean": (0.5,)}, "three numbers each"),
        ({"std": (0.5, 0.5, 0.0)}, "above 0"),
    ],
)
def test_a_backbone_with_an_impossible_fact_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        Backbone("net", build, **wrong)


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Backbone("net", build).name = "other"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Augmentation("crop", build).name = "other"  # type: ignore[misc]


def test_parameters_given_as_a_list_become_a_tuple_that_nobody_can_change() -> None:
    params = [Param.float("a", 0, 1, default=0)]
    backbone = Backbone("net", build, params=params)  # type: ignore[arg-type]
    params.clear()
    assert [param.name for param in backbone.params] == ["a"]


def test_the_defaults_of_a_plugin_are_those_it_declared() -> None:
    params = (Param.float("a", 0, 1, default=0.25), Param.choice("b", [1, 2], default=2))
    assert default_values(params) == {"a": 0.25, "b": 2}


def test_a_plugin_gets_its_own_values_and_not_those_of_a_longer_name() -> None:
    values = {"net.drop": 0.1, "net_large.drop": 0.2, "light.border": 0.3}
    assert own_values("net", values) == {"drop": 0.1}
