"""The part of a frame that the network sees, there and back: python -m pytest tests/faces/test_crops.py"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faces.crops import (
    Crop,
    between,
    brighten,
    crop_about,
    in_crop,
    in_frame,
    lay,
    shift_inside,
    steady,
    take,
    whole_frame,
)
from faces.mask import Region

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
    crop = whole_frame((height, width), long_side)
    region, size = crop
    assert size[0] % 32 == size[1] % 32 == 0 and max(size) == long_side
    assert region.inside(height, width) == (0, 0, width, height)
    aspect = (size[1] / region.width) / (size[0] / region.height)
    if min(height, width) > 200:
        assert abs(aspect - 1) < 0.04
    assert take(np.zeros((height, width, 3), np.uint8), crop).shape == (*size, 3)


def test_a_circle_stays_a_circle_in_a_wide_frame():
    frame = np.zeros((720, 1280), np.uint8)
    cv2.circle(frame, (600, 300), 200, 255, -1)
    image = take(frame, whole_frame(frame.shape, 256))
    assert image.shape == (160, 256)
    _, _, width, height = cv2.boundingRect(image)
    assert abs(width - height) <= 1 and width == pytest.approx(400 / 5, abs=1.5)


def test_beyond_the_frame_its_edge_is_repeated():
    frame = np.full((64, 64, 3), 200, np.uint8)
    assert (take(frame, Crop(Region(-32, -32, 32, 32), (64, 64))) == 200).all()


@pytest.mark.parametrize(
    "region", [Region(0, 0, 640, 480), Region(-40, 30, 280, 270), Region(500, 300, 756, 492)]
)
def test_there_and_back(region):
    y, x = np.mgrid[:480, :640].astype(np.float32)
    frame = ((x / 640 + y / 480) * 127).astype(np.uint8)  # a ramp comes through resizing unharmed
    crop = Crop(region, (192, 256))
    place, part = lay(take(frame, crop), crop, frame.shape)
    assert place == region.inside(480, 640) and part.shape == (place.height, place.width)
    difference = part.astype(int) - frame[place.rows, place.columns]
    assert np.abs(difference)[4:-4, 4:-4].max() <= 2  # at the edge there is nothing to average


def test_a_region_beside_the_frame_is_an_error():
    frame = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="outside"):
        take(frame, Crop(Region(70, 0, 100, 40), (32, 32)))
    with pytest.raises(ValueError, match="outside"):
        lay(np.zeros((32, 32), np.uint8), Crop(Region(0, -50, 64, -10), (32, 32)), frame.shape)


def test_between_two_regions():
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.random((480, 640)).astype(np.float32), (0, 0), 12)
    old = Crop(Region(100, 80, 356, 272), (192, 256))
    new = Crop(Region(150, 100, 342, 244), (96, 128))
    matrix = between(old, old.size, new, new.size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(take(frame, old), matrix, (128, 96), flags=flags)
    wanted = take(frame, new)
    assert np.abs(image - wanted)[2:-2, 2:-2].max() < 0.05 * np.ptp(wanted)
    np.testing.assert_allclose(between(old, old.size, old, old.size), [[1, 0, 0], [0, 1, 0]], atol=1e-6)


def test_regions():
    assert Region(0, 0, 5, 5).union(Region(3, -1, 9, 4)) == (0, -1, 9, 5)
    assert Region(0, 1, 5, 6).moved(2, -3) == (2, -2, 7, 3)
    assert shift_inside(Region(-5, 90, 15, 110), 100, 100) == (0, 80, 20, 100)
    assert shift_inside(Region(-5, 10, 115, 30), 100, 100) == (-5, 10, 115, 30)
    assert Region(-5, -5, -1, 300).inside(100, 100).width == 0


@pytest.mark.parametrize(
    ("height", "pixels"), [(4, 96), (40, 96), (57, 128), (60, 128), (80, 160), (110, 224), (500, 224)]
)
def test_a_face_is_looked_at_in_a_square_of_its_own_resolution(height, pixels):
    box = Region(900, 290, 900 + height * 3 // 4, 290 + height)
    region, size = crop_about(box, (1080, 1920), largest=224, smallest=96)
    assert size == (pixels, pixels) and region.width == region.height == pytest.approx(2 * height, abs=1)
    assert region.centre == pytest.approx(box.centre, abs=1)


def test_a_face_at_the_border_is_seen_with_its_real_surroundings():
    region, _ = crop_about(Region(-10, -20, 70, 80), (480, 640), largest=224)
    assert (region.left, region.top) == (0, 0) and region.width == region.height == 200
    region, _ = crop_about(Region(100, 20, 460, 470), (480, 640), largest=224)  # hardly fits into the frame
    assert region.width == region.height == 640 and region.left == 0 and region.top < 0


def test_a_face_on_its_way_out_is_still_looked_at():
    for box in (Region(900, 700, 1000, 800), Region(-900, -700, -500, -200)):
        crop = crop_about(box, (480, 640), largest=224)
        assert take(np.zeros((480, 640, 3), np.uint8), crop).shape == (224, 224, 3) or max(crop.size) < 224


def test_a_crop_stands_still_until_the_face_has_moved_or_grown():
    first = crop_about(Region(100, 100, 200, 200), (480, 640), 224)
    for box, stays in (
        (Region(110, 110, 210, 210), True),
        (Region(90, 90, 205, 205), True),
        (Region(130, 100, 230, 200), False),
        (Region(80, 80, 220, 220), False),
    ):
        new = crop_about(box, (480, 640), 224)
        assert steady(first, new) == (first if stays else new) and steady(None, new) == new


def test_a_box_there_and_back():
    crop = Crop(Region(100, -50, 300, 150), (96, 96))
    assert in_crop(Region(100, -50, 200, 50), crop) == (0, 0, 48, 48)
    assert in_frame(Region(48, 24, 96, 48), crop) == (200, 0, 300, 50)


def test_a_dark_image_is_brightened_and_no_other():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    assert brighten(image) is image
    dark = (image * 0.2).astype(np.uint8)
    assert np.abs(brighten(dark).astype(int) - image).mean() < 4
    assert brighten(np.zeros((5, 5, 3), np.uint8)).max() == 0
