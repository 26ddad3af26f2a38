"""automl-car.yaml and the command line become one typed, frozen `Config`; every problem is reported at once.

Precedence: command line, then the file, then the defaults below. The resolved settings are stored with the study.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from automl_car.config_executors import ExecutorsConfig
from automl_car.config_trackers import TrackersConfig
from automl_car.config_values import (
    Count,
    Day,
    Factor,
    Names,
    NotNegative,
    Range,
    Seconds,
    Share,
    ShareRange,
    Sides,
    StudyName,
    ViewCounts,
    Weights,
    Whole,
    Workers,
)
from automl_car.config_words import describe_problems
from automl_car.errors import ConfigError
from automl_car.settings_file import read_settings
from automl_car.urls import without_password

_WHERE_EXPLAINED = "`automl-car init DIR` writes a file with every setting, its default and what it means."
_STRICT = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class _Section(BaseModel):
    """A group of settings: frozen, and strict about its keys."""

    model_config = _STRICT

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: object, info: ValidationInfo) -> object:
        """`trials: yes` is no number, though Python counts True as 1."""
        entries = value if isinstance(value, list | tuple) else [value]
        is_switch = cls.model_fields[info.field_name or ""].annotation is bool
        if not is_switch and any(isinstance(entry, bool) for entry in entries):
            raise ValueError("true, false, yes, no, on and off are switches in YAML; put quotes around such a word")
        return value


# ---- the sections ---------------------------------------------------------------------------------------------------


class DataConfig(_Section):
    """Where photos and labels are."""

    directory: Path = Field(Path("data"), description="folder of the contest's files, relative to the workspace")
    train: str = Field("train", description="folder with a folder per class, or a CSV of paths and labels")
    test: str = Field("test.csv", description="CSV of ids and paths")
    sample_submission: str = Field("sample_submission.csv", description="the contest's form; its columns are the order")
    class_aliases: dict[str, str] = Field({}, description="classes that the contest counts as one: {name: same as}")
    exclude: tuple[str, ...] = Field(
        (), description="training photos to leave out: paths in the folder, or a .csv of the workspace that lists them"
    )
    follow_links: bool = Field(False, description="whether links to photos outside of the data folder are read")
    folds: int = Field(5, ge=2, le=20, description="stratified, duplicate-grouped splits")


class SearchConfig(_Section):
    """What is searched, and for how long."""

    study: StudyName = Field(None, description="name of the study; default: `main`, or `sample` with --sample")
    trials: Count = Field(50, description="trials of the study in all, those of earlier runs included")
    timeout: Seconds | None = Field(None, description="30m, 1h30m …; the submission is written before it is over")
    storage: str | None = Field(
        None, description="URL of a database: postgresql://…, mysql://… or sqlite:///…; default: studies/<study>.db"
    )
    storage_wait: Seconds = Field(
        3600.0, description="how long a search waits for a database on a server that cannot be reached"
    )
    seed: Whole = Field(0, description="of folds, training and sampler")
    tuning: Literal["auto", "head", "full", "both"] = Field(
        "auto", description="head: a linear head on a frozen backbone; full: all of it; auto: by machine and time"
    )
    backbones: Names = Field(
        "auto", description="names, also a+b for a head on both; auto: all whose weights are on this machine"
    )
    augmentations: Names = Field("auto", description="names, or auto: all")
    startup_trials: Count = Field(10, description="random trials before TPE takes over")
    warm_start: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="a study whose best recipes come first: its name, or a .db file, relative to the workspace"
    )
    patience: Whole = Field(
        0, description="trials without a gain worth having after which the search stops; 0: it does not"
    )
    executor: Annotated[str, Field(min_length=1)] = Field(
        "local", description="where folds are trained: local, ray, or what a plugin offers"
    )
    address: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="the executor's cluster, such as auto or host:port; default: by executor"
    )
    workers: Workers = Field(
        "auto", description="training processes on this machine; auto: one a GPU, more where they fit, or one on a CPU"
    )
    parallel_trials: Workers = Field(
        "auto", description="trials that wait for a fold at the same time; auto: as many as there are processes"
    )
    gain_per: Literal["second", "trial"] = Field(
        "second",
        description="what backbones are compared by: the gain per second, or per trial, which no clock changes",
    )
    exchange: str | None = Field(
        None,
        min_length=1,
        description="s3://bucket/folder, gs://bucket/folder …, for workers that do not see this machine's files",
    )
    node_gb: float = Field(
        200.0, gt=0, description="gigabytes (10^9 bytes) that a worker's machine keeps of what it fetched from there"
    )


class SpaceConfig(_Section):
    """What TPE may choose from: [low, high] is searched, a single value is fixed."""

    lr_multiplier: Factor = Field((0.1, 10.0), description="times the backbone's default learning rate; logarithmic")
    weight_decay: Range = Field((1e-3, 0.3), description="of AdamW; logarithmic")
    layer_decay: ShareRange = Field((0.7, 1.0), description="learning rate of a group of layers over that above it")
    label_smoothing: ShareRange = Field((0.0, 0.1), description="share of the target spread over all classes")
    mixup: ShareRange = Field((0.0, 0.5), description="probability of mixing a batch by mixup")
    cutmix: ShareRange = Field((0.0, 0.5), description="probability of mixing a batch by cutmix")
    shrinkage: ShareRange = Field((0.05, 0.8), description="of the covariance of frozen features (tuning: head)")
    power: Range = Field((0.3, 1.0), description="power that frozen features are raised to (tuning: head)")
    views: ViewCounts = Field(
        4,
        description="of each photo, or a list to search: the whole, its mirror image, closer ones; predictions are "
        "averaged over 1, 2 or all of them",
    )
    progressive: ShareRange = Field(
        1.0, description="share of the image size that training begins with; 1: the full size throughout"
    )
    image_size: Sides = Field(
        "auto",
        description="pixels, or a list to search; auto: the backbone's own, for fine-tuning at most the photos'",
    )


class TrainingConfig(_Section):
    """The schedule of one fold."""

    epochs: Count = Field(30, description="of fine-tuning")
    batch_size: Count = Field(64, ge=2, description="images per step")
    patience: Whole = Field(5, description="epochs without a better log loss before a fold stops; 0: keep the last")
    learning_rate: float | None = Field(None, gt=0, description="base rate in place of each backbone's default")
    warmup: Share = Field(0.1, description="share of the steps in which the rate rises")
    clip_norm: NotNegative = Field(1.0, description="largest gradient norm; 0: no clipping")
    ema: NotNegative = Field(0.5, description="half-life in epochs of the averaged weights; 0: no averaging")
    head_multiplier: float = Field(10.0, gt=0, description="learning rate of the new last layer, times")
    plain_epochs: Share = Field(0.15, description="share of epochs at the end without mixup and cutmix")
    weights: Weights = Field("pretrained", description="pretrained, random, a file, or {backbone: one of these}")
    flip: bool = Field(True, description="mirror images in training and evaluation; false: left and right differ")
    workers: Whole | None = Field(None, description="processes that load photos for a fold; default: by machine")
    step: Literal["auto", "plain"] = Field(
        "auto", description="auto: precision, memory layout and micro-batch by measurement; plain: the usual ones"
    )
    checkpoint_seconds: NotNegative = Field(
        60.0, description="an epoch that takes so long is kept on the disk until its fold is finished"
    )


class PruningConfig(_Section):
    """When a trial is stopped, between folds or within its first one."""

    enabled: bool = Field(True, description="false: every trial trains all its folds")
    compare_with: Count = Field(5, description="the k-th best complete trial is what a trial must keep up with")
    z: float = Field(1.0, gt=0, description="standard errors that a trial may be worse by")
    startup_trials: Count = Field(25, description="trials that get one fold each before the best of them go on")


class EnsembleConfig(_Section):
    """What the submission is made of."""

    top_k: Count = Field(5, description="members at most")


class CacheConfig(_Section):
    """How much of the disk decoded photos may take; what does not fit is kept as JPEG of the same size."""

    train_gb: float = Field(16.0, gt=0, description="gigabytes (10^9 bytes) of decoded training photos")
    eval_gb: float = Field(8.0, gt=0, description="gigabytes of decoded test photos")


class PluginsConfig(_Section):
    """Which plugins are loaded besides the bundled and the installed ones."""

    files: tuple[Path, ...] = Field((), description="one-file plugins, relative to the workspace")
    disabled: tuple[str, ...] = Field((), description="plugins that are not loaded")
    local: bool = Field(True, description="whether the workspace's plugins/*.py are loaded")
    time_limit: Seconds = Field(
        30.0, description="30s, 2m …; for loading a plugin, and for trying out what it offers before it is trained"
    )


class CatalogConfig(_Section):
    """What a contest's rules let into the search."""

    weights_before: Day | None = Field(
        None, description="only backbones whose pretrained weights were public before this day, such as 2025-05-19"
    )


class Config(BaseModel):
    """All settings of a workspace."""

    model_config = _STRICT

    data: DataConfig = DataConfig()
    search: SearchConfig = SearchConfig()
    space: SpaceConfig = SpaceConfig()
    training: TrainingConfig = TrainingConfig()
    pruning: PruningConfig = PruningConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    cache: CacheConfig = CacheConfig()
    plugins: PluginsConfig = PluginsConfig()
    catalog: CatalogConfig = CatalogConfig()
    trackers: TrackersConfig = TrackersConfig()
    executors: ExecutorsConfig = ExecutorsConfig()


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
    values, lines = read_settings(path) if path else ({}, {})
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    for dotted, value in given.items():
        _set(values, dotted, value)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        known = {name: list(type(section).model_fields) for name, section in Config()}
        raise ConfigError(describe_problems(error, known, lines, given, path), hint=_WHERE_EXPLAINED) from None


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    section, _, name = dotted.partition(".")
    if isinstance(values.setdefault(section, {}), dict):  # what else may stand there is reported with the rest
        values[section][name] = value


def told_settings(config: Config) -> dict[str, Any]:
    """All settings as JSON values, for whoever may see a study or a report: without a password."""
    values = config.model_dump(mode="json")
    if storage := values["search"]["storage"]:
        values["search"]["storage"] = without_password(storage)
    return values
