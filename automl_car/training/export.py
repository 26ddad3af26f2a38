"""An `Exported` network as an ONNX file, and what a runtime makes of it.

torch's exporter traces the network once with a batch of two photos; number, height and width of photos stay free.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from automl_car.errors import BundleError, ConfigError
from automl_car.records import FloatArray
from automl_car.training.exported import Exported

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18  # what torch's exporter writes without converting; onnxruntime reads it since 1.14
_LARGEST = 2**31 - 1  # bytes of a protobuf message, which an ONNX file is
_EXAMPLE = (2, 61, 83, 3)  # all different, and none of them 1, so that torch takes none for fixed or for another


def require_onnx() -> None:
    """Refuse at once what would fail after minutes.

    Raises:
        ConfigError: a package that exporting needs is not installed.
    """
    try:
        for package in _PACKAGES:
            import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"ONNX files are written and checked by onnx, onnxscript and onnxruntime: {error}.",
            hint="pip install 'automl-car[onnx]'",
        ) from error


def export(network: Exported, path: Path, *, metadata: Mapping[str, str], about: str) -> None:
    """Write an ONNX file: input `photos` uint8 (N, H, W, 3), output `probabilities` float32 (N, C).

    Args:
        path: its folder must exist; an existing file is overwritten.
        metadata: of the file, by key.
        about: the file's doc_string.

    Raises:
        BundleError: a network cannot be exported, or all together are too large for one file.
    """
    size = sum(weights.nbytes for weights in network.state_dict().values())
    if size > _LARGEST:
        raise BundleError(
            f"The networks weigh {size / 1e9:.1f} GB, and an ONNX file holds no more than 2.1 GB.",
            hint="make a smaller bundle: `automl-car bundle --top-k 1`, or with a --budget-ms.",
        )
    with _silence():
        try:
            program = _trace(network.eval())
        except Exception as error:  # the networks are code of plugins, and the exporter's errors have no common class
            raise BundleError(
                f"The networks cannot be exported: {_reason(error)}",
                hint="a plugin whose `forward` depends on the values of its input has no ONNX form.",
            ) from error
        program.model.metadata_props.update(metadata)
        program.model.doc_string = about
        program.save(path, external_data=False)


def _reason(error: BaseException) -> str:
    """What went wrong first: the exporter wraps it in what it was doing."""
    while error.__cause__:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _trace(network: Exported) -> Any:
    with torch.no_grad():
        return torch.onnx.export(
            network,
            (torch.zeros(_EXAMPLE, dtype=torch.uint8),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["photos"],
            output_names=["probabilities"],
            dynamic_shapes={"photos": {0: "N", 1: "H", 2: "W"}},
            verbose=False,
        )


@contextmanager
def _silence() -> Iterator[None]:
    """torch's exporter and onnxscript tell their own developers things that no user can act on."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def run(path: Path, photos: Sequence[NDArray[np.uint8]]) -> FloatArray:
    """What onnxruntime makes of a file: probabilities (N, C) of photos uint8 (H, W, 3), one at a time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"photos": photo[None]})[0] for photo in photos]).astype(np.float64)
