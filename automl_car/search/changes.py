"""Says in words how the space of a study differs from that of an earlier run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from automl_car.ensemble.predictions import shorten

_MOST = 4  # changes that are told one by one


def why_changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What has changed from one space to another, on one line; empty when they are the same.

    Args:
        old, new: what `Space.to_json` gives; what an older version of this program did not know may be missing.

    Example:
        >>> why_changed({"backbones": ["a"], "ranges": {"mixup": 0.0}}, {"backbones": ["a", "b"], "ranges": {}})
        'backbone `b` added; `mixup` 0.0 → none'
    """
    both = {name for key in ("backbones", "augmentations") for name in old.get(key, ()) if name in new.get(key, ())}
    others = sorted((set(old) | set(new)) - set(_WORDS))
    changes = [change for key in (*_WORDS, *others) for change in _changes(key, old, new, both)]
    told = "; ".join(changes[:_MOST])
    return f"{told}; and {len(changes) - _MOST} more changes" if len(changes) > _MOST else told


def _changes(key: str, old: Mapping[str, Any], new: Mapping[str, Any], both: set[str]) -> list[str]:
    before, now = old.get(key), new.get(key)
    # Nothing in it is the same as not being there: an older version did not know that there could be something.
    if before == now or not (before or now):
        return []
    words = _WORDS.get(key)
    return words(before or {}, now or {}, both) if words else [f"{key} {_said(before)} → {_said(now)}"]


# Of the old part, of the new part, and of the names that are in both spaces.
Words = Callable[[Any, Any, set[str]], list[str]]


def _list_of(kind: str) -> Words:
    """Words for lists of names."""

    def words(old: Sequence[str], new: Sequence[str], both: set[str]) -> list[str]:
        changes = {"added": [n for n in new if n not in old], "left out": [n for n in old if n not in new]}
        told = [_some(kind, names, verb) for verb, names in changes.items() if names]
        return told or [f"{kind}s in another order"]

    return words


def _of_each(what: str, verb: str = "changed") -> Words:
    """Words for mappings from a backbone or an augmentation; of one that is added or left out that is all to tell."""

    def words(old: Mapping[str, Any], new: Mapping[str, Any], both: set[str]) -> list[str]:
        names = [name for name in sorted(both) if old.get(name) != new.get(name)]
        return [f"{what} of {_quoted(names)} {verb}"] if names else []

    return words


def _values(old: Mapping[str, Any], new: Mapping[str, Any], both: set[str]) -> list[str]:
    """Words for mappings from a setting to its value."""
    changed = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    return [f"`{name}` {_said(old.get(name))} → {_said(new.get(name))}" for name in changed]


_WORDS: Mapping[str, Words] = {
    "backbones": _list_of("backbone"),
    "augmentations": _list_of("augmentation"),
    "tunings": _list_of("tuning"),
    "versions": _of_each("plugin", "updated"),
    "ranges": _values,
    "params": _of_each("parameters"),
    "full_sizes": _of_each("image sizes for fine-tuning"),
    "head_sizes": _of_each("image sizes for heads"),
    "default_lr": _of_each("learning rate"),
    "weights": _of_each("weights"),
    "fixed": _values,
}


def _some(kind: str, names: list[str], verb: str) -> str:
    return f"{kind}{'s' if len(names) > 1 else ''} {_quoted(names)} {verb}"


def _quoted(names: list[str]) -> str:
    return shorten([f"`{name}`" for name in names])


def _said(value: Any) -> str:
    return "none" if value is None else str(value)
