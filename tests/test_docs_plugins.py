"""What docs/writing-a-plugin.md shows works as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from automl_car.cli import app
from automl_car.config import load_config
from automl_car.contract import check_plugin_file

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
CODE = [ROOT / "automl_car" / name for name in ("rules.py", "checking.py")] + [
    *(ROOT / "automl_car/catalog").glob("*.py")
]
QUICK = (["plugins", "new"], ["plugins", "show"])


@dataclass(frozen=True)
class Block:
    """A block of code: the comment above it, its language, and its text."""

    mark: str
    language: str
    text: str


BLOCKS = [Block(*found) for found in re.findall(r"(?:<!-- (.+?) -->\n)?```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)]
COMMANDS = [shlex.split(line) for block in BLOCKS if block.language == "sh" for line in block.text.splitlines()]
FILES = {block.mark.removeprefix("file: "): block.text for block in BLOCKS if block.mark.startswith("file: ")}
PLUGINS = {path: text for path, text in FILES.items() if path.startswith("plugins/")}


def parse(words: list[str]) -> None:
    """Raise what the command line would say of these words; nothing is run."""

    def disarm(command: Any) -> None:
        command.callback = lambda **given: None
        for child in getattr(command, "commands", {}).values():
            disarm(child)

    command = typer.main.get_command(app)
    disarm(command)
    command.main(list(words), prog_name="automl-car", standalone_mode=False)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_has_options_that_there_are(words: list[str]) -> None:
    assert words[0] == "automl-car"
    parse(words[1:])


def test_an_option_that_there_is_not_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["search", "--trails", "2"])


@pytest.mark.parametrize("path", PLUGINS)
def test_a_plugin_keeps_the_contract(path: str, tmp_path: Path) -> None:
    file = tmp_path / Path(path).name
    file.write_text(FILES[path], encoding="utf-8")
    assert len(check_plugin_file(file)) == 1


def test_the_test_that_it_shows_passes(tmp_path: Path) -> None:
    for path in ("plugins/plain_net.py", "tests/test_plain_net.py"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(FILES[path], encoding="utf-8")
    shown: dict[str, Callable[[], None]] = {"__file__": str(tmp_path / "tests/test_plain_net.py")}  # type: ignore[dict-item]
    exec(FILES["tests/test_plain_net.py"], shown)
    shown["test_it_keeps_the_contract"]()


def test_every_other_python_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    others = [block.text for block in BLOCKS if block.language == "python" and not block.mark]
    for text in others:
        exec(text, {})
    assert "bsd-3-clause" in capsys.readouterr().out


def test_the_facts_of_the_network_of_timm_are_timms() -> None:
    import timm

    facts = timm.get_pretrained_cfg("regnety_016.tv2_in1k")
    assert (facts.crop_pct, facts.input_size, facts.license) == (0.965, (3, 224, 224), "bsd-3-clause")
    assert "crop_pct=0.965" in FILES["plugins/regnet.py"]


def test_every_settings_block_is_read(tmp_path: Path) -> None:
    blocks = [block for block in BLOCKS if block.language == "yaml"]
    assert [block.mark for block in blocks] == ["settings"] * 2
    for block in blocks:
        file = tmp_path / "automl-car.yaml"
        file.write_text(block.text, encoding="utf-8")
        load_config(file)


def test_the_entry_point_is_that_of_the_example() -> None:
    (shown,) = [tomllib.loads(block.text) for block in BLOCKS if block.language == "toml"]
    example = tomllib.loads((ROOT / "docs/example-plugin/pyproject.toml").read_text(encoding="utf-8"))
    assert shown["project"]["entry-points"] == example["project"]["entry-points"]


def test_check_still_says_what_the_table_explains() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in CODE).replace("`", "")
    cells = re.findall(r"^\| (.+?) \| .+ \|$", PAGE.split("## 7.")[1], flags=re.MULTILINE)
    said = [words for cell in cells for words in re.findall(r"`(.+?)`", cell)]
    assert len(said) > 20
    shown_values = {"not (64, 64, 3)": "not ({side}, {side}, 3)", "No module named": "ModuleNotFoundError"}
    assert [words for words in said if shown_values.get(words, words) not in code] == []


def test_quick_commands_run_in_an_order_that_works(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = [path for words in COMMANDS if words[1:3] == QUICK[0] for path in _made(words[3])]
    for words in COMMANDS:
        if words[1:3] in QUICK:
            result = CliRunner().invoke(app, words[1:])
            assert result.exit_code == 0, result.output
    assert all(Path(path).is_file() for path in made)
    assert Path("augmentation-other_light.jpg").is_file()


def _made(name: str) -> tuple[str, str]:
    return f"plugins/{name}.py", f"tests/test_{name}.py"


@pytest.mark.slow
def test_the_page_can_be_followed_from_its_beginning_to_its_end(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused = []
    for block in BLOCKS:
        if block.mark.startswith("file: "):
            (tmp_path / block.mark.removeprefix("file: ")).write_text(block.text, encoding="utf-8")
        for line in block.text.splitlines() if block.language == "sh" else ():
            command = [sys.executable, "-m", "automl_car", *shlex.split(line)[1:]]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            if done.returncode:
                refused.append((line, done.stderr))
    # What fetches weights cannot do so here, and says what to do instead.
    ((line, told),) = refused
    assert line == "automl-car search --backbone small_net --trials 2"
    assert "random" in told
