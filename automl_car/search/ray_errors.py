"""What errors of Ray mean for a fold: its node or process was lost, the cluster is gone, or a node lacks something."""

from __future__ import annotations

import re

from automl_car.errors import AutomlCarError, ExecutorError, KilledError, MachineError, ProcessLostError

_AGAIN = "and run the same command again; what is finished is kept."
# By name: another version of Ray may lack one of them. Their subclasses are meant, too.
_KILLED = ("OutOfMemoryError",)
_LOST = (
    "WorkerCrashedError",
    "NodeDiedError",
    "LocalRayletDiedError",
    "ActorDiedError",
    "ObjectLostError",  # and OwnerDiedError, ObjectFetchTimedOutError …
    "ObjectRefStreamEndOfStreamError",
)
_IMPORTS = ("ModuleNotFoundError", "ImportError", "AttributeError")


def explain(error: BaseException) -> AutomlCarError:
    """What to tell the search of an error that Ray raised in place of an answer."""
    if isinstance(error, AutomlCarError):
        return error
    kinds = {kind.__name__ for kind in type(error).__mro__}
    words = _first_lines(error)
    if kinds & set(_KILLED):
        return KilledError("Ray ended the training process, as the memory of its node ran out.", hint=words)
    if kinds & set(_LOST):
        return ProcessLostError("The node or its process of Ray was lost.", hint=words)
    if "TaskCancelledError" in kinds:
        return ExecutorError("The training process was ended with the search.")
    if "TaskUnschedulableError" in kinds:
        return MachineError(f"Ray has no node for a fold: {words}", hint="see to the cluster (`ray status`) " + _AGAIN)
    if "RayTaskError" in kinds:
        return _raised_there(error, words)
    return head_is_lost(f"{type(error).__name__}: {words}")


def head_is_lost(why: str) -> MachineError:
    """The cluster does not answer any more."""
    return MachineError(
        f"The connection with the cluster of Ray is lost: {why}", hint="see to its head (`ray status`) " + _AGAIN
    )


def _raised_there(error: BaseException, words: str) -> AutomlCarError:
    """Something was raised on the node outside of training: it lacks a part of automl-car, or there is a bug."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, AutomlCarError):
        return cause
    if type(cause).__name__ in _IMPORTS:
        return MachineError(
            f"A node of Ray cannot run automl-car: {type(cause).__name__}: {cause}",
            hint="install the same version of automl-car on every node.",
        )
    name = type(cause or error).__name__
    return ExecutorError(f"A node of Ray raised {name}: {cause or words}", hint=_plain(str(error)))


def _first_lines(error: BaseException) -> str:
    lines = [line.strip() for line in _plain(str(error)).splitlines() if line.strip()]
    return " ".join(lines[:3]) or type(error).__name__


def _plain(text: str) -> str:
    """Without the colours that Ray puts into its messages."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)
