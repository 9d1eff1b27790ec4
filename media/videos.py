"""Frames and sound of videos, read by FFmpeg's libraries (PyAV).

    source = open_file(Path("clip.mp4"))
    while (frame := source.read()) is not None:
        ...                             # frame.image: HWC uint8 BGR, upright, with square pixels
    source.close()

Every frame has its own time, so that changing and unusual rates keep their length. Only what is a media file
is opened: no playlists or lists of other files, which could read what the user did not name.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import re
import time
from fractions import Fraction
from pathlib import Path
from typing import Iterator

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from files.paths import regular_file
from media.colors import Colors, decode
from media.frames import USUAL_RATE, Frame, Sound
from utils import UserError, resize

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,mxf,gxf,dv,h264,hevc,vvc,"
    "av1,obu,ivf,m4v,mjpeg,mpjpeg,nut,yuv4mpegpipe,rm,wtv,swf,vc1,dirac"
)
HEAD = 1 << 20  # bytes at a file's beginning and end where its codec is named
MOST_ERRORS = 10_000  # of a file that is read on in spite of them
ATTACHED = 1024  # the disposition of a cover picture


class Decoder:
    """The pictures, in order, of one file or connection."""

    def __init__(self, address: str, name: str, options: dict, timeout: tuple | None = None):
        """Open it. options: FFmpeg's. timeout: seconds to wait for an answer, and for each frame.

        Raises UserError if there is no video in it that can be read.
        """
        self.name = name
        try:
            self.container = av.open(address, options=options, timeout=timeout)
        except (OSError, av.error.FFmpegError) as error:
            raise UserError(f"{name} cannot be opened: {_reason(error, timeout is not None)}") from error
        videos = [v for v in self.container.streams.video if not getattr(v, "disposition", 0) & ATTACHED]
        if not videos:
            self.container.close()
            raise UserError(f"{name} cannot be opened: there is no video in it")
        self.stream = videos[0]
        codec = self.stream.codec_context
        if codec is None:
            self.container.close()
            raise UserError(f"{name}: its codec{_codec_name(address)} cannot be read; convert it first")
        self.live = self.container.duration is None and timeout is not None
        codec.thread_type = "SLICE" if self.live else "AUTO"  # threads for whole frames would hold some back
        self.sound = Sound(self.container.streams.audio[0]) if self.container.streams.audio else None
        if self.sound is not None and self.sound.stream.codec_context is None:
            self.sound = None
        self.colors = Colors(codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc)
        rate = self.stream.average_rate or self.stream.guessed_rate
        # Of a few frames, Matroska tells no rate, and FFmpeg guesses that of its clock.
        self.rate = float(rate) if rate and (self.stream.average_rate or rate < 240) else USUAL_RATE
        self.step = 1 / Fraction(self.rate).limit_denominator(100_000)
        self.delay = Fraction(0)  # the seconds at which its first frame is to be shown
        self.shift = Fraction(0)  # what is added to every time for that; known from the first packet on
        self.end = Fraction(0)  # where the last packet of anything ends
        self.errors = 0
        self.damaged = 0  # frames
        self.reformatter = VideoReformatter()
        self.opened = time.perf_counter()

    def pictures(self) -> Iterator[tuple[av.VideoFrame, float, float]]:
        """Each frame and the seconds between which it is shown.

        In place of a damaged one comes the last good one. Raises FFmpegError where a connection breaks.
        """
        waiting: list[
            tuple[Fraction, Fraction]
        ] = []  # the time and duration of what the decoder has been given
        good, before, number, lost = None, None, 0, 0
        for packet in self._packets():
            length = (packet.duration or 0) * packet.time_base
            if packet.pts is not None and not packet.is_discard:
                heapq.heappush(waiting, (packet.pts * packet.time_base, length))
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self.errors += 1
                continue
            for frame in frames:
                at = self._time(frame, number)
                while waiting and waiting[0][0] < at:
                    passed = heapq.heappop(waiting)
                    # Some packets never become a frame, and are no damage.
                    if good is not None and lost < self.errors:
                        lost += 1
                        yield self._repeat(good, passed)
                if waiting and waiting[0][0] == at:
                    length = heapq.heappop(waiting)[1]
                # Where it is not said how long one is shown, it is as long as the one before.
                length = length or (at - before if before is not None else self.step)
                before = at
                number += 1
                if frame.is_corrupt and good is not None:
                    yield self._repeat(good, (at, length))
                else:
                    good = frame
                    yield frame, float(at + self.shift), float(at + length + self.shift)
        for passed in sorted(waiting):
            if good is not None and lost < self.errors:
                lost += 1
                yield self._repeat(good, passed)

    def image(self, frame: av.VideoFrame) -> np.ndarray:
        """HWC uint8 BGR, upright, with square pixels."""
        aspect = self.stream.sample_aspect_ratio or 1
        width, height = max(1, round(self.stream.width * aspect)), self.stream.height
        image = decode(frame)
        if image is None:
            image = self.reformatter.reformat(frame, format="bgr24").to_ndarray()
        image = resize(image, (height, width))
        matrix = frame.side_data.get("DISPLAYMATRIX")
        return image if matrix is None else _turn(image, np.frombuffer(matrix, np.int32))

    def _time(self, frame: av.VideoFrame, number: int) -> Fraction:
        if frame.pts is not None:
            return frame.pts * frame.time_base
        return Fraction(time.perf_counter() - self.opened) if self.live else number * self.step

    def _repeat(
        self, frame: av.VideoFrame, when: tuple[Fraction, Fraction]
    ) -> tuple[av.VideoFrame, float, float]:
        self.damaged += 1
        return frame, float(when[0] + self.shift), float(sum(when) + self.shift)

    def _streams(self) -> list:
        return [self.stream] + ([self.sound.stream] if self.sound else [])

    def _packets(self) -> Iterator[av.Packet]:
        """The video's packets; those of the sound are put aside."""
        packets = self.container.demux(self._streams())
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.InvalidDataError:  # not what a broken connection raises
                self.errors += 1
                if self.errors > MOST_ERRORS:
                    return
                packets = self.container.demux(self._streams())
                continue
            if packet.pts is not None:
                if not self.end:
                    starts = [s.start_time * s.time_base for s in self._streams() if s.start_time is not None]
                    self.shift = self.delay - min(starts, default=packet.pts * packet.time_base)
                self.end = max(self.end, (packet.pts + (packet.duration or 1)) * packet.time_base)
            if packet.stream is self.stream:
                yield packet
            else:
                self.sound.put(packet, self.shift)

    def close(self) -> None:
        self.container.close()


class VideoFile:
    """Every frame of a file in order; also of one behind an address."""

    live = False

    def __init__(self, decoder: Decoder, stride: int = 1):
        """stride: only every so-many-th frame is given, for the time of all."""
        self.decoder = decoder
        self.name, self.sound, self.colors = decoder.name, decoder.sound, decoder.colors
        self.stride = stride
        self.rate = decoder.rate / stride
        duration = decoder.container.duration
        self.length = decoder.stream.frames or round(
            decoder.rate * (duration or 0) / 1e6
        )  # by its own account
        self.expected = math.ceil(self.length / stride)  # frames that will be given
        self.index = 0
        self.pictures = decoder.pictures()

    def read(self) -> Frame | None:
        """Raises UserError where the file ends before its time."""
        taken = time.perf_counter()
        picture = next(self.pictures, None)
        if picture is None:
            return self._end()
        frame, at, until = picture
        frame = Frame(self.decoder.image(frame), self.index, taken, at, until)
        self.index += 1
        for _, _, until in itertools.islice(self.pictures, self.stride - 1):
            self.index += 1
            frame = frame._replace(until=until)
        return frame

    def _end(self) -> None:
        if self.index == 0:
            raise UserError(f"{self.name}: there is no frame in it that can be read")
        decoder = self.decoder
        seconds = (decoder.container.duration or 0) / 1e6
        begin = (decoder.container.start_time or 0) / 1e6
        missing = begin + seconds - float(decoder.end)
        if missing > max(3 * (seconds - missing) / self.index, 0.02 * seconds):
            raise UserError(
                f"{self.name} is cut off, or was cut without encoding it again: "
                f"it ends after {self.index} of {max(self.length, self.index)} frames"
            )
        decoder.damaged += max(0, decoder.stream.frames - self.index)

    @property
    def metadata(self) -> dict:
        """Date, place, camera, as FFmpeg names them."""
        return dict(self.decoder.container.metadata)

    @property
    def damaged(self) -> int:
        """How many frames so far could not be read."""
        return self.decoder.damaged

    def close(self) -> None:
        self.decoder.close()


def open_file(path: Path, stride: int = 1) -> VideoFile:
    """A video file. Raises UserError if it is none, is empty, or is no regular file."""
    regular_file(path)
    with path.open("rb") as file:
        if file.read(16).startswith((b"ffconcat", b"#EXTM3U")):
            raise UserError(
                f"{path} is a list of other files, which are not opened unasked: name them instead"
            )
    # The absolute name, because a relative one with a colon would be an address.
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    return VideoFile(Decoder(str(path.absolute()), str(path), options), stride)


def _reason(error: Exception, network: bool) -> str:
    if network:
        return f"{getattr(error, 'strerror', None) or error}; check the address, and that its server runs"
    if isinstance(error, PermissionError):
        return "you may not read it"
    return "it is no video, of an unknown format, or cut off"


def _codec_name(path: str) -> str:
    """Return what a file calls the codec of its pictures, quoted after a space; or nothing."""
    if not Path(path).is_file():
        return ""
    with open(path, "rb") as file:
        data = file.read(HEAD)
        file.seek(max(HEAD, file.seek(0, os.SEEK_END) - HEAD))
        data += file.read()
    # In MP4 and MOV, Matroska and WebM, AVI.
    found = re.search(rb"vide.*?stsd.{12}(\w{4})|(V_[A-Z0-9/_.]+)|vids(\w{4})", data, re.DOTALL)
    return "" if found is None else f" '{next(filter(None, found.groups())).decode()}'"


def _turn(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the image turned and flipped as a display matrix (9 fixed-point numbers, by rows) says."""
    a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
    x, y = a, d
    if abs(b) > abs(a):
        image, x, y = cv2.transpose(image), c, b
    if x >= 0 and y >= 0:
        return image
    return cv2.flip(image, -1 if x < 0 and y < 0 else 1 if x < 0 else 0)
