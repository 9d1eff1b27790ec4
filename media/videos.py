"""Frames and sound of videos, read by FFmpeg's libraries (PyAV): upright, with square pixels.

Every frame has its own time, so that changing and unusual rates keep their length. Only what is a media file
is opened: no playlists or lists of other files, which could read what the user did not name.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from files.paths import regular_file
from media.colors import HDR, Colors, decode
from media.frames import USUAL_RATE, Frame, Sound, Source
from utils import UserError, resize

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,mxf,gxf,dv,h264,hevc,vvc,"
    "av1,obu,ivf,m4v,mjpeg,mpjpeg,nut,yuv4mpegpipe,rm,wtv,swf,vc1,dirac"
)
MOST_ERRORS = 10_000  # of a file that is read on in spite of them
DEFAULT, ATTACHED = 1, 1024  # dispositions: of the track that is played, of a cover picture
HD = 720  # rows; from here on players take colours that are not told to be those of BT.709
TIMED = ("video", "audio", "subtitle")  # tracks whose end is one of the file


class VideoFile(Source):
    """Every frame of a file in order; also of one behind an address. For streams.py also of a connection."""

    def __init__(self, address: str, name: str, stride: int, options: dict, timeout: float | None = None):
        """Open it. options: FFmpeg's. timeout: of an address, seconds to wait for an answer, and for a frame.

        Raises UserError if there is no video in it that can be read.
        """
        try:
            self.container = av.open(address, options=options, timeout=timeout)
        except (OSError, av.error.FFmpegError) as error:
            why = "it is no video, of an unknown format, or cut off"
            if timeout is not None:
                why = f"{error.strerror or error}; check the address, and that its server runs"
            raise UserError(f"{name} cannot be opened: {why}") from error
        videos = [video for video in self.container.streams.video if not disposition(video) & ATTACHED]
        if not videos or videos[0].codec_context is None:
            self.container.close()
            if videos:
                raise UserError(f"{name}: its codec cannot be read; convert it first")
            raise UserError(f"{name} cannot be opened: there is no video in it")
        self.stream = stream = videos[0]
        codec = stream.codec_context
        self.live = self.container.duration is None and timeout is not None
        codec.thread_type = "SLICE" if self.live else "AUTO"  # threads for whole frames would hold some back
        sounds = [sound for sound in self.container.streams.audio if sound.codec_context is not None]
        if sounds:
            self.sound = Sound(max(sounds, key=lambda sound: disposition(sound) & DEFAULT))
        others = [
            f"left out: {other.type} {other.metadata.get('language', '')}".rstrip()
            for other in self.container.streams
            if other.type in TIMED[1:] and not (self.sound and other is self.sound.stream)
        ]
        hdr = "HDR: written in 8 bits; colours in tables and pictures are not sRGB"
        self.remarks = (*others, *([hdr] if codec.color_trc in HDR else []))
        matrix = 1 if codec.colorspace == 2 and codec.height >= HD else codec.colorspace
        self.colors = Colors(matrix, codec.color_range, codec.color_primaries, codec.color_trc)
        self.metadata = dict(self.container.metadata)
        rate = stream.average_rate or stream.guessed_rate
        # Of a few frames, Matroska tells no rate, and FFmpeg guesses that of its clock.
        rate = float(rate) if rate and (stream.average_rate or rate < 240) else USUAL_RATE
        self.step = 1 / Fraction(rate).limit_denominator(100_000)
        self.seconds = (self.container.duration or 0) / 1e6
        self.length = stream.frames or round(rate * self.seconds)  # frames, by its own account
        self.delay = Fraction(0)  # the seconds at which its first frame is to be shown
        self.shift = Fraction(0)  # what is added to every time for that; known from the first packet on
        self.end = Fraction(0)  # where the last packet of anything ends
        self.discarded = 0  # frames before the beginning of what a file shows
        self.errors = 0  # that have not been laid to a frame
        self.reformatter = VideoReformatter()
        self.opened = time.perf_counter()
        super().__init__(name, rate, stride, self.length)

    def read(self) -> Frame | None:
        """Raises UserError where the file ends before its time."""
        frame = super().read()
        if frame is None:
            self._check_end()
        return frame

    def _pictures(self) -> Iterator[tuple[av.VideoFrame, float, float]]:
        """In place of a damaged one comes the last good one. Raises FFmpegError where a connection breaks."""
        waiting: list[tuple[Fraction, Fraction]] = []  # times and durations of what the decoder was given
        good, before, number = None, None, 0
        for packet in self._packets():
            length = (packet.duration or 0) * packet.time_base
            self.discarded += packet.is_discard
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
                    yield from self._lost(good, *heapq.heappop(waiting))
                if waiting and waiting[0][0] == at:
                    length = heapq.heappop(waiting)[1]
                # Where it is not said how long one is shown, it is as long as the one before.
                length = length or (at - before if before is not None else self.step)
                before, number = at, number + 1
                if good is not None and frame.is_corrupt:
                    self.damaged += 1
                else:
                    good = frame
                yield self._shown(good, at, length)
        for at, length in sorted(waiting):
            yield from self._lost(good, at, length)

    def _lost(self, good: av.VideoFrame | None, at: Fraction, length: Fraction) -> Iterator[tuple]:
        """Yield the last good frame for a packet that became none: that is damage if there were errors."""
        if good is not None and self.errors:
            self.errors -= 1
            self.damaged += 1
            yield self._shown(good, at, length)

    def _shown(self, frame: av.VideoFrame, at: Fraction, length: Fraction) -> tuple:
        return frame, float(at + self.shift), float(at + length + self.shift)

    def image(self, picture: av.VideoFrame) -> np.ndarray:
        """Return HWC uint8 BGR, upright, with square pixels."""
        aspect = self.stream.sample_aspect_ratio or 1
        width, height = max(1, round(self.stream.width * aspect)), self.stream.height
        if picture.colorspace == 2:
            picture.colorspace = self.colors.matrix
        image = decode(picture)
        if image is None:
            image = self.reformatter.reformat(picture, format="bgr24").to_ndarray()
        image = resize(image, (height, width))
        matrix = picture.side_data.get("DISPLAYMATRIX")
        return image if matrix is None else _turn(image, np.frombuffer(matrix, np.int32))

    def _time(self, frame: av.VideoFrame, number: int) -> Fraction:
        if frame.pts is not None:
            return frame.pts * frame.time_base
        return Fraction(time.perf_counter() - self.opened) if self.live else number * self.step

    def _packets(self) -> Iterator[av.Packet]:
        """Yield the video's packets; those of the sound are put aside."""
        streams = [self.stream] + ([self.sound.stream] if self.sound else [])
        for _ in range(MOST_ERRORS):
            try:
                for packet in self.container.demux():  # all, as the file ends with its longest track
                    if packet.pts is not None and packet.stream.type in TIMED:
                        if not self.end:
                            starts = [s.start_time * s.time_base for s in streams if s.start_time is not None]
                            self.shift = self.delay - min(starts, default=packet.pts * packet.time_base)
                        self.end = max(self.end, (packet.pts + (packet.duration or 1)) * packet.time_base)
                    if packet.stream is self.stream:
                        yield packet
                    elif self.sound and packet.stream is self.sound.stream:
                        self.sound.put(packet, self.shift)
                return
            except av.error.InvalidDataError:  # not what a broken connection raises
                self.errors += 1

    def _check_end(self) -> None:
        if self.index == 0:
            raise UserError(f"{self.name}: there is no frame in it that can be read")
        missing = (self.container.start_time or 0) / 1e6 + self.seconds - float(self.end)
        if missing > max(3 * (self.seconds - missing) / self.index, 0.02 * self.seconds):
            raise UserError(
                f"{self.name} is cut off, or was cut without encoding it again: "
                f"it ends after {self.index} of {max(self.length, self.index)} frames"
            )
        self.damaged += max(0, self.stream.frames - self.discarded - self.index)

    def close(self) -> None:
        self.container.close()


def disposition(stream: av.stream.Stream) -> int:
    found = getattr(stream, "disposition", 0)  # none before PyAV 13, for Python 3.8; a Flag, or an int
    return getattr(found, "value", found)


def open_file(path: Path, stride: int = 1) -> VideoFile:
    """Return a video file's frames. Raises UserError if it is none, is empty, or is no regular file."""
    regular_file(path)
    with path.open("rb") as file:
        if file.read(16).startswith((b"ffconcat", b"#EXTM3U")):
            raise UserError(
                f"{path} is a list of other files, which are not opened unasked: name them instead"
            )
    # The absolute name, because a relative one with a colon would be an address.
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    return VideoFile(str(path.absolute()), str(path), stride, options)


def _turn(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the image turned and flipped as a display matrix (9 fixed-point numbers, by rows) says."""
    a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
    x, y = a, d
    if abs(b) > abs(a):
        image, x, y = cv2.transpose(image), c, b
    if x >= 0 and y >= 0:
        return image
    return cv2.flip(image, -1 if x < 0 and y < 0 else 1 if x < 0 else 0)
