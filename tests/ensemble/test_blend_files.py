"""Which files of a folder are taken for what, and where a blend may not be written to."""

import pytest

from automl_car.ensemble.blend_files import find_files, refuse_inside
from automl_car.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    directory = tmp_path / "predictions"
    (directory / "oof").mkdir(parents=True)
    return directory


def put(folder, *names):
    for name in names:
        (folder / name).write_text("ID,a\nx,1\n")


def test_every_csv_file_is_a_prediction_but_labels_and_out_of_fold_files(folder):
    put(folder, "b.csv", "a.csv", "labels.csv", "a.oof.csv", "oof/b.csv", "notes.txt", "._a.csv", "A.CSV")
    files = find_files(folder, None, pytest.fail)
    assert list(files.predictions) == ["A", "a", "b"]
    assert files.companions == {"a": folder / "a.oof.csv", "b": folder / "oof" / "b.csv"}
    assert files.labels == folder / "labels.csv"


def test_labels_of_another_name_are_no_prediction_either(folder):
    put(folder, "a.csv", "truth.csv")
    files = find_files(folder, folder / "truth.csv", pytest.fail)
    assert list(files.predictions) == ["a"]
    assert files.labels == folder / "truth.csv"


def test_without_companions_and_labels_there_are_none(folder):
    put(folder, "a.csv")
    files = find_files(folder, None, pytest.fail)
    assert (files.companions, files.labels) == ({}, None)


def test_out_of_fold_files_without_predictions_are_told(folder):
    notes = []
    put(folder, "a.csv", "old.oof.csv", "oof/older.csv")
    assert find_files(folder, None, notes.append).companions == {}
    assert "old.oof.csv" in notes[0]
    assert "older.csv" in notes[0]


def test_two_out_of_fold_files_of_one_name_are_refused(folder):
    put(folder, "a.csv", "a.oof.csv", "oof/a.csv")
    with pytest.raises(DataError, match="two out-of-fold files of a"):
        find_files(folder, None, print)


def test_a_folder_without_predictions_is_refused(folder):
    put(folder, "labels.csv", "a.oof.csv")
    with pytest.raises(DataError, match="holds no prediction file"):
        find_files(folder, None, print)


@pytest.mark.parametrize("name", ["nowhere", "a.csv"])
def test_what_is_no_folder_is_refused(folder, name):
    put(folder, "a.csv")
    with pytest.raises(DataError, match="is no folder"):
        find_files(folder / name, None, print)


@pytest.mark.parametrize("name", ["blend.csv", "oof/blend.csv", "oof/../blend.csv"])
def test_an_output_among_the_predictions_is_refused(folder, name):
    with pytest.raises(ConfigError, match="would lie among the predictions"):
        refuse_inside(folder / name, folder)


def test_an_output_elsewhere_is_fine_and_a_folder_is_none(folder):
    refuse_inside(folder / "new" / "blend.csv", folder)
    with pytest.raises(ConfigError, match="is a folder"):
        refuse_inside(folder.parent, folder)
