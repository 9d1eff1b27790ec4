"""Videos and virtual cameras: python -m pytest tests/media/test_writers.py"""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import background

from media import writers
from media.writers import CODECS, VideoWriter, VirtualCamera, letterbox
from utils import UserError

ROOT = Path(__file__).resolve().parents[2]


def frames_of(path: Path) -> tuple[list, float]:
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS)
    frames = []
    while (frame := capture.read()[1]) is not None:
        frames.append(frame)
    capture.release()
    return frames, rate


@pytest.mark.parametrize("suffix", CODECS)
def test_frames_rate_size_and_colours_come_back(tmp_path, suffix):
    path = tmp_path / "new folder" / f"out{suffix}"
    video = VideoWriter(path, 29.97)
    for level in range(30):
        video.write(np.full((96, 128, 3), (level * 8, 100, 200), np.uint8))
        assert not path.exists()
    video.close()
    frames, rate = frames_of(path)
    assert len(frames) == video.count == 30 and rate == pytest.approx(29.97, abs=0.01)
    assert frames[0].shape == (96, 128, 3)
    for level, frame in enumerate(frames):
        assert np.abs(frame.mean(axis=(0, 1)) - (level * 8, 100, 200)).max() < 8
    assert os.listdir(path.parent) == [path.name]


def test_odd_sizes(tmp_path):
    video = VideoWriter(tmp_path / "odd.mp4", 25)
    for _ in range(5):
        video.write(background(97, 131))
    video.close()
    assert len(frames_of(tmp_path / "odd.mp4")[0]) == 5


def test_nothing_written_leaves_nothing(tmp_path):
    VideoWriter(tmp_path / "none.mp4", 25).close()
    assert list(tmp_path.iterdir()) == []


def test_another_size_is_fitted_in(tmp_path):
    video = VideoWriter(tmp_path / "mixed.avi", 25)
    video.write(np.full((96, 128, 3), 200, np.uint8))
    video.write(np.full((96, 256, 3), 200, np.uint8))
    video.close()
    frames, _ = frames_of(tmp_path / "mixed.avi")
    assert frames[1][:20].max() < 40 and frames[1][40:56].min() > 180


def test_a_live_recording_keeps_the_right_time(tmp_path):
    video = VideoWriter(tmp_path / "live.avi", 20)
    for taken in (100.0, 100.05, 100.2, 100.21, 100.22, 100.4):  # slow, then a burst, then slow
        video.write(background(48, 64), taken)
    video.close()
    assert video.count == 9 == len(frames_of(tmp_path / "live.avi")[0])  # 0.4 s at 20 frames/s, and the first


def test_a_long_pause_of_a_live_source_is_left_out(tmp_path):
    video = VideoWriter(tmp_path / "live.avi", 20)
    for taken in (0.0, 0.05, 3600.0, 3600.05):
        video.write(background(48, 64), taken)
    video.close()
    assert video.count == 4


@pytest.mark.parametrize("rate", [0.3333, 59.94006, 65.5371, 119.8765, 240.0213])
def test_any_rate_can_be_written(tmp_path, rate):
    video = VideoWriter(tmp_path / "out.mp4", rate)
    for _ in range(3):
        video.write(background(48, 64))
    video.close()
    assert frames_of(tmp_path / "out.mp4")[1] == pytest.approx(rate, rel=1e-3)


def test_a_relative_name_with_a_colon_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    video = VideoWriter("2024-05-01T12:30.mp4", 25)
    video.write(background(48, 64))
    video.close()
    assert len(frames_of(tmp_path / "2024-05-01T12:30.mp4")[0]) == 1


def test_unknown_formats_are_refused():
    for name in ("a.xyz", "a", "a.webm"):
        with pytest.raises(UserError, match=r"no video format; use one of .mp4"):
            VideoWriter(name, 25)


def test_a_missing_codec_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(CODECS, ".mp4", "zzzz")
    monkeypatch.setattr(writers.cv2, "VideoWriter_fourcc", lambda *codec: 0x7A7A7A7A)
    video = VideoWriter(tmp_path / "out.mp4", 25)
    with pytest.raises(OSError, match=r"cannot write .*out.mp4: this OpenCV has no 'zzzz' encoder"):
        video.write(background(48, 64))
    video.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    video = VideoWriter(tmp_path / "file" / "out.mp4", 25)
    with pytest.raises(OSError, match=r"cannot write .*out.mp4"):
        video.write(background(48, 64))
    video.close()


def test_lost_frames_are_an_error_and_leave_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.avi"
    path.write_bytes(b"old")
    video = VideoWriter(path, 25)
    real = cv2.VideoWriter
    monkeypatch.setattr(writers.cv2, "VideoWriter", lambda *how: _losing(real, *how))
    for _ in range(20):
        video.write(background(48, 64))
    with pytest.raises(OSError, match=r"^cannot write [^:]*: 5 of 20 frames can be read back"):
        video.close()
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["out.avi"]


def _losing(real, *how):
    """A writer that loses everything after five frames, and says nothing."""
    writer, written = real(*how), []

    def write(picture):
        written.append(1)
        if len(written) <= 5:
            writer.write(picture)

    return types.SimpleNamespace(isOpened=writer.isOpened, write=write, release=writer.release)


def test_zero_bytes_are_an_error(tmp_path, monkeypatch):
    nothing = types.SimpleNamespace(isOpened=lambda: True, write=lambda picture: None, release=lambda: None)
    monkeypatch.setattr(writers.cv2, "VideoWriter", lambda *how: nothing)
    video = VideoWriter(tmp_path / "out.mp4", 25)
    video.write(background(48, 64))
    with pytest.raises(OSError, match=r"^cannot write [^:]*: nothing was written"):
        video.close()
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
import cv2
from scenes import background
from media.writers import VideoWriter
cv2.setLogLevel(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))  # as a full disk: no byte more is taken
video = VideoWriter({path!r}, 25)
try:
    try:
        for seed in range(150):
            video.write(background(240, 320, seed))
    finally:
        video.close()
except OSError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_disk_that_takes_no_more_is_an_error(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    script = FULL_DISK.format(root=str(ROOT), path=str(path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and f"cannot write {path}" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_little_room_on_the_disk_ends_the_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(writers.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1000))
    video = VideoWriter(tmp_path / "out.mp4", 25)
    with pytest.raises(OSError, match="the disk is full"):
        for _ in range(100):
            video.write(background(48, 64))
    video.close()
    assert len(frames_of(tmp_path / "out.mp4")[0]) == 30  # what there was room for is kept


def test_letterbox_keeps_the_aspect_ratio():
    fitted = letterbox(np.full((100, 100, 3), 255, np.uint8), 50, 200)
    assert fitted.shape == (50, 200, 3)
    assert (fitted[:, 75:125] == 255).all() and (fitted[:, :75] == 0).all() and (fitted[:, 125:] == 0).all()


class StubCamera:
    made = None

    def __init__(self, width: int, height: int, fps: float, fmt: str):
        self.width, self.height, self.fps, self.fmt = width, height, fps, fmt
        self.sent, self.closed = [], False
        StubCamera.made = self

    def send(self, picture: np.ndarray) -> None:
        self.sent.append(picture)

    def close(self) -> None:
        self.closed = True


def stub_package(camera) -> types.ModuleType:
    package = types.ModuleType("pyvirtualcam")
    package.Camera, package.PixelFormat = camera, types.SimpleNamespace(BGR="BGR")
    return package


def test_virtual_camera_sends_bgr_frames(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", stub_package(StubCamera))
    camera = VirtualCamera(30)
    frame = background(48, 64)
    camera.write(frame)
    camera.write(background(48, 128))
    camera.close()
    made = StubCamera.made
    assert (made.width, made.height, made.fps, made.fmt, made.closed) == (64, 48, 30, "BGR", True)
    np.testing.assert_array_equal(made.sent[0], frame)
    assert made.sent[1].shape == (48, 64, 3)


def test_virtual_camera_without_its_package_or_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(OSError, match="pip install pyvirtualcam"):
        VirtualCamera(30)

    def no_driver(**how):
        raise RuntimeError("no device")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", stub_package(no_driver))
    with pytest.raises(OSError, match=r"no virtual camera .*no device.*v4l2loopback"):
        VirtualCamera(30).write(background(48, 64))


def test_a_folder_that_cannot_be_written_to_is_named():
    writer = VideoWriter(Path("/proc/clip.mp4"), 25)
    with pytest.raises(OSError, match=r"^cannot write /proc/clip\.mp4: "):
        writer.write(np.zeros((32, 32, 3), np.uint8))
