from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from automl_car.catalog.hub import find_in_hub_cache


def put(cache: Path, name: str, *, commit: str = "abc", main: str | None = "abc") -> Path:
    """Lay a file of `timm/net` into a cache, as the hub's library does."""
    folder = cache / "models--timm--net"
    file = folder / "snapshots" / commit / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"tensors")
    if main is not None:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(main)
    return file


def test_the_weights_of_the_commit_that_main_names_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    put(tmp_path, "model.safetensors", commit="zzz", main=None)
    wanted = put(tmp_path, "model.safetensors", commit="abc")
    assert find_in_hub_cache("timm/net") == wanted


def test_a_download_that_main_does_not_name_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    put(tmp_path, "model.safetensors", commit="abc", main="def")
    assert find_in_hub_cache("timm/net") is None


def test_safetensors_come_before_a_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    pickle = put(tmp_path, "pytorch_model.bin")
    assert find_in_hub_cache("timm/net") == pickle
    safe = put(tmp_path, "model.safetensors")
    assert find_in_hub_cache("timm/net") == safe


def test_a_link_to_a_blob_that_was_never_downloaded_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    file = put(tmp_path, "model.safetensors")
    file.unlink()
    file.symlink_to("../../blobs/missing")
    assert find_in_hub_cache("timm/net") is None


def test_without_a_cache_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "missing"))
    assert find_in_hub_cache("timm/net") is None


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"HF_HOME": "{tmp}/home"},
        {"HF_HOME": "~/elsewhere"},
        {"XDG_CACHE_HOME": "{tmp}/xdg"},
        {"HF_HOME": "{tmp}/home", "HF_HUB_CACHE": "$HF_HOME/of/its/own"},
    ],
    ids=["nothing", "HF_HOME", "a tilde", "XDG_CACHE_HOME", "HF_HUB_CACHE"],
)
def test_the_cache_is_where_the_hubs_own_library_looks(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    # The library reads the environment when it is imported, so its module of constants runs in a process of its own.
    ask = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    answer = subprocess.run([sys.executable, "-c", ask], env=os.environ, check=True, capture_output=True, text=True)
    wanted = put(Path(answer.stdout.strip()), "model.safetensors")
    assert find_in_hub_cache("timm/net") == wanted
