"""Cameras, with all that can go wrong: python -m pytest tests/media/test_sources.py"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip
from fakes import FakeCapture
from PIL import Image

from media import sources
from media.sources import Animation, Camera, camera_index, is_stream
from utils import UserError

ROOT = Path(__file__).resolve().parents[2]


def numbered(count: int) -> list:
    return [np.full((48, 64, 3), number, np.uint8) for number in range(count)]


def read_all(source) -> list:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def test_what_a_source_means():
    assert [camera_index(spec) for spec in ("0", "12", "/dev/video3", "clip.mp4", "-1", "1.5")] == [
        0,
        12,
        3,
        None,
        None,
        None,
    ]
    assert is_stream("rtsp://host/a") and is_stream("HTTP://host") and not is_stream("c:\\clip.mp4")


@pytest.fixture
def open_camera(monkeypatch):
    """Return what opens camera 0, which gives certain frames."""

    def open_it(capture: FakeCapture, *how, **more) -> Camera:
        monkeypatch.setattr(cv2, "VideoCapture", lambda index: capture)
        return Camera(0, *how, **more)

    monkeypatch.setattr(sources, "RETRY_SECONDS", 0.1)
    return open_it


def test_no_camera_and_a_busy_one(open_camera, monkeypatch):
    for there, said in ((False, "there is no camera 0"), (True, "another program may be using it")):
        monkeypatch.setattr(sources.Path, "exists", lambda path, there=there: there)
        with pytest.raises(UserError, match=said):
            open_camera(FakeCapture([], is_open=False))


def test_a_camera_that_opens_but_gives_nothing(open_camera):
    with pytest.raises(UserError, match="camera 0 gives no frames: another program may be using it"):
        open_camera(FakeCapture([]))


def test_a_camera_that_is_unplugged(open_camera):
    source = open_camera(FakeCapture(numbered(5)))
    assert source.live and source.rate == 25 and source.capture.get(cv2.CAP_PROP_BUFFERSIZE) == 1
    with pytest.raises(UserError, match="camera 0 stopped after 4 frames: was it unplugged"):
        read_all(source)


@pytest.mark.parametrize("size, fourcc", [((64, 48), 0), ((1280, 720), cv2.VideoWriter.fourcc(*"MJPG"))])
def test_a_camera_is_asked_for_size_and_rate_compressed_where_it_is_large(size, fourcc, open_camera, caplog):
    source = open_camera(FakeCapture(numbered(3)), size=size, rate=60)
    asked = [cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FOURCC]
    assert [source.capture.get(setting) for setting in asked] == [*size, 60, fourcc] and source.rate == 60
    assert ("camera 0 gives 64x48, not 1280x720" in caplog.text) == (size != (64, 48))


def test_a_camera_chooses_for_itself_by_default(open_camera):
    source = open_camera(FakeCapture(numbered(3)))
    assert set(source.capture.properties) == {cv2.CAP_PROP_FPS, cv2.CAP_PROP_BUFFERSIZE}


def test_a_camera_may_miss_a_frame_and_need_a_moment_to_start(open_camera):
    frames = numbered(3)
    source = open_camera(FakeCapture([None, None, frames[0], None, *frames[1:]]))
    assert [source.read().index, source.read().index] == [0, 1]


def test_live_stride_and_time(open_camera):
    source = open_camera(FakeCapture(numbered(10)), stride=4)
    start = time.perf_counter()
    frames = [source.read(), source.read(), source.read()]
    assert [frame.image[0, 0, 0] for frame in frames] == [1, 5, 9]  # the first was to see that it works
    assert start <= frames[0].time <= frames[2].time <= time.perf_counter()


@pytest.mark.parametrize(
    ("told", "wanted"), [(0, 30), (float("nan"), 30), (1000, 30), (29.97, 29.97), (15, 15)]
)
def test_frame_rates_that_cannot_be_true(told, wanted, open_camera):
    assert open_camera(FakeCapture(numbered(1), rate=told)).rate == wanted


def test_times_are_those_at_which_frames_came(open_camera, monkeypatch):
    clock = iter([99.0, 100.0, 100.04, 100.2])
    monkeypatch.setattr(Camera, "_grab", lambda self: (self.capture.read()[1], next(clock)))
    source = open_camera(FakeCapture(numbered(4)))
    np.testing.assert_allclose([source.read().at for _ in range(3)], [0, 0.04, 0.2], atol=1e-6)


@pytest.mark.parametrize(
    "name, duration, seconds",
    [("a.gif", 0, 0.1), ("a.gif", 300, 0.3), ("a.png", 0, 0.1), ("a.tif", None, 1.0)],
)
def test_how_long_the_pictures_of_an_animation_are_shown(tmp_path, name, duration, seconds):
    first, second = (Image.new("RGB", (8, 8), color) for color in ("red", "blue"))
    more = {} if duration is None else {"duration": duration}
    first.save(tmp_path / name, save_all=True, append_images=[second], **more)
    source = Animation(tmp_path / name)
    assert [source.read().until for _ in range(2)] == pytest.approx([seconds, 2 * seconds])


def test_standard_input_is_a_file_that_is_read_to_its_end(tmp_path):
    path = make_clip(tmp_path / "a.ts", numbered(40))
    code = "from media.sources import *; s = open_video('-'); print(s.live, len([*iter(s.read, None)]))"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, input=path.read_bytes(), capture_output=True
    )
    assert told.stdout == b"False 40\n", told.stderr


WAITING = """
import signal, utils
from media.sources import open_video
def main():
    signal.signal(signal.SIGTERM, utils.interrupted)
    print("waiting", flush=True)
    open_video("-")
utils.run(main)
"""


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("come", [b"", b"G@"])  # so far
def test_a_pipe_that_gives_nothing_can_be_left(number, status, come):
    command = [sys.executable, "-c", WAITING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdin.write(come)
        process.stdin.flush()
        time.sleep(0.3)
        process.send_signal(number)
        try:
            assert process.wait(10) == status
        finally:
            process.kill()
