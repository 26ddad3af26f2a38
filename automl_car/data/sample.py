"""A sample set of fictional cars, so that everything can be tried without the photos of a contest."""

from __future__ import annotations

import csv
import json
import multiprocessing
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from automl_car.data.sample_models import MODELS, CarModel
from automl_car.data.sample_photo import take_photo
from automl_car.errors import ConfigError, DataError
from automl_car.lifetime import behave_as_child

_VERSION = 1  # raise it when the pictures change: older sets are then no longer taken for this one
_RECORD = "sample.json"
_TRAIN, _TEST, _ORDER = 0, 1, 2  # first number of the random streams, after the seed


@dataclass(frozen=True)
class SampleSummary:
    """What `write_sample` wrote or found."""

    directory: Path
    class_names: tuple[str, ...]
    train_images: int
    test_images: int


@dataclass(frozen=True)
class _Plan:
    """The parameters of a sample set, as `sample.json` records them."""

    version: int
    seed: int
    train_per_class: int
    test_per_class: int
    image_size: int


@dataclass(frozen=True)
class _Shot:
    """One photo to be taken.

    Attributes:
        path: of its file.
        model: index in MODELS.
        stream: numbers of its random stream, after the seed. Every photo has one of its own, so that it depends neither
            on the order nor on the others.
    """

    path: Path
    model: int
    stream: tuple[int, int, int]


def write_sample(
    directory: Path,
    *,
    seed: int = 0,
    train_per_class: int = 52,
    test_per_class: int = 18,
    image_size: int = 160,
    workers: int = 1,
) -> SampleSummary:
    """Write photos of fictional cars in the layout of a contest.

    The classes differ in their body, lights, grille and rims, never in their colour; some are near twins. The
    same parameters give the same files, and more pictures per class leave the earlier ones as they were.

    Args:
        directory: is made, with `train/<class>/`, `test/`, `test.csv`, `sample_submission.csv` and
            `test_labels.csv`, the truth about the test photos.
        seed: not negative; another one gives other pictures.
        train_per_class: training photos of each of the twelve classes.
        test_per_class: test photos of each class.
        image_size: height of the photos in pixels; they are 1 to 1.5 times as wide.
        workers: processes that draw; more than one are spawned, and need a main module that can be imported.

    Returns:
        The summary of the set; a complete set of the same parameters is left alone.

    Raises:
        ConfigError: a parameter is out of range.
        DataError: the directory holds something else.
    """
    plan = _Plan(_VERSION, seed, train_per_class, test_per_class, image_size)
    _check(plan)
    if not _is_written(directory, plan):
        _write_beside(directory, plan, workers)
    return SampleSummary(directory, class_names(), len(MODELS) * train_per_class, len(MODELS) * test_per_class)


def class_names() -> tuple[str, ...]:
    """The names of the classes, in Unicode NFC and sorted: the order of the columns of a submission."""
    return tuple(model.name for model in _models())


def _models() -> list[CarModel]:
    return sorted(MODELS, key=lambda model: model.name)


def _check(plan: _Plan) -> None:
    lowest = {"seed": 0, "train_per_class": 1, "test_per_class": 1, "image_size": 32}
    values = asdict(plan)
    problems = [f"{name} is {values[name]} (at least {low})" for name, low in lowest.items() if values[name] < low]
    if problems:
        raise ConfigError(f"The sample set cannot be made: {', '.join(problems)}.")


def _is_written(directory: Path, plan: _Plan) -> bool:
    """Whether the directory holds this very set; raises DataError if it holds anything else."""
    if not directory.exists():
        return False
    if directory.is_dir() and not any(directory.iterdir()):
        return False
    if _read_record(directory) != asdict(plan):
        raise DataError(
            f"{directory} exists, but does not hold the sample set of these parameters.",
            hint="Name another directory, or delete this one if you need nothing in it.",
        )
    if _count_photos(directory) != (len(MODELS) * plan.train_per_class, len(MODELS) * plan.test_per_class):
        raise DataError(
            f"The sample set in {directory} was changed: photos were added or are missing.",
            hint="Delete the directory, and the set is written anew.",
        )
    return True


def _read_record(directory: Path) -> object:
    try:
        return json.loads((directory / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _count_photos(directory: Path) -> tuple[int, int]:
    return len(list(directory.glob("train/*/*.jpg"))), len(list(directory.glob("test/*.jpg")))


def _write_beside(directory: Path, plan: _Plan, workers: int) -> None:
    """Write the set into a sibling and rename it at the end: an interrupted run leaves no half set."""
    target = directory.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        finished = Path(temporary) / "sample"
        finished.mkdir()
        _write_set(finished, plan, workers)
        try:
            if target.exists():
                target.rmdir()  # it is empty; not every system renames onto a directory
            finished.rename(target)
        except OSError:
            # Another process may have written the same set in the meantime.
            if not _is_written(target, plan):
                raise


def _write_set(directory: Path, plan: _Plan, workers: int) -> None:
    tests = _test_shots(directory / "test", plan)
    _take([*_train_shots(directory / "train", plan), *tests], plan, workers)
    ids = [shot.path.stem for shot in tests]
    names = class_names()
    labels = [MODELS[shot.model].name for shot in tests]
    _write_csv(directory / "test.csv", ["ID", "img_path"], [(name, f"./test/{name}.jpg") for name in ids])
    _write_csv(directory / "test_labels.csv", ["ID", "label"], zip(ids, labels, strict=True))
    zeros = [[name, *("0" for _ in names)] for name in ids]
    # Contest files often begin with a byte order mark; the sample has one, so that readers are tried on it.
    _write_csv(directory / "sample_submission.csv", ["ID", *names], zeros, encoding="utf-8-sig")
    (directory / _RECORD).write_text(json.dumps(asdict(plan), indent=2) + "\n", encoding="utf-8")


def _train_shots(folder: Path, plan: _Plan) -> list[_Shot]:
    return [
        _Shot(folder / model.name / f"{model.name}_{number:04d}.jpg", key, (_TRAIN, key, number))
        for key, model in enumerate(MODELS)
        for number in range(plan.train_per_class)
    ]


def _test_shots(folder: Path, plan: _Plan) -> list[_Shot]:
    """The test photos. Every round shows each class once, in an order of its own."""
    shots: list[_Shot] = []
    for turn in range(plan.test_per_class):
        for key in np.random.default_rng((plan.seed, _ORDER, turn)).permutation(len(MODELS)):
            shots.append(_Shot(folder / f"TEST_{len(shots):05d}.jpg", int(key), (_TEST, int(key), turn)))
    return shots


def _take(shots: Sequence[_Shot], plan: _Plan, workers: int) -> None:
    for folder in {shot.path.parent for shot in shots}:
        folder.mkdir(parents=True)
    take = partial(_take_one, plan)
    if workers == 1:
        for shot in shots:
            take(shot)
        return
    # Drawing holds the interpreter's lock: threads would take turns.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=behave_as_child)
    try:
        for _ in pool.map(take, shots, chunksize=8):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _take_one(plan: _Plan, shot: _Shot) -> None:
    photo = take_photo(MODELS[shot.model], np.random.default_rng((plan.seed, *shot.stream)), plan.image_size)
    photo.picture.save(shot.path, quality=photo.quality)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]], *, encoding: str = "utf-8") -> None:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
