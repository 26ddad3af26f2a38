"""Which trials of a study the ensemble is built from; the folds are real files, their logits made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from automl_car import pipeline
from automl_car.config import Config
from automl_car.data.audit import Audit
from automl_car.data.facts import Problem
from automl_car.data.index import save_dataset
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.records import Dataset, Folds, Recipe
from automl_car.report import tables
from automl_car.search.evidence import FOLD_LOSSES
from automl_car.search.study import INTERRUPTED, RETRY_OF, connect
from automl_car.store import FoldLogits, write_fold
from automl_car.workspace import Workspace

ROWS, CLASSES, TESTS = 400, 4, 12
FOLDS = Folds(np.arange(ROWS) % 4, 4, "photos")
ALL = (0, 1, 2, 3)
RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.normal(scale=2.5, size=(ROWS + TESTS, CLASSES))
LABELS = (TRUTH + RANDOM.gumbel(size=TRUTH.shape)).argmax(axis=1)[:ROWS]
TEST_PATHS = tuple(f"test/{row}.jpg" for row in range(TESTS))
NAMES = tuple("abcd")
DATA = Dataset(
    Path(), NAMES, tuple(f"{row}.jpg" for row in range(ROWS)), tuple(LABELS.tolist()), TEST_PATHS, TEST_PATHS
)


class Study:
    """A study in a workspace of its own, to which trials are added one by one."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)
        self._optuna = optuna.create_study(study_name="main", storage=connect(f"sqlite:///{root}/studies/main.db"))
        self._store = self.workspace.checkpoints("main")
        self._store.mkdir(parents=True)
        save_dataset(DATA, self._store / "dataset.json")

    def add(
        self,
        recipe_id: str,
        noise: float,
        folds: tuple[int, ...] = ALL,
        state: TrialState = TrialState.COMPLETE,
        *,
        stopped: bool = False,
        retry_of: int | None = None,
    ) -> None:
        """A trial with these finished folds; the more noise, the worse it is."""
        logits = TRUTH + np.random.default_rng(int(recipe_id, 16)).normal(
            scale=abs(noise) if np.isfinite(noise) else 1.0, size=TRUTH.shape
        )
        for fold in folds:
            rows = FOLDS.validation_rows(fold)
            result = FoldResult(recipe_id, fold, "finished", noise, noise, 1.0, (), 1.0)
            task = FoldTask(Recipe("toy"), recipe_id, fold, self._store, self._store)
            oof, test = logits[rows].astype(np.float32), logits[ROWS:].astype(np.float32)
            write_fold(task, result, FoldLogits(rows, oof, test), b"")
        attributes = {
            "recipe_id": recipe_id,
            "backbone": "toy",
            FOLD_LOSSES: {str(fold): noise for fold in folds},
            INTERRUPTED: stopped,
            **({RETRY_OF: retry_of} if retry_of is not None else {}),
        }
        value = noise if state == TrialState.COMPLETE else None
        self._optuna.add_trial(create_trial(state=state, value=value, user_attrs=attributes))

    def stop(self, recipe_id: str, noise: float, folds: tuple[int, ...], retry_of: int | None = None) -> None:
        """A trial that was stopped after these folds."""
        self.add(recipe_id, noise, folds, TrialState.FAIL, stopped=True, retry_of=retry_of)

    def built(
        self, top_k: int = 5, freeze: bool | None = None, folds: Folds = FOLDS, *, ended: bool = False
    ) -> pipeline.Outcome:
        """The ensemble of its trials, while the search goes on or when it has `ended`."""
        return pipeline.ensemble(
            self.workspace,
            Config(),
            study="main",
            output=None,
            top_k=top_k,
            data=(DATA, folds),
            freeze=freeze,
            thorough=ended,
            only_better=not ended,
        )

    def members(self) -> set[str]:
        ensemble = self.built().ensemble
        assert ensemble is not None
        return {member.name for member in ensemble.members}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """With two complete trials, neither of them good."""
    made = Study(tmp_path)
    made.add("a", 1.5)
    made.add("b", 1.8)
    return made


def test_a_stopped_trial_that_helps_joins_and_the_numbers_say_on_which_photos(study: Study) -> None:
    study.stop("c", 0.3, (0, 2))
    outcome = study.built()
    assert outcome.ensemble is not None
    assert "trial 2" in {member.name for member in outcome.ensemble.members}
    assert outcome.ensemble.rows == 200
    assert outcome.partial == "trial 2 has 2 of 4 folds, so these numbers are of 200 of 400 photos"
    written = json.loads((study.workspace.reports("main") / "ensemble.json").read_text())
    assert written["rows"] == 200


@pytest.mark.parametrize("ended", [False, True])
def test_a_broken_test_photo_gets_the_classes_shares_whatever_the_calibration(study: Study, ended: bool) -> None:
    audit = Audit(ROWS, TESTS, (1, 1, 1), (9, 9, 9), (9, 9, 9), (), broken_test=(Problem(7, TEST_PATHS[7], "empty"),))
    (study.workspace.checkpoints("main") / "audit.json").write_text(json.dumps(audit.to_json()))
    built = study.built(ended=ended).ensemble
    assert built is not None
    np.testing.assert_allclose(built.test_probabilities[7], np.bincount(LABELS) / ROWS)
    assert len({row.tobytes() for row in built.test_probabilities}) == TESTS  # those of the others are their own


def test_it_joins_before_its_retry_has_run(study: Study) -> None:
    study.stop("c", 0.3, (0, 2))
    study.add("c", 0.3, (), TrialState.WAITING, retry_of=2)
    assert "trial 2" in study.members()


def _spoil(study: Study, recipe_id: str, fold: int) -> None:
    """Logits that are not numbers, in a fold that says that it is fine."""
    rows = FOLDS.validation_rows(fold)
    oof, test = np.full((len(rows), CLASSES), np.nan, np.float32), np.zeros((TESTS, CLASSES), np.float32)
    task = FoldTask(Recipe("toy"), recipe_id, fold, study.workspace.checkpoints("main"), Path())
    write_fold(task, FoldResult(recipe_id, fold, "finished", 0.1, 0.1, 1.0, (), 1.0), FoldLogits(rows, oof, test), b"")


def test_a_trial_whose_logits_are_not_finite_never_joins_however_good_it_says_it_is(study: Study) -> None:
    study.add("c", 0.1)
    _spoil(study, "c", 2)
    assert "trial 2" not in study.members()


def test_a_trial_whose_log_loss_is_not_finite_never_joins_and_is_never_best(study: Study) -> None:
    study.add("c", 0.1)
    study.add("d", np.inf)
    study.add("e", -np.inf)
    assert study.built().best_trial == 2
    assert study.members() <= {"trial 0", "trial 1", "trial 2"}


def test_a_stopped_trial_whose_logits_or_log_loss_are_not_finite_does_not_join(study: Study) -> None:
    study.stop("c", 0.3, (0, 2))
    _spoil(study, "c", 2)
    study.stop("d", np.inf, (0, 1, 2))
    assert not {"trial 2", "trial 3"} & study.members()


def test_of_trials_that_are_all_not_finite_there_is_no_ensemble(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.stop("c", 0.3, (0, 2))
    _spoil(study, "c", 0)
    assert study.built().ensemble is None


def test_without_a_stopped_trial_the_numbers_are_of_all_photos(study: Study) -> None:
    outcome = study.built()
    assert outcome.ensemble is not None
    assert (outcome.ensemble.rows, outcome.partial) == (ROWS, "")


def test_a_stopped_trial_that_does_not_help_changes_nothing(study: Study) -> None:
    before = study.built()
    study.stop("c", 9.0, (0, 2))
    after = study.built()
    assert before.ensemble is not None
    assert after.ensemble is not None
    assert after.partial == ""
    np.testing.assert_array_equal(after.ensemble.test_probabilities, before.ensemble.test_probabilities)


def test_a_stopped_trial_without_a_finished_fold_is_passed_over(study: Study) -> None:
    study.stop("c", 0.3, ())
    assert study.built().partial == ""


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL])
def test_a_trial_that_was_pruned_or_failed_never_joins(study: Study, state: TrialState) -> None:
    study.add("c", 0.3, (0, 2), state)
    assert study.members() == {"trial 0", "trial 1"}


def test_a_trial_that_still_runs_does_not_join(study: Study) -> None:
    study.add("c", 0.3, (0, 2), TrialState.RUNNING, stopped=True)  # until it has ended, it counts as interrupted
    assert study.members() == {"trial 0", "trial 1"}


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL])
def test_a_stopped_trial_whose_retry_was_pruned_or_failed_never_joins(study: Study, state: TrialState) -> None:
    study.stop("c", 0.3, (0, 2))
    study.add("c", 0.3, (0, 1, 2), state, retry_of=2)
    assert study.members() == {"trial 0", "trial 1"}


def test_a_stopped_trial_whose_retry_is_complete_is_a_member_with_all_its_folds(study: Study) -> None:
    study.stop("c", 0.3, (0, 2))
    study.add("c", 0.3, ALL, retry_of=2)
    outcome = study.built()
    assert outcome.ensemble is not None
    assert outcome.ensemble.rows == ROWS
    assert "trial 3" in {member.name for member in outcome.ensemble.members}


def test_a_retry_that_was_stopped_again_stands_for_both(study: Study) -> None:
    study.stop("c", 0.3, (0,))
    study.stop("c", 0.3, (0, 1, 2), retry_of=2)
    assert study.built().partial.startswith("trial 3 has 3 of 4 folds")


def test_of_several_stopped_trials_the_one_with_most_folds_is_tried(study: Study) -> None:
    study.stop("c", 0.1, (0,))
    study.stop("d", 0.3, (1, 2))
    assert study.built().partial.startswith("trial 3 has 2 of 4 folds")


def test_of_those_with_as_many_folds_the_better_one_is_tried(study: Study) -> None:
    study.stop("c", 0.5, (0, 1))
    study.stop("d", 0.3, (0, 1))
    study.stop("e", 0.4, (0, 1))
    assert study.built().partial.startswith("trial 3 ")


def test_a_stopped_trial_with_all_folds_is_measured_on_all_photos(study: Study) -> None:
    study.stop("c", 0.3, ALL)
    outcome = study.built()
    assert outcome.ensemble is not None
    assert "trial 2" in {member.name for member in outcome.ensemble.members}
    assert (outcome.ensemble.rows, outcome.partial) == (ROWS, "")


def test_a_damaged_fold_of_a_stopped_trial_costs_that_trial_alone(study: Study) -> None:
    study.stop("c", 0.3, (0, 2))
    (study.workspace.checkpoints("main") / "c" / "fold-2" / "oof.npz").write_bytes(b"broken")
    assert study.members() == {"trial 0", "trial 1"}


def test_while_no_trial_is_complete_the_one_with_most_folds_is_the_ensemble(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.stop("a", 0.3, (1,))
    study.stop("b", 0.9, (0, 3))
    assert study.members() == {"trial 1"}
    assert study.built().partial == "trial 1 has 2 of 4 folds, so these numbers are of 200 of 400 photos"


def test_what_is_printed_says_so(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.stop("c", 0.3, (0, 2))
    outcome = study.built()
    tables.print_outcome(outcome)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "trial 2 has 2 of 4 folds, so these numbers are of 200 of 400 photos"
    assert any("(200 photos;" in line for line in lines)
    assert outcome.ensemble is not None
    assert pipeline.describe(outcome.ensemble, outcome.partial).endswith("of 200 of 400 photos")
    assert pipeline.outcome_json(outcome)["partial"] == outcome.partial


# ---- what is kept ---------------------------------------------------------------------------------------------------


def kept_log_loss(study: Study) -> float:
    written: dict[str, float] = json.loads((study.workspace.reports("main") / "ensemble.json").read_text())
    return written["log_loss"]


def test_a_better_ensemble_replaces_the_one_of_before(study: Study) -> None:
    study.built()
    before = kept_log_loss(study)
    study.add("c", 0.3)
    assert study.built().kept == ""
    assert kept_log_loss(study) < before


def test_a_worse_ensemble_leaves_the_one_of_before_and_says_so(study: Study) -> None:
    study.add("c", 1.4)
    study.built()
    before = kept_log_loss(study)
    worse = study.built(top_k=1)
    assert worse.ensemble is not None
    assert "log loss is" in worse.kept
    assert f"not {worse.ensemble.nested_log_loss:.4f}" in worse.kept
    assert kept_log_loss(study) == before < worse.ensemble.nested_log_loss


def test_the_same_ensemble_again_is_no_reason_to_say_anything(study: Study) -> None:
    study.built()
    assert study.built().kept == ""


def test_at_the_end_of_a_search_the_ensemble_of_all_trials_is_the_submission(study: Study) -> None:
    study.add("c", 1.4)
    study.built()
    ended = study.built(top_k=1, ended=True)
    assert ended.kept == ""
    assert ended.ensemble is not None
    assert kept_log_loss(study) == ended.ensemble.nested_log_loss


def test_ensembles_of_different_photos_are_compared_on_those_that_they_share(study: Study) -> None:
    study.built()
    study.stop("c", 0.3, (0, 2))
    assert study.built().kept == "", "it is better on the 200 photos that it is measured on"
    study.add("c", 0.3, (0, 1, 2), TrialState.PRUNED, retry_of=2)  # what had joined is out again
    assert "on the same 200 photos" in study.built().kept


def test_a_frozen_submission_stays_whatever_comes(study: Study) -> None:
    study.built(freeze=True)
    before = kept_log_loss(study)
    study.add("c", 0.3)
    assert "frozen since" in study.built().kept
    assert kept_log_loss(study) == before


def test_a_submission_stays_frozen_when_the_file_that_says_so_is_damaged(study: Study) -> None:
    study.built(freeze=True)
    before = kept_log_loss(study)
    (study.workspace.reports("main") / "frozen.json").write_bytes(b'{"when": "20')
    study.add("c", 0.3)
    assert "the submission is frozen;" in study.built().kept
    assert kept_log_loss(study) == before


def test_a_submission_is_no_longer_frozen_when_that_is_asked_for(study: Study) -> None:
    study.built(freeze=True)
    before = kept_log_loss(study)
    study.add("c", 0.3)
    assert study.built(freeze=False).kept == ""
    assert kept_log_loss(study) < before
    assert "frozen" not in study.built(top_k=1).kept


def test_freezing_keeps_what_was_asked_for_even_if_it_is_worse(study: Study) -> None:
    study.add("c", 1.4)
    study.built()
    before = kept_log_loss(study)
    assert study.built(top_k=1, freeze=True).kept == ""
    assert kept_log_loss(study) > before


def test_what_is_kept_of_other_photos_is_replaced(study: Study) -> None:
    study.add("c", 0.1)
    study.built()
    other = Folds(FOLDS.assignment, 4, "other photos")
    assert study.built(top_k=1, folds=other).kept == ""


def test_a_damaged_file_of_losses_is_replaced(study: Study) -> None:
    study.built()
    (study.workspace.reports("main") / "losses.npz").write_bytes(b"PK broken")
    assert study.built(top_k=1).kept == ""
