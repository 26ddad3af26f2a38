"""One fold from task to store, with tiny networks and real photos."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.metrics import log_loss as sklearn_log_loss
from torch import Tensor, nn

from automl_car.catalog.manager import Catalog
from automl_car.catalog.records import Backbone
from automl_car.data.index import read_dataset
from automl_car.data.prepare import Prepared, prepare
from automl_car.errors import DivergedError, OutOfMemoryError
from automl_car.fold_records import NO_FOLD, Epoch, FoldResult, FoldTask, Progress
from automl_car.records import Recipe
from automl_car.store import read_logits, read_model, read_result
from automl_car.temperature import fit_temperature
from automl_car.training.checkpoint import from_safetensors
from automl_car.training.features import frozen_features
from automl_car.training.fold import train_fold
from automl_car.training.inference import predict_logits
from automl_car.training.step import Step, passes
from automl_car.training.views import choose_views

HEAD = Recipe("toy", tuning="head", image_size=16, epochs=3, weights="random", params=(("toy.width", 8),))
FULL = replace(
    HEAD,
    tuning="full",
    augmentation="light",
    batch_size=8,
    learning_rate=0.01,
    head_multiplier=1.0,
    params=(("light.border", 0.1),),
)
BOTH = pytest.mark.parametrize("recipe", [HEAD, FULL], ids=["head", "full"])


@dataclass
class Bench:
    """Trains folds in a temporary folder."""

    catalog: Catalog
    prepared: Prepared
    folder: Path

    def task(self, recipe: Recipe, fold: int = 1, study: str = "study", **changes: Any) -> FoldTask:
        identifier = recipe.id(self.prepared.folds)
        return replace(FoldTask(recipe, identifier, fold, self.folder / study, self.folder / "cache"), **changes)

    def train(self, task: FoldTask, seen: list[Epoch | Progress] | None = None) -> FoldResult:
        return train_fold(task, self.catalog, self.prepared, (seen if seen is not None else []).append)

    def offer(self, build: Any) -> Bench:
        """The bench with one more backbone, `special`."""
        special = Backbone("special", build, image_size=16)
        catalog = replace(self.catalog, backbones={**self.catalog.backbones, "special": special})
        return replace(self, catalog=catalog)


@pytest.fixture
def bench(toy_catalog: Catalog, tiny_prepared: Prepared, tmp_path: Path) -> Bench:
    return Bench(toy_catalog, tiny_prepared, tmp_path)


def _softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    exponentials = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


# ---- what a fold leaves ---------------------------------------------------------------------------------------------


@BOTH
def test_the_fold_store_holds_what_was_returned(bench: Bench, recipe: Recipe) -> None:
    task = bench.task(recipe)
    result = bench.train(task)
    assert result.status == "finished"
    assert read_result(task.fold_directory) == result


@BOTH
def test_the_logits_are_those_of_the_folds_validation_rows(bench: Bench, recipe: Recipe) -> None:
    task = bench.task(recipe)
    bench.train(task)
    logits = read_logits(task.fold_directory)
    np.testing.assert_array_equal(logits.rows, bench.prepared.folds.validation_rows(1))
    assert logits.oof.shape == (len(logits.rows), 3)
    assert logits.test.shape == (5, 3)


@BOTH
def test_both_log_losses_are_those_of_scikit_learn(bench: Bench, recipe: Recipe) -> None:
    task = bench.task(recipe)
    result = bench.train(task)
    logits = read_logits(task.fold_directory)
    labels = np.array(bench.prepared.dataset.labels)[logits.rows]
    oof = logits.oof.astype(np.float64)
    assert result.raw_log_loss == pytest.approx(sklearn_log_loss(labels, _softmax(oof), labels=[0, 1, 2]))
    calibrated = _softmax(oof / result.temperature)
    assert result.log_loss == pytest.approx(sklearn_log_loss(labels, calibrated, labels=[0, 1, 2]), abs=1e-6)
    assert result.log_loss <= result.raw_log_loss


@BOTH
def test_logits_are_kept_for_one_view_two_and_all(bench: Bench, recipe: Recipe) -> None:
    task = bench.task(replace(recipe, views=4))
    result = bench.train(task)
    labels = np.array(bench.prepared.dataset.labels)[bench.prepared.folds.validation_rows(1)]
    assert [views for views, _ in result.view_losses] == [1, 2, 4]
    assert result.view_losses[-1] == (4, result.log_loss)
    for views, loss in result.view_losses:
        oof = read_logits(task.fold_directory, views=views).oof.astype(np.float64)
        calibrated = _softmax(oof / fit_temperature(oof, labels))
        assert loss == pytest.approx(sklearn_log_loss(labels, calibrated, labels=[0, 1, 2]), abs=1e-3)


def test_a_networks_logits_of_one_view_are_those_of_a_recipe_with_one(bench: Bench) -> None:
    # Fine-tuning itself does not depend on the views, so both recipes end with the same network.
    one, four = (bench.task(replace(FULL, views=views), step="plain") for views in (1, 4))
    for task in (one, four):
        bench.train(task)
    expected, found = read_logits(one.fold_directory), read_logits(four.fold_directory, views=1)
    np.testing.assert_allclose(_softmax(found.oof), _softmax(expected.oof), atol=1e-3)
    np.testing.assert_allclose(_softmax(found.test), _softmax(expected.test), atol=1e-3)
    assert not np.allclose(_softmax(found.oof), _softmax(read_logits(four.fold_directory).oof), atol=1e-3)


def test_a_heads_logits_of_one_view_are_those_of_the_photos_features(bench: Bench) -> None:
    task = bench.task(replace(HEAD, views=4))
    bench.train(task)
    head = from_safetensors(read_model(task.fold_directory))
    backbone, photo = bench.catalog.backbone("toy"), choose_views(1, flip=True)
    cpu = torch.device("cpu")
    features = frozen_features(backbone, HEAD, photo, bench.prepared, task.cache, cpu, lambda done, total: None)
    found = read_logits(task.fold_directory, views=1)
    for logits, values in ((found.oof, features.train[0][found.rows]), (found.test, features.test[0])):
        powered = np.sign(values) * np.abs(values.astype(np.float64)) ** HEAD.power
        expected = powered @ head["weight"].numpy().T + head["bias"].numpy()
        np.testing.assert_allclose(_softmax(logits), _softmax(expected), atol=2e-3)


@BOTH
def test_a_fold_learns_what_the_photos_show(bench: Bench, recipe: Recipe) -> None:
    recipe = replace(recipe, epochs=15 if recipe.tuning == "full" else 3, learning_rate=0.02)
    assert bench.train(bench.task(recipe)).log_loss < 0.7 * np.log(3)


def test_the_weights_of_a_full_fold_give_its_logits(bench: Bench) -> None:
    task = bench.task(FULL, step="plain")
    bench.train(task)
    model = bench.catalog.backbone("toy").build(3, pretrained=False, width=8)
    model.load_state_dict(from_safetensors(read_model(task.fold_directory)))
    logits = read_logits(task.fold_directory)
    again = predict_logits(
        passes(model, Step(), torch.device("cpu")),
        bench.prepared.train_image,
        logits.rows,
        backbone=bench.catalog.backbone("toy"),
        image_size=16,
        batch_size=8,
        views=choose_views(task.recipe.views, flip=True),
    )
    np.testing.assert_allclose(again, logits.oof, atol=1e-5)


def test_the_weights_of_a_head_are_its_matrix_and_bias(bench: Bench) -> None:
    task = bench.task(HEAD)
    bench.train(task)
    tensors = from_safetensors(read_model(task.fold_directory))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {"weight": (3, 12), "bias": (3,)}


@BOTH
def test_a_broken_test_photo_gets_the_shares_of_the_classes(
    toy_catalog: Catalog, tiny_dataset: Path, tmp_path: Path, recipe: Recipe
) -> None:
    (tiny_dataset / "test" / "2.jpg").write_bytes(b"<html>")
    (tiny_dataset / "train" / "van" / "00.jpg").unlink()
    dataset = read_dataset(tiny_dataset)
    folders = {"cache_directory": tmp_path / "cache", "study_directory": tmp_path / "study"}
    bench = Bench(toy_catalog, prepare(dataset, **folders, short_side=32, folds=3, seed=0), tmp_path)
    task = bench.task(recipe)
    bench.train(task)
    probabilities = _softmax(read_logits(task.fold_directory).test)
    np.testing.assert_allclose(probabilities[2], [12 / 35, 12 / 35, 11 / 35], rtol=1e-5)
    assert not np.allclose(probabilities[1], probabilities[2])


@BOTH
def test_without_a_test_set_no_test_logits_are_stored(bench: Bench, recipe: Recipe) -> None:
    dataset = replace(bench.prepared.dataset, test_paths=(), test_ids=(), submission=None)
    bench.prepared = replace(bench.prepared, dataset=dataset, test_entries=np.zeros(0, np.int64))
    task = bench.task(recipe)
    bench.train(task)
    assert read_logits(task.fold_directory).test.shape == (0, 3)


# ---- refits ---------------------------------------------------------------------------------------------------------


def _same_labels_but(bench: Bench, fold: int) -> Bench:
    """The bench with other labels for the rows of one fold."""
    labels = np.array(bench.prepared.dataset.labels)
    rows = bench.prepared.folds.validation_rows(fold)
    labels[rows] = (labels[rows] + 1) % 3
    dataset = replace(bench.prepared.dataset, labels=tuple(labels.tolist()))
    return replace(bench, prepared=replace(bench.prepared, dataset=dataset))


@BOTH
def test_a_refit_leaves_test_logits_and_weights_and_nothing_to_be_judged_by(bench: Bench, recipe: Recipe) -> None:
    task = bench.task(replace(recipe, patience=0), NO_FOLD)
    result = bench.train(task)
    assert (result.status, len(result.view_losses)) == ("finished", 0)
    assert math.isnan(result.log_loss)
    logits = read_logits(task.fold_directory)
    assert (logits.oof.shape, logits.test.shape) == ((0, 3), (5, 3))
    assert np.isfinite(logits.test).all()
    stored = read_result(task.fold_directory)
    assert stored is not None
    assert [epoch.train_loss for epoch in stored.curve] == [epoch.train_loss for epoch in result.curve]


@BOTH
@pytest.mark.parametrize("fold", range(3))
def test_a_refit_learns_from_every_fold(bench: Bench, recipe: Recipe, fold: int) -> None:
    tasks = [bench.task(replace(recipe, patience=0), NO_FOLD, study, step="plain") for study in ("one", "other")]
    bench.train(tasks[0])
    _same_labels_but(bench, fold).train(tasks[1])
    first, second = (read_logits(task.fold_directory).test for task in tasks)
    assert not np.allclose(first, second, atol=1e-3)


@BOTH
@pytest.mark.parametrize("fold", [0, NO_FOLD])
def test_a_fold_that_plays_the_test_set_is_predicted_and_not_trained_on(
    bench: Bench, recipe: Recipe, fold: int
) -> None:
    recipe = replace(recipe, patience=0, epochs=1)
    tasks = [bench.task(recipe, fold, study, test_fold=2, step="plain") for study in ("one", "other")]
    bench.train(tasks[0])
    _same_labels_but(bench, 2).train(tasks[1])
    first, second = (read_logits(task.fold_directory) for task in tasks)
    assert len(first.test) == len(bench.prepared.folds.validation_rows(2))
    np.testing.assert_array_equal(first.test, second.test)
    np.testing.assert_array_equal(first.rows, bench.prepared.folds.validation_rows(fold))


def test_without_early_stopping_a_refit_without_a_fold_is_the_model_of_that_fold(bench: Bench) -> None:
    recipe = replace(HEAD, patience=0, views=4)
    own, refit = bench.task(recipe, 1), bench.task(recipe, NO_FOLD, test_fold=1)
    for task in (own, refit):
        bench.train(task)
    for views in (1, 2, 4):
        expected = read_logits(own.fold_directory, views=views).oof
        np.testing.assert_array_equal(read_logits(refit.fold_directory, views=views).test, expected)


# ---- reports --------------------------------------------------------------------------------------------------------


@BOTH
def test_every_epoch_of_the_curve_is_reported_as_it_happens(bench: Bench, recipe: Recipe) -> None:
    seen: list[Epoch | Progress] = []
    result = bench.train(bench.task(recipe), seen)
    assert tuple(message for message in seen if isinstance(message, Epoch)) == result.curve
    assert len(result.curve) >= 1


def test_the_progress_of_computing_features_is_reported(bench: Bench) -> None:
    seen: list[Epoch | Progress] = []
    bench.train(bench.task(HEAD), seen)
    progress = [message for message in seen if isinstance(message, Progress)]
    assert progress[-1] == Progress("features of toy at 16 px", 41, 41)


# ---- the same again -------------------------------------------------------------------------------------------------


class WithDropout(nn.Module):
    """A network that draws random numbers at every training step."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.dropout(self.trunk(images)))


def _with_dropout(classes: int, *, pretrained: bool = True) -> nn.Module:
    return WithDropout(classes)


@pytest.mark.parametrize("weights", ["random", "file"])
@BOTH
def test_a_fold_trained_again_comes_out_the_same(bench: Bench, tmp_path: Path, recipe: Recipe, weights: str) -> None:
    bench = bench.offer(_with_dropout)
    torch.manual_seed(5)
    save_file(WithDropout(3).state_dict(), tmp_path / "weights.safetensors")
    weights = str(tmp_path / "weights.safetensors") if weights == "file" else weights
    recipe = replace(recipe, backbone="special", weights=weights, params=())
    tasks = [bench.task(recipe, study=study) for study in ("first", "second")]
    # The first one computes the features, and the second finds them.
    losses = [bench.train(task).log_loss for task in tasks]
    assert losses[0] == pytest.approx(losses[1], abs=1e-9)
    first, second = (read_logits(task.fold_directory) for task in tasks)
    np.testing.assert_array_equal(first.oof, second.oof)


def test_folds_of_one_recipe_start_from_different_random_weights(bench: Bench) -> None:
    recipe = replace(FULL, learning_rate=1e-12, epochs=1, ema=0.0)
    tasks = [bench.task(recipe, fold) for fold in (0, 1)]
    for task in tasks:
        bench.train(task)
    first, second = (from_safetensors(read_model(task.fold_directory)) for task in tasks)
    assert not torch.allclose(first["0.weight"], second["0.weight"])


# ---- the clock ------------------------------------------------------------------------------------------------------


@BOTH
def test_after_the_deadline_nothing_is_trained_or_stored(bench: Bench, recipe: Recipe) -> None:
    task = bench.task(recipe, deadline=time.monotonic() - 1)
    result = bench.train(task)
    assert (result.status, result.reason) == ("stopped", "the time is up")
    assert read_result(task.fold_directory) is None


@BOTH
def test_a_deadline_far_away_changes_nothing(bench: Bench, recipe: Recipe) -> None:
    assert bench.train(bench.task(recipe, deadline=time.monotonic() + 3600)).status == "finished"


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1e9
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def _slow(clock: Clock, seconds: float) -> Any:
    """Builds networks that need so many seconds a batch."""

    class Slow(nn.Module):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.head = nn.Linear(3, classes)

        def forward(self, images: Tensor) -> Tensor:
            clock.now += seconds
            return self.head(images.mean((2, 3)))

    return lambda classes, *, pretrained=True: Slow(classes)


def test_a_fold_that_cannot_be_done_in_time_stops_early(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    bench = bench.offer(_slow(clock, 30))
    recipe = replace(FULL, backbone="special", params=(), augmentation="none", epochs=100)
    began = clock.now
    result = bench.train(bench.task(recipe, deadline=began + 1000, step="plain"))
    assert result.status == "stopped"
    assert "more" in result.reason
    assert clock.now - began < 200


def test_time_spent_on_features_is_no_reason_to_stop_a_head(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # 41 photos are two batches of two views: 240 s for features, after which the head needs hardly any time.
    clock = Clock(monkeypatch)
    bench = bench.offer(_slow(clock, 60))
    recipe = replace(HEAD, backbone="special", params=(), epochs=10)
    assert bench.train(bench.task(recipe, deadline=clock.now + 600)).status == "finished"


# ---- folds that fall behind -----------------------------------------------------------------------------------------

LONG = replace(FULL, epochs=10, patience=0)
HOPELESS, EASY = ((0.15, 1e-6), (1.0, 1e-6)), ((0.15, 100.0), (1.0, 100.0))  # no network gets there, and any does


def test_a_fold_that_falls_behind_is_beaten_after_that_epoch_and_stores_nothing(bench: Bench) -> None:
    seen: list[Epoch | Progress] = []
    task = bench.task(LONG, to_beat=HOPELESS)
    result = bench.train(task, seen)
    assert (result.status, len(result.curve)) == ("beaten", 2)  # the first epoch beyond 15 % of the schedule
    assert result.reason.startswith("after epoch 2 of 10 it is at ")
    assert tuple(message for message in seen if isinstance(message, Epoch)) == result.curve
    assert not task.fold_directory.exists()


def test_a_beaten_fold_tells_what_it_had_reached(bench: Bench) -> None:
    result = bench.train(bench.task(LONG, to_beat=HOPELESS))
    last = result.curve[-1]
    assert (result.log_loss, result.raw_log_loss) == (last.calibrated, last.log_loss)
    assert result.log_loss < result.raw_log_loss


def test_a_fold_that_keeps_up_comes_out_as_if_there_were_nothing_to_beat(bench: Bench) -> None:
    kept_up = bench.train(bench.task(LONG, study="kept up", to_beat=EASY))
    assert kept_up.status == "finished"
    alone = bench.train(bench.task(LONG, study="alone"))
    assert [epoch.log_loss for epoch in kept_up.curve] == [epoch.log_loss for epoch in alone.curve]
    assert kept_up.log_loss == alone.log_loss


def test_a_head_is_not_stopped_for_its_curve(bench: Bench) -> None:
    assert bench.train(bench.task(HEAD, to_beat=HOPELESS)).status == "finished"


# ---- failures -------------------------------------------------------------------------------------------------------


def _failing(error: BaseException) -> Any:
    class Failing(nn.Module):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.head = nn.Linear(3, classes)

        def forward(self, images: Tensor) -> Tensor:
            raise error

    return lambda classes, *, pretrained=True: Failing(classes)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        MemoryError("Unable to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried …"),
    ],
    ids=["device", "python", "numpy", "torch on the host"],
)
@BOTH
def test_too_little_memory_is_told_with_what_needed_it(bench: Bench, recipe: Recipe, error: BaseException) -> None:
    bench = bench.offer(_failing(error))
    with pytest.raises(OutOfMemoryError, match=r"`special` at 16 px, batch"):
        bench.train(bench.task(replace(recipe, backbone="special", params=())))


def test_other_errors_of_a_network_are_not_called_a_lack_of_memory(bench: Bench) -> None:
    bench = bench.offer(_failing(RuntimeError("mat1 and mat2 shapes cannot be multiplied")))
    with pytest.raises(RuntimeError, match="mat1"):
        bench.train(bench.task(replace(FULL, backbone="special", params=())))


class NotANumber(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.mean((2, 3)) * float("nan"))


@BOTH
def test_a_network_that_gives_nan_has_diverged_and_leaves_nothing(bench: Bench, recipe: Recipe) -> None:
    bench = bench.offer(lambda classes, *, pretrained=True: NotANumber(classes))
    task = bench.task(replace(recipe, backbone="special", params=()))
    with pytest.raises(DivergedError):
        bench.train(task)
    assert read_result(task.fold_directory) is None
