"""What runs the network: OneFlow on a GPU, OpenVINO on a CPU, behind one small interface.

    from runtimes.runtime import open_runtime
    runtime = open_runtime("weights/linknet34.safetensors")
    logits = runtime(batch)  # (N, 3, H, W) float32 -> (N, 1, H, W) float32
    print(runtime.name)  # "OpenVINO int8 on CPU"

    with_flip(runtime)(batch)  # the mean with the mirror image, in twice the time

    python -m runtimes.runtime [--precision P]  # says what is chosen here

Each runtime is imported only where it is chosen: on a CPU neither OneFlow nor PyTorch has to be installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import sys
import time
from pathlib import Path
from typing import Callable

import numpy as np

from runtimes.entries import check_linknet34
from runtimes.hardware import has_amx, has_gpu_driver
from runtimes.weights import existing_weights, read_weights
from utils import STRIDE, fit_size, refuse_empty

RUNTIMES = ("auto", "openvino", "oneflow")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "f32", "bf16", "int8")
LIVE_SECONDS = 0.04  # for the network, of a camera's picture
LIVE_SMALLEST = (
    128  # below it faces lose their shape (at 96 five points of IoU against 224, at 128 one and a half)
)
DIGEST_KEY = ["linknet34", "weights_sha256"]  # where the INT8 form says which weights it was made from


class RuntimeUnavailable(RuntimeError):
    """The runtime, device or precision that was asked for does not work here."""


class OneFlowRuntime:
    """The network in OneFlow, on a CPU or a CUDA GPU. Called from one thread at a time."""

    def __init__(self, weights: Path, device: str, remark: str = ""):
        from linknet import LinkNet34
        from runtimes.quiet import flow

        state = read_weights(weights)
        check_linknet34(state)
        self.flow = flow
        self.device = device
        self.network = LinkNet34()
        self.network.load_state_dict({name: flow.tensor(array) for name, array in state.items()})
        self.network.to(device).eval()
        self.name = f"OneFlow f32 on {device.upper()}{remark}"

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 normalised RGB -> (N, 1, H, W) float32 logits. H, W: multiples of 32."""
        check_batch(batch)
        with self.flow.no_grad():
            logits = self.network(self.flow.from_numpy(np.ascontiguousarray(batch)).to(self.device))
        return logits.numpy()


class OpenVinoRuntime:
    """The network in OpenVINO on a CPU. Called from one thread at a time; others run on while it computes."""

    def __init__(self, core, model, precision: str, remark: str = ""):
        options = {
            "PERFORMANCE_HINT": "LATENCY",  # one frame at a time, on all physical cores
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",  # INT8 layers stay INT8
        }
        # Compiled once for all shapes: for each shape on its own it would be 5 to 10% faster, but take
        # another 0.3 s and 100 MB whenever a shape comes up, in the middle of a video.
        self.request = core.compile_model(model, "CPU", options).create_infer_request()
        self.name = f"OpenVINO {precision} on CPU{remark}"

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 normalised RGB -> (N, 1, H, W) float32 logits. H, W: multiples of 32."""
        check_batch(batch)
        self.request.infer({0: np.ascontiguousarray(batch)}, share_inputs=True)
        return self.request.get_output_tensor(0).data.copy()  # the request's own memory is used again


def open_runtime(
    weights: str | Path, runtime: str = "auto", device: str = "auto", precision: str = "auto"
) -> OneFlowRuntime | OpenVinoRuntime:
    """The network of `weights` (see weights.read_weights), ready to be called; its `name` says what runs.

    runtime: "auto" is OneFlow where it sees a CUDA device, else OpenVINO, else OneFlow on the CPU.
    device: "auto", "cpu" or "cuda". precision: "auto" is, in OpenVINO, the INT8 form beside the weights if
    it was made from them, else bf16 on a processor with the hardware for it (AMX), else f32.

    Raises RuntimeUnavailable (a RuntimeError) for a choice that does not work here, WeightsError or
    FileNotFoundError for weights that cannot be used, ValueError for an unknown choice.
    """
    for value, choices in ((runtime, RUNTIMES), (device, DEVICES), (precision, PRECISIONS)):
        if value not in choices:
            raise ValueError(f"unknown choice {value!r}: it must be one of {', '.join(choices)}")
    weights = existing_weights(weights)
    try:
        runtime, device, remark = choose_runtime(runtime, device, precision)
        if runtime == "openvino":
            return open_openvino(weights, precision, remark)
        if precision not in ("auto", "f32"):
            raise RuntimeUnavailable(f"OneFlow runs in f32 only: {precision} needs OpenVINO on the CPU")
        return OneFlowRuntime(weights, device, remark)
    except ImportError as error:  # installed, but it does not load
        raise RuntimeUnavailable(str(error)) from error


def with_flip(runtime: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """The runtime that gives the mean of an image's logits and its mirror image's, in twice the time."""
    return lambda batch: (runtime(batch) + runtime(batch[..., ::-1])[..., ::-1]) / 2


def live_size(runtime: Callable[[np.ndarray], np.ndarray], size: int) -> tuple[int, float]:
    """(The longest side for live pictures here, the seconds that one of `size` takes).

    The largest multiple of 32, from LIVE_SMALLEST to `size`, at which the network is expected to take
    LIVE_SECONDS at most: its time goes with the number of pixels.
    """
    batch = np.zeros((1, 3, *fit_size(3, 4, size)), np.float32)
    runtime(batch)  # the first call takes longer
    times = []
    for _ in range(3):
        start = time.perf_counter()
        runtime(batch)
        times.append(time.perf_counter() - start)
    took = min(times)
    fast = int(size * min(1.0, LIVE_SECONDS / took) ** 0.5) // STRIDE * STRIDE
    return max(fast, min(LIVE_SMALLEST, size)), took


def open_openvino(weights: Path, precision: str, remark: str = "") -> OpenVinoRuntime:
    """The network in OpenVINO with the given precision, or the fastest one there is."""
    core = import_openvino().Core()
    if precision in ("auto", "int8"):
        try:
            return OpenVinoRuntime(core, read_int8(core, weights), "int8", remark)
        except RuntimeUnavailable as error:
            if precision == "int8":
                raise
            remark += f" (INT8 not used: {error})" if int8_path(weights).exists() else ""
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeUnavailable("this processor has no bf16 arithmetic: use the precision f32 or auto")
    if precision == "auto":
        precision = "bf16" if has_amx() else "f32"

    from runtimes.export import build_onnx

    model = core.read_model(build_onnx(read_weights(weights)).SerializeToString())
    return OpenVinoRuntime(core, model, precision, remark)


def choose_runtime(runtime: str, device: str, precision: str) -> tuple[str, str, str]:
    """("oneflow" or "openvino", "cpu" or "cuda", a remark for the name)."""
    has_openvino = importlib.util.find_spec("openvino") is not None
    has_oneflow = importlib.util.find_spec("oneflow") is not None
    if runtime == "openvino" and not has_openvino:
        raise RuntimeUnavailable("OpenVINO is not installed: pip install -r requirements/infer.txt")
    if runtime == "openvino" and device == "cuda":
        raise RuntimeUnavailable("OpenVINO runs on the CPU here: the device cuda needs the runtime oneflow")
    if runtime == "oneflow" or device == "cuda":
        if not has_oneflow:
            raise RuntimeUnavailable("OneFlow is not installed: `bash tools/setup.sh train` does it")
        if device == "cuda" and not cuda_available():
            raise RuntimeUnavailable("OneFlow finds no CUDA device here: use the device cpu or auto")
        return "oneflow", "cuda" if device != "cpu" and cuda_available() else "cpu", ""
    wants_gpu = runtime == device == "auto" and precision in ("auto", "f32")
    remark = ""
    if wants_gpu and has_oneflow and has_gpu_driver():
        try:
            if cuda_available():
                return "oneflow", "cuda", ""
        except ImportError as error:
            if not has_openvino:
                raise
            remark = f" (the GPU is not used: {error})"
    if has_openvino:
        return "openvino", "cpu", remark
    if has_oneflow:
        return "oneflow", "cpu", " (slow: OpenVINO is not installed)"
    raise RuntimeUnavailable(
        "neither OpenVINO nor OneFlow is installed: pip install -r requirements/infer.txt"
    )


def cuda_available() -> bool:
    """Whether OneFlow sees a GPU. Ask first: moving a tensor to "cuda" without one aborts the process."""
    from runtimes.quiet import flow

    return flow.cuda.is_available()


def int8_path(weights: str | Path) -> Path:
    """Where the INT8 form of these weights belongs: NAME.safetensors -> NAME-int8.xml."""
    weights = Path(weights)
    return weights.with_name(f"{weights.stem}-int8.xml")


def import_openvino():
    """OpenVINO, without its telemetry, which would report every import of it to a server."""
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


def read_int8(core, weights: Path):
    """The INT8 form. Raises RuntimeUnavailable unless it is there and was made from these very weights."""
    path = int8_path(weights)
    remedy = f"make it with `python -m runtimes.export --weights {weights} --int8 --data DIR`"
    if not path.exists():
        raise RuntimeUnavailable(f"there is no {path}: {remedy}")
    try:
        model = core.read_model(str(path))
    except RuntimeError as error:
        raise RuntimeUnavailable(f"{path} cannot be read: {remedy}") from error
    if not model.has_rt_info(DIGEST_KEY) or model.get_rt_info(DIGEST_KEY).value != weights_digest(weights):
        raise RuntimeUnavailable(f"{path} was made from other weights than {weights}: {remedy}")
    return model


def weights_digest(weights: str | Path) -> str:
    """SHA-256 of a weights file, or of all files in a weights directory, in hexadecimal."""
    weights = Path(weights)
    files = sorted(path for path in weights.rglob("*") if path.is_file()) if weights.is_dir() else [weights]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def check_batch(batch: np.ndarray) -> None:
    """Raises ValueError for an array that the network cannot take."""
    fits = batch.ndim == 4 and batch.shape[1] == 3 and batch.size and batch.dtype == np.float32
    if not fits or batch.shape[2] % STRIDE or batch.shape[3] % STRIDE:
        raise ValueError(
            f"the input is {batch.dtype} {batch.shape}; it must be float32 (N, 3, H, W), "
            f"H and W multiples of {STRIDE}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Say what runs the network here.")
    parser.add_argument("--weights", default="weights/linknet34.safetensors", help="default: %(default)s")
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    args = parser.parse_args()
    refuse_empty(parser, args)
    try:
        print(open_runtime(args.weights, args.runtime, args.device, args.precision).name)
    except (OSError, ValueError, RuntimeUnavailable) as error:
        sys.exit(f"runtimes.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
