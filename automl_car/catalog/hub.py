"""Looks for weights in the local cache of the Hugging Face hub, without importing its library or using the network."""

from __future__ import annotations

import os
from pathlib import Path

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
