"""Class names in pictures: in their own letters where a font has them, else readable all the same."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest

from automl_car.report.fonts import choose_lettering

SCRIPT_OF_NO_FONT = "\U000e0123"  # a code point that no font draws


def no_fonts() -> list[str]:
    return []


def test_names_that_the_default_font_can_write_stay_as_they_are() -> None:
    found = choose_lettering(("Kia_K5 2020", "Škoda Škála", "Лада"))
    assert (found.names, found.missing, found.note) == (("Kia_K5 2020", "Škoda Škála", "Лада"), "", "")
    assert found.font.name == "DejaVuSans.ttf"


def test_without_a_font_a_class_has_its_number_and_its_ascii_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", no_fonts)
    found = choose_lettering(("BMW_3_F30", "현대_그랜저_GN7", "쏘나타"))
    assert found.names == ("#0 BMW_3_F30", "#1 GN7", "#2")
    assert found.missing == "현"
    assert "`현`" in found.note
    assert "classes.csv" in found.note


def test_a_font_of_the_machine_is_taken_where_it_has_all_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    # DejaVu Sans Mono stands for it: the default is made to lack what it has.
    other = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf"
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [str(other)])
    limited = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "STIXSizOneSymReg.ttf"
    monkeypatch.setattr("automl_car.report.fonts._default_font", lambda: limited)
    assert choose_lettering(("Лада",)).font == other


def test_a_broken_font_file_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "malgun.ttf").write_bytes(b"no font")
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [str(tmp_path / "malgun.ttf")])
    assert choose_lettering(("A", SCRIPT_OF_NO_FONT)).names == ("#0 A", "#1")
