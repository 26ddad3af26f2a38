"""The frozen values of a bundle: what turns a picture into probabilities; nothing here does any work."""

from __future__ import annotations

from dataclasses import dataclass

from automl_car.catalog.joint import joint_name
from automl_car.catalog.params import ParamValue


@dataclass(frozen=True)
class Sight:
    """What pictures a network sees.

    Attributes:
        image_size: side of the square, in pixels.
        mean, std: of the RGB channels on the scale 0..1.
        interpolation: "bicubic" or "bilinear".
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str


@dataclass(frozen=True)
class BundleNetwork:
    """One network of a bundle: what its plugin builds, and the weights that belong into it.

    Attributes:
        file: the weights in safetensors format, relative to the bundle.
        backbone: name in the catalog.
        params: values of the backbone's own parameters, without its name before them, sorted.
        sight: of a network that works beside others; None where it is its member's.
    """

    file: str
    backbone: str
    params: tuple[tuple[str, ParamValue], ...] = ()
    sight: Sight | None = None


@dataclass(frozen=True)
class BundleMember:
    """One trial of an ensemble with all that turns a picture into its logits.

    Attributes:
        name: of the trial.
        weight: share in the pool; the weights of all members sum to 1.
        temperature: its logits are divided by this before pooling.
        networks: the models of its folds, whose logits are averaged; for a head the frozen backbone, or several, whose
            features stand side by side.
        head: file with `weight` (C, D) and `bias` (C,): the mean of the heads of its folds. Empty where whole networks
            were tuned.
        image_size: side of the square input, in pixels.
        mean, std: of the RGB channels on the scale 0..1.
        interpolation: "bicubic" or "bilinear".
        views: of each photo, whose logits are averaged; see `training/views.py`.
        flip: whether mirror images are among them.
        power: that features are raised to before the head.
    """

    name: str
    weight: float
    temperature: float
    networks: tuple[BundleNetwork, ...]
    head: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    views: int
    flip: bool
    power: float

    def sight_of(self, network: BundleNetwork) -> Sight:
        """What pictures one of its networks sees."""
        return network.sight or Sight(self.image_size, self.mean, self.std, self.interpolation)

    @property
    def backbone(self) -> str:
        """Name of what its networks are built of."""
        return joint_name(network.backbone for network in self.networks)
