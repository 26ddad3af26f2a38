"""Rows 21, 22 and 24 of the fault matrix: whatever bytes a CSV holds, and whatever classes are called, the answer is
a table or a DataError that names the file; never another exception, and never a table that says something else.
"""

from __future__ import annotations

import csv
import io
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automl_car.data.classes import match_classes
from automl_car.data.folds import read_folds
from automl_car.data.index import read_dataset
from automl_car.data.sources import find_sources
from automl_car.data.tables import csv_line, read_table
from automl_car.data.testset import plain_form
from automl_car.ensemble.large_table import parse_large
from automl_car.ensemble.predictions import parse_table, read_form, read_predictions
from automl_car.ensemble.submission import write_in_form
from automl_car.ensemble.submission_check import find_problems
from automl_car.errors import DataError
from automl_car.records import Dataset

ANY_FILE = settings(max_examples=200, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
CSV_LIKE = st.text(st.sampled_from("ab,\"\n\r\t;'0.5e-\ufeff\0 =é"), max_size=60)
FORM = plain_form(("a", "b"), ("T0", "T1"))


def _answers(path: Path, data: bytes) -> int:
    """How many of the readers take the bytes for what they read."""
    path.write_bytes(data)
    dataset = Dataset(path.parent, ("a", "b"), ("0.jpg", "1.jpg"), (0, 1), (), (), None)
    readers: list[Callable[[], object]] = [
        lambda: read_table(path),
        lambda: read_predictions(path),
        lambda: read_form(path, read_predictions(path), (0, 1)),
        lambda: list(find_sources([path])),
        lambda: read_folds(path, dataset),
        lambda: read_dataset(path.parent, train=path.name),
        lambda: read_dataset(path.parent, test=path.name),
        lambda: read_dataset(path.parent, sample_submission=path.name),
    ]
    taken = 0
    for read in readers:
        try:
            read()
        except DataError as error:
            found = error
        else:
            taken += 1
            continue
        str(found).encode()  # it can be printed
    find_problems(data, str(path), FORM)
    return taken


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The place of a CSV, beside two classes of two photos."""
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for photo in range(2):
            (tmp_path / "train" / name / f"{photo}.jpg").touch()
    return tmp_path / "any.csv"


@ANY_FILE
@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_table_or_a_data_error(file: Path, data: bytes) -> None:
    _answers(file, data)


@ANY_FILE
@given(text=CSV_LIKE, head=st.sampled_from(["", "ID,a,b\n", "ID,img_path\r\n", "path,label\n", "\ufeffID,a,b\n"]))
def test_any_text_is_a_table_or_a_data_error(file: Path, text: str, head: str) -> None:
    _answers(file, (head + text).encode())


VALID = (
    b"ID,a,b\r\nT0,0.25,0.75\r\nT1,0.5,0.5\r\n",
    b"\xef\xbb\xbfID,img_path\nT0,train/a/0.jpg\nT1,./train/b/1.jpg\n",
    'path,label\ntrain/a/0.jpg,"니로, 2020"\ntrain/a/1.jpg,"two\nlines"\n'.encode(),
    b"path,label,fold,group,bytes\n0.jpg,a,0,0,12\n1.jpg,b,1,1,99\n",
)


PIECES = (b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"nan", b"1e999", b"-", b" ", b"_")


def _mutated(seed: int, valid: bytes = b"") -> bytes:
    dice = random.Random(seed)
    data = bytearray(valid or VALID[seed % len(VALID)])
    for _ in range(dice.randrange(1, 5)):
        place = dice.randrange(len(data) + 1)
        kind = dice.randrange(4)
        if kind == 0:
            data[place:place] = dice.choice(
                [b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"nan", b"1e999", b"-"]
            )
        elif kind == 1 and data:
            data[place % len(data)] ^= 1 << dice.randrange(8)
        elif kind == 2:
            del data[place : place + dice.randrange(1, 6)]
        else:
            data[place:place] = data[: dice.randrange(len(data) + 1)]
    return bytes(data)


def test_300_mutated_tables_are_tables_or_data_errors(file: Path) -> None:
    for seed in range(300):
        _answers(file, _mutated(seed))


@pytest.mark.slow
def test_10_000_mutated_tables_are_tables_or_data_errors(file: Path) -> None:
    taken = sum(_answers(file, _mutated(seed)) for seed in range(10_000))
    print(f"10,000 mutated tables for 8 readers: {taken} taken, {80_000 - taken} refused")


@pytest.mark.parametrize(
    "valid", [VALID[0], b'ID,"a\nx",b\nT0,0.25,0.75\n"T\n1",0.5,0.5\n', b'\xef\xbb\xbf"ID",a\r\n007,1\r\n']
)
def test_the_fast_reader_of_large_files_says_what_the_careful_one_says_or_nothing(valid: bytes) -> None:
    taken = 0
    for seed in range(400):
        content = _mutated(seed, valid) if seed else valid
        fast = parse_large(content)
        if fast is not None:
            slow = _careful(content)
            assert slow is not None, content
            assert (fast[0], fast[1]) == slow[:2], content
            np.testing.assert_array_equal(fast[2], slow[2])
            taken += 1
    assert taken > 10


def _careful(content: bytes) -> tuple[list[str], list[str], np.ndarray] | None:
    """Header, ids and numbers by Python's own reader; None where it refuses."""
    try:
        header, *rows = parse_table(content, "file")
        return header, [row[0] for row in rows], np.array([[float(cell) for cell in row[1:]] for row in rows])
    except ValueError:
        return None


# ---- names ----------------------------------------------------------------------------------------------------------


@ANY_FILE
@given(names=st.lists(TEXT, min_size=2, max_size=5, unique_by=lambda name: unicodedata.normalize("NFC", name)),
       ids=st.lists(TEXT, min_size=1, max_size=4, unique=True),
       newline=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())  # fmt: skip
def test_any_names_and_ids_go_from_the_sample_into_the_submission_byte_for_byte(
    tmp_path: Path, names: list[str], ids: list[str], newline: str, bom: bool
) -> None:
    lines = [csv_line(["ID", *names]), *(csv_line([name]) + ",0" * len(names) for name in ids), ""]
    sample = tmp_path / "sample.csv"
    sample.write_bytes((("\ufeff" if bom else "") + newline.join(lines)).encode())
    table = read_table(sample, keep=1)
    assert table.columns == ("ID", *names)
    assert [row[0] for row in table.rows] == ids
    form = plain_form(names, tuple(ids))
    assert form.header == table.header
    write_in_form(tmp_path / "submission.csv", np.full((len(ids), len(names)), 1 / len(names)), form)
    with (tmp_path / "submission.csv").open(newline="", encoding="utf-8") as submission:
        header, *rows = csv.reader(submission, strict=True)
    assert header == ["ID", *names]
    assert [row[0] for row in rows] == ids


@given(labels=st.sets(TEXT, max_size=5), columns=st.none() | st.lists(TEXT, max_size=5),
       aliases=st.dictionaries(TEXT, TEXT, max_size=2))  # fmt: skip
def test_any_names_of_classes_are_matched_or_a_data_error(
    labels: set[str], columns: list[str] | None, aliases: dict[str, str]
) -> None:
    composed = {unicodedata.normalize("NFC", label) for label in labels}
    try:
        found = match_classes(composed, columns, aliases)
    except DataError:
        return
    assert set(found.index) >= composed
    assert len(set(found.names)) == len(found.names)
    assert all(0 <= index < len(found.names) for index in found.index.values())


@given(rows=st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=5))
def test_any_cells_are_read_back_exactly(rows: list[list[str]]) -> None:
    text = "\n".join([*map(csv_line, rows), ""])
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == rows
