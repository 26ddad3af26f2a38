"""Stops a trial that cannot keep up with the k-th best complete one on all photos.

The ensemble wants k good members, not one champion, so a trial is compared with the k-th best. Photos differ in
difficulty far more than good trials do, so losses are compared photo by photo, and what the complete trials know of the
photos that the trial has not seen yet is used too: how the difference depends on their losses is fitted on the folds
that are done, and says what to expect on the others. That halves the error of the difference on our recordings. What
remains is the luck of the photos, which the fit shows, and the luck of the runs, which the study shows: two complete
trials keep the same distance on every fold but for it.

The stock pruners are wrong here: WilcoxonPruner compares with the best trial alone and cannot act before the fourth of
five folds; MedianPruner compares the best value over all steps, so one easy first fold protects a bad trial for ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from automl_car.ensemble.quick import choose_pool, pool_losses
from automl_car.records import FloatArray

SMALLEST_GAIN = 0.005  # share of the pool's log loss that a trial has to take away to be kept for it
# What is taken for the luck of a run before the study has shown it, as a share of the rival's log loss, and how many
# differences of folds between trials it counts for. Fine-tunings that differ in their seed alone differ by 1 to 4 %.
PRIOR_NOISE, PRIOR_WEIGHT = 0.02, 4
PENALTIES = np.array([1e-3, 1e-2, 1e-1, 1.0, 1e3])  # of the ridge, as shares of all variance; the last is no regression


@dataclass(frozen=True, eq=False)
class TrialLosses:
    """A trial as the rule sees it.

    Attributes:
        number: of the trial.
        folds: by fold, the log loss of each of its photos, in the order of their rows.
    """

    number: int
    folds: Mapping[int, FloatArray]

    @cached_property
    def mean(self) -> float:
        """Over folds, each of which counts the same."""
        return float(np.mean(list(self.means.values())))

    @cached_property
    def photo_mean(self) -> float:
        """Over photos."""
        return float(np.mean(np.concatenate([self.folds[fold] for fold in sorted(self.folds)])))

    @cached_property
    def means(self) -> Mapping[int, float]:
        """Log loss by fold."""
        return {fold: float(losses.mean()) for fold, losses in self.folds.items()}


@dataclass(frozen=True, eq=False)
class Rivals:
    """The best complete trials, and how much luck there is in a run.

    Attributes:
        best: twice as many as the rank to keep up with, as far as there are so many; best first.
        noise: see `run_noise`; 0 while there are fewer than that rank.
    """

    best: tuple[TrialLosses, ...]
    noise: float


@dataclass(frozen=True)
class PruningRule:
    """Whether a trial goes on after a fold.

    With d the estimated difference to the k-th best complete trial on all photos, the trial is pruned when
    d > z sqrt((p² + r² / n) (1 - n / K)): p is the standard error of d that comes from the photos, r² the variance of
    a fold's difference that comes from the runs, n of K folds are done, and the last factor says that only those that
    are still open can change anything (the finite population correction; Cochran, Sampling Techniques, 1977, 2.6).

    Args:
        folds: K. A trial is never pruned after its last fold.
        k: rank of the trial to keep up with.
        z: standard errors that a trial may be worse by.
        startup_trials: that get one fold each before the best of them go on.
    """

    folds: int
    k: int = 5
    z: float = 1.0
    startup_trials: int = 25

    def explain(self, trial: TrialLosses, complete: Sequence[TrialLosses]) -> str | None:
        """Why the trial is pruned, or None when it goes on.

        Args:
            trial: with the folds that are done.
            complete: trials with all folds; equal ones may be left out.
        """
        return self.explain_against(trial, self.rivals(complete))

    def rivals(self, complete: Sequence[TrialLosses]) -> Rivals:
        """Those of the complete trials that others are compared with."""
        best = tuple(sorted(complete, key=lambda other: (other.mean, other.number))[: 2 * self.k])
        noise = run_noise(best, prior=PRIOR_NOISE * best[self.k - 1].mean) if len(best) >= self.k else 0.0
        return Rivals(best, noise)

    def explain_against(self, trial: TrialLosses, rivals: Rivals) -> str | None:
        """As `explain`, with what does not depend on the trial computed before."""
        if not trial.folds:
            return None
        if not math.isfinite(trial.mean):
            return "its log loss is not finite"
        done = len(trial.folds)
        if done >= self.folds or len(rivals.best) < self.k:
            return None
        rival = rivals.best[self.k - 1]
        difference, photos = estimate_difference(trial, rival, rivals.best)
        allowed = self.z * math.sqrt((photos**2 + rivals.noise**2 / done) * (1 - done / self.folds))
        if difference <= allowed or helps(trial, rivals.best, self.k):
            return None
        return (
            f"after {done} fold{'s' if done > 1 else ''} it would end {difference:.3f} above trial {rival.number}, "
            f"the {_ordinal(self.k)} best; {allowed:.3f} is allowed, and it does not help the ensemble"
        )


def helps(trial: TrialLosses, complete: Sequence[TrialLosses], k: int) -> bool:
    """Whether a trial makes the pool of the complete ones better, whatever its own rank.

    One that makes other mistakes than they do is worth more to the ensemble than another good one of their kind. The
    pool gets it as one more member of equal weight, on the photos of the folds that are done.

    Args:
        complete: best first.
        k: members of the pool.
    """
    done = sorted(trial.folds)
    own = np.concatenate([trial.folds[fold] for fold in done]).astype(np.float64)
    others = [np.concatenate([other.folds[fold] for fold in done]) for other in complete]
    pool = pool_losses([others[place] for place in choose_pool(others, k)])
    gains = np.log((k + np.exp(pool - own)) / (k + 1))
    mean, error = float(gains.mean()), math.sqrt(_variance(gains) / len(gains))
    return mean > max(error, SMALLEST_GAIN * float(pool.mean()))


def estimate_difference(trial: TrialLosses, rival: TrialLosses, others: Sequence[TrialLosses]) -> tuple[float, float]:
    """How much worse a trial is on all photos, from those of its finished folds, and the standard error of that.

    The regression estimator of a mean (Cochran, Sampling Techniques, 1977, section 7.1), with the losses of complete
    trials as the auxiliary variates, whose mean over all photos is known. The regression is a ridge whose penalty has
    the least leave-one-out error, and that error is what the standard error is taken from.

    Args:
        trial: with some folds.
        rival, others: complete trials; the rival may be among the others.
    """
    done = sorted(trial.folds)
    difference = np.concatenate([trial.folds[fold] - rival.folds[fold] for fold in done]).astype(np.float64)
    known = np.stack([np.concatenate([other.folds[fold] for fold in done]) for other in others], 1)  # (n, P)
    overall = [other.photo_mean for other in others]  # (P,)
    mean, centre = float(difference.mean()), known.mean(0)
    weights, error = _ridge(known - centre, difference - mean)
    return mean + float((np.array(overall) - centre) @ weights), error


def _ridge(variates: FloatArray, values: FloatArray) -> tuple[FloatArray, float]:
    """Weights (P,) of the least leave-one-out error, and that error over sqrt(n): (n, P) and (n,) in, both centred."""
    left, singular, right = np.linalg.svd(variates.astype(np.float64), full_matrices=False)
    along = left.T @ values
    best_error, best_weights = math.inf, np.zeros(variates.shape[1])
    for penalty in (singular**2).sum() * PENALTIES:
        shrunk = singular**2 / (singular**2 + penalty + 1e-12)
        leverage = (left**2 @ shrunk) + 1 / len(values)
        error = float((((values - left @ (shrunk * along)) / np.maximum(1 - leverage, 1e-3)) ** 2).mean())
        if error < best_error:
            best_error = error
            best_weights = right.T @ (singular / (singular**2 + penalty + 1e-12) * along)
    return best_weights, math.sqrt(best_error / len(values))


def run_noise(trials: Sequence[TrialLosses], *, prior: float) -> float:
    """Standard deviation of the difference of two trials on one fold, beyond what its photos explain.

    Estimated from complete trials by the method of moments: the interaction of trial and fold in a two-way table of
    log losses, less the part of it that the photos' spread accounts for, weighed with a prior.

    Args:
        trials: with the same folds; at least one.
        prior: what is taken for it without any trials.
    """
    means = [trial.means for trial in trials]
    freedom = max(0, len(trials) - 1) * (len(trials[0].folds) - 1)
    excess = max(0.0, fold_spread(means) ** 2 - _photo_variance(trials)) if freedom else 0.0
    return math.sqrt((PRIOR_WEIGHT * prior**2 + freedom * excess) / (PRIOR_WEIGHT + freedom))


def fold_spread(trials: Sequence[Mapping[int, float]]) -> float:
    """Standard deviation, over folds, of the difference between two trials, pooled over all pairs of trials.

    A trial's mean and a fold's difficulty drop out: what is left is how far the distance of two trials changes from
    one fold to another.

    Args:
        trials: log loss by fold.

    Example:
        >>> fold_spread([{0: 0.5, 1: 0.7}, {0: 0.6, 1: 0.8}])  # the same difference on both folds
        0.0
    """
    folds = sorted(set.intersection(*[set(trial) for trial in trials])) if trials else []
    if len(trials) < 2 or len(folds) < 2:
        return 0.0
    table = np.array([[trial[fold] for fold in folds] for trial in trials])  # (M, K)
    residual = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    freedom = (len(trials) - 1) * (len(folds) - 1)
    # The difference of two trials has twice the variance of one residual.
    return round(math.sqrt(2 * float((residual**2).sum()) / freedom), 12)


def _photo_variance(trials: Sequence[TrialLosses]) -> float:
    """Variance of a fold's mean difference that comes from its photos: mean over pairs of trials and folds.

    The variances of all pairs' differences add up to M times the trials' own, less that of their sum: with 2,000 trials
    there are too many pairs to look at each.
    """
    count = len(trials)
    total, folds = 0.0, list(trials[0].folds)
    for fold in folds:
        losses = np.stack([trial.folds[fold] for trial in trials])  # (M, n)
        if (photos := losses.shape[1]) > 1:
            all_pairs = count * losses.var(axis=1, ddof=1).sum() - losses.sum(axis=0).var(ddof=1)
            total += float(all_pairs) / photos
    return total / (len(folds) * count * (count - 1) / 2)


def _variance(values: FloatArray) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def _ordinal(number: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{suffix}"
