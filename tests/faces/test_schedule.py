"""When the detector runs: python -m pytest tests/faces/test_schedule.py"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from scenes import RedDetector, background, draw_face

from faces.schedule import Cuts, EveryNth, InBackground
from faces.tracks import Tracks


def with_face(x: float = 200, seed: int = 0) -> np.ndarray:
    frame = background(240, 320, seed)
    draw_face(frame, (x, 120), 40)
    return frame


def test_a_cut_is_told_from_movement_light_and_noise():
    is_cut, rng = Cuts(), np.random.default_rng(0)
    assert is_cut(with_face())
    for step in range(10):
        frame = np.roll(with_face(100 + 5 * step), 6 * step, axis=1)
        noisy = np.clip(frame * (1 - 0.04 * step) + rng.normal(0, 8, frame.shape), 0, 255)
        assert not is_cut(noisy.astype(np.uint8))
    assert is_cut(with_face(seed=1)) and is_cut(with_face(seed=2)[:-8]) and not is_cut(with_face(seed=2)[:-8])


def test_the_detector_runs_every_nth_frame_and_sooner_without_a_face():
    detector, tracks = RedDetector(), Tracks()
    schedule, calls = EveryNth(detector), []
    for index in range(20):
        schedule(with_face(), tracks, 6, index / 25)
        tracks[0].follow(tracks[0].box, index / 25)
        tracks.end_lost(index / 25)
        calls.append(detector.calls)
    assert np.flatnonzero(np.diff(calls, prepend=0)).tolist() == [0, 6, 12, 18]
    detector, tracks = RedDetector(), Tracks()
    schedule = EveryNth(detector)
    for index in range(7):
        schedule(background(240, 320), tracks, 6, index / 25)
    assert detector.calls == 4  # every second


def test_at_a_cut_the_detector_runs_and_the_faces_are_others():
    detector, tracks = RedDetector(), Tracks()
    schedule = EveryNth(detector)
    for index, seed in enumerate((0, 0, 1, 1)):
        schedule(with_face(seed=seed), tracks, 100, index / 25)
        tracks.end_lost(index / 25)
        tracks.all_seen = True
        assert [track.number for track in tracks] == [1 + seed]
    assert detector.calls == 2


class SlowDetector(RedDetector):
    """Waits until it may go on."""

    def __init__(self):
        super().__init__()
        self.go_on = threading.Event()

    def detect(self, frame: np.ndarray, shape: tuple) -> list:
        assert self.go_on.wait(10)
        return super().detect(frame, shape)


def until(condition, seconds: float = 10) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_a_camera_does_not_wait_for_the_detector():
    detector, tracks = SlowDetector(), Tracks()
    schedule = InBackground(detector)
    frame = with_face(150)
    for index in range(5):
        schedule(frame, tracks, 24, index / 25)
        frame[:] = with_face(150)  # what was handed over may be drawn into
        assert not tracks
    detector.go_on.set()
    until(schedule.pending[0].done)
    schedule(with_face(150), tracks, 24, 0.3)
    assert [track.box.centre[0] for track in tracks] == [pytest.approx(150, abs=1)]
    assert schedule.pending is None  # it rests for twice as long as it worked
    schedule(with_face(150), tracks, 24, 0.8)
    assert schedule.pending is None
    schedule(with_face(150), tracks, 24, 0.95)
    assert schedule.pending is not None


def test_to_hide_faces_each_frame_of_a_camera_is_looked_at_first():
    detector, tracks = RedDetector(), Tracks()
    schedule = InBackground(detector)
    schedule(with_face(60), tracks, 24, 0.0)  # what this one finds comes too late, and is not heeded
    for index in range(1, 5):
        schedule(with_face(100 + index), tracks, 1, index / 25)
        assert [track.box.centre[0] for track in tracks] == [pytest.approx(100 + index, abs=1)]
    assert detector.calls == 5


def test_what_goes_wrong_in_the_detector_is_raised_in_the_next_frame():
    class Broken(RedDetector):
        def detect(self, frame, shape):
            raise RuntimeError("no memory")

    schedule, tracks = InBackground(Broken()), Tracks()
    schedule(with_face(), tracks, 24, 0.0)
    until(schedule.pending[0].done)
    with pytest.raises(RuntimeError, match="no memory"):
        schedule(with_face(), tracks, 24, 0.1)
