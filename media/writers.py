"""Files of pictures: videos, animations, numbered pictures; live.py has the other outputs.

    video = VideoWriter("out.mp4", rate=30)
    video.write(picture, at=0.0, until=1 / 30)
    video.close()                       # finishes the file, and gives it its name

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

from files.paths import create_made_up, lock, make_folder, remove_litter, target_of
from files.pictures import write_image
from media.encoder import AT_ONCE, Encoder, Format
from media.views import to_rgb
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
# fragments of .mp4 and .mov, which become a usual file at the end, and clusters of .mkv and .webm.
PARTS = {
    **AT_ONCE,
    "movflags": "hybrid_fragmented+frag_keyframe+delay_moov+default_base_moof",
    "frag_duration": "1000000",  # microseconds
    "cluster_time_limit": "1000",  # milliseconds
}
ERRORS = (OSError, ValueError, av.error.FFmpegError)  # what writing pictures may raise
ROOM = 64 << 20  # bytes of free disk space below which writing is given up: enough to finish a file
LOOK_EVERY = 30  # frames from one look at the free space to the next
MOST_PIXELS = 130_000_000  # of an animation, which is in memory until it is written: up to 1.5 GB for PNG


class Writer:
    """Where the pictures of one source go."""

    live = False  # whether somebody watches, for whom they come at their own speed
    path: Path | str
    result: Path | str  # where they are at the end: `path`, unless they were cut off

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """Write a picture of any view: HWC uint8 BGR or BGRA, or HxW. Raises OSError if it cannot be written.

        at, until: the seconds of the video between which it is shown.
        """

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
        self.failed = False  # whether a picture could not be written

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        try:
            with named_errors(self.path):
                if self.encoder.file is None:
                    self._open(picture.shape, at)
                elif self.encoder.count % LOOK_EVERY == 0:
                    self._check_room()
                self.encoder.write(picture, at, until)
        except OSError:
            self.failed = True
            raise

    def close(self, finished: bool = True) -> None:
        """Finish the file, and give it its name unless it was cut off. Raises OSError if that fails."""
        if self.encoder.file is None:
            return
        try:
            with named_errors(self.path):
                self.encoder.close()
                if finished and not self.failed:
                    os.replace(self.unfinished, os.path.realpath(self.path))
                    self.result = self.path
        finally:
            self._release()

    def _open(self, shape: tuple[int, ...], at: float) -> None:
        target_of(self.path)
        self.lock = create_unfinished(self.unfinished)
        try:
            self._check_room()
            flags = PARTS["movflags"] + "+use_metadata_tags" * bool(self.metadata)
            file = av.open(str(self.unfinished), "w", container_options={**PARTS, "movflags": flags})
            file.metadata.update(self.metadata)
            self.encoder.open(file, shape, at)
        except Exception:
            self._release()
            raise

    def _check_room(self) -> None:
        if shutil.disk_usage(self.unfinished.parent).free < ROOM:
            raise OSError(28, f"the disk is full: less than {ROOM >> 20} MB are free")

    def _release(self) -> None:
        """Let go of the unfinished file, and remove it where it is of no use."""
        if self.result == self.unfinished and not plays(self.unfinished):
            self.unfinished.unlink()
        if self.lock is not None:
            os.close(self.lock)


def unfinished_path(path: str | os.PathLike) -> Path:
    """Return out.unfinished.mp4 of out.mp4, the name of what is not finished; of a link, by its target."""
    path = Path(os.path.realpath(path))
    end = ".unfinished" + path.suffix
    stem = os.fsencode(path.stem)[: 255 - len(os.fsencode(end))]  # no longer than names may be
    return path.with_name(stem.decode(errors="ignore") + end)


def create_unfinished(path: Path) -> int | None:
    """Create an empty file. Return its lock, see files.paths. Raises OSError where its name is taken."""
    make_folder(path.parent)
    remove_litter(path.parent)
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


class AnimationWriter(Writer):
    """All pictures into one file, which is written at the end."""

    def __init__(self, path: str | Path, expected: int = 0, exif: bytes = b""):
        """expected: how many pictures will come, as far as it is known. exif: see pictures.metadata_of."""
        self.path = self.result = Path(path)
        self.expected, self.exif = expected, exif
        self.images, self.seconds = [], []

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """Keep a picture. Raises UserError if all of them are too large."""
        height, width = picture.shape[:2]
        count = max(self.expected, len(self.images) + 1)
        if count * height * width > MOST_PIXELS:
            raise UserError(
                f"{self.path}: {count} pictures of {width}x{height} are too large for an animation: "
                "write a video (.mp4, .webm), or take fewer with --stride or --max-frames"
            )
        self.images.append(to_rgb(picture, ""))  # of 8 bits
        self.seconds.append(until - at)

    def close(self, finished: bool = True) -> None:
        """Write all pictures. Raises UserError if the format cannot hold them, OSError if the disk cannot."""
        if not finished and self.images:
            self.result = unfinished_path(self.path)
            with named_errors(self.path):
                create_made_up(self.result)
            self.result.unlink()  # nothing of somebody else's has that name
        if self.images:
            write_image(self.result, *self.images, seconds=self.seconds, exif=self.exif)


class PictureFolder(Writer):
    """Each picture into a file of its own: 000001.png, 000002.png and so on."""

    def __init__(self, folder: str | Path):
        self.path = self.result = Path(folder)
        self.count, self.finished = 0, True

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        self.count += 1
        write_image(self.result / f"{self.count:06d}.png", to_rgb(picture))

    def close(self, finished: bool = True) -> None:
        self.finished = finished

    def outcome(self) -> str:
        cut_off = f", which was cut off after {self.count} pictures: empty the folder to begin anew"
        return super().outcome() + cut_off * (not self.finished)
