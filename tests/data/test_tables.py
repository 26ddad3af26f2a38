from __future__ import annotations

from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_car.data.tables import Table, relative_path
from automl_car.errors import DataError

TABLE = Table(Path("train.csv"), "", (), (), bom=False, newline="\n")


@given(st.text(alphabet="ab가. /\\:-\n", max_size=12))
def test_a_path_is_the_one_that_windows_would_take_it_for(cell: str) -> None:
    expected = PureWindowsPath(cell.strip())
    if expected.anchor or ".." in expected.parts:
        with pytest.raises(DataError, match="leads out of the data folder"):
            relative_path(cell, TABLE)
    else:
        assert relative_path(cell, TABLE) == expected.as_posix()
