"""Plugins that misbehave while they are loaded (rows 15 and 16 of the fault matrix): a red row, nothing else."""

from __future__ import annotations

import os
import random
import re
import time
import warnings
from pathlib import Path

import pytest

from automl_car.catalog.manager import Catalog, PluginInfo, load_catalog
from automl_car.catalog.records import PluginSources

GOOD = """
from automl_car import Backbone, hookimpl
{top}
def find():
    {find}

@hookimpl
def register_backbones():
    {hook}
    return [Backbone("net", dict, find_weights=find)]
"""


def write(folder: Path, *, top: str = "", hook: str = "", find: str = "return None", name: str = "theirs") -> Path:
    """A plugin with some code at its top, in its hook or in `find_weights`."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(GOOD.format(top=top, hook=hook or "pass", find=find))
    return path


def load(folder: Path, *, time_limit: float = 20) -> Catalog:
    """Load the plugins of `folder`/plugins as a workspace does."""
    sources = PluginSources(folder / "plugins", verdicts=folder / "verdicts", time_limit=time_limit)
    return load_catalog(sources)


def row(catalog: Catalog, name: str = "theirs") -> PluginInfo:
    (found,) = [info for info in catalog.plugins if info.name == name]
    return found


def leaves(mark: str, runs: Path) -> str:
    """Code that writes a mark each time that it runs."""
    return f"with open({str(runs)!r}, 'a') as file: file.write({mark!r})"


CRASH = "import ctypes; ctypes.string_at(0)"
FOREVER = "import time; time.sleep(3600)"
BUSY = "import re; re.match('(a+)+$', 'a' * 60 + 'b')"  # keeps the interpreter to itself
LEAVES = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(77)'])"

FATAL: dict[str, tuple[dict[str, str], str]] = {
    "exit at import": (
        {"top": "import os; os._exit(3)"},
        "while it was imported: it ended the process with exit code 3",
    ),
    "clean exit at import": (
        {"top": "import os; os._exit(0)"},
        "while it was imported: it ended the process with exit",
    ),
    "crash at import": ({"top": CRASH}, r"while it was imported: it ended the process by SIGSEGV \(line 3, in"),
    "crash in a hook": ({"hook": CRASH}, "while its hooks were called: it ended the process by SIGSEGV"),
    "exception in find_weights": ({"find": "return 1 / 0"}, "^ZeroDivisionError: division by zero$"),
    "Ctrl-C of its own": ({"top": "raise KeyboardInterrupt"}, "^KeyboardInterrupt"),
    "sys.exit": ({"top": "import sys; sys.exit(3)"}, r"^it called sys\.exit\(3\) while it was loaded\.$"),
    "missing package": ({"top": "import skimage"}, r"No module named 'skimage' \(`pip install scikit-image` may bring"),
    "processes left": ({"top": LEAVES}, "it starts processes when it is loaded, and leaves them behind"),
}


@pytest.mark.parametrize(("code", "reason"), FATAL.values(), ids=FATAL)
def test_a_plugin_that_fails_or_dies_while_it_is_loaded_is_a_row_with_its_reason(
    code: dict[str, str], reason: str, tmp_path: Path
) -> None:
    write(tmp_path / "plugins", **code)
    catalog = load(tmp_path)
    assert re.search(reason, str(row(catalog).error)), row(catalog).error
    assert "light" in catalog.augmentations


HANGING: dict[str, tuple[dict[str, str], str]] = {
    "at import": ({"top": BUSY}, r"while it was imported: it was not done after 1 s \(line 3, in <module>\)"),
    "in a hook": ({"hook": FOREVER}, r"while its hooks were called: it was not done after 1 s \(line 9, in register_b"),
    "in find_weights": ({"find": "while True: pass"}, "while `find_weights` of `net` was called: it was not done"),
}


@pytest.mark.parametrize(("code", "reason"), HANGING.values(), ids=HANGING)
def test_a_plugin_that_never_returns_is_a_row_that_says_where_it_hung(
    code: dict[str, str], reason: str, tmp_path: Path
) -> None:
    write(tmp_path / "plugins", **code)
    assert re.search(reason, str(row(load(tmp_path, time_limit=1)).error))


def test_a_plugin_that_hung_is_remembered_and_not_run_again(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write(tmp_path / "plugins", top=leaves("x", runs), hook=FOREVER)
    load(tmp_path, time_limit=1)
    began = time.monotonic()
    error = row(load(tmp_path, time_limit=1)).error
    assert time.monotonic() - began < 1
    assert runs.read_text() == "x"
    assert "`automl-car plugins check theirs` tries it again" in str(error)


def test_a_plugin_that_passed_is_not_probed_again_until_it_is_edited(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for text, expected in [("x", "xx"), ("x", "xxx"), ("y", "xxxyy")]:  # twice the first time: there, and here
        write(tmp_path / "plugins", top=leaves(text, runs))
        assert row(load(tmp_path)).error is None
        assert runs.read_text() == expected


def test_a_plugin_that_failed_quickly_is_tried_again(tmp_path: Path) -> None:
    key = tmp_path / "key"
    write(tmp_path / "plugins", top=f"import pathlib; pathlib.Path({str(key)!r}).read_text()")
    assert "FileNotFoundError" in str(row(load(tmp_path)).error)
    key.write_text("here")
    assert row(load(tmp_path)).error is None


def test_a_memory_that_is_damaged_or_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    write(tmp_path / "plugins")
    load(tmp_path)
    (verdict,) = (tmp_path / "verdicts").iterdir()
    verdict.write_text("{")
    assert row(load(tmp_path)).error is None
    sources = PluginSources(tmp_path / "plugins", verdicts=verdict / "under a file")
    assert row(load_catalog(sources)).error is None


def test_what_a_plugin_prints_while_it_is_loaded_does_not_reach_stdout(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "plugins", top="import os; print('hello'); os.system('echo from a child')")
    load(tmp_path)
    out, err = capfd.readouterr()
    assert out == ""
    assert "hello" in err
    assert "from a child" in err


def test_a_plugin_leaves_seeds_warnings_and_folder_as_they_were(tmp_path: Path) -> None:
    write(
        tmp_path / "plugins",
        top="import os, random, warnings; random.seed(1); warnings.simplefilter('ignore'); os.chdir('/')",
    )
    random.seed(5)
    expected = random.Random(5).random()
    folder, filters = Path.cwd(), list(warnings.filters)
    assert row(load(tmp_path)).error is None
    assert random.random() == expected
    assert Path.cwd() == folder
    assert list(warnings.filters) == filters


def test_a_plugin_is_named_with_path_and_version_before_its_code_runs(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    path = write(tmp_path / "plugins", top=leaves("x", runs))
    said: list[str] = []

    def announce(text: str) -> None:
        assert not runs.exists()
        said.append(text)

    catalog = load_catalog(PluginSources(tmp_path / "plugins", verdicts=tmp_path / "verdicts"), announce=announce)
    assert said == [f"plugin `theirs` ({path}, version {row(catalog).version}) is loaded"]


def test_a_plugin_that_is_disabled_is_neither_named_nor_run(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write(tmp_path / "plugins", top=leaves("x", runs))
    sources = PluginSources(tmp_path / "plugins", disabled=("theirs",), verdicts=tmp_path / "verdicts")
    said: list[str] = []
    load_catalog(sources, announce=said.append)
    assert said == []
    assert not runs.exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the processes in /proc")
def test_the_processes_that_a_plugin_started_are_ended(tmp_path: Path) -> None:
    marker = f"sleep-{os.getpid()}-{time.monotonic_ns()}"
    code = f"[subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(77)', {marker!r}]) for _ in range(5)]"
    write(tmp_path / "plugins", top=f"import subprocess, sys; {code}", hook=FOREVER)
    load(tmp_path, time_limit=1)
    until = time.monotonic() + 5
    while (alive := _alive(marker)) and time.monotonic() < until:
        time.sleep(0.05)
    assert alive == []


def _alive(marker: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (entry / "cmdline").read_text(errors="replace"):
                found.append(entry.name)
        except OSError:  # it ended meanwhile
            continue
    return found
