"""The sample set: its layout, its reproducibility, and that colour does not give the class away."""

from __future__ import annotations

import codecs
import csv
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from automl_car.data.sample import SampleSummary, class_names, write_sample
from automl_car.data.sample_models import MODELS
from automl_car.data.sample_photo import PALETTE, paint_colour
from automl_car.errors import ConfigError, DataError

SIZE = 48


def write_small(directory: Path, *, seed: int = 0, train_per_class: int = 2) -> SampleSummary:
    return write_sample(directory, seed=seed, train_per_class=train_per_class, test_per_class=1, image_size=SIZE)


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def rows(path: Path, encoding: str = "utf-8") -> list[list[str]]:
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.reader(file))


def read(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("work") / "sample").directory


def test_the_layout_is_that_of_a_contest(sample: Path) -> None:
    for name in class_names():
        photos = sorted(path.name for path in (sample / "train" / name).iterdir())
        assert photos == [f"{name}_0000.jpg", f"{name}_0001.jpg"]
    count = len(class_names())
    assert sorted(path.name for path in (sample / "test").iterdir()) == [f"TEST_{i:05d}.jpg" for i in range(count)]


def test_the_summary_counts_the_photos(tmp_path: Path) -> None:
    summary = write_small(tmp_path / "sample", train_per_class=1)
    assert (summary.train_images, summary.test_images) == (len(summary.class_names), len(summary.class_names))


def test_there_are_twelve_classes_whose_names_suit_files_and_columns() -> None:
    assert len(class_names()) == 12
    assert not any(set(name) & set('<>:"/\\|?*,') for name in class_names())
    assert not all(name.isascii() for name in class_names())


def test_photos_have_the_height_asked_for_and_different_widths(sample: Path) -> None:
    sizes = [read(path).shape[1::-1] for path in sorted(sample.glob("train/*/*.jpg"))]
    assert {height for _, height in sizes} == {SIZE}
    assert len({width for width, _ in sizes}) > 3
    assert all(SIZE <= width <= 1.5 * SIZE for width, _ in sizes)


def test_the_same_seed_gives_the_same_bytes(sample: Path, tmp_path: Path) -> None:
    assert contents(write_small(tmp_path / "again").directory) == contents(sample)


def test_another_seed_gives_other_photos(sample: Path, tmp_path: Path) -> None:
    first, second = contents(sample), contents(write_small(tmp_path / "other", seed=1).directory)
    photos = [name for name in first if name.endswith(".jpg")]
    assert not any(first[name] == second[name] for name in photos)


def test_no_two_photos_are_the_same(sample: Path) -> None:
    photos = [path.read_bytes() for path in sample.rglob("*.jpg")]
    assert len(set(photos)) == len(photos)


def test_more_photos_leave_the_earlier_ones_as_they_were(sample: Path, tmp_path: Path) -> None:
    more = write_sample(tmp_path / "more", train_per_class=3, test_per_class=2, image_size=SIZE).directory
    larger = contents(more)
    photos = {name: data for name, data in contents(sample).items() if name.endswith(".jpg")}
    assert {name: larger[name] for name in photos} == photos


def test_more_photos_leave_the_earlier_test_labels_as_they_were(sample: Path, tmp_path: Path) -> None:
    more = write_sample(tmp_path / "more", train_per_class=1, test_per_class=2, image_size=SIZE).directory
    labels = rows(sample / "test_labels.csv")
    assert rows(more / "test_labels.csv")[: len(labels)] == labels


def test_the_test_csv_lists_every_test_photo(sample: Path) -> None:
    header, *body = rows(sample / "test.csv")
    assert header == ["ID", "img_path"]
    assert [sample / path for _, path in body] == sorted((sample / "test").iterdir())
    assert body[0] == ["TEST_00000", "./test/TEST_00000.jpg"]


def test_the_sample_submission_has_a_mark_zeros_and_sorted_nfc_columns(sample: Path) -> None:
    path = sample / "sample_submission.csv"
    header, *body = rows(path, "utf-8-sig")
    assert path.read_bytes().startswith(codecs.BOM_UTF8)
    assert header == ["ID", *sorted(unicodedata.normalize("NFC", model.name) for model in MODELS)]
    assert {value for _, *values in body for value in values} == {"0"}
    assert [row[0] for row in body] == [row[0] for row in rows(sample / "test.csv")[1:]]


def test_the_labels_name_a_class_for_every_test_photo_and_are_in_no_order(sample: Path) -> None:
    header, *body = rows(sample / "test_labels.csv")
    labels = [label for _, label in body]
    assert header == ["ID", "label"]
    assert sorted(labels) == list(class_names())
    assert labels != list(class_names())


def test_the_body_colour_is_drawn_without_regard_to_the_model() -> None:
    colours = {paint_colour(np.random.default_rng(seed)) for seed in range(200)}
    assert len(colours) > 5 * len(PALETTE)


def test_the_mean_colour_does_not_tell_the_class(tmp_path: Path) -> None:
    sample = write_sample(tmp_path / "many", train_per_class=10, test_per_class=1, image_size=32).directory
    names = class_names()
    colours = np.array(
        [[read(path).mean(axis=(0, 1)) for path in sorted((sample / "train" / name).iterdir())] for name in names]
    )
    centres = colours[:, ::2].mean(axis=1)
    guesses = np.linalg.norm(colours[:, 1::2, None] - centres, axis=-1).argmin(axis=-1)
    hits = float(np.mean(guesses == np.arange(len(names))[:, None]))
    assert hits < 0.3  # guessing alone gives 0.08


def test_a_directory_with_something_else_is_refused_and_untouched(tmp_path: Path) -> None:
    directory = tmp_path / "mine"
    directory.mkdir()
    (directory / "notes.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(DataError, match="mine"):
        write_small(directory)
    assert contents(directory) == {"notes.txt": b"keep me"}


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sample").write_text("a file", encoding="utf-8")
    with pytest.raises(DataError, match="sample"):
        write_small(tmp_path / "sample")


def test_a_set_of_other_parameters_is_refused(sample: Path) -> None:
    with pytest.raises(DataError, match="parameters"):
        write_small(sample, seed=5)


def test_a_second_call_writes_nothing(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl_car.data.sample.take_photo", None)
    assert write_small(sample).train_images == 24


def test_a_set_with_a_missing_photo_is_refused(tmp_path: Path) -> None:
    directory = write_small(tmp_path / "sample", train_per_class=1).directory
    (directory / "test" / "TEST_00003.jpg").unlink()
    with pytest.raises(DataError, match="changed"):
        write_small(directory, train_per_class=1)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("automl_car.data.sample.take_photo", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_small(tmp_path / "sample")
    assert list(tmp_path.iterdir()) == []


def test_a_set_that_another_process_wrote_meanwhile_is_taken(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automl_car.data.sample._write_set", lambda *_: shutil.copytree(sample, tmp_path / "sample"))
    write_small(tmp_path / "sample")
    assert contents(tmp_path / "sample") == contents(sample)


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_small(tmp_path / "empty", train_per_class=1)
    assert (tmp_path / "empty" / "test.csv").is_file()


def test_parameters_out_of_range_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"seed is -1.*image_size is 8"):
        write_sample(tmp_path / "sample", seed=-1, image_size=8)
    assert list(tmp_path.iterdir()) == []


def test_the_files_do_not_depend_on_the_number_of_processes(sample: Path, tmp_path: Path) -> None:
    other = write_sample(tmp_path / "other", train_per_class=2, test_per_class=1, image_size=SIZE, workers=2).directory
    assert contents(other) == contents(sample)
