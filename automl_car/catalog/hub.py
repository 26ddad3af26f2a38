"""Looks for weights in the local cache of the Hugging Face hub, without importing its library or using the network."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from automl_car.errors import WeightsError

FILES = ("model.safetensors", "pytorch_model.bin")  # in the order that timm tries them


def find_in_hub_cache(repository: str) -> Path | None:
    """The weights file of `repository` (such as `timm/resnet50.a1_in1k`) in the local cache, or None.

    It is the file that the hub's library would load without a network: of the commit that `refs/main` names.
    Layout: huggingface.co/docs/huggingface_hub/guides/manage-cache.
    """
    folder = _cache() / f"models--{repository.replace('/', '--')}"
    main = folder / "refs" / "main"
    if not main.is_file():
        return None
    snapshot = folder / "snapshots" / main.read_text().strip()
    return next((snapshot / name for name in FILES if (snapshot / name).is_file()), None)


def _cache() -> Path:
    """`$HF_HUB_CACHE`, else `$HF_HOME/hub`, else `huggingface/hub` in `$XDG_CACHE_HOME` or `~/.cache`."""
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{caches}/huggingface")
    return Path(os.path.expandvars(os.environ.get("HF_HUB_CACHE", f"{home}/hub"))).expanduser()


def repository_of(find_weights: Callable[[], Path | None] | None) -> str | None:
    """The repository of the hub that weights come from, where `find_in_hub_cache` looks for them."""
    if isinstance(find_weights, partial) and find_weights.func is find_in_hub_cache and find_weights.args:
        return str(find_weights.args[0])
    return None


@contextmanager
def offline() -> Iterator[None]:
    """Let the hub's library use its cache alone: for a file that is there it would ask whether there is a newer one."""
    constants: Any = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def require_undamaged(file: Path) -> None:
    """Raise WeightsError if a file of the hub's cache is not what its name says; once per file and process.

    The cache names files of weights by their sha256. Other files are taken as they are.
    """
    blob = file.resolve()
    if len(blob.name) == 64 and set(blob.name) <= set("0123456789abcdef"):
        _compare(file, blob, blob.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _compare(file: Path, blob: Path, changed: int) -> None:
    with blob.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != blob.name:
        raise WeightsError(
            f"The weights `{file}` are damaged, or were not downloaded to their end: their sha256 is {digest[:12]}…, "
            f"and should be {blob.name[:12]}….",
            hint=f"remove `{blob}`, and fetch it again or put the whole file in its place.",
        )
