"""Loads a plugin for the first time, in a process of its own: one that crashes, exits or never returns harms nobody.

    python -m automl_car.catalog.probe FOLDER      the process; see isolated.py

What passed, and what hung, is remembered per version of the plugin, of Python and of automl-car; what failed quickly is
looked at again each time, as what it lacks may be there by then.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from automl_car import __version__
from automl_car.catalog.finding import Found, find_again
from automl_car.catalog.isolated import Answers, Ended, receive, run_isolated
from automl_car.catalog.offering import Offer, offers
from automl_car.catalog.records import PluginSources
from automl_car.catalog.words import describe_error

_FORMAT = 1
_MODULE = "automl_car.catalog.probe"


def why_not(plugins: Sequence[Found], sources: PluginSources) -> Mapping[tuple[str, ...], str]:
    """Why plugins cannot be loaded, by their reference; those that can are not in it.

    Args:
        plugins: that do not come with automl-car.
        sources: with a folder for verdicts.
    """
    with ThreadPoolExecutor(max_workers=max(1, min(4, os.cpu_count() or 1))) as pool:
        reasons = list(pool.map(lambda found: _why_not(found, sources), plugins))
    return {found.reference: reason for found, reason in zip(plugins, reasons, strict=True) if reason}


def probe(found: Found, sources: PluginSources) -> tuple[str | None, Ended]:
    """Load the plugin in a process of its own, whatever is remembered: why it cannot be loaded, and how that went."""
    request = {"reference": found.reference}
    ended = run_isolated(_MODULE, request, limit=sources.time_limit, file=str(found.file or ""))
    reason = refusal(ended)
    if sources.verdicts is not None:
        remember(sources.verdicts, found, reason, ended)
    return reason, ended


def offered(found: Found, sources: PluginSources) -> Sequence[str]:
    """Names of what a plugin offers, without loading it here; none where it cannot be loaded."""
    known = None if sources.verdicts is None else _recall(sources.verdicts, found)
    if known is None:
        known = {"offers": probe(found, sources)[1].last("offers")}
    return known.get("offers") or ()


def refusal(ended: Ended) -> str | None:
    """Why a plugin that was loaded so cannot be used."""
    if ended.last("error"):
        return str(ended.last("error"))
    if ended.cause:
        return f"{ended.last('stage') or 'start'}: {ended.cause}"
    if ended.left_processes:
        return "it starts processes when it is loaded, and leaves them behind."
    return None


def _why_not(found: Found, sources: PluginSources) -> str | None:
    assert sources.verdicts is not None
    known = _recall(sources.verdicts, found)
    if known is None:
        return probe(found, sources)[0]
    reason: str | None = known["reason"]
    return reason and f"{reason} (So it was last time; `automl-car plugins check {found.name}` tries it again.)"


# ---- memory ---------------------------------------------------------------------------------------------------------


def _recall(folder: Path, found: Found) -> dict[str, Any] | None:
    try:
        known = json.loads(_file(folder, found).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # unknown, or cut off: it is probed
        return None
    return known if isinstance(known, dict) and "reason" in known else None


def remember(folder: Path, found: Found, reason: str | None, ended: Ended) -> None:
    """Remember that a plugin can be loaded, or that it hung; what failed quickly is forgotten.

    Where the folder cannot be written, the plugin is probed again next time.
    """
    with contextlib.suppress(OSError):
        if reason is not None and not ended.hung:
            _file(folder, found).unlink(missing_ok=True)
            return
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{uuid.uuid4().hex}.tmp"
        verdict = {"plugin": found.name, "place": found.place, "reason": reason, "offers": ended.last("offers")}
        temporary.write_text(json.dumps(verdict))
        temporary.replace(_file(folder, found))


def _file(folder: Path, found: Found) -> Path:
    parts = [_FORMAT, __version__, sys.version, list(found.reference), found.version(), _content(found.file)]
    return folder / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}.json"


def _content(file: Path | None) -> str:
    """Of the file itself: the version of a distribution that is being worked on does not change with its code."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file and file.is_file() else ""


# ---- the process ----------------------------------------------------------------------------------------------------


def load_in_steps(found: Found, answers: Answers) -> Offer:
    """Load a plugin and call all that a search calls before it trains, saying each step beforehand."""
    answers.say(stage="while it was imported")
    module = found.load()
    answers.say(stage="while its hooks were called")
    offer = offers(module)
    for backbone in offer.backbones:
        if backbone.find_weights is not None:
            answers.say(stage=f"while `find_weights` of `{backbone.name}` was called")
            backbone.find_weights()
    return offer


def main() -> None:
    """Load the plugin that the request names, and say how that went."""
    request, answers = receive()
    try:
        offer = load_in_steps(find_again(tuple(request["reference"])), answers)
    except BaseException as error:  # any plugin code may run here
        answers.say(error=describe_error(error), done=True)
        return
    answers.say(offers=sorted(offer.names), done=True)


if __name__ == "__main__":
    main()
