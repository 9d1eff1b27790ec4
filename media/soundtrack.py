"""A source's sound in an output: copied where the format can hold it, else encoded anew.

track = add_sound(file, source.sound, ("aac", "mp3"), "out.mp4")  # None where nothing can be made of it
track.write(until=1.0)
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from fractions import Fraction

import av
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer

from media.frames import Sound
from utils import log

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # samples/s that AAC has
# By their number, as FFmpeg takes channels that have no names: in AVI and Matroska they often have none.
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
ERRORS = (av.error.FFmpegError, ValueError)


def add_sound(file: OutputContainer, sound: Sound, holds: tuple[str, ...], name: str) -> SoundTrack | None:
    """Add the sound to an output. Return its track; None, and say so, where nothing can be made of it.

    holds: codecs that it holds as they are, unless it refuses, say, their rate. name: of it, in messages.
    """
    codec, decoder = codec_of(sound.stream), sound.stream.codec_context
    if decoder.layout.name.endswith("channels"):
        decoder.layout = LAYOUTS.get(decoder.layout.nb_channels, decoder.layout)
    # What FFmpeg sends from a thread of its own cannot be tried: all such formats hold AAC, as this one.
    format = "mpegts" if file.format.name == "fifo" else file.format.name
    for copied in (True, False) if codec in holds else (False,):
        with contextlib.suppress(*ERRORS):
            # First in memory: an output that refuses a sound takes no pictures either.
            with av.open(io.BytesIO(), "w", format=format) as trial:
                SoundTrack(trial, sound, copied)
                trial.start_encoding()
            return SoundTrack(file, sound, copied)
    log.warning(f"{name}: the sound ({codec}) cannot be written: left out")
    return None


def codec_of(stream: av.AudioStream) -> str:
    """Return the codec's name, whatever the decoder's is."""
    return stream.codec_context.codec.canonical_name


class SoundTrack:
    """A stream of an output for a source's sound. Damaged packets are left out: there it is silent."""

    def __init__(self, file: OutputContainer, sound: Sound, copied: bool):
        """copied: the packets as they are; otherwise as AAC, in WebM as Opus."""
        self.file, self.sound, self.filter = file, sound, None
        self.end = 0  # of the last frame that was encoded, in samples
        self.lost = 0  # packets
        source, decoder = sound.stream, sound.stream.codec_context
        if copied:
            self.stream = file.add_stream_from_template(source)
            # In a transport stream, what AAC has at its beginning elsewhere stands before each packet.
            bare = codec_of(source) == "aac" and not decoder.extradata
            self.filter = BitStreamFilterContext("aac_adtstoasc" if bare else "null", source)
        elif file.format.name == "webm":
            self.stream = file.add_stream("libopus", rate=48000, layout="stereo")
        else:
            rate = next((rate for rate in RATES if rate >= decoder.rate), RATES[-1])
            self.stream = file.add_stream("aac", rate=rate, layout=decoder.layout.name)
        if "language" in source.metadata:
            self.stream.metadata["language"] = source.metadata["language"]

    def write(self, until: float) -> None:
        """Write what has come of the sound before `until` seconds."""
        for packet in self.sound.take(until):
            self._mux(packet)

    def close(self, until: float) -> None:
        """Write the sound up to `until` seconds, or all where the source has come to its end."""
        self.write(math.inf if self.sound.ended else until)
        if self.filter is None:
            self._mux(None)

    def _mux(self, packet: av.Packet | None) -> None:
        """packet: None is the end."""
        try:
            made = self.filter.filter(packet) if self.filter else list(self._encoded(packet))
        except ERRORS:  # whatever it is, as EPERM of some decoders
            self.lost += 1
            return
        for each in made:
            each.stream = self.stream
        try:
            self.file.mux(made)
        except ValueError:  # it is about the sound; about disks and networks FFmpeg raises OSErrors
            self.lost += 1

    def _encoded(self, packet: av.Packet | None) -> Iterator[av.Packet]:
        for frame in self.sound.stream.codec_context.decode(packet):
            # The times of some files are too coarse for the parts in which the encoder takes the samples.
            if frame.pts is not None and frame.time_base:
                self.end = round(frame.pts * frame.time_base * frame.rate)
            frame.pts, frame.time_base = self.end, Fraction(1, frame.rate)
            self.end += frame.samples
            yield from self.stream.encode(frame)
        if packet is None:
            yield from self.stream.encode()
