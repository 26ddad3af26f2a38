"""What went wrong with a plugin, in words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from automl_car.errors import PluginError

# Packages that are installed under another name than they are imported by.
_INSTALLED_AS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def describe_error(error: BaseException) -> str:
    """What plugin code raised; of a missing package, how to install it."""
    if isinstance(error, PluginError):
        return error.message
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}) while it was loaded."
    return f"{type(error).__name__}: {error}{how_to_install(error)}"


def how_to_install(error: BaseException) -> str:
    """How to install the package that an import did not find; empty for any other error.

    Example:
        >>> how_to_install(ModuleNotFoundError("No module named 'cv2.dnn'", name="cv2.dnn"))
        ' (`pip install opencv-python-headless` may bring it)'
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    package = error.name.partition(".")[0]
    return f" (`pip install {_INSTALLED_AS.get(package, package)}` may bring it)"


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """` Did you mean ...?` with the nearest of the known names, or nothing."""
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean `{near[0]}`?" if near else ""
