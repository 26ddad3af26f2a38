from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from automl_car.config import Config
from automl_car.config_schema import config_schema
from automl_car.init import settings_text


def _problems(text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(config_schema())
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


def test_the_schema_is_one_itself() -> None:
    jsonschema.Draft202012Validator.check_schema(config_schema())


def test_the_file_that_init_writes_is_accepted_with_and_without_its_comment_marks() -> None:
    assert _problems(settings_text()) == []
    assert _problems(settings_text().replace("\n  # ", "\n  ")) == []


@pytest.mark.parametrize(
    "text",
    [
        "search: {trials: 10, timeout: 1h30m}",
        "search: {timeout: 90}",
        "search: {backbones: [toy, toy_large]}",
        "space: {mixup: 0.2, image_size: [96, 128], views: [2, 4], lr_multiplier: [0.5, 2]}",
        "training: {weights: {resnet50: weights/a.safetensors}}",
        "trackers: {wandb: {enabled: true, mode: online}, mlflow: }",
        "trackers: {of_another_plugin: {enabled: true, file: x.csv, rows: 3}}",
    ],
)
def test_what_the_reader_takes_is_accepted(text: str) -> None:
    Config.model_validate(yaml.safe_load(text))
    assert _problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "search: {trails: 10}",
        "serch: {trials: 10}",
        "search: {trials: many}",
        "search: {timeout: soon}",
        "space: {mixup: [0.1, 0.2, 0.3]}",
        "training: {step: fast}",
    ],
)
def test_what_the_reader_refuses_is_marked(text: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Config.model_validate(yaml.safe_load(text))
    assert _problems(text) != []


@pytest.mark.parametrize(
    "text", ["{wandb: {enabled: true, projct: x}}", "{wandb: {mode: onlin}}", "{mlflow: {enabled: maybe}}"]
)
def test_what_a_search_refuses_of_bundled_trackers_is_marked(text: str) -> None:
    assert _problems(f"trackers: {text}") != []


def test_an_editor_can_show_what_each_setting_means() -> None:
    definitions: dict[str, Any] = config_schema()["$defs"]
    settings = [setting for section in definitions.values() for setting in section["properties"].values()]
    assert len(settings) > 40
    assert all(setting["description"] for setting in settings)
