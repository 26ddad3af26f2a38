"""When a training process counts as hanging (row 10 of the fault matrix)."""

from __future__ import annotations

from automl_car.search.beats import BEAT_SECONDS, SILENT_SECONDS, STUCK_SECONDS, Beat, Vigil


def _see(vigil: Vigil, seconds: float, beat: Beat | None) -> Vigil:
    for _ in range(round(seconds / BEAT_SECONDS)):
        vigil.see(beat)
    return vigil


def test_a_process_without_beats_hangs_after_five_minutes() -> None:
    vigil = _see(Vigil(), SILENT_SECONDS - BEAT_SECONDS, None)
    assert vigil.why_hanging() == ""
    assert _see(vigil, BEAT_SECONDS, None).why_hanging() == "gave no sign of life for 5 min"


def test_one_beat_makes_good_for_all_that_did_not_come() -> None:
    vigil = Vigil()
    for pulses in range(100):
        vigil.see(Beat(pulses))
        assert _see(vigil, SILENT_SECONDS - BEAT_SECONDS, None).why_hanging() == ""


def test_a_process_with_beats_hangs_after_an_hour_without_a_step() -> None:
    vigil = _see(Vigil(), STUCK_SECONDS, Beat(7))
    assert vigil.why_hanging() == ""
    assert _see(vigil, BEAT_SECONDS, Beat(7)).why_hanging() == "did not get a step further for 60 min"


def test_steps_may_take_as_long_as_they_like_as_long_as_there_are_some() -> None:
    vigil = Vigil()
    for step in range(100):
        assert _see(vigil, STUCK_SECONDS - BEAT_SECONDS, Beat(step)).why_hanging() == ""
