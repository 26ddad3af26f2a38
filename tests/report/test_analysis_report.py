"""What an analysis leaves: tables on the screen, sheets, and pictures without a warning."""

import csv
import io
import json
import logging
import struct

import numpy as np
import pytest

from automl_car.ensemble.analysis import Analysis, Judged
from automl_car.ensemble.confidence import compare, measure_confidence
from automl_car.ensemble.reliability import measure_reliability
from automl_car.ensemble.scorer import Score
from automl_car.errors import ConfigError
from automl_car.report.confidence import ADVICE, analysis_json, print_analysis
from automl_car.report.confidence_files import write_analysis
from automl_car.report.confidence_plots import draw

CLASSES = ("=쏘나타", "K5", "van")
ONE = np.array([[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.995, 0.0025, 0.0025], [0.1, 0.6, 0.3]])
TWO = np.array([[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]])
IDS = ("T0", "T1", "-T2", "T3")


def analysis(*names, labelled=False):
    rows = [ONE, TWO][: len(names)]
    files = tuple(measure_confidence(name, CLASSES, values) for name, values in zip(names, rows, strict=True))
    judged = Judged(
        Score(0.5, 4, 3, 0.75), measure_reliability(files[0].confidence, np.array([True, True, False, True]))
    )
    return Analysis(IDS, files, compare(rows) if len(rows) > 1 else None, (judged,) * len(names) * labelled)


def cells(line):
    return line.split()


# ---- tables ---------------------------------------------------------------------------------------------------------


def test_each_file_has_a_line_of_numbers(capsys):
    print_analysis(analysis("one"), ())
    out = capsys.readouterr().out.splitlines()
    # Above 0.8 are two of four rows, above 0.99 one; the median of 0.6, 0.7, 0.9 and 0.995 is 0.8.
    assert out[0] == "4 rows, 3 classes"
    assert cells(out[2])[:5] == ["one", "50.0%", "1", "0.7988", "0.8000"]
    assert cells(out[2])[-1] == "1"
    assert [cells(line) for line in out if line.startswith("=쏘나타")] == [["=쏘나타", "2", "2.2"]]


def test_the_advice_stands_below_the_numbers(capsys):
    print_analysis(analysis("one"), ())
    assert ADVICE in capsys.readouterr().out
    assert "no measure of quality" in ADVICE
    assert "automl-car score" in ADVICE


def test_two_files_are_compared_and_one_is_not(capsys):
    print_analysis(analysis("one"), ())
    assert "same class on top" not in capsys.readouterr().out
    print_analysis(analysis("one", "two"), ())
    out = capsys.readouterr().out.splitlines()
    (start,) = [index for index, line in enumerate(out) if line.startswith("same class on top")]
    assert cells(out[start + 1]) == ["one", "1.000", "0.500"]


def test_labels_add_what_the_files_are_worth(capsys):
    print_analysis(analysis("one", labelled=True), ())
    out = capsys.readouterr().out.splitlines()
    (start,) = [index for index, line in enumerate(out) if line.startswith("against the labels")]
    assert cells(out[start + 1])[:3] == ["one", "0.5000", "0.7500"]


def test_an_analysis_as_json_holds_the_same_numbers(tmp_path):
    shown = json.loads(json.dumps(analysis_json(analysis("one", "two", labelled=True), (tmp_path / "classes.csv",))))
    first = shown["files"][0]
    assert (first["name"], first["share_confident"], first["near_certain"]) == ("one", 0.5, 1)
    assert first["never_predicted"] == ["van"]
    assert first["most_predicted"][0] == {"class": "=쏘나타", "rows": 2, "expected": pytest.approx(2.195)}
    assert (first["log_loss"], first["accuracy"]) == (0.5, 0.75)
    assert shown["agreement"] == [[1, 0.5], [0.5, 1]]
    assert shown["written"] == [str(tmp_path / "classes.csv")]


# ---- files ----------------------------------------------------------------------------------------------------------


def read(path):
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """All files of two files with labels, in a folder that was not there."""
    return write_analysis(tmp_path_factory.mktemp("new") / "runs" / "analysis", analysis("one", "two", labelled=True))


def test_every_class_is_a_row_of_the_sheet_and_no_name_is_a_formula(written):
    rows = read(written[0].with_name("classes.csv"))
    assert rows[0] == ["class", "one predicted", "one expected", "two predicted", "two expected"]
    assert rows[1] == ["'=쏘나타", "2", "2.195", "1", "1.3"]
    assert len(rows) == 4


def test_the_rows_in_which_files_differ_most_come_first_with_what_each_says(written):
    rows = read(written[0].with_name("disagreements.csv"))
    assert rows[0][:2] == ["ID", "mean total variation distance"]
    assert rows[0][2:] == ["one class", "one confidence", "two class", "two confidence"]
    assert rows[1] == ["'-T2", "0.9975", "'=쏘나타", "0.995", "K5", "1"]
    assert [row[0] for row in rows[1:]] == ["'-T2", "T3", "T0", "T1"]


ALWAYS = {"classes.csv", "confidence.png", "entropy.png", "classes.png"}


def test_the_files_that_are_named_are_those_that_are_there(written):
    assert {path.name for path in written} == ALWAYS | {"disagreements.csv", "agreement.png", "reliability.png"}
    assert set(written) == set(written[0].parent.iterdir())


def test_one_file_without_labels_has_fewer(tmp_path):
    assert {path.name for path in write_analysis(tmp_path, analysis("one"))} == ALWAYS


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match="cannot be written to"):
        write_analysis(tmp_path / "file", analysis("one"))


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_pictures_are_pngs_of_a_size_that_can_be_read(written):
    pictures = [path.read_bytes() for path in written if path.suffix == ".png"]
    assert len(pictures) == 5
    for picture in pictures:
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", picture[16:24])
        assert 500 <= width <= 1500
        assert 500 <= height <= 1500


@pytest.mark.parametrize("names", [("쏘나타", "_hidden"), ("$x^2", "日" * 300)])
def test_names_that_fonts_lack_or_plots_misread_cause_no_warning(names, caplog):  # warnings are errors here
    with caplog.at_level(logging.DEBUG):
        draw(analysis(*names))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_same_numbers_give_the_same_pictures(written):
    for name, picture in draw(analysis("one", "two", labelled=True)).items():
        assert picture == written[0].with_name(name).read_bytes()


def test_drawing_changes_no_setting_of_matplotlib():
    import matplotlib

    matplotlib.rcParams["axes.grid"] = True
    try:
        draw(analysis("one"))
        assert matplotlib.rcParams["axes.grid"] is True
    finally:
        matplotlib.rcdefaults()
