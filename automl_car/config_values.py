"""The kinds of values that settings have, each with words for what is expected."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema, WrapValidator

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: object) -> object:
    """Seconds from `90`, `"90"`, `"90s"`, `"30m"`, `"1h30m"` or `"2d"`.

    Example:
        >>> parse_duration("1h30m")
        5400.0
    """
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    if not re.fullmatch(r"(\d+(\.\d+)?\s*[smhd]\s*)+", value.strip()):
        raise ValueError("write a duration such as 90s, 30m, 1h30m or 2d")
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", value)
    return float(sum(float(number) * _UNITS[unit] for number, unit in parts))


def parse_day(value: object) -> date:
    """A date, as YAML reads one, or as text.

    Example:
        >>> parse_day("2025-05-19")
        datetime.date(2025, 5, 19)
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        raise ValueError("write a date such as 2025-05-19")
    return date.fromisoformat(value)


def _check_study_name(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"[^\W_][\w.@-]{0,99}", name):
        raise ValueError("a study name begins with a letter or digit and holds letters, digits, `.`, `@`, `-` and `_`")
    return name


def _check_range(value: float | tuple[float, float]) -> float | tuple[float, float]:
    if isinstance(value, tuple) and not value[0] < value[1]:
        raise ValueError("the first end of a range must be below the second")
    return value


def _expect(text: str) -> WrapValidator:
    """One problem that says what is expected, in place of one for each kind of value that a setting may have."""

    def check(value: object, validate: Callable[[object], object]) -> object:
        try:
            return validate(value)
        except ValidationError:
            raise ValueError(text) from None

    return WrapValidator(check)


_DURATION = {"type": "string", "pattern": r"^\s*(\d+(\.\d+)?\s*[smhd]\s*)+$|^\d+(\.\d+)?$"}
Seconds = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _DURATION]}),
]
Day = Annotated[date, BeforeValidator(parse_day), WithJsonSchema({"type": "string", "format": "date"})]
StudyName = Annotated[str | None, AfterValidator(_check_study_name)]
Whole = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Workers = Annotated[
    Literal["auto"] | Count,
    _expect("write auto, or a whole number of at least 1"),
]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[
    Positive | tuple[Positive, Positive],
    AfterValidator(_check_range),
    _expect("write a number above 0, or a range [low, high] of two such numbers with low < high"),
]
Range = Annotated[
    NotNegative | tuple[NotNegative, NotNegative],
    AfterValidator(_check_range),
    _expect("write a number of at least 0, or a range [low, high] of two such numbers with low < high"),
]
ShareRange = Annotated[
    Share | tuple[Share, Share],
    AfterValidator(_check_range),
    _expect("write a number from 0 to 1, or a range [low, high] of two such numbers with low < high"),
]
Names = Annotated[
    Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)],
    _expect("write auto, or a list of names such as [a, b]"),
]
Side = Annotated[int, Field(ge=16, le=4096)]
Sides = Annotated[
    Literal["auto"] | Side | Annotated[tuple[Side, ...], Field(min_length=1)],
    _expect("write auto, a whole number of pixels from 16 to 4096, or a list of such numbers"),
]
ViewCount = Annotated[int, Field(ge=1, le=6)]
ViewCounts = Annotated[
    ViewCount | Annotated[tuple[ViewCount, ...], Field(min_length=1)],
    _expect("write a whole number from 1 to 6, or a list of such numbers"),
]
PluginValue = Annotated[
    bool | int | float | str,
    _expect("write a text, a number, or true or false; a date goes in quotes"),
]
Weights = Annotated[
    str | dict[str, str],
    _expect("write pretrained, random or a file, or a mapping {backbone: one of these}"),
]
