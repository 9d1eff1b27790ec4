"""Live outputs: python -m pytest tests/media/test_live.py"""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from scenes import background

from media.live import VirtualCamera


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
    camera.write(frame, 0, 1)
    camera.write(background(48, 128), 1, 2)
    camera.close()
    made = StubCamera.made
    assert (made.width, made.height, made.fps, made.fmt, made.closed) == (64, 48, 30, "BGR", True)
    np.testing.assert_array_equal(made.sent[0], frame)
    assert made.sent[1].shape == (48, 64, 3)


def test_virtual_camera_without_its_package_or_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(OSError, match="pip install pyvirtualcam"):
        VirtualCamera(30)

    def no_driver(*size, **how):
        raise RuntimeError("no device")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", stub_package(no_driver))
    with pytest.raises(OSError, match=r"no virtual camera .*no device.*v4l2loopback"):
        VirtualCamera(30).write(background(48, 64), 0, 1)
