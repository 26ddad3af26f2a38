"""What belongs to the whole process, and what a plugin's code must therefore leave as it was.

A plugin that seeds `random`, silences all warnings or takes torch's threads away would change every other recipe of a
search without a word. So what it changes is put back, and `automl-car plugins check` says what it was.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

_SEEDS = ("the seed of `random`", "the seed of numpy", "the seed of torch")
_FILTERS = "the filters of `warnings`"


@contextmanager
def left_alone(*, seeds: bool = True) -> Iterator[None]:
    """Run plugin code so that nothing of the process stays changed, and what it prints goes to stderr.

    Args:
        seeds: whether random numbers go on as if none had been drawn.
    """
    before = {name: value for name, value in snapshot().items() if seeds or name not in _SEEDS}
    try:
        with stdout_to_stderr():
            yield
    finally:
        put_back(before)


def snapshot() -> Mapping[str, Any]:
    """What plugin code should not change, by its name in words."""
    return {name: read() for name, (read, _) in _parts().items()}


def changes(before: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of what is no longer as it was in a snapshot."""
    now = snapshot()
    due = {**before, _FILTERS: _with_added(before[_FILTERS])} if _FILTERS in before else before
    return tuple(name for name in before if name in now and repr(now[name]) != repr(due[name]))


def put_back(before: Mapping[str, Any]) -> None:
    """Make everything as it was in a snapshot, where it has changed."""
    changed = changes(before)
    for name, (_, write) in _parts().items():
        if name in changed:
            write(before[name])


def _parts() -> dict[str, tuple[Callable[[], Any], Callable[[Any], object]]]:
    """How each part is read and written. A library that was not loaded has no state yet, and keeps the one it gets."""
    parts: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
        "the seed of `random`": (random.getstate, random.setstate),
        "the folder that the process works in": (os.getcwd, os.chdir),
        _FILTERS: (lambda: list(warnings.filters), _restore_filters),
        "`sys.stdout` or `sys.stderr`": (lambda: (sys.stdout, sys.stderr), _restore_streams),
    }
    if threading.current_thread() is threading.main_thread():  # no other one may set them
        for name, number in {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}.items():
            parts[f"what {name} does"] = (_handler(number), _restore_handler(number))
    if (numpy := sys.modules.get("numpy")) and hasattr(numpy, "random"):
        parts["the seed of numpy"] = (numpy.random.get_state, numpy.random.set_state)
    if (torch := sys.modules.get("torch")) and hasattr(torch, "compile"):  # else its import has failed half-way
        parts["the seed of torch"] = (lambda: torch.get_rng_state().tolist(), _restore_torch_seed)
        parts["the number of torch's threads"] = (torch.get_num_threads, torch.set_num_threads)
        parts["torch's default type"] = (torch.get_default_dtype, torch.set_default_dtype)
        parts["whether torch computes gradients"] = (torch.is_grad_enabled, torch.set_grad_enabled)
        parts["whether torch is deterministic"] = (
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        )
    return parts


def _handler(number: signal.Signals) -> Callable[[], Any]:
    return lambda: signal.getsignal(number)


def _restore_handler(number: signal.Signals) -> Callable[[Any], object]:
    return lambda handler: None if handler is None else signal.signal(number, handler)


def _restore_torch_seed(state: list[int]) -> None:
    torch = sys.modules["torch"]
    torch.set_rng_state(torch.tensor(state, dtype=torch.uint8))


def _restore_filters(before: list[Any]) -> None:
    warnings.filters[:] = _with_added(before)  # type: ignore[index]


def _with_added(before: list[Any]) -> list[Any]:
    """Those filters, after all newer ones that speak of one message, module or library's own kind of warning.

    The libraries that a plugin imports add such, as torch and sympy do; they hide nothing of anybody else.
    """
    added = [entry for entry in warnings.filters if entry not in before and not _is_wide(entry)]
    return [*added, *before]


def _is_wide(entry: Any) -> bool:
    _, message, category, module, _ = entry
    return not message and not module and category.__module__ == "builtins"


def _restore_streams(streams: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = streams


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what is printed to stderr, also by C code and child processes: stdout belongs to `--json`."""
    sys.stdout.flush()
    try:
        saved = os.dup(1)
    except OSError:  # it is closed
        with redirect_stdout(sys.stderr):
            yield
        return
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 1)
        os.close(saved)
