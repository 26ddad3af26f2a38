"""Builds a backbone for a recipe, with the weights that were asked for, and finds its last layer."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_car.catalog.hub import offline, repository_of, require_undamaged
from automl_car.catalog.params import own_values
from automl_car.catalog.records import Backbone
from automl_car.errors import PluginError, WeightsError
from automl_car.records import Recipe

_READABLE = "use a .safetensors file, or a state dict saved by torch.save that holds tensors only."


def build_model(backbone: Backbone, recipe: Recipe, num_classes: int) -> nn.Module:
    """The network of `recipe`: images float32 (B, 3, S, S) to logits (B, num_classes).

    Raises:
        WeightsError: the weights cannot be had, or do not fit the network.
    """
    params = own_values(backbone.name, dict(recipe.params))
    if recipe.weights == "pretrained":
        return _build_pretrained(backbone, num_classes, params)
    model: nn.Module = backbone.build(num_classes, pretrained=False, **params)
    if recipe.weights != "random":
        load_weights(model, Path(recipe.weights), num_classes)
    return model


def _build_pretrained(backbone: Backbone, num_classes: int, params: dict[str, float | int | str | bool]) -> nn.Module:
    """The network with its weights. The hub is asked only for what is not on this machine."""
    here = backbone.find_weights() if backbone.find_weights else None
    if here is not None:
        require_undamaged(here)
    try:
        with nullcontext() if here is None else offline():
            model: nn.Module = backbone.build(num_classes, pretrained=True, **params)
    except Exception as error:  # whatever the plugin's library raises when it cannot find or fetch a file
        backbone.build(num_classes, pretrained=False, **params)  # raises where it is not the weights that are wrong
        file = f" (`{here}`)" if here else ""
        raise WeightsError(
            f"The pretrained weights of `{backbone.name}`{file} cannot be loaded: {_first_line(error)}",
            hint=_where_to_get(backbone),
        ) from error
    return model


def _where_to_get(backbone: Backbone) -> str:
    repository = repository_of(backbone.find_weights)
    own = f"name a file (`training: {{weights: {{{backbone.name}: FILE}}}}`)"
    if repository is None:
        return f"{own}, fill the hub's cache on a machine with network and copy it here, or say `weights: random`."
    return (
        f"put `model.safetensors` of https://huggingface.co/{repository} on this machine and {own}, fill the hub's "
        f"cache on a machine with network (`hf download {repository}`) and copy it here, or say `weights: random`."
    )


def _first_line(error: BaseException) -> str:
    """What happened. Of a pickle torch says how to run it all the same, and that is no advice to pass on."""
    if type(error).__name__ == "UnpicklingError" or "weights_only" in str(error):
        return "it is a pickle that holds more than tensors, which could run code."
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def load_weights(model: nn.Module, path: Path, num_classes: int) -> None:
    """Load a file of tensors (safetensors, or a state dict of torch) into `model`, strictly but for its last layer.

    Raises:
        WeightsError: the file cannot be read safely, or its tensors are not those of the network.
    """
    ours = model.state_dict()
    theirs = _read_tensors(path)
    last = _name_of_classifier(model, num_classes)
    wrong = [name for name in ours if not _is_last(name, last) and _shape(theirs, name) != tuple(ours[name].shape)]
    unknown = [name for name in theirs if name not in ours]  # a deeper network has all tensors of this one, and more
    if wrong or unknown:
        raise WeightsError(
            f"`{path}` does not fit the network: {_some(wrong)} are missing or of another shape in the file, "
            f"and {_some(unknown)} of the file are not in the network.",
            hint="the file must hold the state dict of this very architecture.",
        )
    keep = {name: theirs[name] for name in ours if _shape(theirs, name) == tuple(ours[name].shape)}
    model.load_state_dict(keep, strict=False)  # strict was checked above; the last layer may differ in classes


def classifier(model: nn.Module, num_classes: int) -> nn.Linear:
    """The last linear layer, the one that makes the logits.

    Raises:
        PluginError: the network does not end in a `torch.nn.Linear` of that many classes.
    """
    layer = model.get_submodule(_name_of_classifier(model, num_classes))
    assert isinstance(layer, nn.Linear)
    return layer


def feature_extractor(model: nn.Module, num_classes: int) -> nn.Module:
    """A copy of `model` without its last layer: images (B, 3, S, S) to features (B, D)."""
    extractor = copy.deepcopy(model)
    parent, _, name = _name_of_classifier(extractor, num_classes).rpartition(".")
    setattr(extractor.get_submodule(parent), name, nn.Identity())
    return extractor


def _name_of_classifier(model: nn.Module, num_classes: int) -> str:
    linear: list[str] = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and layer.out_features == num_classes
    ]
    if not linear:
        raise PluginError(
            f"{type(model).__name__} has no torch.nn.Linear with {num_classes} outputs.",
            hint="a backbone's last layer must be a torch.nn.Linear.",
        )
    return linear[-1]


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors: Any = load_file(path)
        else:
            # weights_only refuses anything but tensors and plain values: a pickle cannot run code here.
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"The weights file `{path}` cannot be read: {_first_line(error)}",
            hint=_READABLE,
        ) from error
    tensors = tensors.get("state_dict", tensors) if isinstance(tensors, dict) else tensors
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise WeightsError(f"The weights file `{path}` holds no state dict.", hint=_READABLE)
    return tensors


def _shape(tensors: dict[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None


def _some(names: list[str]) -> str:
    first = ", ".join(f"`{name}`" for name in names[:3])
    return f"{len(names)} tensors ({first}{', …' if len(names) > 3 else ''})" if names else "0 tensors"


def _is_last(name: str, last: str) -> bool:
    module, _, _ = name.rpartition(".")
    return module == last
