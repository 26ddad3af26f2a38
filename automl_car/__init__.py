"""automl-car: searches for the image classifier with the lowest log loss.

This is all that a plugin imports, and `load` for programs that use what a search found.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from automl_car.catalog import events
from automl_car.catalog.hookspecs import hookimpl
from automl_car.catalog.params import Param, Setting
from automl_car.catalog.records import Augmentation, Backbone, ExecutorContext, ExecutorKind, PluginSources, Tracker

if TYPE_CHECKING:
    from automl_car.predicting import Model

# Libraries that would ask the network when they are imported, here and in every process that is started from here.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = [
    "Augmentation",
    "Backbone",
    "ExecutorContext",
    "ExecutorKind",
    "Param",
    "Setting",
    "Tracker",
    "__version__",
    "events",
    "hookimpl",
    "load",
]


def load(bundle: str | os.PathLike[str], *, plugins: Sequence[str | os.PathLike[str]] = ()) -> Model:
    """Read a bundle that `automl-car bundle` made, and build its networks on the fastest device there is.

    Args:
        bundle: its folder.
        plugins: files of plugins that its networks need; those that come with automl-car, and installed ones, are found
            without. A file is run when it is loaded.

    Returns:
        A model with `predict(images)` (paths, Pillow images or uint8 arrays (H, W, 3) to float64 (N, C)) and
        `class_names`.

    Raises:
        BundleError: it is not there, damaged, or of another format.
        PluginError: the plugin of a network is missing or another one.
    """
    # By name and not by import: what is at the bottom of all imports must not stand on what is at the top.
    predicting = import_module("automl_car.predicting")
    model: Model = predicting.load_model(Path(bundle), PluginSources(files=tuple(Path(file) for file in plugins)))
    return model
