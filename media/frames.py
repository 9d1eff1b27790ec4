"""What all sources share: frames, how they are read, and sound."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import ClassVar, NamedTuple

import av
import numpy as np

from faces.mask import Mask

USUAL_RATE = 30.0  # for sources that do not tell their frame rate


class Frame(NamedTuple):
    """One image of a video, or a photo, which has no times.

    image: HWC uint8 BGR. index: its number. time: time.perf_counter() when it was taken, or read.
    at, until: the seconds of the video between which it is shown.
    """

    image: np.ndarray
    index: int = 0
    time: float = 0.0
    at: float = 0.0
    until: float = 0.0


class Result(NamedTuple):
    frame: Frame
    mask: Mask


class Source:
    """Where frames come from. Each kind has its own `_pictures`, and defines what differs from this."""

    live = False  # whether its frames come at their own time, and do not wait
    patience = 0.0  # seconds for which it may be away
    damaged = 0  # frames so far in whose place another is given
    sound: Sound | None = None
    remarks: tuple = ()  # on what a copy of it cannot hold
    colors = None  # see colors.py
    metadata: ClassVar[dict] = {}  # date, place, camera, as FFmpeg names them

    def __init__(self, name: str, rate: float = USUAL_RATE, stride: int = 1, count: int | None = None):
        """rate: pictures/s. stride: every nth is given, for the time of all. count: of all, where known."""
        self.name, self.stride, self.rate = name, stride, rate / stride
        self.expected = None if count is None else -(-count // stride)  # frames that will be given
        self.index = 0  # of the next picture
        self.pictures = self._pictures()

    def read(self) -> Frame | None:
        """Return the next frame; None at the end. Raises UserError where it cannot be read."""
        taken, frame = time.perf_counter(), None
        for picture, at, until in itertools.islice(self.pictures, self.stride):
            frame = frame or Frame(self.image(picture), self.index, taken, at, until)
            frame = frame._replace(until=until)
            self.index += 1
        return frame

    def _pictures(self) -> Iterator[tuple]:
        """Yield every picture, in any form, and the seconds between which it is shown."""
        return iter(())

    def image(self, picture) -> np.ndarray:
        """Return HWC uint8 BGR of what `_pictures` gave."""
        return picture

    def losses(self) -> list[str]:
        """Return what the user must know of the frames that were read."""
        what = "damaged or empty frames, in whose place the nearest good one stands"
        return [f"{what}: {self.damaged}"] if self.damaged else []

    def close(self) -> None:
        """Close what is open. Here nothing is."""


class LiveSource(Source):
    """A source that goes on until somebody stops it."""

    live = True

    def read(self) -> Frame:
        """Return the newest of the next `stride` frames. Raises UserError when no more come."""
        for _ in range(self.stride if self.index else 1):
            picture, at, until = next(self.pictures)
            self.index += 1
        taken = time.perf_counter()
        return Frame(self.image(picture), self.index - 1, taken, at, until)


class Sound:
    """The packets of a source's sound that nobody has taken yet."""

    def __init__(self, stream: av.AudioStream):
        self.stream = stream
        self.packets: deque[av.Packet] = deque()
        self.wanted = False  # else the packets are thrown away
        self.ended = False  # all of it belongs to what was written, also what goes on after the last picture

    def want(self, wanted: bool) -> None:
        """wanted: whether somebody will take the packets; if not, those that have come are thrown away."""
        self.wanted = wanted
        if not wanted:
            self.packets.clear()

    def put(self, packet: av.Packet, shift: Fraction) -> None:
        """shift: seconds that are added to the packet's time."""
        start = packet.dts if packet.pts is None else packet.pts
        if self.wanted and start is not None:
            packet.pts = packet.dts = start + round(shift / packet.time_base)  # sound is not reordered
            self.packets.append(packet)

    def take(self, until: float) -> Iterator[av.Packet]:
        """Yield what has come so far and begins before `until` seconds."""
        while self.packets and self.packets[0].pts * self.packets[0].time_base < until:
            yield self.packets.popleft()
