"""The journeys from end to end, with real photos, real networks, real processes, and real kills."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from sklearn.metrics import log_loss as sklearn_log_loss

from automl_car import pipeline
from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.catalog.records import Backbone, PluginSources
from automl_car.config import Config, load_config
from automl_car.data.index import load_dataset
from automl_car.errors import AutomlCarError, DataError, StudyError, WeightsError
from automl_car.fold_records import FoldResult, Machine
from automl_car.pipeline.choices import pick_backbones, pick_deadline, pick_tunings
from automl_car.records import Recipe
from automl_car.search.job import Outcome as TrialOutcome
from automl_car.search.study import complete_trials, load_study, storage_url
from automl_car.store import read_logits, read_result
from automl_car.workspace import Workspace

# Two backbones, each as a head and fine-tuned: four trials at their defaults, none of them chosen by chance. Steps are
# plain, as what is measured may come out otherwise in another run, and then results differ in the last digits.
SETTINGS = """
data: {folds: 2}
search: {study: main, trials: 4, tuning: both, backbones: [toy, toy_large], augmentations: [none]}
training: {weights: random, epochs: 2, batch_size: 8, head_multiplier: 1, step: plain}
plugins: {files: [toy_networks.py]}
"""


@dataclass
class RecordingView:
    """Remembers notes; `at_fold` is called when a fold begins, and may stop the search."""

    notes: list[str] = field(default_factory=list)
    outcomes: list[TrialOutcome] = field(default_factory=list)
    at_fold: Callable[[], None] = lambda: None

    def note(self, text: str) -> None:
        self.notes.append(text)

    def trial_began(self, number: int, recipe: Recipe) -> None: ...

    def fold_began(self, number: int, fold: int) -> None:
        self.at_fold()

    def fold_ended(self, number: int, result: FoldResult, *, stored: bool) -> None: ...

    def trial_ended(self, number: int, outcome: TrialOutcome) -> None:
        self.outcomes.append(outcome)

    def progress(self, text: str, done: int, total: int) -> None: ...

    def trained(self, task: Any, message: Any) -> None: ...

    def search_begins(self, study: str, trials: int, deadline: float | None, machine: Machine) -> None: ...


@dataclass
class Searched:
    """A workspace and what its search came to."""

    workspace: Workspace
    outcome: pipeline.Outcome
    submitted: tuple[bool, ...] = ()  # for each fold, whether there was a submission when it began

    @property
    def config(self) -> Config:
        return load_config(self.workspace.config_file)


def _search(workspace: Workspace, view: RecordingView | None = None, **overrides: Any) -> pipeline.Outcome:
    settings = {name.replace("__", "."): value for name, value in overrides.items()}
    config = load_config(workspace.config_file, settings)
    log = workspace.logs / "worker.log"
    return pipeline.search(workspace, config, sample=False, view=view or RecordingView(), log=log)


@pytest.fixture(scope="module")
def make_workspace(
    tmp_path_factory: pytest.TempPathFactory, tiny_photos: Callable[[Path], Path], toy_plugin_text: str
) -> Callable[[], Workspace]:
    photos = tiny_photos(tmp_path_factory.mktemp("photos") / "data")

    def make() -> Workspace:
        root = tmp_path_factory.mktemp("workspace")
        shutil.copytree(photos, root / "data")
        (root / "toy_networks.py").write_text(toy_plugin_text)
        (root / "automl-car.yaml").write_text(SETTINGS)
        return Workspace(root)

    return make


@pytest.fixture(scope="module")
def undisturbed(make_workspace: Callable[[], Workspace]) -> Searched:
    """A search that nobody stopped; tests only read it."""
    workspace, submitted = make_workspace(), []
    submission = workspace.reports("main") / "submission.csv"
    outcome = _search(workspace, RecordingView(at_fold=lambda: submitted.append(submission.is_file())))
    return Searched(workspace, outcome, tuple(submitted))


@pytest.fixture
def searched(undisturbed: Searched, tmp_path: Path) -> Searched:
    """A copy of the undisturbed search, to be changed."""
    shutil.copytree(undisturbed.workspace.root, tmp_path / "copy")
    return Searched(Workspace(tmp_path / "copy"), undisturbed.outcome)


def _records(workspace: Workspace) -> dict[str, Path]:
    root = workspace.checkpoints("main")
    return {str(path.parent.relative_to(root)): path for path in root.glob("*/fold-*/record.json")}


def _check_submission(workspace: Workspace, path: Path) -> None:
    """Compare a submission with the sample, without any code of the project."""
    with (workspace.root / "data" / "sample_submission.csv").open(newline="") as file:
        sample = list(csv.reader(file))
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == sample[0]
    assert [row[0] for row in rows] == [row[0] for row in sample]
    probabilities = np.array([row[1:] for row in rows[1:]], dtype=float)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-6)
    assert probabilities.min() > 0


# ---- a search -------------------------------------------------------------------------------------------------------


def test_a_search_trains_what_it_was_asked_for(undisturbed: Searched) -> None:
    outcome = undisturbed.outcome
    assert (outcome.study, outcome.complete, outcome.pruned, outcome.failed) == ("main", 4, 0, 0)
    assert len(_records(undisturbed.workspace)) == 4 * 2


def test_a_search_leaves_a_valid_submission(undisturbed: Searched) -> None:
    assert undisturbed.outcome.submission == undisturbed.workspace.reports("main") / "submission.csv"
    _check_submission(undisturbed.workspace, undisturbed.outcome.submission)


def test_a_submission_is_there_after_the_first_complete_trial(undisturbed: Searched) -> None:
    assert undisturbed.submitted == (False, False, True, True, True, True, True, True)


def test_the_ensemble_is_written_down(undisturbed: Searched) -> None:
    written = json.loads((undisturbed.workspace.reports("main") / "ensemble.json").read_text())
    assert written["rows"] == 36
    assert sum(member["weight"] for member in written["members"]) == pytest.approx(1)
    assert undisturbed.outcome.ensemble is not None
    assert written["log_loss"] == undisturbed.outcome.ensemble.nested_log_loss


def test_the_value_of_a_trial_is_the_mean_log_loss_of_its_folds(undisturbed: Searched) -> None:
    workspace = undisturbed.workspace
    labels = np.array(load_dataset(workspace.checkpoints("main") / "dataset.json").labels)
    for trial in complete_trials(load_study("main", storage_url(workspace.studies, "main", None))):
        losses = []
        for fold in range(2):
            folder = workspace.checkpoints("main") / trial.user_attrs["recipe_id"] / f"fold-{fold}"
            logits, result = read_logits(folder), read_result(folder)
            assert result is not None
            scaled = logits.oof.astype(np.float64) / result.temperature
            exponentials = np.exp(scaled - scaled.max(1, keepdims=True))
            probabilities = exponentials / exponentials.sum(1, keepdims=True)
            losses.append(sklearn_log_loss(labels[logits.rows], probabilities, labels=[0, 1, 2]))
        assert trial.value == pytest.approx(np.mean(losses), abs=1e-6)


def test_searching_again_trains_nothing(searched: Searched) -> None:
    before = {name: path.stat().st_mtime_ns for name, path in _records(searched.workspace).items()}
    outcome = _search(searched.workspace)
    assert {name: path.stat().st_mtime_ns for name, path in _records(searched.workspace).items()} == before
    assert (outcome.complete, outcome.best_log_loss) == (4, searched.outcome.best_log_loss)


def test_more_trials_go_on_with_the_same_study(searched: Searched) -> None:
    assert _search(searched.workspace, search__trials=5).complete == 5


# ---- an ensemble ----------------------------------------------------------------------------------------------------


def test_an_ensemble_of_one_is_the_best_trial(searched: Searched) -> None:
    outcome = pipeline.ensemble(searched.workspace, searched.config, study="main", output=None, top_k=1)
    assert outcome.ensemble is not None
    assert [(member.name, member.weight) for member in outcome.ensemble.members] == [
        (f"trial {outcome.best_trial}", pytest.approx(1))
    ]
    assert outcome.ensemble.nested_log_loss <= outcome.ensemble.best_single + 1e-9


def test_an_ensemble_goes_where_it_is_asked_to(searched: Searched, tmp_path: Path) -> None:
    output = tmp_path / "new" / "mine.csv"
    outcome = pipeline.ensemble(searched.workspace, searched.config, study="main", output=output, top_k=3)
    assert outcome.submission == output
    _check_submission(searched.workspace, output)


def test_an_ensemble_needs_neither_the_plugin_nor_the_photos(searched: Searched) -> None:
    (searched.workspace.root / "toy_networks.py").unlink()
    shutil.rmtree(searched.workspace.root / "data" / "train")
    shutil.rmtree(searched.workspace.cache)
    outcome = pipeline.ensemble(searched.workspace, searched.config, study="main", output=None, top_k=5)
    assert outcome.ensemble is not None


def test_without_a_study_there_is_no_ensemble(make_workspace: Callable[[], Workspace]) -> None:
    workspace = make_workspace()
    with pytest.raises(StudyError, match="no study `main`"):
        pipeline.ensemble(workspace, load_config(workspace.config_file), study="main", output=None, top_k=5)


@pytest.mark.parametrize("folds", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_search_stopped_before_a_trial_is_complete_still_gives_a_submission(
    make_workspace: Callable[[], Workspace], folds: int
) -> None:
    workspace, begun = make_workspace(), []

    def stop() -> None:
        begun.append(True)
        if len(begun) > folds:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _search(workspace, RecordingView(at_fold=stop), data__folds=4)
    outcome = pipeline.ensemble(workspace, load_config(workspace.config_file), study="main", output=None, top_k=5)
    assert outcome.complete == 0
    assert outcome.submission is not None
    _check_submission(workspace, outcome.submission)


def test_without_a_test_set_there_is_an_ensemble_and_no_submission(make_workspace: Callable[[], Workspace]) -> None:
    workspace = make_workspace()
    for name in ("test.csv", "sample_submission.csv"):
        (workspace.root / "data" / name).unlink()
    shutil.rmtree(workspace.root / "data" / "test")
    outcome = _search(workspace, search__trials=1)
    assert outcome.submission is None
    assert outcome.ensemble is not None


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["train_gb", "eval_gb"])
def test_the_budgets_of_the_settings_are_those_of_the_image_cache(
    make_workspace: Callable[[], Workspace], setting: str
) -> None:
    with pytest.raises(DataError, match=rf"cache\.{setting}: 1e-06 is too little"):
        _search(make_workspace(), **{f"cache__{setting}": 1e-6})


def test_a_second_search_of_the_same_study_is_refused_at_once(make_workspace: Callable[[], Workspace]) -> None:
    workspace = make_workspace()
    workspace.studies.mkdir()
    began = time.monotonic()
    with FileLock(workspace.studies / "main.lock"), pytest.raises(StudyError, match="Another search is running"):
        _search(workspace)
    assert time.monotonic() - began < 2


def test_two_searches_of_different_studies_do_not_exclude_each_other(searched: Searched) -> None:
    with FileLock(searched.workspace.studies / "other.lock"):
        assert _search(searched.workspace).complete == 4


def test_changed_photos_are_refused(searched: Searched) -> None:
    photo = searched.workspace.root / "data" / "train" / "van" / "00.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(photo)
    with pytest.raises((DataError, StudyError)) as caught:
        _search(searched.workspace)
    assert isinstance(caught.value, AutomlCarError)
    assert "00.jpg" in str(caught.value) or "photos" in str(caught.value)


def test_with_one_backbone_less_the_study_grows_and_keeps_all_trials_and_folds(searched: Searched) -> None:
    before = {name: path.stat().st_mtime_ns for name, path in _records(searched.workspace).items()}
    view = RecordingView()
    outcome = _search(searched.workspace, view, search__backbones=["toy"])
    (line,) = [note for note in view.notes if "grew" in note]
    assert "generation 2: backbone `toy_large` left out; all 4 trials carried over" in line
    assert (outcome.complete, outcome.best_log_loss) == (4, searched.outcome.best_log_loss)
    assert {name: path.stat().st_mtime_ns for name, path in _records(searched.workspace).items()} == before


def test_an_edited_plugin_is_trained_anew_and_what_it_trained_before_stays(searched: Searched) -> None:
    before = set(_records(searched.workspace))
    with (searched.workspace.root / "toy_networks.py").open("a") as file:
        file.write("# edited\n")
    view = RecordingView()
    outcome = _search(searched.workspace, view, search__trials=5)
    assert any("plugin of `toy`, `toy_large` updated" in note for note in view.notes)
    assert outcome.complete + outcome.pruned == 5
    assert set(_records(searched.workspace)) > before


# ---- choices --------------------------------------------------------------------------------------------------------


def _catalog(**weights: Path | None) -> Catalog:
    backbones = {
        name: Backbone(name, lambda classes: None, find_weights=lambda path=path: path)  # type: ignore[misc]
        for name, path in weights.items()
    }
    return Catalog(backbones, load_catalog(PluginSources()).augmentations, ())


def test_backbones_without_weights_are_left_out_with_a_note() -> None:
    view = RecordingView()
    assert pick_backbones(_catalog(here=Path("x"), gone=None), Config(), view) == ("here",)
    assert view.notes == ["left out, as their weights are not on this machine: gone"]


def test_random_weights_need_no_file() -> None:
    config = load_config(None, {"training.weights": "random"})
    assert pick_backbones(_catalog(here=Path("x"), gone=None), config, RecordingView()) == ("here", "gone")


def test_without_any_weights_the_error_says_what_to_do() -> None:
    with pytest.raises(WeightsError) as caught:
        pick_backbones(_catalog(gone=None), Config(), RecordingView())
    assert "--backbone NAME" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("tuning", "device", "expected"),
    [
        ("auto", "cpu", ("head",)),
        ("auto", "cuda", ("full", "head")),
        ("both", "cpu", ("full", "head")),
        ("full", "cpu", ("full",)),
        ("head", "cuda", ("head",)),
    ],
)
def test_what_is_tuned_depends_on_the_settings_and_the_machine(
    tuning: str, device: str, expected: tuple[str, ...]
) -> None:
    config = load_config(None, {"search.tuning": tuning})
    assert pick_tunings(config, lambda: Machine(device, device, 2)) == expected


@pytest.mark.parametrize(("timeout", "seconds"), [("1h", 3528.0), ("100s", 90.0), ("10s", 5.0)])
def test_some_of_the_time_is_kept_back_for_the_submission(timeout: str, seconds: float) -> None:
    assert pick_deadline(load_config(None, {"search.timeout": timeout}), 1000.0) == pytest.approx(1000.0 + seconds)
