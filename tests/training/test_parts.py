"""An interrupted computation of features goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_car.catalog.records import Backbone
from automl_car.data.prepare import Prepared
from automl_car.records import Recipe
from automl_car.training import parts
from automl_car.training.features import Features, frozen_features
from automl_car.training.mapped import append_rows, write_header
from automl_car.training.parts import Kept, Parts
from automl_car.training.views import View, choose_views

RECIPE = Recipe("colours", tuning="head", image_size=16, weights="random")
VIEWS = choose_views(2, flip=True)
ROWS = np.arange(60, dtype=np.float16).reshape(20, 3)


class Colours(nn.Module):
    """Its features are the three mean colours; counts the views that it sees."""

    seen = 0

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3, classes)

    def forward(self, images: Tensor) -> Tensor:
        Colours.seen += len(images)
        return self.head(images.mean((2, 3)))


BACKBONE = Backbone("colours", lambda classes, *, pretrained=True: Colours(classes), image_size=16)


@pytest.fixture(autouse=True)
def _a_part_after_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_SECONDS", 0.0)
    Colours.seen = 0


def _compute(
    prepared: Prepared,
    cache: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    views: tuple[View, ...] = VIEWS,
) -> Features:
    return frozen_features(BACKBONE, RECIPE, views, prepared, cache, torch.device("cpu"), progress)


def _stop_at(photos: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done >= photos:
            raise TimeoutError

    return progress


def _interrupted(prepared: Prepared, cache: Path, photos: int) -> int:
    """Compute until so many photos are done, of 36 for training and 5 for the test; how many are kept."""
    with pytest.raises(TimeoutError):
        _compute(prepared, cache, _stop_at(photos))
    seen, Colours.seen = Colours.seen, 0
    return seen // 2


@pytest.mark.parametrize("photos", [1, 17, 36, 37])
def test_only_what_is_missing_is_computed(tiny_prepared: Prepared, tmp_path: Path, photos: int) -> None:
    kept = _interrupted(tiny_prepared, tmp_path / "cache", photos)
    found = _compute(tiny_prepared, tmp_path / "cache")
    assert photos <= kept <= 41
    assert Colours.seen == 2 * (41 - kept)
    whole = _compute(tiny_prepared, tmp_path / "other")
    for ours, theirs in zip(found.train + found.test, whole.train + whole.test, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_it_may_be_interrupted_again_and_again(tiny_prepared: Prepared, tmp_path: Path) -> None:
    for _ in range(2):
        _interrupted(tiny_prepared, tmp_path, 1)
    _compute(tiny_prepared, tmp_path)
    assert 0 < Colours.seen <= 2 * (41 - 32)


def test_progress_counts_what_is_to_do(tiny_prepared: Prepared, tmp_path: Path) -> None:
    kept = _interrupted(tiny_prepared, tmp_path, 1)
    told: list[tuple[int, int]] = []
    _compute(tiny_prepared, tmp_path, lambda done, total: told.append((done, total)))
    assert told[-1] == (41 - kept, 41 - kept)


def test_nothing_is_left_of_the_parts_in_the_end(tiny_prepared: Prepared, tmp_path: Path) -> None:
    _interrupted(tiny_prepared, tmp_path, 1)
    assert list(tmp_path.glob("features/*/unfinished/*"))
    _compute(tiny_prepared, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("features/*/*")) == ["mirror", "photo"]


def test_what_takes_less_than_half_a_minute_leaves_no_part(
    tiny_prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_SECONDS", 30.0)
    _interrupted(tiny_prepared, tmp_path, 36)
    assert list(tmp_path.glob("features/*/*")) == []


def test_a_damaged_part_is_computed_again(tiny_prepared: Prepared, tmp_path: Path) -> None:
    _interrupted(tiny_prepared, tmp_path / "cache", 17)
    whole = _compute(tiny_prepared, tmp_path / "other")
    path = next(iter((tmp_path / "cache").glob("features/*/unfinished/train-0-*/photo.npy")))
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    found = _compute(tiny_prepared, tmp_path / "cache")
    for ours, theirs in zip(found.train, whole.train, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_parts_of_other_views_are_of_no_use(tiny_prepared: Prepared, tmp_path: Path) -> None:
    _interrupted(tiny_prepared, tmp_path, 17)
    more = _compute(tiny_prepared, tmp_path, views=choose_views(3, flip=True))
    assert Colours.seen == 3 * 41
    np.testing.assert_array_equal(more.train[0], _compute(tiny_prepared, tmp_path).train[0])


def test_fewer_views_than_the_parts_have_are_served_by_them(tiny_prepared: Prepared, tmp_path: Path) -> None:
    kept = _interrupted(tiny_prepared, tmp_path, 17)
    _compute(tiny_prepared, tmp_path, views=VIEWS[:1])
    assert Colours.seen == 41 - kept


# ---- parts by themselves -------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Parts:
    """Rows 0 to 4, 5 to 9, 5 to 14 and 16 to 19 of one view."""
    found, source = Parts(tmp_path / "unfinished", VIEWS[:1], 3), tmp_path / "train.npy"
    write_header(source, ROWS.shape)
    append_rows(source, ROWS)
    for rows in (range(5), range(5, 10), range(5, 15), range(16, 20)):
        found.keep("train", rows, {VIEWS[0]: source})
    return found


def test_parts_are_followed_as_far_as_they_go(made: Parts) -> None:
    kept = made.kept("train", 20)
    assert (kept.rows, [folder.name for folder in kept.folders]) == (15, ["train-0-5", "train-5-15"])


def test_rows_come_back_as_they_were(made: Parts, tmp_path: Path) -> None:
    target = tmp_path / "again.npy"
    write_header(target, (15, 3))
    made.take(made.kept("train", 20), {VIEWS[0]: target})
    np.testing.assert_array_equal(np.load(target), ROWS[:15])


def test_a_part_of_more_rows_than_there_are_is_not_taken(made: Parts) -> None:
    assert made.kept("train", 12).rows == 10


def test_another_file_has_no_part(made: Parts) -> None:
    assert made.kept("test", 20) == Kept()


def test_a_network_of_another_width_does_not_take_them(made: Parts) -> None:
    assert Parts(made.folder, made.views, 4).kept("train", 20) == Kept()


def test_a_part_that_is_there_already_stays(made: Parts, tmp_path: Path) -> None:
    other = tmp_path / "other.npy"
    write_header(other, ROWS.shape)
    append_rows(other, -ROWS)
    made.keep("train", range(5), {VIEWS[0]: other})
    np.testing.assert_array_equal(np.load(made.folder / "train-0-5" / "photo.npy"), ROWS[:5])


def test_names_that_are_no_parts_are_left_alone(made: Parts) -> None:
    for name in ("train-0-x", "train-0-7.partial-1", "train-0-"):
        (made.folder / name).mkdir()
    assert made.kept("train", 20).rows == 15


def test_parts_that_another_process_removes_meanwhile_are_no_error(made: Parts, tmp_path: Path) -> None:
    made.drop()
    made.drop()
    assert made.kept("train", 20) == Kept()


# ---- kill -9 --------------------------------------------------------------------------------------------------------

KILLED = """
import sys, time
sys.path.insert(0, "TESTS")
import torch
from pathlib import Path
import test_parts
from automl_car.data.index import read_dataset
from automl_car.data.prepare import prepare
from automl_car.training import parts

parts.PART_SECONDS = 0.0
root = Path("ROOT")
prepared = prepare(read_dataset(root / "data"), cache_directory=root / "cache", study_directory=root / "study",
                   short_side=32, folds=3, seed=0)

def progress(done, total):
    print(done, total, flush=True)
    time.sleep(60 if SLEEP and done >= 16 else 0)

test_parts._compute(prepared, root / "cache", progress)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_kill_9_loses_no_part(tiny_dataset: Path, tmp_path: Path) -> None:
    text = KILLED.replace("TESTS", str(Path(__file__).parent)).replace("ROOT", str(tmp_path))
    first = subprocess.Popen([sys.executable, "-c", text.replace("SLEEP", "1")], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "16 41\n"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    again = subprocess.run(
        [sys.executable, "-c", text.replace("SLEEP", "0")], stdout=subprocess.PIPE, text=True, check=True
    )
    assert again.stdout.splitlines()[-1] == "25 25"
