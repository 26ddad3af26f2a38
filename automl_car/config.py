"""automl-car.yaml and the command line become one typed, frozen `Config`; every problem is reported at once.

Precedence: command line, then the file, then the defaults below. The resolved settings are stored with the study.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from automl_car.errors import ConfigError

_MAX_BYTES = 1_000_000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

# ---- kinds of values ------------------------------------------------------------------------------------------------


def parse_duration(value: object) -> object:
    """Seconds from `90`, `"90s"`, `"30m"`, `"1h30m"` or `"2d"`.

    Example:
        >>> parse_duration("1h30m")
        5400.0
    """
    if not isinstance(value, str):
        return value
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", value)
    if not parts or re.sub(r"[\d.\s]|[smhd]", "", value) or not re.fullmatch(r"(\s*\d+(\.\d+)?\s*[smhd])+\s*", value):
        raise ValueError("write a duration such as 90s, 30m, 1h30m or 2d")
    return float(sum(float(number) * _UNITS[unit] for number, unit in parts))


def _check_study_name(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9가-힣][\w가-힣.@-]{0,99}", name):
        raise ValueError("a study name begins with a letter or digit and holds letters, digits, `.`, `@`, `-` and `_`")
    return name


def _check_range(value: float | tuple[float, float]) -> float | tuple[float, float]:
    if isinstance(value, tuple) and not value[0] < value[1]:
        raise ValueError("the first end of a range must be below the second")
    return value


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
StudyName = Annotated[str | None, AfterValidator(_check_study_name)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[NotNegative | tuple[NotNegative, NotNegative], AfterValidator(_check_range)]
ShareRange = Annotated[Share | tuple[Share, Share], AfterValidator(_check_range)]
Names = Literal["auto"] | tuple[str, ...]


class _Section(BaseModel):
    """A group of settings: frozen, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


# ---- the sections ---------------------------------------------------------------------------------------------------


class DataConfig(_Section):
    """Where photos and labels are."""

    directory: Path = Field(Path("data"), description="folder of the contest's files, relative to the workspace")
    train: str = Field("train", description="folder with a folder per class, or a CSV of paths and labels")
    test: str = Field("test.csv", description="CSV of ids and paths")
    sample_submission: str = Field("sample_submission.csv", description="the contest's form; its columns are the order")
    class_aliases: dict[str, str] = Field({}, description="classes that the contest counts as one: {name: same as}")
    exclude: tuple[str, ...] = Field((), description="training photos to leave out, relative to the folder")
    folds: int = Field(5, ge=2, le=20, description="stratified, duplicate-grouped splits")


class SearchConfig(_Section):
    """What is searched, and for how long."""

    study: StudyName = Field(None, description="name of the study; default: `main`, or `sample` with --sample")
    trials: int = Field(50, ge=1, description="trials of the study in all, those of earlier runs included")
    timeout: Seconds | None = Field(None, description="30m, 1h30m …; the submission is written before it is over")
    storage: str | None = Field(None, description="SQLAlchemy URL; default: studies/<study>.db")
    seed: int = Field(0, ge=0, lt=2**31, description="of folds, training and sampler")
    tuning: Literal["auto", "head", "full", "both"] = Field(
        "auto", description="head: a linear head on a frozen backbone; full: all of it; auto: by machine and time"
    )
    backbones: Names = Field("auto", description="names, or auto: all whose weights are on this machine")
    augmentations: Names = Field("auto", description="names, or auto: all")
    startup_trials: int = Field(10, ge=1, description="random trials before TPE takes over")


class SpaceConfig(_Section):
    """What TPE may choose from: [low, high] is searched, a single value is fixed."""

    lr_multiplier: Range = Field((0.1, 10.0), description="times the backbone's default learning rate; logarithmic")
    weight_decay: Range = Field((1e-3, 0.3), description="of AdamW; logarithmic")
    layer_decay: ShareRange = Field((0.7, 1.0), description="learning rate of a group of layers over that above it")
    label_smoothing: ShareRange = Field((0.0, 0.1), description="share of the target spread over all classes")
    mixup: ShareRange = Field((0.0, 0.5), description="probability of mixing a batch by mixup")
    cutmix: ShareRange = Field((0.0, 0.5), description="probability of mixing a batch by cutmix")
    shrinkage: ShareRange = Field((0.05, 0.8), description="of the covariance of frozen features (tuning: head)")
    power: Range = Field((0.3, 1.0), description="power that frozen features are raised to (tuning: head)")
    image_size: Literal["auto"] | int | tuple[int, ...] = Field(
        "auto",
        description="pixels, or a list to search; auto: the backbone's own, for fine-tuning at most the photos'",
    )


class TrainingConfig(_Section):
    """The schedule of one fold."""

    epochs: int = Field(30, ge=1, description="of fine-tuning")
    batch_size: int = Field(64, ge=2, description="images per step")
    patience: int = Field(5, ge=0, description="epochs without a better log loss before a fold stops; 0: never")
    learning_rate: float | None = Field(None, gt=0, description="base rate in place of each backbone's default")
    warmup: Share = Field(0.1, description="share of the steps in which the rate rises")
    clip_norm: NotNegative = Field(1.0, description="largest gradient norm; 0: no clipping")
    ema: NotNegative = Field(0.5, description="half-life in epochs of the averaged weights; 0: no averaging")
    head_multiplier: float = Field(10.0, gt=0, description="learning rate of the new last layer, times")
    plain_epochs: Share = Field(0.15, description="share of epochs at the end without mixup and cutmix")
    weights: str | dict[str, str] = Field(
        "pretrained", description="pretrained, random, a file, or {backbone: one of these}"
    )
    workers: int | None = Field(None, ge=0, description="processes that load photos; default: by machine")


class PruningConfig(_Section):
    """When a trial is stopped between folds."""

    enabled: bool = Field(True, description="false: every trial trains all its folds")
    compare_with: int = Field(5, ge=1, description="the k-th best complete trial is what a trial must keep up with")
    z: float = Field(2.0, gt=0, description="standard errors that a trial may be worse by")
    startup_trials: int = Field(5, ge=1, description="complete trials before any is pruned")


class EnsembleConfig(_Section):
    """What the submission is made of."""

    top_k: int = Field(5, ge=1, description="members at most")


class PluginsConfig(_Section):
    """Which plugins are loaded besides the bundled and the installed ones."""

    files: tuple[Path, ...] = Field((), description="one-file plugins, relative to the workspace")
    disabled: tuple[str, ...] = Field((), description="plugins that are not loaded")
    local: bool = Field(True, description="whether the workspace's plugins/*.py are loaded")


class Config(_Section):
    """All settings of a workspace."""

    data: DataConfig = DataConfig()
    search: SearchConfig = SearchConfig()
    space: SpaceConfig = SpaceConfig()
    training: TrainingConfig = TrainingConfig()
    pruning: PruningConfig = PruningConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    plugins: PluginsConfig = PluginsConfig()


# ---- reading --------------------------------------------------------------------------------------------------------


def load_config(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read the file and lay the command line over it.

    Args:
        path: an automl-car.yaml, or None for the defaults alone.
        overrides: settings of the command line by dotted name, such as `{"search.trials": 10}`; None values
            are options that were not given.

    Raises:
        ConfigError: lists all problems, each with its value, its line or option, and what is expected.
    """
    text = _read(path) if path else ""
    lines = _lines_by_key(text, path)
    values = _parse(text, path)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    for dotted, value in given.items():
        _set(values, dotted.split("."), value)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = [_describe(problem, lines, given, path) for problem in error.errors()]
        unique = list(dict.fromkeys(problems))
        raise ConfigError("\n".join(unique), hint="the README lists every setting with its default.") from None


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The settings file `{path}` cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"The settings file `{path}` has {len(data)} bytes; more than {_MAX_BYTES} is refused.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"The settings file `{path}` is not UTF-8 at byte {error.start}.") from None


def _parse(text: str, path: Path | None) -> dict[str, Any]:
    values = yaml.safe_load(text) if text else {}
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"`{path}` must hold sections such as `search:`, not {type(values).__name__}.")
    return values


def _lines_by_key(text: str, path: Path | None) -> dict[tuple[str, ...], int]:
    """Line number (from 1) of each key path; refuses duplicate keys and anchors, which can make a small file huge."""
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ConfigError(f"`{path}` uses YAML anchors (`&`, `*`), which automl-car does not read.")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"`{path}` line {line} is not YAML: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"`{path}` is not YAML: {error}.") from None
    lines: dict[tuple[str, ...], int] = {}
    for key, line in _walk(root, ()):
        if key in lines:
            raise ConfigError(
                f"`{path}` line {line}: `{'.'.join(key)}` stands there twice, first in line {lines[key]}."
            )
        lines[key] = line
    return lines


def _walk(node: yaml.Node | None, prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = (*prefix, str(key.value))
            yield path, key.start_mark.line + 1
            yield from _walk(value, path)


def _set(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        section = values.setdefault(key, {})
        values = section if isinstance(section, dict) else values.update({key: {}}) or values[key]
    values[keys[-1]] = value


# ---- words ----------------------------------------------------------------------------------------------------------


def _describe(problem: Any, lines: Mapping[tuple[str, ...], int], given: Mapping[str, Any], path: Path | None) -> str:
    known = _known_prefix(tuple(str(part) for part in problem["loc"]))
    dotted = ".".join(known)
    place = _place(known, dotted, lines, given, path)
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown setting `{dotted}`.{_near(known)}"
    expected = problem["msg"].removeprefix("Value error, ")
    return f"{place}: `{dotted}: {_shown(problem['input'])}` is wrong: {expected[0].lower()}{expected[1:]}."


def _known_prefix(location: tuple[str, ...]) -> tuple[str, ...]:
    """The part of pydantic's location that a user wrote; it also names union members and tuple positions."""
    return location[:2] if location and location[0] in Config.model_fields else location[:1]


def _place(
    key: tuple[str, ...],
    dotted: str,
    lines: Mapping[tuple[str, ...], int],
    given: Mapping[str, Any],
    path: Path | None,
) -> str:
    if dotted in given:
        return f"command line `--{key[-1].replace('_', '-')}`"
    return f"`{path}` line {lines[key]}" if key in lines else f"`{path}`"


def _near(key: tuple[str, ...]) -> str:
    section = Config.model_fields[key[0]].annotation if len(key) > 1 else Config
    names = list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
    near = difflib.get_close_matches(key[-1], names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean `{'.'.join((*key[:-1], near[0]))}`?"
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and key[-1] in field.annotation.model_fields:
            return f" Did you mean `{name}.{key[-1]}`?"
    return f" Known here: {', '.join(names)}."


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
