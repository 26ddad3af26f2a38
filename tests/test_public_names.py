from __future__ import annotations

from importlib.metadata import version

import automl_car


def test_what_a_plugin_imports_and_load_are_public_and_nothing_else_is() -> None:
    records = ["Augmentation", "Backbone", "ExecutorContext", "ExecutorKind", "Param", "Setting", "Tracker"]
    assert automl_car.__all__ == [*records, "__version__", "events", "hookimpl", "load"]
    assert all(hasattr(automl_car, name) for name in automl_car.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    assert automl_car.__version__ == version("automl-car")
