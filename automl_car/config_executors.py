"""The settings of executors: any name will do, as plugins declare them, and none is loaded when settings are read."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from automl_car.config_values import PluginValue


class ExecutorConfig(BaseModel):
    """One executor's own settings, which its plugin declares."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, PluginValue] = Field(init=False)


class ExecutorsConfig(BaseModel):
    """How folds are trained by the executor that `search.executor` names: {name: {setting: value}}."""

    model_config = ConfigDict(frozen=True, extra="allow")
    # A section whose settings are all commented out reads as None.
    __pydantic_extra__: dict[str, Annotated[ExecutorConfig, BeforeValidator(lambda value: value or {})]] = Field(
        init=False
    )

    @property
    def given(self) -> dict[str, dict[str, bool | int | float | str]]:
        """The settings that stand there, by the executor's name."""
        return {name: dict(executor.model_extra or {}) for name, executor in self.__pydantic_extra__.items()}
