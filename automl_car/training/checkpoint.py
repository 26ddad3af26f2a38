"""Weights as safetensors, which cannot run code when they are read, and the versions that made them."""

from __future__ import annotations

from importlib.metadata import version

from safetensors.torch import load, save
from torch import Tensor

from automl_car.errors import StoreError

_PACKAGES = ("automl-car", "torch", "timm", "albumentations", "optuna", "numpy")


def to_safetensors(state: dict[str, Tensor]) -> bytes:
    """The tensors of a state dict, as the bytes of a safetensors file."""
    # clone(): safetensors refuses tensors that share memory, and tied weights do.
    return save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()})


def from_safetensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        StoreError: the bytes are no safetensors file.
    """
    try:
        return load(data)
    except Exception as error:
        raise StoreError(f"The weights are not in safetensors format: {error}.") from error


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    return {package: version(package) for package in _PACKAGES}
