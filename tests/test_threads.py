"""Threads that work for a generator: they end with it, also where the garbage collector ends it in one of them."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from itertools import count

import pytest

from automl_car.threads import threads_of_its_own

# What is garbage is collected where memory is taken next. That is here the thread that makes the second item.
ABANDONED = """
import gc, itertools, os, threading
from automl_car.training.ahead import ahead, for_each, side_by_side

gc.disable()
dropped = threading.Event()

def work(number):
    if number:  # the first one is the consumer's, the second is made in advance
        dropped.wait()
        gc.collect()

def side_by_side_and_ahead():
    with side_by_side(1) as pool:
        yield from ahead(map(lambda number: for_each(pool, lambda _: work(number), 1), itertools.count()))

stream = MAKE
next(stream)
garbage = [stream]
garbage.append(garbage)
helpers = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
del stream, garbage
dropped.set()
for thread in helpers:
    thread.join(5)
print(len(helpers), "were there,", sum(thread.is_alive() for thread in helpers), "still are", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(
    ("make", "helpers"),
    [("side_by_side_and_ahead()", 2), ("ahead(map(work, itertools.count()))", 1)],
    ids=["for what waits for it", "for itself"],
)
def test_a_thread_that_collects_its_own_generator_does_not_wait(make: str, helpers: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ABANDONED.replace("MAKE", make)], capture_output=True, text=True, timeout=50
    )
    assert (ended.stdout, ended.stderr) == (f"{helpers} were there, 0 still are\n", "")


def test_a_block_that_is_left_waits_for_the_work_that_has_begun() -> None:
    begun, done = threading.Event(), []
    with threads_of_its_own(1, "test") as pool:
        pool.submit(lambda: (begun.set(), gc.collect(), done.append(1)))
        begun.wait()
        for number in count(2):
            if pool.submit(done.append, number) and number == 1000:
                break
    assert done[0] == 1


def test_each_of_them_begins_with_what_is_asked_for() -> None:
    began: list[str] = []
    with threads_of_its_own(1, "cars", lambda: began.append(threading.current_thread().name)) as pool:
        pool.submit(int).result()
    assert began == ["cars_0"]
