"""Runs the whole contract on plugins, each in a process of its own that may crash, exit or never return.

python -m automl_car.checking FOLDER      the process; see catalog/isolated.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from automl_car.catalog.finding import Found, find_again, find_plugins
from automl_car.catalog.isolated import Answers, Ended, receive, run_isolated
from automl_car.catalog.offering import offers
from automl_car.catalog.probe import load_in_steps, offered, refusal, remember
from automl_car.catalog.records import Augmentation, Backbone, ExecutorKind, PluginSources, Tracker
from automl_car.catalog.state import changes, put_back, snapshot
from automl_car.catalog.words import describe_error, did_you_mean
from automl_car.errors import PluginError
from automl_car.following import missing_modules

_MODULE = "automl_car.checking"


@dataclass(frozen=True)
class Broken:
    """A rule that a plugin breaks.

    Attributes:
        rule: of `rules.py`, or "loading", "processes" or "name".
        record: the backbone, augmentation, tracker or executor; empty for the plugin as a whole.
        message: what is wrong.
    """

    rule: str
    record: str
    message: str


@dataclass(frozen=True)
class Checked:
    """What a check found out about a plugin.

    Attributes:
        name, origin, place, version: as `automl-car plugins` lists it.
        offers: names of its backbones, augmentations, trackers and executors, as far as it could be loaded.
        broken: rules; none when it keeps the contract.
        notes: what is no breach and yet worth knowing.
        seconds: that the check took.
    """

    name: str
    origin: str
    place: str
    version: str
    offers: tuple[str, ...]
    broken: tuple[Broken, ...]
    notes: tuple[str, ...]
    seconds: float


def check_plugins(
    sources: PluginSources,
    wanted: Sequence[str] = (),
    *,
    everything: bool = False,
    begins: Callable[[str], None] = lambda name: None,
) -> Iterator[Checked]:
    """Check plugins, one after the other.

    Args:
        sources: where plugins are; their time limit holds for each rule.
        wanted: names of plugins, or files. Without any: all but the bundled and the disabled ones.
        everything: the bundled ones, too.
        begins: called with each plugin's name before it is checked.

    Raises:
        PluginError: a wanted plugin is not there.
    """
    taken: dict[str, str] = {}
    chosen = _choose(sources, wanted, everything=everything)
    for found in chosen.all:
        if found not in chosen.wanted:
            names = _offered(found, sources)
        else:
            begins(found.name)
            checked = _check(found, sources)
            names = checked.offers
            clashes = tuple(_clash(name, taken[name]) for name in names if name in taken)
            yield replace(checked, broken=(*checked.broken, *clashes))
        taken |= {name: found.name for name in names if name not in taken}


@dataclass(frozen=True)
class _Choice:
    """Plugins in the order in which they are loaded, and which of them are checked; the others only take names."""

    all: tuple[Found, ...]
    wanted: tuple[Found, ...]


def _choose(sources: PluginSources, wanted: Sequence[str], *, everything: bool) -> _Choice:
    files = {name: Path(name).resolve() for name in wanted if name.endswith(".py") or Path(name).is_file()}
    found = tuple(find_plugins(replace(sources, files=(*sources.files, *files.values()))))
    if not wanted:
        enabled = [plugin for plugin in found if plugin.name not in sources.disabled]
        return _Choice(found, tuple(plugin for plugin in enabled if everything or plugin.reference))
    chosen = [plugin for plugin in found if plugin.file in files.values() or plugin.name in wanted]
    known = [plugin.name for plugin in found]
    for name in wanted:
        if name not in known and name not in files:
            raise PluginError(
                f"There is no plugin `{name}`.{did_you_mean(name, known)}",
                hint="`automl-car plugins` lists all that are loaded; a file is named by its path.",
            )
    return _Choice(found, tuple(chosen))


def _offered(found: Found, sources: PluginSources) -> Sequence[str]:
    """What a plugin that is not checked offers."""
    if not found.reference:
        return sorted(offers(found.load()).names)
    return () if found.name in sources.disabled else offered(found, sources)


def _clash(name: str, owner: str) -> Broken:
    return Broken("name", name, f"the name `{name}` is already taken by plugin `{owner}`. Rename one of the two.")


def _check(found: Found, sources: PluginSources) -> Checked:
    began = time.monotonic()
    request = {"reference": found.reference or (str(found.file),)}
    ended = run_isolated(_MODULE, request, limit=sources.time_limit, file=str(found.file or ""))
    if found.reference and sources.verdicts is not None:
        loaded = ended.last("offers") is not None
        remember(sources.verdicts, found, None if loaded else refusal(ended), ended)
    version = found.version() if found.file is None or found.file.is_file() else ""
    return Checked(
        found.name,
        found.origin,
        found.place,
        version,
        tuple(ended.last("offers") or ()),
        tuple(_broken(ended)),
        tuple(_notes(ended)),
        time.monotonic() - began,
    )


def _broken(ended: Ended) -> Iterator[Broken]:
    for answer in ended.answers:
        if "rule" in answer and "message" in answer:
            yield Broken(answer["rule"], answer["record"], answer["message"])
    if ended.last("error"):
        yield Broken("loading", "", ended.last("error"))
    elif ended.cause:
        yield Broken(ended.last("looking_at") or "loading", ended.last("record") or "", ended.cause)
    if ended.left_processes:
        yield Broken("processes", "", "it starts processes and leaves them behind.")


def _notes(ended: Ended) -> Iterator[str]:
    if ended.cause and ended.last("offers"):
        yield "what comes after that was not looked at: mend it, and check again"
    if ended.printed:
        yield "it prints to stdout; a command sends that to stderr"
    for answer in ended.answers:
        if answer.get("note"):
            yield answer["note"]
        if answer.get("changes"):
            yield f"{answer['while']} changes {', '.join(answer['changes'])}; a command puts that back"


# ---- the process ----------------------------------------------------------------------------------------------------


def main() -> None:
    """Load the plugin that the request names, and go through every rule with all that it offers."""
    request, answers = receive()
    before = snapshot()
    try:
        offer = load_in_steps(find_again(tuple(request["reference"])), answers)
    except BaseException as error:  # any plugin code may run here
        answers.say(error=describe_error(error), done=True)
        return
    answers.say(**{"offers": sorted(offer.names), "while": "loading it", "changes": changes(before)})
    put_back(before)
    for backbone in offer.backbones:
        _go_through(backbone, answers)
    for augmentation in offer.augmentations:
        _go_through(augmentation, answers)
    for tracker in offer.trackers:
        _go_through_library(tracker, answers)
    for kind in offer.executors:
        _go_through_library(kind, answers)
    answers.say(done=True)


def _go_through(record: Backbone | Augmentation, answers: Answers) -> None:
    from automl_car.contract import augmentation_breaches, backbone_breaches

    def begins(rule: str) -> None:
        answers.say(looking_at=rule, record=record.name)

    watched = replace(record, build=_Watched(record, answers))
    looked_at = (
        backbone_breaches(watched, begins=begins)
        if isinstance(watched, Backbone)
        else augmentation_breaches(watched, begins=begins)
    )
    for breach in looked_at:
        answers.say(rule=breach.rule, record=record.name, message=breach.message)


def _go_through_library(record: Tracker | ExecutorKind, answers: Answers) -> None:
    """Of a tracker or an executor, if the library that it writes to or runs on is here."""
    from automl_car.contract import executor_breaches, tracker_breaches

    if missing := missing_modules(record):
        install = record.install or " ".join(missing)
        answers.say(note=f"`{record.name}` was not tried: `{'`, `'.join(missing)}` is missing, pip install '{install}'")
        return

    def begins(rule: str) -> None:
        answers.say(looking_at=rule, record=record.name)

    looked_at = (
        tracker_breaches(record, begins=begins)
        if isinstance(record, Tracker)
        else executor_breaches(record, begins=begins)
    )
    for breach in looked_at:
        answers.say(rule=breach.rule, record=record.name, message=breach.message)


@dataclass
class _Watched:
    """A `build` that says once what it changes, and puts it back."""

    record: Backbone | Augmentation
    answers: Answers
    told: bool = False

    def __call__(self, *arguments: Any, **params: Any) -> Any:
        before = snapshot()
        try:
            return self.record.build(*arguments, **params)
        finally:
            changed = [name for name in changes(before) if "seed" not in name]
            put_back({name: before[name] for name in changed})
            if changed and not self.told:
                self.answers.say(**{"while": f"`build` of `{self.record.name}`", "changes": changed})
                self.told = True


if __name__ == "__main__":
    main()
