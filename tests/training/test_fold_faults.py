"""Whole folds that meet bad numbers, little memory, or their end (rows 1, 12, 13 and 14 of the fault matrix)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_fold import FULL, HEAD, HOPELESS, LONG, Bench
from torch import Tensor, nn

from automl_car.catalog.manager import Catalog
from automl_car.data.prepare import Prepared
from automl_car.errors import DivergedError, OutOfMemoryError
from automl_car.fold_records import Epoch, FoldTask, Progress
from automl_car.records import Recipe
from automl_car.store import read_logits, read_result
from automl_car.training import clock
from automl_car.training.fold import train_fold

SPECIAL = replace(FULL, backbone="special", augmentation="none", params=(), epochs=4, patience=0)


@pytest.fixture
def bench(toy_catalog: Catalog, tiny_prepared: Prepared, tmp_path: Path) -> Bench:
    return Bench(toy_catalog, tiny_prepared, tmp_path)


class Touchy(nn.Module):
    """A small network; `fault` sees what goes in and comes out in each pass and may change it, or raise."""

    def __init__(self, classes: int, fault: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, classes)
        self.fault = fault

    def forward(self, images: Tensor) -> Tensor:
        return self.fault(self, images, self.head(self.trunk(images)))


def offer(bench: Bench, fault: Callable[[Touchy, Tensor, Tensor], Tensor]) -> Bench:
    return bench.offer(lambda classes, *, pretrained=True: Touchy(classes, fault))  # type: ignore[arg-type]


def same(ours: FoldTask, theirs: FoldTask) -> None:
    first, second = read_logits(ours.fold_directory), read_logits(theirs.fold_directory)
    np.testing.assert_allclose(first.oof, second.oof, rtol=0, atol=1e-9)
    np.testing.assert_allclose(first.test, second.test, rtol=0, atol=1e-9)


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_a_rate_that_was_halved_is_kept_in_the_record(bench: Bench) -> None:
    steps = iter(range(1000))

    def fault(model: nn.Module, images: Tensor, logits: Tensor) -> Tensor:
        return logits * (float("nan") if model.training and next(steps) == 4 else 1.0)

    task = bench.task(SPECIAL, step="plain")
    result = offer(bench, fault).train(task)
    assert result.mended == "the learning rate was halved, as the training loss was nan in epoch 2, step 2"
    assert read_result(task.fold_directory) == result


def test_a_fold_that_diverges_names_itself_and_leaves_nothing(bench: Bench) -> None:
    def fault(model: nn.Module, images: Tensor, logits: Tensor) -> Tensor:
        return logits * float("nan")

    task = bench.task(SPECIAL, fold=2, step="plain", checkpoint_seconds=0.0)
    with pytest.raises(
        DivergedError, match=r"^Fold 2 of `special`: The training loss was nan in epoch 1, step 1, although "
    ):
        offer(bench, fault).train(task)
    assert not task.fold_directory.exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_test_logits_that_are_not_finite_are_never_stored(bench: Bench, bad: float) -> None:
    def fault(model: nn.Module, images: Tensor, logits: Tensor) -> Tensor:
        return logits + torch.tensor([0.0, 0.0, bad if len(images) == 5 else 0.0])  # five photos: those of the test set

    task = bench.task(SPECIAL, step="plain", checkpoint_seconds=0.0)
    with pytest.raises(
        DivergedError, match="Fold 1 of `special`: the logits of 5 of 5 test photos were not finite in the end"
    ):
        offer(bench, fault).train(task)
    assert not task.fold_directory.exists()


def test_features_that_are_not_finite_end_a_head_with_their_cause(bench: Bench) -> None:
    class Huge(nn.Module):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.head = nn.Linear(3, classes)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(images.mean((2, 3)) * 1e30)  # type: ignore[no-any-return]

    bench = bench.offer(lambda classes, *, pretrained=True: Huge(classes))
    task = bench.task(replace(HEAD, backbone="special", params=()))
    with pytest.raises(
        DivergedError, match=r"^Fold 1 of `special`: Features of `special` at 16 px are not finite numbers"
    ):
        bench.train(task)
    assert not task.fold_directory.exists()


# ---- memory ---------------------------------------------------------------------------------------------------------


def too_large_for(training: int, prediction: int = 1000) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    def fault(model: nn.Module, images: Tensor, logits: Tensor) -> Tensor:
        if len(images) > (training if model.training else prediction):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return logits

    return fault


@pytest.mark.parametrize(("step", "rounding"), [("plain", 1e-4), ("auto", 0.02)])  # what is measured may be bfloat16
def test_a_fold_that_had_to_be_halved_comes_to_the_same_and_says_so(bench: Bench, step: str, rounding: float) -> None:
    whole, halved = (bench.task(SPECIAL, study=name, step=step) for name in ("whole", "halved"))
    offer(bench, too_large_for(8)).train(whole)
    result = offer(bench, too_large_for(3, 2)).train(halved)
    assert result.step["micro_batch"] == 2
    assert "2 images go through the network at a time for lack of memory" in result.mended
    first, second = read_logits(halved.fold_directory), read_logits(whole.fold_directory)
    np.testing.assert_allclose(first.oof, second.oof, atol=rounding)
    np.testing.assert_allclose(first.test, second.test, atol=rounding)


def test_the_next_fold_begins_with_what_fitted(bench: Bench) -> None:
    refused: list[int] = []

    def fault(model: nn.Module, images: Tensor, logits: Tensor) -> Tensor:
        try:
            return too_large_for(3, 2)(model, images, logits)
        except torch.OutOfMemoryError:
            refused.append(len(images))
            raise

    touchy = offer(bench, fault)
    touchy.train(bench.task(SPECIAL, fold=0, step="plain"))
    assert sorted(refused) == [4, 4, 8, 8]  # training and prediction, each halved twice
    refused.clear()
    result = touchy.train(bench.task(SPECIAL, fold=1, step="plain"))
    assert (refused, result.step["micro_batch"]) == ([], 2)


@pytest.mark.parametrize("fits", [9, 2])
def test_features_come_in_smaller_batches_where_memory_is_short(bench: Bench, fits: int) -> None:
    def fault(model: nn.Module, images: Tensor, logits: Tensor) -> Tensor:
        return too_large_for(0, fits)(model, images, logits)

    recipe = replace(HEAD, backbone="special", params=())
    whole, halved = (bench.task(recipe, study=name, cache=bench.folder / name) for name in ("whole", "halved"))
    offer(bench, too_large_for(0)).train(whole)
    seen: list[Epoch | Progress] = []
    offer(bench, fault).train(halved, seen)
    done = [message.done for message in seen if isinstance(message, Progress)]
    assert done == sorted(set(done))
    assert done[-1] == 41
    first, second = read_logits(halved.fold_directory), read_logits(whole.fold_directory)
    np.testing.assert_allclose(first.oof, second.oof, atol=1e-3)


def test_too_little_memory_for_one_image_names_the_fold_and_what_it_needs(bench: Bench) -> None:
    task = bench.task(SPECIAL, step="plain", checkpoint_seconds=0.0)
    words = r"^Fold 1: the memory of cpu does not suffice for `special` at 16 px, batch 8: 1 image at a time"
    with pytest.raises(OutOfMemoryError, match=words):
        offer(bench, too_large_for(0)).train(task)
    assert not task.fold_directory.exists()


GREEDY = """
    import resource, sys
    from pathlib import Path

    import torch
    from torch import nn

    torch.set_num_threads(1)
    from automl_car.catalog.manager import load_catalog
    from automl_car.catalog.records import Backbone
    from automl_car.data.prepare import open_prepared
    from automl_car.fold_records import FoldTask
    from automl_car.records import Recipe
    from automl_car.training.fold import train_fold
    from dataclasses import replace
    import json

    study, cache, folder, limit = *map(Path, sys.argv[1:4]), int(sys.argv[4])

    class Greedy(nn.Module):
        '''Needs 100 MB for each image.'''
        def __init__(self, classes):
            super().__init__()
            self.head = nn.Linear(3, classes)

        def forward(self, images):
            wasted = torch.empty(len(images), 25_000_000)
            return self.head(images.mean((2, 3))) + 0 * wasted[0, 0].nan_to_num(0, 0, 0)

    catalog = load_catalog()
    greedy = Backbone("greedy", lambda classes, *, pretrained=True: Greedy(classes), image_size=16)
    catalog = replace(catalog, backbones={**catalog.backbones, "greedy": greedy})
    recipe = Recipe(**json.loads(sys.argv[5]))
    prepared = open_prepared(study, cache)
    task = FoldTask(recipe, recipe.id(prepared.folds), 1, folder, cache, step="plain")
    used = 1024 * int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize")))
    resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
    result = train_fold(task, catalog, prepared, lambda message: None)
    print(json.dumps([result.step["micro_batch"], result.mended]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are told by /proc")
def test_the_memory_of_the_host_may_be_too_little_for_a_batch(tiny_prepared: Prepared, tmp_path: Path) -> None:
    recipe = {"backbone": "greedy", "image_size": 16, "epochs": 1, "batch_size": 8, "weights": "random", "patience": 0}
    root = Path(tiny_prepared.dataset.root).parent
    arguments = [str(root / "study"), str(root / "cache"), str(tmp_path), "700000000", json.dumps(recipe)]
    script = [sys.executable, "-c", textwrap.dedent(GREEDY), *arguments]
    # Each thread would reserve addresses for a heap of its own, more of them the busier the machine is.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    answer = subprocess.run(script, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert answer.returncode == 0, answer.stderr
    micro_batch, mended = json.loads(answer.stdout)
    assert micro_batch in (1, 2, 4)
    assert mended.endswith(" through the network at a time for lack of memory")


# ---- checkpoints ----------------------------------------------------------------------------------------------------


class KilledError(BaseException):
    """What nobody catches."""


def _killed_after(bench: Bench, task: FoldTask, epochs: int) -> None:
    def report(message: Epoch | Progress) -> None:
        if isinstance(message, Epoch) and message.number == epochs:
            raise KilledError

    with pytest.raises(KilledError):
        train_fold(task, bench.catalog, bench.prepared, report)


def _checkpoint(task: FoldTask) -> list[str]:
    return sorted(path.name for path in task.fold_directory.glob("*"))


@pytest.mark.parametrize("recipe", [LONG, replace(FULL, epochs=6, patience=2)], ids=["to the end", "with patience"])
def test_a_killed_fold_goes_on_and_leaves_the_logits_of_an_undisturbed_one(bench: Bench, recipe: Recipe) -> None:
    undisturbed, killed = (bench.task(recipe, study=name, checkpoint_seconds=0.0) for name in ("undisturbed", "killed"))
    expected = bench.train(undisturbed)
    _killed_after(bench, killed, 2)
    assert _checkpoint(killed) == ["checkpoint-2.safetensors", "checkpoint.json"]
    result = bench.train(killed)
    same(killed, undisturbed)
    assert [replace(epoch, seconds=0.0) for epoch in result.curve] == [
        replace(epoch, seconds=0.0) for epoch in expected.curve
    ]
    assert read_result(killed.fold_directory) == result
    assert not [name for name in _checkpoint(killed) if name.startswith("checkpoint")]


def test_the_seconds_of_all_runs_are_counted(bench: Bench) -> None:
    task = bench.task(LONG, checkpoint_seconds=0.0)
    _killed_after(bench, task, 4)
    before = json.loads((task.fold_directory / "checkpoint.json").read_text())["seconds"]
    began = time.monotonic()
    assert bench.train(task).seconds > before
    assert bench.train(replace(task, fold=2)).seconds < time.monotonic() - began


def test_a_fold_that_the_clock_stops_keeps_its_checkpoint_and_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1e9]
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def pass_time(message: Epoch | Progress) -> None:
        now[0] += 10

    task = bench.task(LONG, deadline=1e9 + 35, step="plain", checkpoint_seconds=0.0)
    assert train_fold(task, bench.catalog, bench.prepared, pass_time).status == "stopped"
    assert "checkpoint.json" in _checkpoint(task)
    undisturbed = bench.task(LONG, study="undisturbed", step="plain")
    for later in (replace(task, deadline=None), undisturbed):
        bench.train(later)
    same(task, undisturbed)


def test_a_fold_that_was_beaten_leaves_no_checkpoint(bench: Bench) -> None:
    task = bench.task(LONG, to_beat=HOPELESS, checkpoint_seconds=0.0)
    assert bench.train(task).status == "beaten"
    assert not task.fold_directory.exists()


def test_a_refit_goes_on_too(bench: Bench) -> None:
    undisturbed, killed = (
        bench.task(LONG, -1, study=name, test_fold=0, checkpoint_seconds=0.0) for name in ("undisturbed", "killed")
    )
    bench.train(undisturbed)
    _killed_after(bench, killed, 3)
    bench.train(killed)
    same(killed, undisturbed)


def test_another_recipe_in_the_same_folder_begins_anew(bench: Bench) -> None:
    task = bench.task(LONG, checkpoint_seconds=0.0)
    _killed_after(bench, task, 2)
    other = replace(task, recipe=replace(LONG, learning_rate=0.02))
    seen: list[Any] = []
    bench.train(other, seen)
    alone = bench.task(replace(LONG, learning_rate=0.02), study="alone")
    bench.train(alone)
    same(other, alone)
