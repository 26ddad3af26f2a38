"""Settles, before each trial, what should not be left to the sampler: the arm to play, and whether there is time.

    first trials   heads of all backbones: a frozen pass each, and a real out-of-fold log loss within minutes
    then           fine-tunings at their defaults, those of the backbones with the best heads first
    then           the arm of the highest expected gain per second (`arms.py`), the rest of the recipe being TPE's
A recipe whose folds do not all fit into the time that is left is not started.
"""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from automl_car.catalog.joint import parts_of
from automl_car.errors import AutomlCarError
from automl_car.fold_records import SpeedTask
from automl_car.records import GainPer
from automl_car.search.arms import Arm, Play, Tally, choose_arm
from automl_car.search.cost import Counts, features_seconds, fold_seconds
from automl_car.search.ended import NewlyEnded
from automl_car.search.evidence import fold_losses
from automl_car.search.first import default_params, default_recipe, fine_tunings, usual_augmentation
from automl_car.search.job import Job, View
from automl_car.search.study import DIVERGED, INTERRUPTED, NOT_OFFERED, OVERRIDES, RETRY_OF

BEGINS = "begins"  # user attribute of the fine-tunings that come first
FLOOR = 2  # trials of each backbone before any is chosen for its gain


class Chooser:
    """Enqueues the next trial of one search, as far as it is settled.

    Args:
        counts: of photos and folds.
        num_classes: of the data.
        k: rank of the trial that another has to beat to be a gain.
        gain_per: what the gain of a backbone and a tuning is divided by.
    """

    def __init__(
        self, job: Job, counts: Counts, num_classes: int, k: int, view: View, gain_per: GainPer = "second"
    ) -> None:
        self._job = job
        self._counts = counts
        self._num_classes = num_classes
        self._k = k
        self._gain_per: GainPer = gain_per
        self._view = view
        self._measured: dict[Arm, float] = {}
        self._ended, self._newly_ended = Tally(), NewlyEnded()
        self._begun: set[Arm] = set()  # arms that are known to have had a trial
        self._earlier = len(job.study.get_trials(deepcopy=False))  # trials of earlier runs, with other time limits

    def before_trial(self) -> str | None:
        """Enqueue the next trial; why the search ends here, when nothing fits into the time that is left."""
        if self._next_waits():
            return None
        self._enqueue_fine_tunings()
        if self._next_waits():
            return None
        tally = self._tally()
        arms = [arm for arm in self._arms(tally) if self._fits(arm)]
        if not arms:
            return "the time that is left is too short for another trial"
        arm = choose_arm(arms, tally, floor=FLOOR, k=self._k, gain_per=self._gain_per)
        assert arm is not None  # there are some
        if not self._is_begun(arm):
            usual = usual_augmentation(self._job.space, self._job.strikes.left_out)
            params = default_params(self._job.space, arm.tuning, arm.backbone, usual)
        else:
            params = self._settled(arm)
        if params:
            self._job.study.enqueue_trial(params)
        return None

    def has_tried_all(self) -> bool:
        """Whether every backbone was tried in every way of tuning: before, a search that stands still may yet move."""
        tally = self._tally()
        return tally.played.keys() >= set(self._arms(tally))

    # ---- what is there to choose from ----

    def _arms(self, tally: Tally) -> list[Arm]:
        """All arms: heads by the size of their photos, fine-tunings by the log loss of the backbone's best head.

        Heads on several backbones come after those on one. Without those of plugins that were left out.
        """
        space, strikes = self._job.space, self._job.strikes
        heads = {name: min(tally.losses.get(Arm("head", name), ())[:1], default=math.inf) for name in space.backbones}
        left = set(strikes.backbones(space))
        arms = [Arm(way, name) for way in strikes.tunings(space) for name in space.backbones_for(way) if name in left]

        def order(arm: Arm) -> tuple[Any, ...]:
            if arm.tuning == "head":
                return (0, len(parts_of(arm.backbone)), min(space.head_sizes[arm.backbone]), arm.backbone)
            return (1, heads[arm.backbone], min(space.full_sizes[arm.backbone]), arm.backbone)

        return sorted(arms, key=order)

    def _tally(self) -> Tally:
        """Of trials that have ended for good, those that failed among them, and of those that have begun."""
        study = self._job.study
        for trial in self._newly_ended.of(study):
            if play := _play(trial):
                self._ended.add(play)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return self._ended.and_(play for trial in running if (play := _play(trial)))

    def _is_begun(self, arm: Arm) -> bool:
        """Whether the arm was at its defaults: also one that a stop cut off, which goes on another time."""
        if arm not in self._begun and any(
            "backbone" in trial.user_attrs and self._arm_of(trial) == arm
            for trial in self._job.study.get_trials(deepcopy=False)
            if trial.state != TrialState.WAITING and not trial.user_attrs.get(NOT_OFFERED)
        ):
            self._begun.add(arm)
        return arm in self._begun

    def _settled(self, arm: Arm) -> dict[str, Any]:
        """The arm as parameters; nothing where the space has no such choice."""
        space = self._job.space
        params: dict[str, Any] = {"tuning": arm.tuning} if len(space.tunings) > 1 else {}
        return params | ({"backbone": arm.backbone} if len(space.backbones) > 1 else {})

    def _enqueue_fine_tunings(self) -> None:
        """Once in a study, when its heads have shown which backbones suit the photos."""
        space, study = self._job.space, self._job.study
        if set(self._job.strikes.tunings(space)) != {"full", "head"}:
            return
        if any(trial.user_attrs.get(BEGINS) for trial in study.get_trials(deepcopy=False)):
            return
        tally = self._tally()
        order = [arm.backbone for arm in self._arms(tally) if arm.tuning == "full"]
        if not order:  # what can be fine-tuned was left out
            return
        has_ended = Arm("head", order[0]) in tally.losses
        why = ", whose head is the best so far" if has_ended else ""
        self._view.note(f"fine-tuning begins with {order[0]}{why}")
        for params in fine_tunings(space, order, self._job.strikes.left_out):
            study.enqueue_trial(params, user_attrs={BEGINS: True}, skip_if_exists=True)

    # ---- time ----

    def _next_waits(self) -> bool:
        """Whether an enqueued trial comes next; those that would not be finished are ended, to go on another time."""
        while waiting := self._waiting():
            arm = self._arm_of(waiting[0])
            # What was made to measure fits; it was planned a moment ago.
            if waiting[0].user_attrs.get(OVERRIDES) or arm is None or self._fits(arm, self._done_before(waiting[0])):
                return True
            trial = self._job.study.ask()
            trial.set_user_attr(INTERRUPTED, True)
            trial.set_user_attr("reason", f"not started: the time that is left is too short for {arm.backbone}")
            self._job.study.tell(trial, state=TrialState.FAIL)
        return False

    def _done_before(self, trial: FrozenTrial) -> int:
        """Folds of an interrupted trial that this one goes on with."""
        trials, done = self._job.study.get_trials(deepcopy=False), 0
        while (number := trial.user_attrs.get(RETRY_OF)) is not None:
            trial = trials[number]
            done = max(done, len(fold_losses(trial)))
        return done

    def _fits(self, arm: Arm, done: int = 0) -> bool:
        deadline, share = self._job.deadline, 1 - done / self._counts.folds
        return deadline is None or share * self._seconds(arm) <= deadline - time.monotonic()

    def _seconds(self, arm: Arm) -> float:
        """Of all folds of a recipe: as earlier ones took, or as a few measured steps say; 0 when nothing is known."""
        per_fold: list[float] = [
            trial.user_attrs["seconds"] / len(fold_losses(trial))
            for trial in self._job.study.get_trials(deepcopy=False)
            if self._arm_of(trial) == arm
            and fold_losses(trial)
            and "seconds" in trial.user_attrs  # a driver that was killed may not have told them
            and not trial.user_attrs.get(OVERRIDES)
        ]
        if per_fold:
            return self._counts.folds * statistics.median(per_fold)
        if arm.tuning == "head":  # seconds, and the clock inside a fold ends what takes longer
            return math.inf if self._was_too_slow(arm) else 0.0
        if arm not in self._measured:
            self._measured[arm] = self._measure(arm)
        return self._measured[arm]

    def _was_too_slow(self, arm: Arm) -> bool:
        """Whether the clock ended a head of this search in its features; smaller or fewer photos may be quicker."""
        space = self._job.space
        if len(space.views) > 1 or len(space.head_sizes[arm.backbone]) > 1:
            return False
        return any(
            trial.user_attrs.get(INTERRUPTED) and self._arm_of(trial) == arm
            for trial in self._job.study.get_trials(deepcopy=False)[self._earlier :]
            if trial.state == TrialState.FAIL and not fold_losses(trial)
        )

    def _measure(self, arm: Arm) -> float:
        job = self._job
        recipe = default_recipe(job.space, arm.tuning, arm.backbone, job.strikes.left_out)
        images = recipe.epochs * self._counts.photos
        task = SpeedTask(recipe, self._num_classes, job.cache, images, job.plugins, job.step)
        try:
            speed = job.executor.measure(task).result()
        except AutomlCarError:  # the trial will say what is wrong with it
            return 0.0
        features = features_seconds(2, speed, self._counts) if recipe.weights != "random" else 0.0
        return features + self._counts.folds * fold_seconds(recipe, speed, self._counts)

    # ---- reading trials ----

    def _waiting(self) -> list[FrozenTrial]:
        return self._job.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def _arm_of(self, trial: FrozenTrial) -> Arm | None:
        """The arm of a trial, from what it was or from what it was told to be; None where that is open."""
        space = self._job.space
        tuning = _tuning(trial) or (space.tunings[0] if len(space.tunings) == 1 else None)
        settled = trial.system_attrs.get("fixed_params", {})
        only = space.backbones[0] if len(space.backbones) == 1 else None
        backbone = trial.user_attrs.get("backbone") or settled.get("backbone", only)
        return Arm(tuning, backbone) if tuning and backbone else None


def _play(trial: FrozenTrial) -> Play | None:
    """What the trial says of its arm; None where it says nothing."""
    interrupted = trial.state == TrialState.FAIL and trial.user_attrs.get(INTERRUPTED)
    if trial.state == TrialState.WAITING or interrupted or "backbone" not in trial.user_attrs:
        return None
    arm = Arm(trial.user_attrs["tuning"], trial.user_attrs["backbone"])
    return Play(arm, _worth(trial), trial.user_attrs.get("seconds", 0.0))


def _worth(trial: FrozenTrial) -> float | None:
    """Its log loss, or what it will probably be; infinite when it failed or diverged, however it began.

    None while it runs and has no fold yet: it was tried, and nobody knows what it is worth.
    """
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return trial.value
    if trial.state == TrialState.RUNNING and not trial.intermediate_values:
        return None
    if trial.state == TrialState.FAIL or trial.user_attrs.get(DIVERGED) or not trial.intermediate_values:
        return math.inf
    return trial.intermediate_values[max(trial.intermediate_values)]


def _tuning(trial: FrozenTrial) -> Any:
    settled = trial.system_attrs.get("fixed_params", {})
    return trial.user_attrs.get("tuning") or settled.get("tuning")
