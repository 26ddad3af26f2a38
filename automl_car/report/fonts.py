"""A font of this machine that has the letters of class names: Hangul, above all, is in few of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFont

from automl_car.report.plots import quiet_matplotlib

# Parts of the file names of common fonts with Hangul and Han, tried before the others: Windows, macOS, Linux.
_LIKELY = (
    "malgun",
    "applesdgothic",
    "applegothic",
    "nanumgothic",
    "nanumbarun",
    "notosanscjk",
    "notosanskr",
    "unfonts",
)
_ELLIPSIS = "…"


@dataclass(frozen=True)
class Lettering:
    """How class names are written in pictures.

    Attributes:
        font: a TrueType or OpenType file.
        names: of each class, in the order of the columns.
        missing: a letter that no font on this machine has; "" where the names are written as they are.
    """

    font: Path
    names: tuple[str, ...]
    missing: str = ""

    @property
    def note(self) -> str:
        """What a person should know about it; empty where there is nothing."""
        return self.missing and (
            f"no font on this machine has the letter `{self.missing}` of the class names, so the pictures show each "
            "class by its number in classes.csv, and what of its name is ASCII; a font such as Nanum Gothic or "
            "Noto Sans CJK cures it"
        )


def choose_lettering(names: tuple[str, ...]) -> Lettering:
    """A font with every letter of the names, or names that every font can write.

    Args:
        names: of the classes, in the order of the columns.
    """
    quiet_matplotlib()
    needed = {letter for name in names for letter in name if not letter.isspace()} | {_ELLIPSIS}
    default = _default_font()
    if not _lacking(default, needed):
        return Lettering(default, names)
    for font in _fonts():
        if not _lacking(font, needed):
            return Lettering(font, names)
    lacking = min(_lacking(default, needed), key="".join(names).index)
    return Lettering(default, tuple(_in_ascii(number, name) for number, name in enumerate(names)), lacking)


def _in_ascii(number: int, name: str) -> str:
    rest = name.encode("ascii", "ignore").decode().strip(" _-.()")
    return f"#{number} {rest}".rstrip()


def _default_font() -> Path:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def _fonts() -> Iterator[Path]:
    """The fonts of this machine, likely ones first."""
    from matplotlib.font_manager import findSystemFonts

    def place(path: Path) -> tuple[bool, str]:
        name = path.name.lower().replace("-", "").replace("_", "")
        return not name.startswith(_LIKELY), path.name

    yield from sorted((Path(found) for found in findSystemFonts()), key=place)


def _lacking(font: Path, needed: set[str]) -> set[str]:
    """The letters that the font does not have; all where it cannot be used."""
    from matplotlib.ft2font import FT2Font

    try:
        has = FT2Font(str(font)).get_charmap()
        ImageFont.truetype(str(font), 12)
    except (OSError, RuntimeError):  # bitmap fonts, and files that only end like a font
        return set(needed)
    return {letter for letter in needed if ord(letter) not in has}
