"""Row 18 of the fault matrix: every kind of image file gives exactly the pixels that its standard says.

Expected values are arrays drawn here, or come from the standard's formula; files are written byte by byte where
Pillow would otherwise both write and read them.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from photo_bytes import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    bit_rows,
    chunk,
    png,
    rows,
    saved,
    segment,
    segments,
    tiff,
)
from PIL import AvifImagePlugin, Image, features

from automl_car.data.images import decode_image
from automl_car.errors import DataError

WIDTH, HEIGHT = 30, 20
RANDOM = np.random.default_rng(3)
COLOURS = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (HEIGHT, WIDTH, 3), dtype=np.uint16)


def _decoded(data: bytes) -> NDArray[np.uint8]:
    return decode_image(data).pixels


def _grey(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) -> (H, W, 3)."""
    return np.repeat(samples[:, :, None], 3, axis=2)


def _on_white(colours: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = alpha / 255
    return colours * share + 255 * (1 - share)


# ---- depth and colour -----------------------------------------------------------------------------------------------


def test_16_bit_rgb_keeps_the_high_byte() -> None:
    found = _decoded(png((WIDTH, HEIGHT), 16, RGB, rows(DEEP)))
    np.testing.assert_array_equal(found, (DEEP >> 8).astype(np.uint8))


def test_16_bit_grey_is_rounded_to_the_nearest_of_256() -> None:
    grey = DEEP[:, :, 0]
    found = _decoded(png((WIDTH, HEIGHT), 16, GREY, rows(grey)))
    np.testing.assert_array_equal(found, _grey(np.rint(grey / 257).astype(np.uint8)))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_grey_are_spread_from_black_to_white(bits: int) -> None:
    samples = RANDOM.integers(0, 2**bits, (HEIGHT, WIDTH), dtype=np.uint8)
    found = _decoded(png((WIDTH, HEIGHT), bits, GREY, bit_rows(samples, bits)))
    np.testing.assert_array_equal(found, _grey(samples * (255 // (2**bits - 1))))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_gives_its_colours(bits: int) -> None:
    palette = RANDOM.integers(0, 256, (2**bits, 3), dtype=np.uint8)
    samples = RANDOM.integers(0, 2**bits, (HEIGHT, WIDTH), dtype=np.uint8)
    data = rows(samples) if bits == 8 else bit_rows(samples, bits)
    found = _decoded(png((WIDTH, HEIGHT), bits, PALETTE, data, chunks=[(b"PLTE", palette.tobytes())]))
    np.testing.assert_array_equal(found, palette[samples])


def test_each_transparent_palette_colour_is_laid_on_white() -> None:
    palette = RANDOM.integers(0, 256, (16, 3), dtype=np.uint8)
    alpha = RANDOM.integers(0, 256, (16, 1), dtype=np.uint8)
    samples = RANDOM.integers(0, 16, (HEIGHT, WIDTH), dtype=np.uint8)
    chunks = [(b"PLTE", palette.tobytes()), (b"tRNS", alpha.tobytes())]
    found = _decoded(png((WIDTH, HEIGHT), 8, PALETTE, rows(samples), chunks=chunks))
    np.testing.assert_allclose(found, _on_white(palette[samples], alpha[samples]), atol=0.51)


def test_a_colour_that_is_called_transparent_becomes_white() -> None:
    colours = COLOURS.copy()
    colours[:5] = (10, 20, 30)
    data = png((WIDTH, HEIGHT), 8, RGB, rows(colours), chunks=[(b"tRNS", struct.pack(">HHH", 10, 20, 30))])
    expected = colours.copy()
    expected[:5] = 255
    np.testing.assert_array_equal(_decoded(data), expected)


def test_rgb_with_alpha_is_laid_on_white() -> None:
    found = _decoded(png((WIDTH, HEIGHT), 8, RGB_ALPHA, rows(np.concatenate([COLOURS, ALPHA], axis=2))))
    np.testing.assert_allclose(found, _on_white(COLOURS, ALPHA), atol=0.51)


def test_grey_with_alpha_is_laid_on_white() -> None:
    grey = COLOURS[:, :, :1]
    found = _decoded(png((WIDTH, HEIGHT), 8, GREY_ALPHA, rows(np.concatenate([grey, ALPHA], axis=2))))
    np.testing.assert_allclose(found, np.repeat(_on_white(grey, ALPHA), 3, axis=2), atol=0.51)


@pytest.mark.parametrize("colour", [RGB, RGB_ALPHA])
def test_a_colour_profile_changes_no_pixel(colour: int) -> None:
    samples = COLOURS if colour == RGB else np.concatenate([COLOURS, np.full_like(ALPHA, 255)], axis=2)
    profile = b"a profile\0\0" + zlib.compress(b"its tables" * 100)
    data = png((WIDTH, HEIGHT), 8, colour, rows(samples), chunks=[(b"iCCP", profile), (b"gAMA", struct.pack(">I", 9))])
    np.testing.assert_array_equal(_decoded(data), COLOURS)


# ---- CMYK -----------------------------------------------------------------------------------------------------------

INKS = (200, 40, 90, 30)  # 0 is no ink
PAPER = [round((255 - ink) * (255 - INKS[3]) / 255) for ink in INKS[:3]]


def _cmyk_jpeg(*stored: int) -> bytes:
    """A JPEG of 4 components with these samples. Pillow stores CMYK inverted, with Adobe's marker."""
    inverted = Image.new("CMYK", (32, 32), tuple(255 - sample for sample in stored))
    return saved(inverted, "JPEG", quality=100, subsampling=0)


def test_adobes_inverted_cmyk_becomes_its_colour_on_paper() -> None:
    found = _decoded(_cmyk_jpeg(*(255 - ink for ink in INKS)))
    np.testing.assert_allclose(found, np.full((32, 32, 3), PAPER), atol=1)


def test_cmyk_without_adobes_marker_is_taken_as_inverted_as_in_browsers() -> None:
    parts = segments(_cmyk_jpeg(*(255 - ink for ink in INKS)))
    assert any(marker == 0xEE for marker, _ in parts)
    found = _decoded(b"".join(part for marker, part in parts if marker != 0xEE))
    np.testing.assert_allclose(found, np.full((32, 32, 3), PAPER), atol=1)


def test_ycck_becomes_the_same_colour_as_cmyk() -> None:
    # Stored inks are inverted, and YCC holds their complement (libjpeg's jdcolor.c): the two take each other back.
    red, green, blue, black = *INKS[:3], 255 - INKS[3]
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601, as in JFIF
    to_blue, to_red = 128 + (blue - brightness) * 0.564, 128 + (red - brightness) * 0.713
    data = _cmyk_jpeg(round(brightness), round(to_blue), round(to_red), black)
    parts = [
        segment(0xEE, part[4:-1] + b"\x02") if marker == 0xEE else part for marker, part in segments(data)
    ]  # the marker's last byte says how colours are stored: 2 is YCCK
    np.testing.assert_allclose(_decoded(b"".join(parts)), np.full((32, 32, 3), PAPER), atol=3)


# ---- orientation ----------------------------------------------------------------------------------------------------

BLOCKS = np.kron(RANDOM.integers(0, 256, (3, 5, 3)), np.ones((8, 8, 1), dtype=int)).astype(np.uint8)

# How a camera stores the upright picture, by the EXIF standard's table: where its row 0 and its column 0 lie.
STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda upright: np.rot90(upright, 2).transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


def _turned(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](BLOCKS)))
    return saved(stored, kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_a_turned_photo_comes_upright_to_the_pixel(kind: str, orientation: int) -> None:
    np.testing.assert_array_equal(_decoded(_turned(kind, orientation)), BLOCKS)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_jpeg_comes_upright_to_the_pixel(orientation: int) -> None:
    """Of blocks of one colour a JPEG stores the mean alone, which is the same in every position."""
    np.testing.assert_array_equal(_decoded(_turned("JPEG", orientation)), _decoded(_turned("JPEG", 1)))


@pytest.mark.skipif(not features.check("avif"), reason="this build of Pillow has no AVIF")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_avif_comes_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](BLOCKS)))
    data = saved(stored, "AVIF", exif=exif, quality=100, subsampling="4:4:4", max_threads=1)
    np.testing.assert_allclose(_decoded(data), BLOCKS, atol=6)


def test_an_orientation_in_the_text_that_imagemagick_writes_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes()
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    stored = np.ascontiguousarray(np.rot90(BLOCKS))
    data = png(
        (stored.shape[1], stored.shape[0]), 8, RGB, rows(stored),
        chunks=[(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))],
    )  # fmt: skip
    np.testing.assert_array_equal(_decoded(data), BLOCKS)


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_an_orientation_that_does_not_exist_is_upright(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    data = png((40, 24), 8, RGB, rows(BLOCKS), chunks=[(b"eXIf", exif.tobytes()[6:])])
    np.testing.assert_array_equal(_decoded(data), BLOCKS)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"not EXIF at all",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff" + bytes(100),
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0" + bytes(4),  # the orientation is a text
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0" + bytes(4),  # 4 thousand million of them
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\x01\0\0\0\x08\0\0\0" + bytes(4),  # a fraction
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_exif_that_cannot_be_read_leaves_the_picture_as_it_is(kind: str, block: bytes) -> None:
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    data = saved(Image.fromarray(BLOCKS), kind, exif=b"Exif\0\0" + block, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        np.testing.assert_array_equal(_decoded(data), _decoded(_turned(kind, 1)))


# ---- several pictures in one file -----------------------------------------------------------------------------------


def _frames(count: int = 3) -> list[Image.Image]:
    return [Image.fromarray(np.roll(COLOURS, step, axis=1)) for step in range(count)]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_of_an_animation_and_of_pages_the_first_is_taken(kind: str) -> None:
    first, *others = _frames()
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(_decoded(saved(first, kind, save_all=True, append_images=others, **options)), COLOURS)


def test_of_an_animated_gif_the_first_picture_is_taken() -> None:
    palette = RANDOM.integers(0, 256, (16, 3), dtype=np.uint8)
    samples = RANDOM.integers(0, 16, (HEIGHT, WIDTH), dtype=np.uint8)
    first = Image.frombytes("P", (WIDTH, HEIGHT), samples.tobytes())
    first.putpalette(palette.tobytes())
    data = saved(first, "GIF", save_all=True, append_images=[first.rotate(180)])
    np.testing.assert_array_equal(_decoded(data), palette[samples])


def test_of_the_two_pictures_of_a_stereo_camera_the_first_is_taken() -> None:
    first, second = Image.fromarray(BLOCKS), Image.fromarray(BLOCKS[::-1].copy())
    data = saved(first, "MPO", save_all=True, append_images=[second])
    np.testing.assert_array_equal(_decoded(data), np.asarray(Image.open(BytesIO(saved(first, "JPEG")))))


# ---- codings --------------------------------------------------------------------------------------------------------


def test_a_progressive_jpeg_gives_the_pixels_of_the_plain_one() -> None:
    picture = Image.fromarray(COLOURS).resize((120, 80), Image.Resampling.BICUBIC)
    plain, progressive = saved(picture, "JPEG"), saved(picture, "JPEG", progressive=True)
    assert b"\xff\xc2" in progressive
    np.testing.assert_array_equal(_decoded(progressive), _decoded(plain))


def _rgb_tags(**more: int) -> dict[str, int | list[int]]:
    return {"width": WIDTH, "height": HEIGHT, "bits": [8, 8, 8], "photometric": 2, "samples": 3, "rows": HEIGHT, **more}


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_in_either_byte_order_gives_its_pixels(order: str) -> None:
    np.testing.assert_array_equal(_decoded(tiff([COLOURS.tobytes()], order, **_rgb_tags())), COLOURS)


def test_a_tiff_with_a_plane_for_each_colour_gives_its_pixels() -> None:
    planes = [COLOURS[:, :, channel].tobytes() for channel in range(3)]
    np.testing.assert_array_equal(_decoded(tiff(planes, **_rgb_tags(planar=2))), COLOURS)


def test_a_tiff_in_many_strips_gives_its_pixels() -> None:
    strips = [COLOURS[row : row + 7].tobytes() for row in range(0, HEIGHT, 7)]
    np.testing.assert_array_equal(_decoded(tiff(strips, **_rgb_tags(rows=7))), COLOURS)


@pytest.mark.parametrize("photometric", [0, 1])
def test_a_grey_tiff_may_begin_at_white(photometric: int) -> None:
    grey = COLOURS[:, :, 0]
    tags = {"width": WIDTH, "height": HEIGHT, "bits": 8, "photometric": photometric, "samples": 1, "rows": HEIGHT}
    expected = 255 - grey if photometric == 0 else grey
    np.testing.assert_array_equal(_decoded(tiff([grey.tobytes()], **tags)), _grey(expected))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_16_bit_tiff_in_either_byte_order_is_divided_by_257(order: str) -> None:
    grey = DEEP[:, :, 0]
    tags = {"width": WIDTH, "height": HEIGHT, "bits": 16, "photometric": 1, "samples": 1, "rows": HEIGHT}
    data = tiff([grey.astype(f"{order}u2").tobytes()], order, **tags)
    np.testing.assert_array_equal(_decoded(data), _grey(np.rint(grey / 257).astype(np.uint8)))


# ---- without a codec ------------------------------------------------------------------------------------------------


def test_a_heic_photo_is_called_by_its_name() -> None:
    data = struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(500)
    with pytest.raises(DataError, match="HEIC") as error:
        decode_image(data)
    assert "JPEG" in error.value.message


def test_an_avif_photo_is_called_by_its_name_where_pillow_cannot_decode_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    data = struct.pack(">I", 24) + b"ftypavif" + bytes(4) + b"mif1avif" + bytes(500)
    with pytest.raises(DataError, match="AVIF"):
        decode_image(data)


def test_a_chunk_of_a_png_with_a_wrong_checksum_is_refused() -> None:
    data = png((WIDTH, HEIGHT), 8, RGB, rows(COLOURS))
    assert data.endswith(chunk(b"IEND", b""))
    place = data.index(b"IDAT") + 10
    with pytest.raises(DataError):
        decode_image(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
