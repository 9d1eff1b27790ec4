"""What the network is given of a frame, there and back: python -m pytest tests/faces/test_crops.py"""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from faces.crops import (
    Crop,
    between,
    brighten,
    brightness_gain,
    crop_face,
    crop_frame,
    shift_inside,
    steady,
)
from faces.mask import Region

LARGEST = (224, 32)
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


def independent_matrix(crop: Crop) -> np.ndarray:
    """The 2x3 matrix from the frame to the crop's image, from where three points of the crop go."""
    height, width = crop.size
    cos, sin = math.cos(math.radians(crop.angle)), math.sin(math.radians(crop.angle))
    (x, y), half_width, half_height = crop.region.centre, crop.region.width / 2, crop.region.height / 2
    right, down = np.array([cos, sin]) * half_width, np.array([-sin, cos]) * half_height
    points = [np.array([x, y]) + shift for shift in (-right - down, right - down, -right + down)]
    wanted = [(0, 0), (width, 0), (0, height)]
    # Pixels are counted from their corners here, and from their centres by OpenCV.
    return cv2.getAffineTransform(np.float32(points) - 0.5, np.float32(wanted) - 0.5)


def soft_frame(height: int, width: int) -> np.ndarray:
    """HWC uint8 with nothing in it that resizing could harm."""
    noise = np.random.default_rng(0).random((height, width, 3)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 12), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("long_side", [64, 256, 320])
def test_the_whole_frame_is_seen_and_never_squashed(height, width, long_side):
    crop = crop_frame((height, width), long_side)
    region, size, angle = crop
    assert size[0] % 32 == size[1] % 32 == 0 and max(size) == long_side and angle == 0
    assert region.inside(height, width) == (0, 0, width, height)
    aspect = (size[1] / region.width) / (size[0] / region.height)
    if min(height, width) > 200:
        assert abs(aspect - 1) < 0.04
    assert crop.cut(np.zeros((height, width, 3), np.uint8)).shape == (*size, 3)


def test_a_circle_stays_a_circle_in_a_wide_frame():
    frame = np.zeros((720, 1280), np.uint8)
    cv2.circle(frame, (600, 300), 200, 255, -1)
    image = crop_frame(frame.shape, 256).cut(frame)
    assert image.shape == (160, 256)
    _, _, width, height = cv2.boundingRect(image)
    assert abs(width - height) <= 1 and width == pytest.approx(400 / 5, abs=1.5)


@pytest.mark.parametrize("angle", [0.0, 50.0])
def test_beyond_the_frame_its_edge_is_repeated(angle):
    frame = np.full((64, 64, 3), 200, np.uint8)
    assert (Crop(Region(-32, -32, 32, 32), (64, 64), angle).cut(frame) == 200).all()


@pytest.mark.parametrize(
    "region", [Region(0, 0, 640, 480), Region(-40, 30, 280, 270), Region(500, 300, 756, 492)]
)
def test_there_and_back(region):
    y, x = np.mgrid[:480, :640].astype(np.float32)
    frame = ((x / 640 + y / 480) * 127).astype(np.uint8)  # a ramp comes through resizing unharmed
    crop = Crop(region, (192, 256))
    place, part = crop.paste(crop.cut(frame), frame.shape)
    assert place == region.inside(480, 640) and part.shape == (place.height, place.width)
    difference = part.astype(int) - frame[place.rows, place.columns]
    assert np.abs(difference)[4:-4, 4:-4].max() <= 2  # at the edge there is nothing to average


@pytest.mark.parametrize("side", [96, 160, 224])
@pytest.mark.parametrize("angle", [0, 30, -45, 90, 135, 180, -100])
def test_a_crop_is_what_one_warp_of_the_frame_gives(angle, side):
    frame = soft_frame(480, 640)
    crop = Crop(Region(180, 100, 380, 300), (side, side), angle)
    wanted = cv2.warpAffine(frame, independent_matrix(crop), (side, side))
    np.testing.assert_allclose(crop.matrix(), independent_matrix(crop), atol=1e-3)
    assert np.abs(crop.cut(frame).astype(int) - wanted)[2:-2, 2:-2].max() <= 8
    assert np.abs(crop.cut(frame).astype(int) - wanted).mean() < 1.2


@pytest.mark.parametrize("side", [96, 224])
@pytest.mark.parametrize("angle", [0, 30, -45, 90, 135, 180, -100])
def test_levels_are_pasted_where_one_warp_would_put_them(angle, side):
    crop = Crop(Region(180, 100, 380, 300), (side, side), angle)
    levels = np.zeros((side, side), np.uint8)
    cv2.ellipse(levels, (round(side * 0.55), round(side * 0.4)), (side // 6, side // 4), 20, 0, 360, 255, -1)
    levels = cv2.GaussianBlur(levels, (0, 0), 3)
    place, part = crop.paste(levels, (480, 640, 3))
    pasted = np.zeros((480, 640), np.uint8)
    pasted[place.rows, place.columns] = part
    wanted = cv2.warpAffine(levels, cv2.invertAffineTransform(independent_matrix(crop)), (640, 480))
    assert wanted.max() > 200
    assert np.abs(pasted.astype(int) - wanted).max() <= 20  # a soft edge, off by a fraction of a pixel
    both = np.count_nonzero((pasted > 127) & (wanted > 127))
    assert both > 0.98 * np.count_nonzero((pasted > 127) | (wanted > 127))


@pytest.mark.parametrize("angle", [0, 60, 180, -120])
@pytest.mark.parametrize("centre", [(10, 240), (630, 470), (320, 5)])
def test_a_turned_crop_at_the_frames_edge_comes_back_to_its_place(centre, angle):
    crop = Crop(Region(centre[0] - 90, centre[1] - 90, centre[0] + 90, centre[1] + 90), (160, 160), angle)
    spot = np.zeros((480, 640, 3), np.uint8)
    near = (min(max(centre[0], 30), 610), min(max(centre[1], 30), 450))
    cv2.circle(spot, near, 20, (255, 255, 255), -1)
    place, part = crop.paste(crop.cut(spot)[..., 0], spot.shape)
    assert place == place.inside(480, 640) and part.shape == (place.height, place.width)
    back = np.zeros((480, 640), np.uint8)
    back[place.rows, place.columns] = part
    rows, columns = np.nonzero(back > 127)
    assert (columns.mean(), rows.mean()) == pytest.approx(near, abs=1)
    assert len(rows) == pytest.approx(np.count_nonzero(spot[..., 0]), rel=0.05)


@pytest.mark.parametrize("angle", [0.0, 45.0])
def test_a_region_beside_the_frame_is_an_error(angle):
    frame = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="outside"):
        Crop(Region(90, 0, 120, 40), (32, 32), angle).cut(frame)
    with pytest.raises(ValueError, match="outside"):
        Crop(Region(0, -90, 64, -50), (32, 32), angle).paste(np.zeros((32, 32), np.uint8), frame.shape)


@pytest.mark.parametrize("angles", [(0, 0), (0, 40), (40, 0), (170, -170), (90, 125)])
def test_between_two_crops(angles):
    frame = soft_frame(480, 640)
    old = Crop(Region(200, 130, 420, 350), (192, 192), angles[0])
    new = Crop(Region(250, 180, 370, 300), (96, 96), angles[1])
    matrix = between(new, old)
    image = cv2.warpAffine(old.cut(frame), matrix, (96, 96), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    assert np.abs(image.astype(int) - new.cut(frame))[2:-2, 2:-2].max() < 0.05 * 255
    np.testing.assert_allclose(between(old, old), [[1, 0, 0], [0, 1, 0]], atol=1e-5)
    half = between(old._replace(size=(48, 48)), old._replace(size=(96, 96)))  # of smaller images
    np.testing.assert_allclose(half, [[2, 0, 0.5], [0, 2, 0.5]], atol=1e-5)


def test_regions():
    assert Region(0, 0, 5, 5).union(Region(3, -1, 9, 4)) == (0, -1, 9, 5)
    assert Region(0, 1, 5, 6).moved(2, -3) == (2, -2, 7, 3)
    assert shift_inside(Region(-5, 90, 15, 110), 100, 100) == (0, 80, 20, 100)
    assert shift_inside(Region(-5, 10, 115, 30), 100, 100) == (-5, 10, 115, 30)
    assert Region(-5, -5, -1, 300).inside(100, 100).width == 0
    assert Region(-10, 0, 30, 20).share_inside(100, 100) == 0.75


@pytest.mark.parametrize(
    ("height", "pixels"), [(4, 96), (40, 96), (57, 128), (60, 128), (80, 160), (110, 224), (500, 224)]
)
def test_a_face_is_looked_at_in_a_square_of_its_own_resolution(height, pixels):
    box = Region(900, 290, 900 + height * 3 // 4, 290 + height)
    region, size, angle = crop_face(box, 20.0, (1080, 1920), 224, 96)
    assert size == (pixels, pixels) and region.width == region.height == pytest.approx(2 * height, abs=1)
    assert region.centre == pytest.approx(box.centre, abs=1) and angle == 0


@pytest.mark.parametrize("angle", [30, 75, 180, -120])
def test_a_head_that_leans_lies_or_hangs_is_shown_upright(angle):
    frame = np.zeros((480, 640, 3), np.uint8)
    turned = cv2.getRotationMatrix2D((300, 200), -angle, 1)  # clockwise, to the right
    upright = np.zeros_like(frame)
    cv2.ellipse(upright, (300, 200), (30, 45), 0, 0, 360, (255, 255, 255), -1)
    cv2.circle(upright, (300, 145), 8, (255, 255, 255), -1)  # a knot of hair on top
    frame = cv2.warpAffine(upright, turned, (640, 480))
    crop = crop_face(Region(255, 155, 345, 245), angle, frame.shape, *LARGEST)
    image = crop.cut(frame)[..., 0]
    wanted = crop._replace(angle=0.0).cut(upright)[..., 0]
    assert np.count_nonzero((image > 127) != (wanted > 127)) < 0.01 * image.size


def test_a_face_at_the_border_is_seen_with_its_real_surroundings():
    region, *_ = crop_face(Region(-10, -20, 70, 80), 0.0, (480, 640), *LARGEST)
    assert (region.left, region.top) == (0, 0) and region.width == region.height == 200
    region, *_ = crop_face(Region(100, 20, 460, 470), 0.0, (480, 640), *LARGEST)  # hardly fits into the frame
    assert region.width == region.height == 640 and region.left == 0 and region.top < 0


@pytest.mark.parametrize("angle", [0.0, 90.0])
def test_a_face_on_its_way_out_is_still_looked_at(angle):
    for box in (Region(900, 700, 1000, 800), Region(-900, -700, -500, -200)):
        crop = crop_face(box, angle, (480, 640), *LARGEST)
        assert crop.cut(np.zeros((480, 640, 3), np.uint8)).shape == (*crop.size, 3)


def test_a_crop_stands_still_until_the_face_has_moved_grown_or_turned():
    first = crop_face(Region(100, 100, 200, 200), 90.0, (480, 640), *LARGEST)
    for box, angle, stays in (
        (Region(110, 110, 210, 210), 90, True),
        (Region(90, 90, 205, 205), 90, True),
        (Region(130, 100, 230, 200), 90, False),
        (Region(80, 80, 220, 220), 90, False),
        (Region(100, 100, 200, 200), 80, True),
        (Region(100, 100, 200, 200), 70, False),
        (Region(100, 100, 200, 200), -270, True),
    ):
        new = crop_face(box, angle, (480, 640), *LARGEST)
        assert steady(first, new) == (first if stays else new)


def test_a_box_in_the_crops_image():
    crop = Crop(Region(100, -50, 300, 150), (96, 96))
    assert crop.to_image(Region(100, -50, 200, 50)) == (0, 0, 48, 48)
    turned = crop._replace(angle=90.0)  # the head's top is on the right
    box = Region(260, 40, 280, 60)
    assert turned.to_image(box).centre == pytest.approx((48, 48 - 70 * 0.48), abs=1)


def test_a_dark_image_is_brightened_and_no_other():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    assert brightness_gain(image) == 1 and brighten(image, 1.0) is image
    dark = (image * 0.2).astype(np.uint8)
    assert np.abs(brighten(dark, brightness_gain(dark)).astype(int) - image).mean() < 4
    black = np.zeros((5, 5, 3), np.uint8)
    assert brighten(black, brightness_gain(black)).max() == 0


def test_brightening_sets_in_step_by_step():
    gains = np.array([brightness_gain(np.full((64, 64, 3), level, np.uint8)) for level in range(30, 256)])
    brightened = gains * np.arange(30, 256)
    assert (np.abs(np.diff(brightened)) < 0.03 * brightened[1:]).all()
    assert (np.diff(gains) <= 0).all() and gains[-1] == 1 and brightened[:40] == pytest.approx(255)
