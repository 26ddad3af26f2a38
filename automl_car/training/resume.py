"""Writes the last epoch of a long fold to the disk, and goes on from there: `unfinished` says what lies where.

What is written is what `state` copies anyway at the beginning of the next epoch, so a fold that goes on comes to the
same numbers as one that nothing happened to.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from automl_car.errors import StoreError
from automl_car.files import write_atomically
from automl_car.fold_records import Epoch
from automl_car.records import fingerprint
from automl_car.training.checkpoint import from_safetensors
from automl_car.training.state import Saved
from automl_car.unfinished import CHECKPOINT, drop_checkpoint

_FORMAT = 1
_BEST = "best."
logger = logging.getLogger("automl_car.training")


@dataclass(frozen=True, eq=False)
class Reached:
    """How far a fold is after an epoch.

    Attributes:
        curve: of all epochs so far.
        best: weights of the epoch to keep so far; empty where there is none yet.
        best_loss, best_epoch: of it; infinity and 0 where there is none.
        seconds: since the fold began, all its runs together.
        training_seconds: of them, those of training.
        halved: why the learning rate was halved; empty where it was not.
    """

    curve: tuple[Epoch, ...] = ()
    best: dict[str, Tensor] = field(default_factory=dict)
    best_loss: float = float("inf")
    best_epoch: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    halved: str = ""

    @property
    def epoch(self) -> int:
        """The last one that is done; 0 at the beginning."""
        return self.curve[-1].number if self.curve else 0


class Checkpoints:
    """Of one fold.

    Args:
        directory: of the fold.
        what: is trained, on what, by what: JSON values. A checkpoint of anything else is not used.
        after_seconds: an epoch that took so long is worth a checkpoint; None writes none.
    """

    def __init__(self, directory: Path, what: dict[str, Any], after_seconds: float | None) -> None:
        self._directory = directory
        self._what = what
        self._after_seconds = after_seconds

    def write(self, reached: Reached, saved: Saved, seconds: float) -> None:
        """Replace the checkpoint by one of this epoch, if the epoch was long. A full disk costs the checkpoint alone.

        Args:
            saved: state at the end of the epoch.
            seconds: that the epoch took.
        """
        if self._after_seconds is None or seconds < self._after_seconds:
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._write(reached, saved)
        except OSError as error:
            logger.warning("No checkpoint of epoch %d in %s: %s.", reached.epoch, self._directory, error.strerror)

    def read(self, *, like: Saved) -> tuple[Reached, Saved] | None:
        """The last checkpoint, or None where there is none of just this fold; one that is of no use is removed.

        Args:
            like: state of a network of the same tensors.
        """
        if not (self._directory / CHECKPOINT).is_file():
            return None
        try:
            reached, saved = self._read()
            if not saved.fits(like):
                raise StoreError("it is of another network.")
            return reached, saved
        except (StoreError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("The checkpoint in %s is not used: %s", self._directory, error)
            drop_checkpoint(self._directory)
            return None

    def _write(self, reached: Reached, saved: Saved) -> None:
        best = {} if reached.best_epoch == reached.epoch else reached.best
        tensors = saved.tensors | {_BEST + name: tensor for name, tensor in best.items()}
        data = save({name: tensor.contiguous() for name, tensor in tensors.items()})
        path = self._tensors(reached.epoch)
        write_atomically(path, data)
        record: dict[str, Any] = {
            "format": _FORMAT,
            "what": self._what,
            "curve": [asdict(epoch) for epoch in reached.curve],
            **{name: getattr(reached, name) for name in _NUMBERS},
            "random": saved.random,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        record["fingerprint"] = fingerprint(record)
        write_atomically(self._directory / CHECKPOINT, json.dumps(record, ensure_ascii=False, indent=1))
        for old in self._directory.glob("checkpoint-*.safetensors"):
            if old != path:
                old.unlink()

    def _read(self) -> tuple[Reached, Saved]:
        record = json.loads((self._directory / CHECKPOINT).read_text(encoding="utf-8"))
        if record.pop("fingerprint", None) != fingerprint(record) or record["format"] != _FORMAT:
            raise StoreError("its record is damaged, or of another version.")
        if fingerprint(record["what"]) != fingerprint(self._what):
            raise StoreError("it is of another recipe, of other photos, or by other versions of the packages.")
        curve = tuple(Epoch(**epoch) for epoch in record["curve"])
        data = self._tensors(curve[-1].number).read_bytes()
        if hashlib.sha256(data).hexdigest() != record["sha256"]:
            raise StoreError("its tensors do not match their checksum.")
        tensors = from_safetensors(data)
        best = {name: tensors.pop(name) for name in [name for name in tensors if name.startswith(_BEST)]}
        saved = Saved(tensors, record["random"])
        if record["best_epoch"] == curve[-1].number:
            best = saved.judged()
        kept = {name.removeprefix(_BEST): tensor for name, tensor in best.items()}
        return Reached(curve, kept, **{name: record[name] for name in _NUMBERS}), saved

    def _tensors(self, epoch: int) -> Path:
        return self._directory / f"checkpoint-{epoch}.safetensors"


_NUMBERS = ("best_loss", "best_epoch", "seconds", "training_seconds", "halved")
