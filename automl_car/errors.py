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
    ├── MachineError         the system refuses: a full disk, a read-only folder, too many open files
    │   └── DatabaseAwayError the database of a study cannot be reached
    └── ExecutorError        the process that trained a fold died, or its plugin's code raised
        └── ProcessLostError it was killed, hangs, or lost its GPU; another one may do better
            ├── KilledError      killed from outside, as the system does when memory runs out
            ├── DeviceLostError  the GPU failed under it
            └── TransferError    what a fold needs, or left, could not be moved between machines

Every message names the value, says where it came from, and the hint says what to do.
"""

from __future__ import annotations


class AutomlCarError(Exception):
    """Base of all errors that automl-car raises on purpose.

    Args:
        message: what is wrong, with the value in it and where it came from.
        hint: what to do about it; printed on a line of its own.

    Attributes:
        culprits: backbones and augmentations whose plugin is to blame, where that is known.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.culprits: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with the message alone and lose the rest between processes.
        more = {name: value for name, value in vars(self).items() if name in ("exit_code", "hung")}
        return (_rebuild, (type(self), self.message, self.hint, self.culprits), more)


def _rebuild(kind: type[AutomlCarError], message: str, hint: str | None, culprits: tuple[str, ...]) -> AutomlCarError:
    error = kind(message, hint=hint)
    error.culprits = culprits
    return error


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


class MachineError(AutomlCarError):
    """The system refuses what the work needs; a person can mend it, and the same command then goes on."""


class DatabaseAwayError(MachineError):
    """A database on a server cannot be reached, refuses, or went away in the middle of something."""


class ExecutorError(AutomlCarError):
    """The process that trained a fold died, or foreign code raised in it; the message names the cause."""

    exit_code: int | None = None  # of a process that died; None where it lives on
    hung: bool = False  # whether it was ended because its work did not go on


class ProcessLostError(ExecutorError):
    """A training process was killed, hangs, or lost its GPU: what it worked on may succeed in another one."""


class KilledError(ProcessLostError):
    """A training process, or one that loads its photos, was killed from outside."""


class DeviceLostError(ProcessLostError):
    """The GPU failed, and this process cannot use it any more."""


class TransferError(ProcessLostError):
    """What a fold needs, or left, could not be moved between machines; another one, or a later try, may do better."""
