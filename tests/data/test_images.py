from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from automl_car.data.images import read_image
from automl_car.errors import DataError

_UPRIGHT = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)

# How a camera stores the upright picture, by the EXIF standard's table: where its row 0 and its column 0 lie.
_STORED = {
    1: _UPRIGHT,
    2: _UPRIGHT[:, ::-1],
    3: _UPRIGHT[::-1, ::-1],
    4: _UPRIGHT[::-1],
    5: _UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(_UPRIGHT),
    7: np.rot90(_UPRIGHT, 2).transpose(1, 0, 2),
    8: np.rot90(_UPRIGHT, -1),
}


def _smooth(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def _only_colour(pixels: NDArray[np.uint8]) -> list[int]:
    colours = np.unique(pixels.reshape(-1, 3), axis=0)
    assert len(colours) == 1
    return [int(value) for value in colours[0]]


def test_the_bytes_decide_and_not_the_extension(tmp_path: Path) -> None:
    Image.fromarray(_UPRIGHT).save(tmp_path / "photo.jpg", "PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "photo.jpg"), _UPRIGHT)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("short_side", [None, 10])
def test_every_exif_orientation_gives_the_upright_picture(
    tmp_path: Path, orientation: int, short_side: int | None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(_STORED[orientation])).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(_UPRIGHT).save(tmp_path / "upright.png")
    expected = read_image(tmp_path / "upright.png", short_side=short_side).astype(int)
    found = read_image(tmp_path / "turned.png", short_side=short_side).astype(int)
    assert found.shape == expected.shape
    # Pillow reduces rows before columns and rounds in between: reduced pictures may differ by that rounding.
    assert abs(found - expected).max() <= (0 if short_side is None else 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_that_pillow_turns_by_itself_is_not_turned_twice(tmp_path: Path, orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(_STORED[orientation]))
    stored.save(tmp_path / "a.tif", tiffinfo={0x0112: orientation})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), _UPRIGHT)


def test_cmyk_is_converted(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert _only_colour(read_image(tmp_path / "a.tif")) == [255, 0, 0]


def test_a_cmyk_jpeg_is_converted_at_full_and_at_reduced_size(tmp_path: Path) -> None:
    Image.new("CMYK", (64, 64), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    for short_side in (None, 8):
        np.testing.assert_allclose(read_image(tmp_path / "a.jpg", short_side=short_side)[0, 0], [255, 0, 0], atol=4)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_16_bit_grey_is_divided_by_257_and_not_saturated(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16)).save(path)
    assert read_image(path)[0].tolist() == [[0] * 3, [100] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 100, 255]], dtype=np.int32), [0, 100, 255]),
        (np.array([[0, 25700, 65535]], dtype=np.int32), [0, 100, 255]),
        (np.array([[-1000, 0, 1000]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.2, 1.0]], dtype=np.float32), [0, 51, 255]),
        (np.array([[0.0, 99.6, 255.0]], dtype=np.float32), [0, 100, 255]),
    ],
)
def test_32_bit_grey_is_scaled_by_the_range_of_its_values(
    tmp_path: Path, values: NDArray[np.float32], expected: list[int]
) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == expected


def test_pixels_that_are_not_numbers_are_an_error(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, np.nan]], dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="not finite"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("RGBA", (4, 4), (10, 20, 30, 0)), [255, 255, 255]),
        (Image.new("RGBA", (4, 4), (10, 20, 30, 255)), [10, 20, 30]),
        (Image.new("RGBA", (4, 4), (55, 155, 255, 51)), [215, 235, 255]),  # 0.2 * colour + 0.8 * 255
        (Image.new("LA", (4, 4), (0, 0)), [255, 255, 255]),
    ],
)
def test_transparency_is_laid_on_white(tmp_path: Path, picture: Image.Image, expected: list[int]) -> None:
    picture.save(tmp_path / "a.png")
    assert _only_colour(read_image(tmp_path / "a.png")) == expected


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 200, 0, 0])
    picture.save(tmp_path / "clear.png", transparency=1)
    picture.save(tmp_path / "solid.png")
    assert _only_colour(read_image(tmp_path / "clear.png")) == [255, 255, 255]
    assert _only_colour(read_image(tmp_path / "solid.png")) == [200, 0, 0]


@pytest.mark.parametrize(("mode", "colour", "expected"), [("1", 1, 255), ("L", 77, 77)])
def test_one_channel_becomes_three(tmp_path: Path, mode: str, colour: int, expected: int) -> None:
    Image.new(mode, (4, 4), colour).save(tmp_path / "a.png")
    assert _only_colour(read_image(tmp_path / "a.png")) == [expected] * 3


@pytest.mark.parametrize("extension", ["gif", "webp"])
def test_an_animation_gives_its_first_frame(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    assert _only_colour(read_image(path)) == [255, 0, 0]


def _truncated_jpeg() -> bytes:
    buffer = BytesIO()
    _smooth(200, 150).save(buffer, "JPEG")
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_truncated_jpeg(), "truncated"),
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><html>404</html>", "<!DOCTYPE"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "known format"),
    ],
)
def test_what_is_not_a_whole_image_is_an_error_with_name_and_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "사진.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as error:
        read_image(path)
    assert str(path) in error.value.message


def test_more_than_100_million_pixels_are_refused_without_decoding_them(tmp_path: Path) -> None:
    Image.new("1", (20_000, 6_000)).save(tmp_path / "huge.png")
    whole = (tmp_path / "huge.png").read_bytes()
    (tmp_path / "huge.png").write_bytes(whole[: len(whole) // 2])  # decoding would say "truncated"
    with pytest.raises(DataError, match="20000 x 6000 pixels, more than 100 million"):
        read_image(tmp_path / "huge.png")


def test_95_million_pixels_are_read_without_a_warning(tmp_path: Path) -> None:
    Image.new("L", (10_000, 9_500)).save(tmp_path / "large.jpg")
    assert read_image(tmp_path / "large.jpg", short_side=100).shape == (100, 105, 3)


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link", "missing"])
def test_what_is_not_a_file_is_an_error_and_never_waits(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.jpg"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"folder|pipe|missing file|does not exist"):
        read_image(path)


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((300, 200), 100, (100, 150, 3)),
        ((200, 300), 100, (150, 100, 3)),
        ((1999, 333), 64, (64, 384, 3)),  # 1999 * 64 / 333 = 384.2
        ((300, 200), 200, (200, 300, 3)),
        ((300, 200), 999, (200, 300, 3)),
    ],
)
@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_the_short_side_is_reduced_exactly_and_never_enlarged(
    tmp_path: Path, size: tuple[int, int], short_side: int, expected: tuple[int, ...], extension: str
) -> None:
    _smooth(*size).save(tmp_path / f"a.{extension}")
    assert read_image(tmp_path / f"a.{extension}", short_side=short_side).shape == expected


def test_reduction_averages_fine_detail_instead_of_picking_pixels(tmp_path: Path) -> None:
    stripes = np.zeros((128, 128), dtype=np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "a.png")
    inner = read_image(tmp_path / "a.png", short_side=40)[4:-4, 4:-4]
    assert abs(inner.astype(int) - 127.5).max() < 12


def test_a_jpeg_decoded_at_reduced_size_shows_the_same_picture_as_one_decoded_whole(tmp_path: Path) -> None:
    _smooth(800, 600).save(tmp_path / "a.jpg", quality=90)
    with Image.open(tmp_path / "a.jpg") as image:
        whole = np.asarray(image.resize((133, 100), Image.Resampling.LANCZOS), dtype=float)
    assert abs(read_image(tmp_path / "a.jpg", short_side=100) - whole).mean() < 1.5
