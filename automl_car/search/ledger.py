"""The ledger of a study: all that its database knows, in a file that only grows, beside the folds.

    checkpoints/<study>/trials.jsonl

One record a line: the first 16 hex digits of the sha256 of the rest of the line, a space, and JSON. A record holds the
attributes of a generation (`generations.py`), or one of its trials; a later one of the same replaces it. A record is on
the disk before the search waits for its next fold, and after a second where it never has to wait; what a crash cut off
is told by its checksum. The database is written first: it never lacks what the ledger has, unless it lost something.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from automl_car.errors import StoreError
from automl_car.files import make_folder, sync_folder, write_atomically
from automl_car.search.generations import GENERATION, study_of
from automl_car.search.notes import NoteNames
from automl_car.search.patient import flush
from automl_car.system_errors import naming

FILE = "trials.jsonl"
LEDGER = "ledger"  # user attribute: names the ledger that a study's records are in
_FORMAT = 1
_DIGITS = 16
_TIMES = ("datetime_start", "datetime_complete")


class Ledger:
    """The records of one study.

    Args:
        path: of the file, which need not be there.

    Raises:
        StoreError: a later version has written it.

    Attributes:
        directory: checkpoints/<study>.
        lost: lines that are damaged and not the last one: something is missing.
        torn: whether the last line was cut off.
    """

    def __init__(self, path: Path) -> None:
        self.directory = path.parent
        self.lost = 0
        self.torn = False
        self._path = path
        self._studies: dict[str, Any] = {}  # by generation: its attributes
        self._trials: dict[str, dict[int, Any]] = {}  # by generation and number
        self._open: dict[str, dict[int, FrozenTrial]] = {}  # by generation and number: recorded, and may still change
        self._ended: dict[str, int] = {}  # by generation: as many of the first trials are recorded and have ended
        self._names: dict[str, NoteNames] = {}  # by generation
        *lines, tail = path.read_bytes().split(b"\n") if path.is_file() else [b""]
        self._good = [line for line in lines if self._take(line)]
        self.lost, self.torn = len(lines) - len(self._good), bool(tail)

    @classmethod
    def open(cls, directory: Path, note: Callable[[str], None] = lambda text: None) -> Ledger:
        """The ledger of a search, which writes to it: what is damaged is cut off.

        Args:
            directory: checkpoints/<study>.
            note: is told, on one line, of damage.
        """
        ledger = cls(directory / FILE)
        ledger._mend(note)
        return ledger

    # ---- reading ----

    @property
    def id(self) -> str:
        """Names this ledger; empty while it is new."""
        return next((study["attributes"].get(LEDGER, "") for study in self._studies.values()), "")

    def generations(self, study: str) -> tuple[str, ...]:
        """Names of the generations that count, as Optuna studies."""
        counting = (name for name, record in self._studies.items() if _counts(name, record["attributes"]))
        return tuple(name for name in counting if study_of(name) == study or name == study)

    def study(self, generation: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """User attributes and system attributes of a generation."""
        record = self._studies[generation]
        return record["attributes"], record["system"]

    def trials(self, generation: str) -> Mapping[int, Mapping[str, Any]]:
        """Trials of a generation by number, as `trial_json` writes them."""
        return self._trials.get(generation, {})

    # ---- writing ----

    def record(self, study: optuna.Study) -> None:
        """Append what has changed in a generation since it was recorded, and wait until it is on the disk.

        Raises:
            OSError: the disk is full; the ledger is as it was.
        """
        flush(study)  # the database comes first
        attributes = study._storage.get_study_user_attrs(study._study_id)  # not copied, as `study.user_attrs` is
        if not attributes.get(LEDGER):
            study.set_user_attr(LEDGER, self.id or uuid.uuid4().hex)
        trials = study.get_trials(deepcopy=False)
        self._append([_line(record) for record in self._changes(study, trials)])
        self._remember(study.study_name, trials)

    def _changes(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> Iterator[dict[str, Any]]:
        name, known = study.study_name, self._trials.get(study.study_name, {})
        same = self._open.get(name, {})  # a storage replaces the trials that it changes
        changed = [
            trial
            for trial in trials[self._ended.get(name, 0) :]
            if same.get(trial.number) is not trial and not _is_settled(known.get(trial.number), trial)
        ]
        notes, system = self._names.setdefault(name, NoteNames()).split(study, changed)
        for trial in changed:
            before, told = known.get(trial.number), {**trial_json(trial), "notes": notes.get(trial.number, {})}
            if before is None or _text(before) != _text(told):
                yield {"generation": name, "trial": told}
        # Last: trials that a killed process was copying count for nothing without it.
        attributes = {"attributes": study._storage.get_study_user_attrs(study._study_id), "system": system}
        if self._studies.get(name) != attributes and _text(self._studies.get(name)) != _text(attributes):
            yield {"generation": name, "study": attributes, "format": _FORMAT}

    def _remember(self, name: str, trials: Sequence[FrozenTrial]) -> None:
        """Which of the trials that were recorded need not be looked at the next time."""
        ended = self._ended.get(name, 0)
        while ended < len(trials) and trials[ended].state.is_finished():
            ended += 1
        self._ended[name] = ended
        self._open[name] = {trial.number: trial for trial in trials[ended:] if not trial.state.is_finished()}

    def _append(self, lines: list[bytes]) -> None:
        if not lines:
            return
        make_folder(self.directory)
        data = b"".join(line + b"\n" for line in lines)
        # Without a buffer: what it holds could not be written while the file is cut, and half a line would stay.
        with naming(self._path), self._path.open("ab", buffering=0) as file:
            length = file.tell()
            try:
                while data:
                    data = data[file.write(data) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(length)  # half a line would make the next one unreadable, too
                raise
        if not length:  # it is new, or nothing that was begun in it was ever on the disk
            sync_folder(self.directory)
        for line in lines:
            self._take(line)

    # ---- damage ----

    def set_aside(self) -> Path:
        """Rename the file and forget what is in it; returns its new place."""
        number = 1
        while (aside := self._path.with_name(f"{FILE}.damaged-{number}")).exists():
            number += 1
        self._path.rename(aside)
        self._studies, self._trials, self._open, self._ended, self._names = {}, {}, {}, {}, {}
        return aside

    def _mend(self, note: Callable[[str], None]) -> None:
        if self.lost:
            shutil.copyfile(self._path, copy := self._path.with_name(f"{FILE}.damaged"))
            note(f"{self.lost} records of `{self._path}` are damaged and passed over; `{copy.name}` is a copy of it")
        elif self.torn:
            note(f"the last record of `{self._path}` was cut off; the search goes on from the one before")
        if self.torn or self.lost:
            write_atomically(self._path, b"".join(line + b"\n" for line in self._good))
        self._good = []

    def _take(self, line: bytes) -> bool:
        """Keep what a line says; whether it is whole."""
        record = _read(line)
        if record is None:
            return False
        if "trial" in record:
            self._trials.setdefault(record["generation"], {})[record["trial"]["number"]] = record["trial"]
        elif record["format"] == _FORMAT:
            self._studies[record["generation"]] = record["study"]
        else:
            raise StoreError(
                f"`{self._path}` has format {record['format']}; this version reads {_FORMAT}.",
                hint="use the version of automl-car that wrote it, or another study name.",
            )
        return True


def ledger_of(studies: Path, study: str) -> Path:
    """The ledger's file of a study in the workspace that the folder `studies` is in."""
    return studies.parent / "checkpoints" / study / FILE


def _is_settled(record: Mapping[str, Any] | None, trial: FrozenTrial) -> bool:
    """Whether there is nothing to add to a record: the trial had ended, or runs with the recipe that it began with.

    Its folds are in the fold store, from where they are taken if it has to begin again.
    """
    if record is None:
        return False
    state = TrialState[record["state"]]
    return state.is_finished() or (state == trial.state == TrialState.RUNNING and "recipe" in record["user_attrs"])


def _counts(generation: str, attributes: Mapping[str, Any]) -> bool:
    return study_of(generation) == generation or GENERATION in attributes


# ---- lines ----------------------------------------------------------------------------------------------------------


def _line(record: Mapping[str, Any]) -> bytes:
    data = json.dumps(record, ensure_ascii=False).encode()  # a line end within text is written as `\n`
    return _checksum(data) + b" " + data


def _read(line: bytes) -> Any:
    checksum, data = line[:_DIGITS], line[_DIGITS + 1 :]
    if _checksum(data) != checksum or line[_DIGITS : _DIGITS + 1] != b" ":
        return None
    return json.loads(data)


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest()[:_DIGITS].encode()


def _text(value: Any) -> str:
    """One text for equal values; that NaN differs from itself is of no interest here."""
    return json.dumps(value, sort_keys=True)


# ---- trials ---------------------------------------------------------------------------------------------------------


def trial_json(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as plain JSON values; floats come back bit by bit."""
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "distributions": {name: distribution_to_json(one) for name, one in trial.distributions.items()},
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "intermediate_values": {str(step): value for step, value in trial.intermediate_values.items()},
        **{name: moment.isoformat() if (moment := getattr(trial, name)) else None for name in _TIMES},
    }


def trial_from_json(told: Mapping[str, Any]) -> FrozenTrial:
    """The trial that `trial_json` wrote; the storage gives it an id."""
    times = {name: datetime.fromisoformat(told[name]) if told[name] else None for name in _TIMES}
    return FrozenTrial(
        number=told["number"],
        state=TrialState[told["state"]],
        value=None,
        values=told["values"],
        params=dict(told["params"]),
        distributions={name: json_to_distribution(text) for name, text in told["distributions"].items()},
        user_attrs=dict(told["user_attrs"]),
        system_attrs=dict(told["system_attrs"]),
        intermediate_values={int(step): value for step, value in told["intermediate_values"].items()},
        trial_id=-1,
        **times,
    )


def same_trial(trial: FrozenTrial, told: Mapping[str, Any]) -> bool:
    """Whether a trial that has ended is as it was told, but for times, which some databases round."""
    left_out = {*_TIMES, "notes"}
    now, then = ({k: v for k, v in one.items() if k not in left_out} for one in (trial_json(trial), told))
    return _text(now) == _text(then)
