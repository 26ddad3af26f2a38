"""The way back: a worker pushes the files of a finished fold, and the driver pulls them into its own fold store.

What the worker's answer names is `<attempt>/<sha256 of a list>`, which names all else by hashes: files of two attempts
cannot mix, and what nobody asked for is never pulled.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from automl_car.errors import StoreError
from automl_car.exchange.bucket import Bucket
from automl_car.exchange.listing import LONGEST, Entry, Listing, digest, file_digest
from automl_car.files import make_folder, passing_folder, sync_folder
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.store import RECORD, file_names, read_recipe, read_result

_PART = "fold"
_MOST = 64  # files of a fold


def push_fold(bucket: Bucket, directory: Path) -> str:
    """Put a finished fold into the exchange, its list last.

    Args:
        directory: of the fold in this machine's fold store.

    Returns:
        What `pull_fold` finds it by: the attempt's name and the list's sha256.

    Raises:
        StoreError: the fold is not finished, or damaged.
        TransferError, MachineError: see `Bucket.put`.
    """
    if read_result(directory) is None:
        raise StoreError(f"`{directory}` holds no finished fold.")
    attempt = uuid.uuid4().hex
    entries = tuple(_entry(directory, name) for name in (*file_names(directory), RECORD))
    for entry in entries:
        bucket.put(directory / entry.name, _name(attempt, entry.sha256))
    data = Listing({_PART: entries}).to_bytes()
    bucket.put_bytes(data, _name(attempt, digest(data)))
    return f"{attempt}/{digest(data)}"


def pull_fold(bucket: Bucket, pushed: str, task: FoldTask) -> FoldResult:
    """Put a fold that a worker pushed into the driver's fold store, its record last, unless a finished one is there.

    Of several attempts at a fold the first one that comes is kept; whatever comes after it is not even read.

    Args:
        pushed: what `push_fold` returned.
        task: that the fold was trained for.

    Returns:
        The result that the fold store holds.

    Raises:
        StoreError: what was pushed is not a fold of this task.
        TransferError, MachineError: see `Bucket.fetch`.
    """
    if (finished := _finished(task.fold_directory)) is not None:
        return finished
    attempt, _, sha256 = pushed.partition("/")
    entries = _entries(bucket.read(sha256, _name(attempt, sha256), LONGEST))
    make_folder(task.fold_directory.parent)
    with passing_folder(task.fold_directory) as folder:
        for entry in entries:
            bucket.fetch(entry, _name(attempt, entry.sha256), folder / entry.name)
        _require_fold_of(task, folder, entries)
        _move(folder, task.fold_directory, entries)
    result = read_result(task.fold_directory)
    assert result is not None
    return result


def forget_fold(bucket: Bucket, pushed: str) -> None:
    """Remove what an attempt put into the exchange."""
    bucket.remove(f"folds/{pushed.partition('/')[0]}")


def _finished(directory: Path) -> FoldResult | None:
    try:
        return read_result(directory)
    except StoreError:  # the files of the new one take the place of the damaged ones
        return None


def _name(attempt: str, sha256: str) -> str:
    return f"folds/{attempt}/{sha256}"


def _entry(directory: Path, name: str) -> Entry:
    path = directory / name
    return Entry(name, file_digest(path), path.stat().st_size)


def _entries(data: bytes) -> Sequence[Entry]:
    """Files of a fold, its record last."""
    parts = Listing.from_bytes(data).parts
    entries = parts.get(_PART, ())
    names = [entry.name for entry in entries]
    if len(parts) != 1 or len(entries) > _MOST or names[-1:] != [RECORD] or any("/" in name for name in names):
        raise StoreError(f"What a worker put into the exchange is no fold: it holds {', '.join(names[:_MOST])}.")
    return entries


def _require_fold_of(task: FoldTask, folder: Path, entries: Sequence[Entry]) -> None:
    result = read_result(folder)  # compares all checksums
    assert result is not None
    found = (result.recipe_id, result.fold, result.status, read_recipe(folder))
    if found != (task.recipe_id, task.fold, "finished", task.recipe):
        raise StoreError(
            f"What a worker put into the exchange is fold {result.fold} of {result.recipe_id} and not {task.label} "
            f"of {task.recipe_id}."
        )
    if sorted(file_names(folder)) != sorted(entry.name for entry in entries[:-1]):
        raise StoreError(f"What a worker put into the exchange for {task.label} has files that its record lacks.")


def _move(folder: Path, target: Path, entries: Sequence[Entry]) -> None:
    make_folder(target)
    for entry in entries:  # on one file system, as they are beside each other
        if entry.name == RECORD:
            sync_folder(target)
        (folder / entry.name).replace(target / entry.name)
    sync_folder(target)
