"""Where the files of a workspace are: settings, data, plugins, studies, checkpoints, logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from automl_car.catalog.records import PluginSources
from automl_car.config import Config
from automl_car.paths import plain_name


@dataclass(frozen=True)
class Workspace:
    """The folder that a command runs in."""

    root: Path

    @property
    def config_file(self) -> Path:
        return self.root / "automl-car.yaml"

    @property
    def studies(self) -> Path:
        return self.root / "studies"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def cache(self) -> Path:
        """Images and features, shared by all studies. A study's name never begins with `_`."""
        return self.root / "checkpoints" / "_cache"

    @property
    def sample(self) -> Path:
        """Where `search --sample` puts the generated photos."""
        return self.root / "data" / "sample"

    @property
    def bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def trackers(self) -> Path:
        """What trackers write, each in a folder of its name; shared by all studies."""
        return self.root / "trackers"

    def data(self, config: Config) -> Path:
        return self.root / config.data.directory

    def checkpoints(self, study: str) -> Path:
        """The fold store of one study."""
        return self.root / "checkpoints" / plain_name(study, "study")

    def reports(self, study: str) -> Path:
        """What a study's search leaves for people: its submission and its ensemble."""
        return self.studies / plain_name(study, "study")

    def plugin_sources(self, config: Config) -> PluginSources:
        """Where plugins are loaded from besides the bundled and the installed ones."""
        return PluginSources(
            workspace_folder=(self.root / "plugins").resolve() if config.plugins.local else None,
            files=tuple((self.root / file).resolve() for file in config.plugins.files),
            disabled=config.plugins.disabled,
            verdicts=self.cache / "plugins",
            time_limit=config.plugins.time_limit,
        )
