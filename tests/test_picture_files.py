"""Picture files as people have them: python -m pytest tests/test_picture_files.py"""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from PIL import Image

from files.pictures import (
    IMAGE_SUFFIXES,
    WRITTEN,
    metadata_of,
    open_picture,
    read_image,
    read_pixels,
    write_image,
)
from media.jobs import kind_of
from utils import UserError

FLAT = np.full((48, 64, 3), (200, 90, 40), np.uint8)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_what_is_written_is_read_by_what_is_in_it(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", FLAT if suffix != ".pgm" else FLAT[..., 0])
    os.rename(tmp_path / f"a{suffix}", tmp_path / "photo.jpg")
    image = read_image(tmp_path / "photo.jpg")
    wanted = FLAT if suffix != ".pgm" else FLAT[..., :1]
    assert image.shape == FLAT.shape and np.abs(image.astype(int) - wanted).max() <= 6
    assert suffix in IMAGE_SUFFIXES


@pytest.mark.parametrize(
    "head", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\xc5\xd0\xd3\xc6" + bytes(99)]
)
def test_nothing_foreign_is_run(tmp_path, monkeypatch, head):
    script = tmp_path / "gs"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/it-ran\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "x.jpg").write_bytes(head)
    with pytest.raises(UserError, match=r"x\.jpg: it is PostScript, which is a program"):
        read_image(tmp_path / "x.jpg")
    with pytest.raises(Image.UnidentifiedImageError):
        open_picture(tmp_path / "x.jpg").load()
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    "data, library",
    [
        (b"\0\0\0\x18ftypheic" + bytes(40), "pillow-heif|broken"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "pillow-jxl-plugin"),
        (b"%PDF-1.7\n", "pypdfium2"),
        (b"nothing at all", "not a picture"),
    ],
)
def test_what_could_read_it_is_said(tmp_path, data, library):
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(UserError, match=rf"a\.jpg: .*({library})"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "a.nef").write_bytes(b"II*\0 nothing at all")
    with pytest.raises(UserError, match="rawpy"):
        read_image(tmp_path / "a.nef")


@pytest.mark.parametrize(
    "values, wanted, told",
    [
        (np.uint16([[0, 0x8000, 0xFFFF]]), [0, 128, 255], ""),
        (np.int32([[0, 0x8000, 0xFFFF]]), [0, 128, 255], ""),
        (np.float32([[0.25, 0.5, 1]]), [64, 128, 255], "greys from 0 to 1"),
        (np.float32([[np.nan, -1000, 1000, np.inf]]), [0, 0, 255, 255], "greys from -1000 to 1000"),
        (np.int32([[-100, 0, 300]]), [0, 64, 255], "greys from -100 to 300"),
        (np.int32([[0, 0x8000, 0x10000]]), [0, 128, 255], "greys from 0 to 65536"),
        (np.uint32([[0, 1 << 31, (1 << 32) - 1]]), [0, 128, 255], "greys from 0 to 4.29497e+09"),
        (np.float32([[7, 7, 7]]), [0, 0, 0], "greys from 7 to 7"),
    ],
)
def test_greys_of_more_than_8_bits_are_scaled(tmp_path, values, wanted, told, caplog):
    caplog.set_level("INFO")
    signed = values.dtype != np.uint32
    Image.fromarray(values if signed else values.view(np.int32)).save(tmp_path / "a.tif")
    if not signed:  # which Pillow does not write
        entries = (struct.pack("<HHIH", 339, 3, 1, kind) for kind in (2, 1))
        (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes().replace(*entries))
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image, np.repeat(np.uint8(wanted)[None, :, None], 3, axis=2))
    assert told in caplog.text and bool(told) == bool(caplog.text)


def test_what_would_help_with_other_tiffs_is_said(tmp_path):
    Image.fromarray(np.float32([[np.inf, np.nan]])).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif: broken picture \(there is no number in it"):
        read_image(tmp_path / "a.tif")
    Image.new("RGB", (4, 2)).save(tmp_path / "b.tif")
    data = (tmp_path / "b.tif").read_bytes()
    bits = struct.pack("<3H", 8, 8, 8)
    assert data.count(bits) == 1
    (tmp_path / "b.tif").write_bytes(data.replace(bits, struct.pack("<3H", 32, 32, 32)))
    with pytest.raises(
        UserError, match=r"b\.tif: it is TIFF that is not read here: save it with integers of 8 or 16 bits"
    ):
        read_image(tmp_path / "b.tif")


def display_p3() -> bytes:
    """Return a colour profile of the screens of today, put together by the ICC's specification."""

    def xyz(*numbers: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(65536 * number)) for number in numbers)

    curve = [2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045]
    parts = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 3) + b"P3\0" + bytes(78 + 9),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.51512, 0.24120, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.15710, 0.06657, 0.78407),
    }
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        parts[name] = b"para\0\0\0\0\0\3\0\0" + b"".join(struct.pack(">i", round(65536 * n)) for n in curve)
    table, data = struct.pack(">I", len(parts)), b""
    for name, part in parts.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(parts) + len(data), len(part))
        data += part + bytes(-len(part) % 4)
    head = struct.pack(
        ">I4s4s4s4s4s", 128 + len(table) + len(data), b"", b"\2\x40\0\0", b"mntr", b"RGB ", b"XYZ "
    )
    head += (
        bytes(12)
        + b"acsp"
        + bytes(28)
        + b"".join(struct.pack(">i", round(65536 * n)) for n in (0.9642, 1, 0.8249))
    )
    return head.ljust(128, b"\0") + table + data


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_colour_profile_is_applied(tmp_path, mode):
    picture = Image.new(mode, (8, 8), (230, 120, 82) + ((128,) if mode == "RGBA" else ()))
    picture.save(tmp_path / "p3.png", icc_profile=display_p3())
    pixels = read_pixels(tmp_path / "p3.png")[4, 4]
    assert np.abs(pixels[:3].astype(int) - (245, 113, 71)).max() <= 2, pixels
    assert mode == "RGB" or pixels[3] == 128
    picture.save(tmp_path / "broken.png", icc_profile=b"no profile")
    assert tuple(read_pixels(tmp_path / "broken.png")[4, 4][:3]) == (230, 120, 82)


def test_metadata_without_the_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x0110], exif[0x0132] = 6, "A camera", "2024:05:01 12:00:00"
    Image.fromarray(FLAT).save(tmp_path / "a.jpg", exif=exif)
    write_image(tmp_path / "b.jpg", FLAT, exif=metadata_of(tmp_path / "a.jpg"))
    kept = Image.open(tmp_path / "b.jpg").getexif()
    assert (kept[0x0110], kept[0x0132]) == ("A camera", "2024:05:01 12:00:00") and 0x0112 not in kept
    write_image(tmp_path / "c.jpg", FLAT)
    assert not Image.open(tmp_path / "c.jpg").getexif()


@pytest.mark.parametrize("mode", ["L", "RGBA", "RGB"])
def test_metadata_of_a_tiff_says_nothing_of_how_it_was_stored(tmp_path, mode):
    exif = Image.Exif()
    exif[0x0110] = "A camera"
    exif.get_ifd(0x8769)[0x9003], exif.get_ifd(0x8769)[0x927C] = "2024:05:01 12:00:00", b"a small copy"
    Image.new(mode, (30, 20), 99).save(tmp_path / "a.tif", exif=exif.tobytes(), icc_profile=display_p3())
    wide = np.full((40, 90, 3), 50, np.uint8)
    for name in ("b.tif", "b.jpg"):
        write_image(tmp_path / name, wide, exif=metadata_of(tmp_path / "a.tif"))
        with Image.open(tmp_path / name) as picture:
            kept = picture.getexif()
            assert (picture.mode, picture.size, kept[0x0110]) == ("RGB", (90, 40), "A camera")
            assert kept.get_ifd(0x8769) == {0x9003: "2024:05:01 12:00:00"}
            assert "icc_profile" not in picture.info
        assert np.abs(read_image(tmp_path / name).astype(int) - wide).max() <= 1


def test_an_animated_avif_is_an_animation(tmp_path):
    first, second = (Image.new("RGB", (64, 48), color) for color in ("red", "blue"))
    first.save(tmp_path / "a.avif", save_all=True, append_images=[second])
    assert kind_of(tmp_path / "a.avif") == "animation"


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_several_pictures_in_one_file(tmp_path, suffix):
    images = [np.full((48, 64, 3), (60 * number, 90, 40), np.uint8) for number in range(4)]
    write_image(tmp_path / f"a{suffix}", *images, seconds=[0.1, 0.2, 0.3, 0.4])
    assert kind_of(tmp_path / f"a{suffix}") == "animation"
    with open_picture(tmp_path / f"a{suffix}") as picture:
        assert picture.n_frames == 4 and picture.info.get("loop", 0 if suffix == ".tif" else None) == 0
        if suffix in (".gif", ".png"):
            picture.seek(2)
            assert picture.info["duration"] == 300
    write_image(tmp_path / "one.png", FLAT)
    assert kind_of(tmp_path / "one.png") == "picture" and kind_of(tmp_path / "none.png") is None


def test_a_long_name_and_a_link(tmp_path):
    name = "n" * 246 + ".png"
    os.symlink(name, tmp_path / "link.png")
    write_image(tmp_path / "link.png", FLAT)
    assert (tmp_path / "link.png").is_symlink() and (read_image(tmp_path / name) == FLAT).all()
