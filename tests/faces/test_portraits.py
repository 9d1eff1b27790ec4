"""Real detection and the shipped weights, on the portrait: python -m pytest tests/faces/test_portraits.py"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scenes import iou, paste_portraits, portrait

from faces.detector import Detector
from faces.detector import iou as overlap
from faces.mask import Mask, Region
from faces.segmenter import Segmenter, Settings, segment_picture
from runtimes.choose import open_runtime
from runtimes.weights import default_weights

SIX = [(20, 10, 150), (240, 20, 170), (460, 10, 160), (30, 250, 170), (250, 260, 150), (450, 240, 180)]
TWENTY = [(15 + 155 * (index % 5), 5 + 145 * (index // 5), 110 + 3 * (index % 7)) for index in range(20)]


@pytest.fixture(scope="module")
def runtime():
    return open_runtime(default_weights(), "openvino")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(photo=True)


def check(mask: Mask, boxes: list[Region], truth: np.ndarray, least: float = 0.85) -> None:
    """Each of the boxes is one face, and there is nothing else."""
    assert iou(mask.probability > 127, truth) > least
    assert len(mask.faces) == len(boxes)
    for box in boxes:
        face = max(mask.faces, key=lambda face: overlap(face.box, box))
        assert overlap(face.box, box) > 0.5
        assert face.area(0.5) > 0.8 * np.count_nonzero(truth[box.rows, box.columns])


@pytest.mark.parametrize("places", [SIX[:2], SIX, TWENTY], ids=["two", "six", "twenty"])
def test_every_face_of_a_photo_is_found_and_nothing_else(runtime, detector, places):
    frame, boxes, truth = paste_portraits((640, 800), places)
    check(segment_picture(runtime, detector, frame), boxes, truth)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_on_its_side_or_upside_down_is_found(runtime, detector, turns):
    frame, _, truth = paste_portraits((480, 640), [(200, 100, 260)])
    mask = segment_picture(runtime, detector, np.ascontiguousarray(np.rot90(frame, turns)))
    assert iou(mask.probability > 127, np.rot90(truth, turns)) > 0.85
    assert len(mask.faces) == 1


def test_a_face_cut_by_the_border_is_found(runtime, detector):
    frame, boxes, truth = paste_portraits((480, 640), [(-90, 100, 250), (450, 300, 250), (250, -35, 200)])
    check(segment_picture(runtime, detector, frame), boxes, truth)


@pytest.mark.parametrize("brightness", [1.0, 0.35, 0.18])
def test_a_dark_picture_is_no_worse_than_a_bright_one(runtime, detector, brightness):
    frame, boxes, truth = paste_portraits((480, 640), [(150, 100, 300)])
    check(segment_picture(runtime, detector, (frame * brightness).astype(np.uint8)), boxes, truth, 0.9)


def test_a_close_up_larger_than_the_frame_is_marked(runtime, detector):
    image, box = portrait()
    part = image[box.top + 20 : box.bottom - 10, box.left + 10 : box.right - 10]
    picture = cv2.resize(part, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
    assert detector(picture) == []
    assert segment_picture(runtime, detector, picture).share(0.5) > 0.7


def follow(runtime, scenes: list, detect_every: int = 8) -> list[Mask]:
    """The masks of a video whose frames are `paste_portraits` of these places; each is checked."""
    segmenter = Segmenter(runtime, Detector(), Settings(96, detect_every), smooth=0.5)
    return [segmenter(paste_portraits((360, 480), places)[0]) for places in scenes]


def numbers(mask: Mask) -> list[int]:
    return [face.track for face in mask.faces]


def test_a_face_that_enters_and_leaves(runtime):
    scenes = [[(20, 60, 200)] + [(250, 90, 180)] * (4 <= index < 14) for index in range(22)]
    masks = follow(runtime, scenes)
    assert all(numbers(mask) == [1] for mask in masks[:4] + masks[14:])
    assert all(numbers(mask) == [1, 2] for mask in masks[8:14])
    truth = paste_portraits((360, 480), scenes[-1])[2]
    assert iou(masks[-1].probability > 127, truth) > 0.85


def test_faces_that_cross_and_come_back_are_both_marked_before_and_after(runtime):
    path = [20 + round(110 * (1 - np.cos(index / 24 * 2 * np.pi))) for index in range(25)]  # there and back
    scenes = [[(250 - x, 10, 150), (x, 140, 200)] for x in path]
    masks = follow(runtime, scenes)
    for index in (0, 3, 12, 21, 24):
        _, boxes, truth = paste_portraits((360, 480), scenes[index])
        check(masks[index], boxes, truth, 0.8)
    assert numbers(masks[0]) == numbers(masks[3]) == [1, 2]


def test_after_a_cut_the_new_faces_are_there_at_once_and_the_old_ones_gone(runtime):
    scenes = [[(20, 60, 200)]] * 6 + [[(250, 30, 180)]] * 4
    frames = [paste_portraits((360, 480), places) for places in scenes]
    segmenter = Segmenter(runtime, Detector(), Settings(96, detect_every=100), smooth=0.7)
    for index, (frame, boxes, truth) in enumerate(frames):
        if index >= 6:
            frame = np.where(truth[..., None] | (np.arange(480) > 230)[:, None], frame, 255 - frame)
        mask = segmenter(frame)
        check(mask, boxes, truth, 0.8)
        assert numbers(mask) == [1 if index < 6 else 2]
