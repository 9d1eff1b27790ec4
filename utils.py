"""What every program needs: preprocessing, mask values, checked options, one error, one way to end."""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
from tqdm import tqdm

try:
    import cv2
except ImportError as error:  # for `run` it is too early
    raise SystemExit(
        f"OpenCV does not load ({error}): install libgl1, libglib2.0-0 and libsm6 (their names in Debian), "
        "or put opencv-python-headless in place of opencv-python: it needs none of them, and has no window"
    ) from None

STRIDE = 32  # the network halves the sides five times
LARGEST_SIDE = 4096  # of its input, in pixels
log = logging.getLogger("faceseg")  # what libraries have to say to the user: `run` prints it


class UserError(argparse.ArgumentTypeError):
    """An error that the user can mend. The message says what happened, to what, and what to do.

    It is an ArgumentTypeError so that argparse names the option whose `type` raises it.
    """


class Parser(argparse.ArgumentParser):
    """The parser of every program: options have their full names, and an empty value is an error.

    --debug has `run` show the stack trace of an error; it is not among the options that come out.
    """

    def __init__(self, description: str, **more):
        super().__init__(description=description, allow_abbrev=False, **more)
        what = {"default": argparse.SUPPRESS, "help": "show the stack trace of an error"}
        self.add_argument("--debug", action="store_true", **what)

    def parse_known_args(self, args=None, namespace=None) -> tuple:
        options, rest = super().parse_known_args(args, namespace)
        if vars(options).pop("debug", False):
            log.setLevel(logging.DEBUG)
        for name, value in vars(options).items():
            if value == "":
                self.error(f"--{name.replace('_', '-')} is empty: is a variable not set?")
        return options, rest

    def error(self, message: str) -> NoReturn:
        super().error(hide_passwords(message))


def integer(low: int, high: int = 2**31 - 1) -> Callable[[object], int]:
    """Return a converter of options and values in files to an int in [low, high]; it raises UserError."""
    return number(int, low, high, "a whole number")


def real(low: float, high: float) -> Callable[[object], float]:
    """Return the same to a float."""
    return number(float, low, high, "a number")


def number(kind: type, low: float, high: float, what: str) -> Callable:
    def convert(value: object) -> float:
        try:
            result = kind(value)
        except (TypeError, ValueError, OverflowError):
            result = math.nan
        if not low <= result <= high or (kind is int and isinstance(value, float)):
            raise UserError(f"{str(value)[:40]!r} is not {what} from {low} to {high}")
        return result

    return convert


def side(value: object) -> int:
    """Return the value as a side of the network's input, a multiple of 32 pixels. Raises UserError."""
    pixels = integer(STRIDE, LARGEST_SIDE)(value)
    if pixels % STRIDE:
        raise UserError(f"{pixels} is not a multiple of {STRIDE}")
    return pixels


class Lines(logging.Handler):
    """Print what is logged on stderr, between progress bars; a warning after the program's name."""

    def emit(self, record: logging.LogRecord) -> None:
        name = f"{Path(sys.argv[0]).name}: " if record.levelno >= logging.WARNING else ""
        tqdm.write(name + hide_passwords(self.format(record)), file=sys.stderr)


def hide_passwords(text: str) -> str:
    """Return a text as it may be printed: of an address in it nothing before the last @, also of one that
    lacks slashes.
    """
    return re.sub(r"\b((?:https?|rtsps?|rtmp\w*|rtp|udp|tcp|tls|srt|ftps?):/*)\S*@", r"\1", text, flags=re.I)


def interrupted(number: int, frame: object) -> None:
    """Handle a signal as Ctrl-C is handled, but for the exit status."""
    raise KeyboardInterrupt(128 + number)


def interrupted_status(error: KeyboardInterrupt) -> int:
    """Return the exit status: 130 after Ctrl-C, 143 after a SIGTERM handled by `interrupted`."""
    return error.args[0] if error.args else 130


def run(main: Callable[[], int | None]) -> None:
    """Run a program's `main` and end the process with the status that it returns, 0 for None.

    What goes wrong ends in one line and status 1, Ctrl-C in status 130.
    """
    log.handlers = [Lines()]
    log.setLevel(logging.INFO)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of pictures as large as phones take them, of EXIF
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")  # names of files may not be text
    try:
        status = main()
        print(end="", flush=True)
    except KeyboardInterrupt as error:
        status = interrupted_status(error)
    except Exception as error:
        log.debug("this is where:", exc_info=error)
        log.error("%s", explain(error))
        status = 1
    try:
        print(end="", flush=True)
    except OSError:  # a full disk, or nobody reads: Python would try again, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def explain(error: Exception) -> str:
    """Return one line about an error, for the user."""
    if isinstance(error, UserError):
        return str(error)
    text = " ".join(str(error).split())[-300:]
    if isinstance(error, MemoryError) or "Insufficient memory" in text:  # OpenCV's
        return "there is not enough memory for this: take smaller pictures, or a smaller size or batch"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else text
    if isinstance(error, ImportError):
        return f"{text}: is everything installed? Remove .venv, and infer.sh or train.sh installs it anew"
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return f"{type(error).__name__} in {where}: {text}; this should not have happened; --debug shows more"


# The published network's normalisation: (pixel - MEAN) / STD, RGB, for pixels of 0..255.
MEAN = np.array([123.68, 116.779, 103.939], np.float32)
STD = np.array([58.393, 57.12, 57.375], np.float32)

FACE, NOT_JUDGED = 255, 128  # values of a mask; background is 0


def preprocess(image: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return the network's input, (3, H, W) float32, normalised, C-contiguous, of an image.

    image: HWC uint8 RGB; ValueError for any other array. size: (height, width) to resize to first.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image must be HxWx3 uint8; this one is {image.shape} {image.dtype}")
    if size is not None:
        image = resize(image, size)
    planes = np.empty((3, *image.shape[:2]), np.float32)
    for plane, channel, mean, std in zip(planes, cv2.split(image), MEAN, STD):
        np.multiply(channel, 1 / std, out=plane, dtype=np.float32)
        plane -= mean / std
    return planes


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return any image at (height, width): averaged over areas where it shrinks, else bilinear."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = height * width < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def check_shape(shape: tuple) -> None:
    """Raise ValueError unless this is a shape that the network takes: (N, 3, H, W), multiples of 32."""
    if len(shape) != 4 or shape[1] != 3 or 0 in shape or shape[2] % STRIDE or shape[3] % STRIDE:
        raise ValueError(
            f"the input's shape is {tuple(shape)}; it must be (N, 3, H, W), H and W multiples of {STRIDE}"
        )


def fit_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """Return the (height, width) of this aspect ratio, as near as the network takes it.

    The longest side becomes `long_side`; both are rounded to multiples of 32, at least 32.
    """
    scale = long_side / max(height, width)
    return tuple(max(1, int(side * scale / STRIDE + 0.5)) * STRIDE for side in (height, width))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits, float32, without overflow."""
    # Beyond +-30 float32 gives exactly 1 or a vanishing probability: clipping changes nothing.
    return 1 / (1 + np.exp(-np.clip(np.asarray(logits, np.float32), -30, 30)))


def import_oneflow():
    """Return the module oneflow, imported without its remarks (but "libibverbs not available", which nothing
    turns off) and with the faster of its CPU kernels. Raises ImportError, with what to do.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")  # only errors
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not Path("/dev/nvidiactl").exists():
        # By default a thread that only hands out work spins next to the one that computes, and takes time
        # from the other processes. With this, the first one computes.
        os.environ.setdefault("ONEFLOW_VM_COMPUTE_ON_WORKER_THREAD", "0")
    try:
        if " avx2 " in Path("/proc/cpuinfo").read_text():
            # OneFlow's OpenBLAS does not know recent processors, and takes SSE on them.
            os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
        import oneflow
    except (ImportError, OSError) as error:
        raise ImportError(
            f"OneFlow 0.9.0 cannot be used here ({error}). It needs Linux on x86-64 and Python 3.10: "
            "`bash tools/setup.sh train` finds it and installs it into .venv"
        ) from error
    # The import takes Ctrl-C away from Python, which does not notice: set its handler again.
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGINT, handler)
    return oneflow
