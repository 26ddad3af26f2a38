from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import pytest

from automl_car.data.index import check_classes, load_dataset, read_dataset, save_dataset, without
from automl_car.data.tables import read_table
from automl_car.errors import DataError

NFD = unicodedata.normalize("NFD", "니로")
NFC = unicodedata.normalize("NFC", "니로")


def _photos(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never opened")


def _classes(root: Path, *classes: str) -> None:
    for name in classes:
        _photos(root, f"train/{name}/0.jpg", f"train/{name}/1.jpg")


def _write(path: Path, text: str, *, bom: bool = False) -> None:
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())


@pytest.fixture
def contest(tmp_path: Path) -> Path:
    """Two classes, two test photos, columns in another order than sorted."""
    _classes(tmp_path, "A", "B")
    _photos(tmp_path, "test/T0.jpg", "test/T1.jpg")
    _write(tmp_path / "test.csv", "ID,img_path\nT0,./test/T0.jpg\nT1,./test/T1.jpg\n")
    _write(tmp_path / "sample_submission.csv", "ID,B,A\nT0,0.5,0.5\nT1,0.5,0.5\n")
    return tmp_path


# ---- training photos ------------------------------------------------------------------------------------------------


def test_class_folders_are_listed_by_path_with_the_classes_sorted(tmp_path: Path) -> None:
    _classes(tmp_path, "van", "Car")
    dataset = read_dataset(tmp_path)
    assert dataset.class_names == ("Car", "van")
    assert dataset.train_paths == ("train/Car/0.jpg", "train/Car/1.jpg", "train/van/0.jpg", "train/van/1.jpg")
    assert dataset.labels == (0, 0, 1, 1)
    assert dataset.submission is None


def test_endings_count_in_any_case_and_other_and_hidden_files_do_not(tmp_path: Path) -> None:
    _classes(tmp_path, "A", "B")
    _photos(
        tmp_path, "train/A/x.JPeG", "train/A/deep/y.WEBP", "train/A/notes.txt", "train/A/._0.jpg", "train/.git/0.jpg"
    )
    found = {path for path in read_dataset(tmp_path).train_paths if path.startswith("train/A")}
    assert found == {"train/A/0.jpg", "train/A/1.jpg", "train/A/x.JPeG", "train/A/deep/y.WEBP"}


def test_class_folders_may_lie_in_the_root_beside_a_test_folder(tmp_path: Path) -> None:
    _photos(tmp_path, "A/0.jpg", "A/1.jpg", "B/0.jpg", "B/1.jpg", "test/T0.jpg")
    (tmp_path / "notes").mkdir()
    dataset = read_dataset(tmp_path)
    assert dataset.class_names == ("A", "B")
    assert dataset.test_ids == ("T0",)


def test_a_csv_of_paths_and_labels_serves_as_well_and_keeps_its_order(tmp_path: Path) -> None:
    _photos(tmp_path, *(f"all/{row}.jpg" for row in range(4)))
    rows = "".join(f"{label},./all/{row}.jpg\n" for row, label in [(3, "B"), (0, "A"), (2, "A"), (1, "B")])
    _write(tmp_path / "labels.csv", "Label,img_path\n" + rows, bom=True)
    dataset = read_dataset(tmp_path, train="labels.csv")
    assert dataset.train_paths == ("all/3.jpg", "all/0.jpg", "all/2.jpg", "all/1.jpg")
    assert dataset.labels == (1, 0, 0, 1)


def test_a_csv_without_a_known_column_is_an_error_that_lists_its_columns(tmp_path: Path) -> None:
    _write(tmp_path / "labels.csv", "where,label\na.jpg,A\n")
    with pytest.raises(DataError, match="Its columns: `where`, `label`"):
        read_dataset(tmp_path, train="labels.csv")


def test_missing_files_of_a_csv_are_counted_and_the_first_named(tmp_path: Path) -> None:
    _write(tmp_path / "labels.csv", "path,label\n" + "".join(f"{row}.jpg,A\n" for row in range(20)))
    with pytest.raises(DataError, match=r"20 photos .* missing: `0.jpg`, .* and 15 more"):
        read_dataset(tmp_path, train="labels.csv")


@pytest.mark.parametrize("path", ["../a.jpg", "x/../../a.jpg", "/etc/a.jpg", "C:\\a.jpg", "..\\a.jpg"])
def test_a_path_that_leaves_the_data_folder_is_an_error(tmp_path: Path, path: str) -> None:
    _write(tmp_path / "labels.csv", f"path,label\n{path},A\n")
    with pytest.raises(DataError, match="leads out of"):
        read_dataset(tmp_path, train="labels.csv")


def test_a_photo_listed_twice_is_an_error(tmp_path: Path) -> None:
    _photos(tmp_path, "a.jpg")
    _write(tmp_path / "labels.csv", "path,label\na.jpg,A\n./a.jpg,B\n")
    with pytest.raises(DataError, match=r"`a\.jpg`"):
        read_dataset(tmp_path, train="labels.csv")


def test_a_csv_in_another_encoding_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("path,label\na.jpg,니로\n".encode("cp949"))
    with pytest.raises(DataError, match="not UTF-8") as error:
        read_dataset(tmp_path, train="labels.csv")
    assert "CSV UTF-8" in str(error.value.hint)


@pytest.mark.parametrize("names", [[], ["train/0.jpg"], ["train/A/notes.txt"]])
def test_no_photos_in_class_folders_is_an_error_that_shows_the_layout(tmp_path: Path, names: list[str]) -> None:
    _photos(tmp_path, *names)
    with pytest.raises(DataError) as error:
        read_dataset(tmp_path)
    assert error.value.hint


def test_a_data_folder_one_level_too_high_is_recognised(tmp_path: Path) -> None:
    _classes(tmp_path / "cars", "A", "B")
    with pytest.raises(DataError) as error:
        read_dataset(tmp_path)
    assert error.value.hint == f"Use --data {tmp_path / 'cars'}."


def test_a_missing_data_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data folder"):
        read_dataset(tmp_path / "nowhere")


def test_one_class_is_an_error(tmp_path: Path) -> None:
    _classes(tmp_path, "A")
    with pytest.raises(DataError, match="only one class"):
        read_dataset(tmp_path)


def test_classes_of_one_photo_are_listed(tmp_path: Path) -> None:
    _classes(tmp_path, "A")
    _photos(tmp_path, "train/B/0.jpg", "train/C/0.jpg")
    with pytest.raises(DataError, match="2 classes have fewer than 2 training photos: `B: 1`, `C: 1`"):
        read_dataset(tmp_path)


def test_an_empty_class_folder_is_an_error(tmp_path: Path) -> None:
    _classes(tmp_path, "A", "B")
    (tmp_path / "train" / "C").mkdir()
    with pytest.raises(DataError, match="hold no photos: `C`"):
        read_dataset(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names are always Unicode there")
def test_a_name_from_an_archive_in_cp949_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    _classes(tmp_path, "A", "B")
    Path(tmp_path, "train", os.fsdecode("니로".encode("cp949"))).mkdir()
    with pytest.raises(DataError, match="not UTF-8") as error:
        read_dataset(tmp_path)
    str(error.value).encode()  # and the message itself can be printed


# ---- names ----------------------------------------------------------------------------------------------------------


def test_decomposed_folder_names_match_composed_columns_and_keep_their_paths(tmp_path: Path) -> None:
    _classes(tmp_path, NFD, "B")
    _write(tmp_path / "sample_submission.csv", f"ID,{NFC},B\nT0,0,0\n")
    dataset = read_dataset(tmp_path)
    assert dataset.class_names == (NFC, "B")
    assert f"train/{NFD}/0.jpg" in dataset.train_paths


def test_a_composed_path_in_a_csv_finds_a_decomposed_file(tmp_path: Path) -> None:
    _photos(tmp_path, f"{NFD}.jpg", "1.jpg", "2.jpg", "3.jpg")
    _write(tmp_path / "labels.csv", f"path,label\n{NFC}.jpg,A\n1.jpg,A\n2.jpg,B\n3.jpg,B\n")
    path = read_dataset(tmp_path, train="labels.csv").train_paths[0]
    assert (tmp_path / path).is_file()


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="such twins cannot exist there")
def test_two_folders_of_one_name_in_two_unicode_forms_are_an_error_that_shows_both(tmp_path: Path) -> None:
    _classes(tmp_path, NFC, NFD)
    with pytest.raises(DataError) as error:
        read_dataset(tmp_path)
    assert ascii(NFC) in error.value.message
    assert ascii(NFD) in error.value.message


def test_the_classes_are_in_the_order_of_the_columns(contest: Path) -> None:
    dataset = read_dataset(contest)
    assert dataset.class_names == ("B", "A")
    assert dataset.labels == (1, 1, 0, 0)


def test_names_without_a_partner_are_listed_for_both_sides(contest: Path) -> None:
    _classes(contest, "Sportage_2020")
    _write(contest / "sample_submission.csv", "ID,A,B,Sportage_2021\nT0,0,0,0\nT1,0,0,0\n")
    with pytest.raises(DataError) as error:
        read_dataset(contest)
    assert re.search("have no column .*`Sportage_2020`.*have no training photos: `Sportage_2021`", error.value.message)


def test_a_column_without_photos_is_an_error_by_itself(contest: Path) -> None:
    _write(contest / "sample_submission.csv", "ID,A,B,C\nT0,0,0,0\nT1,0,0,0\n")
    with pytest.raises(DataError, match="1 columns of the sample submission have no training photos: `C`") as error:
        read_dataset(contest)
    assert "class_aliases" in str(error.value.hint)


def test_a_column_that_occurs_twice_is_an_error(contest: Path) -> None:
    _write(contest / "sample_submission.csv", "ID,A,B,A\nT0,0,0,0\nT1,0,0,0\n")
    with pytest.raises(DataError, match="columns twice: `A`"):
        read_dataset(contest)


# ---- aliases --------------------------------------------------------------------------------------------------------


def test_an_alias_shares_the_class_of_its_canonical_name_which_keeps_its_place(contest: Path) -> None:
    _classes(contest, "C")
    _write(contest / "sample_submission.csv", "ID,C,B,A\nT0,0,0,0\nT1,0,0,0\n")
    dataset = read_dataset(contest, class_aliases={"C": "A"})
    assert dataset.class_names == ("B", "A")
    assert dataset.labels == (1, 1, 0, 0, 1, 1)
    assert dataset.submission is not None
    assert dataset.submission.columns == ("C", "B", "A")
    assert dataset.submission.column_classes == (1, 0, 1)


def test_a_column_whose_photos_all_lie_under_its_alias_is_no_error(contest: Path) -> None:
    _write(contest / "sample_submission.csv", "ID,C,B,A\nT0,0,0,0\nT1,0,0,0\n")
    assert read_dataset(contest, class_aliases={"A": "C"}).class_names == ("C", "B")


def test_an_unknown_alias_is_an_error_with_a_near_name(contest: Path) -> None:
    _classes(contest, "Sportage")
    (contest / "sample_submission.csv").unlink()
    with pytest.raises(DataError, match="`Sportege` is no class; did you mean `Sportage`"):
        read_dataset(contest, class_aliases={"Sportege": "A"})


@pytest.mark.parametrize("aliases", [{"A": "B", "B": "C"}, {"A": "A"}])
def test_a_chain_of_aliases_is_an_error(contest: Path, aliases: dict[str, str]) -> None:
    _classes(contest, "C")
    (contest / "sample_submission.csv").unlink()
    with pytest.raises(DataError, match="itself stands for"):
        read_dataset(contest, class_aliases=aliases)


# ---- exclude --------------------------------------------------------------------------------------------------------


def test_excluded_photos_are_left_out(tmp_path: Path) -> None:
    _classes(tmp_path, "A", NFD)
    _photos(tmp_path, "train/A/2.jpg", f"train/{NFD}/2.jpg")
    dataset = read_dataset(tmp_path, exclude=["./train/A/2.jpg", f"train/{NFC}/2.jpg"])
    assert len(dataset.train_paths) == len(dataset.labels) == 4


def test_an_entry_of_exclude_that_matches_nothing_is_an_error_with_a_near_name(tmp_path: Path) -> None:
    _classes(tmp_path, "A", "B")
    _photos(tmp_path, "train/A/A_0007.jpg")
    with pytest.raises(DataError, match=r"`A_0007.jpg` \(did you mean `train/A/A_0007.jpg`\?\)"):
        read_dataset(tmp_path, exclude=["A_0007.jpg"])


# ---- test set and submission ----------------------------------------------------------------------------------------


def test_ids_stay_text_and_paths_lose_their_prefix(contest: Path) -> None:
    _write(contest / "test.csv", "img_path,ID\n./test/T0.jpg,007\ntest\\T1.jpg,1e3\n")
    (contest / "sample_submission.csv").unlink()
    dataset = read_dataset(contest)
    assert dataset.test_ids == ("007", "1e3")
    assert dataset.test_paths == ("test/T0.jpg", "test/T1.jpg")


def test_test_rows_are_in_the_order_of_the_sample_submission(contest: Path) -> None:
    _write(contest / "sample_submission.csv", "ID,B,A\nT1,0,0\nT0,0,0\n")
    dataset = read_dataset(contest)
    assert dataset.test_paths == ("test/T1.jpg", "test/T0.jpg")
    assert dataset.submission is not None
    assert dataset.submission.ids == dataset.test_ids == ("T1", "T0")


def test_a_folder_of_test_photos_serves_without_a_csv(contest: Path) -> None:
    (contest / "test.csv").unlink()
    assert read_dataset(contest).test_ids == ("T0", "T1")


def test_photos_of_the_test_folder_with_the_same_id_are_an_error(contest: Path) -> None:
    (contest / "test.csv").unlink()
    _photos(contest, "test/T0.png")
    with pytest.raises(DataError, match=r"share a name.*`T0`"):
        read_dataset(contest)


@pytest.mark.parametrize("option", ["train", "test", "sample_submission"])
def test_a_file_that_was_named_and_is_missing_is_an_error(contest: Path, option: str) -> None:
    with pytest.raises(DataError, match=r"other\.csv"):
        read_dataset(contest, **{option: "other.csv"})  # type: ignore[arg-type]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [True, False])
def test_header_bom_and_line_end_of_the_sample_are_kept(contest: Path, newline: str, bom: bool) -> None:
    text = newline.join(['ID,"B",A', "T0,0,0", "T1,0,0", ""])
    _write(contest / "sample_submission.csv", text, bom=bom)
    form = read_dataset(contest).submission
    assert form is not None
    assert form.header == 'ID,"B",A'
    assert (form.newline, form.bom) == (newline, bom)


def test_columns_are_as_written_there_also_where_they_are_decomposed(tmp_path: Path) -> None:
    _classes(tmp_path, NFC, "B")
    _photos(tmp_path, "test/T0.jpg")
    _write(tmp_path / "sample_submission.csv", f"ID,{NFD},B\nT0,0,0\n")
    form = read_dataset(tmp_path).submission
    assert form is not None
    assert form.columns == (NFD, "B")
    assert form.column_classes == (0, 1)


def test_without_a_sample_the_form_has_a_column_per_class_quoted_where_necessary(tmp_path: Path) -> None:
    _classes(tmp_path, "B", "A, long")
    _photos(tmp_path, "test/T0.jpg")
    form = read_dataset(tmp_path).submission
    assert form is not None
    assert form.header == 'ID,"A, long",B'
    assert form.column_classes == (0, 1)
    assert form.ids == ("T0",)


def test_ids_that_differ_between_test_and_sample_are_shown(contest: Path) -> None:
    _write(contest / "sample_submission.csv", "ID,B,A\nT0,0,0\nT9,0,0\n")
    with pytest.raises(DataError, match=r"1 of the sample .*`T9`.* 1 test photos .*`T1`"):
        read_dataset(contest)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test.csv", "ID,img_path\nT0,test/T0.jpg\nT0,test/T1.jpg\n"),
        ("sample_submission.csv", "ID,B,A\nT0,0,0\nT0,0,0\nT1,0,0\n"),
    ],
)
def test_an_id_that_occurs_twice_is_an_error(contest: Path, name: str, text: str) -> None:
    _write(contest / name, text)
    with pytest.raises(DataError, match=f"{name} lists the same id more than once: `T0`"):
        read_dataset(contest)


def test_a_line_with_too_few_cells_is_an_error_with_its_number(contest: Path) -> None:
    _write(contest / "test.csv", "ID,img_path\n\nT0,test/T0.jpg\nT1\n")
    with pytest.raises(DataError, match=r"Line 4 of .*test.csv has 1 cells"):
        read_dataset(contest)


def test_a_header_with_a_line_end_in_a_quoted_name_is_kept_whole(tmp_path: Path) -> None:
    _write(tmp_path / "a.csv", 'ID,"two\nlines"\n1,2\n')
    table = read_table(tmp_path / "a.csv")
    assert table.header == 'ID,"two\nlines"'
    assert table.columns == ("ID", "two\nlines")


# ---- the record -----------------------------------------------------------------------------------------------------


def test_a_saved_data_set_is_loaded_exactly(contest: Path, tmp_path: Path) -> None:
    _classes(contest, NFD)
    _write(contest / "sample_submission.csv", f"ID,B,A,{NFC}\r\nT1,0,0,0\r\nT0,0,0,0\r\n", bom=True)
    dataset = read_dataset(contest)
    save_dataset(dataset, tmp_path / "dataset.json")
    assert load_dataset(tmp_path / "dataset.json") == dataset


@pytest.mark.parametrize("content", [None, "", "{}", "[1]"])
def test_a_missing_or_damaged_data_set_is_an_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=r"missing|damaged"):
        load_dataset(tmp_path / "dataset.json")


def test_dropped_rows_are_gone_and_the_classes_stay(contest: Path) -> None:
    dataset = without(read_dataset(contest), [0, 3])
    assert dataset.train_paths == ("train/A/1.jpg", "train/B/0.jpg")
    assert dataset.labels == (1, 0)
    assert dataset.class_names == ("B", "A")
    with pytest.raises(DataError, match="fewer than 2"):
        check_classes(dataset)
