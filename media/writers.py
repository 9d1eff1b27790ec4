"""Where frames go: a video file, a virtual camera.

    video = VideoWriter("out.mp4", rate=30)
    try:
        for picture in pictures:
            video.write(picture)
    finally:
        video.close()                   # checks the file, and gives it its name

OpenCV's own writer reports no errors: here a file that was not opened, a full disk, or a file with fewer
frames than were written is an OSError. Until `close` the file has a temporary
name; what was written before an interruption is kept.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np

from utils import UserError, atomic_path, resize

# MPEG-4 Part 2 and Motion JPEG are in every build of OpenCV, and are fast; H.264 is in few.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
ROOM = 64 << 20  # bytes of free disk space below which writing is given up: enough to finish the file
LOOK_EVERY = 30  # frames from one look at the free space to the next
LONGEST_GAP = 10.0  # seconds; a longer pause of a live source is left out


class VideoWriter:
    """A video file. Its size is that of the first picture."""

    def __init__(self, path: str | Path, rate: float):
        """rate: frames/s. Raises UserError if the suffix is none of a video that can be written."""
        self.path = Path(path)
        if self.path.suffix.lower() not in CODECS:
            raise UserError(
                f"{path}: '{self.path.suffix}' is no video format; use one of {', '.join(CODECS)}"
            )
        # MPEG-4 holds a rate as a fraction of numbers up to 65535: of a high one two decimals fit.
        self.rate = round(rate, 2) if rate > 65 else rate
        self.count = 0
        self.size = None  # (height, width)
        self.start = None  # when the first frame was taken
        self.files = contextlib.ExitStack()
        self.writer = None

    def write(self, picture: np.ndarray, taken: float | None = None) -> None:
        """picture: HWC uint8 BGR. taken: for live sources, the second at which it was taken: the frame is
        written as often (or seldom) as the file's rate asks for, so that time passes at the right speed.
        """
        if self.size is None:
            self._open(picture)
        picture = letterbox(picture, *self.size)
        for _ in range(self._due(taken)):
            self.writer.write(picture)
            self.count += 1
            if self.count % LOOK_EVERY == 0 and shutil.disk_usage(self.temporary.parent).free < ROOM:
                raise OSError(f"cannot write {self.path}: the disk is full")

    def close(self) -> None:
        """Finish the file and check it. Raises OSError, leaving no file, if it is not what was written."""
        if self.writer is None:
            return
        with self.files:  # gives the file its name, or removes it if the check fails
            self.writer.release()
            self._check()

    def _open(self, picture: np.ndarray) -> None:
        self.size = picture.shape[:2]
        self.temporary = self.files.enter_context(atomic_path(self.path))
        try:
            self.temporary.touch()  # says why, where it cannot be written to; OpenCV would not
        except OSError as error:
            raise OSError(f"cannot write {self.path}: {error.strerror or error}") from error
        codec = CODECS[self.path.suffix.lower()]
        height, width = self.size
        fourcc = cv2.VideoWriter_fourcc(*codec)
        self.writer = cv2.VideoWriter(str(self.temporary.absolute()), fourcc, self.rate, (width, height))
        if not self.writer.isOpened():
            self.writer = None
            self.temporary.unlink()
            with contextlib.suppress(OSError):  # there is nothing to move
                self.files.close()
            raise OSError(
                f"cannot write {self.path}: this OpenCV has no '{codec}' encoder for '{self.path.suffix}' or "
                f"none for {width}x{height}; try .avi"
            )

    def _due(self, taken: float | None) -> int:
        """How often a frame taken at that time has to be written."""
        if taken is None:
            return 1
        if self.start is None:
            self.start = taken
        due = round((taken - self.start) * self.rate) + 1 - self.count
        if due > LONGEST_GAP * self.rate:
            self.start += (due - 1) / self.rate
            return 1
        return max(0, due)

    def _check(self) -> None:
        if not self.temporary.exists() or self.temporary.stat().st_size == 0:
            raise OSError("nothing was written")  # `atomic_path` adds the file's name
        capture = cv2.VideoCapture(str(self.temporary.absolute()))
        try:
            found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
            capture.set(cv2.CAP_PROP_POS_FRAMES, self.count - 1)
            complete = found >= self.count and capture.read()[0]
        finally:
            capture.release()
        if not complete:
            raise OSError(f"{found} of {self.count} frames can be read back: a full disk?")


class VirtualCamera:
    """A camera that other programs (video calls) can choose. Needs pyvirtualcam and its driver."""

    def __init__(self, rate: float):
        self.rate = rate
        self.camera = None
        try:
            import pyvirtualcam
        except ImportError as error:
            raise OSError(
                "--virtual-camera needs the package pyvirtualcam: "
                f"install it with `{sys.executable} -m pip install pyvirtualcam`"
            ) from error
        self.package = pyvirtualcam

    def write(self, picture: np.ndarray, taken: float | None = None) -> None:
        """picture: HWC uint8 BGR; `taken` is as for VideoWriter, and not used: a frame goes out at once."""
        if self.camera is None:
            height, width = picture.shape[:2]
            try:
                self.camera = self.package.Camera(
                    width=width, height=height, fps=self.rate, fmt=self.package.PixelFormat.BGR
                )
            except RuntimeError as error:
                raise OSError(
                    f"there is no virtual camera to write to ({error}): it needs a driver, "
                    "v4l2loopback on Linux, OBS on Windows and macOS"
                ) from error
        self.camera.send(letterbox(picture, self.camera.height, self.camera.width))

    def close(self) -> None:
        if self.camera is not None:
            self.camera.close()


def letterbox(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """HWC uint8 scaled to fit into height x width, aspect ratio kept, with black bars where it does not."""
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(height / picture.shape[0], width / picture.shape[1])
    picture = resize(picture, (max(1, int(picture.shape[0] * scale)), max(1, int(picture.shape[1] * scale))))
    top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
    bottom, right = height - picture.shape[0] - top, width - picture.shape[1] - left
    return cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_CONSTANT)
