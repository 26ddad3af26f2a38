"""The four hooks that a plugin may implement."""

from __future__ import annotations

import pluggy

from automl_car.catalog.records import Augmentation, Backbone, ExecutorKind, Tracker

hookspec = pluggy.HookspecMarker("automl_car")
hookimpl = pluggy.HookimplMarker("automl_car")


class Hooks:
    """Specifications; a plugin module implements them as plain functions marked with `@hookimpl`."""

    @hookspec
    def register_backbones(self) -> list[Backbone]:
        """Return the networks that this plugin offers."""
        raise AssertionError("a specification is never called")

    @hookspec
    def register_augmentations(self) -> list[Augmentation]:
        """Return the augmentations that this plugin offers."""
        raise AssertionError("a specification is never called")

    @hookspec
    def register_trackers(self) -> list[Tracker]:
        """Return the trackers that this plugin offers; see `automl_car.events` for what they are told."""
        raise AssertionError("a specification is never called")

    @hookspec
    def register_executors(self) -> list[ExecutorKind]:
        """Return the ways to train folds that this plugin offers, such as an engine for many machines."""
        raise AssertionError("a specification is never called")
