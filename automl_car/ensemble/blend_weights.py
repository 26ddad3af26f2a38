"""The weights that a person asks for: text such as `A=0.7,B=0.3` in; a weight for each file out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence

from automl_car.ensemble.predictions import shorten
from automl_car.errors import ConfigError


def parse_weights(text: str, names: Sequence[str], note: Callable[[str], None]) -> dict[str, float]:
    """Weights above 0 with sum 1, in the order of `names`; files that are not named are left out.

    Args:
        text: NAME=NUMBER, separated by commas; a name is that of the file, with or without `.csv`.
        names: of the files, without `.csv`.
        note: told which files are left out.

    Raises:
        ConfigError: a name that is no file or stands twice, a number that is none or negative, or nothing above 0.

    Example:
        >>> parse_weights("b.csv=1,a=3", ["a", "b"], print)
        {'a': 0.75, 'b': 0.25}
    """
    given: dict[str, float] = {}
    for part in text.split(","):
        name, number = _parse(part, names)
        if name in given:
            raise ConfigError(f"--weights names `{name}` twice.")
        given[name] = number
    total = sum(given.values())
    if total == 0:
        raise ConfigError(f"--weights `{text}`: all weights are 0.", hint="At least one file needs a weight above 0.")
    left_out = [name for name in names if not given.get(name)]
    if left_out:
        note(f"left out, because --weights gives them nothing: {shorten(left_out)}")
    return {name: given[name] / total for name in names if given.get(name)}


def _parse(part: str, names: Sequence[str]) -> tuple[str, float]:
    name, equals, number = (word.strip() for word in part.rpartition("="))
    if not equals:
        raise ConfigError(f"--weights `{part}` is not NAME=NUMBER.", hint="For example: --weights A=0.7,B=0.3")
    if name not in names:
        name = name.removesuffix(".csv")
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise ConfigError(
            f"--weights names `{name}`, which is none of the files: {shorten(list(names))}.",
            hint=f"Did you mean `{near[0]}`?" if near else None,
        )
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise ConfigError(f"--weights `{part.strip()}`: a weight is a number of at least 0.")
    return name, weight
