"""The choice of what runs the network: OneFlow on a GPU, OpenVINO on a CPU.

A runtime is a NAME_runtime.py here and its NAME in RUNTIMES: check_available(device, precision), which raises
UserError or ImportError where it cannot run so, and open_network(weights, device, precision), which returns a
Runtime with a `name`.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from runtimes.runtime import Runtime, has_gpu_driver, seconds
from runtimes.weights import default_weights, existing_weights
from utils import STRIDE, Parser, UserError, fit_size, log, side

RUNTIMES = ("openvino", "oneflow")  # the first that is available on a device is taken
DEVICES = ("cuda", "cpu")  # likewise
PRECISIONS = ("f32", "bf16", "int8")
LIVE_SECONDS = 0.04  # for the network, of a camera's picture
LIVE_SMALLEST = 128  # below it faces lose their shape: at 96 five points of IoU, at 128 one and a half


def add_network_options(parser: Parser, precision: str = "auto") -> None:
    """Add the options that name a network and what runs it, as `open_runtime` takes them, and --size."""
    add = parser.add_argument
    which = "weights, or a checkpoint of train.py, or for infer.py 'published' (default: the repository's)"
    add("--weights", default=default_weights(), help=which)
    add("--size", type=side, help="longest side of the network's input (default: as it was trained)")
    for name, choices, default, what in (
        ("--runtime", RUNTIMES, "auto", "what runs the network"),
        ("--device", DEVICES, "auto", "where it runs"),
        ("--precision", PRECISIONS, precision, "of the numbers; auto is the fastest here"),
    ):
        add(name, choices=("auto", *choices), default=default, help=f"{what} (default: {default})")


def open_runtime(
    weights: str | Path, runtime: str = "auto", device: str = "auto", precision: str = "auto"
) -> Runtime:
    """Return the network of `weights` (see weights.read_weights); its `name` says what runs.

    runtime: "auto" is OneFlow where it can use a CUDA device, else OpenVINO. precision: "auto" is, in
    OpenVINO, the INT8 form beside the weights if it was made from them, else the faster of bf16 and f32.
    Raises UserError for what cannot be used here, and for an unknown choice.
    """
    for value, choices in ((runtime, RUNTIMES), (device, DEVICES), (precision, PRECISIONS)):
        if value not in ("auto", *choices):
            raise UserError(f"unknown choice {value!r}: it must be one of auto, {', '.join(choices)}")
    weights = existing_weights(weights)
    runtime, device, remark = choose_runtime(runtime, device, precision)
    try:
        network = runtime_module(runtime).open_network(weights, device, precision)
    except (ImportError, RuntimeError) as error:  # installed, but it does not load or does not do it
        raise UserError(str(error)) from error
    network.name += remark
    return network


def choose_runtime(runtime: str, device: str, precision: str) -> tuple[str, str, str]:
    """Return the name of the runtime, the device, and a remark for the user about a GPU that is not used.

    Raises UserError where none is available.
    """
    reasons = []
    for place in DEVICES if device == "auto" else [device]:
        for name in RUNTIMES if runtime == "auto" else [runtime]:
            try:
                runtime_module(name).check_available(place, precision)
            except (ImportError, UserError) as error:
                reasons.append(str(error))
            else:
                unused = reasons and has_gpu_driver()
                return name, place, f" (the GPU is not used: {reasons[-1]})" if unused else ""
    raise UserError("; ".join(dict.fromkeys(reasons)))


def runtime_module(name: str):
    """Return the module of a runtime, imported only now: on a CPU OneFlow need not be installed."""
    return importlib.import_module(f"{__package__}.{name}_runtime")


def video_size(runtime: Runtime, size: int, live: bool) -> int:
    """Return the longest side of the network's input for a video: from 192 pixels on a seventh less than for
    photos, which takes a quarter less time. For a live source it is the largest, from LIVE_SMALLEST on, at
    which the network should take at most LIVE_SECONDS, as its time goes with the number of pixels.
    """
    usual = size if size < 192 else round(size * 6 / 7 / STRIDE) * STRIDE
    if not live:
        return usual
    took = seconds(runtime, fit_size(3, 4, usual))
    fast = int(usual * min(1.0, LIVE_SECONDS / took) ** 0.5) // STRIDE * STRIDE
    fast = max(fast, min(LIVE_SMALLEST, usual))
    if fast < usual:
        log.info(
            f"the network takes {1000 * took:.0f} ms at {usual} pixels here: taking {fast}, "
            f"which is less exact (--size {usual} keeps it)"
        )
    return fast
