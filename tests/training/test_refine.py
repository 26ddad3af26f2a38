"""Gradient descent from the discriminant on: where it begins, where it ends, and that memory stays as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor

from automl_car.training.head import LinearHead, fit_discriminant
from automl_car.training.refine import train_head
from automl_car.training.rows import Rows

CLASSES, WIDTH = 4, 6


def rows_and_labels(count: int = 400, *, views: int = 1, chunk: int = 256) -> tuple[Rows, Tensor]:
    """Classes that overlap, with noise of its own in every view."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, count)
    means = 0.6 * random.normal(0, 1, (CLASSES, WIDTH))
    seen = tuple((means[labels] + random.normal(0, 1, (count, WIDTH))).astype(np.float16) for _ in range(views))
    return Rows(seen, np.arange(count), chunk=chunk), torch.from_numpy(labels)


def train(rows: Rows, labels: Tensor, scratch: Path, **changes: object) -> list[tuple[float, LinearHead]]:
    options = {"shrinkage": 0.3, "learning_rate": 1e-2, "epochs": 5, "batch_size": 32, "seed": 0} | changes
    return list(train_head(rows, labels, CLASSES, scratch=scratch, **options))  # type: ignore[arg-type]


def loss(head: LinearHead, rows: Rows, labels: Tensor) -> float:
    views = [torch.from_numpy(view).float() for view in rows.views]
    return float(torch.nn.functional.cross_entropy(torch.stack([head(view) for view in views]).mean(0), labels))


def test_training_begins_with_the_discriminant(tmp_path: Path) -> None:
    rows, labels = rows_and_labels()
    _, first = train(rows, labels, tmp_path)[0]
    expected = fit_discriminant(rows, labels, CLASSES, 0.3).head
    torch.testing.assert_close(first.weight, expected.weight)
    torch.testing.assert_close(first.bias, expected.bias)


def test_the_first_loss_is_that_of_the_mean_over_the_views(tmp_path: Path) -> None:
    rows, labels = rows_and_labels(views=3, chunk=100)
    first_loss, head = train(rows, labels, tmp_path, epochs=0)[0]
    assert first_loss == pytest.approx(loss(head, rows, labels), rel=1e-4)


def test_there_is_a_head_at_the_start_and_after_each_epoch(tmp_path: Path) -> None:
    assert len(train(*rows_and_labels(), tmp_path, epochs=3)) == 4


def test_the_loss_on_the_training_rows_falls(tmp_path: Path) -> None:
    rows, labels = rows_and_labels(120)
    heads = [head for _, head in train(rows, labels, tmp_path, epochs=20, shrinkage=0.8)]
    assert loss(heads[-1], rows, labels) < loss(heads[0], rows, labels)


def test_long_training_arrives_where_scikit_learns_logistic_regression_does(tmp_path: Path) -> None:
    rows, labels = rows_and_labels(views=2)
    best = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    both, twice = np.concatenate(rows.views).astype(np.float64), np.tile(labels.numpy(), 2)
    expected = log_loss(twice, best.fit(both, twice).predict_proba(both))
    reached, _ = train(rows, labels, tmp_path, epochs=150, learning_rate=0.03, batch_size=800)[-1]
    assert reached == pytest.approx(expected, rel=2e-3)


def test_without_a_learning_rate_the_head_stays_where_it_began(tmp_path: Path) -> None:
    heads = [head for _, head in train(*rows_and_labels(), tmp_path, learning_rate=1e-12)]
    torch.testing.assert_close(heads[-1].weight, heads[0].weight, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(heads[-1].bias, heads[0].bias, rtol=1e-3, atol=1e-3)


def test_heads_of_earlier_epochs_are_not_changed_by_later_ones(tmp_path: Path) -> None:
    rows, labels = rows_and_labels()
    kept, copies = [], []
    options = {"shrinkage": 0.3, "learning_rate": 1e-2, "epochs": 3, "batch_size": 32, "seed": 0}
    for _, head in train_head(rows, labels, CLASSES, scratch=tmp_path, **options):  # type: ignore[arg-type]
        kept.append(head.weight)
        copies.append(head.weight.clone())
    assert all(torch.equal(weight, copy) for weight, copy in zip(kept, copies, strict=True))
    assert not torch.equal(kept[1], kept[2])


def test_the_same_seed_gives_the_same_heads(tmp_path: Path) -> None:
    first, second = train(*rows_and_labels(), tmp_path), train(*rows_and_labels(), tmp_path)
    assert all(torch.equal(a.weight, b.weight) and x == y for (x, a), (y, b) in zip(first, second, strict=True))


def test_another_seed_gives_another_head_after_the_start(tmp_path: Path) -> None:
    first, second = train(*rows_and_labels(), tmp_path), train(*rows_and_labels(), tmp_path, seed=1)
    assert torch.equal(first[0][1].weight, second[0][1].weight)
    assert not torch.equal(first[-1][1].weight, second[-1][1].weight)


def test_how_many_rows_are_read_at_a_time_changes_nothing(tmp_path: Path) -> None:
    (_, whole), (_, parts) = (train(*rows_and_labels(300, views=2, chunk=chunk), tmp_path)[-1] for chunk in (1000, 7))
    torch.testing.assert_close(parts.weight, whole.weight, rtol=1e-3, atol=1e-3)


def test_a_batch_larger_than_the_rows_is_all_rows(tmp_path: Path) -> None:
    assert len(train(*rows_and_labels(40), tmp_path, batch_size=1000, epochs=2)) == 3


def test_the_scratch_folder_is_made_and_empty_afterwards(tmp_path: Path) -> None:
    train(*rows_and_labels(40), tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


# ---- memory ---------------------------------------------------------------------------------------------------------

MEASURE = """
import sys, threading, time
from pathlib import Path
import numpy as np, torch
from automl_car.training.head import predict
from automl_car.training.refine import train_head
from automl_car.training.rows import Rows

def anonymous():  # in bytes: memory that belongs to no file
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])

def train(count):
    views = [np.load(f"{sys.argv[1]}/{view}.npy", mmap_mode="r") for view in range(2)]
    rows = Rows(views, np.arange(count), power=0.5)
    labels = torch.arange(count) % 10
    options = {"shrinkage": 0.3, "learning_rate": 1e-3, "epochs": 1, "batch_size": 128, "seed": 0}
    for _, head in train_head(rows, labels, 10, scratch=Path(sys.argv[1]), **options):
        predict(head, rows, Path(sys.argv[1]))

def peak_while_training(count):
    seen, done = [], threading.Event()
    def watch():
        while not done.is_set():
            seen.append(anonymous())
            time.sleep(0.002)
    thread = threading.Thread(target=watch)
    thread.start()
    train(count)
    done.set()
    thread.join()
    return max(seen)

torch.set_num_threads(1)
train(2_000)
few, many = peak_while_training(2_000), peak_while_training(40_000)
print(many - few)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells memory of files from other memory")
def test_twenty_times_the_rows_take_less_than_ten_megabytes_more(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for view in range(2):
        np.save(tmp_path / f"{view}.npy", random.random((40_000, 256), np.float32).astype(np.float16))
    run = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 10e6
