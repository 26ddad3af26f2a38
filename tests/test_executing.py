"""Which executor a command trains with, and what is said where there is none, or where its library is missing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from automl_car import ExecutorKind, Setting, cli
from automl_car.catalog.manager import Catalog, PluginInfo, load_catalog
from automl_car.config import Config, load_config
from automl_car.console import Lines
from automl_car.errors import ConfigError, PluginError
from automl_car.pipeline.executing import open_executor, pick_executor
from automl_car.search.fleet import Fleet

ROOT = Path(__file__).parents[1]
SETTINGS = (Setting("queue", "short", "its queue"), Setting("cores", 1, "of a fold"))


class Cart:
    """What an executor has, and nothing behind it."""

    def __init__(self, context: Any, **settings: Any) -> None:
        self.context = context
        self.settings = settings

    def machine(self) -> None: ...
    def slots(self) -> None: ...
    def submit(self, task: object) -> None: ...
    def measure(self, task: object) -> None: ...
    def close(self) -> None: ...


def catalog(build: Any = Cart, **changes: Any) -> Catalog:
    kind = ExecutorKind("cart", build, settings=SETTINGS, **changes)
    row = PluginInfo("mine", "workspace", "/plugins/mine.py", "1234abcd", executors=("cart",))
    return Catalog({}, {}, (row,), executors={"cart": kind})


def settings(text: str, tmp_path: Path, **overrides: Any) -> Config:
    (tmp_path / "c.yaml").write_text(text)
    return load_config(tmp_path / "c.yaml", {f"search.{key}": value for key, value in overrides.items()})


def test_by_itself_it_is_this_machine() -> None:
    bundled = load_catalog()
    assert list(bundled.executors) == ["local", "ray"]
    assert pick_executor(bundled, Config()) is bundled.executors["local"]


def test_the_executor_of_this_machine_is_the_local_one(tmp_path: Path) -> None:
    executor = open_executor(load_catalog(), Config(), Lines(), tmp_path / "worker.log")
    try:
        assert isinstance(executor, Fleet)
    finally:
        executor.close()


def test_it_is_built_with_its_settings_and_with_what_it_tells_the_person(tmp_path: Path) -> None:
    config = settings("{search: {executor: cart}, executors: {cart: {cores: 4}}}", tmp_path, address="host:1")
    view = Lines()
    executor: Any = open_executor(catalog(), config, view, tmp_path / "worker.log")
    assert executor.settings == {"queue": "short", "cores": 4}
    context = executor.context
    assert (context.watch, context.note) == (view.trained, view.note)
    assert (context.log, context.address) == (tmp_path / "worker.log", "host:1")


def test_a_section_whose_settings_are_all_commented_out_is_none(tmp_path: Path) -> None:
    config = settings("{search: {executor: cart}, executors: {cart: }}", tmp_path)
    assert pick_executor(catalog(), config).name == "cart"
    assert settings("executors:", tmp_path) == Config()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("search: {executor: crt}", r"executor of the name `crt` \(`search.executor`\)\. Did you mean `cart`\?"),
        ("{search: {executor: cart}, executors: {crt: {}}}", r"`crt` \(`executors.crt`\)\. Did you mean `cart`\?"),
        ("{search: {executor: cart}, executors: {cart: {core: 2}}}", r"`executors\.cart\.core`\. Did you mean `cores`"),
        ("{search: {executor: cart}, executors: {cart: {zz: 2}}}", "Known here: queue, cores"),
        ("{search: {executor: cart}, executors: {cart: {cores: many}}}", "`many` is wrong: write a whole number"),
        ("{search: {executor: cart}, executors: {cart: [2]}}", r"line 1: executors\.cart: .*a section holds"),
        ("{search: {executor: cart}, executors: {cart: {queue: [a]}}}", r"executors\.cart\.queue: .*write a text"),
        ("{search: {executor: 7}}", r"search\.executor: .*write a text"),
    ],
)
def test_wrong_settings_are_told_with_what_is_near_or_expected(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        pick_executor(catalog(), settings(text, tmp_path))


def test_a_missing_library_is_told_with_the_command_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"executor `cart` needs `no_such_thing`, which is not installed") as told:
        pick_executor(
            catalog(needs=("no_such_thing",), install="automl-car[cart]"),
            settings("search: {executor: cart}", tmp_path),
        )
    assert told.value.hint == "pip install 'automl-car[cart]'"


def test_ray_that_is_not_installed_is_told_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_dataset: Path
) -> None:
    monkeypatch.setattr("automl_car.following._is_installed", lambda module: module != "ray")
    monkeypatch.setattr("sys.argv", ["automl-car", "search", "--executor", "ray", "--workspace", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "error: The executor `ray` needs `ray`, which is not installed." in told
    assert "hint: pip install 'automl-car[ray]'" in told


def test_an_address_is_refused_by_the_executor_of_this_machine(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`search\.address` is `host:1`, and the executor `local` trains on this"):
        open_executor(load_catalog(), settings("{}", tmp_path, address="host:1"), Lines(), tmp_path / "worker.log")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda context, **settings: print, "of plugin `mine` .* has no method `machine`"),
        (lambda context, **settings: 1 / 0, "of plugin `mine` .* failed: ZeroDivisionError"),
        (lambda context: None, "unexpected keyword argument 'queue'"),
    ],
)
def test_a_plugin_that_builds_no_executor_is_named(build: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=words):
        open_executor(catalog(build), settings("search: {executor: cart}", tmp_path), Lines(), tmp_path / "worker.log")


# ---- without Ray ----------------------------------------------------------------------------------------------------

WITHOUT_RAY = """
import sys
sys.modules["ray"] = None  # whoever imports it now gets an ImportError
from automl_car import cli
import automl_car.pipeline, automl_car.search.node, automl_car.search.on_ray, automl_car.search.worker
from automl_car.catalog.manager import load_catalog
load_catalog().require_whole()
sys.argv = ["automl-car", "plugins", "list", "--json"]
cli.main()
"""


def test_nothing_imports_ray_unless_it_is_chosen() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_RAY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_package_needs_ray_in_its_extra_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert not any(needed.startswith("ray") for needed in project["dependencies"])
    assert any(needed.startswith("ray") for needed in project["optional-dependencies"]["ray"])
