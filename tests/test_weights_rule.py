"""`catalog.weights_before`: which backbones a contest's rule on weights lets in."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import optuna
import pytest

from automl_car import Backbone
from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.config import Config, load_config
from automl_car.errors import ConfigError, PluginError, StudyError, WeightsError
from automl_car.pipeline.choices import pick_backbones
from automl_car.pipeline.ensembling import ensemble
from automl_car.pipeline.weights_rule import require_allowed_study
from automl_car.search.study import storage_url
from automl_car.workspace import Workspace

RULE = {"catalog.weights_before": "2025-05-19"}


LATE = """
from automl_car import Backbone, hookimpl

@hookimpl
def register_backbones():
    return [Backbone("late", dict, weights_date="2025-07-01")]
"""


class Notes:
    """As much of a view as is needed here."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def catalog(**dates: str | None) -> Catalog:
    return Catalog({name: Backbone(name, dict, weights_date=day) for name, day in sorted(dates.items())}, {}, ())


def pick(offered: Catalog, **settings: Any) -> tuple[tuple[str, ...], list[str]]:
    view = Notes()
    given = {name.replace("__", "."): value for name, value in settings.items()}
    picked = pick_backbones(offered, load_config(None, RULE | given), view)  # type: ignore[arg-type]
    return picked, view.notes


def test_what_is_later_or_unknown_is_left_out_with_a_note() -> None:
    picked, notes = pick(catalog(old="2025-05-18", same="2025-05-19", late="2025-07-01", unknown=None))
    assert picked == ("old",)
    (note,) = notes
    assert "late (of 2025-07-01), same (of 2025-05-19), unknown (date unknown)" in note


def test_without_the_rule_dates_do_not_matter() -> None:
    assert pick_backbones(catalog(late="2099-01-01", unknown=None), Config(), Notes()) == ("late", "unknown")  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "reason"), [("late", "of 2025-07-01"), ("unknown", "date unknown")])
def test_one_that_is_named_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pick(catalog(late="2025-07-01", unknown=None, old="2020-01-01"), search__backbones=["old", name])
    assert f"`{name}` ({reason})" in caught.value.message
    assert "2025-05-19" in caught.value.message
    assert "`old`" not in caught.value.message


def test_when_nothing_is_left_the_error_names_the_rule() -> None:
    with pytest.raises(WeightsError, match="older than 2025-05-19"):
        pick(catalog(late="2025-07-01"))


def test_random_weights_have_no_date() -> None:
    assert pick(catalog(unknown=None), training__weights="random") == (("unknown",), [])


def test_a_file_that_is_named_is_for_a_person_to_answer_for() -> None:
    picked, notes = pick(catalog(mine=None), training__weights={"mine": "mine.safetensors"})
    assert picked == ("mine",)
    assert "mine.safetensors" in notes[0]


def study(folder: Path, **recipe: str) -> Workspace:
    """A workspace whose study `main` has one complete trial."""
    place = Workspace(folder)
    place.studies.mkdir()
    made = optuna.create_study(study_name="main", storage=storage_url(place.studies, "main", None))
    made.add_trial(optuna.trial.create_trial(value=0.5, user_attrs={"recipe": recipe}))
    return place


def test_a_study_that_has_trained_what_the_rule_keeps_out_is_refused(tmp_path: Path) -> None:
    place = study(tmp_path, backbone="late")
    with pytest.raises(StudyError, match=r"`main` has trials of `late` \(of 2025-07-01\)"):
        require_allowed_study(place, load_config(None, RULE), "main", catalog(late="2025-07-01"))


def test_an_ensemble_of_what_the_rule_keeps_out_is_refused(tmp_path: Path) -> None:
    place = study(tmp_path, backbone="late")
    (place.root / "plugins").mkdir()
    (place.root / "plugins" / "late.py").write_text(LATE, encoding="utf-8")
    with pytest.raises(StudyError, match=r"`main` has trials of `late` \(of 2025-07-01\)"):
        ensemble(place, load_config(None, RULE), study="main", output=None, top_k=5)


@pytest.mark.parametrize("recipe", [{"backbone": "old"}, {"backbone": "late", "weights": "random"}])
def test_a_study_of_what_the_rule_lets_in_goes_on(recipe: dict[str, str], tmp_path: Path) -> None:
    offered = catalog(late="2025-07-01", old="2020-01-01")
    require_allowed_study(study(tmp_path, **recipe), load_config(None, RULE), "main", offered)


def test_a_study_that_is_not_there_yet_is_no_problem(tmp_path: Path) -> None:
    require_allowed_study(Workspace(tmp_path), load_config(None, RULE), "main", catalog(late="2025-07-01"))


def test_the_settings_file_takes_the_date_as_it_is_written_there(tmp_path: Path) -> None:
    file = tmp_path / "automl-car.yaml"
    for written in ("2025-05-19", "'2025-05-19'"):
        file.write_text(f"catalog: {{weights_before: {written}}}")
        assert load_config(file).catalog.weights_before == date(2025, 5, 19)


@pytest.mark.parametrize("written", ["2025", "19.05.2025", "2025-13-01", "'2025-02-30'", "true", "2025-05-19 10:00:00"])
def test_what_is_no_date_is_refused(written: str, tmp_path: Path) -> None:
    file = tmp_path / "automl-car.yaml"
    file.write_text(f"catalog: {{weights_before: {written}}}")
    with pytest.raises(ConfigError):
        load_config(file)


@pytest.mark.parametrize("day", ["2023", "20230331", "31.3.2023", "2023-02-30", 2023])
def test_a_plugin_whose_date_is_none_is_refused(day: Any) -> None:
    with pytest.raises(PluginError, match="must be a date such as"):
        Backbone("toy", dict, weights_date=day)


def test_every_bundled_backbone_has_weights_of_before_the_contest() -> None:
    picked, notes = pick(load_catalog(), search__backbones=list(load_catalog().backbones))
    assert len(picked) == 9
    assert notes == []
