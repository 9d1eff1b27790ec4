"""The part of a frame that the network sees, there and back: python -m pytest tests/faces/test_regions.py"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faces.mask import Region
from faces.regions import around, between, paste, shift_inside, take, whole_frame

SIZES = [
    (480, 640),
    (640, 480),
    (720, 1280),
    (1080, 1920),
    (144, 176),
    (100, 1000),
    (33, 31),
    (1, 1),
    (7, 900),
]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("long_side", [64, 256, 320])
def test_the_whole_frame_is_seen_and_never_squashed(height, width, long_side):
    region, size = whole_frame(height, width, long_side)
    assert size[0] % 32 == size[1] % 32 == 0 and max(size) == long_side
    assert region.inside(height, width) == (0, 0, width, height)
    aspect = (size[1] / region.width) / (size[0] / region.height)
    if min(height, width) > 200:
        assert abs(aspect - 1) < 0.04
    take(np.zeros((height, width, 3), np.uint8), region, size)


def test_a_circle_stays_a_circle_in_a_wide_frame():
    frame = np.zeros((720, 1280), np.uint8)
    cv2.circle(frame, (600, 300), 200, 255, -1)
    image = take(frame, *whole_frame(720, 1280, 256))
    assert image.shape == (160, 256)
    _, _, width, height = cv2.boundingRect(image)
    assert abs(width - height) <= 1 and width == pytest.approx(400 / 5, abs=1.5)


def test_beyond_the_frame_its_edge_is_repeated():
    frame = np.full((64, 64, 3), 200, np.uint8)
    assert (take(frame, Region(-32, -32, 32, 32), (64, 64)) == 200).all()


@pytest.mark.parametrize(
    "region", [Region(0, 0, 640, 480), Region(-40, 30, 280, 270), Region(500, 300, 756, 492)]
)
def test_there_and_back(region):
    y, x = np.mgrid[:480, :640].astype(np.float32)
    frame = (x / 640 + y / 480) / 2  # a ramp comes through resizing unharmed
    target = np.full((480, 640), -1, np.float32)
    written = paste(take(frame, region, (192, 256)), region, target)
    left, top, right, bottom = written
    assert written == region.inside(480, 640)
    inner = (
        slice(top + 4, bottom - 4),
        slice(left + 4, right - 4),
    )  # at the edge there is nothing to average
    assert np.abs(target[inner] - frame[inner]).max() < 0.004
    target[top:bottom, left:right] = -1
    assert (target == -1).all()


def test_a_region_beside_the_frame_is_an_error():
    frame = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="outside"):
        take(frame, Region(70, 0, 100, 40), (32, 32))
    with pytest.raises(ValueError, match="outside"):
        paste(np.zeros((32, 32), np.uint8), Region(0, -50, 64, -10), frame[..., 0])


def test_between_two_regions():
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.random((480, 640)).astype(np.float32), (0, 0), 12)
    old, new = Region(100, 80, 356, 272), Region(150, 100, 342, 244)
    image = cv2.warpAffine(
        take(frame, old, (192, 256)),
        between(old, (192, 256), new, (96, 128)),
        (128, 96),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    wanted = take(frame, new, (96, 128))
    assert np.abs(image - wanted)[2:-2, 2:-2].max() < 0.05 * np.ptp(wanted)
    same = between(old, (192, 256), old, (192, 256))
    np.testing.assert_allclose(same, [[1, 0, 0], [0, 1, 0]], atol=1e-6)


def test_around_union_and_shift_inside():
    assert around((10, 20), 4, 6) == (8, 17, 12, 23)
    assert around((0, 0), 0.1, 0.1).width == 1
    assert Region(0, 0, 5, 5).union(Region(3, -1, 9, 4)) == (0, -1, 9, 5)
    assert shift_inside(Region(-5, 90, 15, 110), 100, 100) == (0, 80, 20, 100)
    assert shift_inside(Region(-5, 10, 115, 30), 100, 100) == (-5, 10, 115, 30)
    assert Region(-5, -5, -1, 300).inside(100, 100).width == 0
