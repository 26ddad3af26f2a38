"""The rules that an executor must keep: it is built with its defaults, asked what there is, and given small tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from automl_car.catalog.records import ExecutorContext, ExecutorKind, PluginSources
from automl_car.catalog.words import describe_error
from automl_car.errors import AutomlCarError, PluginError
from automl_car.fold_records import Machine, Speed, SpeedTask
from automl_car.records import Recipe

METHODS = ("machine", "slots", "submit", "measure", "close")
_SECONDS = 600.0  # for an answer; whoever checks plugins has a time limit of their own

_NETWORK = '''
"""The smallest network that can be trained."""
from automl_car import Backbone, hookimpl

def build(num_classes, *, pretrained=True):
    from torch import nn
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

@hookimpl
def register_backbones():
    return [Backbone("smallest", build, image_size=16, source="made up")]
'''


@dataclass
class ExecutorBench:
    """An executor, an empty folder, and what the rules so far have made of it."""

    kind: ExecutorKind
    folder: Path
    made: dict[str, Any] = field(default_factory=dict)

    def close(self) -> None:
        """End it, if it was built and has not been asked to."""
        if (executor := self.made.pop("executor", None)) is not None:
            executor.close()


def methods_missing(executor: object) -> tuple[str, ...]:
    """The methods of an executor that an object has not."""
    return tuple(name for name in METHODS if not callable(getattr(executor, name, None)))


def _builds(bench: ExecutorBench) -> None:
    context = ExecutorContext(lambda task, message: None, bench.folder / "worker.log", lambda text: None)
    executor = _call(f"`build` of `{bench.kind.name}`", lambda: bench.kind.open(context, {}))
    if lacking := methods_missing(executor):
        raise PluginError(f"`build` of `{bench.kind.name}` returned {type(executor).__name__}, without `{lacking[0]}`.")
    bench.made["executor"] = executor


def _knows_its_machine(bench: ExecutorBench) -> None:
    executor, name = bench.made["executor"], bench.kind.name
    machine = _call(f"`machine` of `{name}`", executor.machine)
    if not isinstance(machine, Machine):
        raise PluginError(f"`machine` of `{name}` returned {type(machine).__name__}, not a Machine.")
    slots = _call(f"`slots` of `{name}`", executor.slots)
    if type(slots) is not int or slots < 1:
        raise PluginError(f"`slots` of `{name}` returned {slots!r}, not a whole number from 1.")


def _answers_tasks(bench: ExecutorBench) -> None:
    plugin = bench.folder / "smallest.py"
    plugin.write_text(_NETWORK, encoding="utf-8")
    speed = _answer(bench, _task(bench, "smallest", PluginSources(files=(plugin,))))
    if not isinstance(speed, Speed) or not speed.training > 0:
        raise PluginError(f"`measure` of `{bench.kind.name}` answered {speed!r}, not the Speed of a recipe.")


def _hands_errors_on(bench: ExecutorBench) -> None:
    task = _task(bench, "no_such_backbone", PluginSources())
    try:
        answer = bench.made["executor"].measure(task).result(_SECONDS)
    except AutomlCarError:
        return
    except BaseException as error:  # any plugin code may run here
        raise PluginError(f"`{bench.kind.name}` tells what went wrong by {describe_error(error)}") from error
    raise PluginError(f"`{bench.kind.name}` answered {answer!r} for a backbone that there is not.")


def _ends(bench: ExecutorBench) -> None:
    executor, name = bench.made.pop("executor"), bench.kind.name
    _call(f"`close` of `{name}`", executor.close)
    _call(f"`close` of `{name}`, a second time,", executor.close)


def _task(bench: ExecutorBench, backbone: str, plugins: PluginSources) -> SpeedTask:
    recipe = Recipe(backbone, image_size=16, batch_size=4, epochs=1, weights="random")
    return SpeedTask(recipe, 3, bench.folder / "cache", images=8, plugins=plugins, step="plain")


def _answer(bench: ExecutorBench, task: SpeedTask) -> Any:
    def ask() -> Any:
        future = bench.made["executor"].measure(task)
        if not isinstance(future, Future):
            raise PluginError(f"`measure` of `{bench.kind.name}` returned {type(future).__name__}, not a Future.")
        try:
            return future.result(_SECONDS)
        except TooLate:
            raise PluginError(f"`{bench.kind.name}` did not answer within {_SECONDS:.0f} s.") from None

    return _call(f"`measure` of `{bench.kind.name}`", ask)


def _call(what: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except PluginError:
        raise
    except BaseException as error:  # any plugin code may run here, `sys.exit()` included
        raise PluginError(f"{what} raised {describe_error(error)}") from error


EXECUTOR_RULES: Mapping[str, Callable[[ExecutorBench], None]] = {
    "start": _builds,
    "machine": _knows_its_machine,
    "tasks": _answers_tasks,
    "errors": _hands_errors_on,
    "close": _ends,
}
