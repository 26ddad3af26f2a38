"""Reads automl-car.yaml: its values, and the line that each setting stands in. Knows nothing of what settings mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from automl_car.data.ordinary import check_ordinary
from automl_car.errors import ConfigError, DataError

_MAX_BYTES = 200_000  # thousands of lines; YAML is read at 100 kB a second
_MAX_VALUE = 1_000  # characters; Python refuses to print whole numbers beyond 4300 digits
_MAX_DEPTH = 20  # sections in sections; reading takes time with the square of it
Lines = dict[tuple[str, ...], int]


def read_settings(path: Path) -> tuple[dict[str, Any], Lines]:
    """The settings of a file.

    Returns:
        The values by section and name, and the line number (from 1) of each key path.

    Raises:
        ConfigError: the file cannot be read, is not YAML, names a key twice, uses anchors, or holds no sections.
    """
    text = _read(path)
    lines = _lines_by_key(text, path)
    return _parse(text, path), lines


def _read(path: Path) -> str:
    try:
        check_ordinary(path)
        data = path.read_bytes()
    except (DataError, OSError) as error:
        reason = error.message if isinstance(error, DataError) else error.strerror
        raise ConfigError(f"The settings file `{path}` cannot be read: {reason}.") from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"The settings file `{path}` has {len(data)} bytes; more than {_MAX_BYTES} is refused.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"The settings file `{path}` is not UTF-8 at byte {error.start}.") from None


def _lines_by_key(text: str, path: Path) -> Lines:
    """Line number (from 1) of each key path; refuses keys that stand there twice."""
    with _explained(path, text):
        _refuse_bombs(text, path)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    lines: Lines = {}
    for key, line in _walk(root, ()):
        if key in lines:
            raise ConfigError(
                f"`{path}` line {line}: `{'.'.join(key)}` stands there twice, first in line {lines[key]}."
            )
        lines[key] = line
    return lines


def _refuse_bombs(text: str, path: Path) -> None:
    """Refuse what makes a small file huge or slow: anchors used again and again, endless numbers, deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ConfigError(f"`{path}` line {line} is nested too deeply.")
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"`{path}` line {line} uses a YAML anchor (`*`), which automl-car does not read.")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _MAX_VALUE:
            length = f"{len(event.value)} characters; {_MAX_VALUE} are the most"
            raise ConfigError(f"`{path}` line {line} has a value of {length}.")


def _walk(node: yaml.Node | None, prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = (*prefix, str(key.value))
            yield path, key.start_mark.line + 1
            yield from _walk(value, path)


class _Loader(yaml.SafeLoader):
    """The safe one, which tells the line also of a date or a number that cannot be one."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(problem=str(error), problem_mark=node.start_mark) from None


def _parse(text: str, path: Path) -> dict[str, Any]:
    with _explained(path, text):
        values = _values(text)
    if values is None:
        return {}
    if not isinstance(values, dict):
        kind = "list" if isinstance(values, list) else "single value"
        raise ConfigError(f"`{path}` must hold sections such as `search:`, not a {kind}.")
    # A section whose settings are all commented out reads as None.
    return {key: {} if value is None else value for key, value in values.items()}


def _values(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


@contextmanager
def _explained(path: Path, text: str) -> Iterator[None]:
    """Turn what the YAML reader raises into a ConfigError with the line."""
    try:
        yield
    except ConfigError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"`{path}` line {mark.line + 1}" if mark else f"`{path}`"
        raise ConfigError(f"{place} is not YAML that automl-car reads: {error.problem or error.context}.") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        reason = f"special characters are not allowed: {chr(error.character)!a}"
        raise ConfigError(f"`{path}` line {line} is not YAML that automl-car reads: {reason}.") from None
