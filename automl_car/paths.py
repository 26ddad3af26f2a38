"""Names that others chose, and the files that they lead to: none leaves the folder that it belongs to."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from automl_car.errors import ConfigError


def plain_name(name: str, what: str) -> str:
    """The same name, if it is that of a file or folder and no path.

    Args:
        name: of a study, for example.
        what: for the message, such as "study".

    Raises:
        ConfigError: it has a slash in it, is `..`, or is empty.
    """
    if not name or name in (".", "..") or any(sign in name for sign in "/\\\0"):
        raise ConfigError(f"`{name}` cannot be the name of a {what}.", hint="a name holds no `/`, and is not `..`.")
    return name


def stays_inside(name: str) -> bool:
    """Whether a relative path leads to no other folder, on any system.

    Example:
        >>> stays_inside("weights/head.safetensors"), stays_inside("../x"), stays_inside("C:\\\\x"), stays_inside("/x")
        (True, False, False, False)
    """
    return not any(
        path.is_absolute() or path.anchor or ".." in path.parts for path in (PurePosixPath(name), PureWindowsPath(name))
    )


def is_own_file(folder: Path, name: str) -> bool:
    """Whether a folder has a plain file of that relative path: no link on the way, and no pipe, which never ends."""
    place = folder
    for part in PurePosixPath(name).parts:
        place /= part
        if place.is_symlink():
            return False
    return place.exists() and stat.S_ISREG(place.lstat().st_mode)
