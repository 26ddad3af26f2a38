"""The executor that a command trains with: the one that `search.executor` names, built by the plugin that offers it."""

from __future__ import annotations

from pathlib import Path

from automl_car.catalog.manager import Catalog
from automl_car.catalog.records import ExecutorContext, ExecutorKind
from automl_car.catalog.state import left_alone
from automl_car.catalog.words import describe_error, did_you_mean
from automl_car.config import Config
from automl_car.errors import AutomlCarError, ConfigError, PluginError
from automl_car.pipeline.outcome import View
from automl_car.pipeline.plugin_settings import lacks, wrong_settings
from automl_car.search.executor import Executor

METHODS = ("machine", "slots", "submit", "measure", "close")


def pick_executor(catalog: Catalog, config: Config) -> ExecutorKind:
    """The executor that the settings name.

    Raises:
        ConfigError: there is none of that name, its settings are wrong, or its library is not installed.
    """
    name, known = config.search.executor, catalog.executors
    given = config.executors.given
    for wanted, place in ((name, "search.executor"), *((other, f"executors.{other}") for other in given)):
        if wanted not in known:
            raise ConfigError(
                f"settings: no plugin offers an executor of the name `{wanted}` (`{place}`)."
                f"{did_you_mean(wanted, tuple(known))}",
                hint="`automl-car plugins` lists the executors and their settings.",
            )
    kind = known[name]
    if problems := list(wrong_settings(f"executors.{name}", kind, given.get(name, {}))):
        raise ConfigError("\n".join(problems), hint="`automl-car plugins` lists the executors and their settings.")
    if lacking := lacks(kind):
        modules, install = lacking
        raise ConfigError(f"The executor `{name}` needs {modules}, which is not installed.", hint=install)
    return kind


def open_executor(catalog: Catalog, config: Config, view: View, log: Path) -> Executor:
    """The executor that the settings name; the caller has to close it.

    Args:
        log: file for what training processes print.

    Raises:
        ConfigError: see `pick_executor`, or what the executor does not agree with.
        PluginError: its plugin raised something else, or returned what is no executor.
    """
    kind = pick_executor(catalog, config)
    context = ExecutorContext(view.trained, log, view.note, config.search.address or "", config.search.workers)
    try:
        with left_alone():
            executor: Executor = kind.open(context, config.executors.given.get(kind.name, {}))
    except AutomlCarError:
        raise
    except Exception as error:
        raise PluginError(
            f"The executor `{kind.name}` of {_owner(catalog, kind)} failed: {describe_error(error)}"
        ) from error
    if lacking := [name for name in METHODS if not callable(getattr(executor, name, None))]:
        raise PluginError(f"The executor `{kind.name}` of {_owner(catalog, kind)} has no method `{lacking[0]}`.")
    return executor


def _owner(catalog: Catalog, kind: ExecutorKind) -> str:
    return next((row.title for row in catalog.plugins if kind.name in row.executors), "no plugin")
