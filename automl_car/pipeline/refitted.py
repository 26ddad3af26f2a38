"""What `automl-car refit` has left of an ensemble: the model of each member that was trained on all photos."""

from __future__ import annotations

from pathlib import Path

from automl_car.ensemble.fitting import pool_of, predict
from automl_car.ensemble_records import Ensemble, Member
from automl_car.errors import StudyError
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.pipeline.bundle_parts import Models, fold_models
from automl_car.records import FloatArray
from automl_car.search.refit import refit_task
from automl_car.store import read_logits, read_recipe, read_result


def refit_models(store: Path, ensemble: Ensemble) -> Models:
    """The one model of each member.

    Args:
        store: of the study.

    Raises:
        StudyError: a member was not refitted, or has no networks at all.
    """
    models = fold_models(store, ensemble)
    found = {member.name: _folder(store, member, models[member.name]) for member in ensemble.members}
    if missing := [name for name, folder in found.items() if read_result(folder) is None]:
        raise StudyError(
            f"{' and '.join(missing)} of study `{store.name}` {'are' if len(missing) > 1 else 'is'} not trained on all "
            "photos.",
            hint="run `automl-car refit` first, with the same --top-k.",
        )
    return {name: (folder,) for name, folder in found.items()}


def _folder(store: Path, member: Member, folds: tuple[Path, ...]) -> Path:
    """Where the refit is kept that its finished folds lead to."""
    results = [result for result in map(read_result, folds) if isinstance(result, FoldResult)]
    any_fold = FoldTask(read_recipe(folds[0]), member.recipe_id, member.folds[0], store, store)
    return refit_task(any_fold, results).fold_directory


def refit_probabilities(models: Models, ensemble: Ensemble) -> FloatArray:
    """Probabilities (T, C) of the test photos by these models, with the numbers of the ensemble."""
    logits = [read_logits(models[member.name][0], views=member.views).test for member in ensemble.members]
    return predict(pool_of(ensemble), logits)
