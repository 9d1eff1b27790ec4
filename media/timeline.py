"""When the frames of a video file are shown, and which of them do not come."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

LONGEST_PAUSE = 12 * 3600  # seconds; a longer one is an error of the file, and more than .mp4 can hold
REORDERED = 24  # frames: more than any codec puts between one and another that is shown before it


class Timeline:
    """Matches a decoder's frames with its packets by their stamps: seconds, by the file's own clock.

    Each packet should become a frame; decoders drop some without an error. `add` each packet; show each frame
    in its `spans`, and the last one for the `rest`, at the end.
    """

    def __init__(self, step: Fraction, guessed: bool = False):
        """step: usual seconds from one frame to the next. guessed: stamps may be out of order."""
        self.step, self.slack = step, REORDERED * step * guessed
        self.shift = Fraction(0)  # from a stamp to the time at which it is shown
        self.jumps = 0  # of the stamps, back or far ahead
        self.part, self.newest = 0, None  # each jump back begins another part of the file
        self.awaited: dict[tuple, Fraction] = {}  # (part, stamp) of packets without a frame so far: length
        self.free: set[tuple] = set()  # (part, stamp) that no frame has taken
        self.given_up: set[Fraction] = set()  # stamps of frames that are lost: another stands in their place
        self.at: Fraction | None = None  # begin and end of the last frame, as it is shown
        self.until = Fraction(0)

    def add(self, stamp: Fraction, length: Fraction) -> None:
        """length: seconds for which it is shown; 0 if the file does not say."""
        if self.newest is not None and stamp < self.newest - REORDERED * self.step:
            self.part += 1
        self.newest = stamp
        self.awaited[self.part, stamp] = length
        self.free.add((self.part, stamp))
        self.given_up.discard(stamp)

    def join_fields(self, stamp: Fraction, whole: Fraction) -> int:
        """Take the packets of both halves of an interlaced frame for one; return how many are no frames.

        stamp: of the first one. whole: seconds of a frame.
        """
        key = next((key for key in self.awaited if key[1] == stamp), None)
        seconds = [each for each in self.awaited if key and key < each < (key[0], stamp + whole * 3 / 4)]
        for each in seconds:
            del self.awaited[each]
            self.free.discard(each)
        if key is not None:
            self.awaited[key] = max(self.awaited[key], whole)
        return len(seconds)

    def spans(self, stamp: Fraction | None) -> Iterator[tuple[bool, float, float]]:
        """Yield (whether it is its own, begin, end) of each place that a frame takes: those of frames that
        should have come before, and its own, unless another stands there already. stamp: None without one.
        """
        if stamp in self.given_up:  # stamps are out of order
            self.slack = REORDERED * self.step
            return
        key = next((key for key in self.awaited if key[1] == stamp), None)
        lost = sorted(other for other in self.awaited if key and other < (key[0], stamp - self.slack))
        self.given_up.update(stamp for _, stamp in lost)
        for other in lost:
            yield False, *self._take(other)
        if key is None and len(self.awaited) > 2 * REORDERED:  # the decoder loses stamps, not frames
            key = min(self.awaited)
        yield True, *(self._show(stamp, Fraction(0)) if key is None else self._take(key))

    def rest(self) -> Iterator[tuple[float, float]]:
        """Yield begin and end of each frame that has not come, at the end of the file."""
        yield from map(self._take, sorted(self.awaited))

    def _take(self, key: tuple) -> tuple[float, float]:
        first = min(self.free, default=key)  # a stamp may come twice
        self.free.discard(first)
        return self._show(first[1], self.awaited.pop(key))

    def _show(self, stamp: Fraction | None, length: Fraction) -> tuple[float, float]:
        at = self.until if stamp is None else stamp + self.shift
        if self.at is not None and not self.at < at < self.until + LONGEST_PAUSE:
            if not 0 <= self.at - at < REORDERED * self.step:  # otherwise the stamps are only out of order
                self.jumps += 1
                self.shift += self.until - at
            at = self.until
        # Where it is not said how long one is shown, it is as long as the one before.
        self.until = at + (length or (at - self.at if self.at is not None else self.step))
        self.at = at
        return float(at), float(self.until)
