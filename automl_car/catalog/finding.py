"""Finds plugins without running their code.

They come, in this order, from the bundled folder, from installed distributions with an entry point in the group
`automl_car`, from the `*.py` files of the workspace's `plugins/` folder, and from files named on the command line.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from automl_car import __version__
from automl_car.catalog.records import PluginSources
from automl_car.errors import PluginError


@dataclass(frozen=True)
class Found:
    """A plugin before it is loaded.

    Attributes:
        name: file stem, or name of the entry point.
        origin: "bundled", "installed", "workspace" or "file".
        location: its file, or its distribution.
        file: its file, where that can be told without running any code; else None.
        reference: what `find_again` finds it by, in another process, too; empty for bundled ones.
        version, load: see `PluginInfo.version`; the module.
    """

    name: str
    origin: str
    location: str
    file: Path | None
    reference: tuple[str, ...]
    version: Callable[[], str]
    load: Callable[[], ModuleType]

    @property
    def place(self) -> str:
        """Where its code is, for people: such as `their-cars (/…/their_cars.py)`."""
        return f"{self.location} ({self.file})" if self.origin == "installed" and self.file else self.location


def find_plugins(sources: PluginSources) -> Iterator[Found]:
    """Every plugin of `sources` that could be loaded, each once, in the order of the module's docstring."""
    seen: set[Path] = set()
    bundled = Path(_bundled_folder()).resolve()
    for path in _python_files(bundled):
        seen.add(path)
        yield _bundled(path)
    for entry_point in sorted(entry_points(group="automl_car"), key=lambda point: point.name):
        yield _installed(entry_point)
    workspace = _python_files(sources.workspace_folder.resolve()) if sources.workspace_folder else []
    for path in [path for path in workspace if path not in seen and not _is_copy(path, bundled / path.name)]:
        seen.add(path)
        yield _single_file(path, "workspace")
    for path in [file.resolve() for file in sources.files]:
        if path not in seen:
            seen.add(path)
            yield _single_file(path, "file")


def find_again(reference: tuple[str, ...]) -> Found:
    """The plugin of a reference, in another process."""
    if len(reference) == 1:
        return _single_file(Path(reference[0]), "file")
    return _installed(EntryPoint(*reference))


def _is_copy(path: Path, original: Path) -> bool:
    """Whether a workspace's plugin is a bundled one: a clone of the repository is a workspace, too."""
    return original.is_file() and path.read_bytes() == original.read_bytes()


def _bundled_folder() -> str:
    package = importlib.import_module("automl_car.plugins")
    return next(iter(package.__path__))


def _python_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path.resolve() for path in folder.glob("*.py") if not path.name.startswith("_"))


def _bundled(path: Path) -> Found:
    def load() -> ModuleType:
        return importlib.import_module(f"automl_car.plugins.{path.stem}")

    return Found(path.stem, "bundled", f"automl_car/plugins/{path.name}", path, (), lambda: __version__, load)


def _installed(entry_point: EntryPoint) -> Found:
    distribution = entry_point.dist
    label = distribution.name if distribution else entry_point.value

    def load() -> ModuleType:
        module = entry_point.load()
        if not isinstance(module, ModuleType):
            raise PluginError(f"entry point `{entry_point.value}` must name a module, not {type(module).__name__}.")
        return module

    def version() -> str:
        return distribution.version if distribution else ""

    reference = (entry_point.name, entry_point.value, "automl_car")
    return Found(entry_point.name, "installed", label, _file_of(entry_point.module), reference, version, load)


def _file_of(module: str) -> Path | None:
    """The file of a module that is not imported; its packages are not either, as that would run their code."""
    places: list[str] | None = None
    spec = None
    for depth in range(module.count(".") + 1):
        spec = PathFinder.find_spec(".".join(module.split(".")[: depth + 1]), places)
        places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(spec.origin) if spec and spec.origin else None


def _single_file(path: Path, origin: str) -> Found:
    def digest() -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:8] if path.is_file() else ""

    return Found(path.stem, origin, str(path), path, (str(path),), digest, lambda: _import_file(path))


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError("there is no such file.")
    # The name must not clash with a real module; two files of the same stem in two folders are two modules.
    name = f"automl_car_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError("it is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and annotations of the plugin look their module up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
