"""Safe decoding and encoding of picture files.

A file is never trusted: its size, format and dimensions are checked before any pixel is decoded. Whatever is stored,
the result is (H, W, 3) uint8 RGB: EXIF rotation applied, transparency laid over white, 16 bits scaled to 8, CMYK and
palettes converted, the first frame of an animation. Formats are told by content, not by name.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path

import numpy as np
import PIL
from PIL import ExifTags
from PIL import Image as PilImage

from faceup.errors import DataError
from faceup.files import shown
from faceup.types import Image

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pnm"}
)
MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 64_000_000

# EXIF orientation to the turn or flip that sets the stored picture upright.
_TURNS = {
    2: PilImage.Transpose.FLIP_LEFT_RIGHT,
    3: PilImage.Transpose.ROTATE_180,
    4: PilImage.Transpose.FLIP_TOP_BOTTOM,
    5: PilImage.Transpose.TRANSPOSE,
    6: PilImage.Transpose.ROTATE_270,
    7: PilImage.Transpose.TRANSVERSE,
    8: PilImage.Transpose.ROTATE_90,
}


def read_bytes(path: Path) -> bytes:
    """Return a picture file's bytes, refusing what is empty or too large before reading it.

    Raises:
        DataError: the file is missing, no regular file, empty, or larger than `MAX_FILE_BYTES`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{shown(path)}: not a file but a folder, pipe or device.")
        size = status.st_size
        if size == 0:
            raise DataError(f"{shown(path)}: the file is empty (0 bytes).")
        if size > MAX_FILE_BYTES:
            raise DataError(f"{shown(path)}: {size} bytes, more than the {MAX_FILE_BYTES} allowed for a picture.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{shown(path)}: no such file.") from error
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read ({error.strerror or error}).") from error
    except ValueError as error:  # a NUL, half a surrogate pair
        raise DataError(f"{str(path)!r} is no name of a file ({error}).") from error


def decode(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode the bytes of a picture file.

    Args:
        data: the whole file.
        name: what to call it in an error.
        max_pixels: width times height allowed; checked in the header, before decoding.

    Raises:
        DataError: not a picture of a supported format, damaged, truncated or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata and of sizes that are refused here anyway.
            with PilImage.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise DataError(f"{name}: {width} x {height} px, more than the {max_pixels} px allowed.")
                black, white = _levels(picture, name)
                picture.load()
                return Image(_rgb8(_upright(picture), name, black, white))
    except DataError:
        raise
    except PilImage.DecompressionBombError as error:
        raise DataError(f"{name}: far too many pixels ({error}).") from error
    except PIL.UnidentifiedImageError as error:
        raise DataError(f"{name}: not a picture of a known format ({', '.join(FORMATS)}).") from error
    except Exception as error:
        # On damaged files Pillow raises nearly anything (SyntaxError, IndexError, struct.error); each means the same.
        raise DataError(f"{name}: damaged or truncated picture ({error}).") from error


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a picture file; see `decode` for what is converted and refused."""
    path = Path(path)
    return decode(read_bytes(path), shown(path), max_pixels=max_pixels)


def _upright(picture: PilImage.Image) -> PilImage.Image:
    # Not ImageOps.exif_transpose: it also writes the EXIF anew, which one damaged tag of a good picture makes fail.
    turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


def _levels(picture: PilImage.Image, name: str) -> tuple[int, int]:
    """Return the values of black and white in a grey picture of more than 8 bits; a TIFF file says which they are."""
    tags = getattr(picture, "tag_v2", {})
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    if picture.mode.startswith("I") and bits > 16:
        raise _deep(name)
    top = 2**bits - 1 if 8 < bits < 16 else 65535
    # WhiteIsZero: Pillow inverts such pictures of 8 bits, and leaves those of 16 as they are stored.
    return (top, 0) if tags.get(ExifTags.Base.PhotometricInterpretation) == 0 else (0, top)


def _deep(name: str) -> DataError:
    return DataError(f"{name}: 32-bit integer pixels are not supported; save the picture with 8 or 16 bits.")


def _rgb8(picture: PilImage.Image, name: str, black: int, white: int) -> np.ndarray:
    mode = picture.mode
    if mode.startswith("I"):
        # Pillow's own conversion clips 16 bits at 255 instead of scaling them.
        grey = np.asarray(picture).astype(np.int64)
        if grey.min(initial=0) < 0 or grey.max(initial=0) > 65535:
            raise _deep(name)
        if (clear := picture.info.get("transparency")) is not None:
            grey[grey == clear] = white
        top = max(black, white)
        grey8 = np.minimum((abs(grey - black) * 255 + top // 2) // top, 255).astype(np.uint8)
        return np.repeat(grey8[:, :, None], 3, axis=2)
    if mode == "F":
        raise DataError(f"{name}: floating-point pixels are not supported; save the picture with 8 or 16 bits.")
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        return np.asarray(PilImage.alpha_composite(PilImage.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def resize(image: Image, width: int, height: int) -> Image:
    """Resize with Pillow's bicubic kernel (a = -0.5), antialiased when it shrinks: MATLAB's imresize in practice."""
    if (width, height) == (image.width, image.height):
        return image
    return Image(np.asarray(PilImage.fromarray(image.pixels).resize((width, height), PilImage.Resampling.BICUBIC)))


def at_most(image: Image, side: int) -> Image:
    """Return the picture with its longer side reduced to `side` pixels, or as it is when that is no longer."""
    factor = side / max(image.width, image.height)
    if factor >= 1:
        return image
    return resize(image, max(1, round(image.width * factor)), max(1, round(image.height * factor)))


def reduced_pair(hr: Image, scale: int) -> tuple[Image, Image]:
    """Return (HR, LR): HR cut to a multiple of `scale`, LR its antialiased bicubic reduction (paper, section 4.1)."""
    h, w = hr.height // scale, hr.width // scale
    if min(h, w) < 1:
        raise DataError(f"A picture of {hr.width} x {hr.height} px is too small to reduce {scale} times.")
    hr = Image(hr.pixels[: h * scale, : w * scale])
    return hr, resize(hr, w, h)


def encode_png(image: Image) -> bytes:
    """Return the picture as PNG bytes, the same bytes for the same pixels."""
    import cv2  # takes a while to import, and most users of this module do not write pictures

    # Pillow's level 2 takes half as long again for files a little larger, zlib's default five times as long.
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    done, data = cv2.imencode(".png", cv2.cvtColor(image.pixels, cv2.COLOR_RGB2BGR), settings)
    assert done, "OpenCV writes every picture of bytes as PNG"
    return data.tobytes()
