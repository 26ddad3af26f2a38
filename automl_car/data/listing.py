"""Where the training photos lie, as a folder per class or as a CSV: pairs of path and label out."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from automl_car.data.links import refuse_loops
from automl_car.data.ordinary import kind_of
from automl_car.data.tables import LABEL_COLUMNS, PATH_COLUMNS, Table, find_column, read_table, relative_path, shorten
from automl_car.errors import DataError

# HEIC is listed although Pillow cannot decode it: its photos are then quarantined by name, and not just missing.
_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic")
_LAYOUT = "Photos belong into train/<class name>/, or list them in a CSV of paths and labels."


@dataclass(frozen=True, slots=True)
class Photo:
    """A training photo: its path relative to the root, as on the disk, and its class name in NFC."""

    path: str
    label: str


def list_photos(root: Path, train: str) -> tuple[Photo, ...]:
    """List all training photos.

    Args:
        root: the data folder.
        train: name in it of a folder of class folders, or of a CSV. If `train` is "train" and there is no such
            folder, the class folders may lie in `root` itself.

    Returns:
        Folders: by path in NFC, so that the order is the same on every system. CSV: in its order.

    Raises:
        DataError: there is nothing there, or names clash.
    """
    source = root / train
    if kind_of(source) == "folder":
        photos = _list_folders(root, source)
    elif kind_of(source) == "file":
        photos = _list_csv(root, read_table(source))
    elif train == "train" and root.is_dir():
        photos = _list_root(root)
    else:
        raise DataError(f"There is no folder or CSV `{train}` in {root}.", hint=_LAYOUT)
    if not photos:
        raise DataError(f"There are no photos in {source}.", hint=_LAYOUT)
    refuse_undecodable([photo.path for photo in photos])
    return photos


def leave_out(photos: tuple[Photo, ...], exclude: Collection[str] | Mapping[str, str]) -> tuple[Photo, ...]:
    """The photos without those whose path is in `exclude`.

    Args:
        photos: all training photos.
        exclude: paths relative to the data folder; as a mapping, each with the file that lists it, or "".

    Raises:
        DataError: an entry of `exclude` matches no photo; the message names near ones.
    """
    if not exclude:
        return photos
    wanted = {nfc(PurePosixPath(entry).as_posix()): entry for entry in exclude}
    known = {nfc(photo.path) for photo in photos}
    unknown = [entry for path, entry in wanted.items() if path not in known]
    if unknown:
        files = exclude if isinstance(exclude, Mapping) else {}
        near = "; ".join(
            f"`{entry}`{_listed_in(files.get(entry, ''))}{_did_you_mean(entry, known)}" for entry in unknown[:3]
        )
        more = f"; and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise DataError(
            f"{len(unknown)} of {len(wanted)} entries of `exclude` match no training photo: {near}{more}.",
            hint="Write each path relative to the data folder, such as train/<class>/<photo>.jpg.",
        )
    return tuple(photo for photo in photos if nfc(photo.path) not in wanted)


def photos_below(folder: Path) -> Iterator[Path]:
    """Files in and below a folder that have a photo's ending; hidden ones and links to folders are left out.

    A folder's own files come first, then those of its folders, all by name.
    """
    return map(Path, _names_below(folder))


def _names_below(folder: Path) -> Iterator[str]:
    """The same as text: of a million photos, paths would take longer than all else."""
    for parent, folders, files in os.walk(folder, onerror=_refuse_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name[name.rfind(".") :].lower() in _SUFFIXES:
                yield os.path.join(parent, name)  # noqa: PTH118 - see above


def _refuse_unreadable(error: OSError) -> None:
    """Photos that nobody may see would be missing without a word."""
    raise DataError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error


def refuse_missing(root: Path, paths: Iterable[str], table: Table) -> None:
    """Raise DataError if files that a CSV lists are not there."""
    missing = [path for path in paths if kind_of(f"{root}/{path}") in ("nothing", "folder")]
    if missing:
        raise DataError(
            f"{len(missing)} photos that {table.path} lists are missing: {shorten(missing, 5)}.",
            hint=f"Paths are relative to {root}.",
        )


def nfc(text: str) -> str:
    """The text with Hangul syllables and accented letters composed; macOS stores names decomposed."""
    return unicodedata.normalize("NFC", text)


def on_disk(root: Path, path: str) -> str:
    """The path in the normal form that the disk uses: a CSV may be composed where unpacked names are not."""
    if kind_of(f"{root}/{path}") != "nothing":  # of a million photos, each as a path would take long
        return path
    forms = (nfc(path), unicodedata.normalize("NFD", path))
    return next((form for form in forms if kind_of(root / form) != "nothing"), path)


# ---- folders --------------------------------------------------------------------------------------------------------


def _list_folders(root: Path, source: Path) -> tuple[Photo, ...]:
    folders = _class_folders(source)
    if not folders and any(photos_below(source)):
        raise DataError(f"The photos in {source} do not lie in class folders.", hint=_LAYOUT)
    return _list_class_folders(root, folders)


def _list_root(root: Path) -> tuple[Photo, ...]:
    folders = [folder for folder in _class_folders(root) if folder.name.lower() != "test"]
    inner = [folder for folder in folders if (folder / "train").is_dir()]
    if inner:
        raise DataError(
            f"There is no folder `train` in {root}, but there is one in {inner[0]}.", hint=f"Use --data {inner[0]}."
        )
    return _list_class_folders(root, [folder for folder in folders if any(photos_below(folder))])


def _list_class_folders(root: Path, folders: Sequence[Path]) -> tuple[Photo, ...]:
    refuse_undecodable([folder.name for folder in folders])
    refuse_loops(folders)
    _refuse_twins(folders)
    _refuse_empty(folders)
    labels: dict[str, str] = {}
    for folder in folders:
        below, place = folder.relative_to(root).as_posix(), len(str(folder)) + 1
        paths = (f"{below}/{photo[place:]}".replace(os.sep, "/") for photo in _names_below(folder))
        labels |= dict.fromkeys(paths, nfc(folder.name))
    # Only now, and not along with the paths, which stay: between them, the photos' memory could not be given back.
    return tuple(Photo(path, labels[path]) for path in sorted(labels, key=lambda path: (nfc(path), path)))


def _class_folders(source: Path) -> list[Path]:
    return [
        entry
        for entry in sorted(source.iterdir())
        if entry.is_dir() and not entry.name.startswith(".") and entry.name != "__MACOSX"
    ]


def _refuse_twins(folders: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for folder in folders:
        twin = seen.setdefault(nfc(folder.name), folder)
        if twin is not folder:
            raise DataError(
                f"Two class folders in {folder.parent} have the same name in two Unicode forms: "
                f"{twin.name!a} and {folder.name!a} (both read `{nfc(folder.name)}`).",
                hint="Move the photos of one into the other.",
            )


def _refuse_empty(folders: Sequence[Path]) -> None:
    empty = [folder.name for folder in folders if not any(photos_below(folder))]
    if empty:
        raise DataError(
            f"{len(empty)} class folders in {folders[0].parent} hold no photos: {shorten(empty)}.",
            hint="Remove the empty folders, or put their photos back.",
        )


# ---- CSV ------------------------------------------------------------------------------------------------------------


def _list_csv(root: Path, table: Table) -> tuple[Photo, ...]:
    path_column = find_column(table, PATH_COLUMNS, "path of the photo")
    label_column = find_column(table, LABEL_COLUMNS, "label")
    photos = tuple(
        Photo(on_disk(root, relative_path(row[path_column], table)), nfc(row[label_column])) for row in table.rows
    )
    without_label = [photo.path for photo in photos if not photo.label.strip()]
    if without_label:
        raise DataError(f"{len(without_label)} photos in {table.path} have no label: {shorten(without_label, 5)}.")
    refuse_repeated([photo.path for photo in photos], table, "photo")
    refuse_missing(root, (photo.path for photo in photos), table)
    return photos


def refuse_repeated(values: Sequence[str], table: Table, meaning: str) -> None:
    """Raise DataError if a value occurs more than once."""
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise DataError(f"{table.path} lists the same {meaning} more than once: {shorten(repeated, 5)}.")


# ---- names ----------------------------------------------------------------------------------------------------------


def refuse_undecodable(names: Iterable[str]) -> None:
    """Raise DataError for a name that no text file could hold."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"The file name {name!a} is not UTF-8.",
                hint="It comes from an archive in another encoding; unpack it again, as with `unzip -O cp949`.",
            ) from error


def _listed_in(file: str) -> str:
    return f" of {file}" if file else ""


def _did_you_mean(entry: str, known: Collection[str]) -> str:
    name = nfc(PurePosixPath(entry).name)
    near = [path for path in known if PurePosixPath(path).name == name] or difflib.get_close_matches(entry, known, n=1)
    return f" (did you mean `{min(near)}`?)" if near else ""
