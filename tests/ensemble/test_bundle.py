"""A bundle on disk: what was written is read, and what was changed is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from automl_car.bundle_records import BundleMember, BundleNetwork
from automl_car.ensemble.bundle import Bundle, BundlePlugin, Measured
from automl_car.ensemble.bundle_files import BundleFiles, newest_bundle, read_bundle, write_files, write_manifest
from automl_car.ensemble.bundle_readme import bundle_readme
from automl_car.errors import BundleError
from automl_car.records import SubmissionFormat

MEMBER = BundleMember(
    name="trial 3",
    weight=1.0,
    temperature=0.9,
    networks=(BundleNetwork("weights/toy-1.safetensors", "toy", (("drop_path", 0.1), ("width", 8))),),
    head="weights/trial-3-head.safetensors",
    image_size=16,
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    interpolation="bicubic",
    views=2,
    flip=True,
    power=0.5,
)
BUNDLE = Bundle(
    study="main",
    class_names=("K5", "쏘나타"),
    class_shares=(0.25, 0.75),
    form=SubmissionFormat("ID,쏘나타,K5", ("쏘나타", "K5"), (1, 0), (), bom=True),
    members=(MEMBER,),
    pool="geometric",
    temperature=0.8,
    uniform=0.001,
    short_side=32,
    plugins=(BundlePlugin("toy_networks", "file", "toy_networks.py", "1234abcd", ("toy",), "plugins/toy_networks.py"),),
    measured=Measured(0.5, 0.01, 100, "photos", note="trial 3 has 2 of 4 folds"),
    versions={"torch": "2.10"},
)
FILES = {
    "weights/toy-1.safetensors": b"weights",
    "weights/trial-3-head.safetensors": b"head",
    "plugins/toy_networks.py": b"# code",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bundles" / "main"
    path.mkdir(parents=True)
    write_manifest(path, BUNDLE, write_files(path, FILES.items()))
    return path


def test_what_was_written_is_read(folder: Path) -> None:
    bundle, files = read_bundle(folder)
    assert bundle == BUNDLE
    assert {name: files.read(name) for name in FILES} == FILES


def test_the_record_says_which_format_it_has_and_how_good_the_bundle_is(folder: Path) -> None:
    values = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    assert values["format"] == 1
    assert values["measured"]["interval"] == pytest.approx(0.0196)
    assert set(values["sha256"]) == set(FILES)


def test_a_changed_file_is_refused_when_it_is_read(folder: Path) -> None:
    (folder / "weights/toy-1.safetensors").write_bytes(b"Weights")
    _, files = read_bundle(folder)
    with pytest.raises(BundleError, match=r"toy-1.safetensors` does not match its checksum"):
        files.read("weights/toy-1.safetensors")


def test_a_changed_copy_of_a_plugin_is_refused_at_once(folder: Path) -> None:
    (folder / "plugins/toy_networks.py").write_bytes(b"# other code")
    with pytest.raises(BundleError, match="does not match its checksum"):
        read_bundle(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "weights/toy-1.safetensors").unlink()
    _, files = read_bundle(folder)
    with pytest.raises(BundleError, match=r"toy-1.safetensors` cannot be read: No such file"):
        files.read("weights/toy-1.safetensors")


def test_a_changed_number_in_the_record_is_noticed(folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"temperature": 0.8', '"temperature": 0.7'), "utf-8")
    with pytest.raises(BundleError, match="does not match its own fingerprint"):
        read_bundle(folder)


def test_another_format_is_refused_with_its_number(folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"format": 1', '"format": 2'), "utf-8")
    with pytest.raises(BundleError, match="has format 2; this version of automl-car reads 1"):
        read_bundle(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}'])
def test_what_is_no_record_is_refused(folder: Path, text: str) -> None:
    (folder / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match=r"bundle.json` is n"):
        read_bundle(folder)


def test_a_folder_without_a_record_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle") as error:
        read_bundle(tmp_path)
    assert "automl-car bundle" in str(error.value.hint)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "weights/../../secret"])
def test_a_name_that_leads_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(BundleError, match="has no file"):
        BundleFiles(folder, {name: "0" * 64}).read(name)


def test_the_newest_of_several_is_found(folder: Path) -> None:
    other = folder.parent / "another"
    other.mkdir()
    write_manifest(other, BUNDLE, {})
    (folder / "bundle.json").touch()
    assert newest_bundle(folder.parent) == folder


def test_without_any_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="There is no bundle") as error:
        newest_bundle(tmp_path)
    assert "automl-car bundle" in str(error.value.hint)


def test_the_page_tells_how_good_it_is_and_where_its_plugin_is() -> None:
    page = bundle_readme(BUNDLE)
    assert "Log loss 0.5000 ± 0.0196 (95 %), measured on 100 training photos" in page
    assert "trial 3 has 2 of 4 folds" in page
    assert "`--plugin THIS_FOLDER/plugins/toy_networks.py`" in page
    assert "| trial 3 | toy (frozen) | 16 | 2 | 1 | 1.000 |" in page


def test_a_page_without_foreign_plugins_names_none() -> None:
    bundled = replace(BUNDLE.plugins[0], origin="bundled", file="")
    assert "--plugin" not in bundle_readme(replace(BUNDLE, plugins=(bundled,)))
