"""What is beside the pictures in a video file: its sound, its index, its name while it is not finished."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

from media.frames import Sound

MP4 = (".mp4", ".m4v", ".mov")


def unfinished_path(path: Path) -> Path:
    """Return the name of what is not finished: out.unfinished.mp4, and no longer than names may be."""
    end = ".unfinished" + path.suffix
    stem = os.fsencode(path.stem)[: 255 - len(os.fsencode(end))]
    return path.with_name(stem.decode(errors="ignore") + end)


def remux(source: Path, target: Path, until: float, metadata: dict) -> int:
    """Copy a video's streams. Return how many frames there are.

    until: when its last picture ends, in seconds. metadata: of the whole file.
    """
    options, frames = {}, 0
    if target.suffix.lower() in MP4:
        options["movflags"] = "faststart+use_metadata_tags" if metadata else "faststart"
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        streams = [copied_stream(new, stream) for stream in old.streams]
        video = old.streams.video[0]
        new.metadata.update(metadata)
        for packet in old.demux():
            if packet.size == 0 or packet.pts is None or packet.is_corrupt:  # the end, or half a packet
                continue
            if packet.stream is video:  # of the last one, the file takes the duration
                packet.duration = max(1, round(until / packet.time_base) - packet.pts)
                frames += 1
            packet.stream = streams[packet.stream.index]
            new.mux(packet)
    return frames


def copied_stream(file: av.container.OutputContainer, stream: av.stream.Stream) -> av.stream.Stream:
    """Return a new stream of the file for the packets of another one."""
    if hasattr(file, "add_stream_from_template"):
        copy = file.add_stream_from_template(stream)
    else:
        copy = file.add_stream(template=stream)  # before PyAV 14, for Python 3.8
    copy.metadata.update(language_of(stream))
    return copy


def language_of(stream: av.stream.Stream) -> dict:
    return {key: value for key, value in stream.metadata.items() if key == "language"}


def codec_of(stream: av.stream.Stream) -> str:
    """Return the codec's name, whatever the decoder's is."""
    codec = stream.codec_context.codec
    return getattr(codec, "canonical_name", codec.name.replace("mp3float", "mp3"))  # before PyAV 14, for 3.8


class SoundTrack:
    """A source's sound in a file: as it is, or encoded anew where the file cannot hold it."""

    def __init__(self, file: av.container.OutputContainer, sound: Sound, holds: tuple):
        """holds: the codecs that the file can hold."""
        self.file, self.sound = file, sound
        source = sound.stream.codec_context
        self.copied = codec_of(sound.stream) in holds
        if self.copied:
            self.stream = copied_stream(file, sound.stream)
            # In a transport stream, what AAC has at its beginning elsewhere stands before each packet.
            bare = codec_of(sound.stream) == "aac" and not source.extradata
            self.filter = BitStreamFilterContext("aac_adtstoasc" if bare else "null", sound.stream)
        elif "aac" in holds:
            self.stream = file.add_stream("aac", rate=min(source.rate, 48000), layout=source.layout.name)
        else:
            self.stream = file.add_stream("libopus", rate=48000, layout="stereo")
        self.stream.metadata.update(language_of(sound.stream))

    def write(self, until: float) -> None:
        """Write what has come of the sound before `until` seconds."""
        for packet in self.sound.take(until):
            if self.copied:
                for whole in self.filter.filter(packet):
                    whole.stream = self.stream
                    self.file.mux(whole)
                continue
            with contextlib.suppress(av.error.InvalidDataError):  # a damaged packet is a moment's silence
                for frame in packet.decode():
                    self.file.mux(self.stream.encode(frame))

    def close(self) -> None:
        if not self.copied:
            self.file.mux(self.stream.encode())
