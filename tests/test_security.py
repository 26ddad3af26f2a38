"""What strangers' files, names and networks cannot do (rows 26 and 28 of the fault matrix)."""

from __future__ import annotations

import ast
import csv
import hashlib
import io
import json
import os
import pickle
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import automl_car
from automl_car import cli, predicting
from automl_car.catalog.hub import find_in_hub_cache, require_undamaged
from automl_car.catalog.records import Backbone, PluginSources
from automl_car.ensemble.bundle_files import BundleFiles, read_bundle
from automl_car.ensemble.prediction_file import check_output
from automl_car.errors import (
    AutomlCarError,
    BundleError,
    ConfigError,
    DataError,
    PluginError,
    StoreError,
    WeightsError,
)
from automl_car.paths import is_own_file, plain_name, stays_inside
from automl_car.pipeline.excluding import excluded_photos
from automl_car.records import Recipe
from automl_car.search.study import load_study, storage_url
from automl_car.store import read_logits
from automl_car.training.features import _mapped
from automl_car.training.model import build_model, load_weights
from automl_car.workspace import Workspace

ROOT = Path(__file__).parents[1]
MODULES = sorted([*(ROOT / "automl_car").rglob("*.py"), *(ROOT / "plugins").glob("*.py")])

# ---- the code -------------------------------------------------------------------------------------------------------

UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "getoutput"}
UNSAFE_ATTRIBUTES = {("yaml", "load"), ("yaml", "full_load"), ("yaml", "unsafe_load"), ("pandas", "read_pickle")}
UNSAFE_ARGUMENTS = {("allow_pickle", True), ("weights_only", False), ("shell", True), ("trust_remote_code", True)}


def _unsafe(tree: ast.AST) -> list[str]:
    """Names of what can run code that is in data."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in UNSAFE_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNSAFE_MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            found += _unsafe_call(node)
    return found


def _unsafe_call(node: ast.Call) -> list[str]:
    function = node.func
    found = []
    if isinstance(function, ast.Name) and function.id in UNSAFE_CALLS:
        found.append(function.id)
    if isinstance(function, ast.Attribute):
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        if (owner, function.attr) in UNSAFE_ATTRIBUTES or (owner == "os" and function.attr in UNSAFE_CALLS):
            found.append(f"{owner}.{function.attr}")
        names = [word.arg for word in node.keywords]
        if (owner, function.attr) == ("torch", "load") and "weights_only" not in names:
            found.append("torch.load without weights_only")
        if (owner, function.attr) == ("np", "load") and "allow_pickle" not in names:
            found.append("np.load without allow_pickle")
    for word in node.keywords:
        if isinstance(word.value, ast.Constant) and (word.arg, word.value.value) in UNSAFE_ARGUMENTS:
            found.append(f"{word.arg}={word.value.value}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_can_run_code_that_is_in_data(path: Path) -> None:
    assert _unsafe(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        *["import pickle", "from joblib import load", "eval('1')", "np.load(p)", "np.load(p, allow_pickle=True)"],
        *["torch.load(p)", "torch.load(p, weights_only=False)", "yaml.load(x)", "run('ls', shell=True)"],
        *["os.system('ls')"],
    ],
)
def test_the_test_above_sees_what_it_looks_for(code: str) -> None:
    assert _unsafe(ast.parse(code))


# ---- canaries -------------------------------------------------------------------------------------------------------


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.sign), "w"))


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    """The file that no canary may make; a plain unpickling would."""
    path = tmp_path / "the canary ran"
    pickle.loads(pickle.dumps(Canary(path))).close()
    assert path.exists()
    path.unlink()
    return path


def object_array(sign: Path) -> Any:
    array = np.empty(1, dtype=object)
    array[0] = Canary(sign)
    return array


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.ckpt", "w.pkl", "w.safetensors"])
@pytest.mark.parametrize("how", ["torch.save", "old torch.save", "pickle"])
def test_a_pickle_as_weights_is_refused_and_never_run(name: str, how: str, tmp_path: Path, sign: Path) -> None:
    content = {"state_dict": {"weight": torch.zeros(2, 3), "extra": Canary(sign)}}
    if how == "pickle":
        (tmp_path / name).write_bytes(pickle.dumps(content))
    else:
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=how == "torch.save")
    with pytest.raises(WeightsError) as caught:
        load_weights(nn.Sequential(nn.Linear(3, 2)), tmp_path / name, 2)
    assert not sign.exists()
    assert ".safetensors" in str(caught.value.hint)
    assert "weights_only" not in caught.value.message, "torch's advice to run it all the same"


def _fold(folder: Path, oof: bytes) -> Path:
    """A finished fold whose record is right, whatever is in its logits."""
    from automl_car.records import fingerprint

    folder.mkdir()
    record: dict[str, Any] = {"format": 1, "result": {}, "recipe": {"views": 2}, "sha256": {}}
    for name, data in {"oof.npz": oof, "model.safetensors": b""}.items():
        (folder / name).write_bytes(data)
        record["sha256"][name] = hashlib.sha256(data).hexdigest()
    record["fingerprint"] = fingerprint(record)
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def test_a_pickle_as_out_of_fold_logits_is_never_run(tmp_path: Path, sign: Path) -> None:
    arrays = npz(rows=np.arange(1), logits=object_array(sign))
    for number, content in enumerate((arrays, pickle.dumps(Canary(sign)))):
        with pytest.raises(StoreError, match="holds no arrays"):
            read_logits(_fold(tmp_path / f"fold-{number}", content))
    assert not sign.exists()


def test_a_pickle_as_features_is_refused_and_never_run(tmp_path: Path, sign: Path) -> None:
    np.save(tmp_path / "train.npy", object_array(sign), allow_pickle=True)
    (tmp_path / "test.npy").write_bytes(pickle.dumps(Canary(sign)))
    for name in ("train.npy", "test.npy"):
        with pytest.raises(StoreError, match="holds no features") as caught:
            _mapped(tmp_path / name)
        assert "it is computed again" in str(caught.value.hint)
    assert not sign.exists()


def test_a_pickle_in_a_bundle_is_refused_and_never_run(tmp_path: Path, sign: Path) -> None:
    from automl_car.training.checkpoint import from_safetensors

    (tmp_path / "bundle.json").write_bytes(pickle.dumps(Canary(sign)))
    with pytest.raises(BundleError, match="is not JSON"):
        read_bundle(tmp_path)
    with pytest.raises(StoreError, match="not in safetensors format"):
        from_safetensors(pickle.dumps(Canary(sign)))
    assert not sign.exists()


def test_a_pickle_in_a_study_is_never_run(tmp_path: Path, sign: Path) -> None:
    import optuna

    url = storage_url(tmp_path, "main", None)
    study = optuna.create_study(study_name="main", storage=url)
    study.set_user_attr("space", {})
    with sqlite3.connect(tmp_path / "main.db") as connection:
        connection.execute("UPDATE study_user_attributes SET value_json = ?", (pickle.dumps(Canary(sign)),))
    connection.close()
    with pytest.raises(Exception, match=r".*"):
        load_study("main", url).user_attrs["space"]
    assert not sign.exists()


def test_a_pickle_as_predictions_is_refused_and_never_run(tmp_path: Path, sign: Path) -> None:
    from automl_car.ensemble.blending import blend

    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(pickle.dumps(Canary(sign)))
    with pytest.raises(AutomlCarError):
        blend(tmp_path, output=tmp_path / "out" / "x.csv", weights=None, pool="auto", labels=None, note=print)
    with pytest.raises(ConfigError, match=r"ends neither in \.csv nor in \.parquet"):
        check_output(tmp_path / "predictions.pkl")
    assert not sign.exists()


# ---- names and paths ------------------------------------------------------------------------------------------------

ESCAPES = ("../main", "..", "a/b", "/etc/passwd", "a\\b", "", ".", "a\0b")


@pytest.mark.parametrize("name", ESCAPES)
def test_a_study_cannot_be_named_by_a_path(name: str, tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    for use in (place.checkpoints, place.reports, lambda study: storage_url(place.studies, study, None)):
        with pytest.raises(ConfigError, match="cannot be the name of a study"):
            use(name)


def test_a_study_may_have_a_space_and_other_letters() -> None:
    assert plain_name("차 2", "study") == "차 2"


@pytest.mark.parametrize(
    "command",
    [["ensemble"], ["report"], ["bundle"], ["refit"], ["dashboard"], ["search"]],
    ids=lambda command: command[0],
)
def test_no_command_takes_a_path_for_a_study(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["automl-car", *command, "--study", "../other/main"])
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "../other/main" in capsys.readouterr().err
    assert not (tmp_path.parent / "other").exists()


@pytest.mark.parametrize("name", ["../list.csv", "/etc/list.csv", "a/../../list.csv", "C:\\list.csv"])
def test_a_list_of_photos_to_leave_out_lies_in_the_workspace(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leads out of the workspace"):
        excluded_photos(tmp_path, [name])


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/passwd", "..\\secret.jpg", "C:\\secret.jpg", "a/../../b.jpg"])
def test_a_photo_of_test_csv_lies_in_the_data_folder(path: str, tmp_path: Path) -> None:
    from automl_car.data.testset import read_test

    with (tmp_path / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["ID", "img_path"], ["T0", path]])
    with pytest.raises(DataError, match="leads out of the data folder"):
        read_test(tmp_path, "test.csv")


# ---- a stranger's bundle --------------------------------------------------------------------------------------------


def _bundle_of(folder: Path, **changes: Any) -> Path:
    """A bundle whose manifest is consistent, with some parts changed by a stranger who knows the format."""
    from automl_car.records import fingerprint

    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "a.safetensors").write_bytes(b"x")
    member = {
        "name": "trial 0", "weight": 1.0, "temperature": 1.0, "head": "", "image_size": 16, "mean": [0.5] * 3,
        "std": [0.5] * 3, "interpolation": "bicubic", "views": 1, "flip": True, "power": 1.0,
        "networks": [{"file": "weights/a.safetensors", "backbone": "toy", "params": {}}],
    }  # fmt: skip
    record: dict[str, Any] = {
        "format": 1, "study": "main", "class_names": ["a", "b"], "class_shares": [0.5, 0.5], "members": [member],
        "form": {"header": "ID,a,b", "columns": ["a", "b"], "column_classes": [0, 1], "bom": False, "newline": "\n"},
        "pool": "arithmetic", "temperature": 1.0, "uniform": 0.0, "short_side": 32, "plugins": [], "versions": {},
        "measured": {"log_loss": 1.0, "standard_error": 0.1, "rows": 2, "photos": "", "note": "", "milliseconds": None,
                     "difference": None, "interval": 0.2},
        "sha256": {"weights/a.safetensors": hashlib.sha256(b"x").hexdigest()},
    }  # fmt: skip
    record |= changes
    record["fingerprint"] = fingerprint(record)
    (folder / "bundle.json").write_text(json.dumps(record))
    return folder


def test_a_bundle_that_names_its_own_files_is_read(tmp_path: Path) -> None:
    bundle, files = read_bundle(_bundle_of(tmp_path / "b"))
    assert bundle.class_names == ("a", "b")
    assert files.read("weights/a.safetensors") == b"x"


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "weights/../../secret", "..\\secret", "C:\\secret"])
def test_a_bundle_that_names_a_file_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    with pytest.raises(BundleError, match="leads out of the bundle"):
        read_bundle(_bundle_of(tmp_path / "b", sha256={name: digest}))
    with pytest.raises(BundleError, match="has no file"):
        BundleFiles(tmp_path / "b", {name: digest}).read(name)


def test_the_copy_of_a_plugin_that_a_person_is_told_to_read_lies_in_the_bundle(tmp_path: Path) -> None:
    plugin = {"name": "evil", "origin": "file", "location": "evil.py", "version": "1", "backbones": ["toy"]}
    with pytest.raises(BundleError, match=r"names `/tmp/evil\.py`, which is no file of the bundle"):
        read_bundle(_bundle_of(tmp_path / "b", plugins=[{**plugin, "file": "/tmp/evil.py"}]))


@pytest.mark.parametrize("what", ["file", "folder", "manifest"])
def test_a_link_in_a_bundle_is_refused(what: str, tmp_path: Path) -> None:
    folder = _bundle_of(tmp_path / "b")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.safetensors").write_bytes(b"x")
    if what == "file":
        (folder / "weights" / "a.safetensors").unlink()
        (folder / "weights" / "a.safetensors").symlink_to(tmp_path / "elsewhere" / "a.safetensors")
    elif what == "folder":
        shutil.rmtree(folder / "weights")
        (folder / "weights").symlink_to(tmp_path / "elsewhere")
    else:
        (folder / "bundle.json").rename(tmp_path / "bundle.json")
        (folder / "bundle.json").symlink_to(tmp_path / "bundle.json")
    with pytest.raises(BundleError, match="is a link, or no plain file"):
        read_bundle(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name")
def test_a_pipe_in_a_bundle_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    folder = _bundle_of(tmp_path / "b")
    (folder / "weights" / "a.safetensors").unlink()
    os.mkfifo(folder / "weights" / "a.safetensors")
    with pytest.raises(BundleError, match="no plain file"):
        read_bundle(folder)


def test_a_bundle_sets_only_what_the_plugin_declares(tmp_path: Path, toy_plugin: Path) -> None:
    network = {"file": "weights/a.safetensors", "backbone": "toy", "params": {"tag": "hf-hub:stranger/model"}}
    folder = _bundle_of(tmp_path / "b")
    record = json.loads((folder / "bundle.json").read_text())
    shutil.rmtree(folder)
    _bundle_of(folder, members=[{**record["members"][0], "networks": [network]}])
    with pytest.raises(BundleError, match="sets `tag` of `toy` to 'hf-hub:stranger/model', and its plugin declares no"):
        predicting.load_model(folder, PluginSources(files=(toy_plugin,)))


def test_the_copy_of_a_plugin_in_a_bundle_is_not_run(tmp_path: Path, sign: Path) -> None:
    text = f"import pathlib; pathlib.Path({str(sign)!r}).write_text('ran')"
    digest = hashlib.sha256(text.encode()).hexdigest()
    plugin = {"name": "evil", "origin": "file", "location": "evil.py", "version": "1", "backbones": ["toy"]}
    folder = _bundle_of(
        tmp_path / "b",
        plugins=[{**plugin, "file": "plugins/evil.py"}],
        sha256={"plugins/evil.py": digest, "weights/a.safetensors": hashlib.sha256(b"x").hexdigest()},
    )
    (folder / "plugins").mkdir()
    (folder / "plugins" / "evil.py").write_text(text)
    with pytest.raises(PluginError, match="needs the backbone `toy`") as caught:
        automl_car.load(folder)
    assert "if you trust it, pass `--plugin" in str(caught.value.hint)
    assert not sign.exists()


def test_paths_are_judged_alike_on_every_system(tmp_path: Path) -> None:
    assert [stays_inside(name) for name in ("a/b", "a", "..", "a/../b", "/a", "\\a", "C:a", "..\\a")] == [True] * 2 + [
        False
    ] * 6
    (tmp_path / "folder").mkdir()
    assert not is_own_file(tmp_path, "folder")
    assert not is_own_file(tmp_path, "missing")


# ---- plugins --------------------------------------------------------------------------------------------------------


def test_no_local_plugins_loads_none_of_the_workspace(
    tmp_path: Path, sign: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "evil.py").write_text(f"import pathlib; pathlib.Path({str(sign)!r}).write_text('ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    monkeypatch.setattr("sys.argv", ["automl-car", "plugins", "list", "--no-local-plugins"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "evil" not in capsys.readouterr().out
    assert not sign.exists()


# ---- weights from the hub -------------------------------------------------------------------------------------------


def _hub_file(cache: Path, content: bytes, digest: str) -> Path:
    """A file of `timm/net` as the hub's library leaves it: a link to a blob that is named by its sha256."""
    folder = cache / "models--timm--net"
    for name in ("blobs", "refs", "snapshots/abc"):
        (folder / name).mkdir(parents=True)
    (folder / "blobs" / digest).write_bytes(content)
    (folder / "refs" / "main").write_text("abc")
    file = folder / "snapshots" / "abc" / "model.safetensors"
    file.symlink_to(folder / "blobs" / digest)
    return file


def test_weights_of_the_hub_that_do_not_match_their_hash_are_refused_with_the_file_to_replace(tmp_path: Path) -> None:
    file = _hub_file(tmp_path, b"half of it", hashlib.sha256(b"all of it").hexdigest())
    network = Backbone("net", lambda *_, **__: nn.Linear(3, 2), find_weights=lambda: file)
    with pytest.raises(WeightsError, match="are damaged, or were not downloaded to their end") as caught:
        build_model(network, Recipe("net"), 2)
    assert str(file) in caught.value.message
    assert f"remove `{file.resolve()}`" in str(caught.value.hint)


def test_weights_of_the_hub_that_match_their_hash_are_taken(tmp_path: Path) -> None:
    require_undamaged(_hub_file(tmp_path, b"all of it", hashlib.sha256(b"all of it").hexdigest()))


def test_a_download_that_was_cut_off_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--timm--net" / "blobs").mkdir(parents=True)
    (tmp_path / "models--timm--net" / "blobs" / "0123.incomplete").write_bytes(b"half")
    assert find_in_hub_cache("timm/net") is None


def test_weights_that_cannot_be_read_are_told_with_their_file(tmp_path: Path) -> None:
    def build(classes: int, *, pretrained: bool = True) -> nn.Module:
        if pretrained:
            raise RuntimeError("incomplete metadata, file not fully covered")
        return nn.Linear(3, classes)

    file = tmp_path / "model.safetensors"
    file.write_bytes(b"half")
    with pytest.raises(WeightsError, match=f"of `net` \\(`{file}`\\) cannot be loaded: RuntimeError: incomplete"):
        build_model(Backbone("net", build, find_weights=lambda: file), Recipe("net"), 2)


def test_a_build_that_fails_without_weights_too_is_not_told_as_missing_weights() -> None:
    def build(classes: int, *, pretrained: bool = True) -> nn.Module:
        raise ValueError("no such layer")

    with pytest.raises(ValueError, match="no such layer"):
        build_model(Backbone("net", build), Recipe("net"), 2)


# ---- the dashboard --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "host", "warned"),
    [([], "127.0.0.1", False), (["--host", "localhost"], "localhost", False), (["--host", "0.0.0.0"], "0.0.0.0", True)],
    ids=["default", "localhost", "all"],
)
def test_the_dashboard_listens_on_loopback_and_elsewhere_with_a_warning_only(
    arguments: list[str],
    host: str,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import optuna

    heard: list[str] = []

    def run_server(storage: object, *, host: str, port: int, artifact_store: object) -> None:
        heard.append(host)

    monkeypatch.setattr("optuna_dashboard.run_server", run_server)
    (tmp_path / "studies").mkdir()
    optuna.create_study(study_name="main", storage=storage_url(tmp_path / "studies", "main", None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    monkeypatch.setattr("sys.argv", ["automl-car", "dashboard", "--study", "main", *arguments])
    with pytest.raises(SystemExit):
        cli.main()
    assert heard == [host]
    assert ("warning: on 0.0.0.0, everyone who reaches this machine" in capsys.readouterr().err) == warned
