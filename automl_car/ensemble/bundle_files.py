"""A bundle: a folder that holds all that is needed to predict, and no code that is run.

    <bundle>/bundle.json             what follows, as JSON, with the sha256 of every other file and a fingerprint
             weights/*.safetensors   networks, frozen backbones and linear heads
             plugins/*.py            copies of plugins that do not come with automl-car, for people to read
             README.md               how to use it, for people

Safetensors cannot run code when they are read, and nothing here is a pickle. A plugin's copy is text: it is loaded only
when a person passes it by `--plugin`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl_car.bundle_records import BundleMember, BundleNetwork, Sight
from automl_car.ensemble.bundle import Bundle, BundlePlugin, Measured
from automl_car.errors import BundleError
from automl_car.files import write_atomically
from automl_car.paths import is_own_file, stays_inside
from automl_car.records import SubmissionFormat, fingerprint

FORMAT = 1
MANIFEST = "bundle.json"


@dataclass(frozen=True)
class BundleFiles:
    """The files of a bundle on disk; none is read without checking it."""

    directory: Path
    sha256: Mapping[str, str]

    def read(self, name: str) -> bytes:
        """All bytes of a file.

        Raises:
            BundleError: it is missing or damaged.
        """
        if name not in self.sha256 or not stays_inside(name):
            raise BundleError(f"`{self.directory}` has no file `{name}` by its own {MANIFEST}.")
        _refuse_link(self.directory, name)
        try:
            data = (self.directory / name).read_bytes()
        except OSError as error:
            raise BundleError(f"`{self.directory / name}` cannot be read: {error.strerror}.", hint=_AGAIN) from error
        if hashlib.sha256(data).hexdigest() != self.sha256[name]:
            raise BundleError(f"`{self.directory / name}` does not match its checksum: it was changed.", hint=_AGAIN)
        return data


def _refuse_link(directory: Path, name: str) -> None:
    """A bundle may come from a stranger: a link in it could name any file of this machine, and a pipe never ends."""
    path = directory / name
    if (path.exists() and not is_own_file(directory, name)) or path.is_symlink():
        raise BundleError(f"`{path}` is a link, or no plain file; a bundle holds plain files only.", hint=_AGAIN)


_AGAIN = "copy the bundle again, or make it again with `automl-car bundle`."


# ---- writing --------------------------------------------------------------------------------------------------------


def write_files(directory: Path, files: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Write files into a folder, one in memory at a time, and return their sha256 by name."""
    checksums = {}
    for name, data in files:
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        checksums[name] = hashlib.sha256(data).hexdigest()
    return checksums


def write_manifest(directory: Path, bundle: Bundle, checksums: Mapping[str, str]) -> None:
    """Write bundle.json, which makes a bundle of the folder."""
    record = {**_to_json(bundle), "sha256": dict(checksums)}
    record["fingerprint"] = fingerprint(record)
    write_atomically(directory / MANIFEST, json.dumps(record, ensure_ascii=False, indent=1))


def _to_json(bundle: Bundle) -> dict[str, Any]:
    values = {field.name: getattr(bundle, field.name) for field in dataclasses.fields(bundle)}
    form = {**dataclasses.asdict(bundle.form)}
    del form["ids"]
    members = [dataclasses.asdict(member) for member in bundle.members]
    for member in members:
        member["networks"] = [{**network, "params": dict(network["params"])} for network in member["networks"]]
    return _plain(
        {
            "format": FORMAT,
            **values,
            "form": form,
            "members": members,
            "plugins": [dataclasses.asdict(plugin) for plugin in bundle.plugins],
            "measured": {**dataclasses.asdict(bundle.measured), "interval": 1.96 * bundle.measured.standard_error},
            "versions": dict(bundle.versions),
        }
    )


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: the fingerprint must not tell a tuple from a list."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


# ---- reading --------------------------------------------------------------------------------------------------------


def read_bundle(directory: Path) -> tuple[Bundle, BundleFiles]:
    """What a bundle says, and its files. All but the weights are checked here, those when they are read.

    Raises:
        BundleError: it is not there, damaged, or of another format.
    """
    record = _read_manifest(directory)
    files = BundleFiles(directory, record["sha256"])
    for name in files.sha256:
        if not stays_inside(name):
            raise BundleError(f"`{directory / MANIFEST}` names `{name}`, which leads out of the bundle.", hint=_AGAIN)
        _refuse_link(directory, name)
        if not name.startswith("weights/"):
            files.read(name)
    try:
        bundle = _from_json(record)
        _refuse_paths(directory, bundle, files)
        return bundle, files
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"`{directory / MANIFEST}` lacks a part or has one too many: {error}.", hint=_AGAIN
        ) from error


def _refuse_paths(directory: Path, bundle: Bundle, files: BundleFiles) -> None:
    """Every file that a bundle names is its own: what a person is told to read must not lie elsewhere."""
    named = [plugin.file for plugin in bundle.plugins if plugin.file]
    named += [member.head for member in bundle.members if member.head]
    named += [network.file for member in bundle.members for network in member.networks]
    for name in named:
        if name not in files.sha256:
            raise BundleError(f"`{directory / MANIFEST}` names `{name}`, which is no file of the bundle.", hint=_AGAIN)


def newest_bundle(folder: Path) -> Path:
    """The bundle in a folder of bundles that was made last.

    Raises:
        BundleError: there is none.
    """
    manifests = sorted(folder.glob(f"*/{MANIFEST}"), key=lambda path: (path.stat().st_mtime, path))
    if not manifests:
        raise BundleError(f"There is no bundle in `{folder}`.", hint="`automl-car bundle` makes one of a study.")
    return manifests[-1].parent


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    _refuse_link(directory, MANIFEST)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(
            f"`{directory}` is no bundle: there is no {MANIFEST} to read ({error.strerror}).",
            hint="`automl-car bundle` makes one of a study.",
        ) from error
    except ValueError as error:
        raise BundleError(f"`{path}` is not JSON: {error}.", hint=_AGAIN) from error
    if not isinstance(record, dict) or "format" not in record:
        raise BundleError(f"`{path}` is no record of a bundle: it has no format.")
    if record["format"] != FORMAT:
        raise BundleError(
            f"`{path}` has format {record['format']}; this version of automl-car reads {FORMAT}.",
            hint="use the version that wrote it, or make the bundle again.",
        )
    if record.pop("fingerprint", None) != fingerprint(record):
        raise BundleError(f"`{path}` does not match its own fingerprint: it was changed.", hint=_AGAIN)
    return record


def _from_json(record: Mapping[str, Any]) -> Bundle:
    form, measured = record["form"], dict(record["measured"])
    del measured["interval"]
    values = {field.name: record[field.name] for field in dataclasses.fields(Bundle)}
    values |= {
        "class_names": tuple(record["class_names"]),
        "class_shares": tuple(record["class_shares"]),
        "form": SubmissionFormat(
            **{**form, "columns": tuple(form["columns"]), "column_classes": tuple(form["column_classes"]), "ids": ()}
        ),
        "members": tuple(_member(values) for values in record["members"]),
        "plugins": tuple(
            BundlePlugin(**{**values, "backbones": tuple(values["backbones"])}) for values in record["plugins"]
        ),
        "measured": Measured(**measured),
    }
    return Bundle(**values)


def _member(values: Mapping[str, Any]) -> BundleMember:
    networks = tuple(
        BundleNetwork(
            **{**network, "params": tuple(sorted(network["params"].items())), "sight": _sight(network.get("sight"))}
        )
        for network in values["networks"]
    )
    return BundleMember(**{**values, "networks": networks, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


def _sight(values: Mapping[str, Any] | None) -> Sight | None:
    return None if values is None else Sight(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
