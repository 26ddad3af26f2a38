"""A plugin's `build`, so that it leaves the process as it was, and so that what it raises tells whose it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from automl_car.catalog.records import Augmentation, Backbone
from automl_car.catalog.state import left_alone

Record = TypeVar("Record", Backbone, Augmentation)
_CULPRIT = "automl_car_culprit"  # attribute of an exception


@dataclass(frozen=True)
class Guarded:
    """`build` of the backbone or augmentation `name`; it may draw random numbers, as networks do."""

    name: str
    build: Callable[..., Any]

    def __call__(self, *arguments: Any, **params: Any) -> Any:
        try:
            with left_alone(seeds=False):
                return self.build(*arguments, **params)
        except (Exception, SystemExit) as error:
            setattr(error, _CULPRIT, self.name)
            raise


def guarded(record: Record) -> Record:
    """The same record with a guarded `build`."""
    return dataclasses.replace(record, build=Guarded(record.name, record.build))


def culprit_of(error: BaseException | None) -> str | None:
    """The backbone or augmentation whose `build` raised this error, or one that it came from; None for any other."""
    while error is not None:
        if name := getattr(error, _CULPRIT, None):
            return str(name)
        error = error.__cause__ or error.__context__
    return None
