"""The report of a study from end to end; the photos and folds are real files, their logits made up."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from PIL import Image

from automl_car import cli, pipeline
from automl_car.config import Config
from automl_car.data.index import read_dataset
from automl_car.data.prepare import Prepared, prepare
from automl_car.errors import ConfigError, StudyError
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.pipeline.reading import read_photos
from automl_car.records import Recipe
from automl_car.search.evidence import FOLD_LOSSES
from automl_car.search.study import INTERRUPTED, connect
from automl_car.store import FoldLogits, write_fold
from automl_car.workspace import Workspace

FOLDS = (0, 1, 2)
Drawn = tuple["Study", tuple[Path, ...]]
WRONG = ("train/van/03.jpg", "train/coupe/07.jpg")  # photos that the made-up network takes for the class before
TABLES = {"confusions.csv", "hard_photos.csv", "suspects.csv", "near_duplicates.csv", "classes.csv"}
PICTURES = {"timeline.png", "reliability.png", "hard_photos.jpg", "suspects.jpg"}
PAGES = {"report.md", "report.html"}


class Study:
    """A study of the photos in data/, to which trials are added one by one."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.workspace = Workspace(root)
        self.store = self.workspace.checkpoints("main")
        aliases = settings.get("class_aliases")
        self.prepared: Prepared = prepare(
            read_dataset(root / "data", class_aliases=aliases),
            cache_directory=self.workspace.cache,
            study_directory=self.store,
            short_side=32,
            folds=3,
            seed=0,
        )
        self.optuna = optuna.create_study(study_name="main", storage=connect(f"sqlite:///{root}/studies/main.db"))
        self.optuna.set_user_attr("settings", {"data": {"train": "train", **settings}})

    def add(
        self,
        recipe_id: str,
        folds: tuple[int, ...] = FOLDS,
        *,
        noise: float = 0.3,
        wrong: tuple[str, ...] = WRONG,
        stopped: bool = False,
    ) -> None:
        """A trial that knows all photos but the wrong ones, and shouts; the more noise, the more it errs."""
        dataset = self.prepared.dataset
        labels = np.array(dataset.labels)
        said = np.array([path in wrong for path in dataset.train_paths])
        said = np.where(said, (labels - 1) % dataset.num_classes, labels)
        random = np.random.default_rng(int(recipe_id, 16))
        logits = 2 * np.eye(dataset.num_classes)[said] + random.normal(
            scale=noise, size=(len(said), dataset.num_classes)
        )
        for fold in folds:
            rows = self.prepared.folds.validation_rows(fold)
            task = FoldTask(Recipe("toy"), recipe_id, fold, self.store, self.store)
            test = np.zeros((len(dataset.test_paths), dataset.num_classes), np.float32)
            result = FoldResult(recipe_id, fold, "finished", noise, noise, 1.0, (), 1.0)
            write_fold(task, result, FoldLogits(rows, (5 * logits[rows]).astype(np.float32), test), b"")
        state = TrialState.FAIL if stopped else TrialState.COMPLETE
        losses = {str(fold): noise for fold in folds}
        attributes = {"recipe_id": recipe_id, "backbone": "toy", FOLD_LOSSES: losses, INTERRUPTED: stopped}
        value = None if stopped else noise
        self.optuna.add_trial(create_trial(state=state, value=value, user_attrs=attributes))

    def report(self, output: Path | None = None) -> pipeline.Reported:
        return pipeline.report(self.workspace, Config(), study="main", output=output, top_k=5)

    def rows(self, name: str) -> list[dict[str, str]]:
        """A table of the report, by Python's own reader."""
        with (self.workspace.reports("main") / "report" / name).open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, tiny_photos: Callable[[Path], Path]) -> Drawn:
    """A study with one complete trial, and the files of its report; tests only read them."""
    made = Study(tiny_photos(tmp_path_factory.mktemp("workspace") / "data").parent)
    made.add("a")
    return made, made.report().files


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a report's second; `drawn` has the real pictures."""
    monkeypatch.setattr("automl_car.pipeline.reporting.reliability_plot", lambda before, after: b"drawn")


@pytest.fixture
def study(tiny_dataset: Path) -> Study:
    """With one complete trial."""
    made = Study(tiny_dataset.parent)
    made.add("a")
    return made


@pytest.fixture
def noisy(tiny_dataset: Path) -> Study:
    """With one complete trial that often errs."""
    made = Study(tiny_dataset.parent)
    made.add("a", noise=3.0)
    return made


def names(files: tuple[Path, ...]) -> set[str]:
    return {file.name for file in files}


def test_the_report_is_tables_pictures_and_a_page(drawn: Drawn) -> None:
    study, files = drawn
    assert names(files) == {*TABLES, *PICTURES, *PAGES}
    folder = study.workspace.reports("main") / "report"
    assert {path.name for path in folder.iterdir()} == names(files)
    for name in PICTURES:
        with Image.open(folder / name) as picture:
            picture.load()


def test_the_log_loss_is_that_of_the_ensemble(study: Study) -> None:
    ensemble = pipeline.ensemble(study.workspace, Config(), study="main", output=None, top_k=5).ensemble
    assert ensemble is not None
    assert study.report().losses.headline.log_loss == pytest.approx(ensemble.nested_log_loss)


def test_mistaken_photos_lead_the_tables(drawn: Drawn) -> None:
    study, _ = drawn
    assert {row["path"] for row in study.rows("hard_photos.csv")[:2]} == set(WRONG)
    suspects = study.rows("suspects.csv")
    assert {(row["path"], row["label"], row["suggested"], row["flagged"]) for row in suspects[:2]} == {
        ("train/van/03.jpg", "van", "hatchback", "yes"),
        ("train/coupe/07.jpg", "coupe", "van", "yes"),
    }
    assert {(row["label"], row["guess"]) for row in study.rows("confusions.csv")} == {
        ("van", "hatchback"),
        ("coupe", "van"),
    }


def test_the_network_that_shouts_is_sure_before_calibration_and_not_after_it(noisy: Study) -> None:
    losses = noisy.report().losses
    assert losses.before.confidence[-1] > 0.99
    # Sure of nearly all 36 photos, it is wrong about as large a share of them as its error says.
    assert losses.before.calibration_error == pytest.approx(1 - losses.headline.accuracy, abs=0.05)
    assert losses.after.confidence[-1] < losses.before.confidence[-1]


def test_the_page_has_the_numbers_the_tables_and_the_pictures(study: Study) -> None:
    head = study.report().losses.headline
    page = (study.workspace.reports("main") / "report" / "report.md").read_text()
    assert f"Log loss {head.log_loss:.4f} ±" in page
    assert "| van | hatchback | 1 |" in page
    assert all(f"({name})" in page for name in PICTURES)
    assert "exclude: [studies/main/report/suspects.csv]" in page
    assert "no estimate" in page


def test_suspects_can_be_left_out_of_the_next_study(drawn: Drawn) -> None:
    study, _ = drawn
    config = Config.model_validate({"data": {"exclude": ["studies/main/report/suspects.csv"]}})
    kept = read_photos(study.workspace, config, sample=False, view=None).train_paths  # type: ignore[arg-type]
    assert set(study.prepared.dataset.train_paths) - set(kept) == {row["path"] for row in study.rows("suspects.csv")}
    assert set(WRONG).isdisjoint(kept)


def test_the_numbers_are_of_the_photos_that_were_judged(tiny_dataset: Path) -> None:
    made = Study(tiny_dataset.parent)
    made.add("a", (1,), stopped=True)
    losses = made.report().losses
    judged = made.prepared.folds.validation_rows(1)
    assert losses.headline.photos == len(judged)
    assert losses.partial.endswith(f"these numbers are of {len(judged)} of 36 photos")
    paths = {made.prepared.dataset.train_paths[row] for row in judged}
    assert {photo.path for photo in losses.hard_photos} <= paths


def test_where_a_stopped_trial_joins_the_rows_are_those_of_its_folds(noisy: Study) -> None:
    noisy.add("b", (0, 2), noise=0.0, wrong=(), stopped=True)
    losses = noisy.report().losses
    judged = sum(len(noisy.prepared.folds.validation_rows(fold)) for fold in (0, 2))
    assert losses.partial.startswith("trial 1 has 2 of 3 folds")
    assert losses.headline.photos == sum(row.photos for row in losses.classes) == judged


def test_the_same_picture_under_two_labels_is_listed(tiny_dataset: Path) -> None:
    shutil.copy(tiny_dataset / "train" / "van" / "00.jpg", tiny_dataset / "train" / "coupe" / "copy.jpg")
    made = Study(tiny_dataset.parent)
    made.add("a")
    made.report()
    rows = made.rows("near_duplicates.csv")
    assert {(row["path"], row["label"]) for row in rows if row["exact"] == "yes"} == {
        ("train/coupe/copy.jpg", "coupe"),
        ("train/van/00.jpg", "van"),
    }


def test_names_that_count_as_one_class_have_a_table(tiny_dataset: Path) -> None:
    shutil.copytree(tiny_dataset / "train" / "van", tiny_dataset / "train" / "mpv")
    (tiny_dataset / "sample_submission.csv").unlink()
    made = Study(tiny_dataset.parent, class_aliases={"mpv": "van"})
    made.add("a")
    made.report()
    (row,) = made.rows("aliases.csv")
    assert (row["alias"], row["same_as"], row["photos"], row["photos_same_as"]) == ("mpv", "van", "12", "12")
    assert float(row["accuracy"]) == 1
    assert float(row["accuracy_same_as"]) == pytest.approx(11 / 12, abs=1e-4)


def test_names_whose_photos_are_gone_are_left_out_with_a_note(tiny_dataset: Path) -> None:
    made = Study(tiny_dataset.parent, class_aliases={})
    made.optuna.set_user_attr("settings", {"data": {"class_aliases": {"mpv": "van"}}})
    made.add("a")
    shutil.rmtree(tiny_dataset / "train")
    reported = made.report()
    assert "aliases.csv" not in names(reported.files)
    assert reported.losses.notes[0].startswith("the names that count as one class are left out, as the photos cannot")


def test_an_old_table_does_not_outlive_its_reason(study: Study) -> None:
    folder = study.workspace.reports("main") / "report"
    folder.mkdir(parents=True)
    (folder / "aliases.csv").write_text("old")
    (folder / "mine.txt").write_text("kept")
    study.report()
    assert not (folder / "aliases.csv").exists()
    assert (folder / "mine.txt").exists()


def test_nothing_is_removed_from_a_folder_that_was_named(study: Study, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "aliases.csv").write_text("mine")
    files = study.report(tmp_path / "mine").files
    assert {file.parent for file in files} == {tmp_path / "mine"}
    assert (tmp_path / "mine" / "aliases.csv").read_text() == "mine"


def test_names_that_no_font_can_write_are_numbers_in_pictures_and_whole_in_tables(
    tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [])
    name = unicodedata.normalize("NFC", "현대_그랜저")
    (tiny_dataset / "train" / "van").rename(tiny_dataset / "train" / name)
    (tiny_dataset / "sample_submission.csv").unlink()
    made = Study(tiny_dataset.parent)
    made.add("a")
    reported = made.report()
    assert "has the letter `현`" in reported.losses.notes[0]
    assert name in {row["name"] for row in made.rows("classes.csv")}


def test_a_class_that_a_spreadsheet_would_run_is_defused(tiny_dataset: Path) -> None:
    (tiny_dataset / "train" / "van").rename(tiny_dataset / "train" / "=1+1")
    (tiny_dataset / "sample_submission.csv").unlink()
    made = Study(tiny_dataset.parent)
    made.add("a")
    made.report()
    assert "'=1+1" in {row["name"] for row in made.rows("classes.csv")}


def test_photos_that_are_gone_leave_their_tiles(study: Study) -> None:
    before = (study.report().files, (study.workspace.reports("main") / "report" / "hard_photos.jpg").read_bytes())
    shutil.rmtree(study.workspace.root / "data" / "train")
    assert study.report().files == before[0]
    assert (study.workspace.reports("main") / "report" / "hard_photos.jpg").read_bytes() != before[1]


def test_without_a_finished_fold_there_is_nothing_to_report_on(tiny_dataset: Path) -> None:
    with pytest.raises(StudyError, match="No fold of study `main` is finished"):
        Study(tiny_dataset.parent).report()


def test_an_output_that_is_a_file_is_an_error(study: Study, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match=r"`.*taken` cannot be made"):
        study.report(tmp_path / "taken")


# ---- the command ----------------------------------------------------------------------------------------------------


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["automl-car", *arguments])
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_command_prints_the_numbers_and_where_the_files_are(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "report", "--workspace", str(study.workspace.root)) == 0
    told = capsys.readouterr()
    assert "Log loss " in told.out
    assert any(line.split()[:2] == ["van", "hatchback"] for line in told.out.splitlines())
    assert str(study.workspace.reports("main") / "report" / "report.md") in told.out.splitlines()
    assert "delete the lines of photos that are right" in told.err


def test_the_command_prints_json(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "report", "--json", "--workspace", str(study.workspace.root)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["photos"] == 36
    assert {Path(file).name for file in told["files"]} == {*TABLES, *PICTURES, *PAGES}
    assert {row["path"] for row in told["tables"]["suspects"][:2]} == set(WRONG)


def test_a_study_that_is_not_there_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "report", "--study", "nope", "--workspace", str(tmp_path)) == 2
    assert "error: There is no study `nope`" in capsys.readouterr().err


# ---- the page in a browser ------------------------------------------------------------------------------------------


def test_the_page_opens_alone_and_says_what_the_markdown_says(study: Study, tmp_path: Path) -> None:
    pipeline.report(study.workspace, Config(), study="main", output=tmp_path / "out", top_k=5)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == len(PICTURES)
    assert all(source.startswith("data:image/") for source in sources)
    titles = re.findall(r"^## (.*)$", (tmp_path / "out" / "report.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert titles == re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert {"The result", "The trials", "What to do next", "The same once more"} <= set(titles)
