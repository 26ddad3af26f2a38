"""The networks of a bundle: squares of photos in, each member's logits out.

Members that look at the same squares share their normalisation, and members with the same frozen backbone its passes.
A head on several backbones is the sum of a head on each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from automl_car.bundle_records import BundleMember, BundleNetwork, Sight
from automl_car.catalog.manager import Catalog
from automl_car.catalog.records import Backbone
from automl_car.errors import BundleError, PluginError
from automl_car.training.checkpoint import from_safetensors
from automl_car.training.folding import inference_passes
from automl_car.training.head import LinearHead
from automl_car.training.model import classifier, feature_extractor
from automl_car.training.photos import Normaliser
from automl_car.training.rows import raise_to
from automl_car.training.squares import Square
from automl_car.training.step import Passes
from automl_car.training.views import View, choose_views

Read = Callable[[str], bytes]
_LARGEST_HALF = 65504.0  # of a float16
_PIXELS_AT_ONCE = 16 * 224 * 224  # EfficientNet-Lite0 takes 0.4 GB for them, 0.8 GB for twice as many


class Predictor:
    """All members of a bundle, ready for pictures.

    Args:
        members: of the bundle.
        num_classes: C.
        read: returns the bytes of a file of the bundle.
        catalog: whose backbones build the networks.
        device: to compute on.

    Raises:
        PluginError: a backbone is not in the catalog, or builds another network than the bundle has weights of.
        BundleError: a file is missing or damaged.
    """

    def __init__(
        self, members: Sequence[BundleMember], num_classes: int, read: Read, catalog: Catalog, device: torch.device
    ) -> None:
        self.device = device
        self.takers = [_take_up(member, read, device) for member in members]
        self.looks = _plan(members, num_classes, read, catalog, device)
        self.squares = tuple(dict.fromkeys(look.square for look in self.looks))

    def logits(self, pixels: Mapping[Square, Tensor]) -> list[NDArray[np.float32]]:
        """Logits float32 (b, C) of each member.

        Args:
            pixels: uint8 (b, S, S, 3) on the host, for each of `squares`.

        Raises:
            BundleError: a network answers with NaN or infinity.
        """
        with torch.inference_mode():
            logits = [values.cpu().numpy() for values in answers(self.looks, self.takers, pixels, _forward)]
        for taker, values in zip(self.takers, logits, strict=True):
            if not np.isfinite(values).all():
                raise BundleError(f"The networks of {taker.name} answer with NaN or infinity.")
        return logits


def answers(
    looks: Sequence[Look],
    takers: Sequence[Taker],
    pixels: Mapping[Square, Tensor],
    forward: Callable[[Passes, Tensor], Tensor],
) -> list[Tensor]:
    """Logits float32 (b, C) of each member, from what each network says to each view.

    Args:
        pixels: (b, S, S, 3) for each square of `looks`.
        forward: from a network and images float32 (b, 3, S, S) to what it says.
    """
    totals: dict[int, Tensor] = {}
    for look in looks:
        images = look.normalise(pixels[look.square])
        images = images.flip(3) if look.mirrored else images
        for network, members in look.networks:
            answer = forward(network, images)
            for place, part_of in members:
                part = takers[place].part(answer, part_of)
                totals[place] = totals[place] + part if place in totals else part
    return [taker.logits(totals[place]) for place, taker in enumerate(takers)]


def _forward(network: Passes, images: Tensor) -> Tensor:
    """In parts, on a CPU, where memory is dear and a part is enough to keep all cores busy."""
    most = len(images)
    if network.device.type == "cpu":
        most = max(1, _PIXELS_AT_ONCE // (images.shape[2] * images.shape[3]))
    if most >= len(images):
        return network.forward(images)
    return torch.cat([network.forward(images[start : start + most]) for start in range(0, len(images), most)])


# ---- members --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Taker:
    """What a member makes of the answers of its networks to its views.

    Attributes:
        name: of the trial.
        answers: how many they are; of backbones side by side, how many each gives.
        head: that is put on their mean; None where they are logits.
        power: that features are raised to before.
        side_by_side: whether the head is on several backbones.
    """

    name: str
    answers: int
    head: LinearHead | None
    power: float
    side_by_side: bool = False

    def part(self, answer: Tensor, columns: Columns) -> Tensor:
        """What one answer adds to the total; `columns` are those of the head that are on the network's features."""
        if self.head is None:
            return answer
        # Heads learned from features that had been rounded to half precision on their way through the cache.
        features = raise_to(answer.clamp(-_LARGEST_HALF, _LARGEST_HALF).half().float(), self.power)
        return features @ self.head.weight[:, columns.first : columns.last].T if self.side_by_side else features

    def logits(self, total: Tensor) -> Tensor:
        mean = total / self.answers
        if self.head is None:
            return mean
        return mean + self.head.bias if self.side_by_side else self.head(mean)


class Columns(NamedTuple):
    """From the first one to before the last one."""

    first: int
    last: int


def _take_up(member: BundleMember, read: Read, device: torch.device) -> Taker:
    views = len(_views(member))
    if not member.head:
        return Taker(member.name, len(member.networks) * views, None, member.power)
    tensors = from_safetensors(read(member.head))
    head = LinearHead(tensors["weight"].to(device), tensors["bias"].to(device))
    return Taker(member.name, views, head, member.power, side_by_side=len(member.networks) > 1)


def _views(member: BundleMember) -> tuple[View, ...]:
    return choose_views(member.views, flip=member.flip)


# ---- networks -------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Look:
    """One normalised picture of each photo, and which networks look at it for which members."""

    square: Square
    mirrored: bool
    normalise: Normaliser
    networks: list[tuple[Passes, list[tuple[int, Columns]]]] = field(default_factory=list)


def _plan(
    members: Sequence[BundleMember], num_classes: int, read: Read, catalog: Catalog, device: torch.device
) -> list[Look]:
    looks: dict[object, Look] = {}
    built: dict[BundleNetwork, tuple[Passes, int]] = {}
    for place, member in enumerate(members):
        first = 0
        for network in member.networks:
            sight = member.sight_of(network)
            same = dataclasses.replace(network, sight=None)
            if same not in built:
                model, width = _build(network, num_classes, read, catalog, frozen=bool(member.head))
                built[same] = inference_passes(model, sight.image_size, device), width
            passes, width = built[same]
            columns, first = Columns(first, first + width), first + width
            for view in _views(member):
                look = _look(looks, sight, view, catalog.backbone(network.backbone), device)
                _join(look, passes, (place, columns))
    return list(looks.values())


def _look(looks: dict[object, Look], sight: Sight, view: View, backbone: Backbone, device: torch.device) -> Look:
    """The look of a network at a view, which it may share with others."""
    square = Square(sight.image_size, sight.interpolation, view.side)
    key = (square, view.mirrored, sight.mean, sight.std)
    if key not in looks:
        normaliser = Normaliser(dataclasses.replace(backbone, mean=sight.mean, std=sight.std), device)
        looks[key] = Look(square, view.mirrored, normaliser)
    return looks[key]


def _join(look: Look, network: Passes, taker: tuple[int, Columns]) -> None:
    for known, takers in look.networks:
        if known is network:
            takers.append(taker)
            return
    look.networks.append((network, [taker]))


def _build(
    network: BundleNetwork, num_classes: int, read: Read, catalog: Catalog, *, frozen: bool
) -> tuple[nn.Module, int]:
    """The network, and how many features its last layer has or would have."""
    name = network.backbone
    backbone = catalog.backbone(name)
    tensors = from_safetensors(read(network.file))
    try:
        model: nn.Module = backbone.build(num_classes, pretrained=False, **dict(network.params))
        width = classifier(model, num_classes).in_features
        model = feature_extractor(model, num_classes) if frozen else model
        model.load_state_dict(tensors, strict=True)
    except Exception as error:  # plugin code may raise anything
        reason = str(error).partition("\n")[2].strip().partition("\n")[0] or str(error)
        raise PluginError(
            f"The plugin of `{name}` does not build the network of this bundle: {type(error).__name__}: {reason}",
            hint="bundle.json names the versions that the bundle was made with; install those.",
        ) from error
    return model, width
