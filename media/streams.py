"""Network streams: they go on until somebody stops them, and are connected again when they break off.

source = open_address("rtsp://HOST/PATH")
while (frame := source.read()) is not None:
    ...
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
import time
from fractions import Fraction
from http.client import HTTPException
from pathlib import Path
from typing import Callable, Iterator
from urllib.parse import urlsplit
from urllib.request import urlopen

import av

from files.pictures import IMAGE_SUFFIXES
from media.frames import LONGEST_GAP, Frame, Still
from media.videos import FORMATS, Decoder, VideoFile
from utils import UserError

OPEN_SECONDS = 10  # how long a stream may take to answer
READ_SECONDS = 10  # and to give the next frame


class Stream:
    """A network stream that goes on until somebody stops it. It is connected again when it breaks off."""

    live = True

    def __init__(
        self, connect: Callable[[], Decoder], decoder: Decoder, stride: int = 1, patience: float = 30.0
    ):
        """decoder: the first that `connect` gave. patience: for how many seconds it is connected again."""
        self.connect, self.decoder = connect, decoder
        self.name, self.sound, self.colors = decoder.name, decoder.sound, decoder.colors
        self.stride, self.patience = stride, patience
        self.rate = decoder.rate / stride
        self.index, self.until = 0, 0.0
        self.pictures = decoder.pictures()
        self.frozen = Still()

    def read(self) -> Frame:
        """The next frame. Raises UserError when none comes any more."""
        for _ in range(self.stride if self.index else 1):
            frame, at, self.until = self._next()
            self.index += 1
        taken = time.perf_counter()
        image = self.decoder.image(frame)
        self.frozen.look(image, taken)
        return Frame(image, self.index - 1, taken, at, self.until)

    def _next(self) -> tuple[av.VideoFrame, float, float]:
        broken = time.perf_counter()
        while True:
            with contextlib.suppress(OSError, av.error.FFmpegError):
                picture = next(self.pictures, None)
                if picture is not None:
                    return picture
            self._reconnect(broken)

    def _reconnect(self, broken: float) -> None:
        """Open it once more. Raises UserError if it does not come back within `patience` seconds."""
        self.decoder.close()
        if self.patience > 0:
            print(f"{self.name} broke off after {self.index} frames: connecting again", file=sys.stderr)
        while True:
            if time.perf_counter() - broken >= self.patience:
                raise UserError(f"{self.name} stopped after {self.index} frames: was it unplugged or closed?")
            with contextlib.suppress(UserError):
                decoder = self.connect()
                break
            time.sleep(0.5)
        gap = min(time.perf_counter() - broken, LONGEST_GAP)
        decoder.delay = Fraction(self.until + gap)
        if self.sound is not None and decoder.sound is not None:
            self.sound.stream = decoder.sound.stream
            decoder.sound = self.sound
        self.decoder, self.pictures = decoder, decoder.pictures()

    def close(self) -> None:
        self.decoder.close()


def open_address(address: str, stride: int = 1, patience: float = 30.0) -> VideoFile | Stream:
    """What an address such as rtsp://... gives: a stream, or, where it has an end, a file.

    patience: seconds for which a stream that broke off is tried again. Raises UserError.
    """
    options = {
        "format_whitelist": FORMATS + ",rtsp,rtp,sdp" + (",hls" if ".m3u8" in address else ""),
        # Above all not `file`: a server cannot have files read here.
        "protocol_whitelist": "http,https,tls,tcp,udp,rtp,rtmp,rtmps,srt,crypto,httpproxy",
        "rtsp_transport": "tcp",
    }
    name = hide_password(address)

    def connect() -> Decoder:
        return Decoder(address, name, options, (OPEN_SECONDS, READ_SECONDS))

    decoder = connect()
    return Stream(connect, decoder, stride, patience) if decoder.live else VideoFile(decoder, stride)


def hide_password(address: str) -> str:
    """The address as it may be printed."""
    return re.sub(r"(?<=://)[^/@]*@", "", address)


def is_picture_address(spec: str) -> bool:
    """Whether an address is that of one picture."""
    return (
        spec.startswith(("http://", "https://"))
        and Path(re.split("[?#]", spec)[0]).suffix.lower() in IMAGE_SUFFIXES
    )


@contextlib.contextmanager
def fetched(address: str) -> Iterator[str]:
    """Yield the name of a file with what an address gives, at most 200 MB. Raises UserError."""
    name, limit = hide_password(address), 200 << 20
    try:
        with urlopen(address, timeout=OPEN_SECONDS) as answer:
            data = answer.read(limit + 1)
    except (OSError, ValueError, HTTPException) as error:
        raise UserError(f"{name} cannot be fetched: {error}; check the address") from None
    if len(data) > limit:
        raise UserError(f"{name} has more than 200 MB: fetch it first, and give the file")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(urlsplit(address).path).name
        path.write_bytes(data)
        yield str(path)
