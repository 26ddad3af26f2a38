"""Row 27 of the fault matrix: whatever stands in automl-car.yaml gives settings or a ConfigError with its line."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automl_car.config import Config, load_config
from automl_car.errors import ConfigError

ANY_FILE = settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _load(folder: Path, data: bytes) -> Config | ConfigError:
    path = folder / "automl-car.yaml"
    path.write_bytes(data)
    try:
        return load_config(path)
    except ConfigError as error:
        found = error
    assert str(path) in str(found)
    str(found).encode()  # it can be printed
    return found


def _refused(folder: Path, data: bytes) -> str:
    found = _load(folder, data)
    assert isinstance(found, ConfigError), found
    return found.message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("search:\n  trials: !!python/object/apply:os.system ['true']\n", 2),
        ("search:\n  study: !!python/name:os.system\n", 2),
        ("search: !!python/object:subprocess.Popen {args: true}\n", 1),
        ("search:\n  trials: 5\n\nsearch:\n  trials: 6\n", 4),
        ("search:\n  trials: 5\n  trials: 6\n", 3),
        (f"search:\n  trials: 1{'0' * 2000}\n", 2),
        ("search:\n  trials: 1" + "0" * 900 + "\n", 2),
        ("search:\n  trials: 1e999\n", 2),
        ("search:\n  seed: 0x" + "f" * 900 + "\n", 2),
        ("search:\n  timeout: " + "9" * 400 + "d\n", 2),
        ("space:\n  mixup: .nan\n", 2),
        ("space:\n  power: [0.1, .inf]\n", 2),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", 2),
        ("search:\n  <<: *missing\n", 2),
        ("search:\n  trails: 5\n", 2),
        ("serach:\n  trials: 5\n", 1),
        ("search:\n  trials: [5]\n", 2),
        ("search:\n  trials: {a: b}\n", 2),
        ("search:\n  study: ../../etc\n", 2),
        ("search:\n  ? [a, b]\n  : 5\n", 2),
        ("search:\n  trials: 5\n\tseed: 1\n", 3),
        ("search:\n  trials: 'never closed\n", 3),
        ("search: [\n", 2),
        ("--- a: b\n--- c: d\n", 1),
        ("search:\n  study: \x00\n", 2),
        ("search:\n  study: \x1b[31m\n", 2),
        ("search:\n  trials: 2024-13-45\n", 2),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    message = _refused(tmp_path, text.encode())
    assert f"line {line}" in message, message


def test_billions_of_laughs_are_refused_at_once_and_in_little_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 30)]
    assert "line 2" in _measured(tmp_path, "\n".join(lines).encode())


LONG = {
    "lists in lists": b"[" * 5_000,
    "mappings in mappings": b"a: {" * 5_000,
    "entries in entries": b"- " * 5_000,
    "keys that are keys": b"? " * 3_000,
    "indentation": b"".join(b" " * depth + b"a:\n" for depth in range(600)),
    "a value": b"a: " + b"x" * 190_000,
    "a quoted value": b"a: '" + b"y" * 190_000,
    "a comment": b"# " + b"z" * 190_000,
    "empty lines": b"\n" * 190_000,
    "a list": b"- a\n" * 20_000,
    "unknown settings": b"".join(b"k%d: 1\n" % key for key in range(9_000)),
    "a tag": b"!" * 100_000,
    "directives": b"%TAG ! tag:a\n" * 1_000,
    "anchors": b"&a " * 30_000,
    "another file": b"x" * 2_000_000,
}


@pytest.mark.parametrize("what", LONG)
def test_long_and_deep_files_end_soon_and_in_little_memory(tmp_path: Path, what: str) -> None:
    _measured(tmp_path, LONG[what])


def _measured(folder: Path, data: bytes) -> str:
    """The message, after a look at time and memory of the process."""
    before, began = _peak_kilobytes(), time.process_time()
    found = _load(folder, data)
    assert time.process_time() - began < 10
    assert _peak_kilobytes() - before < 200_000
    return found.message if isinstance(found, ConfigError) else ""


def _peak_kilobytes() -> int:
    resource = pytest.importorskip("resource", reason="Windows does not tell")
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "cp949", "latin-1"])
def test_another_encoding_is_refused_by_name(tmp_path: Path, encoding: str) -> None:
    text = "search: {study: é}\n" if encoding == "latin-1" else "search: {study: 니로}\n"
    assert "is not UTF-8" in _refused(tmp_path, text.encode(encoding))


def test_a_byte_order_mark_is_no_part_of_the_first_setting(tmp_path: Path) -> None:
    found = _load(tmp_path, b"\xef\xbb\xbfsearch: {trials: 7}\r\n")
    assert isinstance(found, Config)
    assert found.search.trials == 7


@ANY_FILE
@given(data=st.binary(max_size=400))
def test_any_bytes_give_settings_or_a_config_error(tmp_path: Path, data: bytes) -> None:
    _load(tmp_path, data)


@ANY_FILE
@given(text=st.text(max_size=200))
def test_any_text_gives_settings_or_a_config_error(tmp_path: Path, text: str) -> None:
    _load(tmp_path, text.encode("utf-8", "surrogatepass"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.dates() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
KEYS = [(section, name) for section, group in Config() for name in type(group).model_fields]


@ANY_FILE
@given(key=st.sampled_from(KEYS), value=VALUES)
def test_any_value_of_any_setting_is_taken_or_refused(tmp_path: Path, key: tuple[str, str], value: object) -> None:
    section, name = key
    _load(tmp_path, yaml.safe_dump({section: {name: value}}, allow_unicode=True).encode())


@ANY_FILE
@given(value=VALUES)
def test_any_document_is_taken_or_refused(tmp_path: Path, value: object) -> None:
    _load(tmp_path, yaml.safe_dump(value, allow_unicode=True).encode())


ODD = ("1e9", "0o9", "1:30:00", "null", "0b", "-.inf", "2024-01-01T", "!!int x", "0x", "._", "=", "<<", "2024-02-31")


def _mutated(seed: int, text: str) -> bytes:
    """A valid file after a few changes: of characters that mean something in YAML, of lines, of indentation."""
    dice = random.Random(seed)
    lines = text.splitlines()
    for _ in range(dice.randrange(1, 6)):
        row = dice.randrange(len(lines))
        place = dice.randrange(len(lines[row]) + 1)
        kind = dice.randrange(5)
        if kind == 0:
            mark = dice.choice(":-?[]{},&*!|>'\"%@`#\t\0 \x85\u2028\ufeff<=~")
            lines[row] = lines[row][:place] + mark + lines[row][place:]
        elif kind == 1:
            lines.insert(row, lines[dice.randrange(len(lines))])
        elif kind == 2:
            lines[row] = " " * dice.randrange(4) + lines[row].lstrip()
        elif kind == 3:
            lines[row] = re.sub(r":.*", ": " + dice.choice(ODD), lines[row])
        else:
            lines[row] = lines[row][:place]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _whole() -> str:
    return yaml.safe_dump(json.loads(Config().model_dump_json()), sort_keys=False)


def test_mutated_settings_give_settings_or_a_config_error(tmp_path: Path) -> None:
    text = _whole()
    assert isinstance(_load(tmp_path, text.encode()), Config)
    for seed in range(150):
        _load(tmp_path, _mutated(seed, text))


@pytest.mark.slow
def test_10_000_mutated_settings_give_settings_or_a_config_error(tmp_path: Path) -> None:
    text, taken = _whole(), 0
    for seed in range(10_000):
        taken += isinstance(_load(tmp_path, _mutated(seed, text)), Config)
    print(f"10,000 mutated settings: {taken} taken, {10_000 - taken} refused")
