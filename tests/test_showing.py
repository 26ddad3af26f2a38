"""`plugins new` and `plugins show`, as a person meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from automl_car import Augmentation
from automl_car.catalog.manager import load_catalog
from automl_car.cli import app
from automl_car.config import Config
from automl_car.errors import AutomlCarError, PluginError
from automl_car.pipeline.showing import augmentation_sheet
from automl_car.report.picture_rows import TILE
from automl_car.training.examples import augmented
from automl_car.workspace import Workspace


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in an empty folder; returns its result."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["plugins", *arguments])

    return invoke


def refused(result: Result) -> str:
    assert isinstance(result.exception, AutomlCarError)
    return result.exception.message


# ---- new ------------------------------------------------------------------------------------------------------------


def test_a_new_plugin_is_found_by_the_next_command(run: Callable[..., Result]) -> None:
    written = run("new", "other_light", "--kind", "augmentation")
    assert written.stdout.splitlines() == ["plugins/other_light.py", "tests/test_other_light.py"]
    assert "automl-car plugins check other_light" in written.stderr
    assert "--augmentation other_light" in written.stderr
    offered = json.loads(run("list", "--json").stdout)["augmentations"]
    assert "other_light" in [record["name"] for record in offered]


def test_outside_of_the_workspace_the_next_commands_name_the_file(run: Callable[..., Result], tmp_path: Path) -> None:
    written = run("new", "mine", "--kind", "backbone", "--output", "elsewhere")
    assert (tmp_path / "elsewhere" / "plugins" / "mine.py").is_file()
    assert "--backbone mine --plugin elsewhere/plugins/mine.py" in written.stderr


@pytest.mark.parametrize("name", ["light", "crops", "resnet50"])
def test_a_name_of_a_bundled_plugin_or_of_what_it_offers_is_taken(name: str, run: Callable[..., Result]) -> None:
    assert "is taken" in refused(run("new", name, "--kind", "backbone"))


# ---- show -----------------------------------------------------------------------------------------------------------


def test_a_backbone_is_shown_with_its_facts(run: Callable[..., Result]) -> None:
    shown = json.loads(run("show", "efficientnet_lite0", "--json").stdout)
    assert shown["kind"] == "backbone"
    assert shown["plugin"]["name"] == "efficientnet_lite"
    assert shown["license"] == "Apache-2.0"
    assert shown["params"][0]["name"] == "drop_path"
    assert shown["weights"]["date"] == "2020-06-20"
    assert Path(shown["weights"]["file"]).is_file()


def test_people_see_where_weights_would_come_from(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    shown = run("show", "resnet50").stdout
    assert "timm/resnet50.a1_in1k" in shown
    assert "2021-10-19" in shown
    assert "numbers from 0 to 0.2" in shown


def test_an_augmentation_comes_with_a_picture(run: Callable[..., Result], tiny_dataset: Path) -> None:
    result = run("show", "light", "--json")
    assert json.loads(result.stdout)["sheet"] == "augmentation-light.jpg"
    assert result.stderr == ""
    with Image.open("augmentation-light.jpg") as sheet:
        assert sheet.format == "JPEG"
        assert sheet.width > 7 * TILE
        assert 3 * TILE < sheet.height < 4 * TILE  # three classes


def test_the_picture_shows_the_photo_first_and_the_same_each_time(tiny_dataset: Path, tmp_path: Path) -> None:
    place, augmentation = Workspace(tmp_path), load_catalog().augmentation("heavy")
    sheets = [augmentation_sheet(place, Config(), augmentation, note=lambda text: None) for _ in range(2)]
    assert sheets[0] == sheets[1]


def test_without_photos_it_shows_fictional_cars_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [np.full((30, 50, 3), 200, dtype=np.uint8)]
    monkeypatch.setattr("automl_car.pipeline.showing._generated", lambda: tuple(drawn))
    told: list[str] = []
    augmentation_sheet(Workspace(tmp_path), Config(), load_catalog().augmentation("none"), told.append)
    assert "fictional cars" in told[0]
    assert str(tmp_path / "data") in told[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lihgt",), "Did you mean `light`?"),
        (("crops",), "is a plugin; name one of those that it offers: heavy, light, medium, none"),
        (("resnet50", "--sheet", "a.jpg"), "is a backbone"),
        (("light", "--sheet", "a.png"), "the sheet is a JPEG"),
    ],
)
def test_a_mistake_is_told(arguments: tuple[str, ...], words: str, run: Callable[..., Result]) -> None:
    assert words in refused(run("show", *arguments))


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_each_epoch_of_a_photo_is_another_picture() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    (made,) = augmented(load_catalog().augmentation("light"), [photo], side=32, count=6)
    assert len({picture.tobytes() for picture in made}) == 6
    assert {picture.shape for picture in made} == {(32, 32, 3)}


def test_an_augmentation_that_raises_is_told_with_its_name() -> None:
    def build(image_size: int) -> Any:
        raise RuntimeError("no rain today")

    with pytest.raises(PluginError, match="`rain` raised RuntimeError: no rain today"):
        augmented(Augmentation("rain", build), [np.zeros((8, 8, 3), np.uint8)], side=8, count=1)
