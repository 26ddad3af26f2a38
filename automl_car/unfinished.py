"""What a fold that is not finished leaves in its folder: the last epoch of a long one, so that a stop costs no more.

    checkpoints/<study>/<recipe id>/fold-<k>/checkpoint-<epoch>.safetensors    weights, optimizer, random states
                                             checkpoint.json                   the curve, and which tensors belong to it

`training/resume.py` writes and reads it. One checkpoint is there at a time, two while one replaces the other. Nobody
else writes into that folder meanwhile, so a temporary file in it is what a killed process left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

CHECKPOINT = "checkpoint.json"
_PATTERNS = (CHECKPOINT, "checkpoint-*.safetensors", ".*.tmp")


def drop_checkpoint(directory: Path) -> None:
    """Remove the checkpoint of a fold, and its folder when nothing else is in it."""
    found = [path for pattern in _PATTERNS for path in directory.glob(pattern)]
    for path in found:
        path.unlink(missing_ok=True)
    if found:
        with contextlib.suppress(OSError):  # there is more in it
            directory.rmdir()


def drop_checkpoints(recipe: Path, *, but: Collection[Path] = ()) -> None:
    """Remove the checkpoints of the folds of a recipe that has ended for good.

    Args:
        recipe: checkpoints/<study>/<recipe id>.
        but: folders of folds that are trained just now.
    """
    for path in (*recipe.glob("fold-*"), *recipe.glob("refit-*")):
        if path not in but:
            drop_checkpoint(path)
