"""How many images fit into the memory at a time: halved where they do not, and remembered for the folds to come.

    <cache>/steps/fits-<key>.json    images that fitted, by kind of work; there once memory ran out

Half as many images at a time, and gradients that add up, are the same batch at the same learning rate. Only batch
normalisation in training mode sees a difference: its statistics are those of what goes through at a time.
"""

from __future__ import annotations

import errno
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from automl_car.errors import OutOfMemoryError
from automl_car.files import write_atomically
from automl_car.memory import give_back_memory
from automl_car.records import fingerprint

MOST_HALVINGS = 4
Kind = Literal["training", "prediction", "features"]
T = TypeVar("T")

# Of errors that have no class of their own. On the host torch raises a RuntimeError like any other, and so do the
# libraries of CUDA that it calls.
_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "insufficient memory", "_alloc_failed")


def lacks_memory(error: BaseException) -> bool:
    """Whether the memory of the device or of the host ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError):
        return any(words in str(error).lower() for words in _WORDS)
    return type(error).__module__ == "cv2" and "insufficient memory" in str(error).lower()


def free_memory() -> None:
    """Free what a failed attempt had allocated; outside of the `except` block, which holds on to all of that."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    give_back_memory()


def has_batch_statistics(model: nn.Module) -> bool:
    """Whether an image's logits depend on the images beside it."""
    return any(isinstance(layer, _BatchNorm) and layer.training for layer in model.modules())


class Fit:
    """A number of images at a time that is halved when memory runs out, at most four times.

    Args:
        wanted: images at a time where memory is no question.
        kind: of work, for messages.
        fitted: images that fitted before, where that is known.
        tell: called with the number after it was halved.

    Attributes:
        images: at a time.
        least: of them that still make sense.
    """

    def __init__(
        self,
        wanted: int,
        kind: Kind,
        fitted: int | None = None,
        tell: Callable[[int], None] = lambda images: None,
    ) -> None:
        self.wanted = max(1, wanted)
        self.images = min(self.wanted, fitted or self.wanted)
        self.kind = kind
        self.least = 1
        self._halvings = 0
        self._tell = tell

    @property
    def is_smaller(self) -> bool:
        """Whether it was halved, now or in an earlier fold."""
        return self.images < self.wanted

    def halve_after(self, error: Exception) -> None:
        """Halve after an error that says that memory ran out; raise any other error again.

        Raises:
            OutOfMemoryError: it was halved often enough, or cannot be halved.
        """
        if not lacks_memory(error):
            raise error
        if self._halvings == MOST_HALVINGS or self.images // 2 < self.least:
            words = str(error).partition("\n")[0] or type(error).__name__
            at_a_time = f"{self.images} images at a time are" if self.images > 1 else "1 image at a time is"
            raise OutOfMemoryError(f"{at_a_time} still too much in {self.kind}: {words}") from error
        self.images //= 2
        self._halvings += 1
        self._tell(self.images)


def fitting(fit: Fit, work: Callable[[int], T]) -> T:
    """What `work` returns, called with fewer images at a time whenever memory runs out in it.

    Args:
        work: called with the number of images at a time; it begins from where it was, or from its start.
    """
    while True:
        try:
            return work(fit.images)
        except Exception as error:
            fit.halve_after(error)
        free_memory()


class Room:
    """What is remembered of one network, size, batch and device; see `choose_step.key_of`.

    Args:
        file: where; None remembers nothing.
        what: the file is about, for people who read it.
    """

    def __init__(self, file: Path | None = None, what: dict[str, Any] | None = None) -> None:
        self._file = file
        self._what = what or {}
        self._fits = _read(file) if file else {}

    @classmethod
    def of(cls, cache: Path, what: dict[str, Any]) -> Room:
        """The room for what `what` describes, remembered in the cache."""
        return cls(cache / "steps" / f"fits-{fingerprint(what)}.json", what)

    def fit(self, kind: Kind, images: int) -> Fit:
        """So many images at a time, or the fewer that fitted before."""

        def remember(fewer: int) -> None:
            self._fits[kind] = fewer
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self._file, json.dumps(self._what | {"fits": self._fits}, indent=1))

        return Fit(images, kind, self._fits.get(kind), remember)


def _read(file: Path) -> dict[str, int]:
    """By kind; nothing where no memory ran out yet, or where the file is damaged: then it runs out once more."""
    try:
        fits = json.loads(file.read_text(encoding="utf-8"))["fits"]
        return {str(kind): max(1, int(images)) for kind, images in fits.items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}
