"""Row 21 of the fault matrix: names that break other programs come through every file exactly, and harm no reader."""

from __future__ import annotations

import csv
import dataclasses
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from automl_car.data.cells import csv_text
from automl_car.data.facts import Problem
from automl_car.data.folds import read_folds, write_folds
from automl_car.data.index import load_dataset, read_dataset, save_dataset
from automl_car.data.prepare import prepare
from automl_car.data.sources import find_sources
from automl_car.data.tables import csv_line, read_table
from automl_car.data.testset import plain_form
from automl_car.ensemble.prediction_file import prediction_file
from automl_car.ensemble.predictions import read_predictions
from automl_car.ensemble.submission import write_in_form, write_out_of_fold, write_submission
from automl_car.ensemble.submission_check import check_submission
from automl_car.records import Dataset

pytestmark = pytest.mark.skipif(os.name == "nt", reason="such names cannot exist there")

NAMES = (
    "현대 그랜저",
    "🚗🏎️",
    "سيارة",
    "\u202egpj.exe",  # shown as exe.jpg by what obeys the writing direction
    "a.",
    "b ",
    " c",
    "CON",
    "NUL",
    "COM1",
    "long" * 60,
    "two\nlines",
    "carriage\rreturn",
    "-rf",
    "=cmd|' -C calc'!A0",
    "+1",
    "@SUM(A1)",
    "\ttab",
    'comma, and "quote"',
    "'s-Hertogenbosch",
    "ID",
    "%s{}$HOME`id`",
    "007",
    "nan",
)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A class folder of every name with two photos, and a test photo of every name; ids are the names."""
    root = tmp_path / "data"
    for number, name in enumerate(NAMES):
        for photo in range(2):
            path = root / "train" / name / f"{photo}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(2 * number + photo).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        (root / "test" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(root / "test" / name / "x.png")
    with (root / "test.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("ID", "img_path"), *((name, f"test/{name}/x.png") for name in NAMES)])
    return root


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.reader(file, strict=True))


def _uniform(dataset: Dataset) -> np.ndarray:
    return np.full((len(dataset.test_ids), dataset.num_classes), 1 / dataset.num_classes)


def test_every_name_is_a_class_and_every_photo_is_found(folders: Path) -> None:
    dataset = read_dataset(folders)
    assert dataset.class_names == tuple(sorted(unicodedata.normalize("NFC", name) for name in NAMES))
    assert dataset.test_ids == NAMES
    assert all((folders / path).is_file() for path in (*dataset.train_paths, *dataset.test_paths))


def test_a_submission_of_every_name_is_read_back_exactly_and_is_valid(folders: Path, tmp_path: Path) -> None:
    dataset = read_dataset(folders)
    write_submission(tmp_path / "submission.csv", _uniform(dataset), dataset)
    header, *rows = _rows(tmp_path / "submission.csv")
    assert header == ["ID", *dataset.class_names]
    assert [row[0] for row in rows] == list(NAMES)
    assert check_submission(tmp_path / "submission.csv", dataset) == ()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [False, True])
def test_the_header_of_a_sample_with_every_name_is_kept_byte_for_byte(
    folders: Path, tmp_path: Path, newline: str, bom: bool
) -> None:
    columns = [unicodedata.normalize("NFD", name) for name in reversed(NAMES)]
    header = ",".join(f'"{name}"' for name in ["ID", *(column.replace('"', '""') for column in columns)])
    zeros = ",".join(["0"] * len(columns))
    lines = [header, *(csv_line([name]) + "," + zeros for name in reversed(NAMES)), ""]
    sample = folders / "sample_submission.csv"
    sample.write_bytes(newline.join(lines).encode("utf-8-sig" if bom else "utf-8"))
    dataset = read_dataset(folders)
    write_submission(tmp_path / "submission.csv", _uniform(dataset), dataset)
    found = (tmp_path / "submission.csv").read_bytes()
    head = (b"\xef\xbb\xbf" if bom else b"") + (header + newline).encode()
    assert found.startswith(head)
    assert sample.read_bytes().startswith(head)
    assert [row[0] for row in _rows(tmp_path / "submission.csv")[1:]] == list(reversed(NAMES))
    assert check_submission(tmp_path / "submission.csv", dataset) == ()


def test_predictions_and_out_of_fold_files_of_every_name_are_read_back_exactly(folders: Path, tmp_path: Path) -> None:
    dataset = read_dataset(folders)
    with prediction_file(tmp_path / "predictions.csv", plain_form(dataset.class_names)) as write:
        write(NAMES, _uniform(dataset))
    found = read_predictions(tmp_path / "predictions.csv")
    assert (found.ids, found.columns) == (NAMES, dataset.class_names)
    count = len(dataset.train_paths)
    oof = np.full((count, dataset.num_classes), 1 / dataset.num_classes)
    write_out_of_fold(tmp_path / "oof.csv", oof, dataset, np.arange(count))
    assert read_predictions(tmp_path / "oof.csv").ids == dataset.train_paths
    labels = [dataset.class_names[label] for label in dataset.labels]
    assert _rows(tmp_path / "labels.csv") == [
        ["ID", "label"], *map(list, zip(dataset.train_paths, labels, strict=True))
    ]  # fmt: skip


def test_a_csv_of_every_name_is_read_exactly(folders: Path) -> None:
    rows = [(f"train/{name}/{photo}.png", name) for name in NAMES for photo in range(2)]
    with (folders / "train.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    dataset = read_dataset(folders, train="train.csv")
    found = [
        (path, dataset.class_names[label]) for path, label in zip(dataset.train_paths, dataset.labels, strict=True)
    ]
    assert found == [(path, unicodedata.normalize("NFC", name)) for path, name in rows]


def test_folds_and_data_sets_of_every_name_are_read_back_exactly(folders: Path, tmp_path: Path) -> None:
    dataset = read_dataset(folders)
    save_dataset(dataset, tmp_path / "dataset.json")
    assert load_dataset(tmp_path / "dataset.json") == dataset
    count = len(dataset.labels)
    written = write_folds(tmp_path / "folds.csv", dataset, np.arange(count) % 2, np.arange(count))
    assert read_folds(tmp_path / "folds.csv", dataset).fingerprint == written.fingerprint


def test_photos_of_every_name_are_prepared(folders: Path, tmp_path: Path) -> None:
    broken = folders / "train" / "=cmd|' -C calc'!A0" / "2.png"
    broken.write_bytes(b"")
    prepared = prepare(
        read_dataset(folders),
        cache_directory=tmp_path / "cache",
        study_directory=tmp_path / "study",
        short_side=8,
        folds=2,
        seed=0,
    )
    assert [problem.path for problem in prepared.audit.quarantined] == [f"train/{broken.parent.name}/2.png"]


def test_a_photo_to_predict_may_have_any_name(folders: Path) -> None:
    photos = [folders / "test" / name / "x.png" for name in NAMES]
    assert [source.id for source in find_sources(photos)] == [str(photo) for photo in photos]
    assert [source.id for source in find_sources([folders / "test.csv"])] == list(NAMES)


def test_a_path_of_more_than_260_characters_is_found(tmp_path: Path) -> None:
    for name in ("A", "B"):
        for photo in range(2):
            path = tmp_path / "train" / name / ("d" * 200) / ("e" * 200) / f"{photo}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert len(read_dataset(tmp_path).train_paths) == 4


@pytest.mark.parametrize("name", ["n" * 300 + ".jpg", "a\0b.jpg"])
def test_a_name_that_no_file_can_have_is_missing_and_no_crash(tmp_path: Path, name: str) -> None:
    (tmp_path / "train.csv").write_text(f"path,label\n{name},A\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"missing|not CSV"):
        read_dataset(tmp_path, train="train.csv")
    with pytest.raises(ValueError, match="no file or folder"):
        list(find_sources([tmp_path / name]))


def test_twins_of_a_column_in_two_unicode_forms_are_a_clash(folders: Path) -> None:
    both = [unicodedata.normalize(form, "니로") for form in ("NFC", "NFD")]
    (folders / "sample_submission.csv").write_text(f"ID,{both[0]},{both[1]}\nT,0,0\n", encoding="utf-8")
    with pytest.raises(ValueError, match="columns twice: `니로`"):
        read_dataset(folders)


# ---- what a spreadsheet would take for a formula --------------------------------------------------------------------

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1"]


@given(st.lists(st.text(), min_size=1, max_size=4), st.lists(st.lists(st.text(), min_size=1, max_size=4), max_size=4))
def test_no_cell_and_no_header_of_a_report_begins_like_a_formula(header: list[str], rows: list[list[str]]) -> None:
    text = csv_text([*FORMULAS, *header], [[*FORMULAS, *row] for row in rows])
    assert text.startswith("\ufeff")
    lines = text[1:].splitlines(keepends=True)
    for row in csv.reader([text[1:]] if not lines else _lines(text[1:])):
        assert not any(cell.startswith(tuple("=+-@\t\r\n＝＋－＠")) for cell in row)


def _lines(text: str) -> list[str]:
    """Split at the line ends that csv knows, which are fewer than Python's."""
    import io

    return io.StringIO(text, newline="").readlines()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2, max_size=6))
def test_any_line_is_read_back_exactly(cells: list[str]) -> None:
    assert list(csv.reader(_lines(csv_line(cells) + "\n"), strict=True)) == [cells]


def test_the_quarantine_is_defused_and_a_submission_is_not(tmp_path: Path) -> None:
    for name in ("=a", "=b"):
        for photo in range(3):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(photo).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{photo}.png")
    (tmp_path / "data" / "=a" / "3.png").write_bytes(b"")
    dataset = read_dataset(tmp_path / "data")
    prepared = prepare(
        dataset, cache_directory=tmp_path, study_directory=tmp_path / "study", short_side=8, folds=2, seed=0
    )
    assert prepared.audit.quarantined == (Problem(3, "=a/3.png", "it is empty (0 bytes)"),)
    assert _rows(tmp_path / "study" / "quarantine.csv")[1][0] == "'=a/3.png"
    form = dataclasses.replace(plain_form(dataset.class_names), ids=("=1+1",))
    write_in_form(tmp_path / "submission.csv", np.array([[0.5, 0.5]]), form)
    assert (tmp_path / "submission.csv").read_bytes() == b"ID,=a,=b\n=1+1,0.5,0.5\n"


# ---- links ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """Two classes of two photos; and a private photo elsewhere."""
    for name in ("A", "B"):
        for photo in range(2):
            path = tmp_path / "data" / "train" / name / f"{photo}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "me.jpg").touch()
    return tmp_path / "data"


def test_a_photo_that_is_a_link_out_of_the_data_folder_is_refused_unless_links_are_wanted(linked: Path) -> None:
    (linked / "train" / "A" / "2.jpg").symlink_to("../../../private/me.jpg")
    with pytest.raises(ValueError, match=r"1 photos are links that lead out of the data folder .*`train/A/2.jpg`"):
        read_dataset(linked)
    assert "train/A/2.jpg" in read_dataset(linked, follow_links=True).train_paths


def test_a_class_folder_that_is_a_link_out_of_the_data_folder_is_refused(linked: Path) -> None:
    (linked / "train" / "C").symlink_to(linked.parent / "private")
    (linked.parent / "private" / "you.jpg").touch()
    with pytest.raises(ValueError, match="2 photos are links that lead out"):
        read_dataset(linked)


def test_a_path_of_a_csv_that_leads_out_by_a_link_is_refused(linked: Path) -> None:
    (linked / "train" / "A" / "up").symlink_to(linked.parent)
    rows = [f"train/{name}/{photo}.jpg,{name}" for name in ("A", "B") for photo in range(2)]
    text = "\n".join(["path,label", *rows, "train/A/up/private/me.jpg,A", ""])
    (linked / "train.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="1 photos are links that lead out"):
        read_dataset(linked, train="train.csv")


def test_links_within_the_data_folder_and_a_data_folder_on_another_disk_are_followed(linked: Path) -> None:
    (linked / "train" / "A" / "2.jpg").symlink_to("../B/0.jpg")
    (linked / "train").rename(linked.parent / "disk")
    (linked / "train").symlink_to(linked.parent / "disk")
    (linked.parent / "alias").symlink_to(linked)
    assert len(read_dataset(linked.parent / "alias").train_paths) == 5


def test_folders_in_a_loop_are_walked_once(linked: Path) -> None:
    (linked / "train" / "A" / "again").symlink_to("..")
    assert len(read_dataset(linked).train_paths) == 4


def test_a_class_folder_that_is_a_link_to_its_own_folder_is_refused(linked: Path) -> None:
    (linked / "train" / "C").symlink_to("..")
    with pytest.raises(ValueError, match="a link to a folder that it lies in"):
        read_dataset(linked)


@pytest.mark.parametrize("name", ["train.csv", "sample_submission.csv"])
def test_a_pipe_in_place_of_a_table_is_refused_and_nothing_waits(linked: Path, name: str) -> None:
    os.mkfifo(linked / name)
    with pytest.raises(ValueError, match=r"pipe|no folder or CSV"):
        read_dataset(linked, train="train.csv" if name == "train.csv" else "train")
    with pytest.raises(ValueError, match="it is a pipe"):
        read_table(linked / name)
    with pytest.raises(ValueError, match="it is a pipe"):
        read_predictions(linked / name)


def test_a_folder_named_like_a_photo_is_no_photo(linked: Path) -> None:
    (linked / "train" / "A" / "folder.jpg").mkdir()
    assert len(read_dataset(linked).train_paths) == 4
