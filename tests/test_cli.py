"""The command line as a person meets it: what is printed where, and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from automl_car import __version__, cli
from automl_car.config import Config
from automl_car.errors import StudyError
from automl_car.workspace import Workspace

HEAVY = ("torch", "timm", "albumentations", "sklearn", "scipy", "pandas", "optuna", "cv2", "matplotlib", "cleanlab")
SHOW_MODULES = """
import atexit, sys
atexit.register(lambda: print("modules:", *sys.modules, file=sys.stderr))
from automl_car.cli import main
main()
"""
PLUGIN = """
from automl_car import Backbone, hookimpl
@hookimpl
def register_backbones():
    return [Backbone("NAME", dict)]
"""


class Command:
    """Runs the command line in this process, in an empty folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        self._monkeypatch.setattr(sys, "argv", ["automl-car", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        told = self._capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, told.out, told.err

    def fails(self, *arguments: str) -> str:
        """The message of the one error that these arguments are refused with."""
        code, out, err = self(*arguments)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        return line.removeprefix("error: ")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.excepthook", sys.excepthook)  # the command line sets its own
    return Command(monkeypatch, capsys)


def in_a_process(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SHOW_MODULES, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)


# ---- starting in a blink --------------------------------------------------------------------------------------------

QUICK = (["--help"], ["plugins"], ["plugins", "list", "--json"], ["init", "--help"], ["--version"])


@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_a_quick_command_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    (line,) = [line for line in in_a_process(*arguments, folder=tmp_path).stderr.splitlines() if "modules:" in line]
    imported = {name.partition(".")[0] for name in line.split()}
    assert "automl_car" in imported
    assert sorted(imported & set(HEAVY)) == []


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["plugins"]], ids=" ".join)
def test_a_quick_command_answers_within_half_a_second(arguments: list[str], tmp_path: Path) -> None:
    def seconds() -> float:
        began = time.perf_counter()
        in_a_process(*arguments, folder=tmp_path)
        return time.perf_counter() - began

    assert min(seconds() for _ in range(3)) < 0.5


# ---- exit codes -----------------------------------------------------------------------------------------------------


def test_the_version_is_printed_alone(run: Command) -> None:
    assert run("--version") == (0, f"{__version__}\n", "")


def test_every_command_has_a_help_line_that_is_not_cut(run: Command) -> None:
    code, out, _ = run("--help")
    assert code == 0
    commands = out.partition("Commands:")[2].strip().splitlines()
    assert len(commands) >= 8
    assert [line for line in commands if line.endswith("...")] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nope"], "No such option: --nope"),
        (["serach"], "No such command 'serach'"),
        (["search", "--trials", "many"], "Invalid value for '--trials'"),
        (["score"], "Missing argument"),
    ],
)
def test_a_wrong_option_is_told_with_the_usage_and_no_traceback(
    arguments: list[str], message: str, run: Command
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Usage: " in err
    assert "Traceback" not in err


def test_a_bug_shows_its_traceback_and_gives_1(tmp_path: Path) -> None:
    program = (
        "import automl_car.config, automl_car.cli\n"
        "def broken(*_): raise RuntimeError('a bug')\n"
        "automl_car.config.load_config = broken\n"
        "automl_car.cli.main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, "plugins"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "Traceback (most recent call last)" in ended.stderr
    assert ended.stderr.splitlines()[-1] == "RuntimeError: a bug"


def test_ctrl_c_gives_130_and_says_how_to_go_on(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("automl_car.config.load_config", interrupted)
    code, _, err = run("search")
    assert code == 130
    assert err.strip() == "stopped; what is finished is kept: run the same command again to go on from here"
    assert run("plugins") == (130, "", "stopped\n")  # there is nothing to go on from


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(28, "No space left on device", "logs/a.log"),
            "`logs/a.log` cannot be written: No space left on device.",
        ),
        (
            PermissionError(13, "Permission denied", "automl-car.yaml"),
            "`automl-car.yaml` cannot be used: Permission denied.",
        ),
        (OSError(24, "Too many open files", "a.csv"), "`a.csv` cannot be written: Too many open files."),
        (MemoryError(), "The memory of this machine does not suffice."),
    ],
    ids=["full disk", "no right", "open files", "memory"],
)
def test_what_the_machine_refuses_is_one_line_and_gives_2(
    error: Exception, words: str, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise error

    monkeypatch.setattr("automl_car.config.load_config", refused)
    assert run.fails("plugins") == words


@pytest.mark.skipif(os.name == "nt", reason="pipes break in other ways on Windows")
@pytest.mark.parametrize("arguments", [["--version"], ["plugins"], ["plugins", "list", "--json"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_gets_no_traceback(arguments: list[str], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", "from automl_car.cli import main; main()", *arguments]
    ended = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert ended.stderr == ""


# ---- mistakes in the input ------------------------------------------------------------------------------------------


def test_an_unknown_study_is_named(run: Command) -> None:
    assert "There is no study `nope`" in run.fails("studies", "show", "nope")


@pytest.mark.parametrize("command", [["ensemble"], ["studies", "show"]], ids=" ".join)
def test_without_any_study_the_error_says_how_to_make_one(command: list[str], run: Command) -> None:
    assert "There is no study in `studies`" in run.fails(*command)


def test_without_any_bundle_the_error_says_there_is_none(run: Command) -> None:
    Path("photo.jpg").touch()
    assert run.fails("predict", "photo.jpg") == "There is no bundle in `bundles`."


def test_a_bad_settings_file_is_told_with_its_lines(run: Command) -> None:
    Path("automl-car.yaml").write_text("search:\n  trails: 3\n")
    expected = "`automl-car.yaml` line 2: unknown setting `search.trails`. Did you mean `search.trials`?"
    assert run.fails("plugins") == expected


def test_a_settings_file_that_is_named_must_be_there(run: Command) -> None:
    assert "`other.yaml` cannot be read: No such file" in run.fails("plugins", "list", "--config", "other.yaml")


def test_a_bad_time_limit_is_told_with_examples(run: Command) -> None:
    message = run.fails("search", "--timeout", "soon")
    assert message.startswith("command line: --timeout `soon` is wrong: write a duration such as 90s, 30m")


def test_patience_is_a_whole_number(run: Command) -> None:
    message = run.fails("search", "--patience", "-1")
    assert message.startswith("command line: --patience `-1` is wrong: ")


@pytest.mark.parametrize("given", [{}, {"--patience": "7", "--warm-start": "old"}, {"--warm-start": "../old.db"}])
def test_patience_and_the_study_to_begin_with_reach_the_search(
    given: dict[str, str], run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reached = []

    def search(workspace: Workspace, config: Config, **_: object) -> None:
        reached.append(config.search)
        raise StudyError("seen enough")

    monkeypatch.setattr("automl_car.pipeline.search", search)
    run.fails("search", "--workspace", "elsewhere", *(word for option in given.items() for word in option))
    named = {None: None, "old": "old", "../old.db": str(tmp_path.parent / "old.db")}  # a path begins where one stands
    assert reached[0].patience == int(given.get("--patience", 0))
    assert reached[0].warm_start == named[given.get("--warm-start")]


def test_an_unknown_backbone_is_told_with_the_near_name(run: Command) -> None:
    message = run.fails("search", "--backbone", "efficientnet_lite9")
    assert message.startswith("Unknown backbone `efficientnet_lite9`. Did you mean `efficientnet_lite")


def test_a_broken_plugin_stops_a_search_before_anything_is_trained(run: Command) -> None:
    Path("plugins").mkdir()
    Path("plugins/mine.py").write_text("raise ValueError('out of paint')")
    assert "1 plugin(s) cannot be loaded" in run.fails("search")


def test_missing_data_are_named_with_a_way_out(run: Command) -> None:
    code, _, err = run("search", "--data", "nowhere", "--tuning", "head")
    assert code == 2
    assert "nowhere" in err
    assert "--sample" in err
    assert "Traceback" not in err


# ---- commands that only look ----------------------------------------------------------------------------------------


def test_plugins_are_listed_without_a_subcommand(run: Command) -> None:
    code, out, err = run("plugins")
    assert (code, err) == (0, "")
    assert "efficientnet_lite0" in out


def test_a_plugin_of_the_workspace_and_one_from_a_file_are_listed(run: Command) -> None:
    Path("plugins").mkdir()
    Path("plugins/here.py").write_text(PLUGIN.replace("NAME", "here_net"))
    Path("there.py").write_text(PLUGIN.replace("NAME", "there_net"))
    code, out, _ = run("plugins", "list", "--json", "--plugin", "there.py")
    assert code == 0
    assert {"here_net", "there_net"} <= {entry["name"] for entry in json.loads(out)["backbones"]}


def test_a_broken_plugin_is_listed_and_is_no_failure_of_the_list(run: Command) -> None:
    Path("plugins").mkdir()
    Path("plugins/mine.py").write_text("raise ValueError('out of paint')")
    code, out, _ = run("plugins")
    assert code == 0
    assert "plugin `mine` is broken: ValueError: out of paint" in out


def test_an_empty_folder_has_no_studies(run: Command) -> None:
    assert run("studies", "list", "--json") == (0, "[]\n", "")
    assert run("studies")[0] == 0


# ---- beginning and scoring ------------------------------------------------------------------------------------------


def test_init_makes_a_workspace_that_the_other_commands_accept(run: Command) -> None:
    code, out, err = run("init", "cars")
    assert code == 0
    assert str(Path("cars/automl-car.yaml")) in out.splitlines()
    assert "automl-car search" in err
    assert run("plugins", "list", "--workspace", "cars")[0] == 0


def test_init_does_not_overwrite_settings(run: Command) -> None:
    run("init", "cars")
    assert "is there already" in run.fails("init", "cars")


def test_a_submission_is_scored(run: Command) -> None:
    Path("submission.csv").write_text("ID,coupe,van\na,0.5,0.5\nb,0.25,0.75\n")
    Path("labels.csv").write_text("ID,label\na,coupe\nb,van\n")
    # By hand: -(ln 0.5 + ln 0.75) / 2 = 0.490415; `a` is a tie, which the first column wins.
    assert run("score", "submission.csv", "labels.csv") == (0, "log loss 0.4904, accuracy 1.0000, 2 rows\n", "")
    code, out, _ = run("score", "submission.csv", "labels.csv", "--json")
    assert code == 0
    assert json.loads(out) == {"log_loss": pytest.approx(0.490415, abs=1e-6), "accuracy": 1, "rows": 2, "classes": 2}


def test_a_submission_that_is_not_there_is_named(run: Command) -> None:
    Path("labels.csv").write_text("ID,label\na,coupe\n")
    assert "nowhere.csv" in run.fails("score", "nowhere.csv", "labels.csv")


# ---- prediction files -----------------------------------------------------------------------------------------------


def write_predictions(folder: Path) -> None:
    folder.mkdir()
    (folder / "one.csv").write_text("ID,coupe,van\na,0.5,0.5\nb,0.25,0.75\n")
    (folder / "two.csv").write_text("ID,van,coupe\nb,0.25,0.75\na,0.5,0.5\n")


def test_prediction_files_are_blended_into_the_current_folder(run: Command) -> None:
    write_predictions(Path("files"))
    code, out, err = run("blend", "files")
    assert code == 0
    assert out.splitlines()[-1] == "blend: blend.csv"
    assert "two.csv: the rows have another order" in err
    assert Path("blend.csv").read_text().splitlines()[2] == "b,0.5,0.5"


def test_a_blend_as_json_is_all_that_is_on_stdout(run: Command) -> None:
    write_predictions(Path("files"))
    code, out, _ = run("blend", "files", "--weights", "one=3,two=1", "--output", "new/b.csv", "--json")
    assert code == 0
    assert json.loads(out)["weights"] == {"one": 0.75, "two": 0.25}
    assert Path("new/b.csv").is_file()


def test_a_blend_among_its_own_inputs_is_refused(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    write_predictions(Path("files"))
    monkeypatch.chdir("files")
    assert "would lie among the predictions" in run.fails("blend", ".")


@pytest.mark.parametrize("option", [["--pool", "mean"], ["--weights", "three=1"], ["--labels", "nowhere.csv"]])
def test_a_wrong_option_of_a_blend_is_named(option: list[str], run: Command) -> None:
    write_predictions(Path("files"))
    for name in ("one", "two"):
        Path(f"files/{name}.oof.csv").write_text("ID,coupe,van\nc,0.5,0.5\nd,0.25,0.75\n")
    assert option[1].removesuffix("=1") in run.fails("blend", "files", *option)


def test_prediction_files_are_analyzed(run: Command) -> None:
    write_predictions(Path("files"))
    code, out, err = run("analyze", "files/one.csv", "files/two.csv")
    assert code == 0
    assert "Confidence is no measure of quality" in out
    assert "another order" in err
    assert Path("analysis/agreement.png").is_file()


def test_an_analysis_as_json_is_all_that_is_on_stdout(run: Command) -> None:
    write_predictions(Path("files"))
    Path("labels.csv").write_text("ID,label\na,coupe\nb,van\n")
    code, out, err = run("analyze", "files/one.csv", "--labels", "labels.csv", "--output", "seen", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["files"][0]["log_loss"] == pytest.approx(0.490415, abs=1e-6)
    assert Path("seen/reliability.png").is_file()


def test_a_prediction_file_that_is_not_there_is_named(run: Command) -> None:
    assert "nowhere.csv cannot be read" in run.fails("analyze", "nowhere.csv")
    assert "`nowhere` is no folder" in run.fails("blend", "nowhere")


def test_sample_data_is_drawn_where_it_is_asked_for(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from automl_car.data import sample

    drawn = []

    def draw(directory: Path, *, seed: int, workers: int) -> sample.SampleSummary:
        drawn.append((directory, seed))
        return sample.SampleSummary(directory, ("coupe", "van"), 20, 10)

    monkeypatch.setattr(sample, "write_sample", draw)
    assert run("sample-data", "cars", "--seed", "3") == (0, "cars\n", "20 train and 10 test photos of 2 models\n")
    assert drawn == [(Path("cars"), 3)]


# ---- config ---------------------------------------------------------------------------------------------------------


def test_the_settings_are_shown_with_their_lines(run: Command) -> None:
    Path("automl-car.yaml").write_text("search:\n  trials: 7\n")
    code, out, _ = run("config", "show", "--changed", "--json")
    (row,) = json.loads(out)
    assert code == 0
    assert (row["setting"], row["value"], row["default"], row["line"]) == ("search.trials", 7, 50, 2)


def test_the_schema_is_all_that_is_on_stdout(run: Command) -> None:
    code, out, _ = run("config", "schema")
    assert code == 0
    assert json.loads(out)["title"] == "Settings of automl-car"
