"""Folds that have landed come in the order in which they were submitted; waiting ends when the first one has."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from automl_car.search.landing import Landings


def _fold() -> Any:
    return SimpleNamespace(future=Future())


@pytest.fixture
def flying() -> tuple[Landings, list[Any]]:
    landings, folds = Landings(), [_fold() for _ in range(3)]
    for fold in folds:
        landings.watch(fold)
    return landings, folds


def test_those_that_have_landed_come_in_the_order_in_which_they_were_submitted(
    flying: tuple[Landings, list[Any]],
) -> None:
    landings, folds = flying
    folds[2].future.set_result(None)
    folds[0].future.set_result(None)
    assert landings.has_landed
    assert landings.wait(0) == [folds[0], folds[2]]
    assert not landings.has_landed
    assert len(landings) == 1


def test_one_that_failed_has_landed(flying: tuple[Landings, list[Any]]) -> None:
    landings, folds = flying
    folds[1].future.set_exception(ValueError("no"))
    assert landings.wait(0) == [folds[1]]


def test_waiting_ends_as_soon_as_one_lands(flying: tuple[Landings, list[Any]]) -> None:
    landings, folds = flying
    threading.Timer(0.05, folds[1].future.set_result, [None]).start()
    began = time.monotonic()
    assert landings.wait(30) == [folds[1]]
    assert time.monotonic() - began < 10


def test_waiting_ends_after_the_given_time(flying: tuple[Landings, list[Any]]) -> None:
    assert flying[0].wait(0.01) == []
    assert len(flying[0]) == 3


def test_with_nothing_in_flight_nobody_waits() -> None:
    began = time.monotonic()
    assert Landings().wait(30) == []
    assert time.monotonic() - began < 10


def test_one_that_is_done_when_it_is_submitted_has_landed() -> None:
    landings, fold = Landings(), _fold()
    fold.future.set_result(None)
    landings.watch(fold)
    assert landings.wait(0) == [fold]


def test_a_second_attempt_is_waited_for_as_the_first_was(flying: tuple[Landings, list[Any]]) -> None:
    landings, folds = flying
    folds[0].future.set_result(None)
    assert landings.wait(0) == [folds[0]]
    folds[0].future = Future()
    landings.watch(folds[0])
    assert landings.wait(0) == []
    folds[0].future.set_result(None)
    folds[1].future.set_result(None)
    assert landings.wait(0) == [folds[1], folds[0]]
