"""Where pictures go while they are made: to a server, to another machine, to standard output, to a camera.

with stdout_kept() as pipe:
    output = open_live(pipe, rate=30)  # or "rtsp://...", "rtmp://...", "udp://..."
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import time
from collections.abc import Iterator

import av
import numpy as np

from media.colors import Colors
from media.encoder import AT_ONCE, Encoding, Format, OpenVideo, letterbox
from media.frames import Sound
from media.sources import is_stream
from media.streams import advice, hide_password
from media.views import to_bgr
from media.writers import ERRORS, Writer, named_errors
from utils import UserError, integer, log

STDOUT = ("-", "pipe:", "pipe:1")
# By what an address begins with: the format, and FFmpeg's options. A server has ten seconds to answer.
PROTOCOLS = {
    "rtsp": ("rtsp", {"rtsp_transport": "tcp", "timeout": "10000000"}),
    **dict.fromkeys(("rtmp", "rtmps"), ("flv", {"rw_timeout": "10000000"})),
    "udp": ("mpegts", {"pkt_size": "1316"}),  # seven packets in a datagram
    "tcp": ("mpegts", {"rw_timeout": "10000000"}),
}
# What is sent from a thread of FFmpeg's, so that nothing here waits for the network.
THREAD = {**AT_ONCE, "queue_size": "200", "drop_pkts_on_overflow": "1", "restart_with_keyframe": "1"}
KEY_SECONDS = 1.0  # from one frame to the next with which a viewer can begin
RETRY_SECONDS = 1.0  # from one try to connect to the next
STEADY_SECONDS = 15.0  # without an error, after which there is a connection: FFmpeg does not say when


def is_live(output: str) -> bool:
    """Return whether an output is an address or standard output, and not a file."""
    begin = output.partition(":")[0].lower()  # also of an address that lacks a slash
    return output == "-" or begin in (*PROTOCOLS, "pipe") or is_stream(output)


@contextlib.contextmanager
def stdout_kept() -> Iterator[str]:
    """Yield standard output as an address. Until the end, what is printed goes to stderr.

    Raises UserError if it is a terminal.
    """
    if os.isatty(1):
        raise UserError("standard output is a terminal: pipe the video on, as in `--output - | ffplay -`")
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield f"pipe:{kept}"
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def open_live(
    address: str,
    rate: float,
    colors: Colors | None = None,
    sound: Sound | None = None,
    crf: int = 18,
    preset: str = "superfast",
    patience: float = 30.0,
) -> LiveOutput | PipeOutput:
    """Return what sends pictures to an address. patience: for how many seconds a server is connected again.

    The rest is that of encoder.Encoding. Raises UserError for an address that nothing can be sent to.
    """
    protocol, _, place = address.partition(":")
    name = "standard output" if protocol == "pipe" else hide_password(address)
    if protocol.lower() not in (*PROTOCOLS, "pipe"):
        known = ", ".join(f"{known}://" for known in PROTOCOLS)
        raise UserError(f"{name}: nothing can be sent there; use {known} or - (standard output)")
    if sound is not None:
        sound.wanted = True
    encoding = Encoding(name, rate, colors, sound, crf, preset)
    if protocol == "pipe":
        return PipeOutput(integer(0)(place), encoding)
    return LiveOutput(f"{protocol.lower()}:{place}", encoding, patience)


class PipeOutput(Writer):
    """H.264 and AAC in MPEG-TS into a pipe, as fast as it is read."""

    def __init__(self, pipe: int, encoding: Encoding):
        self.pipe, self.encoding = pipe, encoding
        self.path = self.result = encoding.name
        self.encoded = io.BytesIO()  # and not written yet
        self.video: OpenVideo | None = None  # from the first picture on

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        with named_errors(self.path):
            if self.video is None:
                file = av.open(self.encoded, "w", format="mpegts", container_options=AT_ONCE)
                how = (Format("libx264"), self.encoding, picture.shape)
                self.video = OpenVideo(file, *how, key_seconds=KEY_SECONDS)
            self.video.write(picture, at, until)
            self._pass_on()

    def close(self, finished: bool = True) -> None:
        if self.video is not None:
            with named_errors(self.path):
                self.video.close()
                self._pass_on(patience=1.0)

    def outcome(self) -> str:
        return f"sent {self.video.count} frames to {self.path}"

    def _pass_on(self, patience: float | None = None) -> None:
        """Write what is encoded, so that Ctrl-C ends it. patience: seconds to wait for a reader."""
        data = self.encoded.getvalue()
        self.encoded.seek(0)
        self.encoded.truncate()
        while data:
            if not select.select([], [self.pipe], [], patience)[1]:
                raise TimeoutError("nobody reads it")
            data = data[os.write(self.pipe, data[: select.PIPE_BUF]) :]  # as much as never waits


class LiveOutput(Writer):
    """A stream, H.264 and AAC, in the format of its server, else as MPEG-TS.

    A server that goes away is connected again; until then pictures are dropped.
    """

    live = True

    def __init__(self, address: str, encoding: Encoding, patience: float):
        """See `open_live`."""
        self.address, self.encoding, self.patience = address, encoding, patience
        self.path = self.result = encoding.name
        self.format, self.options = PROTOCOLS[address.partition(":")[0]]
        self.video: OpenVideo | None = None  # None before the first picture, and after an error
        self.tried = 0.0  # when it was last connected
        self.reached = False  # whether there was a connection
        self.broken: float | None = None  # since when there is none
        self.sent = self.dropped = 0

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """Send a picture, or drop it while the server is away. Raises OSError when it stays away."""
        now = time.perf_counter()
        if self.video is None and self.broken is not None and now - self.tried < RETRY_SECONDS:
            self.dropped += 1
            return
        try:
            if self.video is None:
                self.tried, self.video = now, self._open(picture.shape, at)
            self.video.write(picture, at, until)
            self.sent += 1
        except ERRORS as error:
            self.dropped += 1
            self._break_off(error)
        if self.video is not None and now - self.tried > STEADY_SECONDS:
            self.reached, self.broken = True, None

    def close(self, finished: bool = True) -> None:
        """Raises OSError if the server is away."""
        just_tried = self.video is None or time.perf_counter() - self.tried < RETRY_SECONDS
        try:
            if self.broken is not None and just_tried:
                raise OSError("it was away at the end")
            if self.video is not None:
                self.video.close()
        except ERRORS as error:
            self.patience = 0.0
            self._break_off(error)

    def outcome(self) -> str:
        dropped = f"; {self.dropped} were dropped while it was away" if self.dropped else ""
        return f"sent {self.sent} frames to {self.path}{dropped}"

    def _open(self, shape: tuple[int, ...], at: float) -> OpenVideo:
        """Return a new connection, which will be made when the first frame is there."""
        inner = ":".join(f"{name}={value}" for name, value in {**AT_ONCE, **self.options}.items())
        options = {**THREAD, "fifo_format": self.format, "format_opts": inner}
        file = av.open(self.address, "w", format="fifo", container_options=options)
        if self.encoding.sound is not None:
            list(self.encoding.sound.take(at))  # what has come before is not sent
        headers_first = self.format != "mpegts"
        return OpenVideo(file, Format("libx264"), self.encoding, shape, 0.0, KEY_SECONDS, headers_first)

    def _break_off(self, error: Exception) -> None:
        """Be ready to connect again. Raises OSError where that is of no use, or was tried for long enough."""
        if self.video is not None:
            with contextlib.suppress(*ERRORS):
                self.video.file.close()
            self.video = None
        now, why = time.perf_counter(), getattr(error, "strerror", None) or error
        # Who hangs up was there. Anything else, the first time, is a mistake in the address.
        self.reached = self.reached or isinstance(error, (BrokenPipeError, ConnectionResetError))
        if not self.reached:
            help = f"check the address, and that its server runs{advice(self.address)}"
            raise OSError(f"cannot write to {self.path}: {why}; {help}") from error
        if self.broken is None:
            self.broken = now
            if self.patience > 0:
                log.warning(f"{self.path} broke off after {self.sent} frames ({why}): connecting again")
        if now - self.broken >= self.patience:
            self.broken = None  # which is said once
            raise OSError(f"{self.path} stopped after {self.sent} frames: {why}") from error


class VirtualCamera(Writer):
    """A camera that other programs (video calls) can choose. Needs pyvirtualcam and its driver."""

    live = True

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
        """Send a picture at once, whatever its time."""
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

    def close(self, finished: bool = True) -> None:
        if self.camera is not None:
            self.camera.close()
