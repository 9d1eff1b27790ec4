"""Where frames come from: a camera, a stream, a video file.

    source = open_video("0")            # or "rtsp://...", "clip.mp4"
    try:
        while (frame := source.read()) is not None:
            ...
    finally:
        source.close()

Every source has `name`, `rate` (frames/s), `live` (frames that come too late are of no use), `read`, which
gives None at the end, and `close`. Pictures are in pictures.py, the sample clip in sample.py.
"""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Callable, NamedTuple

import cv2
import numpy as np

from utils import UserError

OPEN_SECONDS = 10  # how long a stream may take to answer
READ_SECONDS = 10  # and to give the next frame
RETRY_SECONDS = 1.0  # a camera may miss a frame, and take a moment to start
FROZEN_SECONDS = 5.0  # a real camera's noise never repeats a frame for so long
USUAL_RATE = 30.0  # for sources that do not tell their frame rate


class Frame(NamedTuple):
    """One image of a video: HWC uint8 BGR, its number, and time.perf_counter() when it was taken."""

    image: np.ndarray
    index: int
    time: float


def camera_index(spec: str) -> int | None:
    """The camera meant by "0", "1", "/dev/video1" ...; None if something else is meant."""
    match = re.fullmatch(r"(?:/dev/video)?(\d+)", spec)
    return int(match.group(1)) if match else None


def is_stream(spec: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]+://", spec, re.IGNORECASE) is not None


def open_video(spec: str, stride: int = 1, opener: Callable = cv2.VideoCapture) -> Live | VideoFile:
    """The camera, stream or video file that `spec` names.

    stride: only every so-many-th frame is given. opener: what opens it, in the way of cv2.VideoCapture.
    Raises UserError if there is none, or nothing can be read from it.
    """
    index = camera_index(spec)
    if index is not None:
        capture = opener(index)
        if not capture.isOpened():
            capture.release()
            raise UserError(_why_no_camera(index))
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # no old frames in a queue
        camera = Live(capture, f"camera {index}", stride)
        try:
            camera.read()  # a camera that is in use elsewhere may open, and then give nothing
        except UserError:
            camera.close()
            raise
        return camera
    if is_stream(spec):
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_SECONDS * 1000]
        limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_SECONDS * 1000]
        capture = opener(spec, cv2.CAP_FFMPEG, limits)
        reason = "check the address, and that its server runs"
    else:
        path = Path(spec)
        if not path.exists():
            raise UserError(f"{spec}: there is no such file or folder")
        if path.is_file() and path.stat().st_size == 0:
            raise UserError(f"{spec}: the file is empty")
        capture = opener(str(path.absolute()))  # a relative name with a colon would be an address to FFmpeg
        reason = "it is no video, of an unknown format, or cut off"
    if not capture.isOpened():
        capture.release()
        raise UserError(f"{spec} cannot be opened: {reason}")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # a telephone's videos say which side is up; 4.11 leaves it
    # A stream that knows its length is a file at the other end: all of it is wanted, in order.
    live = is_stream(spec) and capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0
    return (Live if live else VideoFile)(capture, spec, stride)


def _why_no_camera(index: int) -> str:
    if Path(f"/dev/video{index}").exists():
        return (
            f"camera {index} cannot be opened: another program may be using it, "
            "or you may not be allowed to (on Linux: the group 'video')"
        )
    return f"there is no camera {index}"


class VideoFile:
    """Every frame in order."""

    live = False

    def __init__(self, capture: cv2.VideoCapture, name: str, stride: int = 1):
        self.capture = capture
        self.name = name
        self.stride = stride
        self.rate = _rate(capture) / stride
        self.length = capture.get(cv2.CAP_PROP_FRAME_COUNT)  # of the file, by its own account
        self.expected = math.ceil(self.length / stride)  # frames that will be given
        self.index = 0

    def read(self) -> Frame | None:
        """Raises UserError where the file ends before its time."""
        taken = time.perf_counter()
        ok, image = self.capture.read()
        if not ok:
            return self._end()
        frame = Frame(image, self.index, taken)
        self.index += 1
        for _ in range(self.stride - 1):
            if not self.capture.grab():
                break
            self.index += 1
        return frame

    def _end(self) -> None:
        if self.index == 0:
            raise UserError(f"{self.name}: there is no frame in it that can be read")
        missing = self.length - self.index
        # Some containers only estimate the number of frames, hence the tolerance.
        if missing > max(3, 0.02 * self.length):
            raise UserError(
                f"{self.name} is cut off, or was cut without encoding it again: "
                f"it ends after {self.index} of {self.length:.0f} frames"
            )

    def close(self) -> None:
        self.capture.release()


class Live:
    """A camera or a stream that goes on until somebody stops it."""

    live = True

    def __init__(self, capture: cv2.VideoCapture, name: str, stride: int = 1):
        self.capture = capture
        self.name = name
        self.stride = stride
        self.rate = _rate(capture) / stride
        self.index = 0
        self.sample = None  # a few pixels of the last frame that differed from the one before it
        self.changed = 0.0  # when that was

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
        sample = image[::16, ::16].copy()
        if not np.array_equal(sample, self.sample):
            self.sample, self.changed = sample, taken
        frame = Frame(image, self.index, taken)
        self.index += 1
        return frame

    def frozen(self, now: float) -> bool:
        """Whether it has given nothing but the same frame for some seconds."""
        return self.sample is not None and now - self.changed > FROZEN_SECONDS

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


def _rate(capture: cv2.VideoCapture) -> float:
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if math.isfinite(rate) and 1 <= rate <= 240 else USUAL_RATE
