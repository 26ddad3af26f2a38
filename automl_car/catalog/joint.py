"""Names of backbones side by side, such as `convnext_tiny+resnet50`: one head learns from the features of all.

What one frozen network does not see, another one does, and a head on the features of both knows how they go together;
a pool of two heads only averages what each of them says.
"""

from __future__ import annotations

from collections.abc import Iterable

SIGN = "+"  # no backbone has it in its name
_NO_VERSION = "-"


def parts_of(name: str) -> tuple[str, ...]:
    """The backbones of a name, sorted; itself where it is that of a single one.

    Example:
        >>> parts_of("convnext_tiny+resnet50"), parts_of("resnet50")
        (('convnext_tiny', 'resnet50'), ('resnet50',))
    """
    return tuple(name.split(SIGN))


def is_joint(name: str) -> bool:
    """Whether it is the name of several backbones."""
    return SIGN in name


def joint_name(names: Iterable[str]) -> str:
    """The one name of these backbones together, whatever their order."""
    return SIGN.join(sorted(set(names)))


def single(names: Iterable[str]) -> tuple[str, ...]:
    """All backbones that are named, alone or with others, each once, sorted."""
    return tuple(sorted({part for name in names for part in parts_of(name)}))


def joint_version(versions: Iterable[str]) -> str:
    """The versions of all plugins of a joint backbone; empty where all of them come with automl-car.

    Example:
        >>> joint_version(["", "1.2"]), joint_version(["", ""])
        ('- 1.2', '')
    """
    all_of_them = tuple(versions)
    return " ".join(version or _NO_VERSION for version in all_of_them) if any(all_of_them) else ""


def versions_of(version: str, count: int) -> tuple[str, ...]:
    """What `joint_version` has joined, of so many parts.

    Example:
        >>> versions_of("- 1.2", 2), versions_of("", 2)
        (('', '1.2'), ('', ''))
    """
    if not version:
        return ("",) * count
    return tuple("" if part == _NO_VERSION else part for part in version.split(" ")) if count > 1 else (version,)
