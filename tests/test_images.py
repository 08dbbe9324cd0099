"""Decoding of good, odd and hostile picture files."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as PilImage
from PIL import ImageFile

from faceup.errors import DataError
from faceup.images import (
    FORMATS,
    MAX_FILE_BYTES,
    at_most,
    decode,
    encode_png,
    read_bytes,
    read_image,
    reduced_pair,
    resize,
)
from faceup.types import Image

Array = npt.NDArray[Any]
LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}, "PPM": {}}


def noise(*shape: int, seed: int = 0, kind: Any = np.uint8) -> Array:
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)


def saved(picture: PilImage.Image | Array, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (picture if isinstance(picture, PilImage.Image) else PilImage.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def pixels_of(data: bytes) -> Array:
    return decode(data, "test").pixels


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def forged_png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, more: bytes = b"", rows: bytes = b""
) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)


# What a good file becomes.


@pytest.mark.parametrize(("kind", "options"), LOSSLESS.items(), ids=str)
def test_rgb_of_every_lossless_format_is_unchanged(kind: str, options: dict[str, Any]) -> None:
    rgb = noise(7, 9, 3)
    np.testing.assert_array_equal(pixels_of(saved(rgb, kind, **options)), rgb)


def test_jpeg_is_close_to_its_source() -> None:
    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[:, 16:] = (250, 120, 10)
    assert np.abs(pixels_of(saved(rgb, "JPEG", quality=100, subsampling=0)).astype(int) - rgb).max() <= 3


def test_every_16_bit_grey_is_divided_by_257_and_rounded() -> None:
    grey = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.array([int(value / 257 + 0.5) for value in range(65536)]).reshape(256, 256)
    for kind in ("PNG", "TIFF", "PPM"):
        result = pixels_of(saved(grey, kind))
        for channel in range(3):
            np.testing.assert_array_equal(result[:, :, channel], expected, err_msg=kind)


def test_a_tiff_of_12_bits_is_as_bright_as_it_is() -> None:
    """Written by hand: little-endian, one strip, three pixels of 12 bits in 16, 0, 2048 and 4095."""
    entries = [(256, 3, 1, 3), (257, 3, 1, 1), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
               (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 5)]  # fmt: skip
    packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xF0])  # 000 800 FFF
    data = b"II*\0" + struct.pack("<I", 14) + packed + b"\0" + struct.pack("<H", len(entries))
    data += b"".join(struct.pack("<HHII", *entry) for entry in entries) + b"\0\0\0\0"
    assert decode(data, "x.tif").pixels[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate"])
def test_a_tiff_whose_white_is_zero_is_no_negative(compression: str | None) -> None:
    level = np.arange(256).reshape(16, 16)
    for kind, factor in ((np.uint8, 1), (np.uint16, 257)):
        data = saved((level * factor).astype(kind), "TIFF", compression=compression, tiffinfo={262: 0})
        # Pillow turns round what it saves with 8 bits, and leaves 16 as they are.
        expected = level if kind is np.uint8 else 255 - level
        np.testing.assert_array_equal(pixels_of(data)[:, :, 0], expected)


def test_16_bit_grey_with_a_transparent_level_is_white_there() -> None:
    grey = np.array([[0, 1000, 65535, 1001]], ">u2")
    data = forged_png(
        4, 1, depth=16, colour=0, more=chunk(b"tRNS", struct.pack(">H", 1000)), rows=b"\0" + grey.tobytes()
    )
    assert pixels_of(data)[0, :, 0].tolist() == [0, 255, 255, 4]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour_is_within_one_level_of_the_value_divided_by_257(suffix: str) -> None:
    rgb = noise(20, 30, 3, kind=np.uint16)
    written, data = cv2.imencode(suffix, rgb[:, :, ::-1])
    assert written
    assert np.abs(pixels_of(data.tobytes()) - rgb / 257).max() <= 1


def test_alpha_lies_over_white_for_every_level_and_every_alpha() -> None:
    level, alpha = np.meshgrid(np.arange(256), np.arange(256))
    expected = [[c * a / 255 + 255 * (255 - a) / 255 for c in range(256)] for a in range(256)]
    rgba = np.stack([level, 255 - level, level, alpha], axis=2).astype(np.uint8)
    la = np.stack([level, alpha], axis=2).astype(np.uint8)
    for result in (pixels_of(saved(rgba, "PNG")), pixels_of(saved(la, "PNG"))):
        assert np.abs(result[:, :, 0] - np.array(expected)).max() <= 0.51
    assert np.abs(pixels_of(saved(rgba, "PNG"))[:, ::-1, 1] - np.array(expected)).max() <= 0.51


def test_palette_with_and_without_transparency() -> None:
    indices = noise(6, 8) % 4
    palette = [(255, 0, 0), (0, 255, 0), (10, 20, 30), (200, 100, 50)]
    picture = PilImage.fromarray(indices)
    picture.putpalette([value for colour in palette for value in colour])
    plain = np.array([[palette[i] for i in row] for row in indices])
    np.testing.assert_array_equal(pixels_of(saved(picture, "PNG")), plain)
    one_clear = plain.copy()
    one_clear[indices == 2] = 255
    np.testing.assert_array_equal(pixels_of(saved(picture, "PNG", transparency=2)), one_clear)
    np.testing.assert_array_equal(pixels_of(saved(picture, "GIF", transparency=2)), one_clear)
    alphas = [255, 128, 0, 255]
    expected = np.array([[[c * alphas[i] / 255 + 255 - alphas[i] for c in palette[i]] for i in row] for row in indices])
    assert np.abs(pixels_of(saved(picture, "PNG", transparency=bytes(alphas))) - expected).max() <= 0.51


def test_a_transparent_colour_of_an_rgb_png_becomes_white() -> None:
    rgb = np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8)
    assert pixels_of(saved(rgb, "PNG", transparency=(1, 2, 3))).tolist() == [[[255, 255, 255], [1, 2, 4]]]


def test_greyscale_and_one_bit() -> None:
    grey = noise(5, 6)
    np.testing.assert_array_equal(pixels_of(saved(grey, "PNG")), np.repeat(grey[:, :, None], 3, axis=2))
    bits = noise(5, 6) > 127
    expected = np.repeat(np.where(bits, 255, 0)[:, :, None], 3, axis=2)
    for kind in ("PNG", "TIFF", "PPM", "BMP"):
        np.testing.assert_array_equal(pixels_of(saved(PilImage.fromarray(bits), kind)), expected)


@pytest.mark.parametrize("ink", [(0, 255, 255, 0), (0, 0, 0, 0), (100, 50, 0, 60), (0, 0, 0, 255)])
def test_cmyk_jpeg(ink: tuple[int, int, int, int]) -> None:
    expected = [(255 - value) * (255 - ink[3]) / 255 for value in ink[:3]]
    data = saved(PilImage.new("CMYK", (16, 16), ink), "JPEG", quality=100)
    assert np.abs(pixels_of(data) - np.array(expected)).max() <= 3


# Stored pixels to upright pixels, written with numpy only, for EXIF orientations 1 to 8.
UPRIGHT: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    stored = noise(5, 8, 3)
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    result = pixels_of(saved(stored, kind, exif=exif, **LOSSLESS[kind]))
    np.testing.assert_array_equal(result, UPRIGHT[orientation](stored))


def test_a_camera_jpeg_with_orientation_6_stands_upright() -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8] = 255
    exif = PilImage.Exif()
    exif[0x0112] = 6
    result = pixels_of(saved(stored, "JPEG", exif=exif, quality=95))
    assert result.shape == (32, 16, 3)
    assert result[:, 9:].min() > 200
    assert result[:, :7].max() < 55


def test_a_damaged_exif_tag_beside_the_orientation_does_not_cost_the_picture() -> None:
    # A SHORT tag whose value is text: Pillow reads it and fails only when it writes the EXIF anew.
    entries = struct.pack("<HHI4s", 0x0112, 3, 1, struct.pack("<HH", 6, 0)) + struct.pack(
        "<HHII", 0x0103, 2, 4, 0x216F6C
    )
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + struct.pack("<I", 0)
    stored = noise(8, 16, 3)
    data = saved(stored, "JPEG", exif=exif, quality=95)
    upright = np.rot90(pixels_of(saved(stored, "JPEG", quality=95)), -1)
    np.testing.assert_array_equal(pixels_of(data), upright)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    red, blue = (PilImage.new("RGB", (6, 4), colour) for colour in ("red", "blue"))
    data = saved(red, kind, save_all=True, append_images=[blue], duration=40, loop=0, **LOSSLESS.get(kind, {}))
    with PilImage.open(io.BytesIO(data)) as check:
        assert getattr(check, "n_frames", 1) == 2
    assert (pixels_of(data) == (255, 0, 0)).all()


def test_a_stereo_jpeg_gives_its_first_picture() -> None:
    red, blue = (PilImage.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    result = pixels_of(saved(red, "MPO", save_all=True, append_images=[blue]))
    assert np.abs(result.astype(int) - (255, 0, 0)).max() <= 3


def test_one_pixel() -> None:
    assert pixels_of(saved(np.array([[[1, 2, 3]]], np.uint8), "PNG")).tolist() == [[[1, 2, 3]]]


# What is refused, and how.


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM"])
def test_a_truncated_file_is_refused_by_name(kind: str) -> None:
    data = saved(noise(40, 40, 3), kind)
    for cut in (len(data) // 2, len(data) - 200):
        with pytest.raises(DataError, match=r"cut\.file: (damaged or truncated|not a picture)"):
            decode(data[:cut], "cut.file")


def test_text_is_refused_and_the_known_formats_are_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("no picture")
    with pytest.raises(DataError, match=r"notes\.jpg: not a picture of a known format \(JPEG, PNG"):
        read_image(path)


def test_a_png_named_jpg_is_read(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(saved(noise(3, 4, 3), "PNG"))
    np.testing.assert_array_equal(read_image(path).pixels, noise(3, 4, 3))


@pytest.mark.parametrize("kind", ["JPEG2000", "ICO", "TGA", "PDF", "EPS", "SGI"])
def test_other_formats_are_refused(kind: str) -> None:
    assert kind not in FORMATS
    with pytest.raises(DataError, match="not a picture of a known format"):
        decode(saved(noise(32, 32, 3), kind), "odd")


def test_float_and_32_bit_pixels_are_refused_with_advice() -> None:
    with pytest.raises(DataError, match="hdr: floating-point pixels are not supported; save"):
        decode(saved(np.ones((3, 3), np.float32), "TIFF"), "hdr")
    with pytest.raises(DataError, match="deep: 32-bit integer pixels are not supported; save"):
        decode(saved(np.array([[0, 65536]], np.int32), "TIFF"), "deep")
    with pytest.raises(DataError, match="32-bit integer"):
        decode(saved(np.array([[-1, 5]], np.int32), "TIFF"), "deep")
    with pytest.raises(DataError, match="deep: 32-bit integer"):  # values of 8 bits, which 16 bits would make black
        decode(saved(np.array([[0, 255]], np.int32), "TIFF"), "deep")


@pytest.mark.parametrize(
    ("width", "height"), [(10_000, 10_000), (20_000, 20_000), (64_000_001, 1), (2**31 - 1, 2**31 - 1)]
)
def test_a_tiny_file_with_a_huge_header_is_refused_before_decoding(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_decoding(monkeypatch)
    with pytest.raises(DataError, match=r"bomb: .*(px allowed|far too many pixels)"):
        decode(forged_png(width, height, rows=bytes(100)), "bomb")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM"])
def test_the_pixel_limit_holds_in_every_format(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(noise(24, 32, 3), kind)
    assert decode(data, "fits", max_pixels=24 * 32).pixels.shape == (24, 32, 3)
    no_decoding(monkeypatch)
    with pytest.raises(DataError, match="big: 32 x 24 px, more than the 767 px allowed"):
        decode(data, "big", max_pixels=24 * 32 - 1)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="none: "):
        decode(forged_png(*size), "none")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "BMP", "WEBP", "GIF", "PPM"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 600),
)
def test_damage_anywhere_ends_in_a_picture_or_a_data_error(kind: str, flips: list[tuple[int, int]], cut: int) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = 6
    data = bytearray(saved(noise(6, 8, 3), kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {})))
    for place, value in flips:
        data[place % len(data)] = value
    data = data[: max(1, len(data) - cut)] if cut % 3 == 0 else data
    try:
        outcome = str(decode(bytes(data), "x", max_pixels=10_000).pixels.shape)
    except DataError as error:
        outcome = str(error)
    assert outcome.startswith(("x: ", "("))


# Files.


def test_empty_missing_folder_and_oversized_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(DataError, match=r"empty\.png: the file is empty \(0 bytes\)"):
        read_image(empty)
    with pytest.raises(DataError, match=r"gone\.png: no such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(DataError, match="not a file"):
        read_image(tmp_path)
    sparse = tmp_path / "sparse.png"
    with sparse.open("wb") as handle:
        handle.truncate(MAX_FILE_BYTES + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("the file was read"))
    with pytest.raises(DataError, match=f"sparse.png: {MAX_FILE_BYTES + 1} bytes, more than the {MAX_FILE_BYTES}"):
        read_image(sparse)


def test_pipes_and_devices_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    # Opening the pipe would wait for a writer for ever.
    monkeypatch.setattr(io, "open", lambda *_, **__: pytest.fail("the file was opened"))
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(DataError, match="not a file"):
            read_image(path)


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(saved(noise(2, 2, 3), "PNG"))
    path.chmod(0)
    with pytest.raises(DataError, match=r"secret\.png: cannot be read \(Permission denied\)"):
        read_image(path)


def test_a_read_error_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bad_sector.png"
    path.write_bytes(b"x")

    def fail(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(DataError, match=r"bad_sector\.png: cannot be read \(Input/output error\)"):
        read_image(path)


def test_file_names_that_are_not_utf8(tmp_path: Path) -> None:
    good, bad = (Path(os.fsdecode(os.fsencode(tmp_path) + name)) for name in (b"/caf\xe9.png", b"/caf\xe9.txt"))
    good.write_bytes(saved(noise(2, 3, 3), "PNG"))
    bad.write_bytes(b"text")
    np.testing.assert_array_equal(read_image(good).pixels, noise(2, 3, 3))
    with pytest.raises(DataError, match=r"caf\\xe9\.txt: not a picture") as caught:
        read_image(str(bad))
    str(caught.value).encode("utf-8")


def test_read_bytes_returns_the_file(tmp_path: Path) -> None:
    path = tmp_path / "any"
    path.write_bytes(b"\x00\xff content")
    assert read_bytes(path) == b"\x00\xff content"


# Encoding and resizing.

PICTURES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)))


@settings(max_examples=60, deadline=None)
@given(PICTURES)
def test_png_round_trip(pixels: Array) -> None:
    data = encode_png(Image(pixels))
    np.testing.assert_array_equal(decode(data, "round trip").pixels, pixels)
    assert encode_png(Image(pixels.copy())) == data


@settings(max_examples=60, deadline=None)
@given(PICTURES, st.integers(1, 40), st.integers(1, 40))
def test_resize_agrees_with_pillow_in_floats(pixels: Array, width: int, height: int) -> None:
    def one_pass(planes: list[Array], size: tuple[int, int]) -> list[Array]:
        resized = [PilImage.fromarray(p.astype(np.float32)).resize(size, PilImage.Resampling.BICUBIC) for p in planes]
        return [np.clip(np.asarray(p), 0, 255).round() for p in resized]

    planes = [pixels[:, :, c] for c in range(3)]
    # Bytes are rounded and clipped between the passes; Pillow takes the cheaper order.
    orders = [(width, len(pixels)), (pixels.shape[1], height)]
    either = [np.stack(one_pass(one_pass(planes, between), (width, height)), axis=2) for between in orders]
    result = resize(Image(pixels), width, height).pixels
    assert result.shape == (height, width, 3)
    # A value halfway between two levels after the first pass may go either way, and the second pass adds its own.
    allowed = 1 if width == pixels.shape[1] or height == pixels.shape[0] else 2
    assert min(np.abs(result - expected).max() for expected in either) <= allowed


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3), *[st.integers(1, 30)] * 4)
def test_resize_keeps_a_constant(colour: tuple[int, int, int], w0: int, h0: int, w1: int, h1: int) -> None:
    flat = Image(np.full((h0, w0, 3), colour, np.uint8))
    assert (resize(flat, w1, h1).pixels == colour).all()


def test_resize_to_the_same_size_is_the_same_picture() -> None:
    image = Image(noise(4, 5, 3))
    assert resize(image, 5, 4) is image


def test_reduced_pair_cuts_and_reduces() -> None:
    hr, lr = reduced_pair(Image(noise(13, 18, 3)), 4)
    np.testing.assert_array_equal(hr.pixels, noise(13, 18, 3)[:12, :16])
    assert (lr.width, lr.height) == (4, 3)
    np.testing.assert_array_equal(lr.pixels, resize(hr, 4, 3).pixels)
    with pytest.raises(DataError, match="18 x 3 px is too small to reduce 4 times"):
        reduced_pair(Image(noise(3, 18, 3)), 4)


@given(width=st.integers(1, 80), height=st.integers(1, 80), side=st.integers(1, 40))
def test_at_most_keeps_the_shape_and_never_enlarges(width: int, height: int, side: int) -> None:
    image = Image(np.zeros((height, width, 3), np.uint8))
    small = at_most(image, side)
    if max(width, height) <= side:
        assert small is image
    else:
        assert max(small.width, small.height) == side
        for got, full in ((small.width, width), (small.height, height)):
            assert abs(got - max(1, full * side / max(width, height))) <= 0.5 + 1e-9
