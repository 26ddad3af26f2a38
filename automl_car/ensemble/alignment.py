"""Prediction files of any origin in; the same rows and columns, in the same order, out.

Files are matched by name alone, never by place: another order of rows or columns is put right and told, other rows or
columns are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from automl_car.ensemble.predictions import Predictions, shorten
from automl_car.errors import DataError


def align(
    files: Mapping[str, Predictions], note: Callable[[str], None], *, columns: tuple[str, Sequence[str]] | None = None
) -> dict[str, Predictions]:
    """All files with the ids and the columns of the first one, in its order.

    Args:
        files: what was read, by the name that messages call each file.
        note: told in a line of each file that had another order.
        columns: name and class columns of the file whose columns all must have; by default the first one.

    Raises:
        DataError: ids or class columns differ as sets; the message says for each file how many and which.
    """
    first = next(iter(files))
    source, wanted = columns or (first, files[first].columns)
    differences = [
        difference
        for name, file in files.items()
        for difference in (
            _difference("class columns", name, file.columns, source, wanted),
            _difference("ids", name, file.ids, first, files[first].ids),
        )
        if difference
    ]
    if differences:
        raise DataError("Prediction files do not fit together: " + "; ".join(differences) + ".")
    aligned = {}
    for name, file in files.items():
        aligned[name] = _in_order(file, wanted, files[first].ids)
        if file.columns != tuple(wanted):
            note(f"{name}: the columns have another order than in {source}; they are matched by name")
        if file.ids != files[first].ids:
            note(f"{name}: the rows have another order than in {first}; they are matched by id")
    return aligned


def _difference(kind: str, name: str, given: Sequence[str], source: str, wanted: Sequence[str]) -> str:
    """What one file has too many and too few; empty where there is nothing."""
    extra, missing = sorted(set(given) - set(wanted)), sorted(set(wanted) - set(given))
    parts = []
    if extra:
        parts.append(f"has {len(extra)} {kind} that {source} lacks ({shorten(extra)})")
    if missing:
        parts.append(f"lacks {len(missing)} {kind} of {source} ({shorten(missing)})")
    return f"{name} {' and '.join(parts)}" if parts else ""


def _in_order(file: Predictions, columns: Sequence[str], ids: Sequence[str]) -> Predictions:
    values = file.values
    if file.columns != tuple(columns):
        position = {name: index for index, name in enumerate(file.columns)}
        values = values[:, [position[name] for name in columns]]
    if file.ids != tuple(ids):
        position = {name: index for index, name in enumerate(file.ids)}
        values = values[[position[name] for name in ids]]
    return replace(file, columns=tuple(columns), ids=tuple(ids), values=values)
