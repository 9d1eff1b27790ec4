"""Frames and sound of videos, read by FFmpeg's libraries (PyAV): upright, with square pixels.

Every frame has its own time, so changing and unusual rates keep their length. Only media files are opened: no
playlists or lists of other files, which could read what the user did not name.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container.streams import StreamContainer
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from files.paths import regular_file
from media.colors import EXACT, HDR, Colors, colors_of, display_matrix, is_usual, turned
from media.frames import USUAL_RATE, Frame, Sound, Source
from media.timeline import Timeline
from utils import UserError, resize

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,mxf,gxf,dv,h264,hevc,vvc,"
    "av1,obu,ivf,m4v,mjpeg,mpjpeg,nut,yuv4mpegpipe,rm,wtv,swf,vc1,dirac"
)
MOST_ERRORS = 10_000  # of a file that is read on in spite of them
MOST_PIXELS = 36_000_000  # of a frame with square pixels: 8192x4320, the most that H.264 and HEVC have
SLOWEST, FASTEST = 1e-4, 1000  # frames/s: beyond these a file is not believed
# In any encoding; from PyAV 19 on that is so by itself.
ANY_METADATA = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
TIMED = ("video", "audio", "subtitle")  # tracks whose end is one of the file


class VideoFile(Source):
    """Every frame of a file, in order: of one here or behind an address; for streams.py, of a connection."""

    delay = Fraction(0)  # seconds at which its first frame is shown
    end = Fraction(0)  # where the last packet of anything ends, by the file's clock
    discarded = 0  # frames outside of what the file shows
    missing = 0  # frames that the file announces and that are not in it
    matrix: np.ndarray | None = None  # the first frame's display matrix: all are turned by it

    def __init__(
        self, address: str, name: str, stride: int, protocols: str, timeout: float | None = None, **options
    ):
        """Open it. protocols, options: FFmpeg's. timeout: of an address, seconds to wait for an answer, and
        for a frame. Raises UserError if there is no video in it that can be read.
        """
        options = {"format_whitelist": FORMATS, "protocol_whitelist": protocols, **options}
        try:
            self.container = av.open(address, options=options, timeout=timeout, **ANY_METADATA)
        except (OSError, av.error.FFmpegError) as error:
            why = "it is no video, a list of other files, of an unknown format, or cut off"
            if timeout is not None:
                why = f"{reason(error)}; {advice(address)}"
            raise UserError(f"{name} cannot be opened: {why}") from error
        self.stream = stream = video_of(self.container.streams, name)
        self.sound = sound_of(self.container.streams)
        self.live = self.container.duration is None and timeout is not None
        # Threads for whole frames would hold some back.
        stream.codec_context.thread_type = "SLICE" if self.live else "AUTO"
        self.remarks = [
            f"left out: {track.type} {track.metadata.get('language', '')}".rstrip()
            for track in self.container.streams
            if track.type in TIMED[1:] and not (self.sound and track is self.sound.stream)
        ]
        if stream.codec_context.color_trc in HDR:
            self.remarks.append("HDR: written in 8 bits; colours in tables and pictures are not sRGB")
        self.colors = colors_of(stream.codec_context)
        self.metadata = dict(self.container.metadata)
        rate, is_avi = rate_of(stream), self.container.format.name == "avi"
        self.seconds = (self.container.duration or 0) / 1e6
        if is_avi:  # whose length FFmpeg takes from the file's size, also where it is cut off
            self.seconds = max(self.seconds, stream.frames / float(stream.average_rate or rate))
        self.length = stream.frames or round(rate * self.seconds)  # frames, by its own account
        self.timeline = Timeline(1 / Fraction(rate).limit_denominator(100_000), guessed=is_avi)
        self.reformatter = VideoReformatter()
        self.opened = time.perf_counter()
        super().__init__(name, rate, stride, self.length)

    def read(self) -> Frame | None:
        """Return the next frame; None at the end. Raises UserError where the file ends too early."""
        try:
            frame = super().read()
        except (OSError, av.error.FFmpegError) as error:
            raise UserError(f"{self.name} broke off after {self.index} frames: {reason(error)}") from error
        if frame is not None:
            return frame
        if self.index == 0:
            raise UserError(f"{self.name}: there is no frame in it that can be read")
        missing = (self.container.start_time or 0) / 1e6 + self.seconds - float(self.end)
        if missing > max(3 * (self.seconds - missing) / self.index, 0.02 * self.seconds):
            raise UserError(
                f"{self.name} is cut off, or was cut without encoding it again: "
                f"it ends after {self.index} of {max(self.length, self.index)} frames"
            )
        self.missing = max(0, self.stream.frames - self.discarded - self.index)
        return None

    def _pictures(self) -> Iterator[tuple[av.VideoFrame, float, float]]:
        """Yield the frame of each packet, the nearest good one for one that is damaged or does not come."""
        good = None
        for frame in self._frames():
            stamp = None if frame.pts is None else frame.pts * frame.time_base
            if stamp is None and self.live:
                stamp = self.delay - self.timeline.shift + Fraction(time.perf_counter() - self.opened)
            rate = self.stream.codec_context.framerate
            if frame.interlaced_frame and stamp is not None and rate:
                self.discarded += self.timeline.join_fields(stamp, 1 / rate)
            for is_own, *span in self.timeline.spans(stamp):
                if is_own and (good is None or not frame.is_corrupt):
                    good = frame
                else:
                    self.damaged += 1
                yield good or frame, *span
        for span in self.timeline.rest() if good else ():
            self.damaged += 1
            yield good, *span

    def _frames(self) -> Iterator[av.VideoFrame]:
        """Yield what the decoder gives."""
        for _ in range(MOST_ERRORS):
            try:
                for packet in self.container.demux():  # all, as the file ends with its longest track
                    self._note(packet)
                    if packet.stream is self.stream:
                        with contextlib.suppress(av.error.FFmpegError):  # the timeline misses its frame
                            yield from packet.decode()
                    elif self.sound and packet.stream is self.sound.stream:
                        self.sound.put(packet, self.timeline.shift)
                return
            except (av.error.InvalidDataError, MemoryError):  # not what a broken connection raises
                continue
            except IndexError:  # PyAV 17 raises it at the end of a file in which a track appears late
                return

    def _note(self, packet: av.Packet) -> None:
        """Keep what a packet says of times."""
        if packet.pts is None or packet.stream.type not in TIMED:
            return
        stamp, length = packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base
        if not self.end:
            streams = [self.stream] + ([self.sound.stream] if self.sound else [])
            starts = [s.start_time * s.time_base for s in streams if s.start_time is not None]
            self.timeline.shift = self.delay - min(starts, default=stamp)
        self.end = max(self.end, stamp + (length or packet.time_base))
        if packet.stream is self.stream:
            hidden = packet.is_discard or stamp + self.timeline.shift < 0  # before the file's beginning
            if self.stream.codec_context.name == "vp8" and packet.size and not memoryview(packet)[0] & 0x10:
                hidden = True  # it is not shown: others refer to it
            self.discarded += hidden
            if not (hidden or self.live):
                self.timeline.add(stamp, length)

    def image(self, picture: av.VideoFrame) -> np.ndarray:
        """Return HWC uint8 BGR, upright, with square pixels. Raises UserError for too many of them."""
        height, width = picture.height, round(picture.width * (self.stream.sample_aspect_ratio or 1))
        if height * width > MOST_PIXELS:
            raise UserError(f"{self.name}: with square pixels it has {width}x{height}: scale it down first")
        if picture.colorspace == 2:
            picture.colorspace = self.colors.matrix
        picture.color_primaries = picture.color_trc = 2  # FFmpeg does not use them here, and refuses some
        colors = Colors(picture.colorspace, picture.color_range)
        try:
            if is_usual(picture.format.name, colors, picture.height, picture.width):
                image = cv2.cvtColor(picture.to_ndarray(), cv2.COLOR_YUV2BGR_I420)
            else:
                image = self.reformatter.reformat(picture, format="bgr24", interpolation=EXACT).to_ndarray()
        except av.error.FFmpegError:
            what = f"{picture.format.name}, matrix {int(picture.colorspace)}"
            raise UserError(f"{self.name}: its colours ({what}) cannot be read; convert it first") from None
        if self.matrix is None:
            self.matrix = display_matrix(picture)
        return turned(resize(image, (height, max(1, width))), self.matrix)

    def losses(self) -> list[str]:
        lines = super().losses()
        if self.timeline.jumps:
            lines.append(f"jumps of its clock that are left out: {self.timeline.jumps}")
        if self.missing:
            lines.append(f"{self.missing} of the {self.length} frames that it announces are not in it")
        return lines

    def close(self) -> None:
        self.container.close()


def reason(error: Exception) -> str:
    """Return what an error of FFmpeg's says, without the address."""
    if isinstance(error, av.error.ExitError):  # the timeout's
        return "nothing came in time"
    return error.strerror or type(error).__name__


def advice(address: str) -> str:
    """Return what to do where an address fails; of a password, too, that may have to be written otherwise."""
    special = re.search(r"://.*[/?#].*@", address)
    password = "; in a password, # is written %23, / %2F, ? %3F and @ %40" if special else ""
    return f"check the address, and that its server runs{password}"


def video_of(tracks: StreamContainer, name: str) -> av.VideoStream:
    """Return the video that players show. Raises UserError if there is none to read."""
    videos = [track for track in tracks.video if Disposition.attached_pic not in track.disposition]
    if not videos:
        raise UserError(f"{name} cannot be opened: there is no video in it")
    if videos[0].codec_context is None:
        raise UserError(f"{name}: its codec cannot be read; convert it first")
    return videos[0]


def sound_of(tracks: StreamContainer) -> Sound | None:
    """Return the sound that players take."""
    sounds = [track for track in tracks.audio if track.codec_context is not None]
    sound = max(sounds, key=lambda track: track.disposition & Disposition.default, default=None)
    return sound and Sound(sound)


def rate_of(stream: av.VideoStream) -> float:
    """Return frames/s; what cannot be is the usual rate."""
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    # For a file of few frames, Matroska gives no rate, and FFmpeg takes that of its clock.
    return rate if SLOWEST < rate < (FASTEST if stream.average_rate else 240) else USUAL_RATE


def open_file(path: Path, stride: int = 1) -> VideoFile:
    """Return a video file's frames. Raises UserError if it is none, is empty, or is no regular file."""
    # The absolute name, because a relative one with a colon would be an address.
    return VideoFile(str(regular_file(path).absolute()), str(path), stride, "file")
