"""Picture files, in and out: by what is in a file, not by its name. Images are HWC uint8 RGB, in sRGB."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from files.paths import atomic_path, regular_file
from utils import UserError, log

with contextlib.suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()

# Nothing else is opened: for some formats Pillow starts other programs, as Ghostscript for PostScript.
OPENED = ("JPEG", "MPO", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM", "HEIF")
ANIMATED = ("PNG", "WEBP", "GIF", "TIFF", "AVIF")  # may hold several pictures, which belong together
# By suffix: the format that is written, and how.
WRITTEN = {
    **dict.fromkeys((".jpg", ".jpeg", ".jfif", ".jpe"), ("JPEG", {"quality": 95})),
    ".png": ("PNG", {"compress_level": 1}),
    ".bmp": ("BMP", {}),
    ".webp": ("WEBP", {"lossless": True}),
    **dict.fromkeys((".tif", ".tiff"), ("TIFF", {"compression": "tiff_lzw"})),
    ".gif": ("GIF", {}),
    ".jp2": ("JPEG2000", {}),
    **dict.fromkeys((".ppm", ".pgm", ".pnm"), ("PPM", {})),
    ".avif": ("AVIF", {"quality": 90}),
}
READ_TOO = (".apng", ".dib", ".heic", ".heif", ".hif", ".j2k", ".jpx", ".mpo", ".pbm")
IMAGE_SUFFIXES = (*WRITTEN, *READ_TOO)
ALPHA_SUFFIXES = (".png", ".webp", ".tif", ".tiff", ".gif", ".jp2", ".avif")
EXACT_SUFFIXES = (*ALPHA_SUFFIXES[:-1], ".bmp", ".pgm", ".ppm", ".pnm")  # which change no level of a mask
EXIF_HOLDERS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
ANIMATED_SUFFIXES = (".gif", ".webp", ".png", ".tif", ".tiff")
# What a file begins with, some after four bytes, that is a picture to others: what it is, and what reads it.
OTHERS = {
    (b"%!PS", b"\xc5\xd0\xd3\xc6"): "PostScript, which is a program and not run here: convert it to PNG",
    (b"%PDF",): "PDF: the package pypdfium2 turns its pages into pictures",
    (b"\xff\x0a", b"JXL "): "JPEG XL: the package pillow-jxl-plugin reads it",
    (b"II*\0", b"MM\0*"): "TIFF that is not read here: save it with integers of 8 or 16 bits a channel",
    (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"): "HEIC: install the package pillow-heif",
}
# EXIF that is kept: title, maker, camera, program, date, author, rights, the camera's settings, the place.
# All else, in TIFF, says how the file was stored, and would make another one unreadable.
KEPT = {0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, 0x8769, 0x8825}
SAMPLE_FORMAT = 339  # TIFF's tag; 1 is of integers without a sign
ORIENTATION = 0x0112
MAKER_NOTE = 0x927C  # of the settings: may hold a small copy of the picture
RAW = (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf")  # of cameras


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Return a picture file as HxWx3 uint8 sRGB, as `read_pixels` does, with transparency laid on black."""
    return on_black(read_pixels(path))


def read_pixels(path: str | os.PathLike, name: str = "") -> np.ndarray:
    """Return a picture file, or the first picture in it, as HxWx3 uint8 sRGB, HxWx4 if it has transparency.

    EXIF's orientation and the colour profile are applied; 16 bits become 8; greys of more bits are scaled,
    and a line with the name, by default the path, says so.
    Raises UserError if there is no whole picture in it.
    """
    with picture_of(path) as picture:
        ImageOps.exif_transpose(picture, in_place=True)
        return to_pixels(picture, name or str(path))


def on_black(pixels: np.ndarray) -> np.ndarray:
    """Return HxWx3 of HxWx3 or HxWx4, what is transparent laid on black."""
    if pixels.shape[2] == 3:
        return pixels
    return (pixels[..., :3] * (pixels[..., 3:] / np.float32(255)) + 0.5).astype(np.uint8)


def upright(picture: Image.Image) -> Image.Image:
    """Return the present picture of an animation turned upright, as its EXIF says. What is opened stays as
    it is: the pictures after it are made from this one.
    """
    picture.load()  # Pillow itself turns those of a TIFF
    if picture.getexif().get(ORIENTATION, 1) == 1:
        return picture
    return ImageOps.exif_transpose(picture)


@contextlib.contextmanager
def picture_of(path: str | os.PathLike) -> Iterator[Image.Image]:
    """Yield an opened picture file. What goes wrong inside becomes a UserError that names the file."""
    path = regular_file(path)
    try:
        with open_picture(path) as picture:
            yield picture
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: {what_else(path)}") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: more pixels than is safe to open; scale it down first") from error
    except Exception as error:  # Pillow raises almost anything on broken data, struct.error for one
        raise UserError(f"{path}: broken picture ({error})") from error


def open_picture(path: str | os.PathLike) -> Image.Image:
    """Open a file of these formats alone."""
    Image.init()
    return Image.open(path, formats=[name for name in OPENED if name in Image.OPEN])


def to_pixels(picture: Image.Image, name: str) -> np.ndarray:
    """Return HxWx3 or HxWx4 uint8 sRGB. name: of the picture, in what is said of it."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        return np.dstack([to_grey(picture, name)] * 3)
    alpha = None
    if "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        alpha = np.array(picture.getchannel("A"))
    pixels = np.array(to_srgb(picture))
    return pixels if alpha is None or alpha.min() == 255 else np.dstack([pixels, alpha])


def to_grey(picture: Image.Image, name: str) -> np.ndarray:
    """Return greys of more than 8 bits as HxW uint8: the upper half of 16 bits, 0 to 1 of floats, else all
    from the lowest to the highest; a line says so.
    """
    values = np.asarray(picture)
    if picture.mode == "I" and getattr(picture, "tag_v2", {}).get(SAMPLE_FORMAT) == (1,):
        values = values.view(np.uint32)  # as it is in the TIFF
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("there is no number in it")
    low, high = float(finite.min()), float(finite.max())
    if values.dtype.kind in "iu" and low >= 0 and high < 1 << 16:
        return (values >> 8).astype(np.uint8)
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    log.info("%s: its greys from %g to %g become those from 0 to 255", name, low, high)
    scaled = (values.astype(np.float32) - low) * (255 / max(high - low, 1e-30))
    return np.clip(np.nan_to_num(scaled) + 0.5, 0, 255).astype(np.uint8)


def to_srgb(picture: Image.Image) -> Image.Image:
    if picture.mode not in ("RGB", "L", "CMYK"):
        picture = picture.convert("RGB")
    if profile := picture.info.get("icc_profile"):  # a broken one is none, as to viewers
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            srgb = ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(picture, io.BytesIO(profile), srgb, outputMode="RGB")
    return picture.convert("RGB")


def what_else(path: Path) -> str:
    """Return what a file is that is none of the formats OPENED."""
    if path.suffix.lower() in RAW:
        return "it is a camera's raw picture: the package rawpy reads it"
    with path.open("rb") as file:
        head = file.read(32)
    for start, text in OTHERS.items():
        if head.startswith(start) or head.startswith(start, 4):
            return f"it is {text}"
    return "not a picture, or of an unknown format"


def metadata_of(path: Path) -> bytes:
    """Return a picture file's EXIF, as `write_image` takes it: without the orientation, which is applied."""
    with picture_of(path) as picture:
        exif = picture.getexif()
        for tag in set(exif) - KEPT:
            del exif[tag]
        exif.get_ifd(0x8769).pop(MAKER_NOTE, None)
        return exif.tobytes() if exif else b""


def write_image(
    path: str | os.PathLike, *images: np.ndarray, seconds: list | None = None, exif: bytes = b""
) -> None:
    """Write a picture, or several as an animation or the pages of one file, whole or not at all.

    images: HWC uint8 RGB or RGBA, or HW; the suffix decides their format. seconds: how long each is shown.
    exif: a line says where the format cannot hold it.
    Raises UserError for a format that cannot hold these, OSError if they cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise UserError(f"{path}: '{suffix}' is no picture format; use one of {', '.join(WRITTEN)}")
    if suffix not in ALPHA_SUFFIXES and any(image.shape[2:] == (4,) for image in images):
        raise UserError(f"{path}: '{suffix}' cannot hold transparency; use .png")
    kind, options = WRITTEN[suffix]
    if len(images) > 1:
        durations = [max(1, round(1000 * each)) for each in seconds or [1.0] * len(images)]
        options = {**options, "save_all": True, "loop": 0, "duration": durations}
        options |= {"disposal": 2} if kind == "GIF" else {}  # back to nothing; in PNG it is another thing
    if exif and kind not in EXIF_HOLDERS:
        log.info("%s: date, place and camera are left out, as '%s' cannot hold them", path, suffix)
    elif exif:  # what compresses TIFF cannot write the camera's settings
        options = {name: value for name, value in options.items() if name != "compression"} | {"exif": exif}
    data = io.BytesIO()
    try:
        more = map(Image.fromarray, images[1:])  # one by one, but for PNG, which Pillow goes through twice
        more = list(more) if kind == "PNG" else more
        Image.fromarray(images[0]).save(data, kind, append_images=more, **options)
    except Exception as error:  # of any kind: too large, an encoder that is not there
        raise UserError(f"{path}: cannot encode this picture ({error})") from error
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.getvalue())


def picture_files(folder: str | os.PathLike) -> list[Path]:
    """Return what is named as a picture in a folder, sorted; no hidden files (macOS keeps ._photo.jpg)."""
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder")
    found = (path for path in Path(folder).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(path for path in found if not path.name.startswith("."))
