"""Comparing the trial that runs with a study's complete ones, from a real study and a real fold store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from automl_car.fold_records import Epoch, FoldResult, FoldTask, Points
from automl_car.records import FloatArray, Recipe
from automl_car.search.evidence import FOLD_LOSSES, FoldStore
from automl_car.search.judge import Judge
from automl_car.search.pruning import PruningRule
from automl_car.store import FoldLogits, write_fold

FOLDS, PHOTOS = 3, 20
HARD = np.array([0.0, 0.4, 0.2])  # fold 1 is hard
FULL, HEAD = Recipe("toy", tuning="full"), Recipe("toy", tuning="head")
RULE = PruningRule(folds=FOLDS, k=3, z=2.0)


@dataclass
class Bench:
    """A study and its fold store, filled by hand."""

    folder: Path
    study: optuna.Study = field(default_factory=optuna.create_study)

    def judge(self, rule: PruningRule | None = RULE) -> Judge:
        return Judge(self.study, rule, FoldStore(self.folder, np.zeros(FOLDS * PHOTOS, np.int64)))

    def write(self, recipe_id: str, fold: int, photos: FloatArray, curve: Sequence[float] = ()) -> Path:
        """A finished fold whose photos have these losses; their class is the first of two."""
        task = FoldTask(FULL, recipe_id, fold, self.folder, self.folder)
        epochs = tuple(Epoch(number, len(curve), 1.0, 9.0, 1.0, loss) for number, loss in enumerate(curve, start=1))
        result = FoldResult(recipe_id, fold, "finished", float(photos.mean()), 1.0, 1.0, epochs, 1.0)
        logits = np.zeros((len(photos), 2), np.float32)
        logits[:, 0] = -np.log(np.expm1(photos))  # -log softmax(x, 0)[0] = log(1 + exp(-x))
        rows = np.arange(fold * PHOTOS, (fold + 1) * PHOTOS)
        write_fold(task, result, FoldLogits(rows, logits, np.zeros((0, 2), np.float32)), b"")
        return task.fold_directory

    def add(
        self,
        level: float,
        *,
        recipe_id: str | None = None,
        folds: Sequence[int] = range(FOLDS),
        tuning: str = "head",
        curve: Sequence[float] = (),
    ) -> str:
        """A trial of this mean log loss up to the folds' difficulty: complete with all folds, otherwise pruned."""
        recipe_id = recipe_id or f"{len(self.study.trials):016x}"
        for fold in folds:
            self.write(recipe_id, fold, np.full(PHOTOS, level + HARD[fold]), curve)
        losses = {str(fold): level + HARD[fold] for fold in folds}
        complete = len(folds) == FOLDS
        self.study.add_trial(
            create_trial(
                value=float(np.mean(list(losses.values()))) if complete else None,
                state=TrialState.COMPLETE if complete else TrialState.PRUNED,
                user_attrs={"recipe_id": recipe_id, "tuning": tuning, FOLD_LOSSES: losses},
            )
        )
        return recipe_id

    def why_prune(self, photos: FloatArray, fold: int, rule: PruningRule | None = RULE) -> str | None:
        """What is decided of a new trial after its first fold."""
        self.write("new", fold, photos)
        return self.judge(rule).why_prune(99, "new", {fold: float(photos.mean())})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def three(bench: Bench) -> Bench:
    """With three complete heads of 0.5, 0.51 and 0.52 on fold 0."""
    for level in (0.50, 0.51, 0.52):
        bench.add(level)
    return bench


# ---- pruning --------------------------------------------------------------------------------------------------------


def test_a_trial_on_a_hard_fold_is_compared_with_the_others_on_that_fold(three: Bench) -> None:
    losses = np.full(PHOTOS, 0.52 + HARD[1])
    assert three.why_prune(losses, fold=1) is None
    assert three.why_prune(losses, fold=0) is not None


def test_the_photos_of_the_fold_store_are_what_is_compared(three: Bench) -> None:
    # 0.2 worse in the mean: everywhere, or because of one photo that could as well not have been there.
    one = np.full(PHOTOS, 0.52) + np.where(np.arange(PHOTOS) == 7, 0.2 * PHOTOS, 0.0)
    assert three.why_prune(np.full(PHOTOS, 0.72), fold=0) is not None
    assert three.why_prune(one, fold=0) is None


def test_without_a_rule_no_trial_is_pruned_and_no_curve_has_to_be_beaten(three: Bench) -> None:
    assert three.why_prune(np.full(PHOTOS, 50.0), fold=0, rule=None) is None
    assert three.judge(None).to_beat(FULL, 0) == ()


def test_trials_of_equal_recipes_count_once(bench: Bench) -> None:
    for _ in range(3):
        bench.add(0.5, recipe_id="same")
    assert bench.why_prune(np.full(PHOTOS, 50.0), fold=0) is None


def test_pruned_trials_are_no_rivals(bench: Bench) -> None:
    for level in (0.50, 0.51):
        bench.add(level)
    bench.add(0.52, folds=[0, 1])
    assert bench.why_prune(np.full(PHOTOS, 50.0), fold=0) is None


def test_a_damaged_rival_is_passed_over(three: Bench) -> None:
    (three.folder / f"{0:016x}" / "fold-1" / "oof.npz").write_bytes(b"damaged")
    assert three.why_prune(np.full(PHOTOS, 50.0), fold=0) is None  # the other two are too few
    three.add(0.53)
    assert "trial 3, the 3rd best" in str(three.why_prune(np.full(PHOTOS, 50.0), fold=0))


# ---- what a trial is worth ------------------------------------------------------------------------------------------


def test_what_a_trial_is_worth_allows_for_how_hard_its_folds_were(three: Bench) -> None:
    # Fold 1 is 0.2 harder than the folds are in the mean, 0 / 0.4 / 0.2.
    assert three.judge().expected({1: 0.9}) == pytest.approx(0.9 - 0.2)


def test_pruned_trials_do_not_say_how_hard_a_fold_is(three: Bench) -> None:
    three.add(9.0, folds=[1])
    assert three.judge().expected({1: 0.9}) == pytest.approx(0.9 - 0.2)


# ---- the curve that a first fold has to beat ------------------------------------------------------------------------


def _limits(to_beat: Points) -> list[float]:
    return [loss for _, loss in to_beat]


def _fine_tuned(bench: Bench, curve: Sequence[float] = (0.6, 0.6)) -> Bench:
    """Three complete fine-tunings with nine curves."""
    for level in (0.50, 0.51, 0.52):
        bench.add(level, tuning="full", curve=curve)
    return bench


def test_a_fine_tuning_has_to_end_where_the_kth_best_ended_on_that_fold(bench: Bench) -> None:
    # Flat curves leave nothing to gain, and trials that keep their distance on every fold nothing to allow for.
    judge = _fine_tuned(bench).judge()
    for fold in range(FOLDS):
        assert _limits(judge.to_beat(FULL, fold)) == pytest.approx([0.52 + HARD[fold]] * 3)  # at 30, 50 and 100 %


def test_what_the_others_gained_before_their_end_is_allowed_for(bench: Bench) -> None:
    # They fell from 0.9 to 0.6 in the second half.
    (at, half), (_, end) = _fine_tuned(bench, (0.9, 0.6)).judge().to_beat(FULL, 0)[-2:]
    assert (at, half, end) == pytest.approx((0.5, 0.52 * 1.5, 0.52))


def test_heads_have_nothing_to_beat(bench: Bench) -> None:
    assert _fine_tuned(bench).judge().to_beat(HEAD, 0) == ()


def test_before_k_trials_are_complete_there_is_nothing_to_beat(bench: Bench) -> None:
    assert _fine_tuned(bench).judge(PruningRule(folds=FOLDS, k=4, z=2.0)).to_beat(FULL, 0) == ()


def test_the_curves_of_heads_say_nothing_of_fine_tunings(three: Bench) -> None:
    for level in (0.6, 0.7):
        three.add(level, tuning="head", curve=(0.6, 0.6))
    assert three.judge().to_beat(FULL, 0) == ()


def test_pruned_fine_tunings_show_as_well_how_much_can_still_be_gained(three: Bench) -> None:
    for _ in range(5):
        three.add(0.9, folds=[0], tuning="full", curve=(1.8, 0.9))
    assert _limits(three.judge().to_beat(FULL, 0))[-2:] == pytest.approx([0.52 * 2, 0.52])


def test_the_curves_of_equal_recipes_count_once(three: Bench) -> None:
    for _ in range(3):
        three.add(0.9, recipe_id="retried", folds=[0, 1], tuning="full", curve=(1.8, 0.9))
    assert three.judge().to_beat(FULL, 0) == ()  # two curves are too few


def test_a_damaged_curve_of_another_trial_is_passed_over(bench: Bench) -> None:
    judge = _fine_tuned(bench).judge()
    (bench.folder / f"{0:016x}" / "fold-1" / "record.json").write_bytes(b"damaged")
    assert judge.to_beat(FULL, 0) != ()
