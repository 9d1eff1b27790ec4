"""Pictures and sound, encoded into an opened output of FFmpeg: what video files and live outputs share."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageOps

from media.colors import EXACT, Colors, is_usual, written
from media.frames import Sound
from media.soundtrack import add_sound
from media.views import to_bgr
from utils import log


class Format(NamedTuple):
    """How a kind of output is encoded."""

    codec: str = "libx264"
    pixels: str = "yuv420p"  # FFmpeg's name
    sounds: tuple[str, ...] = ()  # codecs that it can hold as they are
    key_seconds: float = 4.0  # from one frame that needs no other to the next


OPTIONS = {  # without frames that refer to later ones, so that what is written so far plays
    "libx264": {"tune": "zerolatency"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "b": "0", "auto-alt-ref": "0"},
    "prores_ks": {"profile": "4444", "vendor": "apl0"},
}
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
# Written as it comes. Pictures wait for a sound that does not come for a fifth of a second, not for ten.
AT_ONCE = {"flush_packets": "1", "max_interleave_delta": "200000"}
CLOCK = Fraction(1, 90_000)  # in which times are written: exact for all usual rates


@dataclass
class Encoder:
    """Encodes into one output, or several in turn. All pictures get the first's size, with even sides."""

    name: str  # of the output, in messages
    format: Format
    rate: float  # frames/s, about
    colors: Colors | None = None  # of the source; by default as usual for the size
    sound: Sound | None = None
    crf: int = 18  # x264's and VP9's quality, lower is better
    preset: str = "superfast"  # one of PRESETS, of x264
    file: OutputContainer | None = None  # None: there is no output, or no more
    count: int = 0  # pictures

    def __post_init__(self):
        if self.sound is not None:
            self.sound.want(True)

    def open(self, file: OutputContainer, shape: tuple[int, ...], at: float) -> None:
        """Add the streams to an opened output, and write its header. Raises FFmpeg's errors.

        shape: of the first picture. at: its time, in seconds, which is the output's beginning if it is mute.
        """
        self.start = 0.0 if self.sound else at
        self.last, self.until = -1, at  # when the last picture begins, in ticks, and ends, in seconds
        self.height, self.width = shape[:2]
        self.colors = written(self.colors, self.height, self.format.codec)
        self.reformatter = VideoReformatter()
        options = {**OPTIONS[self.format.codec], "crf": str(self.crf), "preset": self.preset}
        rate = Fraction(self.rate).limit_denominator(1001)
        self.stream = stream = file.add_stream(self.format.codec, rate=rate, options=options)
        stream.width, stream.height = self.width + self.width % 2, self.height + self.height % 2
        stream.pix_fmt = self.format.pixels
        self.transparent = self.format.pixels.startswith("yuva")
        if self.transparent:
            stream.metadata["alpha_mode"] = "1"
        context = stream.codec_context
        context.flags |= Flags.frame_duration  # what is said of a frame's duration holds
        context.gop_size = max(1, round(self.format.key_seconds * self.rate))
        context.time_base = stream.time_base = CLOCK
        context.colorspace, context.color_range = self.colors.matrix, self.colors.range
        context.color_primaries, context.color_trc = self.colors.primaries, self.colors.transfer
        self.track = add_sound(file, self.sound, self.format.sounds, self.name) if self.sound else None
        if self.sound:
            self.sound.want(self.track is not None)
        for stream in file.streams if file.format.name == "fifo" else ():
            # What it sends may need to know first what decoders must know: other formats say that themselves.
            stream.codec_context.flags |= Flags.global_header
        file.start_encoding()
        self.file = file

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """Encode a picture of any view, and the sound that goes with it; see Writer.write."""
        frame = self._frame(picture)
        frame.pts = max(self.last + 1, round((at - self.start) / CLOCK))
        frame.time_base, frame.duration = CLOCK, round((until - at) / CLOCK)
        self.last, self.until = frame.pts, until
        self.file.mux(self.stream.encode(frame))
        if self.track is not None:
            self.track.write(until)
        self.count += 1

    def close(self) -> None:
        """Write what the encoders still hold, and close the output."""
        with self.file:
            self.file.mux(self.stream.encode())
            if self.track is not None:
                self.track.close(self.until)
                if self.track.lost:
                    log.warning(f"{self.name}: {self.track.lost} damaged packets of the sound are left out")

    def _frame(self, picture: np.ndarray) -> av.VideoFrame:
        """Return the picture in the size, the colours and the format of the video."""
        if not self.transparent:
            picture = to_bgr(picture)
        elif picture.shape[2:] != (4,):
            picture = cv2.cvtColor(to_bgr(picture), cv2.COLOR_BGR2BGRA)
        picture = letterbox(picture, self.height, self.width)
        more = (0, self.height % 2, 0, self.width % 2)  # rows and columns, for even sides
        picture = cv2.copyMakeBorder(picture, *more, cv2.BORDER_REPLICATE)
        if is_usual(self.stream.pix_fmt, self.colors, *picture.shape[:2]):
            return av.VideoFrame.from_ndarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), format="yuv420p")
        frame = av.VideoFrame.from_ndarray(picture, format="bgra" if self.transparent else "bgr24")
        frame.colorspace = self.colors.matrix
        how = {"interpolation": EXACT, "dst_color_range": self.colors.range}
        return self.reformatter.reformat(frame, format=self.stream.pix_fmt, **how)


def letterbox(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return HWC uint8 scaled to fit into height x width, aspect ratio kept, with black bars."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.array(ImageOps.pad(Image.fromarray(picture), (width, height), Image.Resampling.BILINEAR, 0))
