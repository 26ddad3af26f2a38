"""The driver's side: puts into the exchange what folds need, each file once, under its hash.

Hashes are remembered beside the cache by the file's size and time, as reading 16 GB takes half a minute:
    <cache>/exchange.json    {path: [size, time in ns, sha256]}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from automl_car.catalog.records import PluginSources
from automl_car.errors import MachineError, StudyError
from automl_car.exchange.bucket import Bucket
from automl_car.exchange.listing import Entry, Listing, digest, file_digest
from automl_car.files import write_atomically
from automl_car.paths import plain_name

Sources = Mapping[str, Mapping[str, Path]]
Tell = Callable[[int, int], None]
_STUDY = ("dataset.json", "folds.csv", "folds.copy.csv", "audit.json", "prepared.json", "sha256.txt")
_IMAGES = ("pixels.bin", "index.npz")
_FEATURES = ("train.npy", "test.npy", "sha256.txt")
_MEMORY = "exchange.json"


def data_name(sha256: str) -> str:
    """Where the exchange has a file that folds need."""
    return f"data/{sha256}"


def publish(bucket: Bucket, sources: Sources, hashes: Hashes, tell: Tell = lambda done, total: None) -> str:
    """Put files into the exchange, but those that are there, and the list of them last.

    Args:
        sources: files of this machine by part and by their name in it.
        tell: called with the bytes that are done, and with those that are to be uploaded in all.

    Returns:
        The sha256 of the list.

    Raises:
        TransferError, MachineError: see `Bucket.put`.
    """
    parts = {part: tuple(_entry(name, path, hashes) for name, path in files.items()) for part, files in sources.items()}
    hashes.save()
    paths = {entry.sha256: (entry, sources[part][entry.name]) for part, files in parts.items() for entry in files}
    missing = [(entry, path) for entry, path in paths.values() if not bucket.has(data_name(entry.sha256), entry.size)]
    done, total = 0, sum(entry.size for entry, _ in missing)
    for entry, path in missing:
        tell(done, total)
        bucket.put(path, data_name(entry.sha256))
        done += entry.size
    data = Listing(parts).to_bytes()
    if not bucket.has(data_name(digest(data)), len(data)):
        bucket.put_bytes(data, data_name(digest(data)))
    return digest(data)


def _entry(name: str, path: Path, hashes: Hashes) -> Entry:
    return Entry(name, hashes.of(path), path.stat().st_size)


# ---- what folds need ------------------------------------------------------------------------------------------------


def sources_of(directory: Path, cache: Path, plugins: PluginSources, weights: Mapping[str, Path]) -> Sources:
    """All files that a fold of a study may need.

    Args:
        directory: checkpoints/<study>, prepared.
        cache: of images and features.
        plugins: whose files go along; installed ones have to be installed where folds are trained.
        weights: files that recipes name, by their sha256.

    Raises:
        StudyError: the study is not prepared.
    """
    return {
        "study": {name: directory / name for name in _STUDY if (directory / name).is_file()},
        "images": dict(_image_files(directory, cache)),
        "plugins": dict(_plugin_files(plugins)),
        **{f"weights/{sha256}": {f"weights{path.suffix}": path} for sha256, path in weights.items()},
        **_feature_files(directory, cache),
    }


def _read_prepared(directory: Path) -> Mapping[str, Any]:
    try:
        values: Mapping[str, Any] = json.loads((directory / "prepared.json").read_text(encoding="utf-8"))
        return values
    except (OSError, ValueError) as error:
        raise StudyError(f"The study in {directory} is not prepared: {error}.") from error


def _image_files(directory: Path, cache: Path) -> Iterator[tuple[str, Path]]:
    folder = f"images/{plain_name(_read_prepared(directory)['key'], 'cache')}"
    for name in _IMAGES:
        yield f"{folder}/{name}", cache / folder / name


def _plugin_files(plugins: PluginSources) -> Iterator[tuple[str, Path]]:
    folder = plugins.workspace_folder
    for path in sorted(folder.glob("*.py")) if folder and folder.is_dir() else ():
        yield f"workspace/{path.name}", path
    for number, path in enumerate(plugins.files):
        yield f"files/{number}/{path.name}", path


def _feature_files(directory: Path, cache: Path) -> Sources:
    """Features of as many photos as the study has. Keys do not tell of which: a worker takes what it looks for."""
    values = _read_prepared(directory)
    counts = [len(values["train_entries"]), len(values["test_entries"])]
    found = {}
    for view in sorted((cache / "features").glob("*/*")):
        files = {name: view / name for name in _FEATURES}
        if all(path.is_file() for path in files.values()) and [_rows(files[name]) for name in _FEATURES[:2]] == counts:
            found[f"features/{view.parent.name}/{view.name}"] = files
    return found


def _rows(path: Path) -> int:
    try:
        return len(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, TypeError):  # a damaged one is not sent anywhere, and made again where it is needed
        return -1


# ---- hashes ---------------------------------------------------------------------------------------------------------


class Hashes:
    """sha256 of files that seldom change.

    Args:
        cache: folder that they are remembered in.
    """

    def __init__(self, cache: Path) -> None:
        self._file = cache / _MEMORY
        self._known = _read_known(self._file)
        self._changed = False

    def of(self, path: Path) -> str:
        """The sha256 of a file.

        Raises:
            MachineError: it cannot be read.
        """
        try:
            facts = path.stat()
            size, time, sha256 = self._known.get(str(path), (-1, -1, ""))
            if (size, time) != (facts.st_size, facts.st_mtime_ns):
                sha256 = file_digest(path)
                self._known[str(path)] = (facts.st_size, facts.st_mtime_ns, sha256)
                self._changed = True
            return sha256
        except OSError as error:
            raise MachineError(
                f"`{path}`, which folds need, cannot be read: {error.strerror}.",
                hint="run the same `automl-car search` again: what belongs to the cache is made anew.",
            ) from error

    def save(self) -> None:
        """Remember them for the next run."""
        if self._changed:
            here = {path: known for path, known in self._known.items() if Path(path).exists()}
            write_atomically(self._file, json.dumps(here, ensure_ascii=False))
            self._changed = False


def _read_known(file: Path) -> dict[str, tuple[int, int, str]]:
    """Nothing where the file is not there or damaged: then files are read once more."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return {str(path): (int(size), int(time), str(sha256)) for path, (size, time, sha256) in values.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
