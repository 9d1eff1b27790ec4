"""Where frames come from: cameras and animations; streams.py, videos.py and sample.py have the rest.

source = open_video("0")            # or "rtsp://...", "clip.mp4"
frame = source.read()               # None at the end
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from files.pictures import on_black, picture_of, to_pixels, upright
from media.frames import USUAL_RATE, LiveSource, Source
from media.streams import aside, open_address
from media.videos import VideoFile, open_file
from utils import UserError, integer, log

PAGE_SECONDS = 1.0  # for the pages of a TIFF
SHORT_SECONDS = 0.1  # for the pictures of an animation that says 0, as browsers take it
RETRY_SECONDS = 1.0  # a camera may miss a frame, and take a moment to start
VGA = 640 * 480  # pixels


def camera_index(spec: str) -> int | None:
    """Return the camera meant by "0", "1", "/dev/video1" ...; None if something else is meant."""
    match = re.fullmatch(r"(?:/dev/video)?(\d+)", spec)
    return integer(0)(match.group(1)) if match else None


def is_stream(spec: str) -> bool:
    # With one slash too: else it would be a file's name, and a password in it be printed.
    return re.match(r"[a-z][a-z0-9+.-]+:/", spec, re.IGNORECASE) is not None


def open_video(spec: str, stride: int = 1, patience: float = 30.0, *asked) -> Source:
    """Return the camera, stream or video file that `spec` names; "-" is standard input, read as a file.

    stride: every nth frame is given. patience: see open_address. asked: of a camera, see Camera. Raises
    UserError if nothing is there, or can be read from it.
    """
    index = camera_index(spec)
    if index is not None:
        return Camera(index, stride, *asked)
    if spec == "-":
        return aside(lambda: VideoFile("pipe:0", "standard input", stride, "pipe"))
    return open_address(spec, stride, patience) if is_stream(spec) else open_file(Path(spec), stride)


class Camera(LiveSource):
    """A camera, opened by OpenCV."""

    def __init__(
        self, index: int, stride: int = 1, size: tuple[int, int] | None = None, rate: float | None = None
    ):
        """size, rate: (width, height) and frames/s to ask it for. Raises UserError if it gives nothing."""
        cv2.setLogLevel(0)  # our messages say better what it would remark
        self.capture = capture = cv2.VideoCapture(index)
        if not capture.isOpened():
            if Path(f"/dev/video{index}").exists():
                raise UserError(
                    f"camera {index} cannot be opened: another program may be using it, "
                    "or you may not be allowed to (on Linux: the group 'video')"
                )
            raise UserError(f"there is no camera {index}")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # no old frames in a queue
        if size is not None:
            if size[0] * size[1] > VGA:  # of which USB carries only a few a second uncompressed
                capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if rate is not None:
            capture.set(cv2.CAP_PROP_FPS, rate)
        told = capture.get(cv2.CAP_PROP_FPS)
        super().__init__(f"camera {index}", told if 1 <= told <= 240 else USUAL_RATE, stride)
        image, _ = self._grab()  # one in use elsewhere may open, and then give nothing
        height, width = image.shape[:2]
        if size not in (None, (width, height)):
            log.warning("camera %d gives %dx%d, not %dx%d", index, width, height, *size)

    def _pictures(self) -> Iterator[tuple[np.ndarray, float, float]]:
        start = None  # second 0 of its video
        while True:
            image, now = self._grab()
            start = start or now
            yield image, now - start, now - start + 1 / self.rate

    def _grab(self) -> tuple[np.ndarray, float]:
        """Wait for a frame. Return it, and when it came."""
        give_up = time.perf_counter() + RETRY_SECONDS
        while True:
            came, image = self.capture.read()
            if came:
                return image, time.perf_counter()
            if time.perf_counter() > give_up or not self.capture.isOpened():
                if self.index == 0:
                    raise UserError(f"{self.name} gives no frames: another program may be using it")
                raise UserError(f"{self.name} stopped after {self.index} frames: was it unplugged or closed?")
            time.sleep(0.02)

    def close(self) -> None:
        self.capture.release()


class Animation(Source):
    """Every picture of a GIF, WebP, PNG or TIFF."""

    def __init__(self, path: Path, stride: int = 1, name: str = ""):
        """name: in messages, by default the path."""
        self.path = path
        with picture_of(path) as picture:
            super().__init__(name or str(path), 1 / seconds_of(picture), stride, picture.n_frames)

    def _pictures(self) -> Iterator[tuple[np.ndarray, float, float]]:
        at = 0.0
        with picture_of(self.path) as picture:
            for number in range(picture.n_frames):
                picture.seek(number)
                image = cv2.cvtColor(on_black(to_pixels(upright(picture), self.name)), cv2.COLOR_RGB2BGR)
                until = at + seconds_of(picture)  # known only when it was decoded
                yield image, at, until
                at = until

    def close(self) -> None:
        self.pictures.close()


def seconds_of(picture) -> float:
    """Return how long the present picture of an opened file is shown."""
    usual = PAGE_SECONDS if picture.format == "TIFF" else SHORT_SECONDS
    return (picture.info.get("duration") or 0) / 1000 or usual
