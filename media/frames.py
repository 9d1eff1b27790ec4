"""What all sources of frames share: the frame, and the sound beside it."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Iterator, NamedTuple

import av
import numpy as np

LONGEST_GAP = 10.0  # seconds; a longer pause of a live source is left out of a recording
FROZEN_SECONDS = 5.0  # a real camera's noise never repeats a frame for so long
USUAL_RATE = 30.0  # for sources that do not tell their frame rate


class Frame(NamedTuple):
    """One image of a video.

    image: HWC uint8 BGR. index: its number. time: time.perf_counter() when it was taken, or read.
    at, until: the seconds of the video between which it is shown.
    """

    image: np.ndarray
    index: int
    time: float
    at: float
    until: float


class Sound:
    """The packets of a source's sound that nobody has taken yet."""

    def __init__(self, stream: av.AudioStream):
        self.stream = stream
        self.packets: deque[av.Packet] = deque()
        self.wanted = False  # else the packets are thrown away
        self.ended = False  # all of it belongs to what was written, also what goes on after the last picture

    def put(self, packet: av.Packet, shift: Fraction) -> None:
        """shift: seconds that are added to the packet's time."""
        start = packet.dts if packet.pts is None else packet.pts
        if self.wanted and start is not None:
            packet.pts = packet.dts = start + round(shift / packet.time_base)  # sound has one order alone
            self.packets.append(packet)

    def take(self, until: float) -> Iterator[av.Packet]:
        """What has come so far and begins before `until` seconds."""
        while self.packets and self.packets[0].pts * self.packets[0].time_base < until:
            yield self.packets.popleft()


class Still:
    """Notices a live source that gives the same picture again and again."""

    def __init__(self):
        self.sample = None  # a few pixels of the last frame that differed from the one before it
        self.changed = 0.0  # when that was

    def look(self, image: np.ndarray, taken: float) -> None:
        sample = image[::16, ::16].copy()
        if not np.array_equal(sample, self.sample):
            self.sample, self.changed = sample, taken

    def __call__(self, now: float) -> bool:
        """Whether nothing has changed for some seconds."""
        return self.sample is not None and now - self.changed > FROZEN_SECONDS
