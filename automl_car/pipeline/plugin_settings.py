"""Settings that a plugin declares and a person writes: what is wrong with them, and what the plugin lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from automl_car.catalog.params import ParamValue
from automl_car.catalog.records import ExecutorKind, Tracker
from automl_car.catalog.words import did_you_mean
from automl_car.following import missing_modules


def wrong_settings(
    place: str, record: Tracker | ExecutorKind, values: Mapping[str, ParamValue], *, beside: str = "none"
) -> Iterator[str]:
    """What is wrong with the values that stand in automl-car.yaml at `place`, in sentences.

    Args:
        place: such as `trackers.mlflow`.
        beside: what else may stand there, in words.
    """
    settings = {setting.name: setting for setting in record.settings}
    for key, value in values.items():
        if key not in settings:
            near = did_you_mean(key, tuple(settings)) or f" Known here: {', '.join(settings) or beside}."
            yield f"settings: unknown setting `{place}.{key}`.{near}"
        elif why := settings[key].why_not(value):
            yield f"settings: {place}.{key}: `{value}` is wrong: {why}."


def lacks(record: Tracker | ExecutorKind) -> tuple[str, str] | None:
    """The modules that it needs and that are not installed, and the command that brings them; None where all are."""
    missing = missing_modules(record)
    if not missing:
        return None
    return f"`{'`, `'.join(missing)}`", f"pip install '{record.install or ' '.join(missing)}'"
