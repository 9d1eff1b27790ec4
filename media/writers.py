"""Video files, and what all outputs of pictures share; animations.py and live.py have the others.

    video = VideoWriter("out.mp4", rate=30)
    video.write(picture)
    video.close()                       # finishes and checks the file, and gives it its name

Until `close` a video is in a file of another name, `out.unfinished.mp4`, which plays whatever happens to the
program. A video that was cut off keeps that name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from files.paths import atomic_path, target_of
from media.encoder import AT_ONCE, Encoder, Format
from media.mux import create_unfinished, plays, remux, unfinished_path
from utils import UserError

MP4_SOUNDS = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
PCM = ("pcm_s16le", "pcm_s24le")
FORMATS = {
    ".mp4": Format(sounds=MP4_SOUNDS),
    ".m4v": Format(sounds=MP4_SOUNDS),
    ".mov": Format(sounds=(*MP4_SOUNDS[:-1], *PCM, "pcm_s16be")),
    ".mkv": Format(sounds=(*MP4_SOUNDS, *PCM, "flac", "vorbis")),
    ".webm": Format("libvpx-vp9", sounds=("opus", "vorbis")),
}
TRANSPARENT = {
    ".webm": FORMATS[".webm"]._replace(pixels="yuva420p"),
    ".mov": FORMATS[".mov"]._replace(codec="prores_ks", pixels="yuva444p10le"),
}
# What is not finished is written in parts of a second, each of which plays without those that follow:
# fragments of .mp4 and .mov, clusters of .mkv and .webm.
PARTS = {
    **AT_ONCE,
    "movflags": "frag_keyframe+delay_moov+default_base_moof",
    "frag_duration": "1000000",  # microseconds
    "cluster_time_limit": "1000",  # milliseconds
}
ERRORS = (OSError, ValueError, av.error.FFmpegError)  # what writing pictures may raise
ROOM = 64 << 20  # bytes of free disk space below which writing is given up: enough to finish the file
LOOK_EVERY = 30  # frames from one look at the free space to the next


class Writer:
    """Where the pictures of one source go."""

    live = False  # whether somebody watches, for whom they come at their own speed
    path: Path | str
    result: Path | str  # where they are at the end: `path`, unless they were cut off

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """Write a picture of any view: HWC uint8 BGR or BGRA, or HxW. Raises OSError if it cannot be written.

        at, until: the seconds of the video between which it is shown.
        """
        raise NotImplementedError

    def close(self, finished: bool = True) -> None:
        """Finish what was written. Raises OSError or UserError if that cannot be done.

        finished: whether all pictures have come; otherwise the output was cut off.
        """

    def outcome(self) -> str:
        """Return a line for the user about what was written."""
        return f"wrote {self.result}" + ("" if self.result == self.path else ", which was cut off")


@contextlib.contextmanager
def named_errors(output: Path | str) -> Iterator[None]:
    """Raise what goes wrong inside as an OSError that names the output."""
    try:
        yield
    except ERRORS as error:
        raise OSError(f"cannot write {output}: {getattr(error, 'strerror', None) or error}") from error


class VideoWriter(Writer):
    """A video file. Its size is that of the first picture, made even by a repeated row or column."""

    def __init__(
        self, path: str | Path, rate: float, *source, transparent: bool = False, metadata=None, **how
    ):
        """rate, source (its colours, its sound), how: see encoder.Encoder. metadata: date, place, camera, as
        FFmpeg names them.

        Raises UserError if the suffix is none of a video that can be written, or cannot hold transparency.
        """
        self.path, suffix = Path(path), Path(path).suffix.lower()
        if suffix not in FORMATS:
            raise UserError(
                f"{path}: '{suffix}' is no video format; use one of {', '.join(FORMATS)}, "
                "or, of an animation, .gif, .webp, .png or .tif"
            )
        if transparent and suffix not in TRANSPARENT:
            raise UserError(
                f"{path}: '{suffix}' cannot hold transparency; use .webm, .mov, or a folder for numbered .png"
            )
        format = (TRANSPARENT if transparent else FORMATS)[suffix]
        self.encoder = Encoder(str(path), format, rate, *source, **how)
        self.metadata = metadata or {}
        self.unfinished = self.result = unfinished_path(path)
        self.lock: int | None = None  # of the unfinished file
        self.error: OSError | None = None  # the first

    @property
    def count(self) -> int:
        """Return the number of pictures."""
        return self.encoder.count

    def write(self, picture: np.ndarray, at: float | None = None, until: float | None = None) -> None:
        """Write a picture; without a time, it is shown as the rate has it."""
        if at is None:
            at, until = self.count / self.encoder.rate, (self.count + 1) / self.encoder.rate
        with self._kept_errors():
            if self.encoder.file is None:
                self._open(picture.shape, at)
            elif self.count % LOOK_EVERY == 0:
                self._check_room()
            self.encoder.write(picture, at, until)

    def close(self, finished: bool = True) -> None:
        """Finish the file, check it, and give it its name, unless it was cut off.

        Raises OSError if it does not hold all pictures that were written.
        """
        if self.encoder.file is None:
            return
        with contextlib.suppress(OSError), self._kept_errors():
            self.encoder.close()
        try:
            self._finish(finished and self.error is None)
        except OSError as error:
            self.error = self.error or error
        self._release(keep=self.result == self.unfinished and plays(self.unfinished))
        if self.error is not None:
            raise self.error

    @contextlib.contextmanager
    def _kept_errors(self) -> Iterator[None]:
        """Keep the first thing that goes wrong inside, as an OSError that names the file."""
        try:
            with named_errors(self.path):
                yield
        except OSError as error:
            self.error = self.error or error
            raise

    def _open(self, shape: tuple[int, ...], at: float) -> None:
        target_of(self.path)
        self.lock = create_unfinished(self.unfinished)
        try:
            self._check_room()
            self.encoder.open(av.open(str(self.unfinished), "w", container_options=PARTS), shape, at)
        except Exception:
            self._release(keep=False)
            raise

    def _check_room(self) -> None:
        if shutil.disk_usage(self.unfinished.parent).free < ROOM:
            raise OSError(28, f"the disk is full: less than {ROOM >> 20} MB are free")

    def _finish(self, finished: bool) -> None:
        """Copy what was encoded into a file with its index in front, which plays while it is being loaded."""
        target = self.path if finished else self.unfinished
        with atomic_path(target) as temporary:
            frames = remux(self.unfinished, temporary, self.encoder.until, self.metadata)
            if frames < self.count and self.error is None:
                raise OSError(5, f"{frames} of {self.count} frames can be read back: a full disk?")
        self.result = target

    def _release(self, keep: bool) -> None:
        """Let go of the unfinished file. keep: whether it is of use."""
        if not keep:
            self.unfinished.unlink()
        if self.lock is not None:
            os.close(self.lock)
