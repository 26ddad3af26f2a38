"""Fine-tunes the whole network on one fold, starting its last layer from the frozen features."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch

from automl_car.catalog.records import own_values
from automl_car.records import Epoch
from automl_car.training.augment import build_transform
from automl_car.training.full import Split, fine_tune
from automl_car.training.head import LinearHead, fit_discriminant
from automl_car.training.inference import predict_logits
from automl_car.training.model import build_model
from automl_car.training.photos import pick_workers
from automl_car.training.work import Trained, Work

# Of the covariance behind the start of fine-tuning. Much more than for a head that stays: the start must also suit
# augmented photos, and features that are about to move.
_START_SHRINKAGE = 0.9


def tune_full(work: Work) -> Generator[Epoch, None, Trained]:
    """Fine-tune the network of one fold, yielding each epoch; see `full.fine_tune`."""
    recipe, dataset = work.task.recipe, work.prepared.dataset
    start = _start_of_head(work) if recipe.weights != "random" else None
    # Seeded here and not before: computing features draws random numbers, and finding them in the cache does not.
    torch.manual_seed(recipe.seed * 1000 + work.task.fold)
    model = build_model(work.backbone, recipe, work.num_classes)
    model = model.to(work.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    augmentation = work.catalog.augmentation(recipe.augmentation)
    best = yield from fine_tune(
        model,
        start,
        recipe,
        work.backbone,
        build_transform(augmentation, recipe.image_size, own_values(augmentation.name, dict(recipe.params))),
        Split(work.prepared.train_image, dataset.labels, work.training, work.validation),
        work.num_classes,
        device=work.device,
        workers=pick_workers(work.task.workers, work.device),
        check=work.clock.start().check,
    )
    model.load_state_dict(best.state)
    test = work.no_logits()
    if dataset.test_paths:
        test = predict_logits(
            model,
            work.prepared.test_image,
            range(len(dataset.test_paths)),
            backbone=work.backbone,
            image_size=recipe.image_size,
            batch_size=recipe.batch_size,
            flip=recipe.flip,
            device=work.device,
        )
    return Trained(best.logits, work.prepared.fill_test(test), best.state, best.images_per_second)


def _start_of_head(work: Work) -> LinearHead:
    labels = torch.from_numpy(np.asarray(work.prepared.dataset.labels)[work.training])
    plain = torch.from_numpy(work.features().train[:, work.training].astype(np.float32))
    return fit_discriminant(plain, labels, work.num_classes, _START_SHRINKAGE)
