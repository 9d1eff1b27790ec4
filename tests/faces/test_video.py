"""Whole videos and cameras, through the pipeline: python -m pytest tests/faces/test_video.py"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from scenes import Known, RedDetector, background, draw_face, film, iou, red_runtime, shots

from faces.segmenter import Segmenter
from media.frames import Frame, Source
from media.pipeline import Pipeline
from utils import UserError

RATE = 25.0


class Film(Source):
    """A source of these images; a live one gives them at a rate."""

    def __init__(self, images: list[np.ndarray], live: bool = False, error: Exception | None = None):
        self.images, self.live, self.error = images, live, error
        super().__init__("film", RATE)

    def read(self) -> Frame | None:
        index, self.index = self.index, self.index + 1
        if self.live:
            time.sleep(1 / RATE)
        if index < len(self.images):
            at = index / RATE
            return Frame(self.images[index], index, time.perf_counter(), at, at + 1 / RATE)
        if self.error is not None:
            raise self.error
        return None


def red_film(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The images of a red face that moves, and its masks."""
    images = [background(240, 320) for _ in range(count)]
    return images, [draw_face(image, (80 + 2 * step, 120), 40) for step, image in enumerate(images)]


def play(source: Source, video: Segmenter) -> list:
    with Pipeline(source, video) as results:
        return list(iter(results.take, None))


@pytest.mark.parametrize("detector", [RedDetector(), None])
def test_every_frame_of_a_file_comes_in_order_with_its_own_mask(detector):
    images, truths = red_film(60)
    results = play(Film(images), Segmenter(red_runtime, detector, smooth=0.5))
    assert [result.frame.index for result in results] == list(range(60))
    for result, image, truth in zip(results, images, truths):
        assert result.frame.image is image and iou(result.mask.probability > 127, truth) > 0.85
        assert len(result.mask.faces) == 1
    tracks = {result.mask.faces[0].track for result in results}
    assert tracks == ({1} if detector else {0})


@pytest.mark.parametrize("count", [1, 10, 60])
def test_the_frames_before_an_error_come_first(count):
    images, truths = red_film(count)
    taken, source = [], Film(images, error=UserError("the file is cut off"))
    video = Segmenter(red_runtime, RedDetector())
    with pytest.raises(UserError, match="cut off"), Pipeline(source, video) as results:
        while True:
            taken.append(results.take())
    assert [result.frame.index for result in taken] == list(range(count))
    for result, truth in zip(taken, truths):
        assert iou(result.mask.probability > 127, truth) > 0.85


def test_a_camera_does_not_wait_for_the_detector():
    class Stuck(RedDetector):
        go_on = threading.Event()

        def detect(self, frame: np.ndarray, turned: bool = False) -> list:
            self.go_on.wait(20)
            return super().detect(frame)

    images, _ = red_film(200)
    video = Segmenter(red_runtime, Stuck(), live=True)
    start = time.monotonic()
    with Pipeline(Film(images, live=True), video) as results:
        taken = [results.take() for _ in range(10)]
        assert time.monotonic() - start < 8
        Stuck.go_on.set()
        while not (result := results.take()).mask.faces:
            pass
    assert taken[-1].frame.index >= 9 and result.mask.share(0.5) > 0


def test_to_hide_faces_a_file_is_looked_at_more_often_and_at_the_given_size():
    images, boxes = film([[(60, 40, 150)]] * 48)
    calls, sizes = [], []

    def runtime(batch: np.ndarray) -> np.ndarray:
        sizes.append(batch.shape[2])
        return red_runtime(batch)

    for hiding, size in ((False, 96), (True, 128)):
        detector = Known(boxes)
        video = Segmenter(runtime, detector)
        video.set_hiding(hiding, size)
        list(video.segment(video.follow(shots(images))))
        calls.append(len(detector.calls))
    assert 2 * calls[0] < calls[1] < 30 and set(sizes[:48]) == {96} and set(sizes[48:]) == {128}


def test_of_a_camera_each_frame_comes_out_before_the_next_is_taken():
    images, _ = red_film(20)
    taken = []

    def frames():
        for shot in shots(images):
            taken.append(shot)
            yield shot

    def blind(batch: np.ndarray) -> np.ndarray:
        return np.full((len(batch), 1, *batch.shape[2:]), -9, np.float32)

    video = Segmenter(blind, RedDetector(), live=True)
    video.set_hiding(True, 224)
    for count, _ in enumerate(video.segment(video.follow(frames())), 1):
        assert len(taken) == count


def test_a_camera_that_hides_faces_looks_at_each_frame():
    images, truths = red_film(20)
    detector = RedDetector()
    video = Segmenter(red_runtime, detector, live=True)
    video.set_hiding(True, 224)
    results = list(video.segment(video.follow(shots(images))))
    assert detector.calls == 20
    for (_, mask), truth in zip(results, truths, strict=True):
        assert iou(mask.probability > 127, truth) > 0.9


def test_two_runs_of_a_file_give_the_same():
    images, _ = red_film(30)
    runs = [play(Film(images), Segmenter(red_runtime, RedDetector(), smooth=0.7)) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        assert (one.mask.probability == other.mask.probability).all()
        assert [face[:4] for face in one.mask.faces] == [face[:4] for face in other.mask.faces]


def test_what_goes_wrong_in_detector_or_network_is_raised():
    class Broken(RedDetector):
        def detect(self, frame: np.ndarray, turned: bool = False) -> list:
            raise RuntimeError("no memory")

    def broken(batch: np.ndarray) -> np.ndarray:
        raise RuntimeError("no memory")

    for live in (False, True):
        for runtime, detector in ((red_runtime, Broken()), (broken, RedDetector())):
            video = Segmenter(runtime, detector, live=live)
            with pytest.raises(RuntimeError, match="no memory"):
                play(Film(red_film(50)[0], live=live), video)


def test_no_frames():
    assert play(Film([]), Segmenter(red_runtime, RedDetector())) == []
