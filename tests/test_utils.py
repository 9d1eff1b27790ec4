"""Pictures in and out, preprocessing and whole files: python -m pytest tests/test_utils.py"""

from __future__ import annotations

import io
import os
import struct
import sys

import numpy as np
import pytest
from PIL import Image
from programs import ended

import utils
from files import paths, pictures
from utils import UserError


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_preprocess_is_the_published_normalisation(picture):
    result = utils.preprocess(picture)
    expected = (picture.astype(np.float64) - [123.68, 116.779, 103.939]) / [58.393, 57.12, 57.375]
    assert result.dtype == np.float32 and result.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(result, expected.transpose(2, 0, 1), atol=1e-5)


def test_preprocess_takes_views_that_are_not_contiguous(picture):
    np.testing.assert_array_equal(
        utils.preprocess(picture[..., ::-1]), utils.preprocess(picture[..., ::-1].copy())
    )


def test_preprocess_resizes_first_and_averages_when_it_shrinks(picture):
    half = utils.preprocess(picture, size=(20, 30))
    assert half.shape == (3, 20, 30)
    mean_of_four = picture.reshape(20, 2, 30, 2, 3).mean(axis=(1, 3))
    restored = half.transpose(1, 2, 0) * utils.STD + utils.MEAN
    assert np.abs(restored - mean_of_four).max() <= 0.51
    assert utils.preprocess(picture, size=(80, 120)).shape == (3, 80, 120)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_preprocess_refuses_other_arrays(bad):
    with pytest.raises(ValueError, match="HxWx3 uint8"):
        utils.preprocess(bad)


@pytest.mark.parametrize(
    ("height", "width", "long_side", "expected"),
    [
        (480, 640, 256, (192, 256)),
        (640, 480, 256, (256, 192)),
        (720, 1280, 256, (160, 256)),
        (100, 100, 250, (256, 256)),
        (10, 4000, 256, (32, 256)),
        (1, 1, 1, (32, 32)),
    ],
)
def test_fit_size(height, width, long_side, expected):
    assert utils.fit_size(height, width, long_side) == expected


def test_sigmoid_is_right_and_never_overflows():
    logits = np.array([-1e9, -20, -1, 0, 1, 20, 1e9])
    with np.errstate(all="raise"):
        probabilities = utils.sigmoid(logits)
    assert probabilities.dtype == np.float32
    inner = logits[1:-1]
    np.testing.assert_allclose(probabilities[1:-1], 1 / (1 + np.exp(-inner)), rtol=1e-6)
    assert probabilities[0] < 1e-12 and probabilities[-1] == 1


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_lossless_round_trip_keeps_the_channel_order(tmp_path, picture, suffix):
    path = tmp_path / f"a{suffix}"
    pictures.write_image(path, picture)
    np.testing.assert_array_equal(pictures.read_image(path), picture)
    np.testing.assert_array_equal(np.array(Image.open(path).convert("RGB")), picture)


def test_jpeg_and_grey_and_alpha(tmp_path, picture):
    flat = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    pictures.write_image(tmp_path / "a.jpg", flat)
    assert np.abs(pictures.read_image(tmp_path / "a.jpg").astype(int) - flat).max() < 6
    pictures.write_image(tmp_path / "grey.png", picture[..., 0])
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "grey.png"), picture[..., :1].repeat(3, 2))
    alpha = np.dstack([picture, np.where(np.arange(60) < 30, 255, 0).astype(np.uint8)[None].repeat(40, 0)])
    pictures.write_image(tmp_path / "alpha.png", alpha)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "alpha.png")), alpha)
    on_black = np.where(alpha[..., 3:] == 255, picture, 0)
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "alpha.png"), on_black)


def test_exif_orientation_is_applied(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "turned.png"), np.rot90(picture, -1))


def test_sixteen_bits_palette_and_cmyk(tmp_path):
    wide = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(pictures.read_image(tmp_path / "wide.png")[..., 1].ravel(), np.arange(256))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "palette.png")
    assert (pictures.read_image(tmp_path / "palette.png") == (10, 20, 30)).all()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg")
    red, green, blue = pictures.read_image(tmp_path / "cmyk.jpg")[4, 4]
    assert red > 200 and green < 60 and blue < 60


def test_broken_pictures_are_named(tmp_path, picture):
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG")
    contents = {
        "missing.jpg": None,
        "empty.jpg": b"",
        "text.jpg": b"no picture at all",
        "truncated.jpg": data.getvalue()[: len(data.getvalue()) // 2],
    }
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    contents["truncated.png"] = data.getvalue()[: len(data.getvalue()) // 2]
    for name, content in contents.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            pictures.read_image(tmp_path / name)


def test_any_error_of_the_picture_library_is_named(tmp_path, picture, monkeypatch):
    pictures.write_image(tmp_path / "a.png", picture)

    def fail(image):
        raise struct.error("unpack requires a buffer of 2 bytes")

    monkeypatch.setattr(pictures.ImageOps, "exif_transpose", fail)
    with pytest.raises(UserError, match="broken picture"):
        pictures.read_image(tmp_path / "a.png")


def test_write_image_refuses_what_a_format_cannot_hold(tmp_path, picture):
    for name in ("a.xyz", "a"):
        with pytest.raises(utils.UserError, match="no picture format"):
            pictures.write_image(tmp_path / name, picture)
    with pytest.raises(utils.UserError, match="transparency"):
        pictures.write_image(tmp_path / "a.jpg", np.dstack([picture, picture[..., 0]]))
    with pytest.raises(utils.UserError, match="cannot encode"):
        pictures.write_image(tmp_path / "a.png", picture.astype(np.float32))
    assert list(tmp_path.iterdir()) == []


def test_atomic_path_moves_on_success(tmp_path):
    target = tmp_path / "new" / "folder" / "file.bin"
    with paths.atomic_path(target) as temporary:
        assert temporary.parent == target.parent and temporary.suffix == ".bin"
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new" and os.listdir(target.parent) == ["file.bin"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_atomic_path_leaves_the_old_file_on_failure(tmp_path, failure):
    target = tmp_path / "file.bin"
    target.write_bytes(b"old")
    with pytest.raises(failure), paths.atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise failure
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["file.bin"]


def test_atomic_path_names_what_cannot_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(OSError, match=r"cannot write .*folder: it is a folder"),
        paths.atomic_path(tmp_path / "folder"),
    ):
        pass
    (tmp_path / "file").write_bytes(b"")
    for name in ("file/a.bin", "file/in/a.bin"):
        with (
            pytest.raises(OSError, match=f"cannot write .*{name}: Not a dir"),
            paths.atomic_path(tmp_path / name),
        ):
            pass
    with (
        pytest.raises(OSError, match=r"cannot write .*nothing.bin"),
        paths.atomic_path(tmp_path / "nothing.bin"),
    ):
        pass


def test_a_phones_large_picture_is_read_without_a_word(tmp_path, monkeypatch, recwarn):
    pictures.write_image(tmp_path / "large.png", np.zeros((40, 40, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # it warns from here on, and refuses twice as many
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as end:
        utils.run(lambda: pictures.read_image(tmp_path / "large.png").shape != (40, 40, 3))
    assert not end.value.code
    assert not [
        warning for warning in recwarn if issubclass(warning.category, Image.DecompressionBombWarning)
    ]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.raises(UserError, match="more pixels than is safe"):
        pictures.read_image(tmp_path / "large.png")


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="pipe: it is a device or a pipe"), paths.atomic_path(pipe) as path:
        path.write_bytes(b"x")
    assert pipe.is_fifo()


def test_the_current_folder_is_no_file_to_write():
    with pytest.raises(OSError, match="it is a folder"), paths.atomic_path(""):
        pass


@pytest.mark.parametrize("debug", [True, False])
def test_no_password_is_printed_whatever_it_stands_in(debug, capsys):
    def main() -> None:
        parser = utils.Parser("tried")
        parser.add_argument("--source")
        options = parser.parse_args()
        raise OSError(5, "Input/output error", options.source)

    address = "http://me:s3cr3t@host/a.mp4"
    for words in (
        ["--source", address],
        ["--source", address.replace("//", "/")],
        [address],
        ["--x", address],
    ):
        assert ended(main, *words, *["--debug"] * debug) in (1, 2)
        said = capsys.readouterr().err
        assert "s3cr3t" not in said and "host/a.mp4" in said
