"""Animations and numbered pictures as outputs: python -m pytest tests/media/test_animations.py"""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image
from scenes import background

from files.pictures import write_image
from media.sources import Animation
from media.writers import AnimationWriter, PictureFolder, VideoWriter
from utils import UserError


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
@pytest.mark.parametrize("finished", [True, False])
def test_all_pictures_come_back(tmp_path, suffix, finished):
    path = tmp_path / f"out{suffix}"
    writer, frames = AnimationWriter(path), [background(48, 64, seed) for seed in range(4)]
    for number, frame in enumerate(frames):
        writer.write(frame, number / 10, (number + 1) / 10)
    writer.close(finished)
    name = path.name if finished else f"out.unfinished{suffix}"
    assert os.listdir(tmp_path) == [name] and name in writer.outcome()
    assert writer.outcome().endswith("cut off") != finished
    with Image.open(tmp_path / name) as picture:
        assert picture.n_frames == 4
        picture.seek(2)
        pixels = np.array(picture.convert("RGB"))[..., ::-1]
    assert np.abs(pixels.astype(int) - frames[2]).mean() < 8


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_what_does_not_move_stays_in_the_picture(tmp_path, suffix, channels):
    frames = [np.full((48, 64, channels), (60, 120, 200, 255)[:channels], np.uint8) for _ in range(6)]
    for number, frame in enumerate(frames):
        frame[10:30, 8 * number : 8 * number + 12, :3] = 0
        if channels == 4:
            frame[10:30, 8 * number : 8 * number + 12, 3] = 0
    write_image(tmp_path / f"a{suffix}", *frames)
    with Image.open(tmp_path / f"a{suffix}") as picture:
        for number, frame in enumerate(frames):
            picture.seek(number)
            shown = np.array(picture.convert("RGBA")).astype(int)
            assert np.abs(shown[..., :3] - frame[..., :3])[shown[..., 3] > 0].max() < 8, number
            assert ((shown[..., 3] > 0) == (frame[..., 3] > 0 if channels == 4 else True)).all(), number


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_has_the_unfinished_files_name_is_left_alone(tmp_path, kind):
    (tmp_path / "mine.txt").write_text("mine")
    taken = tmp_path / "out.unfinished.gif"
    os.symlink("mine.txt", taken) if kind == "link" else os.mkfifo(taken)
    writer = AnimationWriter(tmp_path / "out.gif")
    writer.write(background(48, 64), 0, 1)
    with pytest.raises(OSError, match="is in the way"):
        writer.close(finished=False)
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("expected", [200, 0])  # known at once, or when they have come
def test_what_memory_does_not_hold_is_refused_with_its_size(tmp_path, expected):
    writer, picture = AnimationWriter(tmp_path / "out.gif", expected), np.zeros((1080, 1920, 3), np.uint8)
    with pytest.raises(UserError, match=r"\d+ pictures of 1920x1080 are too large .* a video") as told:
        for number in range(200):
            writer.write(picture, number, number + 1)
    assert ("200 pictures" in str(told.value)) == bool(expected)


def test_numbered_pictures(tmp_path):
    folder = PictureFolder(tmp_path / "out")
    for seed in range(2):
        folder.write(background(48, 64, seed), seed, seed + 1)
    folder.close()
    assert sorted(os.listdir(tmp_path / "out")) == ["000001.png", "000002.png"]
    pixels = np.array(Image.open(tmp_path / "out/000002.png"))[..., ::-1]
    np.testing.assert_array_equal(pixels, background(48, 64, 1))


def test_what_an_animation_may_become_is_named():
    with pytest.raises(
        UserError, match=r"'\.jpg' is no video format; use one of \.mp4.* \.gif, \.webp, \.png"
    ):
        VideoWriter("out.jpg", 10)


@pytest.mark.parametrize("suffix", [".webp", ".png", ".tif"])
def test_an_animation_is_upright_as_a_picture_is(tmp_path, suffix):
    exif, frames = Image.Exif(), [background(48, 64, seed) for seed in range(3)]
    exif[0x0112] = 6
    pictures = [Image.fromarray(np.rot90(frame[..., ::-1])) for frame in frames]
    how = {"lossless": True} if suffix == ".webp" else {}
    pictures[0].save(tmp_path / f"in{suffix}", save_all=True, append_images=pictures[1:], exif=exif, **how)
    source = Animation(tmp_path / f"in{suffix}")
    found = [frame.image for frame in iter(source.read, None)]
    turned = 1 if suffix == ".tif" else 3  # in TIFF each page has its own
    assert len(found) == 3
    for image, frame in list(zip(found, frames))[:turned]:
        np.testing.assert_array_equal(image, frame)
