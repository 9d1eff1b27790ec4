"""Threads: order, newest frame, errors, the end: python -m pytest tests/media/test_pipeline.py"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from faces.mask import Mask, Region
from media import pipeline
from media.frames import Frame, LiveSource
from media.options import Options
from media.pipeline import Pipeline, Stage, play_all
from media.player import Playback, Player
from utils import UserError


class Numbers:
    """A source of `count` frames, each with its number in it; None goes on for ever."""

    name = "numbers"
    rate = 30.0
    patience = 0.0

    def __init__(
        self, count: int | None, live: bool = False, pause: float = 0.0, error: Exception | None = None
    ):
        self.count, self.live, self.pause, self.error = count, live, pause, error
        self.index, self.closed = 0, False

    def read(self) -> Frame | None:
        time.sleep(self.pause)
        if self.index == self.count:
            if self.error is not None:
                raise self.error
            return None
        self.index += 1
        image, at = np.full((2, 2, 3), self.index - 1, np.uint16), (self.index - 1) / self.rate
        return Frame(image, self.index - 1, time.perf_counter(), at, at + 1 / self.rate)

    def close(self) -> None:
        self.closed = True


class Each:
    """A segmenter (see faces/segmenter.py) that gives each image to a function."""

    def __init__(self, function: Callable):
        self.function = function

    def follow(self, frames: Iterator[Frame]) -> Iterator[tuple]:
        return ((frame, None) for frame in frames)

    def segment(self, frames: Iterator[tuple]) -> Iterator[tuple]:
        return ((frame, self.function(frame.image)) for frame, _ in frames)


def take_all(results: Pipeline, pause: float = 0.0) -> list:
    taken = []
    while (result := results.take()) is not None:
        taken.append(result)
        time.sleep(pause)
    return taken


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert {thread for thread in threading.enumerate() if type(thread) is threading.Thread} <= before


def test_every_frame_of_a_file_in_order_with_its_own_mask():
    source = Numbers(50)
    with Pipeline(source, Each(lambda image: int(image[0, 0, 0]) * 10)) as results:
        taken = take_all(results, pause=0.001)
    assert [result.frame.index for result in taken] == list(range(50))
    assert [result.mask for result in taken] == [10 * index for index in range(50)]
    assert source.closed


def test_of_a_camera_the_newest_frame_counts():
    def slow(image):
        time.sleep(0.03)
        return None

    source = Numbers(None, live=True, pause=0.002)
    with Pipeline(source, Each(slow)) as results:
        taken = [results.take() for _ in range(10)]
        behind = source.index - taken[-1].frame.index
    indices = [result.frame.index for result in taken]
    assert indices == sorted(set(indices)) and indices[-1] > 30  # many were dropped
    assert behind < 60  # and what comes is not old
    assert source.closed


def test_a_recording_keeps_every_frame_through_a_slow_start():
    source, delays = Numbers(60, live=True, pause=0.005), iter([0.2])
    with Pipeline(source, Each(lambda image: time.sleep(next(delays, 0))), recorded=lambda: True) as results:
        taken = take_all(results)
    assert [result.frame.index for result in taken] == list(range(60)) and results.dropped == 0


def test_a_recording_for_which_there_is_no_time_is_thinned_evenly_and_counted(monkeypatch):
    monkeypatch.setattr(pipeline, "BUFFER", 8 * np.zeros((2, 2, 3), np.uint16).nbytes)
    source = Numbers(200, live=True, pause=0.002)
    with Pipeline(source, Each(lambda image: time.sleep(0.01)), recorded=lambda: True) as results:
        indices = [result.frame.index for result in take_all(results)]
    assert len(indices) + results.dropped == 200 and results.dropped > 50
    assert indices == sorted(set(indices)) and np.diff(indices).max() < 20 and indices[-1] == 199


def test_a_recording_may_begin_and_end_at_any_time(monkeypatch):
    monkeypatch.setattr(pipeline, "BUFFER", 1 << 20)
    recorded, source = [], Numbers(None, live=True, pause=0.002)
    with Pipeline(source, Each(lambda image: time.sleep(0.01)), recorded=lambda: bool(recorded)) as results:
        results.take()
        recorded.append(True)
        results.take()
        results.take()
        kept = [results.take().frame.index for _ in range(5)]
        recorded.clear()
        assert np.diff(kept).tolist() == [1] * 4
        for _ in range(3):
            newest = results.take().frame.index
        assert source.index - newest < 20


def test_of_a_file_nothing_is_dropped_at_an_early_end():
    with Pipeline(Numbers(None), Each(lambda image: None)) as results:
        results.take()
        time.sleep(0.1)  # both stages are full
    assert results.dropped == 0


def test_a_file_does_not_run_ahead_of_who_takes():
    source = Numbers(None)
    with Pipeline(source, Each(lambda image: None)) as results:
        results.take()
        time.sleep(0.2)
        assert source.index < 12


def test_stages_overlap():
    busy, together = [], []

    def stage(name):
        busy.append(name)
        together.append(len(busy))
        time.sleep(0.01)
        busy.remove(name)

    source = Numbers(20)
    read = source.read
    source.read = lambda: (stage("read"), read())[1]
    with Pipeline(source, Each(lambda image: stage("network"))) as results:
        while results.take() is not None:
            stage("show")
    assert max(together) == 3


@pytest.mark.parametrize("live", [False, True])
def test_a_source_that_fails_is_told_after_its_frames(live):
    source = Numbers(5, live=live, pause=0.01, error=UserError("camera 0 was unplugged"))
    taken = []
    with pytest.raises(UserError, match="unplugged"), Pipeline(source, Each(lambda image: None)) as results:
        while True:
            taken.append(results.take())
    assert taken[-1].frame.index == 4 and source.closed


def test_a_network_that_fails_is_told():
    def broken(image):
        raise RuntimeError("no memory")

    source = Numbers(None)
    with pytest.raises(RuntimeError, match="no memory"), Pipeline(source, Each(broken)) as results:
        results.take()
    assert source.closed


def test_the_end_may_come_at_any_time():
    for count in (0, 1):
        source = Numbers(None)
        with Pipeline(source, Each(lambda image: None)) as results:
            for _ in range(count):
                results.take()
        assert source.closed
    source = Numbers(None)
    with pytest.raises(KeyboardInterrupt), Pipeline(source, Each(lambda image: None)) as results:
        results.take()
        raise KeyboardInterrupt
    assert source.closed


def test_the_end_waits_for_the_frame_that_is_being_segmented(monkeypatch):
    monkeypatch.setattr(pipeline, "LAST_WAIT", 0.05)
    begun, done = threading.Event(), []

    def segment(image: np.ndarray) -> None:
        begun.set()
        time.sleep(0.5)
        done.append(True)

    with pytest.raises(OSError, match="full"), Pipeline(Numbers(None), Each(segment)):
        begun.wait()
        raise OSError("the disk is full")
    assert done


def test_an_empty_source():
    with Pipeline(Numbers(0), Each(lambda image: None)) as results:
        assert results.take() is None


def test_a_camera_that_hangs_does_not_hang_the_program(monkeypatch):
    monkeypatch.setattr(pipeline, "SILENCE", 0.3)
    awake = threading.Event()
    source = Numbers(None, live=True)
    source.read = lambda: awake.wait(30) and None
    start = time.monotonic()
    with pytest.raises(UserError, match="no frame"), Pipeline(source, Each(lambda image: None)) as results:
        results.take()
    assert time.monotonic() - start < 10
    awake.set()
    results.frames.thread.join()


def test_while_nothing_comes_the_user_can_end_it():
    awake = threading.Event()
    source = Numbers(None, live=True)
    source.read = lambda: awake.wait(30) and None
    calls = []
    with Pipeline(source, Each(lambda image: None)) as results:
        assert results.take(idle=lambda: len(calls) > 2 or calls.append(1)) is None
        awake.set()


def test_of_a_live_stage_the_newest_comes_and_then_its_error():
    taken = threading.Event()

    def items():
        yield from (1, 2)
        taken.wait(30)
        yield 3
        raise ValueError("broken")

    stage = Stage(items(), room=lambda item: 1, waits=lambda: False)
    while stage.ready != [2]:
        time.sleep(0.01)
    assert stage.take() == 2
    with pytest.raises(TimeoutError):
        stage.take(0.01)
    taken.set()
    stage.thread.join()
    assert stage.take() == 3
    with pytest.raises(ValueError, match="broken"):
        stage.take()


@pytest.mark.parametrize("still", [8, 1000])
def test_a_frozen_camera_is_noticed_and_thawed(still, monkeypatch, capsys):
    class Camera(LiveSource):
        def _pictures(self):
            for number in itertools.count():
                time.sleep(0.05)
                shade = 0 if number < still else number % 256
                yield np.full((32, 32, 3), shade, np.uint8), number / 20, (number + 1) / 20

    monkeypatch.setattr(pipeline, "FROZEN_SECONDS", 0.1)
    source = Camera("camera 0", 20)
    playback = Playback(Player(Options(view="mask")), source)
    mask = Mask(np.zeros((32, 32), np.uint8), Region(0, 0, 0, 0))
    assert play_all(Pipeline(source, Each(lambda image: mask)), playback, 20) == (still > 8)
    assert capsys.readouterr().err.count("the same picture again and again") == 1
