"""On a machine without a GPU and with a time limit: heads first, then one fine-tuning that fits the time left.

Heads on frozen features find a good pool in minutes, and then gain little. A fine-tuned network makes other mistakes
than they do, so a single one helps the ensemble more than any further head. Its recipe is made to measure: the speed of
this machine decides the image size and the number of epochs.
"""

from __future__ import annotations

import time
from dataclasses import replace

from automl_car.errors import AutomlCarError
from automl_car.fold_records import Speed, SpeedTask
from automl_car.records import Recipe
from automl_car.search.cost import Counts, at_size, epochs_within, features_seconds
from automl_car.search.first import default_params, usual_augmentation
from automl_car.search.flight import trials_at_once
from automl_car.search.job import Job, View
from automl_car.search.study import OVERRIDES, complete_trials, counted_trials

HEADS_SHARE = 0.4  # of the time limit, after which heads have had their turn
MIN_EPOCHS, MAX_EPOCHS = 5, 20
MIN_SIDE, STEP = 96, 32
FEW_FOLDS = (2, 1)  # what is tried where not all folds fit
FIRST_SIDE = 160  # pixels: quick to measure, and near what is chosen
PLANNED = 0.88  # of the time left; pictures, optimizer and the discriminant come on top of the measured speed
# What fits a short schedule: no mixing, which needs long ones, and no early stop, as the cosine ends at 0.
SHORT_SCHEDULE = {"mixup": 0.0, "cutmix": 0.0, "label_smoothing": 0.05, "patience": 0}


class Finale:
    """Enqueues the fine-tuning when its time has come, once per study."""

    def __init__(self, trials: int, counts: Counts, num_classes: int, job: Job, view: View) -> None:
        self._trials = trials
        self._counts = counts
        self._num_classes = num_classes
        self._job = job
        self._view = view
        self._began = time.monotonic()
        self._speeds: dict[int, Speed] = {}  # by image size
        self._done = any(trial.user_attrs.get(OVERRIDES) for trial in job.study.get_trials(deepcopy=False))

    def enqueue(self, *, enough: bool = False) -> bool:
        """Enqueue the fine-tuning if heads have had their share of time or of trials; whether that was done.

        Args:
            enough: whether more heads would not pay.
        """
        assert self._job.deadline is not None
        now = time.monotonic()
        had_their_time = now - self._began >= HEADS_SHARE * (self._job.deadline - self._began)
        # Others may be on their way, one in each of the other slots.
        had_their_trials = counted_trials(self._job.study) >= self._trials - trials_at_once(self._job)
        if self._done or not (had_their_time or had_their_trials or enough) or not complete_trials(self._job.study):
            return False
        self._done = True
        try:
            recipe = self._plan(self._job.deadline)
        except AutomlCarError as error:
            self._view.note(f"no fine-tuning: {error.message}")
            return False
        if recipe is None:
            self._view.note("no fine-tuning: not even the smallest one fits into the time left")
            return False
        overrides = {"tuning": "full", "image_size": recipe.image_size, "epochs": recipe.epochs, **SHORT_SCHEDULE}
        usual = usual_augmentation(self._job.space, self._job.strikes.left_out)
        params = default_params(self._job.space, "full", recipe.backbone, usual)
        self._job.study.enqueue_trial(params, user_attrs={OVERRIDES: overrides})
        return True

    def _plan(self, deadline: float) -> Recipe | None:
        """The recipe of the largest image size at which MIN_EPOCHS epochs of all folds fit, or else of a few folds.

        The folds that the clock lets it finish join the ensemble where they pay. None when not even one fits.
        """
        space = self._job.space
        left = self._job.strikes.backbones(space)
        backbones = [name for name in space.backbones_for("full") if name in left]
        if not backbones or not self._job.strikes.augmentations(space):
            return None
        backbone = min(backbones, key=lambda name: (space.head_sizes[name][0], name))
        largest = space.full_sizes[backbone][0]
        first = min(FIRST_SIDE, largest)
        recipe = Recipe(
            backbone,
            image_size=first,
            epochs=MIN_EPOCHS,
            batch_size=space.fixed["batch_size"],
            flip=space.fixed["flip"],
            views=max(space.views),
            weights=space.weights[backbone],
        )
        speed = self._measure(recipe)
        sides = range(largest, min(MIN_SIDE, largest) - 1, -STEP)
        for folds in (self._counts.folds, *FEW_FOLDS):
            for side in sides:
                fitting = self._fit(replace(recipe, image_size=side), at_size(speed, first, side), deadline, folds)
                if fitting is not None:
                    if folds < self._counts.folds:
                        self._view.note(f"the time left is enough for fine-tuning about {folds} of the folds")
                    return fitting
        return None

    def _fit(self, recipe: Recipe, guess: Speed, deadline: float, folds: int) -> Recipe | None:
        """The recipe with as many epochs as fit; None when those are fewer than MIN_EPOCHS, by a guess or measured."""
        if self._epochs(recipe, guess, deadline, folds) < MIN_EPOCHS:
            return None
        epochs = self._epochs(recipe, self._measure(recipe), deadline, folds)
        return replace(recipe, epochs=min(epochs, MAX_EPOCHS)) if epochs >= MIN_EPOCHS else None

    def _measure(self, recipe: Recipe) -> Speed:
        if recipe.image_size in self._speeds:
            return self._speeds[recipe.image_size]
        images = MAX_EPOCHS * self._counts.photos
        task = SpeedTask(recipe, self._num_classes, self._job.cache, images, self._job.plugins, self._job.step)
        speed = self._speeds[recipe.image_size] = self._job.executor.measure(task).result()
        return speed

    def _epochs(self, recipe: Recipe, speed: Speed, deadline: float, folds: int) -> int:
        left = PLANNED * (deadline - time.monotonic()) - features_seconds(2, speed, self._counts)
        return epochs_within(left, recipe, speed, self._counts, folds=folds)
