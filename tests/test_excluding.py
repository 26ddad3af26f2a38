"""data.exclude with a CSV file: what a report wrote, and what a person edited, leaves photos out."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from automl_car.config import Config
from automl_car.data.cells import csv_text
from automl_car.errors import DataError
from automl_car.pipeline.excluding import excluded_photos
from automl_car.pipeline.reading import read_photos
from automl_car.records import Dataset
from automl_car.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two classes of four photos; one class has a name that a spreadsheet would run."""
    for name in ("=1+1", "van"):
        for number in range(4):
            path = tmp_path / "data" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(path)
    return Workspace(tmp_path)


def read(workspace: Workspace, *exclude: str) -> Dataset:
    config = Config.model_validate({"data": {"exclude": exclude}})
    return read_photos(workspace, config, sample=False, view=None)  # type: ignore[arg-type]


def test_photos_of_the_column_path_are_left_out_also_where_their_cell_was_defused(workspace: Workspace) -> None:
    (workspace.root / "bad.csv").write_text(csv_text(("rank", "path"), [(1, "=1+1/2.jpg"), (2, "van/0.jpg")]))
    assert "'=1+1/2.jpg" in (workspace.root / "bad.csv").read_text()
    paths = read(workspace, "bad.csv").train_paths
    assert len(paths) == 6
    assert not {"=1+1/2.jpg", "van/0.jpg"} & set(paths)


def test_files_and_photos_may_stand_side_by_side(workspace: Workspace) -> None:
    (workspace.root / "bad.csv").write_text("path\nvan/0.jpg\n")
    assert len(read(workspace, "bad.csv", "van/1.jpg").train_paths) == 6


def test_what_a_spreadsheet_does_to_a_file_is_no_obstacle(workspace: Workspace) -> None:
    (workspace.root / "bad.csv").write_bytes(b"\xef\xbb\xbfPath,label\r\nvan\\0.jpg,van\r\n,\r\nvan/0.jpg,van\r\n")
    assert excluded_photos(workspace.root, ["bad.csv"]) == {"van/0.jpg": "bad.csv"}


def test_a_file_without_a_line_leaves_nothing_out(workspace: Workspace) -> None:
    (workspace.root / "bad.csv").write_text("path\n")
    assert len(read(workspace, "bad.csv").train_paths) == 8


def test_a_file_that_is_missing_is_an_error_that_says_where_it_was_looked_for(workspace: Workspace) -> None:
    with pytest.raises(DataError, match=r"names `no\.csv`, but there is no file .*no\.csv") as error:
        read(workspace, "no.csv")
    assert "relative to the workspace" in str(error.value.hint)


def test_a_file_without_the_column_is_an_error_that_lists_its_columns(workspace: Workspace) -> None:
    (workspace.root / "bad.csv").write_text("rank,label\n1,van\n")
    with pytest.raises(DataError, match=r"bad\.csv has no column for the path .* `rank`, `label`"):
        read(workspace, "bad.csv")


def test_a_photo_that_is_not_there_is_an_error_with_the_file_that_lists_it(workspace: Workspace) -> None:
    (workspace.root / "bad.csv").write_text("path\nvan/0.jpg\nvan/7.jpg\n")
    with pytest.raises(DataError, match=r"1 of 2 entries .*: `van/7\.jpg` of bad\.csv \(did you mean"):
        read(workspace, "bad.csv")


def test_a_path_that_leads_out_of_the_data_folder_is_an_error(workspace: Workspace) -> None:
    (workspace.root / "bad.csv").write_text("path\n../van/0.jpg\n")
    with pytest.raises(DataError, match="leads out of the data folder"):
        read(workspace, "bad.csv")
