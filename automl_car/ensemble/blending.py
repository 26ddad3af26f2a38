"""Combines prediction files of any origin: a folder in; one file, in the form of the first, out.

Where every file has out-of-fold predictions and their labels are known, members, weights, temperatures and calibration
are fitted by `build_ensemble`, and their log loss is cross-fitted. Otherwise nothing is known of how good the files
are, and they count alike, or by the weights that a person gives. Their mean is then the arithmetic one, unless asked
otherwise: on models of the reference contest both means scored the same (0.1493 and 0.1496), while foreign files hold
hard zeros and over-confident rows, with which one file vetoes all others in a geometric mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from automl_car.ensemble.blend_files import find_files, refuse_inside
from automl_car.ensemble.blend_inputs import BlendInputs, read_inputs
from automl_car.ensemble.blend_weights import parse_weights
from automl_car.ensemble.build import build_ensemble
from automl_car.ensemble.calibration import UNIFORM_SHARES, Calibration
from automl_car.ensemble.fitting import FittedPool, predict
from automl_car.ensemble.pool import SMALLEST_PROBABILITY, PoolKind
from automl_car.ensemble.submission import write_in_form
from automl_car.ensemble_records import Candidate, Ensemble
from automl_car.errors import ConfigError
from automl_car.records import FloatArray, IntArray, SubmissionFormat

POOLS: tuple[PoolKind, ...] = ("arithmetic", "geometric")
SPLITS = 5


@dataclass(frozen=True, eq=False)
class Blend:
    """What was combined, and how.

    Attributes:
        output: the file.
        names: of the prediction files.
        form: of the output: its ids and columns.
        weighting: "fitted" on out-of-fold predictions, "given" by a person, or "uniform".
        pool: which mean.
        weights: of each file that is in it; their sum is 1.
        ensemble: with the cross-fitted log loss, where it was fitted.
    """

    output: Path
    names: tuple[str, ...]
    form: SubmissionFormat
    weighting: Literal["fitted", "given", "uniform"]
    pool: PoolKind
    weights: Mapping[str, float]
    ensemble: Ensemble | None = None


def blend(
    directory: Path,
    *,
    output: Path,
    weights: str | None = None,
    pool: str = "auto",
    labels: Path | None = None,
    note: Callable[[str], None],
) -> Blend:
    """Combine the prediction files of a folder, and write the result.

    Args:
        directory: with the files; see `blend_files.find_files` for what is taken for what.
        output: the file to write; an older one stays until the new one is complete and checked.
        weights: such as `A=0.7,B=0.3`; then nothing is fitted.
        pool: "arithmetic", "geometric", or "auto": by cross-fitted log loss, without one arithmetic.
        labels: of the out-of-fold predictions, ID,label; by default labels.csv of the folder.
        note: told what a person should know of the files.

    Raises:
        ConfigError: an option is wrong, or the output would be an input next time.
        DataError: the files are no predictions, or do not fit together.
    """
    kind = _pool_kind(pool)
    files = find_files(directory, labels, note)
    refuse_inside(output, directory)
    names = tuple(files.predictions)
    given = parse_weights(weights, names, note) if weights is not None else None
    inputs = read_inputs(files, fit=given is None, note=note)
    if inputs.out_of_fold:
        ensemble = _fit(inputs, kind)
        _write(output, ensemble.test_probabilities, inputs.form)
        shares = {member.name: member.weight for member in ensemble.members}
        return Blend(output, names, inputs.form, "fitted", ensemble.pool, shares, ensemble)
    shares = given or dict.fromkeys(names, 1 / len(names))
    members = [inputs.predictions[name] for name in shares]
    _write(output, combine(members, list(shares.values()), kind or "arithmetic"), inputs.form)
    return Blend(output, names, inputs.form, "given" if given else "uniform", kind or "arithmetic", shares)


def _pool_kind(pool: str) -> PoolKind | None:
    for kind in POOLS:
        if pool == kind:
            return kind
    if pool != "auto":
        raise ConfigError(f"--pool `{pool}` is wrong: write auto, {' or '.join(POOLS)}.")
    return None


def _fit(inputs: BlendInputs, pool: PoolKind | None) -> Ensemble:
    candidates = [
        Candidate(name, "", _log(inputs.out_of_fold[name]).astype(np.float32), _log(predictions))
        for name, predictions in inputs.predictions.items()
    ]
    splits = stratified_splits(inputs.labels)
    return build_ensemble(candidates, inputs.labels, splits, top_k=len(candidates), pool=pool)


def stratified_splits(labels: IntArray) -> IntArray:
    """Five splits (N,), always the same: which fold a row was trained in is not known of a foreign file.

    Example:
        Each split has one row of either class.

        >>> labels = np.array([0, 1] * 5)
        >>> [sorted(stratified_splits(labels)[labels == name].tolist()) for name in (0, 1)]
        [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    """
    shuffled = np.random.default_rng(0).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    splits = np.empty(len(labels), dtype=np.int64)
    splits[by_class] = np.arange(len(labels)) % SPLITS
    return splits


def combine(members: list[FloatArray], weights: list[float], pool: PoolKind) -> FloatArray:
    """The mean of the members' probabilities (N, C), with a millionth of the uniform distribution; rows sum to 1.

    Without labels nothing can be calibrated, but a class that gets nothing at all would cost 34.5 where it is the true
    one. The millionth costs a millionth elsewhere, and makes that 14 + log C at most.

    Args:
        members: probabilities of each.
        weights: of each, above 0, with sum 1.
        pool: which mean.
    """
    floor = Calibration(temperature=1.0, uniform=UNIFORM_SHARES[0])
    fitted = FittedPool(tuple(range(len(members))), (1.0,) * len(members), pool, tuple(weights), floor)
    return predict(fitted, [_log(member) for member in members])


def _write(path: Path, probabilities: FloatArray, form: SubmissionFormat) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_in_form(path, probabilities, form)
    except OSError as error:
        raise ConfigError(f"The output `{path}` cannot be written: {error.strerror}.") from error


def _log(probabilities: FloatArray) -> NDArray[Any]:
    """Logits of probabilities; zeros are taken for the least that the contest's scorer tells from them."""
    logits: FloatArray = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    return logits
