"""One item is made in advance, in order, and errors come out where the item would."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from automl_car.training.ahead import ahead


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
