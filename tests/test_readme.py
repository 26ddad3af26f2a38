"""What the README shows must work as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from automl_car.contract import check_plugin_file

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
PLUGINS = [text for text in SNIPPETS if "hookimpl" in text]


def test_the_plugin_of_the_readme_keeps_the_contract(tmp_path: Path) -> None:
    (text,) = PLUGINS
    path = tmp_path / "shown.py"
    path.write_text(text, encoding="utf-8")
    assert check_plugin_file(path) == ("regnety_016",)


def test_the_test_command_is_where_ci_looks_for_it() -> None:
    (command,) = re.findall(r"<!-- test command -->\n```sh\n(.*?)\n```", README)
    assert command == 'pip install -e ".[dev]" && pytest'
