"""What docs/executors.md and the pages for machines say is true, as far as one machine can tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from automl_car.catalog.manager import load_catalog
from automl_car.config import Config, load_config
from automl_car.pipeline.executing import pick_executor
from automl_car.search import on_ray
from automl_car.search.ray_cluster import Share, pick_needs

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "executors.md", *sorted((DOCS / "how-to").glob("on-*.md"))]
OF_MACHINES = [page for page in PAGES if page.stem not in ("executors", "on-a-gpu-machine")]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_of_executors_are_those_that_their_plugins_declare(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automl_car.following._is_installed", lambda module: True)
    file = tmp_path / "automl-car.yaml"
    for block in blocks(page, "yaml"):
        if set(yaml.safe_load(block)) <= set(Config.model_fields):
            file.write_text(block, encoding="utf-8")
            config = load_config(file, {"search.executor": "ray"})
            assert pick_executor(load_catalog(), config).name == "ray"


def test_every_setting_of_ray_is_explained() -> None:
    (page,) = [page.read_text(encoding="utf-8") for page in PAGES if page.stem == "executors"]
    for setting in load_catalog().executors["ray"].settings:
        assert f"| `{setting.name}` |" in page


@pytest.mark.parametrize("page", OF_MACHINES, ids=lambda page: page.stem)
def test_every_page_for_machines_says_what_happens_when_one_goes_away(page: Path) -> None:
    assert re.search(r"^## What happens when (a machine|something) goes away$", page.read_text(encoding="utf-8"), re.M)


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    text = (DOCS / "executors.md").read_text(encoding="utf-8")
    assert on_ray._PATIENCE * on_ray._HEAD_SECONDS == 40
    assert "after 40 seconds the search ends" in text


def test_eight_gpus_and_64_cores_are_shared_as_the_page_shows() -> None:
    text = (DOCS / "how-to" / "on-eight-gpus.md").read_text(encoding="utf-8")
    needs = pick_needs([{"CPU": 64.0, "GPU": 8.0}], Share().cpus, Share().gpus)
    assert f"8 folds at a time, each with {needs.cpus} cores and {needs.gpus:g} GPU" in text
