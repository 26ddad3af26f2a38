from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automl_car.config import Config, load_config
from automl_car.config_values import parse_duration
from automl_car.errors import ConfigError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the text of a settings file and returns its path."""

    def write_text(text: str) -> Path:
        path = tmp_path / "automl-car.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def problems(path: Path | None, overrides: dict[str, Any] | None = None) -> list[str]:
    """The lines of the error that these settings are refused with."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return caught.value.message.splitlines()


def problem(path: Path | None, overrides: dict[str, Any] | None = None) -> str:
    """The only one."""
    (line,) = problems(path, overrides)
    return line


# ---- precedence -----------------------------------------------------------------------------------------------------


def test_without_a_file_the_defaults_hold() -> None:
    assert load_config(None) == Config()


def test_a_file_lies_over_the_defaults_and_the_command_line_over_the_file(write: Write) -> None:
    path = write("search: {trials: 7, seed: 3}\n")
    config = load_config(path, {"search.trials": 9, "search.seed": None})
    assert (config.search.trials, config.search.seed, config.data.folds) == (9, 3, 5)


def test_a_wrong_value_in_the_file_does_not_matter_when_the_command_line_gives_another(write: Write) -> None:
    assert load_config(write("search: {trials: many}"), {"search.trials": 9}).search.trials == 9


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().search.trials = 3


def test_every_knob_of_the_first_contest_project_is_there(write: Write) -> None:
    path = write(
        "data: {folds: 10}\n"
        "search: {backbones: [efficientnet_b0]}\n"
        "training: {batch_size: 16, epochs: 40, patience: 7, learning_rate: 1e-4}\n"
    )
    config = load_config(path)
    assert config.data.folds == 10
    assert config.search.backbones == ("efficientnet_b0",)
    training = config.training
    assert (training.batch_size, training.epochs, training.patience, training.learning_rate) == (16, 40, 7, 1e-4)


# ---- what values may look like --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("'90'", 90),
        ("0.5", 0.5),
        ("90s", 90),
        ("30m", 1800),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("2d", 172800),
    ],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float, write: Write) -> None:
    assert load_config(write(f"search: {{timeout: {text}}}")).search.timeout == seconds


@pytest.mark.parametrize("text", ["soon", "m30", "30 minutes", "1h30", "-5m", "30m!", "''", "1..5h", "h"])
def test_what_is_no_duration_is_refused_with_examples(text: str, write: Write) -> None:
    assert "write a duration such as 90s, 30m, 1h30m or 2d" in problem(write(f"search: {{timeout: {text}}}"))


@pytest.mark.parametrize("text", ["0", "0s", "-5"])
def test_a_time_limit_is_above_zero(text: str, write: Write) -> None:
    assert len(problems(write(f"search: {{timeout: {text}}}"))) == 1


@pytest.mark.parametrize("text", ["1e-4", "'1e-4'", "0.0001", "1.0e-4"])
def test_a_number_may_be_quoted_and_needs_no_point_before_its_exponent(text: str, write: Write) -> None:
    assert load_config(write(f"training: {{learning_rate: {text}}}")).training.learning_rate == 1e-4


@pytest.mark.parametrize("word", ["true", "yes", "on", "no", "False"])
def test_a_switch_is_no_number_and_no_name(word: str, write: Write) -> None:
    lines = f"search:\n  trials: {word}\n  study: {word}\ntraining:\n  warmup: {word}\nspace:\n  mixup: [{word}, 1]\n"
    for line in problems(write(lines)):
        assert "true, false, yes, no, on and off are switches in YAML; put quotes around such a word" in line
    assert len(problems(write(lines))) == 4


def test_a_switch_is_fine_where_one_belongs(write: Write) -> None:
    config = load_config(write("pruning: {enabled: no}\nplugins: {local: false}\n"))
    assert (config.pruning.enabled, config.plugins.local) == (False, False)


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf"])
@pytest.mark.parametrize("setting", ["learning_rate", "warmup", "clip_norm", "head_multiplier"])
def test_a_number_that_is_not_finite_is_refused(number: str, setting: str, write: Write) -> None:
    assert f"training.{setting}" in problem(write(f"training: {{{setting}: {number}}}"))


@pytest.mark.parametrize("number", ["99999999999999999999", "0x" + "F" * 900, "-1", "2.5", "9" * 5000, "many"])
@pytest.mark.parametrize("setting", ["epochs", "batch_size", "patience", "workers"])
def test_a_whole_number_that_cannot_be_meant_is_refused(number: str, setting: str, write: Write) -> None:
    assert "line 2" in problem(write(f"training:\n  {setting}: {number}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("search: {backbones: resnet50}", "write auto, or a list of names such as [a, b]"),
        ("search: {augmentations: 5}", "write auto, or a list of names such as [a, b]"),
        ("search: {backbones: []}", "write auto, or a list of names such as [a, b]"),
        ("space: {image_size: big}", "write auto, a whole number of pixels from 16 to 4096, or a list of such numbers"),
        ("space: {image_size: 0}", "from 16 to 4096"),
        ("space: {image_size: []}", "from 16 to 4096"),
        ("space: {image_size: [224, big]}", "from 16 to 4096"),
        ("space: {views: 7}", "write a whole number from 1 to 6, or a list of such numbers"),
        ("space: {views: []}", "write a whole number from 1 to 6"),
        ("space: {views: [2, 0]}", "write a whole number from 1 to 6"),
        ("space: {mixup: 2}", "write a number from 0 to 1, or a range [low, high] of two such numbers"),
        ("space: {mixup: [0.5, 0.1]}", "with low < high"),
        ("space: {mixup: [0.1, 0.2, 0.3]}", "a range [low, high] of two such numbers"),
        ("space: {weight_decay: -1}", "write a number of at least 0, or a range [low, high]"),
        ("space: {lr_multiplier: 0}", "write a number above 0, or a range [low, high]"),
        ("training: {weights: 5}", "write pretrained, random or a file, or a mapping {backbone: one of these}"),
        ("training: {weights: {a: 5}}", "write pretrained, random or a file, or a mapping"),
    ],
)
def test_a_setting_of_several_kinds_gives_one_problem_that_names_them_all(
    text: str, expected: str, write: Write
) -> None:
    assert expected in problem(write(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [("auto", "auto"), ("224", 224), ("'224'", 224), ("[160, 224]", (160, 224))],
)
def test_an_image_size_is_a_word_a_number_or_a_list(text: str, value: Any, write: Write) -> None:
    assert load_config(write(f"space: {{image_size: {text}}}")).space.image_size == value


@pytest.mark.parametrize(("text", "value"), [("2", 2), ("[4, 2]", (4, 2))])
def test_views_are_a_number_or_a_list(text: str, value: Any, write: Write) -> None:
    assert load_config(write(f"space: {{views: {text}}}")).space.views == value


def test_weights_are_named_for_all_or_for_each_backbone(write: Write) -> None:
    assert load_config(write("training: {weights: random}")).training.weights == "random"
    assert load_config(write("training: {weights: {a: f.pth}}")).training.weights == {"a": "f.pth"}


@pytest.mark.parametrize("study", ["old", "hecto.v2", "../there/studies/main.db"])
def test_a_warm_start_is_a_study_or_its_file(study: str, write: Write) -> None:
    assert load_config(write(f"search: {{warm_start: {study}}}")).search.warm_start == study


def test_a_warm_start_without_a_name_is_refused(write: Write) -> None:
    assert "search.warm_start: `` is wrong" in problem(write("search: {warm_start: ''}"))


def test_by_default_no_study_comes_first_and_no_search_ends_early() -> None:
    assert (Config().search.warm_start, Config().search.patience) == (None, 0)


@pytest.mark.parametrize("name", ["main", "2024-05", "hecto.v2", "차종", "École", "a" * 100])
def test_a_study_may_be_called(name: str) -> None:
    assert load_config(None, {"search.study": name}).search.study == name


@pytest.mark.parametrize("name", ["../up", "a/b", "_cache", "", ".hidden", "a b", "[red]", "a" * 101])
def test_a_study_may_not_be_called(name: str) -> None:
    assert "a study name begins with a letter or digit" in problem(None, {"search.study": name})


# ---- problems are told well -----------------------------------------------------------------------------------------


def test_an_unknown_setting_is_named_with_its_line_and_the_near_name(write: Write) -> None:
    path = write("search:\n  # a comment\n  trails: 10\n")
    assert problem(path) == f"`{path}` line 3: unknown setting `search.trails`. Did you mean `search.trials`?"


def test_an_unknown_section_is_named_with_its_line_and_the_near_name(write: Write) -> None:
    path = write("\nserach:\n  trials: 10\n")
    assert problem(path) == f"`{path}` line 2: unknown setting `serach`. Did you mean `search`?"


@pytest.mark.parametrize("text", ["batch_size: 16", "data: {batch_size: 16}"])
def test_a_setting_in_the_wrong_section_is_sent_to_the_right_one(text: str, write: Write) -> None:
    assert problem(write(text)).endswith("Did you mean `training.batch_size`?")


def test_a_setting_that_is_near_to_nothing_lists_what_there_is(write: Write) -> None:
    assert problem(write("ensemble: {xyz: 1}")).endswith("unknown setting `ensemble.xyz`. Known here: top_k.")


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(write: Write) -> None:
    path = write("training:\n  epochs: 0\nsearch:\n  trails: 3\n  timeout: soon\ndata:\n  folds: 1\n")
    assert [line.split(":")[0] for line in problems(path, {"search.seed": -1})] == [
        "command line",
        *(f"`{path}` line {line}" for line in (2, 4, 5, 7)),
    ]


def test_a_wrong_value_is_shown_with_what_is_expected(write: Write) -> None:
    path = write("training:\n  epochs: 0\n")
    expected = f"`{path}` line 2: training.epochs: `0` is wrong: it must be greater than or equal to 1."
    assert problem(path) == expected


@pytest.mark.parametrize(
    ("setting", "value", "option"),
    [
        ("search.timeout", "soon", "--timeout"),
        ("training.batch_size", 0, "--batch-size"),
        ("search.backbones", [], "--backbone"),
        ("search.tuning", "haed", "--tuning"),
    ],
)
def test_a_wrong_option_is_called_as_it_was_typed(setting: str, value: Any, option: str) -> None:
    assert problem(None, {setting: value}).startswith(f"command line: {option} ")


def test_a_long_value_is_cut_so_that_the_error_stays_readable(write: Write) -> None:
    assert len(problem(write(f"search: {{timeout: {'x' * 900}}}"))) < 400


def test_a_value_of_several_lines_is_shown_in_one(write: Write) -> None:
    assert "`a b`" in problem(write("search:\n  timeout: |\n    a\n    b\n"))


def test_the_error_says_where_settings_are_explained(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write("x: 1"))
    assert caught.value.hint is not None
    assert "automl-car init DIR" in caught.value.hint


# ---- files that are not settings ------------------------------------------------------------------------------------


def test_a_key_that_stands_twice_is_refused_with_both_lines(write: Write) -> None:
    path = write("search:\n  trials: 1\n  seed: 0\n  trials: 2\n")
    assert problem(path) == f"`{path}` line 4: `search.trials` stands there twice, first in line 2."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("search: &s {trials: 3}\nplugins: *s\n", "line 2 uses a YAML anchor"),
        ("search: {trials: 3", "line 1 is not YAML"),
        ("search:\n\ttrials: 3", "line 2 is not YAML .* cannot start any token"),
        ("a: 1\n---\nb: 2\n", "is not YAML .* another document"),
        (
            "search:\n  x: !!python/object/apply:os.system ['echo']\n",
            "line 2 is not YAML .*python/object/apply:os.system",
        ),
        ("search:\n  study: 2024-99-99\n", "is not YAML .* month must be in 1..12"),
        ("a: \x07\n", "special characters are not allowed"),
        ("? [1, 2]\n: 3\n", "line 1 is not YAML .* unhashable key"),
        ("[" * 2000 + "]" * 2000, "is nested too deeply"),
        ("- search\n- data\n", "must hold sections such as `search:`, not a list"),
        ("trials 50", "must hold sections such as `search:`, not a single value"),
        ("5: 3\n", "line 1: 5: `5` is wrong: a setting has a word as its name"),
        ("search: 5", "line 1: search: `5` is wrong: a section holds indented lines such as `setting: value`"),
        ("search: [trials]", "line 1: search: .* is wrong: a section holds indented lines"),
        ("plugins: {files: x.py}", "write a list such as"),
        ("data: {class_aliases: [a]}", "write a mapping such as"),
        ("data: {class_aliases: {911: 912}}", "goes in quotes"),
        ("data: {train: 5}", "goes in quotes"),
        ("data: {directory: 5}", "goes in quotes"),
        ("pruning: {enabled: maybe}", "write true or false"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_the_reason(text: str, reason: str, write: Write) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_config(write(text))


def test_a_wrong_section_is_reported_though_the_command_line_sets_something_in_it(write: Write) -> None:
    assert "search: `5` is wrong" in problem(write("search: 5"), {"search.trials": 3})


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "search:\ntraining: ~\n", "{}", "---\n"])
def test_a_file_or_section_that_is_all_comments_leaves_the_defaults(text: str, write: Write) -> None:
    assert load_config(write(text)) == Config()


def test_the_command_line_can_set_something_in_an_empty_section(write: Write) -> None:
    assert load_config(write("search:\n"), {"search.trials": 3}).search.trials == 3


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes("\ufeffsearch: {study: 차}\r\n".encode())
    assert load_config(tmp_path / "c.yaml").search.study == "차"


def test_a_file_that_is_not_utf8_is_refused_with_the_byte(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes("search: {study: 차}".encode("cp949"))
    assert problem(tmp_path / "c.yaml") == f"The settings file `{tmp_path / 'c.yaml'}` is not UTF-8 at byte 16."


def test_a_file_that_is_not_there_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "missing.yaml"
    assert problem(path) == f"The settings file `{path}` cannot be read: No such file or directory."


def test_a_file_that_is_far_too_long_is_not_read_as_yaml(write: Write) -> None:
    assert "1000001 bytes" in problem(write("#" * 1_000_001))


YAML_LIKE = st.text(st.sampled_from("abtrials: {}[],&*!|>-?#'\"%@`~\n\t 0123456789.e+_<=x\\ä\ufeff\x00"), max_size=60)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3))
SETTINGS = [(section, name) for section, values in Config() for name in type(values).model_fields]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(max_size=40), YAML_LIKE, YAML_LIKE.map(lambda rest: f"search:\n  trials: {rest}")))
def test_any_text_is_either_settings_or_a_config_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(ConfigError):
        assert isinstance(load_config(path), Config)


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(SETTINGS), value=VALUES.filter(lambda value: value is not None))
def test_any_value_of_any_setting_is_either_taken_or_one_line_of_error(place: tuple[str, str], value: Any) -> None:
    message = ""
    try:
        load_config(None, {".".join(place): value})
    except ConfigError as error:
        message = error.message
    assert all(line.startswith("command line: --") for line in message.splitlines())


@given(st.integers(0, 10**6), st.sampled_from("smhd"))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
