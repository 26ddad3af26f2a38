"""An ensemble whose members are trained once on all photos, and whether that pays; tiny real heads, in this process."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sklearn.metrics import log_loss as sklearn_log_loss

import automl_car
from automl_car import pipeline
from automl_car.catalog.manager import Catalog
from automl_car.config import Config, load_config
from automl_car.data.index import read_dataset
from automl_car.data.prepare import open_prepared, prepare
from automl_car.ensemble.bundle_files import read_bundle
from automl_car.ensemble.comparison import Comparison
from automl_car.errors import ConfigError, StudyError
from automl_car.fold_records import NO_FOLD, Epoch, FoldResult, FoldTask, Machine, Progress, Speed, SpeedTask
from automl_car.pipeline import refitting
from automl_car.records import Recipe
from automl_car.report import tables
from automl_car.search.evidence import FOLD_LOSSES
from automl_car.search.study import connect
from automl_car.store import read_logits
from automl_car.training.fold import train_fold
from automl_car.workspace import Workspace

HEAD = Recipe("toy", tuning="head", image_size=16, epochs=4, patience=2, views=4, weights="random", learning_rate=0.05)

FULL = Recipe("toy", image_size=16, epochs=2, batch_size=8, weights="random", learning_rate=0.01, head_multiplier=1.0)


@dataclass
class InProcess:
    """An executor that trains at once, and remembers what."""

    catalog: Catalog
    trained: list[FoldTask] = field(default_factory=list)

    def machine(self) -> Machine:
        return Machine("cpu", "a CPU", 1)

    def slots(self) -> int:
        return 1

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        self.trained.append(task)
        future: Future[FoldResult] = Future()
        prepared = open_prepared(task.directory, task.cache)
        future.set_result(train_fold(task, self.catalog, prepared, lambda message: None))
        return future

    def measure(self, task: SpeedTask) -> Future[Speed]:
        raise NotImplementedError

    def close(self) -> None: ...


@dataclass
class View:
    """Remembers what a person is told."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def trained(self, task: FoldTask, message: Epoch | Progress) -> None: ...


@dataclass
class Study:
    """A workspace with a study, and the executor that refits its members."""

    workspace: Workspace
    executor: InProcess
    view: View = field(default_factory=View)

    @property
    def output(self) -> Path:
        return self.workspace.root / "refit.csv"

    def refit(self, *, comparing: bool = False) -> pipeline.Refit:
        return pipeline.refit(
            self.workspace,
            load_config(None, {}),
            study="main",
            output=self.output,
            comparing=comparing,
            view=self.view,  # type: ignore[arg-type]
            log=self.workspace.logs / "worker.log",
        )

    def trained(self) -> list[str]:
        """What was trained since the last question."""
        labels = [task.label for task in self.executor.trained]
        self.executor.trained.clear()
        return labels

    def probabilities(self) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        with self.output.open(newline="") as file:
            return np.array([[float(value) for value in row[1:]] for row in list(csv.reader(file))[1:]])


def _make(root: Path, photos: Path, catalog: Catalog, recipe: Recipe, folds: int) -> Workspace:
    """A study of one complete trial."""
    workspace = Workspace(root)
    store = workspace.checkpoints("main")
    dataset = read_dataset(photos)
    folders = {"cache_directory": workspace.cache, "study_directory": store}
    prepared = prepare(dataset, **folders, short_side=32, folds=folds, seed=0)
    losses = {}
    for fold in range(folds):
        task = FoldTask(recipe, recipe.id(prepared.folds), fold, store, workspace.cache)
        losses[str(fold)] = train_fold(task, catalog, prepared, lambda message: None).log_loss
    attributes = {"recipe_id": recipe.id(prepared.folds), "backbone": "toy", FOLD_LOSSES: losses}
    study = optuna.create_study(study_name="main", storage=connect(f"sqlite:///{root}/studies/main.db"))
    trial = create_trial(state=TrialState.COMPLETE, value=float(np.mean(list(losses.values()))), user_attrs=attributes)
    study.add_trial(trial)
    return workspace


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, tiny_photos: Callable[[Path], Path], toy_catalog: Catalog
) -> Callable[[Recipe, int], Path]:
    photos = tiny_photos(tmp_path_factory.mktemp("photos") / "data")
    known: dict[tuple[Recipe, int], Path] = {}

    def make(recipe: Recipe, folds: int) -> Path:
        if (recipe, folds) not in known:
            root = tmp_path_factory.mktemp("workspace")
            (root / "studies").mkdir()
            known[recipe, folds] = _make(root, photos, toy_catalog, recipe, folds).root
        return known[recipe, folds]

    return make


@pytest.fixture
def open_study(
    made: Callable[[Recipe, int], Path], toy_catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Study]:
    """Copies a study, to be changed."""

    def copy(recipe: Recipe = HEAD, folds: int = 3) -> Study:
        shutil.copytree(made(recipe, folds), tmp_path / "copy")
        executor = InProcess(toy_catalog)
        monkeypatch.setattr(refitting, "open_executor", lambda *_: executor)
        return Study(Workspace(tmp_path / "copy"), executor)

    return copy


def _verdict(monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    monkeypatch.setattr(refitting, "compare", lambda *_: Comparison(0.5, 0.5 - gain, 0.1, 12))


# ---- a bundle of it -------------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(toy_catalog: Catalog, tmp_path: Path) -> Callable[..., Path]:
    """Bundles the refits of a study."""
    (plugin,) = [row.location for row in toy_catalog.plugins if "toy" in row.backbones]
    config = Config.model_validate({"plugins": {"files": [plugin]}})

    def make(study: Study, **options: Any) -> Path:
        values = {"study": "main", "top_k": 5, "refit": True, "note": lambda text: None, **options}
        return pipeline.bundle(study.workspace, config, output=tmp_path / "bundle", **values).directory

    return make


@pytest.mark.parametrize("recipe", [HEAD, FULL], ids=["head", "full"])
def test_a_bundle_of_it_has_one_network_and_predicts_as_the_refit(
    open_study: Callable[..., Study], bundle: Callable[..., Path], toy_catalog: Catalog, recipe: Recipe
) -> None:
    study = open_study(replace(recipe, backbone_version=toy_catalog.version_of("toy")))
    study.refit()
    folder = bundle(study)
    (member,) = read_bundle(folder)[0].members
    assert len(member.networks) == 1
    (plugin,) = folder.glob("plugins/*.py")
    dataset = open_prepared(study.workspace.checkpoints("main"), study.workspace.cache).dataset
    photos = [dataset.root / path for path in dataset.test_paths]
    found = automl_car.load(folder, plugins=[plugin]).predict(photos)
    np.testing.assert_allclose(found, study.probabilities(), atol=2e-3)
    assert "trained on all photos" in (folder / "README.md").read_text(encoding="utf-8")


def test_there_is_no_bundle_of_a_refit_that_was_not_done(
    open_study: Callable[..., Study], bundle: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match="trial 0 of study `main` is not trained on all photos") as error:
        bundle(open_study())
    assert "automl-car refit" in str(error.value.hint)
    assert not (tmp_path / "bundle").exists()


def test_a_budget_does_not_choose_among_refits(open_study: Callable[..., Study], bundle: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="budget"):
        bundle(open_study(), budget_ms=5.0)


# ---- without a test set ---------------------------------------------------------------------------------------------


def test_without_a_test_set_members_are_refitted_for_a_bundle(
    toy_catalog: Catalog,
    tiny_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bundle: Callable[..., Path],
) -> None:
    for name in ("test.csv", "sample_submission.csv"):
        (tiny_dataset / name).unlink()
    shutil.rmtree(tiny_dataset / "test")
    (tmp_path / "workspace" / "studies").mkdir(parents=True)
    recipe = replace(HEAD, backbone_version=toy_catalog.version_of("toy"))
    executor = InProcess(toy_catalog)
    monkeypatch.setattr(refitting, "open_executor", lambda *_: executor)
    study = Study(_make(tmp_path / "workspace", tiny_dataset, toy_catalog, recipe, 3), executor)
    done = study.refit()
    assert (done.used, done.outcome.submission) == (True, None)
    assert not study.output.exists()
    assert study.trained() == ["refit"]
    assert (bundle(study) / "bundle.json").is_file()


# ---- the refit ------------------------------------------------------------------------------------------------------


def test_each_member_is_trained_once_on_all_photos_and_never_again(open_study: Callable[..., Study]) -> None:
    study = open_study()
    assert study.refit().used
    assert study.trained() == ["refit"]
    first = study.probabilities()
    study.refit()
    assert study.trained() == []
    np.testing.assert_array_equal(study.probabilities(), first)


def test_its_submission_is_that_of_the_refit_with_the_ensembles_numbers(open_study: Callable[..., Study]) -> None:
    study = open_study()
    built = study.refit().outcome.ensemble
    assert built is not None
    (task,), (member,) = study.executor.trained, built.members
    logits = read_logits(task.fold_directory, views=member.views).test.astype(np.float64)
    scaled = logits / member.temperature
    pooled = (scaled - np.log(np.exp(scaled).sum(1, keepdims=True))) / built.temperature
    expected = (1 - built.uniform) * np.exp(pooled) / np.exp(pooled).sum(1, keepdims=True) + built.uniform / 3
    np.testing.assert_allclose(study.probabilities(), expected, atol=1e-6)
    folds = [read_logits(task.fold_directory.parent / f"fold-{fold}", views=member.views).test for fold in member.folds]
    assert not np.allclose(logits, np.mean(folds, axis=0), atol=1e-3)


def test_the_ensemble_of_the_fold_models_keeps_its_own_submission(open_study: Callable[..., Study]) -> None:
    study = open_study()
    built = study.refit().outcome.ensemble
    assert built is not None
    with (study.workspace.reports("main") / "submission.csv").open(newline="") as file:
        kept = [[float(value) for value in row[1:]] for row in list(csv.reader(file))[1:]]
    np.testing.assert_allclose(kept, built.test_probabilities, atol=1e-6)


def test_a_head_whose_folds_kept_the_discriminant_is_refitted_without_an_epoch(
    open_study: Callable[..., Study],
) -> None:
    study = open_study(replace(HEAD, learning_rate=1000.0))  # each step of AdamW makes it worse
    study.refit()
    (task,) = study.executor.trained
    assert task.recipe.epochs == 0
    assert np.isfinite(read_logits(task.fold_directory).test).all()


# ---- the comparison -------------------------------------------------------------------------------------------------


def test_the_comparison_cross_validates_without_the_fold_that_plays_the_test_set(
    open_study: Callable[..., Study],
) -> None:
    study = open_study()
    found = study.refit(comparing=True)
    assert found.fold == 0
    assert study.trained()[:3] == ["fold 1 without fold 0", "fold 2 without fold 0", "refit without fold 0"]
    study.refit(comparing=True)
    assert study.trained() == []


def test_without_early_stopping_the_fold_model_is_the_refit_that_is_compared(open_study: Callable[..., Study]) -> None:
    study = open_study(replace(HEAD, patience=0))
    study.refit(comparing=True)
    assert study.trained()[:2] == ["fold 1 without fold 0", "fold 2 without fold 0"]
    assert "refit without fold 0" not in [task.label for task in study.executor.trained]


def test_the_comparison_says_beforehand_what_it_will_cost(open_study: Callable[..., Study]) -> None:
    study = open_study()
    study.refit(comparing=True)
    assert study.view.notes[0].startswith("comparing on fold 0: 3 models that do without it, about ")


def test_what_is_compared_are_the_predictions_for_that_fold(open_study: Callable[..., Study]) -> None:
    study = open_study(replace(HEAD, patience=0))
    done = study.refit(comparing=True)
    assert done.comparison is not None
    assert done.outcome.ensemble is not None
    (member,) = done.outcome.ensemble.members
    store = study.workspace.checkpoints("main")
    prepared = open_prepared(store, study.workspace.cache)
    rows = prepared.folds.validation_rows(0)
    labels = np.array(prepared.dataset.labels)[rows]
    folds = [read_logits(store / member.recipe_id / f"test-0/fold-{fold}", views=member.views).test for fold in (1, 2)]
    own = read_logits(store / member.recipe_id / "fold-0", views=member.views).oof
    for logits, found in ((np.mean(folds, axis=0), done.comparison.usual), (own, done.comparison.new)):
        exponentials = np.exp(logits / (member.temperature * done.outcome.ensemble.temperature))
        probabilities = exponentials / exponentials.sum(1, keepdims=True)
        share = done.outcome.ensemble.uniform
        probabilities = (1 - share) * probabilities + share / 3
        assert found == pytest.approx(sklearn_log_loss(labels, probabilities, labels=[0, 1, 2]), abs=1e-4)


def test_a_refit_that_pays_is_used(open_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> None:
    _verdict(monkeypatch, gain=0.11)
    study = open_study()
    assert study.refit(comparing=True).used
    assert study.executor.trained[-1].label == "refit"


def test_a_refit_within_chance_is_not_used_nor_trained(
    open_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _verdict(monkeypatch, gain=0.09)
    study = open_study()
    done = study.refit(comparing=True)
    assert not done.used
    assert not [task for task in study.executor.trained if task.fold == NO_FOLD and task.test_fold is None]
    assert done.outcome.ensemble is not None
    np.testing.assert_allclose(study.probabilities(), done.outcome.ensemble.test_probabilities, atol=1e-6)
    tables.print_refit(done)
    assert "the submission stays that of the fold models" in capsys.readouterr().out
    shown = json.loads(json.dumps(pipeline.refit_json(done)))
    assert (shown["refit"], shown["comparison"]["fold"], shown["comparison"]["gain"]) == (False, 0, pytest.approx(0.09))


def test_two_folds_are_too_few_to_compare_on(open_study: Callable[..., Study]) -> None:
    study = open_study(folds=2)
    with pytest.raises(StudyError, match="2 folds"):
        study.refit(comparing=True)
    assert study.refit().used
