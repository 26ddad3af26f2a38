"""The settings of trackers: any name will do, as plugins declare them, and none is loaded when settings are read."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from automl_car.config_values import PluginValue


class TrackerConfig(BaseModel):
    """One tracker: whether it is told, and its own settings, which its plugin declares."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, PluginValue] = Field(init=False)

    enabled: bool = Field(False, description="whether it is told of a search")


class TrackersConfig(BaseModel):
    """Who else is told how a search goes: {name: {enabled: true}}. They change nothing of it."""

    model_config = ConfigDict(frozen=True, extra="allow")
    # A section whose settings are all commented out reads as None.
    __pydantic_extra__: dict[str, Annotated[TrackerConfig, BeforeValidator(lambda value: value or {})]] = Field(
        init=False
    )

    @model_validator(mode="after")
    def _forget_those_switched_off(self) -> TrackersConfig:
        for name in [name for name, tracker in (self.model_extra or {}).items() if not tracker.enabled]:
            del self.__pydantic_extra__[name]
            self.__pydantic_fields_set__.discard(name)
        return self

    @property
    def switched_on(self) -> dict[str, dict[str, bool | int | float | str]]:
        """The settings of each tracker that is enabled, by its name."""
        return {name: dict(tracker.model_extra or {}) for name, tracker in self.__pydantic_extra__.items()}
