"""How true the number beside an ensemble is, and what the ensemble is worth: searches, and photos that they never saw.

python benchmarks/honesty.py WORK [--data DIR] [--seeds 5] [--trials 12] [--size 128] [--test-photos 18]

For each seed a search runs from the beginning, on its own photos: the generated cars of that seed, whose test labels
are known, or a random four fifths of the photos in DIR/train, of which it never sees the last fifth. WORK keeps the
searches: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from automl_car.config import load_config
from automl_car.data.parallel import processors
from automl_car.data.sample import write_sample
from automl_car.ensemble.calibration import Calibration
from automl_car.ensemble.fitting import FittedPool, predict
from automl_car.ensemble.scorer import read_answers
from automl_car.ensemble_records import Ensemble
from automl_car.losses import centre, softmax, true_class
from automl_car.pipeline.finished_folds import FinishedFolds, open_folds
from automl_car.pipeline.pooling import pool
from automl_car.records import FloatArray, IntArray
from automl_car.search.study import complete_trials, load_study, storage_url
from automl_car.workspace import Workspace

TOP = 5


@dataclass(frozen=True)
class Run:
    """One search: what it says of itself, and what is true."""

    nested: float
    low: float
    high: float
    expected: float
    range_low: float
    range_high: float
    truth: float
    single: float
    mean: float
    uncalibrated: float

    @property
    def inside(self) -> bool:
        """Whether the truth is in the range that was given for it."""
        return self.range_low <= self.truth <= self.range_high

    @property
    def best(self) -> bool:
        """Whether no simpler choice was better on the photos that nobody saw."""
        return self.truth <= min(self.single, self.mean, self.uncalibrated)


def main() -> None:
    """Search with each seed, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--test-photos", type=int, default=18, help="of each class of the generated cars")
    parser.add_argument("--backbones", nargs="+", default=["efficientnet_lite0", "efficientnet_lite1"])
    options = parser.parse_args()
    print("| seed | out of fold (95 %) | expected on the test set (95 %) | true | best | mean of 5 | uncalibrated |")
    print("| ---: | --- | --- | ---: | ---: | ---: | ---: |")
    runs = []
    for seed in range(options.seeds):
        runs.append(search(options, seed))
        print(f"| {seed} | {row(runs[-1])} |", flush=True)
    inside, best = sum(run.inside for run in runs), sum(run.best for run in runs)
    error = np.mean([run.expected - run.truth for run in runs])
    print(f"{inside} of {len(runs)} truths are in the range that was given for them, and {error:+.3f} is the mean of")
    print(f"expected less true; in {best} of {len(runs)} runs no simpler choice was better")


def row(run: Run) -> str:
    """A line of the table."""
    cells = (
        f"{run.nested:.3f} ({run.low:.3f} … {run.high:.3f})",
        f"{run.expected:.3f} ({run.range_low:.3f} … {run.range_high:.3f})",
        f"**{run.truth:.3f}**",
        *(f"{value:.3f}" for value in (run.single, run.mean, run.uncalibrated)),
    )
    return " | ".join(cells)


def search(options: argparse.Namespace, seed: int) -> Run:
    """One search and its verdict."""
    root = options.work / f"seed-{seed}"
    data = root / "data"
    if not (data / "test_labels.csv").is_file():
        shutil.rmtree(data, ignore_errors=True)
        if options.data is None:
            write_sample(data, seed=seed, test_per_class=options.test_photos, workers=processors())
        else:
            hold_out(options.data, data, seed)
    (root / "automl-car.yaml").write_text(f"space: {{image_size: {options.size}}}\n")
    command = [sys.executable, "-m", "automl_car", "search", "--workspace", str(root), "--seed", str(seed)]
    command += ["--trials", str(options.trials), "--tuning", "head"]
    for name in options.backbones:
        command += ["--backbone", name]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return judge(Workspace(root))


def hold_out(source: Path, target: Path, seed: int) -> None:
    """Every fifth photo of each class, in random order, becomes a test photo whose label is kept apart."""
    random = np.random.default_rng(seed)
    (target / "test").mkdir(parents=True)
    answers = []
    for folder in sorted(path for path in (source / "train").iterdir() if path.is_dir()):
        photos = random.permutation(sorted(folder.iterdir()))
        held = len(photos) // 5
        (target / "train" / folder.name).mkdir(parents=True)
        for number, photo in enumerate(photos):
            if number < held:
                answers.append((f"T{len(answers):05}", folder.name))
                shutil.copyfile(photo, target / "test" / f"{answers[-1][0]}.jpg")
            else:
                shutil.copyfile(photo, target / "train" / folder.name / photo.name)
    classes = sorted({label for _, label in answers})
    write_csv(target / "test.csv", ["ID", "img_path"], [(name, f"./test/{name}.jpg") for name, _ in answers])
    blank = [f"{1 / len(classes):.6f}"] * len(classes)
    write_csv(target / "sample_submission.csv", ["ID", *classes], [(name, *blank) for name, _ in answers])
    write_csv(target / "test_labels.csv", ["ID", "label"], answers)  # last: the data set is complete when it is there


def write_csv(path: Path, header: list[str], rows: list[tuple[str, ...]]) -> None:
    """A plain CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


# ---- the verdict ----------------------------------------------------------------------------------------------------


def judge(workspace: Workspace) -> Run:
    """Compare what the ensemble says of itself with the labels that it never saw."""
    config = load_config(workspace.config_file)
    study = load_study("main", storage_url(workspace.studies, "main", config.search.storage))
    finished = open_folds(workspace, "main")
    labels = read_labels(workspace.root / "data" / "test_labels.csv", finished)
    ours, single = pooled(study, finished, TOP), pooled(study, finished, 1)
    estimate = ours.estimate
    return Run(
        nested=ours.nested_log_loss,
        low=estimate.interval[0],
        high=estimate.interval[1],
        expected=estimate.test_log_loss,
        range_low=estimate.test_range[0],
        range_high=estimate.test_range[1],
        truth=log_loss(ours.test_probabilities, labels),
        single=log_loss(single.test_probabilities, labels),
        mean=log_loss(plain_mean(study, finished), labels),
        uncalibrated=log_loss(without_calibration(ours, finished), labels),
    )


def pooled(study: optuna.Study, finished: FinishedFolds, top_k: int) -> Ensemble:
    """The study's ensemble."""
    built = pool(study, finished, top_k)
    assert built is not None
    return built.ensemble


def plain_mean(study: optuna.Study, finished: FinishedFolds) -> FloatArray:
    """The mean probabilities of the five best trials, as they come from their networks."""
    best = complete_trials(study)[:TOP]
    every = range(finished.folds.count)
    logits = [np.asarray(finished.candidate(trial, every).test_logits) for trial in best]
    return np.mean([softmax(centre(values)) for values in logits], axis=0)


def without_calibration(ours: Ensemble, finished: FinishedFolds) -> FloatArray:
    """The same members and weights without any temperature or uniform share."""
    members = ours.members
    weights = tuple(member.weight for member in members)
    plain = FittedPool(tuple(range(len(members))), (1.0,) * len(members), ours.pool, weights, Calibration(1.0, 1e-6))
    logits = [np.mean([finished.test_logits(member, fold) for fold in member.folds], 0) for member in members]
    return predict(plain, logits)


def read_labels(path: Path, finished: FinishedFolds) -> IntArray:
    """Class indices of the test photos, in their order."""
    answers = read_answers(path)
    position = {name: index for index, name in enumerate(finished.dataset.class_names)}
    return np.array([position[answers[name]] for name in finished.dataset.test_ids])


def log_loss(probabilities: FloatArray, labels: IntArray) -> float:
    """Mean natural-log loss."""
    return float(-np.log(true_class(probabilities, labels)).mean())


if __name__ == "__main__":
    main()
