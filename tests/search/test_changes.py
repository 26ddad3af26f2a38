"""What has changed from one space to another, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from automl_car.catalog.params import Param
from automl_car.search.changes import why_changed
from automl_car.search.space import Space

MakeSpace = Callable[..., Space]


def _why(make_space: MakeSpace, **changes: Any) -> str:
    return why_changed(make_space().to_json(), make_space(**changes).to_json())


def _with_backbones(*names: str) -> dict[str, Any]:
    """What changes in the small space with other backbones."""
    return {
        "backbones": names,
        "full_sizes": dict.fromkeys(names, (128,)),
        "head_sizes": dict.fromkeys(names, (224,)),
        "params": {name: () for name in (*names, "light", "none")},
        "weights": dict.fromkeys(names, "pretrained"),
        "weights_digests": dict.fromkeys(names, ""),
        "default_lr": dict.fromkeys(names, 1e-3),
    }


def test_equal_spaces_have_no_change(make_space: MakeSpace) -> None:
    assert _why(make_space) == ""


def test_of_a_new_backbone_only_its_name_is_told(make_space: MakeSpace) -> None:
    before = make_space(**_with_backbones("small"))
    after = make_space(**_with_backbones("foo", "small"))
    assert why_changed(before.to_json(), after.to_json()) == "backbone `foo` added"


def test_several_backbones_that_go_are_named_together(make_space: MakeSpace) -> None:
    before = make_space(**_with_backbones("a", "b", "small"))
    after = make_space(**_with_backbones("small"))
    assert why_changed(before.to_json(), after.to_json()) == "backbones `a`, `b` left out"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"augmentations": ("heavy", "light", "none")}, "augmentation `heavy` added"),
        ({"tunings": ("full", "head")}, "tuning `full` added"),
        ({"views": (2, 4)}, "views [2] → [2, 4]"),
        ({"versions": {"small": "12ab34cd"}}, "plugin of `small` updated"),
        ({"head_sizes": {"large": (256,), "small": (192, 224)}}, "image sizes for heads of `small` changed"),
        ({"default_lr": {"large": 1e-3, "small": 1e-3}}, "learning rate of `small` changed"),
        ({"weights_digests": {"large": "", "small": "f00"}}, "weights of `small` changed"),
        ({"fixed": {"epochs": 8, "batch_size": 16, "patience": 2, "flip": True, "seed": 0}}, "`epochs` 4 → 8"),
        (
            {"params": {"large": (Param.float("drop_path", 0.0, 0.3, default=0.1),), "small": ()}},
            "parameters of `large` changed",
        ),
    ],
)
def test_each_change_has_words(make_space: MakeSpace, changes: dict[str, Any], expected: str) -> None:
    assert _why(make_space, **changes) == expected


def test_a_wider_range_is_told_with_its_ends(make_space: MakeSpace) -> None:
    ranges = {**make_space().ranges, "head.shrinkage": (0.0, 0.9)}
    assert _why(make_space, ranges=ranges) == "`head.shrinkage` [0.05, 0.8] → [0.0, 0.9]"


def test_of_many_changes_the_first_are_told(make_space: MakeSpace) -> None:
    ranges = dict.fromkeys(make_space().ranges, 0.125)  # seven settings that were ranges, one of 1.0, one of 0.5
    told = _why(make_space, ranges=ranges, tunings=("full", "head"))
    assert told.startswith("tuning `full` added; `cutmix` ")
    assert told.endswith("; and 7 more changes")
    assert "\n" not in told


def test_a_space_stored_before_there_were_versions_is_the_same_without_any(make_space: MakeSpace) -> None:
    stored = {key: value for key, value in make_space().to_json().items() if key != "versions"}
    assert why_changed(stored, make_space().to_json()) == ""


def test_a_part_of_a_space_that_has_no_words_is_told_all_the_same() -> None:
    assert why_changed({"speed": 1}, {"speed": 2}) == "speed 1 → 2"
