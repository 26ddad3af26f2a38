"""A search without training: a small space, an executor that makes up losses, and a view that remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from automl_car.catalog.params import Param
from automl_car.catalog.records import PluginSources
from automl_car.config import SpaceConfig, TrainingConfig
from automl_car.fold_records import FoldResult, FoldTask, Machine, Speed, SpeedTask
from automl_car.records import Folds, Recipe
from automl_car.search.driver import run_search
from automl_car.search.first import first_trials
from automl_car.search.growth import open_study
from automl_car.search.job import Job, Outcome
from automl_car.search.ledger import Ledger
from automl_car.search.pruning import PruningRule
from automl_car.search.space import HEAD_LEARNING_RATE, Space
from automl_car.search.strikes import Strikes
from automl_car.search.study import storage_url
from automl_car.store import FoldLogits, write_fold

FOLDS = Folds(np.arange(12) % 3, 3, "photos")


def recipe_loss(recipe: Recipe, fold: int) -> float:
    """A made-up log loss: each recipe has its own, fold 1 is harder, and the best head learns at the usual rate."""
    best = {"small": 0.5, "large": 0.4}[recipe.backbone]
    far = abs(np.log(recipe.learning_rate / HEAD_LEARNING_RATE)) + abs(recipe.shrinkage - 0.3)
    return float(best + 0.1 * far + 0.02 * fold % 2)


@dataclass
class FakeExecutor:
    """Trains nothing: `train` makes up a log loss or raises, and the fold store gets a small fold."""

    train: Callable[[FoldTask], float | FoldResult] = lambda task: recipe_loss(task.recipe, task.fold)
    speed: Callable[[SpeedTask], Speed] = lambda task: Speed(100.0, 300.0)
    submitted: list[FoldTask] = field(default_factory=list)
    measured: list[SpeedTask] = field(default_factory=list)

    def machine(self) -> Machine:
        return Machine("cpu", "CPU", 2)

    def slots(self) -> int:
        return 1

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        self.submitted.append(task)
        future: Future[FoldResult] = Future()
        try:
            future.set_result(self._result(task))
        except Exception as error:
            future.set_exception(error)
        return future

    def _result(self, task: FoldTask) -> FoldResult:
        made_up = self.train(task)
        if isinstance(made_up, FoldResult):
            return made_up
        result = FoldResult(task.recipe_id, task.fold, "finished", made_up, made_up, 1.0, (), 1.0)
        rows = FOLDS.validation_rows(task.fold)
        # All labels are 0, and -log softmax(x, 0)[0] = log(1 + exp(-x)) is the log loss that was made up.
        oof = np.zeros((len(rows), 2), np.float32)
        if np.isfinite(made_up):
            oof[:, 0] = -np.log(np.expm1(made_up))
        write_fold(task, result, FoldLogits(rows, oof, np.zeros((0, 2), np.float32)), b"")
        return result

    def measure(self, task: SpeedTask) -> Future[Speed]:
        self.measured.append(task)
        future: Future[Speed] = Future()
        try:
            future.set_result(self.speed(task))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        pass


@dataclass
class RecordingView:
    """Remembers what a person would be told."""

    notes: list[str] = field(default_factory=list)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def trial_began(self, number: int, recipe: Recipe) -> None:
        self.events.append(("trial", number))

    def fold_began(self, number: int, fold: int) -> None:
        self.events.append(("fold", number, fold))

    def fold_ended(self, number: int, result: FoldResult, *, stored: bool) -> None:
        self.events.append(("fold ended", number, result.fold, stored))

    def trial_ended(self, number: int, outcome: Outcome) -> None:
        self.events.append(("trial ended", number))
        self.outcomes.append(outcome)


def small_space(**changes: Any) -> Space:
    """Two backbones with heads; `large` wants larger photos and has a parameter of its own."""
    config = SpaceConfig()
    values: dict[str, Any] = {
        "backbones": ("large", "small"),
        "augmentations": ("light", "none"),
        "tunings": ("head",),
        "ranges": {
            "lr_multiplier": config.lr_multiplier,
            "weight_decay": config.weight_decay,
            "layer_decay": config.layer_decay,
            "label_smoothing": config.label_smoothing,
            "mixup": config.mixup,
            "cutmix": config.cutmix,
            "progressive": 1.0,
            "head.lr_multiplier": (0.1, 10.0),
            "head.shrinkage": (0.05, 0.8),
            "head.power": 0.5,
        },
        "full_sizes": {"large": (160,), "small": (128,)},
        "head_sizes": {"large": (256,), "small": (224,)},
        "views": (2,),
        "params": {"large": (Param.float("drop_path", 0.0, 0.2, default=0.1),), "light": (), "none": (), "small": ()},
        "fixed": {"epochs": 4, "batch_size": 16, "patience": 2, "flip": True, "seed": 0},
        "weights": {"large": "pretrained", "small": "pretrained"},
        "weights_digests": {"large": "", "small": ""},
        "default_lr": {"large": 1e-3, "small": 5e-4},
    }
    return Space(**{**values, **changes})


@dataclass
class Desk:
    """A search in a temporary folder; `go` is what running the command once does."""

    folder: Path
    space: Space = field(default_factory=small_space)
    executor: FakeExecutor = field(default_factory=FakeExecutor)
    view: RecordingView = field(default_factory=RecordingView)
    rule: PruningRule | None = None
    parallel_trials: int | None = None
    deadline: float | None = None
    seed: int = 0
    owners: dict[str, str] = field(default_factory=dict)  # of what can be struck
    first: tuple[dict[str, Any], ...] | None = None
    storage: str | None = None

    def ledger(self) -> Ledger:
        return Ledger.open(self.folder / "checkpoints" / "main", self.view.note)

    def study(self, ledger: Ledger | None = None) -> optuna.Study:
        return open_study(
            "main",
            storage_url(self.folder / "studies", "main", self.storage),
            {"folds": FOLDS.fingerprint, "classes": 2, "settings": {}},
            space=self.space,
            note=self.view.note,
            ledger=ledger or self.ledger(),
            folds=FOLDS,
        )

    def job(self) -> Job:
        ledger = self.ledger()
        return Job(
            study=self.study(ledger),
            record=ledger.record,
            space=self.space,
            executor=self.executor,
            rule=self.rule,
            folds=FOLDS,
            labels=np.zeros(12, np.int64),
            directory=self.folder / "checkpoints" / "main",
            cache=self.folder / "cache",
            plugins=PluginSources(),
            seed=self.seed,
            startup_trials=3,
            deadline=self.deadline,
            parallel_trials=self.parallel_trials,
            strikes=Strikes(self.owners),
        )

    def go(self, trials: int, before_trial: Callable[[], str | None] = lambda: None) -> list[optuna.trial.FrozenTrial]:
        job = self.job()
        first = first_trials(self.space, {"small": 224, "large": 256}) if self.first is None else self.first
        run_search(job, trials, first, self.view, before_trial=before_trial, after_complete=lambda: None)
        return job.study.get_trials()


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """These tests stop processes, not the power: waiting for the disk would be most of their time."""

    def hurry(connection: Any, record: object) -> None:
        if type(connection).__module__.startswith("sqlite3"):
            connection.execute("PRAGMA synchronous=OFF")

    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    event.listen(Engine, "connect", hurry)
    yield
    event.remove(Engine, "connect", hurry)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def make_space() -> Callable[..., Space]:
    return small_space


@pytest.fixture
def training_config() -> TrainingConfig:
    return TrainingConfig()
