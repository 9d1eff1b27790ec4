"""The faces of a camera: python -m pytest tests/faces/test_follow_live.py"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from scenes import Known, background, film, shots

from faces.detector import Detection
from faces.follow import Cuts, Live
from faces.mask import Region, iou

RATE = 25.0


def until(condition, seconds: float = 10) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


class Slow(Known):
    """A detector that waits until it may go on."""

    def __init__(self, boxes: list[list[Region]]):
        super().__init__(boxes)
        self.go_on = threading.Event()
        self.begun, self.done = 0, 0

    def detect(self, frame: np.ndarray, turned: bool = False) -> list[Detection]:
        self.begun += 1
        assert self.go_on.wait(10)
        detections = super().detect(frame)
        self.done += 1
        return detections


def boxes_of(live: Live, image: np.ndarray, at: float) -> dict[int, Region]:
    return {each.track: each.place.box for each in live.sight(image, at)}


def test_a_cut_is_told_from_movement_light_and_noise():
    is_cut, rng = Cuts(), np.random.default_rng(0)
    images, _ = film([[(100 + 5 * step, 50, 130)] for step in range(10)])
    assert is_cut(images[0])
    for step, image in enumerate(images):
        noisy = np.roll(image, 3 * step, axis=1) * (1 - 0.04 * step) + rng.normal(0, 8, image.shape)
        assert not is_cut(np.clip(noisy, 0, 255).astype(np.uint8))
    assert is_cut(background(240, 320, seed=1))
    black = np.zeros((240, 320, 3), np.uint8)
    assert [is_cut(image) for image in (black, black, images[0], black)] == [True, False, True, True]
    assert is_cut(background(232, 320, seed=1)) and not is_cut(background(232, 320, seed=1))


def test_a_camera_waits_for_no_detector_and_old_detections_are_moved_to_where_the_faces_are():
    images, boxes = film([[(20 + 3 * step, 60, 130)] for step in range(11)])
    detector = Slow(boxes)
    live = Live(detector)
    for index in range(1, 10):
        image = images[index].copy()
        assert live.sight(image, index / RATE) == []
        image[:] = 0  # what was handed over may be drawn into
    detector.go_on.set()
    until(lambda: detector.done == 1)
    time.sleep(0.05)
    (box,) = boxes_of(live, images[10], 10 / RATE).values()
    assert detector.calls == [1] and iou(box, boxes[10][0]) > 0.8


def test_the_detector_beside_a_camera_rests_for_twice_as_long_as_it_worked():
    images, boxes = film([[(100, 60, 130)]] * 40)
    detector = Slow(boxes)
    live = Live(detector)
    for index in range(3):
        live.sight(images[index], index / RATE)
    detector.go_on.set()
    until(lambda: detector.done == 1)
    time.sleep(0.05)
    for index in range(3, 40):
        live.sight(images[index], index / RATE)
        time.sleep(0.01)
        if detector.begun > 1:
            break
    assert 8 <= index <= 11 and list(boxes_of(live, images[index], index / RATE)) == [1]
    live.thread.shutdown()


def test_a_slow_detector_does_not_let_a_face_blink():
    images, boxes = film([[(100, 60, 130)]] * 60)
    detector = Slow(boxes)
    live = Live(detector)
    shown, began = [], 0
    for index, image in enumerate(images):
        if detector.begun > detector.done and index - began == 7:  # 0.28 seconds
            detector.go_on.set()
            until(lambda: detector.done == detector.begun)
            time.sleep(0.02)
            detector.go_on.clear()
        before = detector.begun
        shown.append(len(live.sight(image, index / RATE)))
        time.sleep(0.01)
        began = index if detector.begun > before else began
    detector.go_on.set()
    live.thread.shutdown()
    assert detector.begun > 3 and shown.index(1) == 7 and all(shown[7:])


def test_to_hide_faces_each_frame_of_a_camera_is_looked_at_first():
    images, boxes = film([[(20 + 4 * step, 60, 130)] for step in range(12)])
    detector = Known(boxes)
    live = Live(detector)
    live.sight(images[0], 0.0)
    live.hiding = True
    for index in range(1, 12):
        assert boxes_of(live, images[index], index / RATE) == {1: boxes[index][0]}
    assert detector.calls == list(range(12))


def test_between_detections_a_face_is_followed():
    images, boxes = film([[(20 + 4 * step, 60, 130)] for step in range(12)])
    detector = Known(boxes, lambda number, face: number == 0)
    live = Live(detector)
    live.sight(images[0], 0.0)
    until(lambda: live.pending[0].done())
    for index in range(1, 12):
        assert iou(boxes_of(live, images[index], index / RATE)[1], boxes[index][0]) > 0.8


def test_after_a_cut_a_face_in_the_same_place_is_another_one():
    (image, _), boxes = film([[(100, 60, 150)]] * 2)
    after = 255 - image
    after[0, 0] = 1
    live = Live(Known(boxes))
    live.hiding = True
    assert list(boxes_of(live, image, 0.0)) == [1] and list(boxes_of(live, after, 0.04)) == [2]


@pytest.mark.parametrize("hiding", [False, True])
def test_what_goes_wrong_in_the_detector_is_raised(hiding):
    class Broken(Known):
        def detect(self, frame, turned=False):
            raise RuntimeError("no memory")

    live, (image,) = Live(Broken([])), film([[]])[0]
    live.hiding = hiding
    with pytest.raises(RuntimeError, match="no memory"):
        for index in range(100):
            live.sight(image, index / RATE)
            time.sleep(0.01)


def test_at_a_cut_the_faces_before_are_gone_and_so_is_what_the_detector_sees_of_them():
    images, boxes = film([[(100, 60, 150)]] * 3)
    detector = Slow([*boxes, [], [], [], []])
    live = Live(detector)
    live.sight(images[0], 0.0)
    for index in range(3, 7):
        image = 255 - background(240, 320, 3)
        image[0, 0] = index
        assert live.sight(image, index / RATE) == []
        detector.go_on.set()
        until(lambda: live.pending is None or live.pending[0].done())
    assert detector.calls[:2] == [0, 3]


def test_frames_that_all_differ_do_not_pile_up_before_a_slow_detector():
    detector = Slow([[]] * 256)
    live = Live(detector)
    for index in range(30):
        live.sight(background(48, 64, seed=index), index / RATE)
    detector.go_on.set()
    live.thread.shutdown()
    assert detector.begun <= 2


def test_frames_come_out_as_they_are_and_in_order():
    frames = list(shots(film([[(100, 60, 150)]] * 5)[0]))
    assert [frame for frame, _ in Live(Known([[]] * 5)).follow(iter(frames))] == frames
