"""The file of a video that is not finished, and the finished one that is made of it."""

from __future__ import annotations

import os
from pathlib import Path

import av

from files.paths import create_made_up, lock, make_folder
from media.soundtrack import labels_of


def unfinished_path(path: str | os.PathLike) -> Path:
    """Return the name of what is not finished: out.unfinished.mp4, and no longer than names may be.

    It is next to what a link leads to, as that is what is written.
    """
    path = Path(os.path.realpath(path))
    end = ".unfinished" + path.suffix
    stem = os.fsencode(path.stem)[: 255 - len(os.fsencode(end))]
    return path.with_name(stem.decode(errors="ignore") + end)


def create_unfinished(path: Path) -> int | None:
    """Create an empty file for what is not finished. Return its lock, see files.paths.

    Raises OSError where another program is writing it, or something else has its name.
    """
    make_folder(path.parent)
    try:
        create_made_up(path)
        return lock(path)
    except BlockingIOError:
        raise OSError(11, "another program is writing it: give each its own output") from None


def plays(path: Path) -> bool:
    """Return whether there is a picture in a video file that can be read."""
    try:
        with av.open(str(path)) as file:
            return any(True for _ in file.decode(file.streams.video[:1]))
    except (OSError, av.error.FFmpegError, ValueError):
        return False


def remux(source: Path, target: Path, until: float, metadata: dict) -> int:
    """Copy a video's streams into another file of its format. Return how many frames there are.

    until: when its last picture ends, in seconds. metadata: of the whole file. Raises OSError.
    """
    options = {"movflags": "faststart+use_metadata_tags" if metadata else "faststart"}  # of .mp4 and .mov
    frames = 0
    try:
        with av.open(str(source)) as old, av.open(str(target), "w", container_options=options) as new:
            streams = [copied_stream(new, stream) for stream in old.streams]
            video = old.streams.video[0]
            # By it players know ProRes with transparency from other kinds.
            streams[video.index].codec_context.codec_tag = video.codec_context.codec_tag
            new.metadata.update(metadata)
            for packet in old.demux():
                if packet.size == 0 or packet.pts is None or packet.is_corrupt:  # the end, or half a packet
                    continue
                if packet.stream is video:  # of the last one, the file takes the duration
                    packet.duration = max(1, round(until / packet.time_base) - packet.pts)
                    frames += 1
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    except (av.error.FFmpegError, IndexError) as error:  # IndexError: it ends before it says what is in it
        why = getattr(error, "strerror", "there is no picture in it")
        raise OSError(5, f"what was encoded cannot be copied ({why})") from error
    return frames


def copied_stream(file: av.container.OutputContainer, stream: av.stream.Stream) -> av.stream.Stream:
    """Return a new stream of the file for the packets of another one."""
    copy = file.add_stream_from_template(stream)
    copy.metadata.update(labels_of(stream))
    return copy
