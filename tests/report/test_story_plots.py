from __future__ import annotations

import io

import numpy as np
from PIL import Image

from automl_car.report.story import Curves, ToldTrial
from automl_car.report.story_plots import curves_plot, timeline_plot


def _read(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"
        return picture.convert("RGB")


def _colours(picture: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.asarray(picture).reshape(-1, 3).tolist()}


def _trial(number: int, state: str, began: float | None, ended: float | None) -> ToldTrial:
    return ToldTrial(number, state, "toy", "head", None, began, ended, 1.0, {})


def test_a_trial_is_a_bar_in_the_colour_of_its_end() -> None:
    orange = (0xDD, 0x9B, 0x4F)
    complete = _trial(0, "complete", 0.0, 60.0)
    assert orange in _colours(_read(timeline_plot([complete, _trial(1, "pruned", 60.0, 120.0)])))
    assert orange not in _colours(_read(timeline_plot([complete])))


def test_a_trial_that_still_runs_has_no_bar_yet() -> None:
    picture = timeline_plot([_trial(0, "complete", 0.0, 60.0), _trial(1, "running", 60.0, None)])
    assert (0x66, 0xA1, 0x82) not in _colours(_read(picture))


def test_a_panel_for_each_member_makes_the_plot_wider_and_then_higher() -> None:
    member = Curves("trial 0", "toy", {0: (1.0, 0.5), 1: (1.1, 0.6)})
    one, three, four = (_read(curves_plot([member] * count)) for count in (1, 3, 4))
    assert one.width < three.width == four.width
    assert one.height == three.height < four.height
