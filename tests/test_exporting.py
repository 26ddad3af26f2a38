"""From a bundle to an ONNX file, which onnxruntime runs: tiny networks with weights that were drawn, not trained."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

import automl_car
from automl_car import exporting
from automl_car.bundle_records import BundleMember, BundleNetwork, Sight
from automl_car.catalog.manager import Catalog, load_catalog
from automl_car.catalog.records import PluginSources
from automl_car.ensemble.bundle import Bundle, Measured
from automl_car.ensemble.bundle_files import write_files, write_manifest
from automl_car.errors import BundleError, ConfigError
from automl_car.predicting import Model
from automl_car.records import SubmissionFormat
from automl_car.training.checkpoint import to_safetensors
from automl_car.training.model import feature_extractor

NAMES = ("van", "쏘나타", "K5")  # in no order of the alphabet
HEAD = BundleMember(
    name="trial 1",
    weight=0.6,
    temperature=0.9,
    networks=(BundleNetwork("weights/frozen.safetensors", "toy"),),
    head="weights/head.safetensors",
    image_size=16,
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    interpolation="bicubic",
    views=3,
    flip=True,
    power=0.5,
)
FULL = BundleMember(
    name="trial 2",
    weight=0.4,
    temperature=1.2,
    networks=(BundleNetwork("weights/full-1.safetensors", "toy"), BundleNetwork("weights/full-2.safetensors", "toy")),
    head="",
    image_size=24,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    interpolation="bilinear",
    views=2,
    flip=True,
    power=1.0,
)
BESIDE = replace(
    HEAD,
    name="trial 3",
    weight=0.3,
    networks=(
        replace(HEAD.networks[0], sight=Sight(16, HEAD.mean, HEAD.std, "bicubic")),
        BundleNetwork("weights/beside.safetensors", "toy_large", sight=Sight(32, FULL.mean, FULL.std, "bilinear")),
    ),
    head="weights/beside-head.safetensors",
    image_size=32,
)
BUNDLE = Bundle(
    study="main",
    class_names=NAMES,
    class_shares=(0.2, 0.3, 0.5),
    form=SubmissionFormat("ID," + ",".join(NAMES), NAMES, (0, 1, 2), ()),
    members=(replace(HEAD, weight=0.3), FULL, BESIDE),
    pool="arithmetic",
    temperature=0.8,
    uniform=0.001,
    short_side=100,
    plugins=(),
    measured=Measured(0.5, 0.01, 100, "photos"),
    versions={"automl-car": "0.1.0"},
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, toy_plugin_text: str) -> PluginSources:
    plugin = tmp_path_factory.mktemp("plugin") / "toy_networks.py"
    plugin.write_text(toy_plugin_text)
    return PluginSources(files=(plugin,))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, sources: PluginSources) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_manifest(folder, BUNDLE, write_files(folder, _weights(load_catalog(sources)).items()))
    return folder


def _weights(catalog: Catalog) -> dict[str, bytes]:
    """Large ones in the last layer, so that photos get probabilities far apart."""
    torch.manual_seed(0)
    networks = [catalog.backbone("toy").build(3, pretrained=False) for _ in range(3)]
    beside = catalog.backbone("toy_large").build(3, pretrained=False)
    for network in networks:
        network[-1].weight.data *= 20
    return {
        "weights/frozen.safetensors": to_safetensors(feature_extractor(networks[0], 3).state_dict()),
        "weights/head.safetensors": to_safetensors({"weight": 5 * torch.randn(3, 12), "bias": torch.randn(3)}),
        "weights/beside.safetensors": to_safetensors(feature_extractor(beside, 3).state_dict()),
        "weights/beside-head.safetensors": to_safetensors({"weight": torch.randn(3, 24), "bias": torch.randn(3)}),
        "weights/full-1.safetensors": to_safetensors(networks[1].state_dict()),
        "weights/full-2.safetensors": to_safetensors(networks[2].state_dict()),
    }


@pytest.fixture(scope="module")
def made(bundle: Path, sources: PluginSources, tmp_path_factory: pytest.TempPathFactory) -> exporting.ExportedFile:
    return exporting.export(bundle, tmp_path_factory.mktemp("onnx") / "model.onnx", sources=sources)


@pytest.fixture(scope="module")
def session(made: exporting.ExportedFile) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(made.output, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def model(bundle: Path, sources: PluginSources) -> Model:
    return automl_car.load(bundle, plugins=sources.files)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(61, 90), (20, 12)])
def test_it_says_what_the_bundle_says(
    session: onnxruntime.InferenceSession, model: Model, count: int, height: int, width: int
) -> None:
    photos = np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)
    photos[:, : height // 2, :, 0] = 255  # left and right, and the middle and the whole, must not be alike
    photos[:, :, : width // 3, 1] = 0
    (ours,) = session.run(["probabilities"], {"photos": photos})
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(ours, model.predict(photos), atol=1e-3)


def test_photos_are_told_apart(session: onnxruntime.InferenceSession) -> None:
    black, white = (np.full((1, 30, 40, 3), value, np.uint8) for value in (0, 255))
    difference = session.run(None, {"photos": black})[0] - session.run(None, {"photos": white})[0]
    assert np.abs(difference).max() > 0.1


def test_it_holds_the_names_of_the_classes_in_their_order(session: onnxruntime.InferenceSession) -> None:
    known = session.get_modelmeta()
    assert json.loads(known.custom_metadata_map["class_names"]) == list(NAMES)
    assert known.custom_metadata_map["study"] == "main"
    assert known.custom_metadata_map["automl_car"] == "0.1.0"
    assert float(known.custom_metadata_map["log_loss"]) == 0.5
    assert "longer than 100 pixels" in known.description


def test_it_is_one_file_and_tells_what_it_was_checked_with(made: exporting.ExportedFile) -> None:
    assert [path.name for path in made.output.parent.iterdir()] == ["model.onnx"]
    assert made.size == made.output.stat().st_size
    assert made.photos == 3
    assert made.difference <= 1e-3


def test_a_file_that_says_something_else_is_not_kept(
    bundle: Path, sources: PluginSources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "model.onnx"
    output.write_text("the old one")
    monkeypatch.setattr("automl_car.training.export.export", lambda network, path, **told: path.write_text("new"))
    monkeypatch.setattr("automl_car.training.export.run", lambda path, photos: np.full((len(photos), 3), np.nan))
    with pytest.raises(BundleError, match="differs from the bundle by nan"):
        exporting.export(bundle, output, sources=sources)
    assert output.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_without_its_packages_the_hint_names_the_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=package) as error:
        exporting.export(tmp_path, tmp_path / "model.onnx", sources=PluginSources())
    assert error.value.hint == "pip install 'automl-car[onnx]'"


def test_networks_too_large_for_one_file_are_refused(tmp_path: Path) -> None:
    from automl_car.training.export import export

    network = SimpleNamespace(state_dict=lambda: {"weight": torch.empty(700_000_000, device="meta")})
    with pytest.raises(BundleError, match=r"weigh 2\.8 GB"):
        export(network, tmp_path / "model.onnx", metadata={}, about="")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["model.pt", "missing/model.onnx"])
def test_a_file_that_cannot_be_written_is_refused_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        exporting.export(tmp_path, tmp_path / name, sources=PluginSources())
