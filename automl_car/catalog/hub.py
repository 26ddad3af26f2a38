"""Looks for weights in the local cache of the Hugging Face hub, without importing its library or using the network."""

from __future__ import annotations

import os
from pathlib import Path


def find_in_hub_cache(repository: str) -> Path | None:
    """The weights file of `repository` (such as `timm/resnet50.a1_in1k`) in the local cache, or None.

    The cache lies in `$HF_HUB_CACHE`, else `$HF_HOME/hub`, else `~/.cache/huggingface/hub`; its layout is
    documented at huggingface.co/docs/huggingface_hub/guides/manage-cache.
    """
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    snapshots = cache / f"models--{repository.replace('/', '--')}" / "snapshots"
    for name in ("model.safetensors", "pytorch_model.bin"):
        files = sorted(snapshots.glob(f"*/{name}"))
        if files:
            return files[-1]
    return None
