"""What `automl-car plugins check` finds wrong with trackers."""

from __future__ import annotations

from pathlib import Path

import pytest
from checked_records import broken_rules, check_text, refuses_record

from automl_car.catalog.manager import load_catalog
from automl_car.checking import Checked

# Many trackers, each wrong in one way, so that one process is enough for all of them.
MANY = """
import os, sys
from automl_car import Setting, Tracker, events, hookimpl

def good(search, *, file):
    out = (search.folder / file).open("w")
    return lambda event: out.close() if isinstance(event, events.SearchEnded) else out.write(repr(event))
def raises(search): raise ValueError("no server")
def nothing(search): pass
def arguments(search, more): return print
def late(search):
    def tell(event):
        if isinstance(event, events.EnsembleBuilt): raise KeyError("rank")
    return tell
def exits(search): return lambda event: sys.exit(3)
def moves(search): return lambda event: os.chdir("/")
def streams(search):
    sys.stdout = sys.stderr
    return lambda event: None
def signals(search):
    import signal
    signal.signal(signal.SIGINT, signal.SIG_IGN)

@hookimpl
def register_trackers():
    wrong = [raises, nothing, arguments, late, exits, moves, streams, signals]
    return [Tracker("good", good, settings=(Setting("file", "x.txt", "its name"),)),
            Tracker("lacks", good, needs=("no_such_thing",)),
            *(Tracker(open_.__name__, open_) for open_ in wrong)]
"""
EXPECTED = {
    "raises": ("open", "`open` of `raises` raised ValueError: no server"),
    "nothing": ("open", "`open` of `nothing` returned NoneType, not a function that takes an event."),
    "arguments": ("open", "missing 1 required positional argument: 'more'"),
    "late": ("events", "`late` raised at EnsembleBuilt KeyError: 'rank'"),
    "exits": ("events", "`exits` raised at TrialBegan SystemExit: 3"),
    "moves": ("manners", "`moves` changes the folder that the process works in"),
    "streams": ("manners", "`streams` changes `sys.stdout` or `sys.stderr`"),
    "signals": ("open", "ValueError: signal only works in main thread"),
}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    return check_text(MANY, tmp_path_factory.mktemp("many"))


@pytest.mark.parametrize("record", EXPECTED)
def test_a_tracker_that_breaks_a_rule_is_told_with_the_rule(record: str, many: Checked) -> None:
    (broken,) = broken_rules(many, record)
    rule, message = EXPECTED[record]
    assert broken.rule == rule
    assert message in broken.message


def test_the_others_are_not_named(many: Checked) -> None:
    assert {broken.record for broken in many.broken} == set(EXPECTED)
    assert {"good", "lacks"} <= set(many.offers)


def test_what_cannot_be_tried_for_lack_of_a_library_is_a_note(many: Checked) -> None:
    assert "`lacks` was not tried: `no_such_thing` is missing, pip install 'no_such_thing'" in many.notes


BROKEN = {
    "a name": ('Tracker("My Tracker", dict)', "Tracker name `My Tracker` may hold only"),
    "a setting twice": (
        'Tracker("t", dict, settings=(Setting("a", 1, "x"), Setting("a", 2, "y")))',
        "declares the setting `a` twice",
    ),
    "enabled": ('Setting("enabled", True, "x")', "`enabled` is taken"),
    "no default": ('Setting("a", None, "x")', "must be a text, a number, or a bool"),
    "not a choice": ('Setting("a", "x", "y", choices=("z",))', "is not one of"),
    "no record": ("print", "every entry must be a Tracker"),
    "a clash": ('Tracker("resnet50", dict)', "the name `resnet50` is already taken by plugin `resnet`"),
}


@pytest.mark.parametrize(("record", "words"), BROKEN.values(), ids=BROKEN)
def test_a_wrong_record_is_refused_when_it_is_loaded(record: str, words: str, tmp_path: Path) -> None:
    refuses_record(record, words, tmp_path, kind="Tracker", hook="register_trackers")


def test_trackers_are_listed_with_their_plugin() -> None:
    catalog = load_catalog()
    by_plugin = {row.name: row.trackers for row in catalog.plugins if row.trackers}
    assert by_plugin == {"track_mlflow": ("mlflow",), "track_tensorboard": ("tensorboard",), "track_wandb": ("wandb",)}
    assert list(catalog.trackers) == ["mlflow", "tensorboard", "wandb"]
