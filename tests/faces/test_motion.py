"""Where a face has gone: python -m pytest tests/faces/test_motion.py"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scenes import background

from faces.mask import Region
from faces.motion import Place, move, small_grey

SIZE = (360, 480)  # (height, width)


def texture(seed: int = 1) -> np.ndarray:
    """80x60x3 uint8 with structure of all sizes."""
    noise = np.random.default_rng(seed).normal(0, 1, (80, 60, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 3) + 4 * cv2.GaussianBlur(noise, (0, 0), 10)
    return cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def scene(place: Place, size: tuple = SIZE, patch: np.ndarray | None = None) -> np.ndarray:
    """A background with a textured face in a place, which need not be whole pixels."""
    patch = texture() if patch is None else patch
    x_scale, y_scale = place.width / patch.shape[1], place.height / patch.shape[0]
    matrix = np.array(
        [
            [x_scale, 0, place.x - place.width / 2 + x_scale / 2 - 0.5],
            [0, y_scale, place.y - place.height / 2 + y_scale / 2 - 0.5],
        ]
    )
    frame = background(*size)
    return cv2.warpAffine(patch, matrix, size[::-1], dst=frame, borderMode=cv2.BORDER_TRANSPARENT)


def follow(places: list[Place], before: np.ndarray, after: np.ndarray) -> list[Place | None]:
    return move(places, small_grey(before), small_grey(after), before.shape)


@pytest.mark.parametrize("growth", [1.0, 1.05, 0.95])
@pytest.mark.parametrize(("x", "y"), [(0, 0), (9, -4), (-15.5, 7.25), (2.4, 18)])
def test_a_face_is_followed_there_and_back(x, y, growth):
    place = Place(200, 170, 90, 120, 12.0)
    wanted = place.shifted(x, y, growth)
    before, after = scene(place), scene(wanted)
    for start, end, first, second in ((place, wanted, before, after), (wanted, place, after, before)):
        (moved,) = follow([start], first, second)
        assert moved[:2] == pytest.approx(end[:2], abs=0.6)
        assert moved[2:4] == pytest.approx(end[2:4], rel=0.015) and moved.angle == 12


def test_a_face_in_a_large_frame_is_followed_in_its_pixels():
    place = Place(1200, 700, 270, 360)
    wanted = place.shifted(40, -22, 1.03)
    (moved,) = follow([place], scene(place, (1080, 1920)), scene(wanted, (1080, 1920)))
    assert moved[:2] == pytest.approx(wanted[:2], abs=1.5) and moved.width == pytest.approx(
        wanted.width, rel=0.015
    )


def test_each_of_several_faces_goes_its_own_way():
    places, patches = [Place(100, 180, 60, 80), Place(360, 170, 75, 100)], [texture(1), texture(2)]
    ends = [places[0].shifted(6, 2), places[1].shifted(-8, 5)]
    frames = []
    for pair in (places, ends):
        frame = scene(pair[0], patch=patches[0])
        other = scene(pair[1], patch=patches[1])
        frame[:, 240:] = other[:, 240:]
        frames.append(frame)
    assert follow([], *frames) == []
    for moved, end in zip(follow(places, *frames), ends, strict=True):
        assert moved[:2] == pytest.approx(end[:2], abs=0.6)


def test_what_is_flat_cannot_be_followed():
    grey = np.full((*SIZE, 3), 128, np.uint8)
    assert follow([Place(200, 170, 90, 120)], grey, grey) == [None]


def test_what_vanishes_or_leaves_the_frame_cannot_be_followed():
    place = Place(60, 170, 90, 120)
    assert follow([place], scene(place), background(*SIZE, seed=5)) == [None]
    assert follow([place], scene(place), scene(place.shifted(-120, 0))) == [None]
    outside = Place(-100, -100, 50, 50)
    assert follow([outside], scene(place), scene(place)) == [None]


@pytest.mark.parametrize("x", [0, 480])
def test_a_face_half_outside_is_followed_by_the_half_that_is_seen(x):
    place = Place(x, 170, 90, 120)
    (moved,) = follow([place], scene(place), scene(place.shifted(3, 8)))
    assert moved[:2] == pytest.approx((x + 3, 178), abs=1)


def test_a_hand_before_the_face_does_not_lead_it_away():
    place = Place(200, 170, 90, 120)
    frames = []
    for step in range(2):
        frame = scene(place.shifted(2 * step, 0))
        hand = texture(7)[:50, :40]
        frame[180 - 14 * step : 230 - 14 * step, 200:240] = hand
        frames.append(frame)
    (moved,) = follow([place], *frames)
    assert moved[:2] == pytest.approx((202, 170), abs=1.5)


def test_faces_do_not_grow_or_shrink_at_one_blow():
    place = Place(200, 170, 90, 120)
    (moved,) = follow([place], scene(place), scene(place.shifted(0, 0, 1.3)))
    assert moved is None or moved.width <= 90 * 1.1 + 1e-6


def test_places_and_boxes():
    place = Place.of(Region(10, 20, 50, 80), 30.0)
    assert place == (30, 50, 40, 60, 30.0) and place.box == (10, 20, 50, 80)
    other = Place(50, 40, 60, 80, 90.0)
    assert place.between(other, 0.25) == (35, 47.5, 45, 65, 30.0)
    assert place.between(other, 0.75) == (45, 42.5, 55, 75, 90.0)
    assert place.shifted(1, 2, 1.5) == (31, 52, 60, 90, 30.0)
