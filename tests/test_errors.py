from __future__ import annotations

import pickle

import pytest

from automl_car import errors
from automl_car.errors import AutomlCarError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AutomlCarError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_keeps_its_kind_message_and_hint_on_its_way_from_another_process(kind: type[AutomlCarError]) -> None:
    arrived = pickle.loads(pickle.dumps(kind("it broke", hint="mend it")))
    assert type(arrived) is kind
    assert (str(arrived), arrived.message, arrived.hint) == ("it broke", "it broke", "mend it")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_needs_no_hint(kind: type[AutomlCarError]) -> None:
    assert kind("it broke").hint is None


@pytest.mark.parametrize("kind", [errors.ConfigError, errors.DataError])
def test_a_mistake_in_the_input_is_a_value_error(kind: type[AutomlCarError]) -> None:
    assert issubclass(kind, ValueError)


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        (errors.WeightsError, errors.PluginError),
        (errors.DivergedError, errors.TrainingError),
        (errors.OutOfMemoryError, errors.TrainingError),
    ],
)
def test_whoever_catches_a_family_catches_its_members(kind: type[AutomlCarError], family: type[AutomlCarError]) -> None:
    assert issubclass(kind, family)
