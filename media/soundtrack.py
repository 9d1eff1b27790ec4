"""A source's sound in an output: copied where the format can hold it, else encoded anew.

track = add_sound(file, source.sound, ("aac", "mp3"), "out.mp4")  # None where nothing can be made of it
track.write(until=1.0)
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from fractions import Fraction

import av
from av.bitstream import BitStreamFilterContext

from media.frames import Sound
from utils import log

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # samples/s that AAC has
# By their number, as FFmpeg takes channels that have no names: in AVI and Matroska they often have none.
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def add_sound(
    file: av.container.OutputContainer, sound: Sound, copied: tuple[str, ...], name: str
) -> SoundTrack | None:
    """Add the sound to an output. Return its track; None, and say so, where nothing can be made of it.

    copied: codecs that the output holds as they are, unless it refuses, say, their rate. name: of the output,
    in messages.
    """
    source = sound.stream.codec_context
    if source.layout.name.endswith("channels"):
        source.layout = LAYOUTS.get(source.layout.nb_channels, source.layout)
    kinds = [CopiedSound, EncodedSound] if codec_of(sound.stream) in copied else [EncodedSound]
    for kind in kinds:
        if is_accepted(kind, file.format.name, sound):
            return kind(file, sound)
    log.warning(f"{name}: the sound ({codec_of(sound.stream)}) cannot be written: left out")
    return None


def is_accepted(kind: type[SoundTrack], format: str, sound: Sound) -> bool:
    """Whether an output of this format can hold the sound: a refusal costs the output its pictures too."""
    try:
        # What FFmpeg sends from a thread of its own it cannot try: all such formats hold AAC, as this one.
        with av.open(io.BytesIO(), "w", format="mpegts" if format == "fifo" else format) as trial:
            kind(trial, sound)
            trial.start_encoding()
        return True
    except (av.error.FFmpegError, ValueError):
        return False


def codec_of(stream: av.AudioStream) -> str:
    """Return the codec's name, whatever the decoder's is."""
    return stream.codec_context.codec.canonical_name


def labels_of(stream: av.stream.Stream) -> dict[str, str]:
    """Return what is to be said of a copy too: its language, and that it is transparent."""
    labels = {key.lower(): value for key, value in stream.metadata.items()}
    return {key: labels[key] for key in ("language", "alpha_mode") if key in labels}


class SoundTrack:
    """A stream of an output for a source's sound. Damaged packets are left out: there it is silent."""

    def __init__(self, file: av.container.OutputContainer, sound: Sound, stream: av.AudioStream):
        self.file, self.sound, self.stream = file, sound, stream
        self.lost = 0  # packets
        stream.metadata.update(labels_of(sound.stream))

    def write(self, until: float) -> None:
        """Write what has come of the sound before `until` seconds."""
        for packet in self.sound.take(until):
            self._mux(self._converted(packet))

    def close(self, until: float) -> None:
        """Write the sound up to `until` seconds, or all where the source has come to its end."""
        self.write(math.inf if self.sound.ended else until)
        self._mux(self._rest())

    def _mux(self, packets: Iterator[av.Packet]) -> None:
        try:
            made = list(packets)
        except (av.error.FFmpegError, ValueError):  # whatever it is, as EPERM of some decoders
            self.lost += 1
            return
        try:
            self.file.mux(made)
        except ValueError:  # it is about the sound; about disks and networks FFmpeg raises OSErrors
            self.lost += 1

    def _converted(self, packet: av.Packet) -> Iterator[av.Packet]:
        """Yield what a packet of the source becomes in the output."""
        raise NotImplementedError

    def _rest(self) -> Iterator[av.Packet]:
        """Yield what is still held back at the end."""
        yield from ()


class CopiedSound(SoundTrack):
    def __init__(self, file: av.container.OutputContainer, sound: Sound):
        super().__init__(file, sound, file.add_stream_from_template(sound.stream))
        # In a transport stream, what AAC has at its beginning elsewhere stands before each packet.
        bare = codec_of(sound.stream) == "aac" and not sound.stream.codec_context.extradata
        self.filter = BitStreamFilterContext("aac_adtstoasc" if bare else "null", sound.stream)

    def _converted(self, packet: av.Packet) -> Iterator[av.Packet]:
        for filtered in self.filter.filter(packet):
            filtered.stream = self.stream
            yield filtered


class EncodedSound(SoundTrack):
    """AAC, or Opus in WebM."""

    def __init__(self, file: av.container.OutputContainer, sound: Sound):
        source = sound.stream.codec_context
        if file.format.name == "webm":
            stream = file.add_stream("libopus", rate=48000, layout="stereo")
        else:
            rate = next((rate for rate in RATES if rate >= source.rate), RATES[-1])
            stream = file.add_stream("aac", rate=rate, layout=source.layout.name)
        super().__init__(file, sound, stream)
        self.end = 0  # of the last frame, in samples

    def _converted(self, packet: av.Packet | None) -> Iterator[av.Packet]:
        """packet: None is the end."""
        decoder = self.sound.stream.codec_context if packet is None else packet.stream.codec_context
        for frame in decoder.decode(packet):
            # The times of some files are too coarse for the parts in which the encoder takes the samples.
            if frame.pts is not None and frame.time_base:
                self.end = round(frame.pts * frame.time_base * frame.rate)
            frame.pts, frame.time_base = self.end, Fraction(1, frame.rate)
            self.end += frame.samples
            yield from self.stream.encode(frame)

    def _rest(self) -> Iterator[av.Packet]:
        if self.sound.ended:
            yield from self._converted(None)
        yield from self.stream.encode()
