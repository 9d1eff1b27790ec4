"""Real detection and the shipped weights, on the portrait: python -m pytest tests/faces/test_portraits.py"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scenes import iou, paste_portraits, portrait, shots

from faces.detector import Detector
from faces.mask import Mask, Region
from faces.mask import iou as overlap
from faces.segmenter import Segmenter, segment_picture
from runtimes.choose import open_runtime
from runtimes.weights import default_weights

SIX = [(20, 10, 150), (240, 20, 170), (460, 10, 160), (30, 250, 170), (250, 260, 150), (450, 240, 180)]
TWENTY = [(15 + 155 * (index % 5), 5 + 145 * (index // 5), 110 + 3 * (index % 7)) for index in range(20)]


@pytest.fixture(scope="module")
def runtime():
    return open_runtime(default_weights(), "openvino")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


def check(mask: Mask, boxes: list[Region], truth: np.ndarray, least: float = 0.85) -> None:
    """Each of the boxes is one face, and there is nothing else."""
    assert iou(mask.probability > 127, truth) > least
    assert len(mask.faces) == len(boxes)
    for box in boxes:
        face = max(mask.faces, key=lambda face: overlap(face.box, box))
        assert overlap(face.box, box) > 0.5
        assert face.area(0.5) > 0.8 * np.count_nonzero(truth[box.rows, box.columns])


@pytest.mark.parametrize("places", [SIX[:2], SIX, TWENTY], ids=["two", "six", "twenty"])
def test_every_face_of_a_photo_is_marked_and_nothing_else(runtime, detector, places):
    frame, boxes, truth = paste_portraits((640, 800), places)
    check(segment_picture(runtime, detector, frame), boxes, truth)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_on_its_side_or_upside_down_is_marked_as_upright(runtime, detector, turns):
    frame, _, truth = paste_portraits((480, 640), [(200, 100, 260)])
    upright = segment_picture(runtime, detector, frame).probability > 127
    mask = segment_picture(runtime, detector, np.ascontiguousarray(np.rot90(frame, turns)))
    assert iou(mask.probability > 127, np.rot90(truth, turns)) > 0.85
    assert iou(mask.probability > 127, np.rot90(upright, turns)) > 0.9
    assert len(mask.faces) == 1


@pytest.mark.parametrize("angle", [-60, -30, 30, 60])
def test_a_leaning_face_is_marked_as_upright(runtime, detector, angle):
    frame, _, _ = paste_portraits((480, 480), [(90, 100, 300)])
    upright = (segment_picture(runtime, detector, frame).probability > 127).astype(np.uint8)
    matrix = cv2.getRotationMatrix2D((240, 240), angle, 1)
    leaning = cv2.warpAffine(frame, matrix, (480, 480), borderMode=cv2.BORDER_REFLECT)
    mask = segment_picture(runtime, detector, leaning)
    assert iou(mask.probability > 127, cv2.warpAffine(upright, matrix, (480, 480))) > 0.9


def test_a_face_upside_down_among_upright_ones_is_marked(runtime, detector):
    frame, boxes, truth = paste_portraits((300, 760), [(10, 30, 240), (260, 30, -240), (510, 30, 240)])
    check(segment_picture(runtime, detector, frame), boxes, truth)


def test_a_face_cut_by_the_border_is_marked(runtime, detector):
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
    assert segment_picture(runtime, detector, picture).share(0.5) > 0.7


def masks_of(runtime, detector, images: list, detect_every: int = 8) -> list[Mask]:
    """The masks of a video with these frames."""
    video = Segmenter(runtime, detector, 160, smooth=0.5, detect_every=detect_every)
    return [mask for _, mask in video.segment(video.follow(shots(images)))]


def numbers(mask: Mask) -> list[int]:
    return [face.track for face in mask.faces]


def test_a_face_that_enters_and_leaves(runtime, detector):
    scenes = [
        [(20, 60, 200)] + [(280 + 30 * abs(9 - index), 90, 180)] * (2 < index < 16) for index in range(20)
    ]
    images = [paste_portraits((360, 480), places)[0] for places in scenes]
    masks = masks_of(runtime, detector, images)
    assert all(numbers(mask) == [1] for mask in masks[:3] + masks[17:])
    assert all(numbers(mask) == [1, 2] for mask in masks[6:13])
    for index in (0, 9, 19):
        check(masks[index], *paste_portraits((360, 480), scenes[index])[1:])


def test_faces_that_cross_and_come_back_are_both_marked_and_keep_their_numbers(runtime, detector):
    path = [20 + round(110 * (1 - np.cos(index / 24 * 2 * np.pi))) for index in range(25)]  # there and back
    scenes = [[(250 - x, 10, 150), (x, 140, 200)] for x in path]
    masks = masks_of(runtime, detector, [paste_portraits((360, 480), places)[0] for places in scenes])
    for index in (0, 3, 12, 21, 24):
        _, boxes, truth = paste_portraits((360, 480), scenes[index])
        check(masks[index], boxes, truth, 0.8)
        assert numbers(masks[index]) == [1, 2]
        by_height = sorted(masks[index].faces, key=lambda face: face.box.height)
        assert [face.track for face in by_height] == [
            face.track for face in sorted(masks[0].faces, key=lambda face: face.box.height)
        ]


def test_after_a_cut_the_new_faces_are_there_at_once_and_the_old_ones_gone(runtime, detector):
    scenes = [[(20, 60, 200)]] * 6 + [[(250, 30, 180)]] * 4
    frames = [paste_portraits((360, 480), places) for places in scenes]
    images = [
        frame
        if index < 6
        else np.where(truth[..., None] | (np.arange(480) > 230)[:, None], frame, 255 - frame)
        for index, (frame, _, truth) in enumerate(frames)
    ]
    for index, mask in enumerate(masks_of(runtime, detector, images, detect_every=100)):
        check(mask, *frames[index][1:], 0.8)
        assert numbers(mask) == [1 if index < 6 else 2]


def test_a_face_that_is_detected_late_is_marked_from_where_it_came_in(runtime, detector):
    class Late(Detector):
        """Sees nobody in the first 12 frames."""

        def detect(self, frame: np.ndarray, turned: bool = False) -> list:
            return super().detect(frame, turned) if frame[0, 0, 0] >= 12 else []

    scenes = [[(-160 + 12 * step, 60, 220)] for step in range(20)]
    frames = [paste_portraits((300, 400), places) for places in scenes]
    for index, (image, _, _) in enumerate(frames):
        image[0, 0] = index
    masks = masks_of(runtime, Late(), [image for image, _, _ in frames], detect_every=4)
    first = next(index for index, (_, (box,), _) in enumerate(frames) if box.left > 0)
    assert first < 10
    for (_, boxes, truth), mask in zip(frames[first:], masks[first:]):
        check(mask, boxes, truth, 0.75)
        assert numbers(mask) == [1]
