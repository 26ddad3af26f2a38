"""The prepared data of a study: what `prepare` found, written beside the study and read by every training process.

<study>/dataset.json      the data set after quarantine
        folds.csv         see `folds`
        audit.json        the audit
        quarantine.csv    training photos that cannot be decoded, with the reason; absent if there are none
        folds.copy.csv    the same once more: of all files here it alone cannot be made again
        prepared.json     which image cache, and which of its entries belongs to which row
        sha256.txt        checksums of all of these but quarantine.csv, see `sealed`; written last
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_car.data.audit import Audit
from automl_car.data.cells import csv_text
from automl_car.data.facts import Problem
from automl_car.data.folds import read_folds
from automl_car.data.healing import heal
from automl_car.data.index import load_dataset, save_dataset
from automl_car.data.ragged import ImageCache
from automl_car.data.sealed import check_seal, mend, seal, whole
from automl_car.errors import StoreError, StudyError
from automl_car.files import write_atomically
from automl_car.records import Dataset, Folds, IntArray

_GREY = np.full((8, 8, 3), 128, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that training and prediction need of the data.

    Attributes:
        dataset: after quarantine; the test rows are all there.
        folds: of the training rows.
        images: the decoded photos.
        train_entries: int64 (N,): entry of `images` of each training row.
        test_entries: int64 (T,): entry of each test row; -1 where the file is broken.
        audit: what was found.
        short_side: pixels that the short side of larger photos was reduced to; 0 where the study does not know, as it
            was prepared before that was written down.
    """

    dataset: Dataset
    folds: Folds
    images: ImageCache
    train_entries: IntArray
    test_entries: IntArray
    audit: Audit
    short_side: int = 0

    @property
    def photos_key(self) -> str:
        """Names the decoded photos and their order; what is computed from them can be stored under it."""
        return self.images.directory.name

    def train_image(self, row: int) -> NDArray[np.uint8]:
        """The photo of a training row: uint8 (H, W, 3), read-only.

        Raises:
            StoreError: it is damaged in the cache, and its file is not there any more.
        """
        return self._picture(int(self.train_entries[row]), self.dataset.train_paths, row)

    def test_image(self, row: int) -> NDArray[np.uint8]:
        """The photo of a test row: uint8 (H, W, 3), read-only.

        A broken file gives a grey square, so that batches stay whole; `fill_test` replaces what a model says to it.
        """
        entry = int(self.test_entries[row])
        return _GREY if entry < 0 else self._picture(entry, self.dataset.test_paths, row)

    def _picture(self, entry: int, paths: tuple[str, ...], row: int) -> NDArray[np.uint8]:
        try:
            return self.images.image(entry)
        except StoreError:
            # Only now: looking at a text counts its users, and where processes share their memory, that copies it.
            return heal(self.images, entry, self.dataset.root / paths[row], self.short_side)

    def fill_test(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the broken test photos the only honest answer: the share of each class in the training photos.

        Args:
            logits: float32 (T, C) of all test rows.

        Returns:
            float32 (T, C); rows of broken files hold the logarithm of the classes' shares. Without broken files it is
            `logits` itself, so that nothing is copied.
        """
        broken = self.test_entries < 0
        if not broken.any():
            return logits
        counts = np.bincount(self.dataset.labels, minlength=self.dataset.num_classes)
        shares = np.log(counts / counts.sum()).astype(np.float32)
        return np.where(broken[:, None], shares, logits)


def open_prepared(study_directory: Path, cache_directory: Path) -> Prepared:
    """Read what `prepare` left; opens no photo.

    Raises:
        StudyError: the study was never prepared.
        DataError, StoreError: its files, or the image cache, are damaged or missing.
    """
    with _explained(study_directory):
        values = _read_json(study_directory / "prepared.json")
    audit = read_audit(study_directory)
    dataset = load_dataset(study_directory / "dataset.json")
    return Prepared(
        dataset,
        read_folds(whole(study_directory / "folds.csv"), dataset, check_files=False),
        ImageCache.open(cache_directory / "images" / values["key"]),
        np.array(values["train_entries"], dtype=np.int64),
        np.array(values["test_entries"], dtype=np.int64),
        audit,
        values.get("short_side", 0),
    )


def read_short_side(study_directory: Path, cache_directory: Path) -> int:
    """Pixels that the short side of larger photos was reduced to when the study's photos were decoded.

    A study that did not write it down has its image cache asked: that of its largest picture is at most the limit, and
    equal to it if any photo was reduced at all.

    Raises:
        StudyError: neither is there.
    """
    path = study_directory / "prepared.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("short_side"):
            return int(values["short_side"])
        return int(ImageCache.open(cache_directory / "images" / values["key"]).shapes.min(axis=1).max())
    except (OSError, ValueError, KeyError, StoreError) as error:
        raise StudyError(
            f"{path} does not tell how large the photos were when the study was trained: {error}",
            hint="Run the same `automl-car search` again: it writes it anew, and trains nothing that is there.",
        ) from error


def read_audit(study_directory: Path) -> Audit:
    """Read the audit that `prepare` left.

    Raises:
        StudyError: the study was never prepared, or the file is damaged.
    """
    with _explained(study_directory):
        return Audit.from_json(_read_json(study_directory / "audit.json"))


@contextmanager
def _explained(study_directory: Path) -> Iterator[None]:
    """Turn what reading prepared.json or audit.json raises into a StudyError."""
    try:
        yield
    except FileNotFoundError as error:
        raise StudyError(
            f"The study in {study_directory} has no {Path(error.filename).name}.", hint="Run `automl-car search` first."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"prepared.json or audit.json in {study_directory} is damaged: {error}.",
            hint="Run `automl-car search` again: it writes them anew.",
        ) from error


def _read_json(path: Path) -> Any:
    check_seal(path, required=False)
    return json.loads(path.read_text(encoding="utf-8"))


def write_prepared(study_directory: Path, prepared: Prepared) -> None:
    """Write all but folds.csv, which is there: it is written when the study begins and never again."""
    save_dataset(prepared.dataset, study_directory / "dataset.json")
    _write_json(study_directory / "audit.json", prepared.audit.to_json())
    _write_quarantine(study_directory / "quarantine.csv", prepared.audit.quarantined)
    values = {
        "key": prepared.photos_key,
        "short_side": prepared.short_side,
        "train_entries": prepared.train_entries.tolist(),
        "test_entries": prepared.test_entries.tolist(),
    }
    _write_json(study_directory / "prepared.json", values)
    mend(study_directory / "folds.csv")
    seal(study_directory, "dataset.json", "folds.csv", "audit.json", "prepared.json")


def _write_json(path: Path, values: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(values, ensure_ascii=False))


def _write_quarantine(path: Path, problems: tuple[Problem, ...]) -> None:
    if not problems:
        path.unlink(missing_ok=True)
        return
    rows = [(problem.path, problem.reason) for problem in problems]
    write_atomically(path, csv_text(("path", "reason"), rows))
