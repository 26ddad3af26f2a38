"""What the pages say must be so: commands, settings, snippets, links, and the tutorial from first to last."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from automl_car.cli import app
from automl_car.config import Config, load_config

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
TUTORIAL = ROOT / "docs" / "tutorial.md"
OURS = ("automl_car", "benchmarks", "docs", ".ci")  # folders of the repository that no workspace has
OF_PLUGINS = (ROOT / "docs" / "writing-a-plugin.md", ROOT / "docs" / "example-plugin" / "README.md")
GENERATED = ("cli.md", "settings.md", "hooks.md")
# Options whose value is a setting of this name: that it is well formed is for the settings to say.
SETTINGS = {
    "trials": "search.trials",
    "study": "search.study",
    "timeout": "search.timeout",
    "tuning": "search.tuning",
    "patience": "search.patience",
    "folds": "data.folds",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "top_k": "ensemble.top_k",
}
SMALL = "space: {image_size: 64, views: 2}\n"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def fenced(text: str, *languages: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [body for language, body in blocks if language in languages]


def prose(text: str) -> str:
    """The page without its fenced blocks and without what only cog reads."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def commands(block: str) -> Iterator[list[str]]:
    """The simple commands of a shell block, in order: without comments, redirections and what joins them."""
    for line in block.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in (*lexer, ";"):
            if set(word) <= set("&|;"):
                if words:
                    yield words[: next((at for at, one in enumerate(words) if set(one) <= set("<>")), len(words))]
                words = []
            else:
                words.append(word)


@cache
def command_line() -> Any:
    """The command line as it is, but for what its commands do: they only look at what is a setting."""

    def only_settings(**given: Any) -> None:
        load_config(None, {SETTINGS[key]: value for key, value in given.items() if key in SETTINGS})

    def disarm(command: Any) -> Any:
        command.callback = only_settings
        for child in getattr(command, "commands", {}).values():
            disarm(child)
        return command

    return disarm(typer.main.get_command(app))


def parse(words: list[str]) -> None:
    """Raise what the command line would say of these words; nothing is run."""
    command_line().main(words, prog_name="automl-car", standalone_mode=False)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_a_page_is_one_of_the_command_line(page: Path) -> None:
    for block in fenced(page.read_text(encoding="utf-8"), "sh", "bash", "console"):
        for words in commands(block.replace("$ ", "")):
            if words[0] == "automl-car":
                parse(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_in_a_sentence_exists(page: Path) -> None:
    for code in re.findall(r"`automl-car ([^`]+)`", prose(page.read_text(encoding="utf-8"))):
        if not re.search(r"[|…]|\.\.\.", code):
            assert complaint(code.split()) == "", f"automl-car {code}"


def complaint(words: list[str]) -> str:
    """What is wrong with a command in a sentence, which may leave out what the command itself cannot do without."""
    try:
        parse(words)
    except Exception as error:
        return "" if type(error).__name__ == "MissingParameter" else str(error)
    return ""


def test_a_command_that_is_not_there_is_found() -> None:
    with pytest.raises(Exception, match="No such command"):
        parse(["serach", "--trials", "5"])
    with pytest.raises(Exception, match="No such option"):
        parse(["search", "--trails", "5"])
    with pytest.raises(Exception, match="2x"):
        parse(["search", "--timeout", "2x"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)} links to {target}"
        assert not anchor or anchor in anchors(file), f"{name_of(page)} links to {target}"


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_of_the_repository_that_a_page_names_is_there(page: Path) -> None:
    folders = OURS if page in OF_PLUGINS else (*OURS, "tests")  # a plugin has tests of its own
    named = rf"(?<![\w./-])((?:{'|'.join(map(re.escape, folders))})/[\w./-]*\w)"
    for path in re.findall(named, page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), f"{name_of(page)} names {path}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_python_block_compiles(page: Path) -> None:
    for block in fenced(page.read_text(encoding="utf-8"), "python"):
        compile(block, name_of(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_settings_is_valid(page: Path, tmp_path: Path) -> None:
    file = tmp_path / "automl-car.yaml"
    for block in fenced(page.read_text(encoding="utf-8"), "yaml"):
        if set(yaml.safe_load(block) or {}) <= set(Config.model_fields):
            file.write_text(block, encoding="utf-8")
            load_config(file)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_place_of_the_machine_that_it_was_written_on(page: Path) -> None:
    assert re.findall(r"(?<![\w.])/(?:home|root|tmp|work|Users|mnt)/", page.read_text(encoding="utf-8")) == []


def test_the_index_leads_to_every_page() -> None:
    linked = re.findall(r"\]\(([^)\s#]+)", (ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    reached = {(ROOT / "docs" / target).resolve() for target in linked}
    pages = {page.resolve() for page in (ROOT / "docs").rglob("*.md")}
    index, examples = ROOT / "docs" / "README.md", ROOT / "docs" / "example-plugin"
    assert {page for page in pages - reached if not page.is_relative_to(examples)} == {index.resolve()}


def test_what_is_written_from_the_code_is_checked_before_every_commit_and_in_ci() -> None:
    for file in (ROOT / ".pre-commit-config.yaml", ROOT / ".ci" / "run"):
        (line,) = [line for line in file.read_text(encoding="utf-8").splitlines() if "cogapp --check" in line]
        assert "README.md" in line
        assert all(f"docs/reference/{name}" in line for name in GENERATED)


@pytest.mark.parametrize("name", ["README.md", "docs/reference/settings.md", "docs/reference/hooks.md"])
def test_what_is_written_from_the_code_is_up_to_date(name: str) -> None:
    run = [sys.executable, "-m", "cogapp", "--check", name]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"cog -r {name} writes it anew\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", ["tutorial.md", "README.md"])
def test_the_korean_pages_show_the_same_commands(name: str) -> None:
    english = (ROOT / name if name == "README.md" else TUTORIAL).read_text(encoding="utf-8")
    korean = (ROOT / "docs" / "ko" / name).read_text(encoding="utf-8")
    shown = [[words for block in fenced(page, "sh") for words in commands(block)] for page in (english, korean)]
    assert shown[0] == shown[1]


@pytest.mark.slow
def test_the_tutorial_works_from_its_first_command_to_its_last(tmp_path: Path) -> None:
    place = tmp_path
    for block in fenced(TUTORIAL.read_text(encoding="utf-8"), "sh"):
        for words in commands(block):
            if words[0] == "cd":
                place = place / words[1]
            elif words[:2] == ["automl-car", "dashboard"]:
                answer_once(place)
            elif words[0] == "automl-car":
                run([*words[1:]], place)
            else:
                assert words[:2] == ["pip", "install"], f"the tutorial shows {words}"
            if words[:2] == ["automl-car", "init"]:
                (place / words[2] / "automl-car.yaml").write_text(SMALL, encoding="utf-8")
    made = ("submission.csv", "predictions.csv", "studies/main/report/report.html", "bundles/main/bundle.json")
    assert [name for name in made if not (place / name).is_file()] == []


def run(words: list[str], place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "automl_car", *words], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"automl-car {' '.join(words)}\n{done.stdout}{done.stderr}"


def answer_once(place: Path) -> None:
    """The dashboard runs until Ctrl-C: it has to answer once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "automl_car", "dashboard", "--port", str(port)]
    process = subprocess.Popen(words, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert answers(f"http://127.0.0.1:{port}/dashboard", until=time.monotonic() + 60)
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(url: str, *, until: float) -> bool:
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=5) as page:
                return page.status == 200
        except OSError:
            time.sleep(0.5)
    return False
