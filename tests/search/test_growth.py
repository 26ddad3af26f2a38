"""A study that grows: every trial and every fold is kept, whatever joins, goes or is killed."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from filelock import FileLock
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from optuna_dashboard import get_note, save_note

from automl_car import cli
from automl_car.errors import StudyError
from automl_car.fold_records import FoldTask
from automl_car.search.first import first_trials
from automl_car.search.growth import open_study, undo
from automl_car.search.overview import latest_study, list_studies, show_study
from automl_car.search.space import Space, suggest_recipe
from automl_car.search.study import INTERRUPTED, close_interrupted, connect, counted_trials, load_study, storage_url

Desk = Any  # see conftest.py
MakeSpace = Callable[..., Space]
IDENTITY = {"folds": "abc", "classes": 3, "settings": {"search": {"trials": 5}}}
WIDER = {"views": (2, 4)}


@pytest.fixture
def wide(make_space: MakeSpace) -> Space:
    return make_space(**WIDER)


def _with_foo(make_space: MakeSpace) -> Space:
    """The small space with one backbone more."""
    space = make_space()
    return make_space(
        backbones=("foo", *space.backbones),
        full_sizes={**space.full_sizes, "foo": (128,)},
        head_sizes={**space.head_sizes, "foo": (224,)},
        params={**space.params, "foo": ()},
        weights={**space.weights, "foo": "pretrained"},
        weights_digests={**space.weights_digests, "foo": ""},
        default_lr={**space.default_lr, "foo": 1e-3},
    )


def _open(folder: Path, space: Space, notes: list[str] | None = None, **identity: Any) -> optuna.Study:
    url = storage_url(folder, "main", None)
    told = [] if notes is None else notes
    return open_study("main", url, {**IDENTITY, **identity}, space=space, note=told.append)


def _search(study: optuna.Study, space: Space, trials: int) -> None:
    """Trials as a search leaves them: a recipe, a value, a note."""
    study.sampler = optuna.samplers.RandomSampler(seed=len(study.trials))
    for _ in range(trials):
        trial = study.ask()
        trial.set_user_attr("recipe", suggest_recipe(trial, space, {}).to_json())
        trial.report(0.5, 0)
        save_note(trial, f"trial {trial.number}")
        study.tell(trial, 0.5 + trial.number / 10)


def _names(folder: Path) -> list[str]:
    return sorted(optuna.get_all_study_names(connect(storage_url(folder, "main", None))))


def _told(study: optuna.Study) -> list[tuple[Any, ...]]:
    """What must be the same in every generation."""
    attributes = (
        "number",
        "state",
        "value",
        "intermediate_values",
        "user_attrs",
        "datetime_start",
        "datetime_complete",
    )
    return [tuple(getattr(trial, attribute) for attribute in attributes) for trial in study.trials]


# ---- the same study, or none ----------------------------------------------------------------------------------------


def test_a_study_opened_twice_keeps_its_trials(tmp_path: Path, make_space: MakeSpace) -> None:
    _search(_open(tmp_path, make_space()), make_space(), 1)
    assert len(_open(tmp_path, make_space()).trials) == 1
    assert _names(tmp_path) == ["main"]


def test_it_minimises_a_metric_called_log_loss(tmp_path: Path, make_space: MakeSpace, wide: Space) -> None:
    for space in (make_space(), wide):
        study = _open(tmp_path, space)
        assert study.direction == optuna.study.StudyDirection.MINIMIZE
        assert study.metric_names == ["log_loss"]


def test_the_order_of_names_is_no_change(tmp_path: Path, make_space: MakeSpace) -> None:
    ranges = make_space().ranges
    _open(tmp_path, make_space(ranges=ranges))
    _open(tmp_path, make_space(ranges=dict(reversed(ranges.items()))))
    assert _names(tmp_path) == ["main"]


@pytest.mark.parametrize(
    ("other", "message"),
    [({"folds": "xyz"}, "other photos, labels or folds"), ({"classes": 4}, "of 3 classes, and these are of 4")],
)
def test_other_data_are_refused_with_two_ways_out(
    tmp_path: Path, make_space: MakeSpace, other: dict[str, Any], message: str
) -> None:
    _open(tmp_path, make_space())
    with pytest.raises(StudyError, match=message) as caught:
        _open(tmp_path, make_space(), **other)
    assert "`main`" in caught.value.message
    assert "--study NAME" in (caught.value.hint or "")
    assert "--warm-start main" in (caught.value.hint or "")


def test_other_data_do_not_let_a_study_grow(tmp_path: Path, make_space: MakeSpace, wide: Space) -> None:
    _search(_open(tmp_path, make_space()), make_space(), 1)
    with pytest.raises(StudyError):
        _open(tmp_path, wide, folds="xyz", settings={})
    study = _open(tmp_path, make_space())
    assert (_names(tmp_path), len(study.trials), study.user_attrs["settings"]) == (["main"], 1, IDENTITY["settings"])


def test_other_settings_are_taken_over(tmp_path: Path, make_space: MakeSpace) -> None:
    _open(tmp_path, make_space())
    settings = {"search": {"trials": 9}}
    assert _open(tmp_path, make_space(), settings=settings).user_attrs["settings"] == settings
    assert _names(tmp_path) == ["main"]


@pytest.mark.parametrize("attributes", range(5))
def test_a_study_whose_making_was_cut_short_is_made_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_space: MakeSpace, attributes: int
) -> None:
    set_user_attr, done = optuna.Study.set_user_attr, []
    wanted = {**IDENTITY, "space": make_space().to_json()}

    def cut(study: optuna.Study, key: str, value: Any) -> None:
        if len(done) == attributes:
            raise KeyboardInterrupt
        done.append(key)
        set_user_attr(study, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "set_user_attr", cut)
        if attributes < len(wanted):
            with pytest.raises(KeyboardInterrupt):
                _open(tmp_path, make_space())
    study = _open(tmp_path, make_space())
    assert json.loads(json.dumps(study.user_attrs)) == json.loads(json.dumps(wanted))


# ---- growing --------------------------------------------------------------------------------------------------------


def test_all_trials_are_carried_over_as_they_were(tmp_path: Path, make_space: MakeSpace, wide: Space) -> None:
    study = _open(tmp_path, make_space())
    _search(study, make_space(), 3)
    study.tell(study.ask(), state=TrialState.FAIL)
    pruned = study.ask()
    pruned.report(0.9, 0)
    study.tell(pruned, state=TrialState.PRUNED)
    grown = _open(tmp_path, wide)
    assert _told(grown) == _told(study)
    assert [trial.state.name for trial in grown.trials] == ["COMPLETE"] * 3 + ["FAIL", "PRUNED"]


def test_growth_is_told_on_one_line_with_the_way_back(tmp_path: Path, make_space: MakeSpace) -> None:
    _search(_open(tmp_path, make_space()), make_space(), 2)
    notes: list[str] = []
    _open(tmp_path, _with_foo(make_space), notes)
    assert notes == [
        "study `main` grew to generation 2: backbone `foo` added; all 2 trials carried over; "
        "`automl-car studies undo main` goes back"
    ]


def test_a_grown_study_is_what_is_opened_from_then_on(tmp_path: Path, make_space: MakeSpace, wide: Space) -> None:
    _open(tmp_path, make_space())
    _search(_open(tmp_path, wide), wide, 2)
    notes: list[str] = []
    assert len(_open(tmp_path, wide, notes).trials) == 2
    assert notes == []
    assert load_study("main", storage_url(tmp_path, "main", None)).study_name == "main#2"


def test_the_former_generation_stays_as_it_was_and_says_who_goes_on(
    tmp_path: Path, make_space: MakeSpace, wide: Space
) -> None:
    former = _open(tmp_path, make_space())
    _search(former, make_space(), 2)
    before = _told(former)
    _search(_open(tmp_path, wide), wide, 1)
    former = optuna.load_study(study_name="main", storage=connect(storage_url(tmp_path, "main", None)))
    assert _told(former) == before
    assert former.user_attrs["superseded_by"] == "main#2"
    assert former.user_attrs["space"] == json.loads(json.dumps(make_space().to_json()))


def test_a_study_grows_again_and_again(tmp_path: Path, make_space: MakeSpace, wide: Space) -> None:
    for space in (make_space(), wide, _with_foo(make_space), make_space()):
        study = _open(tmp_path, space)
        _search(study, space, 1)
    assert (study.study_name, [trial.number for trial in study.trials]) == ("main#4", [0, 1, 2, 3])
    assert [trial.value for trial in study.trials] == [0.5, 0.6, 0.7, 0.8]


def test_notes_come_along_each_with_its_trial(tmp_path: Path, make_space: MakeSpace, wide: Space) -> None:
    study = _open(tmp_path, make_space())
    _search(study, make_space(), 3)
    long_note = "**long**\n" * 500  # is stored in several pieces
    save_note(study, long_note)
    grown = _open(tmp_path, wide)
    assert get_note(grown) == long_note
    notes = [get_note(optuna.trial.Trial(grown, trial._trial_id)) for trial in grown.trials]
    assert notes == ["trial 0", "trial 1", "trial 2"]


def test_a_trial_that_was_running_goes_on_in_the_next_generation(
    tmp_path: Path, make_space: MakeSpace, wide: Space
) -> None:
    trial = _open(tmp_path, make_space()).ask()
    recipe = suggest_recipe(trial, make_space(), {})
    trial.set_user_attr("recipe", recipe.to_json())
    grown = _open(tmp_path, wide)
    assert (grown.trials[0].state, grown.trials[0].user_attrs[INTERRUPTED]) == (TrialState.FAIL, True)
    assert close_interrupted(grown) == 1
    assert suggest_recipe(grown.ask(), wide, {}) == recipe


def test_trials_that_wait_come_in_their_order(tmp_path: Path, make_space: MakeSpace, wide: Space) -> None:
    study = _open(tmp_path, make_space())
    for backbone in ("small", "large", "small"):
        study.enqueue_trial({"backbone": backbone})
    grown = _open(tmp_path, wide)
    assert [suggest_recipe(grown.ask(), wide, {}).backbone for _ in range(3)] == ["small", "large", "small"]


def test_a_kill_at_any_write_loses_nothing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_space: MakeSpace, wide: Space
) -> None:
    study = _open(tmp_path / "before", make_space())
    _search(study, make_space(), 2)
    expected = _told(study)
    study._storage.remove_session()
    for writes in itertools.count():
        folder = tmp_path / f"killed-after-{writes}"
        shutil.copytree(tmp_path / "before", folder)
        with monkeypatch.context() as patch:
            finished = _kill_after(patch, writes, lambda folder=folder: _open(folder, wide))
        assert load_study("main", storage_url(folder, "main", None)).user_attrs.keys() >= {"folds", "classes", "space"}
        grown = _open(folder, wide)
        assert (_told(grown), _names(folder)) == (expected, ["main", "main#2"])
        assert [get_note(optuna.trial.Trial(grown, trial._trial_id)) for trial in grown.trials] == [
            "trial 0",
            "trial 1",
        ]
        if finished:
            break
    assert writes > 10


def _kill_after(patch: pytest.MonkeyPatch, writes: int, do: Callable[[], object]) -> bool:
    """Stop `do` before the storage is written to once more than that; whether it came to its end."""
    left = iter(range(writes))
    for name in ("create_new_study", "create_new_trial", "set_study_user_attr", "set_study_system_attr"):
        write = getattr(RDBStorage, name)

        def counted(*args: Any, write: Callable[..., Any] = write, **options: Any) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return write(*args, **options)

        patch.setattr(RDBStorage, name, counted)
    try:
        do()
    except KeyboardInterrupt:
        return False
    return True


# ---- a search in a space that grows ---------------------------------------------------------------------------------


def _loss(task: FoldTask) -> float:
    return {"small": 0.5, "large": 0.4, "foo": 0.3}[task.recipe.backbone] + task.recipe.shrinkage / 10


def _folds(tasks: list[FoldTask]) -> set[tuple[str, int]]:
    return {(task.recipe_id, task.fold) for task in tasks}


def _grow(desk: Desk, space: Space) -> None:
    """Go on with another space, as a search does after a plugin was added."""
    desk.space = space
    desk.first = first_trials(space, {"small": 224, "large": 256, "foo": 192})


def test_a_plugin_added_to_a_finished_search_is_picked_up_and_no_fold_is_trained_again(
    desk: Desk, make_space: MakeSpace
) -> None:
    desk.executor.train = _loss
    before = desk.go(8)
    trained = list(desk.executor.submitted)
    _grow(desk, _with_foo(make_space))
    after = desk.go(12)
    assert [trial.state for trial in after] == [TrialState.COMPLETE] * 12
    attributes = ("number", "value", "user_attrs", "intermediate_values")
    for old, new in zip(before, after, strict=False):
        assert all(getattr(old, attribute) == getattr(new, attribute) for attribute in attributes)
    later = desk.executor.submitted[len(trained) :]
    assert _folds(later) & _folds(trained) == set()
    assert "foo" in {task.recipe.backbone for task in later}
    assert after[8].user_attrs["backbone"] == "foo"  # its defaults come first


def test_defaults_that_were_tried_are_not_tried_again_in_a_grown_space(desk: Desk, make_space: MakeSpace) -> None:
    desk.executor.train = _loss
    desk.go(4)
    _grow(desk, _with_foo(make_space))
    recipes = [trial.user_attrs["recipe_id"] for trial in desk.go(8)]
    assert len(set(recipes)) == 8


def test_an_interrupted_trial_goes_on_in_a_grown_space_with_the_fold_that_it_had(
    desk: Desk, make_space: MakeSpace
) -> None:
    def train(task: FoldTask) -> float:
        if len(desk.executor.submitted) == 2:
            raise KeyboardInterrupt
        return _loss(task)

    desk.executor.train = train
    with pytest.raises(KeyboardInterrupt):
        desk.go(2)
    done = desk.executor.submitted[0]
    desk.executor.submitted.clear()
    _grow(desk, _with_foo(make_space))
    desk.executor.train = _loss
    desk.go(3)
    folds = [task.fold for task in desk.executor.submitted if task.recipe_id == done.recipe_id]
    assert sorted([done.fold, *folds]) == [0, 1, 2]


def test_a_backbone_that_goes_takes_no_trial_with_it(desk: Desk, make_space: MakeSpace) -> None:
    desk.executor.train = _loss
    before = desk.go(5)
    desk.executor.submitted.clear()
    _grow(desk, make_space(backbones=("small",)))
    after = desk.go(8)
    assert [trial.value for trial in after[:5]] == [trial.value for trial in before]
    assert {task.recipe.backbone for task in desk.executor.submitted} == {"small"}


def test_an_edited_plugin_is_trained_anew_and_its_former_trials_stay(desk: Desk, make_space: MakeSpace) -> None:
    desk.executor.train = _loss
    _grow(desk, make_space(backbones=("small",), versions={"small": "11111111"}))
    (before,) = desk.go(1)
    _grow(desk, replace(desk.space, versions={"small": "22222222"}))
    desk.study().enqueue_trial(before.params)
    first, second = desk.go(2)
    assert (first.value, first.user_attrs["recipe_id"]) == (before.value, before.user_attrs["recipe_id"])
    assert first.user_attrs["recipe"] | {"backbone_version": "22222222"} == second.user_attrs["recipe"]
    assert second.user_attrs["recipe_id"] != first.user_attrs["recipe_id"]


# ---- going back -----------------------------------------------------------------------------------------------------


@pytest.fixture
def grown(tmp_path: Path, make_space: MakeSpace) -> Path:
    """A folder with a study of two trials that grew, and got a third one."""
    _search(_open(tmp_path, make_space()), make_space(), 2)
    _search(_open(tmp_path, _with_foo(make_space)), _with_foo(make_space), 1)
    return tmp_path


def test_undoing_goes_back_to_the_generation_before_and_says_so(grown: Path) -> None:
    assert undo(grown, "main", None) == (
        "study `main` is back at generation 1 (2 trials); generation 2 (3 trials) and all folds are kept"
    )
    study = load_study("main", storage_url(grown, "main", None))
    assert (study.study_name, len(study.trials)) == ("main", 2)
    assert not study.user_attrs["superseded_by"]


def test_a_study_that_was_undone_goes_on_in_its_former_space(grown: Path, make_space: MakeSpace) -> None:
    undo(grown, "main", None)
    notes: list[str] = []
    study = _open(grown, make_space(), notes)
    _search(study, make_space(), 1)
    assert (study.study_name, len(study.trials), notes) == ("main", 3, [])


def test_nothing_is_deleted_and_the_next_growth_takes_the_next_number(grown: Path, make_space: MakeSpace) -> None:
    undo(grown, "main", None)
    assert _open(grown, _with_foo(make_space)).study_name == "main#3"
    assert _names(grown) == ["main", "main#2", "main#3"]
    kept = optuna.load_study(study_name="main#2", storage=connect(storage_url(grown, "main", None)))
    assert counted_trials(kept) == 3


def test_undoing_twice_goes_back_twice(grown: Path, make_space: MakeSpace, wide: Space) -> None:
    _open(grown, wide)
    assert "back at generation 2 (3 trials)" in undo(grown, "main", None)
    assert "back at generation 1 (2 trials)" in undo(grown, "main", None)


def test_undoing_after_a_second_growth_goes_back_to_where_that_began(grown: Path, wide: Space) -> None:
    undo(grown, "main", None)
    assert _open(grown, wide).study_name == "main#3"
    assert "back at generation 1 (2 trials); generation 3 (2 trials)" in undo(grown, "main", None)


def test_a_study_that_never_grew_has_nothing_to_undo(tmp_path: Path, make_space: MakeSpace) -> None:
    _open(tmp_path, make_space())
    with pytest.raises(StudyError, match="Study `main` is at its first generation"):
        undo(tmp_path, "main", None)


def test_a_study_that_is_being_searched_is_not_undone(grown: Path) -> None:
    with FileLock(grown / "main.lock"), pytest.raises(StudyError, match="Another search is running on study `main`"):
        undo(grown, "main", None)
    assert load_study("main", storage_url(grown, "main", None)).study_name == "main#2"


def test_undoing_a_study_that_is_not_there_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no study `nope`"):
        undo(tmp_path / "studies", "nope", None)
    assert list(tmp_path.iterdir()) == []


# ---- what people see ------------------------------------------------------------------------------------------------


def test_a_grown_study_is_one_row_under_its_name(grown: Path) -> None:
    url = storage_url(grown, "main", None)
    for folder, storage in ((grown, None), (grown / "nowhere", url)):
        (row,) = list_studies(folder, storage)
        assert (row.name, row.trials, row.best) == ("main", 3, 0.5)
        assert latest_study(folder, storage) == "main"


def test_the_history_tells_each_generation(grown: Path, wide: Space) -> None:
    undo(grown, "main", None)
    _open(grown, wide)
    history = show_study(grown, "main", None).generations
    assert [(one.number, one.state, one.trials, one.why) for one in history] == [
        (1, "former", 0, ""),
        (2, "undone", 2, "backbone `foo` added"),
        (3, "current", 2, "views [2] → [2, 4]"),
    ]
    began = [datetime.fromisoformat(one.when) for one in history]
    assert began == sorted(began)
    assert (datetime.now() - began[0]).total_seconds() < 600  # local time, like that of trials


def _run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["automl-car", "studies", *arguments])
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    told = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, told.out, told.err


@pytest.fixture
def workspace(desk: Desk, make_space: MakeSpace) -> str:
    """A workspace whose study `main` had two trials before it grew."""
    desk.go(2)
    desk.space = _with_foo(make_space)
    desk.study()
    return str(desk.folder)


def test_the_command_line_shows_the_history_of_a_study_that_grew(
    workspace: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = _run(monkeypatch, capsys, "show", "main", "--workspace", workspace)
    assert code == 0
    first, second = out.splitlines()[-2:]
    assert first.split()[:2] == ["1", "former"]
    assert second.split()[:2] == ["2", "current"]
    assert second.endswith("2  backbone `foo` added")


def test_the_command_line_shows_no_history_where_there_is_none(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.go(2)
    assert "generation" not in _run(monkeypatch, capsys, "show", "main", "--workspace", str(desk.folder))[1]


def test_the_history_is_there_as_json(
    workspace: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = json.loads(_run(monkeypatch, capsys, "show", "main", "--json", "--workspace", workspace)[1])
    assert [(one["number"], one["state"], one["why"]) for one in shown["generations"]] == [
        (1, "former", ""),
        (2, "current", "backbone `foo` added"),
    ]


def test_the_command_line_undoes_the_latest_study_and_then_has_nothing_to_undo(
    workspace: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = _run(monkeypatch, capsys, "undo", "--workspace", workspace)
    assert (code, len(out.splitlines())) == (0, 1)
    assert out.startswith("study `main` is back at generation 1 (2 trials)")
    code, out, err = _run(monkeypatch, capsys, "undo", "main", "--workspace", workspace)
    assert (code, out) == (2, "")
    assert "error: Study `main` is at its first generation, so there is nothing to undo." in err.splitlines()
    assert "Traceback" not in err
