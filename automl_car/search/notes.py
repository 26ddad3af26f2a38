"""Notes in Markdown for optuna-dashboard: what a study searches, what a trial was, and why it ended as it did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count, takewhile
from types import SimpleNamespace
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from optuna_dashboard import save_note

from automl_car.fold_records import FoldResult, Machine
from automl_car.records import Recipe
from automl_car.search.generations import study_of

_DASHBOARD = "dashboard:"  # what the names of its attributes begin with; a trial's go on with the id of the trial
_LENGTH = len(_DASHBOARD)


def note_study(
    study: optuna.Study, *, photos: int, classes: int, folds: int, machine: Machine, plugins: Sequence[str] = ()
) -> None:
    """Say what the study is about; its name alone does not.

    Args:
        plugins: whose code runs in it, besides that of automl-car, with place and version.
    """
    name = study_of(study.study_name)
    code = "".join(f"\n* Code of others: {plugin}." for plugin in plugins)
    save_note(
        study,
        f"""# {study.study_name}
{photos} photos of {classes} classes, {folds} folds, on {machine.name} ({machine.cores} cores).

* The value of a trial is its mean **log loss** over the folds, each after the temperature that fits it; less is better.
* A step is a finished fold. A pruned trial could not keep up with the k-th best one on the same folds; its note says
  by how much.
* `automl-car studies show {name}` lists the trials, and
  `automl-car ensemble --study {name}` pools the best ones.{code}
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
    mended = "".join(f"* fold {fold}: {result.mended}\n" for fold, result in sorted(results.items()) if result.mended)
    ending = f"**{state}**: {reason}" if reason else f"**{state}**"
    save_note(_alone(trial), f"{ending}\n\n{what}\n{table if results else ''}\n{mended}")


def _alone(trial: optuna.Trial) -> Any:
    """The trial, as if no other one had notes: the library looks through those of all, for each that is saved."""
    storage = _OfTrial(trial.storage, f"{_DASHBOARD}{trial._trial_id}:note_")
    return SimpleNamespace(storage=storage, study=trial.study, _trial_id=trial._trial_id)


class _OfTrial:
    """A storage that tells of a study's attributes those of one trial's note."""

    def __init__(self, storage: BaseStorage, prefix: str) -> None:
        self._storage = storage
        self._prefix = prefix

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        attributes = self._storage.get_study_system_attrs(study_id)
        parts = takewhile(attributes.__contains__, (f"{self._prefix}str:{part}" for part in count()))
        return {name: attributes[name] for name in (f"{self._prefix}ver", *parts) if name in attributes}

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._storage.set_study_system_attr(study_id, key, value)


def copy_notes(old: optuna.Study, new: optuna.Study) -> None:
    """Copy all notes of a study and of its trials to another one, which has trials of the same numbers.

    optuna-dashboard keeps them as attributes of the study; a trial's have the trial's id in their names.
    """
    ids = {
        str(trial._trial_id): copy._trial_id
        for trial, copy in zip(old.get_trials(deepcopy=False), new.get_trials(deepcopy=False), strict=True)
    }
    for name, value in old._storage.get_study_system_attrs(old._study_id).items():
        if not name.startswith(_DASHBOARD) or name.startswith(f"{_DASHBOARD}artifacts:"):
            continue  # pictures are drawn again
        trial, separator, rest = name.removeprefix(_DASHBOARD).partition(":")
        copied = f"{_DASHBOARD}{ids[trial]}{separator}{rest}" if trial in ids else name
        new._storage.set_study_system_attr(new._study_id, copied, value)


class NoteNames:
    """Which of the system attributes of a study are notes of which trial: each name is looked at once."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._others: list[str] = []
        self._of_trial: dict[str, list[str]] = {}  # by the trial's id

    def split(
        self, study: optuna.Study, trials: Sequence[FrozenTrial]
    ) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
        """The notes of these trials by their numbers, under names without their ids; and what is no trial's."""
        attributes = study._storage.get_study_system_attrs(study._study_id)
        self._take(attributes.keys() - self._known)
        notes: dict[int, dict[str, Any]] = {}
        for trial in trials:
            if names := self._of_trial.get(own := str(trial._trial_id)):
                notes[trial.number] = {name[_LENGTH + len(own) + 1 :]: attributes[name] for name in names}
        return notes, {name: attributes[name] for name in self._others if name in attributes}

    def _take(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            self._known.add(name)
            if name.startswith(_DASHBOARD) and name[_LENGTH : _LENGTH + 1].isdigit():
                self._of_trial.setdefault(name[_LENGTH : name.index(":", _LENGTH)], []).append(name)
            else:
                self._others.append(name)


def note_name(trial_id: int, rest: str) -> str:
    """The name of a trial's note among the system attributes of its study."""
    return f"{_DASHBOARD}{trial_id}:{rest}"
