"""What is behind an address: a stream, a video or a picture."""

from __future__ import annotations

import base64
import contextlib
import functools
import mimetypes
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from fractions import Fraction
from http.client import HTTPException, InvalidURL
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import av
import numpy as np

from files.pictures import IMAGE_SUFFIXES, picture_of
from media.frames import LiveSource
from media.videos import FORMATS, VideoFile, advice
from utils import UserError, log

# Above all not `file`: a server cannot have files read here.
PROTOCOLS = "http,https,tls,tcp,udp,rtp,rtmp,rtmps,srt,crypto,httpproxy"
ANSWER_SECONDS = 10  # how long a server may take to answer, and a stream to give the next frame
FETCH_SECONDS = 60  # how long fetching a picture may take
MOST_BYTES = 200 << 20  # of a picture; of a larger one, the rest is missing
LONGEST_GAP = 10.0  # seconds; a longer pause is left out of a recording


class Stream(LiveSource):
    """A network stream. It is connected again when it breaks off."""

    def __init__(self, connect: Callable[[], VideoFile], video: VideoFile, stride: int, patience: float):
        """video: the first that `connect` gave. patience: seconds for which connecting again is tried."""
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

    def _reconnect(self, last: float, until: float) -> None:
        """Connect again. Raises UserError if that takes too long.

        last: when the last frame came. until: its end, in seconds of the recording.
        """
        broken = time.perf_counter()  # later than `last`, where it fell silent
        self.close()
        if self.patience > 0:
            log.info("%s broke off after %d frames: connecting again", self.name, self.index)
        while time.perf_counter() - broken < self.patience:
            with contextlib.suppress(UserError):
                self.video = self.connect()
                break
            time.sleep(0.5)
        else:
            raise UserError(f"{self.name} stopped after {self.index} frames: was it unplugged or closed?")
        self.video.delay = Fraction(until + min(time.perf_counter() - last, LONGEST_GAP))
        if self.sound is not None and self.video.sound is not None:
            self.sound.stream = self.video.sound.stream
            self.video.sound = self.sound

    def image(self, picture: av.VideoFrame) -> np.ndarray:
        return self.video.image(picture)

    def close(self) -> None:
        self.damaged, self.video.damaged = self.damaged + self.video.damaged, 0
        self.video.close()


def open_address(address: str, stride: int = 1, patience: float = 30.0) -> VideoFile | Stream:
    """Return what an address such as rtsp://... gives: a stream, or, where it has an end, a file.

    patience: seconds for which a stream that broke off is tried again. Raises UserError.
    """
    formats = FORMATS + ",rtsp,rtp,sdp" + (",hls" if ".m3u8" in address else "")
    options = {"format_whitelist": formats, "rtsp_transport": "tcp"}
    name = printable(address)
    connect = functools.partial(VideoFile, address, name, stride, PROTOCOLS, ANSWER_SECONDS, **options)
    video = aside(connect)
    return Stream(connect, video, stride, patience) if video.live else video


def printable(address: str) -> str:
    """Return the address as it may be printed: without all before the last @, as passwords hold anything."""
    return re.sub(r"^(\w+:/*).*@", r"\1", address)


def is_picture_address(spec: str) -> bool:
    """Return whether an address is that of one picture: by its ending, else by what its server says."""
    if not spec.startswith(("http://", "https://")):
        return False
    path = re.split("[?#]", spec)[0]
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return True
    with contextlib.suppress(UserError):
        return mimetypes.guess_type(path)[0] is None and get(spec, 0)[0].startswith("image/")
    return False


@contextlib.contextmanager
def fetched(address: str) -> Iterator[str]:
    """Yield the name of a file with the picture behind an address. Raises UserError."""
    data = get(address, MOST_BYTES)[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (Path(urlsplit(address).path).name[-100:] or "picture")
        path.write_bytes(data)
        try:
            with picture_of(path) as picture:
                picture.load()
        except UserError as error:
            raise UserError(str(error).replace(str(path), printable(address))) from None
        yield str(path)


def get(address: str, limit: int) -> tuple[str, bytes]:
    """Return the kind (as image/png) and the first bytes of what an http address gives. Raises UserError."""

    def fetch() -> tuple[str, bytes]:
        with urlopen(to_request(address), timeout=ANSWER_SECONDS) as answer:
            return answer.headers.get_content_type(), answer.read(limit)

    try:  # a server that sends a byte now and then is never late for Python
        return aside(fetch, FETCH_SECONDS)
    except (InvalidURL, ValueError):  # they name a part of the address, which may be one of the password
        why = "it, or where it leads, is no valid address (a space is %20; letters such as ü in percent, too)"
    except (UserError, OSError, HTTPException) as error:
        why = error
    raise UserError(f"{printable(address)} cannot be fetched: {why}; {advice(address)}")


def aside(work: Callable, patience: float | None = None) -> object:
    """Return what `work` returns, in a thread of its own: Ctrl-C does not wait for what waits for others.

    Raises what it raises; UserError after `patience` seconds.
    """
    future = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    wait([future], patience)
    if not future.done():
        raise UserError(f"it takes more than {patience} s")
    return future.result()


def to_request(address: str) -> Request:
    """Return the request for an address; its user and password go to that server alone."""
    parts = urlsplit(address)
    user, known, host = parts.netloc.rpartition("@")
    request = Request(parts._replace(netloc=host).geturl())
    if known:
        secret = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    return request
