"""Real detection of the portrait: python -m pytest tests/faces/test_detector.py"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scenes import paste_portraits, portrait

from faces.detector import Detector, iou
from faces.mask import Region


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(photo=True)


def test_the_portraits_face_is_found_in_all_sizes(detector):
    image, box = portrait()
    for scale in (1.0, 0.5, 0.25):
        (found,) = detector(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        assert iou(found.box, Region(*(round(side * scale) for side in box))) > 0.6
        assert 0.9 < found.confidence <= 1


@pytest.mark.parametrize("brightness", [0.5, 0.25, 0.1])
def test_a_dark_face_is_found(detector, brightness):
    image, box = portrait()
    dark = (cv2.resize(image, (256, 256)) * brightness).astype(np.uint8)
    (found,) = detector(dark)
    assert iou(found.box, Region(*(side // 2 for side in box))) > 0.6


def test_nothing_is_found_where_nothing_is(detector):
    image, _ = portrait()
    below = np.ascontiguousarray(image[330:])  # the space suit
    for picture in (below, np.zeros((480, 640, 3), np.uint8), np.full((5, 700, 3), 90, np.uint8)):
        assert detector(picture) == []


def test_a_small_face_in_a_large_picture_is_found_on_request(detector):
    frame, (box,), _ = paste_portraits((2000, 3000), [(2200, 1500, 60)])  # its face is 22 pixels high
    assert detector(frame) == []
    (found,) = Detector(photo=True, small_faces=True)(frame)
    assert iou(found.box, box) > 0.5


def test_a_face_seen_in_several_parts_of_a_picture_is_one(detector):
    frame, boxes, _ = paste_portraits((900, 1800), [(300, 200, 500), (1000, 200, 400)])
    found = Detector(photo=False, small_faces=True)(frame)
    assert len(found) == 2
    assert all(max(iou(face.box, box) for box in boxes) > 0.5 for face in found)
