"""Checkpoints of long folds (row 1 of the fault matrix): a fold that was stopped goes on and comes to the same."""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_full import CONTRADICTED, PATIENT, RECIPE, Run, run
from test_health import Faulty
from torch import Tensor

from automl_car.records import Recipe
from automl_car.training import resume
from automl_car.training.resume import Checkpoints
from automl_car.unfinished import drop_checkpoint

# Everything that draws random numbers or remembers something: dropout, mixing, the running mean, AdamW.
LIVELY = replace(RECIPE, epochs=5, ema=0.5, mixup=0.3, cutmix=0.3)
WHAT: dict[str, Any] = {"recipe": "this", "photos": "these", "versions": {"torch": "1"}}


class StoppedError(Exception):
    """What a test ends training with."""


def checkpoints(folder: Path, what: dict[str, Any] = WHAT, after_seconds: float | None = 0.0) -> Checkpoints:
    return Checkpoints(folder / "fold-0", what, after_seconds)


def train(recipe: Recipe, folder: Path | None, *, model: Faulty | None = None, **options: Any) -> Run:
    kept = None if folder is None else checkpoints(folder)
    return run(recipe, model or Faulty("nan"), checkpoints=kept, **options)


def stop_after(steps: int) -> Callable[[float], None]:
    """A check that ends training before a later call: there are four of them in an epoch, one of them of validation."""
    calls = itertools.count()

    def check(done: float) -> None:
        if next(calls) >= steps:
            raise StoppedError

    return check


def interrupted(recipe: Recipe, folder: Path, steps: int, **options: Any) -> None:
    with pytest.raises(StoppedError):
        train(recipe, folder, check=stop_after(steps), **options)


def numbers(result: Run) -> list[tuple[float, ...]]:
    return [(epoch.number, epoch.train_loss, epoch.log_loss, epoch.calibrated or 0.0) for epoch in result.curve]


def weights(result: Run) -> list[Tensor]:
    return [tensor for _, tensor in sorted(result.best.state.items())]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "fold-0").iterdir())


# ---- going on -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 5, 8, 15, 19])
def test_a_fold_that_was_stopped_comes_to_the_same_as_one_that_was_not(tmp_path: Path, steps: int) -> None:
    interrupted(LIVELY, tmp_path, steps)
    again, whole = train(LIVELY, tmp_path), train(LIVELY, None)
    assert numbers(again) == numbers(whole)
    assert all(map(torch.equal, weights(again), weights(whole)))


def test_a_fold_may_be_stopped_after_every_epoch(tmp_path: Path) -> None:
    for _ in range(4):
        interrupted(LIVELY, tmp_path, 5)
    again, whole = train(LIVELY, tmp_path), train(LIVELY, None)
    assert numbers(again) == numbers(whole)
    assert all(map(torch.equal, weights(again), weights(whole)))


def test_at_most_one_epoch_is_trained_again(tmp_path: Path) -> None:
    interrupted(LIVELY, tmp_path, 15)  # within the fourth epoch
    model = Faulty("nan")
    train(LIVELY, tmp_path, model=model)
    assert model.calls == 2 * 3  # steps of the last two epochs


def test_a_fold_whose_last_epoch_was_done_trains_nothing(tmp_path: Path) -> None:
    whole, model = train(LIVELY, tmp_path), Faulty("nan")
    again = train(LIVELY, tmp_path, model=model)
    assert model.calls == 0
    assert all(map(torch.equal, weights(again), weights(whole)))


@pytest.mark.parametrize("epochs_after_the_best", [-1, 0, 2])
def test_the_best_epoch_and_the_patience_spent_are_remembered(tmp_path: Path, epochs_after_the_best: int) -> None:
    recipe = replace(PATIENT, patience=6)
    whole = run(recipe, labels=CONTRADICTED)
    losses = [epoch.calibrated or math.inf for epoch in whole.curve]
    best = losses.index(min(losses)) + 1
    assert 1 < best < len(losses) < 30
    check = stop_after(4 * (best + epochs_after_the_best) + 1)
    with pytest.raises(StoppedError):
        run(recipe, labels=CONTRADICTED, checkpoints=checkpoints(tmp_path), check=check)
    again = run(recipe, labels=CONTRADICTED, checkpoints=checkpoints(tmp_path))
    assert numbers(again) == numbers(whole)
    assert all(map(torch.equal, weights(again), weights(whole)))


def test_a_rate_that_was_halved_stays_so_and_is_not_halved_again(tmp_path: Path) -> None:
    interrupted(LIVELY, tmp_path, 12, model=Faulty("nan", 2))
    again, whole = train(LIVELY, tmp_path), train(LIVELY, None, model=Faulty("nan", 2))
    assert numbers(again) == numbers(whole)
    assert again.best.mended == whole.best.mended != ""


def test_time_counts_from_the_first_beginning(tmp_path: Path) -> None:
    interrupted(LIVELY, tmp_path, 10)
    again = train(LIVELY, tmp_path)
    seconds = [epoch.seconds for epoch in again.curve]
    assert seconds == sorted(seconds)
    assert again.best.seconds_before == pytest.approx(seconds[1])


def test_the_clock_sees_the_share_that_is_left(tmp_path: Path) -> None:
    interrupted(LIVELY, tmp_path, 9)  # after the second of five epochs
    seen: list[float] = []
    train(LIVELY, tmp_path, check=seen.append)
    assert seen == sorted(seen)
    assert seen[:2] == pytest.approx([0, 1 / 9])
    assert seen[-1] == pytest.approx(1)


# ---- when, and what lies there --------------------------------------------------------------------------------------


def test_one_checkpoint_is_there_at_a_time(tmp_path: Path) -> None:
    interrupted(LIVELY, tmp_path, 14)
    assert files(tmp_path) == ["checkpoint-3.safetensors", "checkpoint.json"]


@pytest.mark.parametrize("after_seconds", [60.0, None])
def test_short_epochs_are_not_worth_a_checkpoint(tmp_path: Path, after_seconds: float | None) -> None:
    run(LIVELY, checkpoints=checkpoints(tmp_path, after_seconds=after_seconds))
    assert not (tmp_path / "fold-0").exists()


def test_dropping_leaves_nothing_and_spares_other_files(tmp_path: Path) -> None:
    interrupted(LIVELY, tmp_path, 9)
    (tmp_path / "fold-0" / ".0f.tmp").write_text("of a process that was killed while it wrote")
    drop_checkpoint(tmp_path / "fold-0")
    assert list(tmp_path.iterdir()) == []
    interrupted(LIVELY, tmp_path, 9)
    (tmp_path / "fold-0" / "oof.npz").write_text("")
    drop_checkpoint(tmp_path / "fold-0")
    assert files(tmp_path) == ["oof.npz"]


def test_a_full_disk_costs_the_checkpoint_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes | str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resume, "write_atomically", full)
    assert numbers(train(LIVELY, tmp_path)) == numbers(train(LIVELY, None))
    assert "No checkpoint of epoch 1" in caplog.text
    assert "No space left on device" in caplog.text


# ---- checkpoints that are of no use ---------------------------------------------------------------------------------


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _shorten(path: Path) -> None:
    record = json.loads(path.read_text())
    record["curve"] = record["curve"][:1]
    path.write_text(json.dumps(record))


DAMAGES: list[tuple[str, Callable[[Path], None]]] = [
    ("checkpoint.json", _flip),
    ("checkpoint.json", _cut),
    ("checkpoint.json", lambda path: path.write_text("[]")),
    ("checkpoint.json", lambda path: path.write_text("{}")),
    ("checkpoint.json", lambda path: path.write_bytes(b"\xff")),
    ("checkpoint.json", _shorten),
    ("checkpoint-2.safetensors", _flip),
    ("checkpoint-2.safetensors", _cut),
    ("checkpoint-2.safetensors", Path.unlink),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_checkpoint_is_named_in_the_log_and_the_fold_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: Callable[[Path], None]
) -> None:
    interrupted(LIVELY, tmp_path, 9)
    damage(tmp_path / "fold-0" / name)
    model = Faulty("nan")
    again = train(LIVELY, tmp_path, model=model)
    assert model.calls == 5 * 3
    assert numbers(again) == numbers(train(LIVELY, None))
    assert f"The checkpoint in {tmp_path / 'fold-0'} is not used" in caplog.text


@pytest.mark.parametrize("change", [{"recipe": "other"}, {"photos": "others"}, {"versions": {"torch": "2"}}])
def test_a_checkpoint_of_anything_else_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any]
) -> None:
    interrupted(LIVELY, tmp_path, 9)
    model = Faulty("nan")
    with caplog.at_level(logging.WARNING):
        run(LIVELY, model, checkpoints=checkpoints(tmp_path, WHAT | change))
    assert model.calls == 5 * 3
    assert "it is of another recipe, of other photos, or by other versions" in caplog.text


def test_a_checkpoint_of_another_network_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    interrupted(LIVELY, tmp_path, 9)
    result = run(LIVELY, checkpoints=checkpoints(tmp_path))  # the network alone, without what is around it
    assert len(result.curve) == 5
    assert "it is of another network" in caplog.text
