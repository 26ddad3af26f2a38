"""Exchanges in a folder and in memory."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from automl_car.exchange import bucket as buckets
from automl_car.exchange.bucket import Bucket, open_bucket


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "PAUSES", (0.0, 0.0))


@pytest.fixture(params=["file", "memory"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    """An empty exchange."""
    name = uuid.uuid4().hex
    opened = open_bucket(f"memory://{name}" if request.param == "memory" else f"file://{tmp_path}/exchange")
    yield opened
    opened.remove("data")
    opened.remove("folds")
