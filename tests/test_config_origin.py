from __future__ import annotations

from pathlib import Path

import pytest

from automl_car.config import Config
from automl_car.config_origin import Origin, origins
from automl_car.errors import ConfigError


def _named(rows: tuple[Origin, ...]) -> dict[str, Origin]:
    return {row.setting: row for row in rows}


def test_without_a_file_everything_is_at_its_default() -> None:
    rows = origins(None)
    assert len(rows) == sum(len(type(section).model_fields) for _, section in Config())
    assert all(row.value == row.default and row.line is None for row in rows)


def test_a_setting_of_the_file_comes_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "automl-car.yaml"
    path.write_text("search:\n  trials: 7\n\n  timeout: 1h\nspace: {mixup: 0.1}\n")
    rows = _named(origins(path))
    assert (rows["search.trials"].value, rows["search.trials"].line) == (7, 2)
    assert (rows["search.timeout"].value, rows["search.timeout"].line) == (3600.0, 4)
    assert (rows["space.mixup"].value, rows["space.mixup"].line) == (0.1, 5)
    assert rows["search.seed"].line is None


def test_a_tracker_that_is_switched_on_comes_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "automl-car.yaml"
    path.write_text("trackers:\n  mlflow: {enabled: false}\n  wandb: {enabled: true, project: cars}\n")
    rows = _named(origins(path))
    assert (rows["trackers.wandb"].value, rows["trackers.wandb"].line) == ({"enabled": True, "project": "cars"}, 3)
    assert "trackers.mlflow" not in rows


def test_a_wrong_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "automl-car.yaml"
    path.write_text("search: {trails: 7}")
    with pytest.raises(ConfigError, match=r"search\.trails"):
        origins(path)
