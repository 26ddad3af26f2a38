from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from automl_car.catalog.guarded import culprit_of, guarded
from automl_car.catalog.records import Backbone


def build(code: Callable[[], Any]) -> Any:
    return guarded(Backbone("net", lambda *_, **__: code())).build(3, pretrained=False)


def test_a_build_gets_its_arguments_and_gives_its_network() -> None:
    record = guarded(Backbone("net", lambda classes, **params: (classes, params)))
    assert record.build(3, pretrained=False, width=8) == (3, {"pretrained": False, "width": 8})


def test_what_it_raises_tells_whose_it_is_also_where_it_was_raised_from() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        build(lambda: 1 // 0)
    assert culprit_of(caught.value) == "net"
    wrapped = RuntimeError("later")
    wrapped.__cause__ = caught.value
    assert culprit_of(wrapped) == "net"
    assert culprit_of(RuntimeError("nobody's")) is None


def test_a_sys_exit_tells_whose_it_is() -> None:
    with pytest.raises(SystemExit) as caught:
        build(lambda: sys.exit(3))
    assert culprit_of(caught.value) == "net"


def test_threads_type_and_gradients_of_torch_are_put_back() -> None:
    def wild() -> None:
        torch.set_num_threads(threads + 1)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)

    threads = torch.get_num_threads()
    build(wild)
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


def test_it_may_draw_random_numbers() -> None:
    torch.manual_seed(0)
    first = build(lambda: torch.rand(1))
    assert build(lambda: torch.rand(1)) != first


def test_what_it_prints_does_not_reach_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    build(lambda: print("hello"))
    assert capfd.readouterr().out == ""
