"""Notes in Markdown for optuna-dashboard: what a study searches, what a trial was, and why it ended as it did."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna_dashboard import save_note

from automl_car.records import FoldResult, Machine, Recipe


def note_study(study: optuna.Study, *, photos: int, classes: int, folds: int, machine: Machine) -> None:
    """Say what the study is about; its name alone does not."""
    save_note(
        study,
        f"""# {study.study_name}
{photos} photos of {classes} classes, {folds} folds, on {machine.name} ({machine.cores} cores).

* The value of a trial is its mean **log loss** over the folds, each after the temperature that fits it; less is better.
* A step is a finished fold. A pruned trial could not keep up with the k-th best one on the same folds; its note says
  by how much.
* `automl-car studies show {study.study_name}` lists the trials, and
  `automl-car ensemble --study {study.study_name}` pools the best ones.
""",
    )


def note_trial(trial: optuna.Trial, recipe: Recipe, state: str, reason: str, results: Mapping[int, FoldResult]) -> None:
    """Say what was trained, what each fold came to, and why the trial ended."""
    what = f"`{recipe.backbone}` at {recipe.image_size} px, {recipe.tuning}, learning rate {recipe.learning_rate:.3g}"
    rows = "\n".join(
        f"| {fold} | {result.log_loss:.4f} | {result.temperature:.2f} | {len(result.curve)} | {result.seconds:.1f} |"
        for fold, result in sorted(results.items())
    )
    table = f"\n| fold | log loss | temperature | epochs | seconds |\n| --- | --- | --- | --- | --- |\n{rows}\n"
    ending = f"**{state}**: {reason}" if reason else f"**{state}**"
    save_note(trial, f"{ending}\n\n{what}\n{table if results else ''}")
