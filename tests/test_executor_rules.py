"""What `automl-car plugins check` finds wrong with executors."""

from __future__ import annotations

from pathlib import Path

import pytest
from checked_records import broken_rules, check_text, refuses_record

from automl_car.catalog.manager import load_catalog
from automl_car.checking import Checked
from automl_car.contract import check_executor

# Many executors, each wrong in one way, so that one process is enough for all of them. None trains anything.
MANY = """
from concurrent.futures import Future
from automl_car import ExecutorKind, hookimpl
from automl_car.errors import PluginError
from automl_car.fold_records import Machine, Speed

class Good:
    def __init__(self, context): self.context = context
    def machine(self): return Machine("cpu", "CPU", 2)
    def slots(self): return 1
    def submit(self, task): raise AssertionError("no fold is checked")
    def measure(self, task):
        future = Future()
        if task.recipe.backbone == "no_such_backbone": future.set_exception(PluginError("unknown"))
        else: future.set_result(Speed(1.0, 1.0))
        return future
    def close(self): pass

class Raises(Good):
    def __init__(self, context): raise ValueError("no cluster")
class Nothing:
    def __init__(self, context): pass
class NoMachine(Good):
    def machine(self): return "a large one"
class NoSlots(Good):
    def slots(self): return 0
class NoFuture(Good):
    def measure(self, task): return Speed(1.0, 1.0)
class NoSpeed(Good):
    def measure(self, task):
        future = Future()
        future.set_result(None)
        return future
class OwnErrors(Good):
    def measure(self, task):
        future = super().measure(task)
        if not future.exception(): return future
        future = Future()
        future.set_exception(KeyError("backbone"))
        return future
class EndsOnce(Good):
    closed = False
    def close(self):
        if self.closed: raise OSError("it is closed")
        self.closed = True

@hookimpl
def register_executors():
    kinds = (Good, Raises, Nothing, NoMachine, NoSlots, NoFuture, NoSpeed, OwnErrors, EndsOnce)
    return [*(ExecutorKind(kind.__name__.lower(), kind) for kind in kinds),
            ExecutorKind("lacks", Good, needs=("no_such_thing",))]
"""
EXPECTED = {
    "raises": ("start", "`build` of `raises` raised ValueError: no cluster"),
    "nothing": ("start", "`build` of `nothing` returned Nothing, without `machine`."),
    "nomachine": ("machine", "`machine` of `nomachine` returned str, not a Machine."),
    "noslots": ("machine", "`slots` of `noslots` returned 0, not a whole number from 1."),
    "nofuture": ("tasks", "`measure` of `nofuture` returned Speed, not a Future."),
    "nospeed": ("tasks", "`measure` of `nospeed` answered None, not the Speed of a recipe."),
    "ownerrors": ("errors", "`ownerrors` tells what went wrong by KeyError: 'backbone'"),
    "endsonce": ("close", "`close` of `endsonce`, a second time, raised OSError: it is closed"),
}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    return check_text(MANY, tmp_path_factory.mktemp("many"))


@pytest.mark.parametrize("record", EXPECTED)
def test_an_executor_that_breaks_a_rule_is_told_with_the_rule(record: str, many: Checked) -> None:
    (broken, *_) = broken_rules(many, record)
    rule, message = EXPECTED[record]
    assert broken.rule == rule
    assert message in broken.message


def test_the_others_are_not_named(many: Checked) -> None:
    assert {broken.record for broken in many.broken} == set(EXPECTED)
    assert {"good", "lacks"} <= set(many.offers)


def test_what_cannot_be_tried_for_lack_of_a_library_is_a_note(many: Checked) -> None:
    assert "`lacks` was not tried: `no_such_thing` is missing, pip install 'no_such_thing'" in many.notes


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ('ExecutorKind("My Cart", dict)', "Executor name `My Cart` may hold only"),
        (
            'ExecutorKind("t", dict, settings=(Setting("a", 1, "x"), Setting("a", 2, "y")))',
            "declares the setting `a` twice",
        ),
        ("print", "every entry must be a ExecutorKind"),
        ('ExecutorKind("local", dict)', "the name `local` is already taken by plugin `run_here`"),
    ],
)
def test_a_wrong_record_is_refused_when_it_is_loaded(record: str, words: str, tmp_path: Path) -> None:
    refuses_record(record, words, tmp_path, kind="ExecutorKind", hook="register_executors")


def test_executors_are_listed_with_their_plugin() -> None:
    by_plugin = {row.name: row.executors for row in load_catalog().plugins if row.executors}
    assert by_plugin == {"run_here": ("local",), "run_on_ray": ("ray",)}


@pytest.mark.slow
def test_the_executor_of_this_machine_keeps_the_contract() -> None:
    check_executor(load_catalog().executors["local"])
