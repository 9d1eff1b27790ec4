"""Where pictures go: a video file, an animation, numbered files, a virtual camera.

    video = VideoWriter("out.mp4", rate=30)
    video.write(picture)
    video.close()                       # finishes and checks the file, and gives it its name

All writers share `write` and `close`. Until `close` a video is in a file of another name beside its own,
`out.unfinished.mp4`, which plays whatever happens to the program.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageOps

from files.paths import atomic_path
from files.pictures import write_image
from media.colors import Colors, completed, encode
from media.frames import Sound
from media.mux import MP4, SoundTrack, remux, unfinished_path
from media.views import to_bgr, to_rgb
from utils import UserError

# By suffix: the codec of the pictures, their format, and the sound that the file can hold as it is.
H264 = ("libx264", "yuv420p")
MP4_SOUND = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
FORMATS = {
    ".mp4": (*H264, MP4_SOUND),
    ".m4v": (*H264, MP4_SOUND),
    ".mov": (*H264, ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be")),
    ".mkv": (*H264, (*MP4_SOUND, "flac", "vorbis", "pcm_s16le", "pcm_s24le")),
    ".webm": ("libvpx-vp9", "yuv420p", ("opus", "vorbis")),
}
TRANSPARENT = {".webm": ("libvpx-vp9", "yuva420p"), ".mov": ("prores_ks", "yuva444p10le")}
OPTIONS = {  # without frames that refer to later ones, so that what is written so far plays
    "libx264": {"tune": "zerolatency"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "b": "0", "auto-alt-ref": "0"},
    "prores_ks": {"profile": "4444", "vendor": "apl0"},
}
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
CLOCK = Fraction(1, 90_000)  # in which times are written: exact for all usual rates
# Such a file is written in parts of a second, each of which plays without those that follow.
PARTS = {"movflags": "frag_keyframe+delay_moov+default_base_moof", "frag_duration": "1000000"}
KEY_SECONDS = 4  # from one frame that needs no other to the next
ROOM = 64 << 20  # bytes of free disk space below which writing is given up: enough to finish the file
LOOK_EVERY = 30  # frames from one look at the free space to the next


class VideoWriter:
    """A video file. Its size is that of the first picture, made even by a repeated row or column."""

    def __init__(
        self,
        path: str | Path,
        rate: float,
        colors: Colors | None = None,
        sound: Sound | None = None,
        transparent: bool = False,
        crf: int = 18,
        preset: str = "superfast",
        metadata: dict | None = None,
    ):
        """rate: frames/s, about. colors: of the source; by default as usual for the size. sound: written too.

        crf: x264's and VP9's quality, lower is better. preset: one of PRESETS, of x264. metadata: date, place
        and camera, as FFmpeg names them. Raises UserError if the suffix is none of a video that can be
        written, or cannot hold transparency.
        """
        self.path = Path(path)
        self.suffix = self.path.suffix.lower()
        if self.suffix not in FORMATS:
            raise UserError(f"{path}: '{self.suffix}' is no video format; use one of {', '.join(FORMATS)}")
        if transparent and self.suffix not in TRANSPARENT:
            raise UserError(
                f"{path}: '{self.suffix}' cannot hold transparency; "
                "use .webm, .mov, or a folder for numbered .png"
            )
        self.rate, self.colors, self.sound, self.transparent = rate, colors, sound, transparent
        self.quality = {"crf": str(crf), "preset": preset}  # codecs leave alone what they do not know
        self.metadata = metadata or {}
        if sound is not None:
            sound.wanted = True
        # Beside what a link leads to, as that is what is written.
        self.unfinished = self.result = unfinished_path(
            Path(os.path.realpath(path))
        )  # result: where it is at the end
        self.file: av.container.OutputContainer | None = None  # from the first picture on
        self.count = 0  # pictures
        self.until = 0.0  # when the last picture ends, in seconds
        self.last = -1  # when it begins, in ticks of the clock
        self.error: OSError | None = None  # the first
        self.reformatter = VideoReformatter()

    def write(self, picture: np.ndarray, at: float | None = None, until: float | None = None) -> None:
        """picture: any view's, HWC uint8 BGR or BGRA, or HxW. at, until: when it is shown, in seconds.

        Without a time, it is shown as the rate has it. Raises OSError if it cannot be written.
        """
        if at is None:
            at, until = self.count / self.rate, (self.count + 1) / self.rate
        with self._named_errors():
            if self.file is None:
                self.start = at if self.sound is None else 0.0  # what is time 0 in the file
                self._open(*picture.shape[:2])
            frame = self._frame(picture)
            frame.pts = max(self.last + 1, round((at - self.start) / CLOCK))
            frame.time_base = CLOCK
            self.last, self.until = frame.pts, until - self.start
            self.file.mux(self.video.encode(frame))
            if self.track is not None:
                self.track.write(until)
            self.count += 1
            if self.count % LOOK_EVERY == 0 and shutil.disk_usage(self.unfinished.parent).free < ROOM:
                raise OSError(28, "the disk is full")

    def close(self, whole: bool = True) -> None:
        """Finish the file, check it, and give it its name. Raises OSError if it is not what was written.

        whole: whether all that belongs into it is there. Else it does not take an earlier file's place.
        """
        if self.file is None:
            return
        with contextlib.suppress(OSError), self._named_errors(), self.file:
            if self.count:
                self.file.mux(self.video.encode())
                if self.track is not None:
                    self.track.write(math.inf if self.sound.ended else self.until)
                    self.track.close()
        if self.count:
            self._finish(whole and self.error is None)
        if self.result != self.unfinished or not self.count:
            self.unfinished.unlink()
        if self.error is not None:
            raise self.error

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Raise what goes wrong inside as an OSError that names the file, and keep the first one."""
        try:
            yield
        except (OSError, av.error.FFmpegError, ValueError) as error:
            told = OSError(f"cannot write {self.path}: {getattr(error, 'strerror', None) or error}")
            self.error = self.error or told
            raise told from error

    def _open(self, height: int, width: int) -> None:
        """Open the file for pictures of this size."""
        if self.path.exists() and not self.path.is_file():
            raise OSError(22, "it is a folder, a device or a pipe")
        self.unfinished.parent.mkdir(parents=True, exist_ok=True)
        self.unfinished.touch()
        parts = {"flush_packets": "1", **(PARTS if self.suffix in MP4 else {})}
        self.file = av.open(str(self.unfinished), "w", options=parts)
        codec, layout = (TRANSPARENT if self.transparent else FORMATS)[self.suffix][:2]
        rate, options = Fraction(self.rate).limit_denominator(1001), {**OPTIONS[codec], **self.quality}
        self.video = video = self.file.add_stream(codec, rate=rate, options=options)
        self.size = height, width
        video.height, video.width = height + height % 2, width + width % 2
        video.pix_fmt = layout
        if self.transparent:
            video.metadata["alpha_mode"] = "1"
        context = video.codec_context
        context.time_base = video.time_base = CLOCK
        context.gop_size = max(1, round(KEY_SECONDS * self.rate))
        # Where nothing is said of the colours, players take them so.
        self.colors = completed(self.colors or Colors(1 if height >= 720 else 6, 1))
        context.colorspace, context.color_range = self.colors.matrix, self.colors.range
        context.color_primaries, context.color_trc = self.colors.primaries, self.colors.transfer
        self.track = SoundTrack(self.file, self.sound, FORMATS[self.suffix][2]) if self.sound else None

    def _frame(self, picture: np.ndarray) -> av.VideoFrame:
        """Return the picture of the first one's size, with even sides, in the colours of the file."""
        height, width = self.size
        if self.transparent and (picture.ndim == 2 or picture.shape[2] == 3):
            picture = cv2.cvtColor(to_bgr(picture), cv2.COLOR_BGR2BGRA)
        elif not self.transparent:
            picture = to_bgr(picture)
        picture = letterbox(picture, height, width)
        picture = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if not self.transparent:
            return encode(picture, self.colors)
        frame = av.VideoFrame.from_ndarray(picture, format="bgra")
        frame.colorspace = self.colors.matrix
        return self.reformatter.reformat(frame, format=self.video.pix_fmt, dst_color_range=self.colors.range)

    def _finish(self, whole: bool) -> None:
        """Copy what was encoded into a file with its index in front, which plays while it is being loaded."""
        target = self.path if whole or not self.path.exists() else self.unfinished
        try:
            with atomic_path(target) as temporary:
                found = remux(self.unfinished, temporary, self.until, self.metadata)
                if found < self.count and self.error is None:
                    raise OSError(5, f"{found} of {self.count} frames can be read back: a full disk?")
            self.result = target
        except (OSError, av.error.FFmpegError) as error:
            self.error = self.error or error


class AnimationWriter:
    """All pictures into one file, which is written at the end."""

    def __init__(self, path: str | Path):
        self.path = self.result = Path(path)
        self.images, self.seconds = [], []

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """picture: any view's. at, until: the seconds between which it is shown."""
        self.images.append(to_rgb(picture))
        self.seconds.append(until - at)

    def close(self, whole: bool = True) -> None:
        """Raises UserError if the format cannot hold them; OSError if they cannot be written."""
        if not whole and self.path.exists():
            self.result = unfinished_path(self.path)
        if self.images:
            write_image(self.result, *self.images, seconds=self.seconds)


class PictureFolder:
    """Each picture into a file of its own: 000001.png, 000002.png and so on."""

    def __init__(self, folder: str | Path):
        self.result, self.count = Path(folder), 0

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """picture: any view's. Raises OSError if it cannot be written."""
        self.count += 1
        write_image(self.result / f"{self.count:06d}.png", to_rgb(picture))

    def close(self, whole: bool = True) -> None:
        """Nothing is open."""


class VirtualCamera:
    """A camera that other programs (video calls) can choose. Needs pyvirtualcam and its driver."""

    def __init__(self, rate: float):
        self.rate, self.camera = rate, None
        try:
            import pyvirtualcam
        except ImportError as error:
            raise OSError(
                "--virtual-camera needs the package pyvirtualcam: "
                f"install it with `{sys.executable} -m pip install pyvirtualcam`"
            ) from error
        self.package = pyvirtualcam

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """picture: any view's. It goes out at once, whatever its time."""
        picture = to_bgr(picture)
        if self.camera is None:
            height, width = picture.shape[:2]
            try:
                self.camera = self.package.Camera(width, height, self.rate, fmt=self.package.PixelFormat.BGR)
            except RuntimeError as error:
                raise OSError(
                    f"there is no virtual camera to write to ({error}): it needs a driver, "
                    "v4l2loopback on Linux, OBS on Windows and macOS"
                ) from error
        self.camera.send(letterbox(picture, self.camera.height, self.camera.width))

    def close(self, whole: bool = True) -> None:
        if self.camera is not None:
            self.camera.close()


def letterbox(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return HWC uint8 scaled to fit into height x width, aspect ratio kept, with black bars."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.array(ImageOps.pad(Image.fromarray(picture), (width, height), Image.Resampling.BILINEAR, 0))
