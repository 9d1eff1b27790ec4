"""Where pictures go while they are made: to a server, to another machine, to standard output, to a camera.

with stdout_kept() as pipe:
    output = open_live(pipe, rate=30)  # or "rtsp://...", "rtmp://...", "udp://..."
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import select
import sys
import time
from collections.abc import Iterator

import av
import numpy as np

from media.encoder import AT_ONCE, Encoder, Format, letterbox
from media.sources import is_stream
from media.streams import printable
from media.videos import advice
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
SURE_SECONDS = 1.5  # in which most servers say that they take nothing
SILENT_SECONDS = 7.0  # for closing a connection; from less than the ten that a server has to answer
STEADY_SECONDS = 15.0  # without an error, after which there is a connection: FFmpeg does not say when


def is_live(output: str) -> bool:
    """Return whether an output is an address or standard output, and not a file."""
    begin = output.partition(":")[0].lower()  # also of an address that lacks a slash
    return output == "-" or begin in (*PROTOCOLS, "pipe") or is_stream(output)


@contextlib.contextmanager
def stdout_kept() -> Iterator[str]:
    """Yield standard output's address; what is printed goes to stderr. Raises UserError for a terminal."""
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


def open_live(address: str, rate: float, *source, patience: float = 30.0, **how) -> LiveOutput | PipeOutput:
    """Return what sends pictures to an address. Raises UserError for one that nothing can be sent to.

    rate, source (its colours, its sound), how: see encoder.Encoder. patience: see LiveOutput.
    """
    protocol, _, place = address.partition(":")
    protocol, name, format = protocol.lower(), printable(address), Format(key_seconds=KEY_SECONDS)
    if protocol == "pipe":
        return PipeOutput(integer(0)(place), Encoder("standard output", format, rate, *source, **how))
    if protocol not in PROTOCOLS:
        known = ", ".join(f"{known}://" for known in PROTOCOLS)
        raise UserError(f"{name}: nothing can be sent there; use {known} or - (standard output)")
    return LiveOutput(f"{protocol}:{place}", Encoder(name, format, rate, *source, **how), patience)


class PipeOutput(Writer):
    """H.264 and AAC in MPEG-TS into a pipe, as fast as it is read."""

    def __init__(self, pipe: int, encoder: Encoder):
        self.pipe, self.encoder = pipe, encoder
        self.path = self.result = encoder.name
        self.encoded = io.BytesIO()  # and not written yet

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        with named_errors(self.path):
            if self.encoder.file is None:
                file = av.open(self.encoded, "w", format="mpegts", container_options=AT_ONCE)
                self.encoder.open(file, picture.shape, at)
            self.encoder.write(picture, at, until)
            self._pass_on()

    def close(self, finished: bool = True) -> None:
        if self.encoder.file is not None:
            with named_errors(self.path):
                self.encoder.close()
                self._pass_on(patience=10.0 if finished else 1.0)

    def outcome(self) -> str:
        return f"sent {self.encoder.count} frames to {self.path}"

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

    def __init__(self, address: str, encoder: Encoder, patience: float):
        """patience: for how many seconds a server that goes away is connected again."""
        self.address, self.encoder, self.patience = address, encoder, patience
        self.path = self.result = encoder.name
        self.tried = -math.inf  # when it was last connected
        self.broken: float | None = None  # since when there is none
        self.dropped = 0  # pictures
        self.last: tuple[np.ndarray, float, float] | None = None  # what was written last

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """Send a picture, or drop it while the server is away. Raises OSError when it stays away."""
        try:
            if self.encoder.file is None:
                if time.perf_counter() - self.tried < RETRY_SECONDS:
                    self.dropped += 1
                    return
                self._connect(picture.shape, at)
            self.encoder.write(picture, at, until)
            self.last = picture, at, until
        except ERRORS as error:
            self.dropped += 1
            self._break_off(error, self.patience)

    def close(self, finished: bool = True) -> None:
        """Raises OSError if the server is away."""
        try:
            is_new = self.encoder.file is None or time.perf_counter() - self.tried < RETRY_SECONDS
            if self.broken is not None and is_new:
                raise OSError("it was away at the end")
            if self.encoder.file is not None:
                self._make_sure()
                start = time.perf_counter()
                self.encoder.close()
                if time.perf_counter() - start > SILENT_SECONDS:
                    raise TimeoutError("it did not answer")  # FFmpeg has given it up, and does not say so
        except ERRORS as error:
            self._break_off(error, 0.0)

    def outcome(self) -> str:
        dropped = f"; {self.dropped} were dropped while it was away" if self.dropped else ""
        return f"encoded {self.encoder.count} frames for {self.path}{dropped}"

    def _make_sure(self) -> None:
        """Send the last picture again where a connection is new: what went wrong with it is raised then. What
        closes it says nothing.
        """
        age = time.perf_counter() - self.tried
        if self.last is not None and age < SURE_SECONDS:
            time.sleep(SURE_SECONDS - age)
            picture, at, until = self.last
            self.encoder.write(picture, until, 2 * until - at)
            self.encoder.count -= 1

    def _connect(self, shape: tuple[int, ...], at: float) -> None:
        """Begin a connection, which will be made when the first frame is there."""
        self.tried = time.perf_counter()
        format, options = PROTOCOLS[self.address.partition(":")[0]]
        inner = ":".join(f"{name}={value}" for name, value in {**AT_ONCE, **options}.items())
        options = {**THREAD, "fifo_format": format, "format_opts": inner}
        file = av.open(self.address, "w", format="fifo", container_options=options)
        if self.encoder.sound is not None:
            list(self.encoder.sound.take(at))  # what has come before is not sent
        self.encoder.open(file, shape, at)

    def _break_off(self, error: Exception, patience: float) -> None:
        """Be ready to connect again. Raises OSError where that is of no use, or was tried for long enough."""
        now, why = time.perf_counter(), getattr(error, "strerror", None) or error
        sent = f"after {self.encoder.count} frames"
        if self.encoder.file is not None:
            with contextlib.suppress(*ERRORS):
                self.encoder.file.close()
            self.encoder.file = None
        # Who hangs up was there too. Anything else, the first time, is a mistake in the address.
        hung_up = isinstance(error, (BrokenPipeError, ConnectionResetError))
        was_there = now - self.tried > (SURE_SECONDS if hung_up else STEADY_SECONDS)
        if self.broken is None and not (was_there or hung_up):
            raise OSError(f"cannot write to {self.path}: {why}; {advice(self.address)}") from error
        if self.broken is None or was_there:
            self.broken = now
            if patience > 0:
                log.warning(f"{self.path} broke off {sent} ({why}): connecting again")
        if now - self.broken >= patience:
            self.broken = None  # which is said once
            raise OSError(f"{self.path} stopped {sent}: {why}") from error


class VirtualCamera(Writer):
    """A camera that other programs (video calls) can choose. Needs pyvirtualcam and its driver."""

    live = True

    def __init__(self, rate: float):
        try:
            from pyvirtualcam import Camera, PixelFormat
        except ImportError as error:
            raise OSError(
                "--virtual-camera needs the package pyvirtualcam: "
                f"install it with `{sys.executable} -m pip install pyvirtualcam`"
            ) from error
        self.open = functools.partial(Camera, fps=rate, fmt=PixelFormat.BGR)
        self.camera = None  # until the first picture

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """Send a picture at once, whatever its time."""
        picture = to_bgr(picture)
        if self.camera is None:
            try:
                self.camera = self.open(picture.shape[1], picture.shape[0])
            except RuntimeError as error:
                raise OSError(
                    f"there is no virtual camera to write to ({error}): it needs a driver, "
                    "v4l2loopback on Linux, OBS on Windows and macOS"
                ) from error
        self.camera.send(letterbox(picture, self.camera.height, self.camera.width))

    def close(self, finished: bool = True) -> None:
        if self.camera is not None:
            self.camera.close()
