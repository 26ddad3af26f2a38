"""The weights that a person writes: by name, normalised, and every mistake told."""

import pytest

from automl_car.ensemble.blend_weights import parse_weights
from automl_car.errors import ConfigError

NAMES = ["a", "b", "net_384"]


def test_weights_are_divided_by_their_sum_and_come_in_the_order_of_the_files():
    weights = parse_weights(" net_384 = 2 , b.csv=1,a=1", NAMES, pytest.fail)
    assert list(weights.items()) == [("a", 0.25), ("b", 0.25), ("net_384", 0.5)]


@pytest.mark.parametrize("text", ["a=1", "a=1,b=0"])
def test_files_without_weight_are_left_out_and_told(text):
    notes = []
    assert parse_weights(text, NAMES, notes.append) == {"a": 1.0}
    assert notes == ["left out, because --weights gives them nothing: b, net_384"]


def test_a_name_may_hold_an_equals_sign():
    assert parse_weights("lr=0.1=1", ["lr=0.1"], pytest.fail) == {"lr=0.1": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`` is not NAME=NUMBER"),
        ("a", "`a` is not NAME=NUMBER"),
        ("a=1,", "`` is not NAME=NUMBER"),
        ("a=1,c=1", "`c`, which is none of the files: a, b, net_384"),
        ("a=1,a.csv=2", "`a` twice"),
        ("a=-1,b=2", "`a=-1`: a weight is a number of at least 0"),
        ("a=many", "`a=many`: a weight"),
        ("a=nan", "`a=nan`: a weight"),
        ("a=inf", "`a=inf`: a weight"),
        ("a=0,b=0", "all weights are 0"),
    ],
)
def test_a_mistake_is_told(text, message):
    with pytest.raises(ConfigError) as error:
        parse_weights(text, NAMES, print)
    assert message in error.value.message


def test_a_misspelt_name_comes_with_the_near_one():
    with pytest.raises(ConfigError) as error:
        parse_weights("net_348=1", NAMES, print)
    assert error.value.hint == "Did you mean `net_384`?"
