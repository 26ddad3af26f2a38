"""Names of class folders and of the contest's columns in, one order of classes out; no name stays without a partner."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from automl_car.data.listing import nfc
from automl_car.data.tables import shorten
from automl_car.errors import DataError


@dataclass(frozen=True)
class Classes:
    """The classes of a problem.

    Attributes:
        names: in the order of the logits' columns.
        index: position in `names` of every name, aliases included.
    """

    names: tuple[str, ...]
    index: Mapping[str, int]


def match_classes(labels: Collection[str], columns: Sequence[str] | None, aliases: Mapping[str, str]) -> Classes:
    """Bring labels, columns and aliases together.

    Args:
        labels: names of the classes that have photos, NFC.
        columns: class columns of the sample submission, as written there; None if there is none.
        aliases: {alias: canonical}; the contest counts both names as one class.

    Returns:
        The classes in the order of the columns, a canonical name at its own place; sorted without columns.

    Raises:
        DataError: names without a partner, listed for both sides; or aliases that make no sense.
    """
    wanted = None if columns is None else [nfc(column) for column in columns]
    merged = {nfc(alias): nfc(canonical) for alias, canonical in aliases.items()}
    known = sorted({*labels, *(wanted or ())})
    _check_aliases(merged, known)
    if wanted is None:
        names = sorted({merged.get(label, label) for label in labels})
    else:
        _check_repeated(wanted)
        names = [column for column in wanted if column not in merged]
        _check_partners(names, {merged.get(label, label) for label in labels})
    position = {name: index for index, name in enumerate(names)}
    return Classes(tuple(names), {name: position[merged.get(name, name)] for name in known})


def _check_aliases(aliases: Mapping[str, str], known: Sequence[str]) -> None:
    problems = []
    for alias, canonical in aliases.items():
        for name in (alias, canonical):
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                problems.append(f"`{name}` is no class" + (f"; did you mean `{near[0]}`?" if near else ""))
        if canonical in aliases:
            problems.append(f"`{alias}` stands for `{canonical}`, which itself stands for `{aliases[canonical]}`")
    if problems:
        raise DataError(
            "class_aliases: " + "; ".join(dict.fromkeys(problems)) + ".",
            hint="Write {alias: canonical name}, each alias once, and the same canonical name for all its aliases.",
        )


def _check_repeated(columns: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise DataError(f"The sample submission has columns twice: {shorten(repeated)}.")


def _check_partners(columns: Sequence[str], with_photos: Collection[str]) -> None:
    without_column = sorted(set(with_photos) - set(columns))
    without_photos = sorted(set(columns) - set(with_photos))
    if not without_column and not without_photos:
        return
    parts = []
    if without_column:
        parts.append(
            f"{len(without_column)} classes with photos have no column in the sample submission: "
            f"{_with_near(without_column, without_photos)}"
        )
    if without_photos:
        parts.append(
            f"{len(without_photos)} columns of the sample submission have no training photos: {shorten(without_photos)}"
        )
    raise DataError(
        "; ".join(parts) + ".",
        hint="A class without photos cannot be learnt. Add its photos, correct the name of its folder, or, if the "
        "contest counts two names as one class, write {name: same as} under class_aliases.",
    )


def _with_near(names: Sequence[str], others: Sequence[str]) -> str:
    shown = []
    for name in names[:8]:
        near = difflib.get_close_matches(name, others, n=1)
        shown.append(f"`{name}`" + (f" (near the column `{near[0]}`)" if near else ""))
    return ", ".join(shown) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
