"""The ways of computing passes: all of them compute the same, but for rounding."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_car.training.step import Step, passes, plain_step

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=3).eval()  # type: ignore[no-any-return]


def batch() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    targets = torch.rand(10, 3, generator=random)
    return torch.randn(10, 3, 32, 32, generator=random), targets / targets.sum(1, keepdim=True)


def gradients(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def expected(label_smoothing: float = 0.0) -> tuple[float, Tensor]:
    """Loss and gradient as torch itself gives them for the whole batch."""
    model, (images, targets) = network(), batch()
    loss = F.cross_entropy(model(images), targets, label_smoothing=label_smoothing)
    loss.backward()
    return loss.item(), gradients(model)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("micro_batch", [0, 1, 4, 5, 10, 64])
def test_micro_batches_give_loss_and_gradient_of_the_whole_batch(micro_batch: int, label_smoothing: float) -> None:
    model = network()
    loss = passes(model, Step(micro_batch=micro_batch), CPU).backward(*batch(), label_smoothing=label_smoothing)
    wanted, direction = expected(label_smoothing)
    assert float(loss) == pytest.approx(wanted, rel=1e-5)
    torch.testing.assert_close(gradients(model), direction, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_memory_layout_changes_nothing_but_the_strides(channels_last: bool) -> None:
    model = network()
    passes(model, Step(channels_last=channels_last), CPU).backward(*batch())
    torch.testing.assert_close(gradients(model), expected()[1], rtol=1e-3, atol=1e-5)
    weights = [parameter for parameter in model.parameters() if parameter.ndim == 4 and min(parameter.shape) > 1]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) is channels_last for weight in weights)


def test_bfloat16_rounds_and_keeps_weights_and_gradients_in_float32() -> None:
    model = network()
    passes(model, Step("bfloat16"), CPU).backward(*batch())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {parameter.grad.dtype for parameter in model.parameters() if parameter.grad is not None} == {torch.float32}
    assert not torch.equal(gradients(model), expected()[1])
    assert float(F.cosine_similarity(gradients(model), expected()[1], dim=0)) > 0.95


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_logits_are_float32_in_any_precision(precision: str) -> None:
    network_passes = passes(network(), Step(precision), CPU)  # type: ignore[arg-type]
    assert network_passes.forward(batch()[0]).dtype == torch.float32


def test_backward_adds_to_the_gradients_that_are_there() -> None:
    model = network()
    both = passes(model, Step(), CPU)
    both.backward(*batch())
    once = gradients(model).clone()
    both.backward(*batch())
    torch.testing.assert_close(gradients(model), 2 * once)


def test_compiling_is_asked_of_torch_with_static_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool | None] = []

    def compiler(model: nn.Module, *, dynamic: bool | None) -> nn.Module:
        asked.append(dynamic)
        return copy.deepcopy(model)

    monkeypatch.setattr(torch, "compile", compiler)
    model = network()
    compiled = passes(model, Step(compiled=True), CPU)
    assert asked == [False]
    assert compiled.model is model
    assert compiled.call is not model


def test_the_plain_step_is_float32_on_a_cpu_and_bfloat16_on_cuda() -> None:
    assert plain_step(CPU).precision == "float32"
    assert plain_step(torch.device("cuda", 0)).precision == "bfloat16"
