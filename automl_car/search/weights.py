"""What a backbone's weights begin as: what the settings say of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from automl_car.catalog.joint import is_joint, parts_of
from automl_car.config import TrainingConfig
from automl_car.errors import ConfigError, WeightsError


def weights_of(training: TrainingConfig, backbone: str) -> str:
    """The `weights` setting that applies to one backbone: "pretrained", "random" or a file.

    Raises:
        ConfigError: the settings say different things, or name a file, of several backbones side by side.
    """
    if not isinstance(training.weights, dict):
        found = {training.weights}
    else:
        found = {training.weights.get(part, "pretrained") for part in parts_of(backbone)}
    if is_joint(backbone) and found not in ({"pretrained"}, {"random"}):
        raise ConfigError(
            f"`training.weights` of `{backbone}` is {' and '.join(sorted(found))}.",
            hint="backbones side by side are all pretrained, or all random.",
        )
    return found.pop()


def digest_of(weights: str) -> str:
    """The sha256 of a weights file; empty for pretrained and random ones.

    Raises:
        WeightsError: there is no such file.
    """
    if weights in ("pretrained", "random"):
        return ""
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(
            f"There is no weights file `{weights}` (`training.weights`).",
            hint="name a .safetensors or .pth file, or say pretrained or random.",
        )
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
