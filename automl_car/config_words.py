"""What is wrong with settings, in words: each value, its line or option, and what is expected in its place."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from automl_car.settings_file import Lines
from automl_car.urls import without_password

Known = Mapping[str, Sequence[str]]
"""The names of all settings, by section."""

# Options whose name is not that of the setting.
_OPTIONS = {
    "search.backbones": "--backbone",
    "search.augmentations": "--augmentation",
    "data.directory": "--data",
    "plugins.files": "--plugin",
    "plugins.local": "--no-local-plugins",
}
_MOST_REPORTED = 50  # problems; a file of another program may have thousands
# What pydantic says in words of Python, said in words of YAML.
_EXPECTED = {
    "invalid_key": "a setting has a word as its name",
    "model_type": "a section holds indented lines such as `setting: value`",
    "tuple_type": "write a list such as [a, b]",
    "dict_type": "write a mapping such as {a: b}",
    "string_type": "write a text; one that YAML reads as a number or as a date goes in quotes",
    "path_type": "write a path; one that YAML reads as a number or as a date goes in quotes",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "finite_number": "write a finite number",
}


def describe_problems(
    error: ValidationError, known: Known, lines: Lines, given: Mapping[str, Any], path: Path | None
) -> str:
    """A line for each problem, in the order of the file.

    Args:
        known: all settings that there are.
        lines: of the settings in the file.
        given: settings of the command line, by dotted name.
        path: of the file, or None without one.
    """
    in_order = sorted(error.errors(), key=lambda problem: lines.get(_written_key(problem, known), 0))
    reported = in_order[:_MOST_REPORTED]
    unique = list(dict.fromkeys(_describe(problem, known, lines, given, path) for problem in reported))
    if len(in_order) > _MOST_REPORTED:
        unique.append(f"… and {len(in_order) - _MOST_REPORTED} problems more.")
    return "\n".join(unique)


def _describe(problem: Any, known: Known, lines: Lines, given: Mapping[str, Any], path: Path | None) -> str:
    key = _written_key(problem, known)
    dotted = ".".join(key)
    place = f"`{path}` line {lines[key]}" if key in lines else f"`{path}`"
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown setting `{dotted}`.{_near(key, known)}"
    reason = f"`{_shown(problem['input'])}` is wrong: {_expected(problem)}."
    if dotted in given:
        option = _OPTIONS.get(dotted, f"--{key[-1].replace('_', '-')}")
        return f"command line: {option} {reason}"
    return f"{place}: {dotted}: {reason}"


def _written_key(problem: Any, known: Known) -> tuple[str, ...]:
    """The part of pydantic's location that a user wrote; it also names union members and tuple positions."""
    location = tuple(str(part) for part in problem["loc"])
    depth = 3 if location[0] in ("trackers", "executors") else 2
    return location[:depth] if location[0] in known else location[:1]


def _expected(problem: Any) -> str:
    if problem["type"] in _EXPECTED:
        return _EXPECTED[problem["type"]]
    message: str = problem["msg"]
    return message.removeprefix("Value error, ").replace("Input should be", "it must be")


def _near(key: tuple[str, ...], known: Known) -> str:
    names = known[key[0]] if len(key) > 1 else list(known)
    near = difflib.get_close_matches(key[-1], names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean `{'.'.join((*key[:-1], near[0]))}`?"
    for section, settings in known.items():
        if key[-1] in settings:
            return f" Did you mean `{section}.{key[-1]}`?"
    return f" Known here: {', '.join(names)}."


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = without_password(" ".join(text.split()))
    return text if len(text) <= 80 else f"{text[:77]}…"
