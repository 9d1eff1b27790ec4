"""The network in OpenVINO on a CPU: f32 or bf16 from the weights, INT8 from the form beside them.

The INT8 form of NAME.safetensors is NAME-int8.xml and .bin, made by `python -m tools.export --int8`. The
.xml holds two SHA-256 digests: that of the weights it was made from, and that of its own two parts.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from pathlib import Path

import numpy as np

from files.paths import atomic_path, regular_file
from runtimes.network import check_batch
from runtimes.runtime import seconds
from runtimes.weights import int8_path, read_weights, weights_files
from utils import UserError

sys.modules.setdefault("openvino_telemetry", None)  # would report the import to a server
import openvino  # noqa: E402

NO_DIGEST = b"0" * 64  # stands in the .xml while its digest is taken


@functools.cache
def core() -> openvino.Core:
    """Return OpenVINO, loaded once: unloaded in another thread, it would take this one's stack for signals
    along, and the next Ctrl-C would be a crash.
    """
    return openvino.Core()


def check_available(device: str, precision: str) -> None:
    """Raise UserError unless OpenVINO can run here so."""
    if device != "cpu":
        raise UserError(f"OpenVINO runs on the CPU here: the device {device} needs the runtime oneflow")
    if precision == "bf16" and not computes_bf16():
        raise UserError("this processor has no bf16 arithmetic: use the precision f32 or auto")


def computes_bf16() -> bool:
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoRuntime:
    """See runtime.Runtime."""

    def __init__(self, model: openvino.Model, precision: str):
        options = {
            "PERFORMANCE_HINT": "LATENCY",  # one frame at a time, on all physical cores
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",  # INT8 layers stay INT8
        }
        # Compiled once for all shapes: for each shape on its own it would be 5 to 10% faster, but take
        # another 0.3 s and 100 MB whenever a shape comes up, in the middle of a video. (INT8 with open shapes
        # crashes in OpenVINO 2026 on processors with AMX at 64 pixels and less; crops have 96 and more.)
        self.request = core().compile_model(model, "CPU", options).create_infer_request()
        self.name = f"OpenVINO {precision} on CPU"

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        check_batch(batch)
        self.request.infer({0: np.ascontiguousarray(batch)}, share_inputs=True)
        return self.request.get_output_tensor(0).data.copy()  # the request's own memory is used again


def open_network(weights: Path, device: str, precision: str) -> OpenVinoRuntime:
    """Return the network on the CPU; "auto" is the fastest precision there is.

    Raises UserError for weights or an INT8 form that cannot be used.
    """
    remark = ""
    if precision in ("auto", "int8"):
        try:
            return OpenVinoRuntime(read_int8(weights), "int8")
        except UserError as error:
            if precision == "int8":
                raise
            remark = f" (INT8 not used: {error})" if int8_path(weights).exists() else ""

    from runtimes.onnx_graph import build_onnx  # late: INT8 does without it

    model = read_onnx(build_onnx(read_weights(weights)))
    if precision == "auto" and computes_bf16():  # no processor's name tells which of them is faster
        both = [OpenVinoRuntime(model, each) for each in ("f32", "bf16")]
        network = min(both, key=lambda runtime: seconds(runtime, (160, 160)))
    else:
        network = OpenVinoRuntime(model, "bf16" if precision == "bf16" else "f32")
    network.name += remark
    return network


def read_onnx(model) -> openvino.Model:
    """Return OpenVINO's model of an ONNX one."""
    return core().read_model(model.SerializeToString())


def write_int8(model: openvino.Model, path: Path, weights: Path) -> None:
    """Write path (.xml) and its .bin, each whole or not at all, with the digests for `read_int8`."""
    model.set_rt_info(weights_digest(weights), ["linknet34", "weights_sha256"])
    model.set_rt_info(NO_DIGEST.decode(), ["linknet34", "parts_sha256"])
    with atomic_path(path) as xml, atomic_path(path.with_suffix(".bin")) as binary:
        try:
            openvino.save_model(model, str(xml), compress_to_fp16=False)
        except RuntimeError as error:  # it does not say what the system said
            xml.with_suffix(".bin").unlink(missing_ok=True)
            raise OSError("OpenVINO failed: is the disk full?") from error
        xml.with_suffix(".bin").replace(binary)
        text = xml.read_bytes()
        xml.write_bytes(text.replace(NO_DIGEST, parts_digest(text, binary.read_bytes())))


def read_int8(weights: Path) -> openvino.Model:
    """Return the INT8 form. Raises UserError unless it is whole and made from these very weights."""
    path = int8_path(weights)
    remedy = f"make it with `.venv/bin/python -m tools.export --weights {weights} --int8 --data DIR`"
    if not path.exists():
        raise UserError(f"there is no {path}: {remedy}")
    try:
        text, binary = (regular_file(part).read_bytes() for part in (path, path.with_suffix(".bin")))
    except (OSError, UserError) as error:
        raise UserError(f"INT8 cannot be read ({error}): {remedy}") from error
    digests = dict(re.findall(rb'<(\w+)_sha256 value="([0-9a-f]{64})"', text))
    if digests.get(b"weights") != weights_digest(weights).encode():
        raise UserError(f"{path} was made from other weights than {weights}: {remedy}")
    digest = digests.get(b"parts", NO_DIGEST)
    if digest != parts_digest(text.replace(digest, NO_DIGEST), binary):
        raise UserError(f"{path} or its .bin is damaged: {remedy}")
    try:
        return core().read_model(str(path))
    except RuntimeError as error:  # made by a newer one
        version = openvino.get_version().partition("-")[0]
        raise UserError(f"{path} cannot be read by OpenVINO {version}: {remedy}") from error


def parts_digest(xml: bytes, binary: bytes) -> bytes:
    """Return the SHA-256 of the INT8 form, in hexadecimal; the .xml has NO_DIGEST in its place."""
    parts = hashlib.sha256(xml).digest() + hashlib.sha256(binary).digest()
    return hashlib.sha256(parts).hexdigest().encode()


def weights_digest(weights: str | Path) -> str:
    """Return the SHA-256 of a weights file, or of all files in a weights directory, in hexadecimal."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in weights_files(weights))).hexdigest()
