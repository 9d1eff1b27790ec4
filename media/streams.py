"""What is behind an address: a stream, which is connected again when it breaks off; a video; a picture."""

from __future__ import annotations

import base64
import contextlib
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import av
import numpy as np

from files.pictures import IMAGE_SUFFIXES
from media.frames import LONGEST_GAP, LiveSource
from media.videos import FORMATS, VideoFile
from utils import UserError

ANSWER_SECONDS = 10  # how long a stream may take to answer, and to give the next frame


class Stream(LiveSource):
    """A network stream. It is connected again when it breaks off."""

    def __init__(self, connect: Callable[[], VideoFile], video: VideoFile, stride: int, patience: float):
        """video: the first that `connect` gave. patience: for how many seconds it is connected again."""
        super().__init__(video.name, video.rate * stride, stride)
        self.connect, self.video, self.patience = connect, video, patience
        self.sound, self.colors = video.sound, video.colors

    def _pictures(self) -> Iterator[tuple[av.VideoFrame, float, float]]:
        until, waiting = 0.0, time.perf_counter()
        while True:
            with contextlib.suppress(OSError, av.error.FFmpegError):
                for picture, at, until in self.video.pictures:
                    yield picture, at, until
                    waiting = time.perf_counter()
            self._reconnect(waiting, until)

    def _reconnect(self, broken: float, until: float) -> None:
        """Open it once more. Raises UserError if it does not come back within `patience` seconds.
        broken: when the last frame had come. until: its end, in seconds of the recording.
        """
        self.video.close()
        if self.patience > 0:
            print(f"{self.name} broke off after {self.index} frames: connecting again", file=sys.stderr)
        while True:
            if time.perf_counter() - broken >= self.patience:
                raise UserError(f"{self.name} stopped after {self.index} frames: was it unplugged or closed?")
            with contextlib.suppress(UserError):
                self.video = self.connect()
                break
            time.sleep(0.5)
        self.video.delay = Fraction(until + min(time.perf_counter() - broken, LONGEST_GAP))
        if self.sound is not None and self.video.sound is not None:
            self.sound.stream = self.video.sound.stream
            self.video.sound = self.sound

    def image(self, picture: av.VideoFrame) -> np.ndarray:
        return self.video.image(picture)

    def close(self) -> None:
        self.video.close()


def open_address(address: str, stride: int = 1, patience: float = 30.0) -> VideoFile | Stream:
    """Return what an address such as rtsp://... gives: a stream, or, where it has an end, a file.

    patience: seconds for which a stream that broke off is tried again. Raises UserError.
    """
    options = {
        "format_whitelist": FORMATS + ",rtsp,rtp,sdp" + (",hls" if ".m3u8" in address else ""),
        # Above all not `file`: a server cannot have files read here.
        "protocol_whitelist": "http,https,tls,tcp,udp,rtp,rtmp,rtmps,srt,crypto,httpproxy",
        "rtsp_transport": "tcp",
    }

    def connect() -> VideoFile:
        return VideoFile(address, hide_password(address), stride, options, ANSWER_SECONDS)

    video = connect()
    return Stream(connect, video, stride, patience) if video.live else video


def hide_password(address: str) -> str:
    """Return the address as it may be printed."""
    return re.sub(r"(?<=://)[^/?#]*@", "", address)


def is_picture_address(spec: str) -> bool:
    """Whether an address is that of one picture."""
    suffix = Path(re.split("[?#]", spec)[0]).suffix.lower()
    return spec.startswith(("http://", "https://")) and suffix in IMAGE_SUFFIXES


def to_request(address: str) -> Request:
    """Return the request for an address; its user and password go to that server alone."""
    parts = urlsplit(address)
    user, known, host = parts.netloc.rpartition("@")
    request = Request(parts._replace(netloc=host).geturl())
    if known:
        secret = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    return request


@contextlib.contextmanager
def fetched(address: str) -> Iterator[str]:
    """Yield the name of a file with what an address gives, at most 200 MB. Raises UserError."""
    name, limit = hide_password(address), 200 << 20
    try:
        with urlopen(to_request(address), timeout=ANSWER_SECONDS) as answer:
            data = answer.read(limit + 1)
    except (OSError, ValueError, HTTPException) as error:
        raise UserError(f"{name} cannot be fetched: {error}; check the address") from None
    if len(data) > limit:
        raise UserError(f"{name} has more than 200 MB: fetch it first, and give the file")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(urlsplit(address).path).name
        path.write_bytes(data)
        yield str(path)
