"""One item is made in advance, in order, and errors come out where the item would."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from automl_car.training.ahead import ahead, for_each, side_by_side


def test_items_come_once_and_in_their_order() -> None:
    assert list(ahead(iter(range(50)))) == list(range(50))


def test_nothing_gives_nothing() -> None:
    assert list(ahead(iter(()))) == []


def test_the_next_item_is_made_while_the_one_before_is_used() -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    stream = ahead(items())
    assert next(stream) == 1
    assert made.wait(timeout=10)
    stream.close()  # type: ignore[attr-defined]


def test_no_more_than_one_item_is_made_in_advance() -> None:
    made: list[int] = []
    stream = ahead(iter(map(lambda item: made.append(item) or item, range(10))))  # type: ignore[func-returns-value]
    assert next(stream) == 0
    stream.close()  # type: ignore[attr-defined]
    assert made in ([0], [0, 1])


def test_an_error_comes_out_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    stream = ahead(items())
    assert next(stream) == 1
    with pytest.raises(ValueError, match="the second"):
        next(stream)


def test_a_stream_that_is_closed_leaves_no_thread_behind() -> None:
    stream = ahead(iter(range(10)))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives threads priorities of their own")
def test_its_thread_steps_back_and_the_others_do_not() -> None:
    def priorities() -> Iterator[int]:
        yield os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert list(ahead(priorities())) == [19]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_work_side_by_side_is_done_once_for_each_number() -> None:
    done: list[int] = []
    with side_by_side(3) as pool:
        for_each(pool, done.append, 100)
    assert sorted(done) == list(range(100))


def test_an_error_of_work_side_by_side_is_raised() -> None:
    def work(number: int) -> None:
        if number == 7:
            raise ValueError("the seventh")

    with side_by_side(2) as pool, pytest.raises(ValueError, match="the seventh"):
        for_each(pool, work, 10)
