"""Whose fault it is when a fold cannot be trained: that of a plugin, and of which, or nobody's.

In the training process, an error is followed to the call into a plugin that it came from. Where the process died, its
exit code says it, or what it was training: of plugins that do not come with automl-car, those that have not yet shown
in a finished fold that they work.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping
from types import CodeType

from automl_car.catalog.guarded import culprit_of
from automl_car.catalog.joint import is_joint, parts_of
from automl_car.errors import AutomlCarError, ExecutorError, PluginError
from automl_car.records import Recipe

# Exit codes of a training process in which a plugin did not come back from being tried out.
HUNG_BACKBONE, HUNG_AUGMENTATION = 79, 80
# What ends a process from outside: a person, a scheduler, or the system when memory runs out.
_FROM_OUTSIDE = (-signal.SIGTERM, -signal.SIGINT, *([-signal.SIGKILL] if hasattr(signal, "SIGKILL") else []))


def used(recipe: Recipe) -> tuple[str, ...]:
    """Names of what plugins offer for a recipe; a head is trained without an augmentation."""
    return parts_of(recipe.backbone) if recipe.tuning == "head" else (recipe.backbone, recipe.augmentation)


def blame(error: BaseException, recipe: Recipe) -> tuple[str, ...]:
    """In the training process: the backbone or augmentation whose code, or whose answer, made this error."""
    if name := culprit_of(error):
        return (name,)
    if "CUDA error" in str(error):  # it comes up wherever the device is used next
        return ()
    from automl_car.training.augment import augment, build_transform
    from automl_car.training.folding import fold_batch_norm
    from automl_car.training.step import Passes

    backbone = _at_work(error, recipe)
    doors = {
        augment.__code__: recipe.augmentation,
        build_transform.__code__: recipe.augmentation,
        Passes.forward.__code__: backbone,
        Passes.backward.__code__: backbone,
        fold_batch_norm.__code__: backbone,
    }
    if name := _last_door(error, doors):
        return (name,)
    if f'"{augment.__code__.co_filename}"' in str(error):  # a loader process tells its traceback as text
        return (recipe.augmentation,)
    return parts_of(backbone) if isinstance(error, PluginError) else ()


def _at_work(error: BaseException, recipe: Recipe) -> str:
    """Of several backbones side by side the one whose features were computed."""
    from automl_car.training.work import Work

    step = error.__traceback__ if is_joint(recipe.backbone) else None
    while step is not None:
        if step.tb_frame.f_code is Work._features.__code__:
            name: str = step.tb_frame.f_locals["backbone"].name
            return name
        step = step.tb_next
    return recipe.backbone


def _last_door(error: BaseException, doors: Mapping[CodeType, str]) -> str | None:
    """Whose code was called last; where that raised something that was put into other words, before that."""
    found, step = None, error.__traceback__
    while step is not None:
        found = doors.get(step.tb_frame.f_code, found)
        step = step.tb_next
    return found if found or error.__cause__ is None else _last_door(error.__cause__, doors)


def culprits(error: AutomlCarError, recipe: Recipe, working: Collection[str]) -> tuple[str, ...]:
    """In the driver: the backbones and augmentations that a trial failed by; none where it was nobody's plugin.

    Args:
        error: that the trial ended with.
        recipe: of the trial.
        working: those that have a finished fold.
    """
    code, hung = _exit_code(error), isinstance(error, ExecutorError) and error.hung
    if code is None and not hung:
        return error.culprits
    if code in _FROM_OUTSIDE and not hung:
        return ()
    if code == HUNG_BACKBONE:
        return parts_of(recipe.backbone)
    if code == HUNG_AUGMENTATION:
        return (recipe.augmentation,)
    suspects = used(recipe)
    return tuple(name for name in suspects if name not in working) or suspects


def _exit_code(error: BaseException | None) -> int | None:
    """Of the training process that died, also where a second one did what the first one had done."""
    while error is not None:
        if isinstance(error, ExecutorError) and error.exit_code is not None:
            return error.exit_code
        error = error.__cause__
    return None


def in_words(error: AutomlCarError) -> str:
    """What happened; of a process that ended itself because it was stuck, why."""
    if _exit_code(error) in (HUNG_BACKBONE, HUNG_AUGMENTATION):
        return "it did not come back from being tried out on two images within `plugins.time_limit`."
    return error.message
