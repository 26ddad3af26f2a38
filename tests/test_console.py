from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from optuna.trial import TrialState

from automl_car.console import Lines, describe_recipe, duration, logger, start_logging
from automl_car.fold_records import NO_FOLD, Epoch, FoldResult, FoldTask, Machine, Progress
from automl_car.records import Recipe
from automl_car.search.job import Outcome

HEAD = Recipe("lite0", tuning="head", image_size=224, learning_rate=5e-4, shrinkage=0.3, power=0.5)
FULL = Recipe("lite0", augmentation="light", tuning="full", image_size=160, learning_rate=1.25e-3, epochs=12)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Writes to a log that `caplog` sees."""
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level(logging.INFO, logger=logger.name):
        yield Lines()


@pytest.fixture
def _log_is_closed() -> Iterator[None]:
    yield
    for handler in logger.handlers:
        handler.close()
    logger.handlers = []
    logger.propagate = True


def result(fold: int, log_loss: float) -> FoldResult:
    return FoldResult("abc", fold, "finished", log_loss, log_loss, 1.0, (), 12.34)


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_head_is_described_by_what_matters_for_a_head() -> None:
    assert describe_recipe(HEAD) == "lite0, 224 px, head, lr 0.0005, shrinkage 0.30, power 0.50"


def test_fine_tuning_is_described_by_what_matters_for_fine_tuning() -> None:
    assert describe_recipe(FULL) == "lite0, 160 px, full, lr 0.0013, light, 12 epochs"


# ---- plain lines ----------------------------------------------------------------------------------------------------


def test_a_search_is_told_line_by_line(lines: Lines, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    task = FoldTask(FULL, "abc", 0, tmp_path, tmp_path)
    with lines:
        lines.search_begins("main", 50, None, Machine("cpu", "a CPU", 2))
        lines.note("12 photos are left out")
        lines.trial_began(3, FULL)
        lines.fold_began(3, 0)
        lines.trained(task, Epoch(1, 12, 2.0, 1.5, 3.0))
        lines.fold_ended(3, result(0, 0.7), stored=False)
        lines.fold_ended(3, result(1, 0.8), stored=True)
        lines.trial_ended(3, Outcome(TrialState.COMPLETE, 0.75))
        lines.trial_ended(4, Outcome(TrialState.PRUNED, reason="it is worse"))
        lines.trial_ended(5, Outcome(TrialState.FAIL, reason="a bug"))
        lines.trial_ended(6, Outcome(TrialState.FAIL, reason="the time is up", interrupted=True))
    assert caplog.messages == [
        "study main: up to 50 trials on a CPU (2 cores)",
        "12 photos are left out",
        "trial 3: lite0, 160 px, full, lr 0.0013, light, 12 epochs",
        "  fold 0 epoch 1 of 12: log loss 1.5000",
        "  trial 3 fold 0: log loss 0.7000 (12.3 s)",
        "  trial 3 fold 1: log loss 0.8000 (from the fold store)",
        "trial 3 complete: log loss 0.7500",
        "trial 4 pruned: it is worse",
        "trial 5 failed: a bug",
        "trial 6 not finished: the time is up",
    ]


def test_a_deadline_is_told_as_the_time_of_day(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    lines.search_begins("main", 5, time.monotonic() + 3600, Machine("cpu", "a CPU", 2))
    (message,) = caplog.messages
    possible = [f"{datetime.now() + timedelta(hours=1, seconds=off):%H:%M:%S}" for off in (-2, -1, 0, 1)]
    assert message in [f"study main: up to 5 trials on a CPU (2 cores), until {moment}" for moment in possible]


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_is_told_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = start_logging(tmp_path, "main", to_terminal=True)
    (file,) = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    file.stream.close()
    file.stream = Full()
    for number in range(3):
        logger.info("line %d", number)
    logger.handlers = []
    told = capsys.readouterr().err.splitlines()
    assert told.count(f"the log {path} ends here: [Errno 28] No space left on device") == 1
    assert [line for line in told if line.startswith("line")] == ["line 0", "line 1", "line 2"]


def test_a_refit_tells_its_training_loss_as_it_has_no_other(
    lines: Lines, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    task = FoldTask(Recipe("lite0"), "abc", NO_FOLD, tmp_path, tmp_path, test_fold=2)
    lines.trained(task, Epoch(1, 12, 2.0, float("nan"), 1.0))
    assert caplog.messages == ["  refit without fold 2 epoch 1 of 12: training loss 2.0000"]


def test_an_epoch_is_told_with_its_trial_where_several_are_in_flight(
    lines: Lines, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    lines.trained(FoldTask(FULL, "abc", 2, tmp_path, tmp_path, trial=7), Epoch(1, 12, 2.0, 1.5, 3.0))
    assert caplog.messages == ["  trial 7 fold 2 epoch 1 of 12: log loss 1.5000"]


def test_the_epochs_of_a_head_are_too_short_to_tell(
    lines: Lines, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    lines.trained(FoldTask(HEAD, "abc", 0, tmp_path, tmp_path), Epoch(1, 10, 2.0, 1.5, 0.1))
    assert caplog.messages == []


def test_progress_is_told_every_ten_seconds_and_at_the_end(
    lines: Lines, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = iter([100.0, 101.0, 109.9, 110.1, 110.2])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    for done in (1, 2, 3, 4):
        lines.progress("reading photos", done, 5)
    lines.trained(FoldTask(HEAD, "abc", 0, tmp_path, tmp_path), Progress("reading photos", 5, 5))
    # 4 took 10.1 s, so the fifth takes a quarter of that.
    told = ["reading photos: 1 of 5", "reading photos: 4 of 5, about 3 s left", "reading photos: 5 of 5"]
    assert caplog.messages == told


def test_the_time_left_is_that_of_each_piece_of_work_though_they_take_turns(
    lines: Lines, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 120.0, 140.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    lines.progress("features of a", 1, 5)
    lines.progress("features of b", 1, 5)
    lines.progress("features of a", 2, 5)  # 40 s for two
    assert caplog.messages[-1] == "features of a: 2 of 5, about 1 min 00 s left"


# ---- the log file ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_log_is_closed")
def test_the_log_goes_to_a_new_file_of_the_studys_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = start_logging(tmp_path / "logs", "차종", to_terminal=False)
    Lines().note("12장의 사진")
    assert path.parent == tmp_path / "logs"
    assert path.name.endswith("-차종.log")
    assert path.read_text(encoding="utf-8").endswith("INFO 12장의 사진\n")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("_log_is_closed")
def test_without_a_terminal_picture_the_log_goes_to_stderr_as_well_and_never_to_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start_logging(tmp_path, "main", to_terminal=True)
    Lines().note("hello")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "hello\n")


@pytest.mark.usefixtures("_log_is_closed")
def test_a_second_search_of_one_process_does_not_write_to_the_log_of_the_first(tmp_path: Path) -> None:
    first = start_logging(tmp_path, "first", to_terminal=False)
    second = start_logging(tmp_path, "second", to_terminal=False)
    Lines().note("hello")
    assert first.read_text() == ""
    assert "hello" in second.read_text()
