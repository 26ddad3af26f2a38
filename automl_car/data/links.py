"""Photos of a data folder in; refused are those that a link brings in from elsewhere on the machine.

Whoever packed the folder could otherwise have private photos trained on, shown in reports and put into bundles. Links
that lie directly in the data folder, such as `train` on another disk, are its owner's and are followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from automl_car.data.ordinary import kind_of
from automl_car.data.tables import shorten
from automl_car.errors import DataError

_HINT = "Put the photos themselves there; or, if you know who made the links, set data.follow_links to true."


def refuse_foreign(root: Path, paths: Iterable[str]) -> None:
    """Raise DataError if a photo lies outside of the data folder in truth.

    Args:
        root: the data folder.
        paths: of photos, relative to it.
    """
    folders = [root, *(entry for entry in root.iterdir() if kind_of(entry) == "folder")]
    homes = sorted({os.path.realpath(folder) for folder in folders}, key=len)  # the data folder itself comes early
    real: dict[str, tuple[str, bool]] = {}  # of folders: resolving each photo's would take as long as listing
    foreign = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder not in real:
            place = os.path.realpath(root / folder)
            real[folder] = place, _is_within(place, homes)
        place, inside = real[folder]
        link = f"{place}{os.sep}{name}"
        if not (_is_within(os.path.realpath(link), homes) if os.path.islink(link) else inside):  # noqa: PTH114 - a text
            foreign.append(path)
    if foreign:
        raise DataError(
            f"{len(foreign)} photos are links that lead out of the data folder {root}: {shorten(foreign, 5)}.",
            hint=_HINT,
        )


def refuse_loops(folders: Sequence[Path]) -> None:
    """Raise DataError if a class folder is a link to a folder that it lies in."""
    for folder in folders:
        if folder.is_symlink() and Path(os.path.realpath(folder.parent)).is_relative_to(os.path.realpath(folder)):
            raise DataError(
                f"The class folder {folder} is a link to a folder that it lies in.", hint="Remove the link."
            )


def _is_within(place: str, homes: Sequence[str]) -> bool:
    return any(Path(place).is_relative_to(home) for home in homes)
