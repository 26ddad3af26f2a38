"""How much of a fold's wall time is the network's own: pure passes on data in memory over the real fold.

python benchmarks/efficiency.py [--backbone efficientnet_lite0] [--size 128] [--epochs 30]

The passes are those that the fold needs: forward and backward for each training batch, forward for the photo and its
mirror image of each validation and test row, of the sample photos. They are timed between the epochs of the fold, on
the same pictures again and again, computed in the way that the fold itself chose; that time is taken off the fold's.
The fold is real: photos come from the image cache, are augmented, mirrored and mixed; clipping, AdamW, the running
mean, validation and the fold store are in it. Features for the start of the last layer are in the cache, as for every
fold but a study's first.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.data.index import read_dataset
from automl_car.data.prepare import Prepared, prepare
from automl_car.data.sample import write_sample
from automl_car.fold_records import Epoch, FoldTask
from automl_car.records import Recipe
from automl_car.training import device as devices
from automl_car.training.fold import train_fold
from automl_car.training.optimizer import set_training_mode
from automl_car.training.step import Step, passes

BETWEEN = 4  # passes of each kind that are timed after each epoch


def main() -> None:
    """Train one fold, time its passes alone, and print the share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--augmentation", default="light")
    parser.add_argument("--weights", default="pretrained")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_sample(root / "data", seed=0)
        report(root, options)


def report(root: Path, options: argparse.Namespace) -> None:
    """Train fold 0 of 5 and print the ratio."""
    import torch

    device = devices.pick_device()
    devices.prepare(device)
    catalog = load_catalog()
    prepared = prepare(
        read_dataset(root / "data"),
        cache_directory=root / "cache",
        study_directory=root / "study",
        short_side=max(260, options.size),
        folds=5,
        seed=0,
    )
    recipe = make_recipe(options, catalog)
    # A fold of one epoch computes the features and chooses the step; later folds find that done.
    once = FoldTask(replace(recipe, epochs=1), "once", 1, root / "study", root / "cache")
    chosen = Step(**train_fold(once, catalog, prepared, lambda message: None).step)
    pure = PurePasses(recipe, chosen, prepared, catalog, device)
    task = FoldTask(recipe, recipe.id(prepared.folds), 0, root / "study", root / "cache")
    result = train_fold(task, catalog, prepared, pure.after_epoch)
    needed, fold = pure.seconds(len(result.curve)), result.seconds - pure.spent
    print(f"{options.backbone} at {options.size} px on {device}, {torch.get_num_threads()} threads, {chosen}")
    print(f"pure passes {needed:.1f} s, real fold {fold:.1f} s: training efficiency {needed / fold:.3f}")


def make_recipe(options: argparse.Namespace, catalog: Catalog) -> Recipe:
    """A fine-tuning with everything switched on."""
    params = catalog.augmentation(options.augmentation).params
    return Recipe(
        options.backbone,
        options.augmentation,
        image_size=options.size,
        epochs=options.epochs,
        learning_rate=1e-5,
        patience=0,
        mixup=0.25,
        cutmix=0.25,
        weights=options.weights,
        params=tuple((f"{options.augmentation}.{param.name}", param.default) for param in params),
    )


class PurePasses:
    """Times forward and backward, and forward alone, of one batch in memory."""

    def __init__(self, recipe: Recipe, chosen: Step, prepared: Prepared, catalog: Catalog, device: Any) -> None:
        import torch

        classes = prepared.dataset.num_classes
        self.model = catalog.backbone(recipe.backbone).build(classes, pretrained=False)
        self.network = passes(self.model, chosen, device)
        images = torch.rand(recipe.batch_size, 3, recipe.image_size, recipe.image_size, device=device)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.targets = torch.full((recipe.batch_size, classes), 1 / classes, device=device)
        self.recipe, self.prepared, self.device = recipe, prepared, device
        self.training: list[float] = []
        self.forward: list[float] = []
        self.spent = 0.0

    def after_epoch(self, message: Any) -> None:
        """Called by the fold; what it takes is not the fold's time."""
        import torch

        if not isinstance(message, Epoch):
            return
        began = time.perf_counter()
        set_training_mode(self.model, freeze_norm=self.recipe.freeze_norm)
        self.training.append(self._seconds(lambda: self.network.backward(self.images, self.targets)))
        self.model.eval()
        with torch.inference_mode():
            self.forward.append(self._seconds(lambda: self.network.forward(self.images)))
        self.spent += time.perf_counter() - began

    def seconds(self, epochs: int) -> float:
        """Of all passes that the fold needs."""
        size, folds = self.recipe.batch_size, self.prepared.folds
        steps = epochs * (len(folds.training_rows(0)) // size)
        # Validation rows are judged after each epoch, and once more in the end, when the test rows are.
        judged = (2 * epochs + self.recipe.views) * len(folds.validation_rows(0))
        judged += self.recipe.views * len(self.prepared.dataset.test_paths)
        return steps * statistics.fmean(self.training) + judged / size * statistics.fmean(self.forward)

    def _seconds(self, work: Callable[[], object]) -> float:
        work()
        self._wait()
        began = time.perf_counter()
        for _ in range(BETWEEN):
            work()
        self._wait()
        return (time.perf_counter() - began) / BETWEEN

    def _wait(self) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize()


if __name__ == "__main__":
    main()
