"""The ledger: what is written comes back, whatever is cut off or flipped (rows 3 to 5 of the fault matrix)."""

from __future__ import annotations

import math
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import get_note, save_note

from automl_car.errors import StoreError
from automl_car.search.generations import GENERATION
from automl_car.search.ledger import FILE, Ledger, trial_from_json, trial_json
from automl_car.search.restoring import in_memory

Told = list[tuple[dict[str, Any], str]]


def _study(name: str = "main") -> optuna.Study:
    return optuna.create_study(study_name=name)


def _add(study: optuna.Study, value: float) -> None:
    """A finished trial with a note."""
    trial = study.ask()
    trial.suggest_float("rate", 1e-3, 1.0, log=True)
    trial.set_user_attr("recipe", {"backbone": "차", "params": {"x": 1}, "text": "two\nlines"})
    trial.report(value, step=0)
    save_note(trial, f"worth {value}")
    study.tell(trial, value)


def _told(study: optuna.Study) -> Told:
    return [(trial_json(trial), get_note(optuna.trial.Trial(study, trial._trial_id))) for trial in study.get_trials()]


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, list[Told], list[int]]:
    """The file of three trials recorded one by one, what was known after each, and the size of the file then."""
    ledger, study = Ledger.open(tmp_path), _study()
    known, sizes = [], []
    for value in (0.5, 0.1 + 0.2, 0.25):
        _add(study, value)
        ledger.record(study)
        known.append(_told(study))
        sizes.append((tmp_path / FILE).stat().st_size)
    return tmp_path / FILE, known, sizes


# ---- what is written comes back -------------------------------------------------------------------------------------


def test_a_trial_comes_back_bit_by_bit() -> None:
    trial = FrozenTrial(
        number=3,
        state=TrialState.PRUNED,
        value=0.1 + 0.2,
        datetime_start=datetime(2026, 1, 2, 3, 4, 5, 678901),
        datetime_complete=datetime(2026, 1, 2, 3, 4, 6),
        params={"rate": 1 / 3, "views": 2, "backbone": "b"},
        distributions={
            "rate": FloatDistribution(1e-5, 1.0, log=True),
            "views": IntDistribution(1, 4),
            "backbone": CategoricalDistribution(("a", "b", 3, None, True)),
        },
        user_attrs={"fold_log_loss": {"0": 1 / 7}, "차": [1, {"a": None}]},
        system_attrs={"fixed_params": {"rate": 1e-300}},
        intermediate_values={0: 2 / 3, 10: math.inf},
        trial_id=-1,
    )
    assert trial_from_json(trial_json(trial)) == trial


def test_a_study_comes_back_with_attributes_and_notes(written: tuple[Path, list[Told], list[int]]) -> None:
    path, known, _ = written
    study = _study()
    study.set_user_attr("space", {"backbones": ["a"]})
    save_note(study, "about all of them")
    ledger = Ledger(path)
    ledger.record(study)
    again = in_memory(Ledger(path), "main")
    assert again.user_attrs["space"] == {"backbones": ["a"]}
    assert get_note(again) == "about all of them"
    assert _told(again) == known[-1]


def test_what_is_known_already_is_not_written_again(tmp_path: Path) -> None:
    ledger, study = Ledger.open(tmp_path), _study()
    _add(study, 0.5)
    study.enqueue_trial({"rate": 0.1})
    study.ask()
    ledger.record(study)
    size = (tmp_path / FILE).stat().st_size
    ledger.record(study)
    Ledger.open(tmp_path).record(study)
    assert (tmp_path / FILE).stat().st_size == size


def test_a_trial_that_runs_is_there_with_what_was_chosen(tmp_path: Path) -> None:
    ledger, study = Ledger.open(tmp_path), _study()
    study.ask().suggest_float("rate", 0, 1)
    study.enqueue_trial({"rate": 0.5}, user_attrs={"overrides": {"epochs": 3}})
    ledger.record(study)
    running, waiting = in_memory(Ledger(tmp_path / FILE), "main").get_trials()
    assert (running.state, running.params) == (TrialState.RUNNING, study.trials[0].params)
    assert (waiting.state, waiting.user_attrs) == (TrialState.WAITING, {"overrides": {"epochs": 3}})
    assert waiting.system_attrs == study.trials[1].system_attrs


def test_a_generation_counts_when_its_making_was_complete(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    for name in ("main", "main#2", "main#3"):
        study = _study(name)
        if name == "main#2":
            study.set_user_attr(GENERATION, {"when": "", "trials": 0, "why": ""})
        ledger.record(study)
    assert Ledger(tmp_path / FILE).generations("main") == ("main", "main#2")


# ---- damage ---------------------------------------------------------------------------------------------------------


def test_cut_at_any_byte_of_the_last_record_all_others_are_there(written: tuple[Path, list[Told], list[int]]) -> None:
    path, known, sizes = written
    whole = path.read_bytes()
    for length in range(sizes[1], sizes[2]):
        path.write_bytes(whole[:length])
        told: list[str] = []
        ledger = Ledger.open(path.parent, told.append)
        assert _told(in_memory(ledger, "main")) == known[1]
        assert len(told) == (length > sizes[1])
        assert path.read_bytes() == whole[: sizes[1]]


def test_after_a_cut_the_next_record_is_read_again(written: tuple[Path, list[Told], list[int]]) -> None:
    path, _, sizes = written
    path.write_bytes(path.read_bytes()[: sizes[2] - 7])
    ledger = Ledger.open(path.parent)
    study = in_memory(ledger, "main")
    _add(study, 0.125)
    ledger.record(study)
    assert [one["values"] for one, _ in _told(in_memory(Ledger(path), "main"))] == [[0.5], [0.1 + 0.2], [0.125]]


def _flips(size: int) -> list[int]:
    return random.Random(0).sample(range(size), 60)


def test_a_flipped_bit_never_makes_a_false_record(written: tuple[Path, list[Told], list[int]]) -> None:
    path, known, _ = written
    whole = path.read_bytes()
    true = {one["number"]: one for one, _ in known[-1]}
    for place in _flips(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        told: list[str] = []
        ledger = Ledger.open(path.parent, told.append)
        for number, record in ledger.trials("main").items():
            assert {name: value for name, value in record.items() if name != "notes"} == true[number]
        assert told, place


def test_a_record_that_is_lost_between_others_leaves_their_numbers(
    written: tuple[Path, list[Told], list[int]],
) -> None:
    path, _, sizes = written
    data = bytearray(path.read_bytes())
    data[sizes[0] + 40] ^= 1
    path.write_bytes(data)
    told: list[str] = []
    first, lost, last = in_memory(Ledger.open(path.parent, told.append), "main").get_trials()
    assert (first.values, last.values) == ([0.5], [0.25])
    assert (lost.state, lost.user_attrs["interrupted"]) == (TrialState.FAIL, True)
    assert "1 records" in told[0]
    assert path.with_name(f"{FILE}.damaged").read_bytes() == data


def test_a_full_disk_leaves_the_ledger_as_it_was(
    written: tuple[Path, list[Told], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written[0]
    before, ledger, study = path.read_bytes(), Ledger.open(path.parent), _study()
    for value in (0.5, 0.3, 0.25, 0.2):
        _add(study, value)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space") as caught:
            ledger.record(study)
    assert caught.value.filename == str(path)  # a person is told which file it was
    assert path.read_bytes() == before
    ledger.record(study)
    assert in_memory(Ledger(path), "main").trials[3].value == 0.2


def test_of_a_record_that_fits_only_in_part_nothing_stays(written: tuple[Path, list[Told], list[int]]) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no limit of a file's size")
    path = written[0]
    before, ledger, study = path.read_bytes(), Ledger.open(path.parent), _study()
    for value in (0.5, 0.3, 0.25, 0.2):
        _add(study, value)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            ledger.record(study)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before


def test_the_ledger_of_a_later_version_is_refused_with_a_way_out(
    written: tuple[Path, list[Told], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written[0].read_bytes()
    monkeypatch.setattr("automl_car.search.ledger._FORMAT", 2)
    with pytest.raises(StoreError, match="has format 1; this version reads 2") as caught:
        Ledger.open(written[0].parent)
    assert "use the version of automl-car that wrote it" in (caught.value.hint or "")
    assert written[0].read_bytes() == before


# ---- power ----------------------------------------------------------------------------------------------------------


def test_a_record_is_on_the_disk_with_its_folder_before_the_search_goes_on(
    tmp_path: Path, disk_calls: list[tuple[str, str]]
) -> None:
    directory = tmp_path / "checkpoints" / "main"
    ledger, study = Ledger.open(directory), _study()
    ledger.record(study)
    assert [(call, name) for call, name in disk_calls if call == "fsync"] == [
        ("fsync", tmp_path.name),
        ("fsync", "checkpoints"),
        ("fsync", FILE),
        ("fsync", "main"),
    ]
