"""The submission of a study on the disk: a better one replaces it, a frozen one stays.

studies/<study>/submission.csv    the contest's file, where there is a test set
                ensemble.json     what it is made of, and its numbers
                losses.npz        its out-of-fold loss of each training row, by which the next one is compared
                frozen.json       there while `ensemble --freeze` keeps it
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from automl_car.ensemble.submission import write_submission
from automl_car.ensemble_records import Ensemble
from automl_car.files import load_arrays, write_atomically
from automl_car.losses import true_class
from automl_car.pipeline.outcome import to_json
from automl_car.records import Dataset, FloatArray, Folds, IntArray


@dataclass(frozen=True, eq=False)
class Submission:
    """Where the submission of a study is kept, and what it is of."""

    directory: Path
    dataset: Dataset
    folds: Folds

    @property
    def path(self) -> Path:
        """Of the contest's file."""
        return self.directory / "submission.csv"

    def update(self, built: Ensemble, rows: IntArray, *, only_better: bool = True) -> str:
        """Replace what is kept by another ensemble, unless it is frozen.

        Args:
            built: the new one.
            rows: int64: the training rows that its numbers are of.
            only_better: whether a worse one leaves what is kept.

        Returns:
            Why the old one stays; empty where it was replaced.
        """
        if (frozen := self.directory / "frozen.json").is_file():
            return f"the submission is frozen{_since(frozen)}; `automl-car ensemble --no-freeze` writes a new one"
        losses = row_losses(built, self.dataset, rows)
        if only_better and (why := self._why_better(rows, losses)):
            return why
        self.replace(built, rows)
        return ""

    def replace(self, built: Ensemble, rows: IntArray) -> None:
        """Keep this ensemble, whatever there was before."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.dataset.submission is not None:
            write_submission(self.path, built.test_probabilities, self.dataset)
        write_atomically(
            self.directory / "ensemble.json", json.dumps(to_json(built), ensure_ascii=False, indent=1, allow_nan=False)
        )
        data = io.BytesIO()
        np.savez(data, rows=rows, losses=row_losses(built, self.dataset, rows), folds=np.array(self.folds.fingerprint))
        write_atomically(self.directory / "losses.npz", data.getvalue())

    def freeze(self, built: Ensemble) -> None:
        """Let no search replace what is kept."""
        about = {"when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "log_loss": built.nested_log_loss}
        write_atomically(self.directory / "frozen.json", json.dumps(about))

    def unfreeze(self) -> None:
        """Let searches replace what is kept again."""
        (self.directory / "frozen.json").unlink(missing_ok=True)

    def _why_better(self, rows: IntArray, losses: FloatArray) -> str:
        """Why what is kept is better than an ensemble with these losses; empty where it is not."""
        kept = self._kept_losses()
        if kept is None or (self.dataset.submission is not None and not self.path.is_file()):
            return ""
        _, here, there = np.intersect1d(rows, kept[0], return_indices=True)
        if not len(here):
            return ""
        new, old = float(losses[here].mean()), float(kept[1][there].mean())
        if new <= old:  # the same ensemble as before may be written again
            return ""
        return (
            f"the submission stays as it was: its log loss is {old:.4f} on the same {len(here)} photos, not {new:.4f}"
        )

    def _kept_losses(self) -> tuple[IntArray, FloatArray] | None:
        """Rows and losses of what is kept; None where there is nothing, or where it is of other photos."""
        try:
            arrays = load_arrays(self.directory / "losses.npz")
            of_these = str(arrays["folds"]) == self.folds.fingerprint
            return (arrays["rows"], arrays["losses"]) if of_these else None
        except (OSError, ValueError, KeyError):  # not there yet, or damaged: then a new one is due
            return None


def _since(frozen: Path) -> str:
    """When a submission was frozen; that it is, the file says by being there."""
    try:
        return f" since {json.loads(frozen.read_text(encoding='utf-8'))['when']}"
    except (ValueError, KeyError, TypeError):
        return ""


def row_losses(built: Ensemble, dataset: Dataset, rows: IntArray) -> FloatArray:
    """The out-of-fold loss of each of the rows that an ensemble was built on."""
    labels = np.asarray(dataset.labels, dtype=np.int64)[rows]
    losses: FloatArray = -np.log(true_class(built.oof_probabilities, labels))
    return losses
