"""Pictures and sound, encoded into an opened output of FFmpeg: what video files and live outputs share."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageOps

from media.colors import Colors, completed, encode
from media.frames import Sound
from media.soundtrack import add_sound
from media.views import to_bgr
from utils import log


class Format(NamedTuple):
    """How a kind of output is encoded. pixels: FFmpeg's name. sounds: codecs that it can hold as they are."""

    codec: str
    pixels: str = "yuv420p"
    sounds: tuple[str, ...] = ()


class Encoding(NamedTuple):
    """What is encoded, and how well.

    name: of the output, in messages. rate: frames/s, about. colors: of the source; by default as usual for
    the size. crf: x264's and VP9's quality, lower is better. preset: one of PRESETS, of x264.
    """

    name: str
    rate: float
    colors: Colors | None = None
    sound: Sound | None = None
    crf: int = 18
    preset: str = "superfast"


OPTIONS = {  # without frames that refer to later ones, so that what is written so far plays
    "libx264": {"tune": "zerolatency"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "b": "0", "auto-alt-ref": "0"},
    "prores_ks": {"profile": "4444", "vendor": "apl0"},
}
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
# Written as it comes. Pictures wait for a sound that does not come for a fifth of a second, not for ten.
AT_ONCE = {"flush_packets": "1", "max_interleave_delta": "200000"}
CLOCK = Fraction(1, 90_000)  # in which times are written: exact for all usual rates


class OpenVideo:
    """A video that is being written. All its pictures get the size of the first, with even sides."""

    def __init__(
        self,
        file: av.container.OutputContainer,
        format: Format,
        encoding: Encoding,
        shape: tuple[int, ...],
        start: float = 0.0,
        key_seconds: float = 4.0,
        headers_first: bool = False,
    ):
        """Add the streams to an opened output, and write its header.

        shape: of the first picture. start: what is time 0 in the output, in seconds. key_seconds: from one
        frame that needs no other to the next. headers_first: what decoders must know goes before the packets,
        where the format itself does not say so. Raises FFmpeg's errors.
        """
        self.file, self.name, self.start, self.count = file, encoding.name, start, 0
        self.until = 0.0  # when the last picture ends, in seconds
        self.last = -1  # when it begins, in ticks of the clock
        self.height, self.width = shape[:2]
        # Where nothing is said of the colours, players take them so.
        self.colors = completed(encoding.colors or Colors(1 if self.height >= 720 else 6, 1))
        self.transparent = format.pixels.startswith("yuva")
        self.reformatter = VideoReformatter()
        self.stream = self._add_stream(format, encoding)
        self.stream.codec_context.gop_size = max(1, round(key_seconds * encoding.rate))
        self.sound = add_sound(file, encoding.sound, format.sounds, encoding.name) if encoding.sound else None
        for stream in file.streams if headers_first else ():
            stream.codec_context.flags |= Flags.global_header
        file.start_encoding()

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """Encode a picture of any view, and the sound that goes with it; see Writer.write."""
        frame = self._frame(picture)
        frame.pts = max(self.last + 1, round((at - self.start) / CLOCK))
        frame.time_base = CLOCK
        self.last, self.until = frame.pts, until - self.start
        self.file.mux(self.stream.encode(frame))
        if self.sound is not None:
            self.sound.write(until)
        self.count += 1

    def close(self) -> None:
        """Write what the encoders still hold, and close the output."""
        with self.file:
            self.file.mux(self.stream.encode())
            if self.sound is not None:
                self.sound.close(self.until)
                if self.sound.lost:
                    log.warning(f"{self.name}: {self.sound.lost} damaged packets of the sound are left out")

    def _add_stream(self, format: Format, encoding: Encoding) -> av.VideoStream:
        options = {**OPTIONS[format.codec], "crf": str(encoding.crf), "preset": encoding.preset}
        rate = Fraction(encoding.rate).limit_denominator(1001)
        stream = self.file.add_stream(format.codec, rate=rate, options=options)
        stream.width, stream.height = self.width + self.width % 2, self.height + self.height % 2
        stream.pix_fmt = format.pixels
        if self.transparent:
            stream.metadata["alpha_mode"] = "1"
        context = stream.codec_context
        context.time_base = stream.time_base = CLOCK
        context.colorspace, context.color_range = self.colors.matrix, self.colors.range
        context.color_primaries, context.color_trc = self.colors.primaries, self.colors.transfer
        return stream

    def _frame(self, picture: np.ndarray) -> av.VideoFrame:
        """Return the picture in the size, the colours and the format of the video."""
        if self.transparent and (picture.ndim == 2 or picture.shape[2] == 3):
            picture = cv2.cvtColor(to_bgr(picture), cv2.COLOR_BGR2BGRA)
        elif not self.transparent:
            picture = to_bgr(picture)
        picture = letterbox(picture, self.height, self.width)
        more = (0, self.height % 2, 0, self.width % 2)  # rows and columns, for even sides
        picture = cv2.copyMakeBorder(picture, *more, cv2.BORDER_REPLICATE)
        if not self.transparent:
            return encode(picture, self.colors)
        frame = av.VideoFrame.from_ndarray(picture, format="bgra")
        frame.colorspace = self.colors.matrix
        return self.reformatter.reformat(frame, format=self.stream.pix_fmt, dst_color_range=self.colors.range)


def letterbox(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return HWC uint8 scaled to fit into height x width, aspect ratio kept, with black bars."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.array(ImageOps.pad(Image.fromarray(picture), (width, height), Image.Resampling.BILINEAR, 0))
