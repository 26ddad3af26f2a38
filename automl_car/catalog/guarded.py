"""A plugin's `build`, so that it leaves the process as it was, and so that what it raises tells whose it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from automl_car.catalog.records import Augmentation, Backbone
from automl_car.catalog.state import left_alone

Record = TypeVar("Record", Backbone, Augmentation)
_CULPRIT = "automl_car_culprit"  # attribute of an exception


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Whatever is raised in the block is told to be that of `name`."""
    try:
        yield
    except (Exception, SystemExit) as error:
        setattr(error, _CULPRIT, name)
        raise


@dataclass(frozen=True)
class Guarded:
    """`build` of the backbone or augmentation `name`; it may draw random numbers, as networks do."""

    name: str
    build: Callable[..., Any]

    def __call__(self, *arguments: Any, **params: Any) -> Any:
        with blaming(self.name), left_alone(seeds=False):
            return self.build(*arguments, **params)


def guarded(record: Record) -> Record:
    """The same record with a guarded `build`."""
    return dataclasses.replace(record, build=Guarded(record.name, record.build))


def culprit_of(error: BaseException | None) -> str | None:
    """The backbone or augmentation that is blamed for this error, or for one that it came from; None for any other."""
    while error is not None:
        if name := getattr(error, _CULPRIT, None):
            return str(name)
        error = error.__cause__ or error.__context__
    return None
