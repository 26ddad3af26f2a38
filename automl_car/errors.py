"""The errors that a caller of automl-car can meet.

    AutomlCarError
    ├── ConfigError          a setting or an option is wrong           (also a ValueError)
    ├── DataError            the photos, labels or CSV files are wrong (also a ValueError)
    ├── PluginError          a plugin cannot be loaded or breaks its contract
    │   └── WeightsError     pretrained weights cannot be had
    ├── StudyError           a study does not fit this command
    │   └── NoStudyError     there is no study of that name
    ├── StoreError           a file of the fold store is damaged
    ├── BundleError          a bundle is missing, damaged, or of another format
    ├── TrainingError        a fold cannot be trained
    │   ├── DivergedError    its loss is not finite, or worse than guessing
    │   └── OutOfMemoryError its memory does not suffice
    └── ExecutorError        the process that trained a fold died

Every message names the value, says where it came from, and the hint says what to do.
"""

from __future__ import annotations


class AutomlCarError(Exception):
    """Base of all errors that automl-car raises on purpose.

    Args:
        message: what is wrong, with the value in it and where it came from.
        hint: what to do about it; printed on a line of its own.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with the message alone and lose the hint between processes.
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[AutomlCarError], message: str, hint: str | None) -> AutomlCarError:
    return kind(message, hint=hint)


class ConfigError(AutomlCarError, ValueError):
    """A setting or an option is wrong; the message lists every problem found."""


class DataError(AutomlCarError, ValueError):
    """Photos, labels or CSV files are missing, broken or contradict each other."""


class PluginError(AutomlCarError):
    """A plugin cannot be loaded, clashes with another one, or breaks its contract."""


class WeightsError(PluginError):
    """Pretrained weights are not on this machine and were not found where they were asked for."""


class StudyError(AutomlCarError):
    """The study does not exist, or was made from other data or other plugins."""


class NoStudyError(StudyError):
    """There is no study of that name."""


class StoreError(AutomlCarError):
    """A file of the fold store is missing a part or does not match its checksum."""


class BundleError(AutomlCarError):
    """A bundle is not there, does not match its checksums, or has a format that this version does not read."""


class TrainingError(AutomlCarError):
    """A fold cannot be trained with this recipe."""


class DivergedError(TrainingError):
    """The loss is not finite, or stays worse than guessing."""


class OutOfMemoryError(TrainingError):
    """The memory of the host or of the device does not suffice for this recipe."""


class ExecutorError(AutomlCarError):
    """The process that trained a fold died; the message names the signal or exit code."""
