"""Where pictures go: a video file, a virtual camera.

    video = VideoWriter("out.mp4", rate=30)
    try:
        for picture in pictures:
            video.write(picture)
    finally:
        video.close()                   # finishes and checks the file, and gives it its name

All writers share `write` and `close`. A video is encoded in a thread of its own. Until `close` it is in a
file of another name beside its own, `out.unfinished.mp4`, which plays whatever happens to the program.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from files.paths import atomic_path
from media.colors import Colors, completed, encode
from media.frames import Sound
from media.mux import MP4, SoundTrack, beside, count_frames, remux
from media.pipeline import Channel, Closed
from media.views import to_bgr
from utils import UserError, resize

# By suffix: the codec of the pictures, their format, and the sound that the file can hold as it is.
H264 = ("libx264", "yuv420p")
MP4_SOUND = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
FORMATS = {
    ".mp4": (*H264, MP4_SOUND),
    ".m4v": (*H264, MP4_SOUND),
    ".mov": (*H264, ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be")),
    ".mkv": (*H264, (*MP4_SOUND, "flac", "vorbis", "pcm_s16le", "pcm_s24le")),
    ".webm": ("libvpx-vp9", "yuv420p", ("opus", "vorbis")),
    ".avi": ("mjpeg", "yuvj420p", ("mp3", "ac3", "pcm_s16le", "aac")),
}
TRANSPARENT = {".webm": ("libvpx-vp9", "yuva420p"), ".mov": ("prores_ks", "yuva444p10le")}
OPTIONS = {  # without frames that refer to later ones, so that what is written so far plays
    "libx264": {"tune": "zerolatency"},
    "mjpeg": {"qmin": "2", "qmax": "3"},
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

        metadata: date, place and camera, as FFmpeg names them.
        crf: x264's and VP9's quality, lower is better. preset: x264's, from ultrafast to veryslow. Raises
        UserError if the suffix is none of a video that can be written, or cannot hold transparency.
        """
        self.path = Path(path)
        suffix = self.path.suffix.lower()
        if suffix not in FORMATS:
            raise UserError(f"{path}: '{suffix}' is no video format; use one of {', '.join(FORMATS)}")
        if transparent and suffix not in TRANSPARENT:
            raise UserError(
                f"{path}: '{suffix}' cannot hold transparency; use .webm, .mov, or a folder for numbered .png"
            )
        self.codec, self.format = TRANSPARENT[suffix] if transparent else FORMATS[suffix][:2]
        self.layout = "bgra" if transparent else "bgr24"
        self.rate, self.colors, self.sound = rate, colors, sound
        self.options = dict(OPTIONS[self.codec])
        if self.codec in ("libx264", "libvpx-vp9"):
            self.options["crf"] = str(crf)
        if self.codec == "libx264":
            self.options["preset"] = preset
        self.parts = {"flush_packets": "1", **(PARTS if suffix in MP4 else {})}
        self.metadata = metadata or {}
        if sound is not None:
            sound.wanted = True
        # Beside what a link leads to, as that is what is written.
        self.unfinished = self.result = beside(Path(os.path.realpath(path)))  # result: where it is at the end
        self.whole = False
        self.given = self.count = 0  # pictures; count: of those that are encoded
        self.size = None  # (height, width)
        self.start = 0.0 if sound is not None else None  # seconds, of what is time 0 in the file
        self.until = 0.0  # when the last picture ends, in seconds
        self.last = -1  # when it begins, in ticks of the clock
        self.pictures = Channel(newest=False)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="encode", daemon=True)

    def write(self, picture: np.ndarray, at: float | None = None, until: float | None = None) -> None:
        """picture: any view's, HWC uint8 BGR or BGRA, or HxW. at, until: when it is shown, in seconds.

        Without a time, it is shown as the rate has it.
        Raises OSError if it, or one before it, cannot be written.
        """
        if self.size is None:
            self._open(picture)
        if at is None:
            at, until = self.given / self.rate, (self.given + 1) / self.rate
        self.given += 1
        with contextlib.suppress(Closed):
            self.pictures.put((picture, at, until))
            return
        raise self.error

    def close(self, whole: bool = True) -> None:
        """Finish the file, check it, and give it its name. Raises OSError if it is not what was written.

        whole: whether all that belongs into it is there. Else it does not take an earlier file's place.
        """
        if self.size is None:
            return
        self.whole = whole
        self.pictures.end()
        self.thread.join()
        self.whole = whole and self.error is None
        self._finish()
        if self.error is not None:
            raise self.error

    def _open(self, picture: np.ndarray) -> None:
        self.size = picture.shape[:2]
        try:
            self.unfinished.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and not self.path.is_file():
                raise OSError(22, "it is a folder, a device or a pipe")
            self.unfinished.touch()
        except OSError as error:
            self.size = None
            raise OSError(f"cannot write {self.path}: {error.strerror or error}") from error
        self.thread.start()

    def _run(self) -> None:
        """The encoder's thread."""
        try:
            with av.open(str(self.unfinished), "w", options=self.parts) as file:
                self._encode_all(file)
        except (OSError, av.error.FFmpegError, ValueError) as error:
            self.error = OSError(f"cannot write {self.path}: {getattr(error, 'strerror', None) or error}")
        except BaseException as error:
            self.error = error
        finally:
            self.pictures.close()

    def _encode_all(self, file: av.container.OutputContainer) -> None:
        video = self._video(file)
        sound = SoundTrack(file, self.sound, FORMATS[self.path.suffix.lower()][2]) if self.sound else None
        reformatter = VideoReformatter()
        while (item := self.pictures.take()) is not None:
            picture, at, until = item
            if self.start is None:
                self.start = at
            picture = self._fit(picture)
            if self.layout == "bgr24":
                frame = encode(picture, self.colors, self.format)
            else:
                frame = av.VideoFrame.from_ndarray(picture, format=self.layout)
                frame.colorspace = self.colors.matrix
                frame = reformatter.reformat(frame, format=self.format, dst_color_range=self.colors.range)
            frame.pts = max(self.last + 1, round((at - self.start) / self.clock))
            frame.time_base = self.clock
            self.last, self.until = frame.pts, until - self.start
            file.mux(video.encode(frame))
            if sound is not None:
                sound.write(until)
            self.count += 1
            if self.count % LOOK_EVERY == 0 and shutil.disk_usage(self.unfinished.parent).free < ROOM:
                self.error = OSError(f"cannot write {self.path}: the disk is full")
                break
        file.mux(video.encode())
        if sound is not None:
            sound.write(math.inf if self.sound.ended else self.until)
            sound.close()

    def _video(self, file: av.container.OutputContainer) -> av.VideoStream:
        rate = Fraction(self.rate).limit_denominator(1001)
        self.clock = 1 / rate if self.codec == "mjpeg" else CLOCK  # an AVI knows no times, only the rate
        stream = file.add_stream(self.codec, rate=rate, options=self.options)
        height, width = self.size
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = self.format
        context = stream.codec_context
        context.time_base = stream.time_base = self.clock
        context.gop_size = max(1, round(KEY_SECONDS * self.rate))
        if self.colors is None:  # as players take it where nothing is said
            self.colors = Colors(1 if height >= 720 else 6, 1)
        self.colors = completed(self.colors)
        if self.format.startswith("yuvj"):
            self.colors = self.colors._replace(range=2)
        context.colorspace, context.color_range = self.colors.matrix, self.colors.range
        context.color_primaries, context.color_trc = self.colors.primaries, self.colors.transfer
        if self.layout == "bgra":
            stream.metadata["alpha_mode"] = "1"
        return stream

    def _fit(self, picture: np.ndarray) -> np.ndarray:
        """HxWx3 or, where it is to be transparent, HxWx4; of even sides, and of the first picture's size."""
        if self.layout == "bgr24":
            picture = to_bgr(picture)
        elif picture.ndim == 2 or picture.shape[2] == 3:
            picture = cv2.cvtColor(to_bgr(picture), cv2.COLOR_BGR2BGRA)
        height, width = self.size
        picture = letterbox(picture, height, width)
        if height % 2 or width % 2:
            picture = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        return picture

    def _finish(self) -> None:
        """Copy what was encoded into a file with its index in front, which plays while it is being loaded."""
        if self.count == 0:
            self.unfinished.unlink()
            return
        if self.whole or not self.path.exists():
            self.result = self.path
        try:
            with atomic_path(self.result) as temporary:
                remux(self.unfinished, temporary, self.until, self.metadata)
                found = count_frames(temporary)
                if found < self.count and self.error is None:
                    raise OSError(5, f"{found} of {self.count} frames can be read back: a full disk?")
        except (OSError, av.error.FFmpegError) as error:
            self.error = self.error or error
            self.result = self.unfinished
        if self.result != self.unfinished:
            self.unfinished.unlink()


class VirtualCamera:
    """A camera that other programs (video calls) can choose. Needs pyvirtualcam and its driver."""

    def __init__(self, rate: float):
        self.rate = rate
        self.camera = None
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
                self.camera = self.package.Camera(
                    width=width, height=height, fps=self.rate, fmt=self.package.PixelFormat.BGR
                )
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
    """HWC uint8 scaled to fit into height x width, aspect ratio kept, with black bars where it does not."""
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(height / picture.shape[0], width / picture.shape[1])
    picture = resize(picture, (max(1, int(picture.shape[0] * scale)), max(1, int(picture.shape[1] * scale))))
    top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
    bottom, right = height - picture.shape[0] - top, width - picture.shape[1] - left
    return cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_CONSTANT)
