"""What the plugin offers keeps the contract of automl-car."""

import automl_car_example
import pytest

from automl_car.contract import check_augmentation, check_backbone


@pytest.mark.parametrize("backbone", automl_car_example.register_backbones(), ids=lambda record: record.name)
def test_a_backbone_keeps_the_contract(backbone):
    check_backbone(backbone)


@pytest.mark.parametrize("augmentation", automl_car_example.register_augmentations(), ids=lambda record: record.name)
def test_an_augmentation_keeps_the_contract(augmentation):
    check_augmentation(augmentation)
