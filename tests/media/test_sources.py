"""Cameras, streams and video files, with all that can go wrong: python -m pytest tests/media"""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time

import cv2
import numpy as np
import pytest
from scenes import background

from media import sources
from media.sources import Live, VideoFile, camera_index, is_stream, open_video
from media.writers import VideoWriter
from utils import UserError


class FakeCapture:
    """In the way of cv2.VideoCapture: frames from a list, None for one that fails."""

    def __init__(self, frames: list, is_open: bool = True, count: float = 0, rate: float = 25):
        self.frames, self.is_open = list(frames), is_open
        self.properties = {cv2.CAP_PROP_FRAME_COUNT: count, cv2.CAP_PROP_FPS: rate}
        self.released = False

    def isOpened(self) -> bool:
        return self.is_open

    def get(self, name: int) -> float:
        return self.properties.get(name, 0)

    def set(self, name: int, value: float) -> bool:
        self.properties[name] = value
        return True

    def grab(self) -> bool:
        self.image = self.frames.pop(0) if self.frames else None
        return self.image is not None

    def retrieve(self) -> tuple:
        return self.image is not None, self.image

    def read(self) -> tuple:
        return self.grab(), self.image

    def release(self) -> None:
        self.released = True


def numbered(count: int) -> list:
    return [np.full((48, 64, 3), number, np.uint8) for number in range(count)]


def read_all(source) -> list:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


@pytest.fixture
def clip(tmp_path):
    """20 frames at 12 frames/s, 64x48, each brighter than the one before."""
    video = VideoWriter(tmp_path / "clip.mp4", 12)
    for level in range(20):
        video.write(np.full((48, 64, 3), 12 * level, np.uint8))
    video.close()
    return tmp_path / "clip.mp4"


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


def test_a_video_gives_every_frame_in_order(clip):
    source = open_video(str(clip))
    frames = read_all(source)
    source.close()
    assert not source.live and source.rate == 12 and source.expected == 20
    assert [frame.index for frame in frames] == list(range(20))
    levels = [frame.image.mean() for frame in frames]
    np.testing.assert_allclose(levels, 12 * np.arange(20), atol=5)


def test_stride_takes_every_third_frame_and_slows_the_rate(clip):
    source = open_video(str(clip), stride=3)
    frames = read_all(source)
    source.close()
    assert [frame.index for frame in frames] == [0, 3, 6, 9, 12, 15, 18] and source.rate == 4
    assert source.expected == 7
    np.testing.assert_allclose([frame.image.mean() for frame in frames], 36 * np.arange(7), atol=5)


def test_files_that_are_no_video_are_named(tmp_path):
    contents = {"missing.mp4": None, "empty.mp4": b"", "text.mp4": b"this is no video" * 100}
    for name, content in contents.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            open_video(str(tmp_path / name))


def test_a_truncated_video_is_told_after_its_last_frame(tmp_path):
    path = tmp_path / "whole.avi"
    video = VideoWriter(path, 25)
    for seed in range(60):
        video.write(background(120, 160, seed))
    video.close()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = open_video(str(cut))
    count = 0
    with pytest.raises(UserError, match=r"cut.avi is cut off, .* it ends after \d+ of 60"):
        while source.read() is not None:
            count += 1
    assert 20 < count < 40
    source.close()


def test_a_truncated_mp4_cannot_be_opened_and_says_so(clip):
    clip.write_bytes(clip.read_bytes()[:-600])  # without the index at its end
    with pytest.raises(UserError, match="cut off"):
        open_video(str(clip))


def test_the_number_of_frames_may_be_an_estimate():
    source = VideoFile(FakeCapture(numbered(100), count=102), "clip")
    assert len(read_all(source)) == 100
    with pytest.raises(UserError, match="no frame"):
        VideoFile(FakeCapture([], count=10), "clip").read()


def test_no_camera_and_a_busy_one(monkeypatch):
    closed = FakeCapture([], is_open=False)
    with pytest.raises(UserError, match="there is no camera 97"):
        open_video("97", opener=lambda index: closed)
    assert closed.released
    monkeypatch.setattr(sources.Path, "exists", lambda path: True)
    with pytest.raises(UserError, match="another program may be using it"):
        open_video("97", opener=lambda index: FakeCapture([], is_open=False))


def test_a_camera_that_opens_but_gives_nothing(monkeypatch):
    monkeypatch.setattr(sources, "RETRY_SECONDS", 0.1)
    silent = FakeCapture([])
    with pytest.raises(UserError, match="camera 0 gives no frames: another program may be using it"):
        open_video("0", opener=lambda index: silent)
    assert silent.released


def test_a_camera_that_is_unplugged(monkeypatch):
    monkeypatch.setattr(sources, "RETRY_SECONDS", 0.1)
    source = open_video("0", opener=lambda index: FakeCapture(numbered(5)))
    assert source.live and source.rate == 25 and source.capture.get(cv2.CAP_PROP_BUFFERSIZE) == 1
    with pytest.raises(UserError, match="camera 0 stopped after 5 frames: was it unplugged"):
        read_all(source)


def test_a_camera_may_miss_a_frame_and_need_a_moment_to_start():
    frames = numbered(3)
    source = open_video("0", opener=lambda index: FakeCapture([None, None, frames[0], None, *frames[1:]]))
    assert [source.read().index, source.read().index] == [1, 2]


def test_live_stride_and_time():
    source = Live(FakeCapture(numbered(9)), "camera", stride=4)
    start = time.perf_counter()
    frames = [source.read(), source.read(), source.read()]
    assert [frame.image[0, 0, 0] for frame in frames] == [0, 4, 8]
    assert start <= frames[0].time <= frames[2].time <= time.perf_counter()


def test_a_frozen_camera_is_noticed_and_thawed():
    frames = numbered(2)
    source = Live(FakeCapture([frames[0], frames[0], frames[0], frames[1]]), "camera")
    assert not source.frozen(0)
    first = source.read().time
    source.read()
    source.read()
    assert not source.frozen(first + 4.9) and source.frozen(first + 5.1)
    last = source.read().time
    assert not source.frozen(last + 4.9)


@pytest.mark.parametrize(
    ("told", "wanted"), [(0, 30), (float("nan"), 30), (1000, 30), (29.97, 29.97), (15, 15)]
)
def test_frame_rates_that_cannot_be_true(told, wanted):
    assert VideoFile(FakeCapture([], rate=told), "clip").rate == wanted


def test_a_stream_that_nobody_serves():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/stream"
        with pytest.raises(UserError, match=r"cannot be opened: check the address"):
            open_video(address)


def test_a_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(sources, "OPEN_SECONDS", 1)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        start = time.monotonic()
        with pytest.raises(UserError, match="cannot be opened"):
            open_video(f"http://127.0.0.1:{mute.getsockname()[1]}/stream")
        assert time.monotonic() - start < 20


class Motion(http.server.BaseHTTPRequestHandler):
    """Motion JPEG as network cameras serve it: `count` frames, then the connection is closed."""

    count = 40

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who watches may go at any time
            self.send_frames()

    def send_frames(self) -> None:
        for number in range(self.count):
            jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 5 * number, np.uint8))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(0.01)

    def log_message(self, *args) -> None:
        """Quiet."""


@pytest.fixture
def stream():
    """The address of a loopback camera."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Motion)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/stream"
    server.shutdown()
    server.server_close()


def test_a_stream_is_live_and_its_end_is_told(stream, monkeypatch):
    monkeypatch.setattr(sources, "RETRY_SECONDS", 0.1)
    source = open_video(stream)
    levels = []
    with pytest.raises(UserError, match=r"stopped after \d+ frames"):
        while True:
            levels.append(source.read().image.mean())
    source.close()
    assert source.live and len(levels) > 30 and (np.diff(levels) > 2).all()


def test_a_video_behind_an_address_is_read_like_a_file():
    capture = FakeCapture(numbered(7), count=7)
    source = open_video("http://host/clip.mp4", opener=lambda *how: capture)
    assert not source.live and len(read_all(source)) == 7


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_telephones_video_is_turned_upright(degrees, tmp_path):
    path = tmp_path / "a.mp4"
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:24, :32] = 255  # the corner tells how it was turned
    video = VideoWriter(str(path), 25)
    for _ in range(5):
        video.write(frame)
    video.close()
    data = bytearray(path.read_bytes())
    a, b = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = [a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30]
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
    path.write_bytes(data)
    source = open_video(str(path))
    image = source.read().image
    source.close()
    wanted = np.rot90(frame, -degrees // 90)
    assert image.shape == wanted.shape
    assert np.abs(image.astype(int) - wanted).mean() < 25
