"""The choice of what runs the network: OneFlow on a GPU, OpenVINO on a CPU, behind one small interface.

    from runtimes.choose import open_runtime
    runtime = open_runtime("weights/linknet34.safetensors")
    logits = runtime(batch)  # (N, 3, H, W) float32 -> (N, 1, H, W) float32
    print(runtime.name)  # "OpenVINO int8 on CPU"

    with_flip(runtime)(batch)  # the mean with the mirror image, in twice the time

Each runtime is imported only where it is chosen: on a CPU neither OneFlow nor PyTorch has to be installed.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from runtimes.hardware import has_gpu_driver, seconds
from runtimes.weights import default_weights, existing_weights
from utils import STRIDE, Parser, UserError, fit_size, import_oneflow, preprocess, side

# (N, 3, H, W) float32 RGB as utils.preprocess makes it, H and W multiples of 32 -> (N, 1, H, W) float32
# logits; ValueError for another array. What open_runtime returns has a `name` too, that says what runs.
Runtime = Callable[[np.ndarray], np.ndarray]
RUNTIMES = ("auto", "openvino", "oneflow")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "f32", "bf16", "int8")
LIVE_SECONDS = 0.04  # for the network, of a camera's picture
LIVE_SMALLEST = 128  # below it faces lose their shape: at 96 five points of IoU, at 128 one and a half


def add_network_options(parser: Parser, precision: str = "auto") -> None:
    """Add the options that name a network and what runs it, as `open_runtime` takes them, and --size."""
    add = parser.add_argument
    which = "or a checkpoint of train.py, or for infer.py 'published' (default: the repository's)"
    add("--weights", default=default_weights(), help=which)
    add("--size", type=side, help="longest side of the network's input (default: as it was trained)")
    add("--runtime", choices=RUNTIMES, default="auto", help="what runs the network (default: %(default)s)")
    add("--device", choices=DEVICES, default="auto", help="and where (default: %(default)s)")
    fastest = f"auto is the fastest (default: {precision})"
    add("--precision", choices=PRECISIONS, default=precision, help=fastest)


def open_runtime(
    weights: str | Path, runtime: str = "auto", device: str = "auto", precision: str = "auto"
) -> Runtime:
    """Return the network of `weights` (see weights.read_weights); its `name` says what runs.

    runtime: "auto" is OneFlow where it sees a CUDA device, else OpenVINO. device: "auto", "cpu" or "cuda".
    precision: "auto" is, in OpenVINO, the INT8 form beside the weights if it was made from them, else bf16 or
    f32, whichever takes less time here.

    Raises UserError for a choice that does not work here and for weights that cannot be used, ValueError
    for an unknown choice.
    """
    for value, choices in ((runtime, RUNTIMES), (device, DEVICES), (precision, PRECISIONS)):
        if value not in choices:
            raise ValueError(f"unknown choice {value!r}: it must be one of {', '.join(choices)}")
    weights = existing_weights(weights)
    try:
        runtime, device, remark = choose_runtime(runtime, device, precision)
        if runtime == "openvino":
            from runtimes.openvino_runtime import open_openvino

            network = open_openvino(weights, precision)
        else:
            if precision not in ("auto", "f32"):
                raise UserError(f"OneFlow runs in f32 only: {precision} needs OpenVINO on the CPU")
            from runtimes.oneflow_runtime import OneFlowRuntime

            network = OneFlowRuntime(weights, device)
    except (ImportError, RuntimeError) as error:  # installed, but it does not load or does not do it
        raise UserError(str(error)) from error
    network.name += remark
    return network


def choose_runtime(runtime: str, device: str, precision: str) -> tuple[str, str, str]:
    """Return ("oneflow" or "openvino", "cpu" or "cuda", a remark for the name)."""
    has_oneflow = importlib.util.find_spec("oneflow") is not None
    if runtime == "openvino" and device == "cuda":
        raise UserError("OpenVINO runs on the CPU here: the device cuda needs the runtime oneflow")
    if runtime == "oneflow" or device == "cuda":
        if not has_oneflow:
            raise UserError("OneFlow is not installed: `bash tools/setup.sh train` does it")
        on_gpu = device != "cpu" and sees_gpu()
        if device == "cuda" and not on_gpu:
            raise UserError("OneFlow finds no CUDA device here: use the device cpu or auto")
        return "oneflow", "cuda" if on_gpu else "cpu", ""
    if runtime == device == "auto" and precision in ("auto", "f32") and has_oneflow and has_gpu_driver():
        try:
            if sees_gpu():
                return "oneflow", "cuda", ""
            reason = "OneFlow finds none that its CUDA 11 can use"
        except ImportError as error:
            reason = str(error)
        return "openvino", "cpu", f" (the GPU is not used: {reason})"
    return "openvino", "cpu", ""


def sees_gpu() -> bool:
    """Return whether OneFlow sees a GPU. Without one, moving a tensor to "cuda" would abort."""
    return import_oneflow().cuda.is_available()


def with_flip(runtime: Runtime) -> Runtime:
    """Return a runtime that gives the logits of the mean of an image's odds and its mirror image's.

    The mean of the logits themselves would drown a face that is seen in one of the two alone.
    """

    def both(batch: np.ndarray) -> np.ndarray:
        mirrored = runtime(batch[..., ::-1])[..., ::-1]
        return np.logaddexp(runtime(batch), mirrored) - np.float32(np.log(2))

    return both


def find_logits(runtime: Runtime, image: np.ndarray, size: int) -> np.ndarray:
    """Return the logits, HxW float32, of an image, HWC uint8 RGB, at its own size.

    size: of the network's input, in pixels on the longest side.
    """
    height, width = image.shape[:2]
    logits = runtime(preprocess(image, fit_size(height, width, size))[None])[0, 0]
    return cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)


def video_size(runtime: Runtime, size: int, live: bool) -> int:
    """Return the longest side of the network's input for a video: about a seventh less than that for photos,
    which takes a quarter less time, where that is 192 pixels or more. For a live source it is the largest,
    from LIVE_SMALLEST on, at which the network is expected to take LIVE_SECONDS, as its time goes with the
    number of pixels; a line says so.
    """
    usual = size if size < 192 else round(size * 6 / 7 / STRIDE) * STRIDE
    if not live:
        return usual
    took = seconds(runtime, fit_size(3, 4, usual))
    fast = int(usual * min(1.0, LIVE_SECONDS / took) ** 0.5) // STRIDE * STRIDE
    fast = max(fast, min(LIVE_SMALLEST, usual))
    if fast < usual:
        print(
            f"the network takes {1000 * took:.0f} ms at {usual} pixels here: taking {fast}, "
            f"which is less exact (--size {usual} keeps it)",
            file=sys.stderr,
        )
    return fast
