"""What a person points at, and which photos that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from automl_car.data.sources import Source, find_sources
from automl_car.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def ids(*paths: Path) -> list[str]:
    return [source.id for source in find_sources(paths)]


def test_a_photo_is_called_by_its_path_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "one.jpg")
    monkeypatch.chdir(tmp_path)
    assert list(find_sources([Path("one.jpg")])) == [Source("one.jpg", "one.jpg")]


def test_a_folder_gives_its_photos_by_name_with_those_of_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "in/b.png", "in/a.JPG", "in/z/c.jpg", "in/notes.txt", "in/.hidden.jpg", "in/.cache/d.jpg")
    monkeypatch.chdir(tmp_path)
    assert ids(Path("in")) == ["in/a.JPG", "in/b.png", "in/z/c.jpg"]


def test_a_csv_gives_its_ids_in_its_order_and_paths_from_its_own_folder(tmp_path: Path) -> None:
    touch(tmp_path, "test/1.jpg", "test/2.jpg")
    (tmp_path / "test.csv").write_text("\ufeffID,img_path\nT2,./test/2.jpg\n\nT1,test\\1.jpg\n", encoding="utf-8")
    assert list(find_sources([tmp_path / "test.csv"])) == [
        Source("T2", str(tmp_path / "test/2.jpg")),
        Source("T1", str(tmp_path / "test/1.jpg")),
    ]


def test_several_paths_follow_each_other(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "2.jpg")
    assert [Path(name).name for name in ids(tmp_path / "2.jpg", tmp_path / "a")] == ["2.jpg", "1.jpg"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nowhere", None, "There is no file or folder `"),
        ("empty", "", "There are no photos in `"),
        ("a.csv", "", "is empty; its first line should name the columns"),
        ("a.csv", "ID,label\n1,x\n", "has no column for the path of the photo"),
        ("a.csv", "ID,img_path\n1\n", "Row 1 of .* has 1 cells; the header has 2"),
        ("a.csv", 'ID,img_path\n1,"a\n', "is not a CSV file in UTF-8"),
        ("a.csv", "ID,img_path\n1,../a.jpg\n", "leads out of the data folder"),
    ],
)
def test_what_is_no_source_is_an_error(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None and name.endswith(".csv"):
        (tmp_path / name).write_text(text)
    elif text is not None:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=message):
        ids(tmp_path / name)
