"""From a trained study to a bundle and to predictions, with tiny networks that were really trained on real photos."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState, create_trial
from PIL import Image

import automl_car
from automl_car import cli, pipeline, predicting
from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.catalog.records import Backbone, PluginSources
from automl_car.config import Config
from automl_car.data.index import read_dataset
from automl_car.data.prepare import Prepared, prepare
from automl_car.ensemble.bundle_files import read_bundle
from automl_car.ensemble.candidates import read_candidate
from automl_car.ensemble.view_counts import ViewCounts, ViewLosses
from automl_car.ensemble_records import Ensemble, Estimate, Member
from automl_car.errors import BundleError, ConfigError, DataError, PluginError
from automl_car.fold_records import FoldTask
from automl_car.pipeline.bundle_parts import Parts, collect_parts, fold_models
from automl_car.pipeline.finding import find_ensemble
from automl_car.predicting import Model
from automl_car.records import Recipe
from automl_car.search.evidence import FOLD_LOSSES
from automl_car.search.study import connect
from automl_car.store import read_logits, read_model, read_result
from automl_car.training.checkpoint import from_safetensors, to_safetensors
from automl_car.training.fold import train_fold
from automl_car.training.predictor import Predictor
from automl_car.training.squares import square_batches
from automl_car.workspace import Workspace

HEAD = Recipe("toy", tuning="head", image_size=16, epochs=2, weights="random", views=3, params=(("toy.width", 8),))
FULL = replace(HEAD, tuning="full", batch_size=8, learning_rate=0.01, head_multiplier=1.0, views=2)
RECIPES = {
    "head": HEAD,
    "head-again": replace(HEAD, power=1.0, views=2, shrinkage=0.5),
    "head-larger": replace(HEAD, image_size=24),
    "full": FULL,
    "side-by-side": replace(HEAD, backbone="toy+toy_large", image_size=32),
}


def quiet(*words: object) -> None:
    """Nobody listens."""


def read(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))


@dataclass
class Trained:
    """A workspace with a study of four complete trials, all folds of which are in the store."""

    workspace: Workspace
    config: Config
    plugin: Path
    catalog: Catalog
    prepared: Prepared
    ids: dict[str, str]

    @property
    def store(self) -> Path:
        return self.workspace.checkpoints("main")

    @property
    def test_csv(self) -> Path:
        return self.workspace.root / "data" / "test.csv"

    @property
    def sources(self) -> PluginSources:
        return PluginSources(files=(self.plugin,))

    def bundle(self, output: Path, **changes: Any) -> pipeline.Bundled:
        options = {"study": "main", "output": output, "top_k": 5, "note": quiet, **changes}
        return pipeline.bundle(self.workspace, self.config, **options)

    def predict(self, bundle: Path, output: Path, *paths: Path, **changes: Any) -> predicting.Predicted:
        options = {"sources": self.sources, "progress": quiet, "warn": quiet, **changes}
        return predicting.predict(bundle, list(paths) or [self.test_csv], output, **options)


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_photos: Callable[[Path], Path], toy_plugin_text: str
) -> Trained:
    root = tmp_path_factory.mktemp("trained")
    plugin = root / "toy_networks.py"
    plugin.write_text(toy_plugin_text)
    workspace, catalog = Workspace(root), load_catalog(PluginSources(files=(plugin,)))
    prepared = prepare(
        read_dataset(tiny_photos(root / "data")),
        cache_directory=workspace.cache,
        study_directory=workspace.checkpoints("main"),
        short_side=24,
        folds=2,
        seed=0,
    )
    study = optuna.create_study(study_name="main", storage=connect(f"sqlite:///{root}/studies/main.db"))
    ids = {}
    for name, recipe in RECIPES.items():
        recipe = replace(recipe, backbone_version=catalog.version_of(recipe.backbone))
        ids[name] = recipe.id(prepared.folds)
        losses = {}
        for fold in range(2):
            task = FoldTask(recipe, ids[name], fold, workspace.checkpoints("main"), workspace.cache, step="plain")
            losses[str(fold)] = train_fold(task, catalog, prepared, quiet).log_loss
        attributes = {"recipe_id": ids[name], "backbone": recipe.backbone, FOLD_LOSSES: losses}
        value = float(np.mean(list(losses.values())))
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=value, user_attrs=attributes))
    config = Config.model_validate({"plugins": {"files": [str(plugin)]}})
    return Trained(workspace, config, plugin, catalog, prepared, ids)


@pytest.fixture(scope="module")
def made(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the study; nothing writes to it."""
    folder = tmp_path_factory.mktemp("bundles") / "main"
    trained.bundle(folder)
    return folder


@pytest.fixture
def model(made: Path, trained: Trained) -> Model:
    return automl_car.load(made, plugins=[trained.plugin])


@pytest.fixture
def all_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out-of-fold rows ask for as many views as the recipe does, as folds of earlier versions do."""
    monkeypatch.setattr(
        "automl_car.ensemble.candidates.choose_view_counts", lambda folds: ViewCounts(dict.fromkeys(folds, 0), 0)
    )


# ---- networks -------------------------------------------------------------------------------------------------------


NO_ESTIMATE = Estimate(1.0, (1.0, 1.0))


def ensemble_of(trained: Trained, *names: str) -> Ensemble:
    """An ensemble of these trials whose other numbers do not matter."""
    members = tuple(
        Member(name, "toy", 1.0, 1 / len(names), 1.0, 0.0, recipe_id=trained.ids[name], folds=(0, 1)) for name in names
    )
    nothing = np.zeros((0, 3))
    return Ensemble(
        members, "arithmetic", 1.0, 0.01, 1.0, 1.0, 0.1, 1.0, nothing, nothing, 36, Estimate(1.0, (1.0, 1.0))
    )


def parts_of(trained: Trained, *names: str) -> Parts:
    ensemble = ensemble_of(trained, *names)
    return collect_parts(fold_models(trained.store, ensemble), ensemble, trained.catalog, 3)


def logits_of(trained: Trained, *names: str) -> list[np.ndarray[Any, Any]]:
    """What the networks of a bundle say to the test photos, decoded anew."""
    parts = parts_of(trained, *names)
    predictor = Predictor(parts.members, 3, lambda name: parts.make[name](), trained.catalog, torch.device("cpu"))
    rows: Iterator[int] = iter(range(5))
    (batch,) = square_batches(rows, trained.prepared.test_image, predictor.squares, 5, threads=1)
    return predictor.logits(batch.pixels)


@pytest.mark.usefixtures("all_views")
@pytest.mark.parametrize("name", RECIPES)
def test_a_member_says_what_its_fold_models_said_on_average(trained: Trained, name: str) -> None:
    (logits,) = logits_of(trained, name)
    stored = read_candidate(name, "toy", trained.store / trained.ids[name], (0, 1), trained.prepared.dataset)
    # The same float32 arithmetic in another order: a few units of the seventh digit. Where that moves a feature over
    # the edge between two float16 numbers, it changes by a two-thousandth; a head adds up 12 of them.
    np.testing.assert_allclose(logits, stored.test_logits, atol=2e-3, rtol=1e-3)


def test_members_together_say_what_each_says_alone(trained: Trained) -> None:
    together = logits_of(trained, *RECIPES)
    for name, logits in zip(RECIPES, together, strict=True):
        np.testing.assert_allclose(logits, logits_of(trained, name)[0], atol=1e-5)


def test_heads_on_the_same_backbone_share_one_file_of_it(trained: Trained) -> None:
    parts = parts_of(trained, "head", "head-again", "head-larger")
    assert {member.networks for member in parts.members} == {parts.members[0].networks}
    assert sorted(parts.make) == [
        "weights/head-again-head.safetensors",
        "weights/head-head.safetensors",
        "weights/head-larger-head.safetensors",
        "weights/toy-1.safetensors",
    ]


def test_a_head_on_several_backbones_shares_those_that_others_have(trained: Trained) -> None:
    parts = parts_of(trained, "head", "side-by-side")
    alone, beside = parts.members
    assert [network.file for network in beside.networks] == [
        "weights/toy-1.safetensors",
        "weights/toy_large-2.safetensors",
    ]
    assert beside.networks[0].file == alone.networks[0].file
    assert [beside.sight_of(network).image_size for network in beside.networks] == [16, 32]


def test_a_head_is_the_mean_of_those_of_its_folds(trained: Trained) -> None:
    head = from_safetensors(parts_of(trained, "head").make["weights/head-head.safetensors"]())
    folds = [from_safetensors(read_model(trained.store / trained.ids["head"] / f"fold-{fold}")) for fold in range(2)]
    for name in ("weight", "bias"):
        torch.testing.assert_close(head[name], (folds[0][name] + folds[1][name]) / 2)


def test_each_fold_of_a_tuned_network_has_its_own_file(trained: Trained) -> None:
    parts = parts_of(trained, "full")
    assert [network.file for network in parts.members[0].networks] == list(parts.make)
    assert len(parts.make) == 2


# ---- the bundle -----------------------------------------------------------------------------------------------------


def test_the_bundle_predicts_the_submission(trained: Trained, made: Path, tmp_path: Path) -> None:
    outcome = pipeline.ensemble(
        trained.workspace, trained.config, study="main", output=tmp_path / "submission.csv", top_k=5
    )
    trained.predict(made, tmp_path / "out.csv")
    assert outcome.submission is not None
    theirs, ours = (read(path) for path in (outcome.submission, tmp_path / "out.csv"))
    assert [row[0] for row in ours] == [row[0] for row in theirs]
    assert ours[0] == theirs[0]
    expected = np.array([row[1:] for row in theirs[1:]], dtype=float)
    np.testing.assert_allclose(np.array([row[1:] for row in ours[1:]], dtype=float), expected, atol=1e-3)


def test_it_says_how_far_its_probabilities_are_from_the_studys(made: Path) -> None:
    difference = read_bundle(made)[0].measured.difference
    assert difference is not None
    assert difference < 1e-3


def test_it_is_made_of_what_training_saw(made: Path) -> None:
    bundle, _ = read_bundle(made)
    assert bundle.short_side == 24
    assert bundle.class_shares == pytest.approx([1 / 3] * 3)
    assert (made / "plugins" / "toy_networks.py").is_file()


def test_an_older_bundle_is_replaced(trained: Trained, tmp_path: Path) -> None:
    trained.bundle(tmp_path / "again")
    (tmp_path / "again" / "left-over").write_text("")
    trained.bundle(tmp_path / "again", top_k=1)
    assert len(read_bundle(tmp_path / "again")[0].members) == 1
    assert not (tmp_path / "again" / "left-over").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_a_folder_that_is_no_bundle_is_not_touched(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(ConfigError, match="is there and is no bundle"):
        trained.bundle(tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_when_predictions_differ_no_bundle_is_made_and_the_old_one_stays(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.bundle(tmp_path / "b", top_k=1)
    before = (tmp_path / "b" / "bundle.json").read_bytes()
    monkeypatch.setattr(Model, "read", lambda model, path: np.full((24, 24, 3), 255, np.uint8))
    with pytest.raises(BundleError, match="does not predict what the study did"):
        trained.bundle(tmp_path / "b")
    assert (tmp_path / "b" / "bundle.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


# ---- plugins --------------------------------------------------------------------------------------------------------


def test_without_its_plugin_the_error_names_it_and_the_copy(made: Path) -> None:
    with pytest.raises(
        PluginError, match=r"needs the backbone `toy` of the plugin `toy_networks`.*not loaded"
    ) as error:
        automl_car.load(made)
    assert f"--plugin {made / 'plugins' / 'toy_networks.py'}" in str(error.value.hint)


def test_the_copy_in_the_bundle_serves(made: Path, model: Model, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(made, moved)
    there = automl_car.load(moved, plugins=[moved / "plugins" / "toy_networks.py"])
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    np.testing.assert_array_equal(there.predict([picture]), model.predict([picture]))


def test_an_edited_plugin_is_refused(made: Path, trained: Trained, tmp_path: Path) -> None:
    edited = tmp_path / "toy_networks.py"
    edited.write_text(trained.plugin.read_text() + "\n# edited\n")
    with pytest.raises(PluginError, match=r"version [0-9a-f]{8}\), and the one that is loaded has version"):
        automl_car.load(made, plugins=[edited])


def test_no_bundle_is_made_with_an_edited_plugin(trained: Trained, tmp_path: Path) -> None:
    edited = tmp_path / "toy_networks.py"
    edited.write_text(trained.plugin.read_text() + "\n# edited\n")
    config = Config.model_validate({"plugins": {"files": [str(edited)]}})
    with pytest.raises(PluginError, match="the study was trained with"):
        replace(trained, config=config).bundle(tmp_path / "b")


def test_weights_that_do_not_fit_the_network_are_told(trained: Trained) -> None:
    parts = parts_of(trained, "head")
    network = replace(parts.members[0].networks[0], params=(("width", 5),))
    members = [replace(parts.members[0], networks=(network,))]
    with pytest.raises(PluginError, match="does not build the network of this bundle: RuntimeError: size mismatch"):
        Predictor(members, 3, lambda name: parts.make[name](), trained.catalog, torch.device("cpu"))


def test_a_batch_that_goes_through_in_parts_says_the_same(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = logits_of(trained, *RECIPES)
    monkeypatch.setattr("automl_car.training.predictor._PIXELS_AT_ONCE", 2 * 16 * 16)
    for logits, expected in zip(logits_of(trained, *RECIPES), whole, strict=True):
        np.testing.assert_allclose(logits, expected, atol=2e-3, rtol=1e-3)


def test_a_network_that_answers_with_nan_is_an_error(trained: Trained) -> None:
    parts = parts_of(trained, "head")
    nothing = to_safetensors({"weight": torch.full((3, 12), torch.nan), "bias": torch.zeros(3)})
    files = {**parts.make, parts.members[0].head: lambda: nothing}
    predictor = Predictor(parts.members, 3, lambda name: files[name](), trained.catalog, torch.device("cpu"))
    pixels = {square: torch.zeros(1, 16, 16, 3, dtype=torch.uint8) for square in predictor.squares}
    with pytest.raises(BundleError, match="The networks of head answer with NaN"):
        predictor.logits(pixels)


# ---- predicting -----------------------------------------------------------------------------------------------------


def test_a_broken_photo_gets_the_classes_shares_and_a_warning(trained: Trained, made: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(trained.workspace.root / "data" / "test" / "0.jpg", tmp_path / "photos" / "whole.jpg")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"<html>")
    warnings: list[str] = []
    done = trained.predict(made, tmp_path / "out.csv", tmp_path / "photos", warn=warnings.append)
    assert (done.photos, done.broken) == (2, 1)
    (warning,) = warnings
    assert "broken.jpg` cannot be used: it is not an image of a known format" in warning
    rows = read(tmp_path / "out.csv")
    assert rows[1][0] == str(tmp_path / "photos" / "broken.jpg")
    assert [float(cell) for cell in rows[1][1:]] == pytest.approx([1 / 3] * 3)


def test_a_photo_that_a_csv_lists_and_nobody_has_is_broken_too(trained: Trained, made: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("ID,img_path\nx,gone.jpg\n")
    assert trained.predict(made, tmp_path / "out.csv", tmp_path / "list.csv").broken == 1


def test_batches_of_any_size_give_the_same_file(trained: Trained, made: Path, tmp_path: Path) -> None:
    values = []
    for size in (1, 3, 64):
        trained.predict(made, tmp_path / "out.csv", batch_size=size)
        rows = read(tmp_path / "out.csv")[1:]
        values.append(np.array([row[1:] for row in rows], dtype=float))
    np.testing.assert_allclose(values[0], values[1], atol=1e-3)
    np.testing.assert_allclose(values[0], values[2], atol=1e-3)


def test_progress_ends_at_the_number_of_photos(trained: Trained, made: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    trained.predict(made, tmp_path / "out.csv", batch_size=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_a_csv_without_rows_is_an_error(trained: Trained, made: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("ID,img_path\n")
    with pytest.raises(DataError, match="There are no rows"):
        trained.predict(made, tmp_path / "out.csv", tmp_path / "list.csv")


# ---- from Python ----------------------------------------------------------------------------------------------------


def test_paths_images_and_arrays_give_the_same_rows(model: Model, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    rows = model.predict([path, str(path), Image.open(path), pixels])
    assert rows.shape == (4, 3)
    assert rows.dtype == np.float64
    np.testing.assert_allclose(rows, rows[[0, 0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)


def test_the_columns_are_the_classes(model: Model) -> None:
    assert model.class_names == ("coupe", "hatchback", "van")


def test_no_images_give_no_rows(model: Model) -> None:
    assert model.predict([]).shape == (0, 3)


def test_images_are_taken_one_by_one(model: Model) -> None:
    pictures = (np.full((20, 20, 3), shade, np.uint8) for shade in (10, 200))
    assert model.predict(pictures, batch_size=1).shape == (2, 3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"Image 1, counted from 0, .* array uint8 \(8, 8\)"),
        (np.zeros((8, 8, 3)), "array float64"),
        (7, "it is a int"),
        ("nowhere.jpg", "The image `nowhere.jpg` cannot be used: it does not exist"),
    ],
)
def test_what_is_no_image_is_an_error_that_says_which(model: Model, image: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        model.predict([np.zeros((8, 8, 3), np.uint8), image])


# ---- the command line -----------------------------------------------------------------------------------------------


def test_both_commands_leave_data_on_stdout_and_all_else_on_stderr(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.excepthook", sys.excepthook)  # the command line sets its own

    def run(*arguments: str) -> tuple[dict[str, Any], str]:
        options = ["--workspace", str(trained.workspace.root), "--plugin", str(trained.plugin), "--json"]
        monkeypatch.setattr(sys, "argv", ["automl-car", *arguments, *options])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        told = capsys.readouterr()
        assert caught.value.code == 0, told.err
        return json.loads(told.out), told.err

    bundle, output, photos = tmp_path / "b", tmp_path / "out.csv", tmp_path / "photos"
    photos.mkdir()
    (photos / "broken.jpg").write_bytes(b"")
    shutil.copy(trained.workspace.root / "data" / "test" / "0.jpg", photos)
    said, _ = run("bundle", "--study", "main", "--output", str(bundle))
    assert said["bundle"] == str(bundle)
    said, aside = run("predict", str(photos), "--bundle", str(bundle), "--output", str(output))
    assert said == {"output": str(output), "photos": 2, "broken": 1}
    assert "warning: The image" in aside
    assert "1 of them cannot be decoded" in aside


# ---- a budget -------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network takes a millisecond for each 8 pixels, a square nothing."""

    def by_size(backbone: Backbone, recipe: Recipe, classes: int, weights: bytes | None) -> float:
        return recipe.image_size / 8

    monkeypatch.setattr("automl_car.training.timing.network_milliseconds", by_size)
    monkeypatch.setattr("automl_car.training.timing.square_milliseconds", lambda *given: 0.0)


@pytest.mark.usefixtures("clock")
def test_with_time_enough_the_lowest_log_loss_is_taken(trained: Trained, tmp_path: Path) -> None:
    made = trained.bundle(tmp_path / "b", budget_ms=1000)
    assert all(each.fits for each in made.considered)
    assert made.considered[0].log_loss == min(each.log_loss for each in made.considered)
    assert made.bundle.measured.log_loss == made.considered[0].log_loss


@pytest.mark.usefixtures("clock")
def test_nothing_over_the_budget_is_taken(trained: Trained, tmp_path: Path) -> None:
    made = trained.bundle(tmp_path / "b", budget_ms=4)
    assert made.bundle.measured.milliseconds is not None
    assert made.bundle.measured.milliseconds <= 4
    assert any(not each.fits for each in made.considered)


@pytest.mark.usefixtures("clock", "all_views")
def test_times_are_sums_of_passes_and_shared_passes_count_once(trained: Trained, tmp_path: Path) -> None:
    made = trained.bundle(tmp_path / "b", budget_ms=1000)
    times = {each.what: each.milliseconds for each in made.considered}
    # trial 0: three views at 16 px; trial 2: three at 24 px; trial 3: two folds and two views at 16 px.
    assert times["trial 0"] == 6
    assert times["trial 2"] == 9
    assert times["trial 3"] == 8
    assert times["trial 3 (1 fold model)"] == 4
    pools = {what: time for what, time in times.items() if set(what.split(" + ")) == {"trial 0", "trial 1"}}
    assert set(pools.values()) <= {6}  # the second head looks at two of the views of the first


@pytest.fixture
def recipe_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the numbers of views that may be used, the largest does best."""

    def largest(folds: Mapping[int, ViewLosses]) -> ViewCounts:
        most = min(losses[-1][0] for losses in folds.values())
        return ViewCounts(dict.fromkeys(folds, most), most)

    monkeypatch.setattr("automl_car.ensemble.candidates.choose_view_counts", largest)


@pytest.mark.usefixtures("clock", "recipe_views")
def test_fewer_views_are_compared_too(trained: Trained, tmp_path: Path) -> None:
    made = trained.bundle(tmp_path / "b", budget_ms=1000)
    times = {each.what: each.milliseconds for each in made.considered}
    assert [times[f"trial 2{views}"] for views in ("", " (2 views)", " (1 view)")] == [9, 6, 3]
    assert [times[f"trial 3{less}"] for less in (" (1 fold model)", " (1 fold model, 1 view)")] == [4, 2]
    assert not any(
        "(2 views)" in what for what in times if what.startswith(("trial 1", "trial 3"))
    )  # they have no more


@pytest.mark.usefixtures("clock", "recipe_views")
def test_a_bundle_of_fewer_views_says_what_those_said_in_the_study(trained: Trained, tmp_path: Path) -> None:
    made = trained.bundle(tmp_path / "b", budget_ms=2)
    assert {member.views for member in made.bundle.members} == {1}
    assert made.bundle.measured.milliseconds == 2
    assert made.bundle.measured.difference is not None
    assert made.bundle.measured.difference < 1e-3


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.usefixtures("recipe_views")
def test_what_is_compared_is_what_the_folds_said_of_so_many_views(trained: Trained, views: int) -> None:
    folder = trained.store / trained.ids["head-larger"]
    found = read_candidate("x", "toy", folder, (0, 1), trained.prepared.dataset, most_views=views)
    stored = [read_logits(folder / f"fold-{fold}", views=views) for fold in range(2)]
    assert found.views == views
    for fold in stored:
        np.testing.assert_array_equal(found.oof_logits[fold.rows], fold.oof)
    np.testing.assert_allclose(found.test_logits, np.mean([fold.test for fold in stored], axis=0), rtol=1e-6)


def test_real_networks_are_really_timed(trained: Trained, tmp_path: Path) -> None:
    made = trained.bundle(tmp_path / "b", budget_ms=10_000)
    assert made.bundle.measured.milliseconds is not None
    assert 0 < made.bundle.measured.milliseconds < 10_000


@pytest.mark.usefixtures("clock", "all_views")
def test_when_nothing_fits_the_fastest_is_named(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"within 1 ms here: the fastest is trial \d.* with 4.0 ms"):
        trained.bundle(tmp_path / "b", budget_ms=1)
    assert not (tmp_path / "b").exists()


def test_members_see_as_many_views_as_did_best_out_of_fold(made: Path, trained: Trained) -> None:
    counts = {}
    for recipe_id in trained.ids.values():
        results = [read_result(trained.store / recipe_id / f"fold-{fold}") for fold in range(2)]
        losses = [dict(result.view_losses) for result in results if result]
        counts[recipe_id] = min(losses[0], key=lambda views: (losses[0][views] + losses[1][views], views))
    found = find_ensemble(trained.workspace, trained.config, study="main", top_k=5)
    assert {member.recipe_id: member.views for member in found.ensemble.members}.items() <= counts.items()
    assert [member.views for member in read_bundle(made)[0].members] == [m.views for m in found.ensemble.members]


def test_what_the_readme_shows_runs(
    made: Path, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (shown,) = [text for text in re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL) if "load(" in text]
    shutil.copytree(made, tmp_path / "bundles" / "main")
    for name, photo in zip(("a.jpg", "b.jpg"), (trained.workspace.root / "data" / "test").iterdir(), strict=False):
        shutil.copy(photo, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(automl_car, "load", partial(automl_car.load, plugins=[trained.plugin]))
    names: dict[str, Any] = {}
    exec(shown, names)
    assert names["probabilities"].shape == (2, 3)
    assert capsys.readouterr().out == f"{names['model'].class_names}\n"
