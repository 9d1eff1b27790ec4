"""Squares beside the face hold nothing of it, are as large as can be, and come out as pictures."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_evaluate import write_pairs

from tools.crop_background import background_square

ROOT = Path(__file__).parents[2]


def largest_free_square(mask):
    """The largest side of a square of zeros, counted row by row (the textbook's dynamic programme)."""
    sides = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), int)
    for y, x in np.argwhere(mask == 0):
        sides[y + 1, x + 1] = 1 + min(sides[y, x], sides[y, x + 1], sides[y + 1, x])
    return sides.max()


@pytest.mark.parametrize("seed", range(20))
def test_square_is_free_and_as_large_as_can_be(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((48, 60), np.uint8)
    for value in (255, 128, 255):
        centre, axes = rng.integers(8, 40, 2), rng.integers(4, 18, 2)
        cv2.ellipse(mask, centre.tolist(), axes.tolist(), 0, 0, 360, value, -1)
    possible = largest_free_square(mask)
    square = background_square(mask)
    if square is None:
        assert possible < 13  # a quarter of 48, to an odd side
        return
    x, y, side = square
    assert x >= 0 and y >= 0 and x + side <= 60 and y + side <= 48
    assert not mask[y : y + side, x : x + side].any()
    assert side >= min(possible - 1, 23)  # the sides are odd
    assert side <= 24


def test_no_square_where_there_is_no_room():
    mask = np.full((40, 40), 255, np.uint8)
    mask[:, :9] = 0
    assert background_square(mask) is None
    assert background_square(np.zeros((40, 40), np.uint8))[2] == 19


def run(*arguments):
    command = [sys.executable, "-m", "tools.crop_background", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def data(tmp_path):
    """a: a face on the right half, red on the left; b: all face."""
    image, mask = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)
    image[:, :20], mask[:, 20:] = (200, 0, 0), 255  # RGB
    write_pairs(tmp_path / "data" / "test", {"a": (image, mask), "b": (image, np.full_like(mask, 255))})
    return tmp_path / "data"


def test_pictures_are_written(data, tmp_path):
    result = run("--data", data, "--output", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "1 pictures without a face, from 2" in result.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    assert (cv2.imread(str(tmp_path / "out" / "a.png")) == (0, 0, 200)).all()  # BGR


def test_broken_picture_leaves_nothing_behind(data, tmp_path):
    (data / "test" / "images" / "b.png").write_bytes(b"no picture")
    result = run("--data", data, "--output", tmp_path / "out")
    assert result.returncode == 1 and "b.png" in result.stderr and "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_cannot_be_is_refused(data, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.png").write_bytes(b"mine")
    result = run("--data", data, "--output", tmp_path / "kept")
    assert result.returncode == 1 and "is there already" in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "kept" / "a.png").read_bytes() == b"mine"
    (data / "test" / "images" / "a.png").unlink()
    (data / "test" / "masks" / "a.png").unlink()
    for source, message in ((data, "leave no room"), (tmp_path / "nowhere", "no such folder")):
        result = run("--data", source, "--output", tmp_path / "out")
        assert result.returncode == 1 and message in result.stderr
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
