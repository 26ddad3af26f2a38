from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from automl_car.data.budget import Budgets
from automl_car.data.images import read_image
from automl_car.data.index import read_dataset
from automl_car.data.prepare import Prepared, open_prepared, prepare
from automl_car.data.prepared import read_short_side
from automl_car.errors import DataError, StoreError, StudyError

BROKEN = "train/나/2.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of six photos, one of which is broken; three test photos, the second of them broken."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    names = [f"train/{label}/{row}.png" for label in ("가", "나") for row in range(6)]
    for name in [*names, "test/0.png", "test/1.png", "test/2.png"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 15, 3), dtype=np.uint8)).save(root / name)
    (root / BROKEN).write_bytes(b"")
    (root / "test/1.png").write_bytes(b"<html>")
    return root


def _prepare(root: Path, *, folds: int = 3, short_side: int = 10, budgets: Budgets | None = None) -> Prepared:
    folders = {"cache_directory": root.parent / "cache", "study_directory": root.parent / "study"}
    return prepare(read_dataset(root), **folders, short_side=short_side, folds=folds, seed=0, budgets=budgets)


def test_a_broken_training_photo_is_quarantined_and_the_rows_close_up(root: Path) -> None:
    prepared = _prepare(root)
    assert BROKEN not in prepared.dataset.train_paths
    assert len(prepared.dataset.train_paths) == len(prepared.folds.assignment) == 11
    for row, path in enumerate(prepared.dataset.train_paths):
        np.testing.assert_array_equal(prepared.train_image(row), read_image(root / path, short_side=10))


def test_the_quarantine_is_written_with_the_reason(root: Path) -> None:
    assert _prepare(root).audit.quarantined[0].path == BROKEN
    text = (root.parent / "study" / "quarantine.csv").read_text(encoding="utf-8-sig")
    assert text == f"path,reason\n{BROKEN},it is empty (0 bytes)\n"


def test_without_broken_photos_there_is_no_quarantine_file(root: Path) -> None:
    (root / BROKEN).unlink()
    _prepare(root)
    assert not (root.parent / "study" / "quarantine.csv").exists()


def test_every_test_row_stays_and_a_broken_one_has_no_entry(root: Path) -> None:
    prepared = _prepare(root)
    assert prepared.dataset.test_ids == ("0", "1", "2")
    assert (prepared.test_entries < 0).tolist() == [False, True, False]
    assert [(problem.row, problem.path) for problem in prepared.audit.broken_test] == [(1, "test/1.png")]
    np.testing.assert_array_equal(prepared.test_image(2), read_image(root / "test/2.png", short_side=10))


def test_a_broken_test_photo_is_a_grey_picture_that_models_can_be_shown(root: Path) -> None:
    picture = _prepare(root).test_image(1)
    assert (picture.ndim, picture.shape[2], picture.dtype) == (3, 3, np.uint8)
    assert picture.min() == picture.max()


def test_the_answer_to_a_broken_test_photo_is_the_share_of_each_class(root: Path) -> None:
    logits = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
    filled = _prepare(root).fill_test(logits)
    np.testing.assert_array_equal(filled[[0, 2]], logits[[0, 2]])
    np.testing.assert_allclose(np.exp(filled[1]), [6 / 11, 5 / 11], rtol=1e-6)
    assert filled.dtype == np.float32


def test_without_broken_test_photos_the_logits_come_back_without_a_copy(root: Path) -> None:
    shutil.copy(root / "test/0.png", root / "test/1.png")
    logits = np.zeros((3, 2), dtype=np.float32)
    assert _prepare(root).fill_test(logits) is logits


def test_training_and_test_photos_have_budgets_of_their_own(root: Path) -> None:
    budgets = Budgets(
        train_bytes=10**6, eval_bytes=100
    )  # the two test photos that are whole take 2 x 10 x 12 x 3 bytes
    with pytest.raises(DataError, match=r"cache\.eval_gb: 1e-07 is too little for 3 test photos"):
        _prepare(root, budgets=budgets)


def test_a_second_call_reads_everything_and_changes_nothing(root: Path) -> None:
    first = _prepare(root)
    folds = (root.parent / "study" / "folds.csv").stat()
    pixels = (first.images.directory / "pixels.bin").stat()
    second = _prepare(root)
    assert second.folds.fingerprint == first.folds.fingerprint
    assert second.audit == first.audit
    assert (root.parent / "study" / "folds.csv").stat().st_mtime_ns == folds.st_mtime_ns
    assert (second.images.directory / "pixels.bin").stat().st_ino == pixels.st_ino


def test_another_process_opens_what_was_prepared_without_the_photos(root: Path) -> None:
    prepared = _prepare(root)
    pictures = [prepared.train_image(row) for row in range(11)]
    shutil.rmtree(root)
    opened = open_prepared(root.parent / "study", root.parent / "cache")
    assert opened.dataset == prepared.dataset
    assert opened.audit == prepared.audit
    assert opened.photos_key == prepared.photos_key
    assert opened.folds.fingerprint == prepared.folds.fingerprint
    np.testing.assert_array_equal(opened.test_entries, prepared.test_entries)
    for row, picture in enumerate(pictures):
        np.testing.assert_array_equal(opened.train_image(row), picture)


def test_larger_pictures_keep_the_folds(root: Path) -> None:
    small, large = _prepare(root), _prepare(root, short_side=12)
    assert large.train_image(0).shape > small.train_image(0).shape
    assert large.folds.fingerprint == small.folds.fingerprint


def test_copies_share_a_fold_and_are_listed(root: Path) -> None:
    shutil.copy(root / "train/가/0.png", root / "train/나/copy.png")
    prepared = _prepare(root)
    rows = [prepared.dataset.train_paths.index(path) for path in ("train/가/0.png", "train/나/copy.png")]
    assert len(set(prepared.folds.assignment[rows])) == 1
    assert [group.labels for group in prepared.audit.conflicts] == [("가", "나")]


def test_photos_that_changed_since_the_study_began_are_an_error_and_the_study_stays_as_it_was(root: Path) -> None:
    _prepare(root)
    study = root.parent / "study"
    before = {path.name: path.read_bytes() for path in study.iterdir()}
    shutil.copy(root / "train/가/0.png", root / "train/가/new.png")
    with pytest.raises(DataError, match="1 photo was added"):
        _prepare(root)
    assert {path.name: path.read_bytes() for path in study.iterdir()} == before


def test_another_number_of_folds_than_the_study_has_is_an_error(root: Path) -> None:
    _prepare(root)
    with pytest.raises(StudyError, match="has 3 folds, and 2 were asked for"):
        _prepare(root, folds=2)


def test_too_few_photos_after_quarantine_is_an_error_that_names_a_broken_one(root: Path) -> None:
    for row in range(5):
        (root / f"train/나/{row}.png").write_bytes(b"")
    with pytest.raises(DataError, match="5 training photos cannot be decoded") as error:
        _prepare(root)
    assert "train/나/0.png" in str(error.value.hint)


def test_a_class_with_fewer_photos_than_folds_is_noted(root: Path) -> None:
    for row in range(3, 6):
        (root / f"train/나/{row}.png").unlink()
    notes = _prepare(root).audit.notes
    assert notes == ("Class `나` has 2 photos for 3 folds: some folds are judged without it.",)


def test_a_data_set_without_test_photos_has_no_test_rows(root: Path) -> None:
    shutil.rmtree(root / "test")
    prepared = _prepare(root)
    assert prepared.test_entries.shape == (0,)
    assert prepared.fill_test(np.zeros((0, 2), dtype=np.float32)).shape == (0, 2)


def test_a_study_that_was_never_prepared_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"prepared\.json"):
        open_prepared(tmp_path, tmp_path)


def test_a_missing_image_cache_is_an_error_that_says_what_to_do(root: Path) -> None:
    _prepare(root)
    shutil.rmtree(root.parent / "cache")
    with pytest.raises(StoreError) as error:
        open_prepared(root.parent / "study", root.parent / "cache")
    assert "again" in str(error.value.hint)


def test_the_written_mapping_holds_the_entry_of_each_row(root: Path) -> None:
    _prepare(root)
    values = json.loads((root.parent / "study" / "prepared.json").read_text())
    assert values["train_entries"] == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]
    assert values["test_entries"] == [12, -1, 14]


def test_the_study_knows_how_large_its_photos_were(root: Path) -> None:
    prepared = _prepare(root)
    study, cache = root.parent / "study", root.parent / "cache"
    assert read_short_side(study, cache) == prepared.short_side == open_prepared(study, cache).short_side


def test_a_study_that_did_not_write_it_down_asks_its_pictures(root: Path) -> None:
    prepared = _prepare(root)
    path = root.parent / "study" / "prepared.json"
    values = json.loads(path.read_text())
    del values["short_side"]
    path.write_text(json.dumps(values))
    largest = max(min(prepared.train_image(row).shape[:2]) for row in range(len(prepared.train_entries)))
    assert read_short_side(root.parent / "study", root.parent / "cache") >= largest
    shutil.rmtree(root.parent / "cache")
    with pytest.raises(StudyError, match="does not tell how large the photos were"):
        read_short_side(root.parent / "study", root.parent / "cache")
