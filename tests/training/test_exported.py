"""A bundle in tensors alone, against the code that predicts with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from automl_car.ensemble.calibration import Calibration
from automl_car.ensemble.fitting import FittedPool, predict
from automl_car.ensemble.pool import PoolKind
from automl_car.training.exported import Pooling, pool, squeeze
from automl_car.training.photos import evaluation_picture
from automl_car.training.squares import Square
from automl_car.training.views import cut

SIZES = [(33, 47), (64, 64), (101, 200), (7, 10), (45, 25), (1, 9)]


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("side", [1.0, 0.85, 0.7])
@pytest.mark.parametrize("image_size", [16, 64])
def test_two_matrices_squeeze_as_torch_does(image_size: int, side: float, interpolation: str) -> None:
    random = np.random.default_rng(0)
    for height, width in SIZES:
        noise = random.integers(0, 256, (height, width, 3), np.uint8)
        edges = (noise > 127).astype(np.uint8) * 255
        ours = squeeze(torch.from_numpy(np.stack([noise, edges])), Square(image_size, interpolation, side)).numpy()
        for photo, square in zip((noise, edges), ours, strict=True):
            expected = evaluation_picture(cut(photo, side), image_size, interpolation)
            assert np.abs(square - expected).max() <= 1, (height, width)


@pytest.mark.parametrize("side", [0.6, 0.7, 0.78, 0.85, 0.92, 1.0])
def test_the_middle_begins_and_ends_where_the_cut_does(side: float) -> None:
    for length in range(1, 120):
        line = np.arange(length, dtype=np.uint8)
        kept = cut(np.repeat(line[None, :, None], 3, 2).copy(), side)[0, :, 0]
        photo = torch.from_numpy(np.tile(line[None, None, :, None], (1, length, 1, 3)))
        square = squeeze(photo, Square(len(kept), "bilinear", side))  # of the size of the middle: nothing is squeezed
        np.testing.assert_array_equal(square[0, 0, :, 0].numpy(), kept)


@pytest.mark.parametrize("kind", ["arithmetic", "geometric"])
def test_members_are_pooled_and_calibrated_as_in_float64(kind: PoolKind) -> None:
    random = np.random.default_rng(0)
    logits = [random.normal(0, 30, (50, 4)).astype(np.float32) for _ in range(3)]  # some probabilities vanish
    fitted = FittedPool((0, 1, 2), (0.5, 1.0, 2.0), kind, (0.5, 0.3, 0.2), Calibration(0.8, 1e-6))
    pooling = Pooling(fitted.temperatures, fitted.weights, kind == "geometric", 0.8, 1e-6)
    ours = pool([torch.from_numpy(values) for values in logits], pooling).numpy()
    np.testing.assert_allclose(ours, predict(fitted, logits), atol=1e-5)
