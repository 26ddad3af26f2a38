"""The fold store: finished folds on disk, readable without torch and without the plugin that trained them.

    checkpoints/<study>/<recipe id>/fold-<k>/
                                    refit-<epochs>/           trained on all rows; no row has out-of-fold logits
                                    test-<k>/fold-<j>/        trained without fold k, whose rows are its test rows
                                    test-<k>/refit-<epochs>/  the same on all other rows
        model.safetensors   weights: of the whole network, or of the linear head alone
        oof.npz             rows int64 (n,), logits float32 (n, C) of the fold's validation rows
        test.npz            logits float32 (T, C) of the test rows; absent without a test set
        views-<n>.npz       rows int64 (n,), oof float16 (n, C), test float16 (T, C): the same from fewer views
        record.json         the FoldResult, the recipe, the sha256 of each file above, and a fingerprint of all this

`record.json` is written last, so a fold is finished when it is there and the checksums hold.

Logits from fewer views only serve where they are the better ones, and are kept in half precision: with 396 classes,
33,137 photos and 8,258 test photos in five folds a trial takes 118 MB, and 59 MB more for each smaller number of views.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_car.errors import StoreError
from automl_car.files import make_folder, write_atomically
from automl_car.fold_records import Epoch, FoldResult, FoldTask
from automl_car.records import IntArray, Recipe, fingerprint

_FORMAT = 1
RECORD = "record.json"
_WRITES = 3  # of one fold, while others write it, too


@dataclass(frozen=True, eq=False)
class FoldLogits:
    """What a finished fold left for the ensemble.

    Attributes:
        rows: int64 (n,): training rows that the fold validates on.
        oof: float32 (n, C).
        test: float32 (T, C); T is 0 without a test set.
        views: of each photo that the logits are the mean of; 0: as many as the recipe asks for.
    """

    rows: IntArray
    oof: NDArray[np.float32]
    test: NDArray[np.float32]
    views: int = 0


def write_fold(
    task: FoldTask, result: FoldResult, logits: FoldLogits, model: bytes, fewer: Sequence[FoldLogits] = ()
) -> None:
    """Put a finished fold into the store.

    Args:
        task: names the folder.
        result: how training went.
        logits: of validation and test rows, from all views.
        model: the weights, in safetensors format.
        fewer: logits of the same rows from fewer views.
    """
    directory = task.fold_directory
    make_folder(directory)
    checksums = {}
    for name, data in _files(logits, model, fewer):
        write_atomically(directory / name, data)
        checksums[name] = hashlib.sha256(data).hexdigest()
    record: dict[str, Any] = {
        "format": _FORMAT,
        "result": dataclasses.asdict(result),
        "recipe": task.recipe.to_json(),
        "sha256": checksums,
    }
    record["fingerprint"] = fingerprint(record)
    write_atomically(directory / RECORD, json.dumps(record, ensure_ascii=False, indent=1))


def store_fold(
    task: FoldTask, result: FoldResult, logits: FoldLogits, model: bytes, fewer: Sequence[FoldLogits] = ()
) -> FoldResult:
    """Put a finished fold into the store, unless another attempt at it has done so meanwhile; the result that is there.

    A node that was taken for lost, as the network to it failed, may still train what was handed out again. The first
    attempt to finish counts, and the other one changes nothing. Should both write at one time, their files may
    alternate, and then the record, which has the checksums, does not match: so each attempt reads what it left, and
    writes again where that is a mixture. The last one to write is the last one to read.

    Raises:
        StoreError: others write into this folder again and again.
    """
    for _ in range(_WRITES):
        with contextlib.suppress(StoreError):  # what is there is half of one, or a mixture
            if (stored := read_result(task.fold_directory)) is not None:
                return stored
        write_fold(task, result, logits, model, fewer)
    if (stored := read_result(task.fold_directory)) is None:
        raise StoreError(f"The fold in `{task.fold_directory}` vanished while it was written.")
    return stored


def _files(logits: FoldLogits, model: bytes, fewer: Sequence[FoldLogits]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a fold but the record, one at a time."""
    yield "model.safetensors", model
    yield "oof.npz", _npz(rows=logits.rows, logits=logits.oof)
    if len(logits.test):
        yield "test.npz", _npz(logits=logits.test)
    for part in fewer:
        yield _views_file(part.views), _npz(rows=part.rows, oof=_halved(part.oof), test=_halved(part.test))


def _views_file(views: int) -> str:
    return f"views-{views}.npz"


def _halved(logits: NDArray[np.float32]) -> NDArray[np.float16]:
    """Half precision, in which each row's largest logit is 0.

    A constant added to a row changes no probability, and float16 is finest near 0: with 11 bits, logits are off by less
    than a two-thousandth of their distance from the largest one.
    """
    centred = logits - logits.max(axis=1, keepdims=True)
    halved: NDArray[np.float16] = np.maximum(centred, np.finfo(np.float16).min).astype(np.float16)
    return halved


def read_result(directory: Path, *, check_files: bool = True) -> FoldResult | None:
    """The result of a finished fold, or None when the folder holds none.

    Args:
        check_files: whether the checksum of every file of the fold is checked, or that of the record alone.

    Raises:
        StoreError: the fold is damaged; the message names the file.
    """
    record = _read_record(directory)
    if record is None:
        return None
    if check_files:
        for name, checksum in record["sha256"].items():
            _read_checked(directory / name, checksum)
    return _result(record)


def read_oof(directory: Path) -> tuple[FoldResult, IntArray, NDArray[np.float32]]:
    """The result of a finished fold, its validation rows, and their logits; no other file of it is read.

    Raises:
        StoreError: the fold is not there, or one of its two files is damaged; the message names the file.
    """
    record = _read_record(directory)
    if record is None:
        raise StoreError(f"`{directory}` holds no finished fold.")
    oof = _read_npz(directory / "oof.npz", record["sha256"]["oof.npz"])
    return _result(record), oof["rows"], oof["logits"]


def read_logits(directory: Path, *, views: int = 0) -> FoldLogits:
    """The logits of a finished fold.

    Args:
        views: how many of each photo they are the mean of, one of `FoldResult.view_losses`; 0 for all.

    Raises:
        StoreError: the fold is not there or damaged, or has no logits of so many views; the message names the file.
    """
    record = _read_record(directory)
    if record is None:
        raise StoreError(f"`{directory}` holds no finished fold.")
    checksums: Mapping[str, str] = record["sha256"]
    if views not in (0, record["recipe"]["views"]):
        return _read_fewer(directory, checksums, views)
    oof = _read_npz(directory / "oof.npz", checksums["oof.npz"])
    test = np.zeros((0, oof["logits"].shape[1]), np.float32)
    if "test.npz" in checksums:
        test = _read_npz(directory / "test.npz", checksums["test.npz"])["logits"]
    return FoldLogits(oof["rows"], oof["logits"], test, views)


def _read_fewer(directory: Path, checksums: Mapping[str, str], views: int) -> FoldLogits:
    name = _views_file(views)
    if name not in checksums:
        raise StoreError(f"The fold in `{directory}` has no `{name}`.")
    arrays = _read_npz(directory / name, checksums[name])
    return FoldLogits(arrays["rows"], arrays["oof"].astype(np.float32), arrays["test"].astype(np.float32), views)


def read_recipe(directory: Path) -> Recipe:
    """The recipe of a finished fold.

    Raises:
        StoreError: the fold is not there, or its record is damaged.
    """
    record = _read_record(directory)
    if record is None:
        raise StoreError(f"`{directory}` holds no finished fold.")
    return Recipe.from_json(record["recipe"])


def file_names(directory: Path) -> tuple[str, ...]:
    """The files of a finished fold, but for its record.

    Raises:
        StoreError: the fold is not there, or its record is damaged.
    """
    record = _read_record(directory)
    if record is None:
        raise StoreError(f"`{directory}` holds no finished fold.")
    return tuple(record["sha256"])


def record_recipe(directory: Path, recipe: Recipe) -> None:
    """Let a finished fold name this recipe: the one it was trained with, but for where a file of weights lies."""
    record = _read_record(directory)
    if record is None:
        raise StoreError(f"`{directory}` holds no finished fold.")
    record["recipe"] = recipe.to_json()
    record["fingerprint"] = fingerprint(record)
    write_atomically(directory / RECORD, json.dumps(record, ensure_ascii=False, indent=1))


def read_model(directory: Path) -> bytes:
    """The weights of a finished fold in safetensors format, after checking them against their checksum."""
    record = _read_record(directory)
    if record is None:
        raise StoreError(f"`{directory}` holds no finished fold.")
    return _read_checked(directory / "model.safetensors", record["sha256"]["model.safetensors"])


def set_aside(directory: Path) -> Path:
    """Rename a damaged fold, so that it is trained again and can still be looked at; returns its new place."""
    number = 1
    while (aside := directory.with_name(f"{directory.name}.damaged-{number}")).exists():
        number += 1
    directory.rename(aside)
    return aside


def _read_record(directory: Path) -> dict[str, Any] | None:
    path = directory / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"`{path}` is not a record of a fold: {error}.") from error
    if not isinstance(record, dict) or "format" not in record:
        raise StoreError(f"`{path}` is not a record of a fold: it has no format.")
    if record["format"] != _FORMAT:
        raise StoreError(
            f"`{path}` has format {record['format']}; this version reads {_FORMAT}.",
            hint="use the version of automl-car that wrote it, or another study name.",
        )
    if record.pop("fingerprint", None) != fingerprint(record):
        raise StoreError(f"`{path}` does not match its own fingerprint: the file is damaged.")
    return record


def _result(record: Mapping[str, Any]) -> FoldResult:
    values: dict[str, Any] = record["result"]
    curve = tuple(Epoch(**epoch) for epoch in values["curve"])
    view_losses = tuple((int(views), float(loss)) for views, loss in values.get("view_losses", ()))
    return FoldResult(**{**values, "curve": curve, "view_losses": view_losses})


def _read_npz(path: Path, checksum: str) -> dict[str, Any]:
    data = io.BytesIO(_read_checked(path, checksum))
    try:
        with np.load(data, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError) as error:  # somebody's file whose checksum is right, such as a pickle
        raise StoreError(f"`{path}` holds no arrays: {error}.") from error


def _read_checked(path: Path, checksum: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"`{path}` cannot be read: {error.strerror}.") from error
    if hashlib.sha256(data).hexdigest() != checksum:
        raise StoreError(f"`{path}` does not match its checksum: the file is damaged.")
    return data


def _npz(**arrays: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
