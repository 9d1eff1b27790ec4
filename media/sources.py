"""Where frames come from: a camera, a stream, a video file.

    source = open_video("0")            # or "rtsp://...", "clip.mp4"
    try:
        while (frame := source.read()) is not None:
            ...
    finally:
        source.close()

Every source has `name`, `rate` (frames/s, about), `live` (frames that come too late are of no use), `sound`,
`colors`, `read`, which gives None at the end, and `close`; a live one has `frozen` and `patience` too.
Files are in videos.py, streams in streams.py, pictures in pictures.py, the sample clip in sample.py.
"""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Callable

import cv2

from media.frames import LONGEST_GAP, USUAL_RATE, Frame, Still
from media.streams import Stream, open_address
from media.videos import VideoFile, open_file
from utils import UserError, whole

RETRY_SECONDS = 1.0  # a camera may miss a frame, and take a moment to start


def camera_index(spec: str) -> int | None:
    """The camera meant by "0", "1", "/dev/video1" ...; None if something else is meant."""
    match = re.fullmatch(r"(?:/dev/video)?(\d+)", spec)
    return whole(0)(match.group(1)) if match else None


def is_stream(spec: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]+://", spec, re.IGNORECASE) is not None


def open_video(spec: str, stride: int = 1, patience: float = 30.0) -> Camera | Stream | VideoFile:
    """The camera, stream or video file that `spec` names.

    stride: only every so-many-th frame is given. patience: seconds for which a stream that broke off is tried
    again. Raises UserError if there is none, or nothing can be read from it.
    """
    index = camera_index(spec)
    if index is not None:
        return open_camera(index, stride)
    return open_address(spec, stride, patience) if is_stream(spec) else open_file(Path(spec), stride)


def open_camera(index: int, stride: int = 1, opener: Callable = cv2.VideoCapture) -> Camera:
    """opener: what opens it, in the way of cv2.VideoCapture. Raises UserError."""
    capture = opener(index)
    if not capture.isOpened():
        capture.release()
        raise UserError(_why_no_camera(index))
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # no old frames in a queue
    camera = Camera(capture, f"camera {index}", stride)
    try:
        camera.read()  # a camera that is in use elsewhere may open, and then give nothing
    except UserError:
        camera.close()
        raise
    return camera


def _why_no_camera(index: int) -> str:
    if Path(f"/dev/video{index}").exists():
        return (
            f"camera {index} cannot be opened: another program may be using it, "
            "or you may not be allowed to (on Linux: the group 'video')"
        )
    return f"there is no camera {index}"


class Camera:
    """A camera goes on until somebody stops it."""

    live = True
    patience = 0.0
    sound = colors = None

    def __init__(self, capture: cv2.VideoCapture, name: str, stride: int = 1):
        self.capture = capture
        self.name = name
        self.stride = stride
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate = (rate if math.isfinite(rate) and 1 <= rate <= 240 else USUAL_RATE) / stride
        self.index = 0
        self.start = None  # time.perf_counter() at second 0 of its video
        self.last = 0.0  # when the last frame came
        self.frozen = Still()

    def read(self) -> Frame:
        """The next frame. Raises UserError when none comes any more."""
        for _ in range(self.stride - 1 if self.index else 0):
            self._grab()
            self.index += 1
        give_up = time.perf_counter() + RETRY_SECONDS
        while True:
            taken = self._grab()
            ok, image = self.capture.retrieve()
            if ok and image is not None:
                break
            if time.perf_counter() > give_up:
                raise UserError(f"{self.name} gives frames that cannot be decoded, after {self.index}")
        self.frozen.look(image, taken)
        if self.start is None:
            self.start = taken
        elif taken - self.last > LONGEST_GAP:
            self.start += taken - self.last - 1 / self.rate
        self.last = taken
        at = taken - self.start
        frame = Frame(image, self.index, taken, at, at + 1 / self.rate)
        self.index += 1
        return frame

    def _grab(self) -> float:
        """Wait for a frame. Returns when it came."""
        give_up = time.perf_counter() + RETRY_SECONDS
        while not self.capture.grab():
            if time.perf_counter() > give_up or not self.capture.isOpened():
                if self.index == 0:
                    raise UserError(f"{self.name} gives no frames: another program may be using it")
                raise UserError(f"{self.name} stopped after {self.index} frames: was it unplugged or closed?")
            time.sleep(0.02)
        return time.perf_counter()

    def close(self) -> None:
        self.capture.release()
