"""The page and the tables behind it, on a report of three photos."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from automl_car.ensemble.reliability import Reliability
from automl_car.report import losses
from automl_car.report.labels import Suspect, Suspects
from automl_car.report.loss_report import Cells, LossReport, tables, to_json
from automl_car.report.loss_tables import print_losses
from automl_car.report.page import loss_page, markdown_table

NAMES = ("a|b", "<i>c</i>")
ANSWERS = losses.judge(
    NAMES, ("1.jpg", "2.jpg", "3.jpg"), np.array([0, 0, 1]), np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]])
)
REPORT = LossReport(
    study="main",
    headline=losses.headline(ANSWERS, 0.1),
    confusions=losses.confusions(ANSWERS),
    hard_photos=losses.hard_photos(ANSWERS),
    classes=losses.class_losses(ANSWERS),
    aliases=(),
    suspects=Suspects((Suspect(1, "2.jpg", "a|b", "<i>c</i>", 0.6, 0.4, flagged=False),), 0, 0.4),
    duplicates=(),
    before=Reliability(np.array([10]), np.array([0.7]), np.array([0.5])),
    after=Reliability(np.array([10]), np.array([0.6]), np.array([0.5])),
)


def page(report: LossReport = REPORT) -> str:
    return loss_page(report, "studies/main/report", ("hard_photos.jpg",))


def test_names_with_marks_of_markdown_stay_in_their_cells() -> None:
    (row,) = [line for line in page().splitlines() if line.startswith("| 1 | 2.jpg")]
    assert row == r"| 1 | 2.jpg | a\|b | \<i\>c\</i\> | 0.6000 | 0.4000 | no |"


def test_numbers_are_on_the_right_and_shares_in_percent() -> None:
    table = markdown_table(Cells(("name", "photos", "share"), (("x", 3, 0.1234), ("y", 1, None))))
    assert table.splitlines() == [
        "| name | photos | share |",
        "| --- | ---: | ---: |",
        "| x | 3 | 12.3 % |",
        "| y | 1 |  |",
    ]


def test_only_pictures_that_are_there_are_shown() -> None:
    assert "(hard_photos.jpg)" in page()
    assert "(suspects.jpg)" not in page()


def test_a_table_without_rows_says_so() -> None:
    assert "## The same picture under two labels\n\nNone were found." in page()


def test_a_partial_ensemble_and_notes_are_told() -> None:
    told = page(dataclasses.replace(REPORT, partial="trial 1 has 2 of 4 folds", notes=("no font",)))
    assert "- Trial 1 has 2 of 4 folds." in told
    assert "> No font." in told


@pytest.mark.parametrize(("flagged", "warned"), [(0, False), (1, True)])
def test_many_flags_are_taken_for_a_weak_ensemble(flagged: int, warned: bool) -> None:
    suspects = dataclasses.replace(REPORT.suspects, flagged=flagged)
    assert ("So many are seldom wrong" in page(dataclasses.replace(REPORT, suspects=suspects))) is warned


def test_aliases_have_a_table_only_where_there_are_some() -> None:
    assert "aliases" not in tables(REPORT)
    some = losses.alias_losses(ANSWERS, ["x", "y", "z"], {"x": "y"})
    assert len(tables(dataclasses.replace(REPORT, aliases=some))["aliases"].rows) == 1


def test_the_report_is_plain_json_with_the_first_rows_of_each_table() -> None:
    told = json.loads(json.dumps(to_json(REPORT)))
    assert told["log_loss"] == pytest.approx(-np.log([0.8, 0.4, 0.9]).mean())
    assert told["tables"]["suspects"][0]["path"] == "2.jpg"
    assert told["tables"]["near_duplicates"] == []


def test_a_terminal_gets_the_sentences_and_the_filled_tables(capsys: pytest.CaptureFixture[str]) -> None:
    print_losses(REPORT, ())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Log loss 0.4149 ± 0.1960 (95 %) out of fold, of 3 photos of 2 classes")
    assert "suspects, 1 of 1:" in lines
    assert not [line for line in lines if line.startswith("near duplicates")]
