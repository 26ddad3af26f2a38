"""automl-car: searches for the image classifier with the lowest log loss. This is all that a plugin imports."""

from automl_car.catalog.hookspecs import hookimpl
from automl_car.catalog.records import Augmentation, Backbone, Param

__version__ = "0.1.0"
__all__ = ["Augmentation", "Backbone", "Param", "__version__", "hookimpl"]
