from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from automl_car.data.index import read_dataset
from automl_car.data.layout import Layout, detect_layout


@pytest.fixture
def contest(tiny_photos: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """Writes a contest's files: train/ with three classes, test/, test.csv and sample_submission.csv."""
    return tiny_photos


@pytest.mark.parametrize("folder", ["data", "data/open", ".", "open", "hecto ai"])
def test_a_contest_is_found_wherever_its_archive_was_unpacked(
    folder: str, contest: Callable[[Path], Path], tmp_path: Path
) -> None:
    contest(tmp_path / folder)
    assert detect_layout(tmp_path) == Layout(folder, "train", "test.csv", "sample_submission.csv", 3)


def test_what_is_found_is_what_a_search_reads(contest: Callable[[Path], Path], tmp_path: Path) -> None:
    root = contest(tmp_path / "open")
    (root / "train").rename(root / "Training set")
    (root / "test.csv").rename(root / "test_list.csv")
    (root / "sample_submission.csv").rename(root / "submission_form.csv")
    found = detect_layout(tmp_path)
    assert found is not None
    dataset = read_dataset(
        tmp_path / found.directory,
        train=found.train,
        test=found.test,
        sample_submission=found.sample_submission,
    )
    assert (dataset.num_classes, len(dataset.train_paths), len(dataset.test_ids)) == (3, 36, 5)


def test_a_csv_of_paths_and_labels_is_found_when_there_are_no_class_folders(tmp_path: Path) -> None:
    (tmp_path / "data" / "photos").mkdir(parents=True)
    (tmp_path / "data" / "photos" / "1.jpg").write_bytes(b"x")
    (tmp_path / "data" / "train_labels.csv").write_text("img_path,label\nphotos/1.jpg,van\n")
    found = detect_layout(tmp_path)
    assert found is not None
    assert (found.directory, found.train, found.test, found.sample_submission) == ("data", "train_labels.csv", "", "")


@pytest.mark.parametrize("files", [(), ("data/readme.txt",), ("photos/1.jpg", "photos/2.jpg")])
def test_nothing_is_found_where_there_are_no_labelled_photos(files: tuple[str, ...], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert detect_layout(tmp_path) is None


def test_the_folders_of_a_workspace_are_not_taken_for_data(contest: Callable[[Path], Path], tmp_path: Path) -> None:
    contest(tmp_path / "checkpoints")
    assert detect_layout(tmp_path) is None


def test_a_csv_that_is_not_text_is_passed_over(contest: Callable[[Path], Path], tmp_path: Path) -> None:
    (contest(tmp_path / "data") / "aaa_sample.csv").write_bytes(b"\xff\xfe\x00")
    found = detect_layout(tmp_path)
    assert found is not None
    assert found.train == "train"
