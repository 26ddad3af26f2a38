"""Rows 22 and 23 of the fault matrix: what happens to each kind of odd class, and to copies of photos.

The columns of a submission are the sample's, whatever the classes are.
"""

from __future__ import annotations

import csv
import os
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from automl_car.data.index import read_dataset
from automl_car.data.prepare import Prepared, prepare
from automl_car.ensemble.submission import write_submission
from automl_car.ensemble.submission_check import check_submission
from automl_car.errors import DataError
from automl_car.records import Dataset


def _picture(seed: int) -> Image.Image:
    """Blots of many sizes, as different from another seed's as two photos are."""
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1)).resize((160, 120), Image.Resampling.BICUBIC)


def _photos(root: Path, counts: dict[str, int]) -> Path:
    for number, (name, count) in enumerate(counts.items()):
        (root / "train" / name).mkdir(parents=True)
        for photo in range(count):
            _picture(100 * number + photo).save(root / "train" / name / f"{photo}.jpg", quality=90)
    (root / "test").mkdir()
    for photo in range(3):
        _picture(90_000 + photo).save(root / "test" / f"{photo}.jpg")
    return root


def _sample(root: Path, columns: list[str], ids: tuple[str, ...] = ("2", "0", "1")) -> None:
    with (root / "sample_submission.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["ID", *columns], *([name, *["0"] * len(columns)] for name in ids)])


def _prepare(root: Path, folds: int = 3, **options: object) -> Prepared:
    dataset = read_dataset(root, **options)  # type: ignore[arg-type]
    directories = {"cache_directory": root.parent / "cache", "study_directory": root.parent / "study"}
    return prepare(dataset, **directories, short_side=120, folds=folds, seed=0)


def _header_of_submission(dataset: Dataset, path: Path) -> list[str]:
    probabilities = np.full((len(dataset.test_ids), dataset.num_classes), 1 / dataset.num_classes)
    write_submission(path, probabilities, dataset)
    assert check_submission(path, dataset) == ()
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file))


# ---- classes --------------------------------------------------------------------------------------------------------


def test_a_class_of_one_photo_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 classes have fewer than 2 training photos: `B: 1`"):
        read_dataset(_photos(tmp_path / "data", {"A": 3, "B": 1}))


def test_a_class_whose_other_photos_are_broken_is_an_error_that_says_so(tmp_path: Path) -> None:
    root = _photos(tmp_path / "data", {"A": 3, "B": 2})
    (root / "train" / "B" / "0.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be decoded, and without them: .*`B: 1`") as error:
        _prepare(root)
    assert "train/B/0.jpg" in str(error.value.hint)


def test_an_empty_class_folder_is_an_error_with_and_without_a_sample(tmp_path: Path) -> None:
    root = _photos(tmp_path / "data", {"A": 3, "B": 3})
    (root / "train" / "C").mkdir()
    for columns in (None, ["A", "B"], ["A", "B", "C"]):
        if columns:
            _sample(root, columns)
        with pytest.raises(DataError, match="hold no photos: `C`"):
            read_dataset(root)


def test_a_class_folder_without_anything_that_is_a_photo_is_empty(tmp_path: Path) -> None:
    root = _photos(tmp_path / "data", {"A": 3, "B": 3})
    (root / "train" / "C" / "deep.jpg").mkdir(parents=True)
    (root / "train" / "C" / "notes.txt").touch()
    with pytest.raises(DataError, match="hold no photos: `C`"):
        read_dataset(root)


def test_one_class_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is only one class"):
        read_dataset(_photos(tmp_path / "data", {"A": 5}))


def test_a_class_only_in_the_sample_and_one_not_in_it_are_an_error_that_names_both(tmp_path: Path) -> None:
    root = _photos(tmp_path / "data", {"A": 3, "B": 3})
    _sample(root, ["A", "C"])
    with pytest.raises(DataError, match=r"have no column in the sample submission: `B`.*have no training photos: `C`"):
        read_dataset(root)


def test_a_class_of_fewer_photos_than_folds_is_noted_and_its_photos_are_spread(tmp_path: Path) -> None:
    prepared = _prepare(_photos(tmp_path / "data", {"A": 6, "B": 2}), folds=4)
    assert [note for note in prepared.audit.notes if "`B` has 2 photos for 4 folds" in note]
    labels = np.array(prepared.dataset.labels)
    assert len(np.unique(prepared.folds.assignment[labels == 1])) == 2


def test_names_that_count_as_one_class_share_it_and_have_a_column_each(tmp_path: Path) -> None:
    root = _photos(tmp_path / "data", {"A": 3, "B": 3, "C": 3})
    _sample(root, ["C", "B", "A"])
    dataset = read_dataset(root, class_aliases={"C": "A"})
    assert dataset.class_names == ("B", "A")
    assert _header_of_submission(dataset, tmp_path / "submission.csv") == ["ID", "C", "B", "A"]


def test_5000_classes_are_read_split_and_submitted_in_the_samples_order(tmp_path: Path) -> None:
    root = tmp_path / "data"
    names = [f"model {number:04}, year" for number in range(5000)]
    one = tmp_path / "one.jpg"
    _picture(0).resize((8, 8)).save(one)
    for name in names:
        (root / "train" / name).mkdir(parents=True)
        for photo in range(2):
            os.link(one, root / "train" / name / f"{photo}.jpg")
    (root / "test").mkdir()
    os.link(one, root / "test" / "7.jpg")
    columns = [names[place] for place in np.random.default_rng(0).permutation(len(names))]
    _sample(root, columns, ids=("7",))
    began = time.process_time()
    dataset = read_dataset(root)
    assert time.process_time() - began < 10
    assert dataset.class_names == tuple(columns)
    assert len(dataset.labels) == 10_000
    assert _header_of_submission(dataset, tmp_path / "submission.csv") == ["ID", *columns]


# ---- test photos that cannot be decoded -----------------------------------------------------------------------------


def test_a_broken_test_photo_gets_the_shares_of_the_classes_in_its_row(tmp_path: Path) -> None:
    root = _photos(tmp_path / "data", {"A": 6, "B": 3})
    _sample(root, ["B", "A"])
    (root / "test" / "0.jpg").write_bytes(b"<html>")
    prepared = _prepare(root)
    assert [problem.path for problem in prepared.audit.broken_test] == ["test/0.jpg"]
    logits = prepared.fill_test(np.zeros((3, 2), dtype=np.float32))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    row = prepared.dataset.test_ids.index("0")
    np.testing.assert_allclose(probabilities[row], [3 / 9, 6 / 9], atol=1e-6)  # B, A
    np.testing.assert_allclose(np.delete(probabilities, row, 0), 0.5, atol=1e-6)


def test_all_test_photos_may_be_broken(tmp_path: Path) -> None:
    root = _photos(tmp_path / "data", {"A": 6, "B": 3})
    for photo in (root / "test").iterdir():
        photo.write_bytes(b"")
    prepared = _prepare(root)
    assert prepared.test_entries.tolist() == [-1, -1, -1]
    assert prepared.test_image(0).shape == (8, 8, 3)


# ---- ids and cells --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("test.csv", "ID,img_path\n0,test/0.jpg\n0,test/1.jpg\n", "the same id more than once: `0`"),
        ("test.csv", "ID,img_path\n0,test/0.jpg\n1\n", "Line 3 of .* has 1 cells"),
        ("test.csv", "ID,img_path\n0,test/0.jpg,\n", "Line 2 of .* has 3 cells"),
        ("test.csv", "ID,img_path\n0,test/9.jpg\n", "are missing: `test/9.jpg`"),
        ("test.csv", "", "is empty"),
        ("test.csv", "img_path\ntest/0.jpg\n", "no column for the id"),
        ("sample_submission.csv", "ID,A,B\n0,0,0\n0,0,0\n", "the same id more than once: `0`"),
        ("sample_submission.csv", "ID,A,B\n0,0,0\n1,0,0\n", "1 test photos are not in the sample"),
        ("sample_submission.csv", "ID,A,B\n0,0,0\n1,0,0\n2,0,0\n3,0,0\n", "1 of the sample have no test photo"),
        ("sample_submission.csv", "ID\n0\n1\n2\n", "has only the column `ID`"),
        ("sample_submission.csv", 'ID,A,"B\n0,0,0\n', "."),
    ],
)
def test_what_is_wrong_with_ids_is_an_error_that_names_the_file(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    root = _photos(tmp_path / "data", {"A": 2, "B": 2})
    (root / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=reason):
        read_dataset(root)


# ---- copies ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_copies(tmp_path: Path) -> Path:
    """Nine photos each of A and B; of four of A there are copies in B, of one in A, and of another a mirror image."""
    root = _photos(tmp_path / "data", {"A": 9, "B": 9})
    original = [Image.open(root / "train" / "A" / f"{photo}.jpg").convert("RGB") for photo in range(6)]
    original[0].save(root / "train" / "B" / "quality.jpg", quality=30)
    original[1].resize((96, 72), Image.Resampling.BICUBIC).save(root / "train" / "B" / "small.png")
    original[2].crop((2, 2, 158, 118)).save(root / "train" / "B" / "crop.jpg", quality=90)
    (root / "train" / "B" / "exact.jpg").write_bytes((root / "train" / "A" / "3.jpg").read_bytes())
    original[4].save(root / "train" / "A" / "again.webp", quality=60)
    ImageOps.mirror(original[5]).save(root / "train" / "A" / "mirror.jpg", quality=90)
    return root


def test_copies_are_in_one_fold_and_those_under_two_labels_are_listed(with_copies: Path) -> None:
    prepared = _prepare(with_copies)
    paths = prepared.dataset.train_paths
    fold = dict(zip(paths, prepared.folds.assignment.tolist(), strict=True))
    pairs = {
        ("train/A/0.jpg", "train/B/quality.jpg"),
        ("train/A/1.jpg", "train/B/small.png"),
        ("train/A/2.jpg", "train/B/crop.jpg"),
        ("train/A/3.jpg", "train/B/exact.jpg"),
    }
    assert {group.paths for group in prepared.audit.conflicts} == pairs
    within = {("train/A/4.jpg", "train/A/again.webp"), ("train/A/5.jpg", "train/A/mirror.jpg")}
    assert {group.paths for group in prepared.audit.duplicates} == pairs | within
    assert [group.paths for group in prepared.audit.duplicates if group.exact] == [
        ("train/A/3.jpg", "train/B/exact.jpg")
    ]
    for group in prepared.audit.duplicates:
        assert len({fold[path] for path in group.paths}) == 1


def test_a_turned_copy_by_its_exif_is_a_copy(tmp_path: Path) -> None:
    root = _photos(tmp_path / "data", {"A": 6, "B": 6})
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = BytesIO()
    Image.open(root / "train" / "A" / "0.jpg").transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", exif=exif)
    (root / "train" / "A" / "turned.jpg").write_bytes(buffer.getvalue())
    groups = [group.paths for group in _prepare(root).audit.duplicates]
    assert groups == [("train/A/0.jpg", "train/A/turned.jpg")]
