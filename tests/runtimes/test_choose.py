"""The runtimes agree, the choice among them is the documented one, refusals say what to do."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from runtimes import choose, oneflow_runtime, runtime
from runtimes import openvino_runtime as ours
from runtimes.choose import choose_runtime, open_runtime, video_size
from runtimes.onnx_graph import build_onnx
from runtimes.openvino_runtime import int8_path, read_onnx, weights_digest, write_int8
from runtimes.runtime import Runtime, with_flip
from runtimes.weights import write_weights
from utils import Parser, UserError

ROOT = Path(__file__).resolve().parents[2]


def batch_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(8).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def openvino_f32(random_weights: Path) -> Runtime:
    return open_runtime(random_weights, "openvino", precision="f32")


@pytest.fixture
def weights(tmp_path: Path, random_weights: Path) -> Path:
    """A copy of the weights that other files can be put beside."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(random_weights.read_bytes())
    return path


@pytest.fixture(scope="module")
def whole_form(random_weights: Path, session_state: dict, tmp_path_factory) -> Path:
    """Stands in for the INT8 form of the weights, which only NNCF makes: the f32 network."""
    path = tmp_path_factory.mktemp("int8") / "w-int8.xml"
    write_int8(read_onnx(build_onnx(session_state)), path, random_weights)
    return path


@pytest.fixture
def int8_form(weights: Path, whole_form: Path) -> Path:
    """The INT8 form under its name beside `weights`."""
    for part in (whole_form, whole_form.with_suffix(".bin")):
        os.link(part, weights.with_name(part.name))
    return int8_path(weights)


def test_with_flip_is_the_mean_of_the_odds_with_the_mirrored_image():
    def left_to_right(batch):  # its logits grow with the column
        return batch[:, :1] + np.arange(64, dtype=np.float32)

    batch = batch_of(2, 3, 32, 64)
    odds = np.exp(np.arange(64.0)) + np.exp(63 - np.arange(64.0))
    logits = with_flip(left_to_right)(batch)
    assert np.allclose(logits, batch[:, :1] + np.log(odds / 2), atol=1e-4) and logits.dtype == np.float32


@pytest.mark.parametrize(
    "milliseconds, size, usual, wanted",
    [
        (39, 224, 192, 192),
        (60, 256, 224, 160),
        (80, 336, 288, 192),
        (999, 224, 192, 128),
        (999, 128, 128, 128),
    ],
)
def test_a_live_size_is_what_the_processor_can_do(milliseconds, size, usual, wanted, monkeypatch):
    now = [0.0, 5.0]  # the time, and what the first call takes

    def slow(batch):
        assert batch.shape[:2] == (1, 3) and max(batch.shape[2:]) == usual
        now[0] += milliseconds / 1000 + now[1]
        now[1] = 0.0

    monkeypatch.setattr(runtime.time, "perf_counter", lambda: now[0])
    assert video_size(slow, size, live=True) == wanted
    assert video_size(slow, size, live=False) == usual


def test_oneflow_and_openvino_agree(oneflow_runtime: Runtime, openvino_f32: Runtime) -> None:
    assert (oneflow_runtime.name, openvino_f32.name) == ("OneFlow f32 on CPU", "OpenVINO f32 on CPU")
    for shape in ((1, 3, 64, 96), (3, 3, 32, 32)):
        batch = batch_of(*shape)
        logits = [runtime(batch) for runtime in (oneflow_runtime, openvino_f32)]
        assert all(array.dtype == np.float32 and array.shape == (shape[0], 1, *shape[2:]) for array in logits)
        np.testing.assert_allclose(*logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["oneflow_runtime", "openvino_f32"])
def test_any_memory_layout_goes_in_and_the_output_is_ours_to_keep(name: str, request) -> None:
    network = request.getfixturevalue(name)
    batch = batch_of(1, 3, 64, 64)
    first = network(batch)
    kept = first.copy()
    mirrored = batch[:, :, ::-1, ::-1]  # negative strides
    mirrored_logits = network(mirrored)
    np.testing.assert_array_equal(first, kept)  # not written over by the next batch
    np.testing.assert_array_equal(mirrored_logits, network(np.ascontiguousarray(mirrored)))
    batch.setflags(write=False)
    np.testing.assert_array_equal(network(batch), kept)
    first += 1  # writable


def test_shapes_may_change_from_call_to_call(openvino_f32: Runtime) -> None:
    """What a batch gives does not depend on the shapes before it."""
    batch = batch_of(2, 3, 32, 64)
    first = openvino_f32(batch)
    for shape in ((1, 3, 64, 32), (3, 3, 96, 64), (1, 3, 32, 32)):
        openvino_f32(batch_of(*shape))
    np.testing.assert_array_equal(openvino_f32(batch), first)
    np.testing.assert_allclose(openvino_f32(batch[1:]), first[1:], atol=1e-5)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 3, 64, 65), np.float32),
        np.zeros((1, 3, 48, 64), np.float32),
        np.zeros((1, 1, 64, 64), np.float32),
        np.zeros((0, 3, 64, 64), np.float32),
        np.zeros((3, 64, 64), np.float32),
        np.zeros((1, 3, 64, 64), np.uint8),
        np.zeros((1, 3, 64, 64), np.float64),
    ],
)
def test_other_inputs_are_refused(openvino_f32: Runtime, batch: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be (float32|\(N, 3, H, W\))"):
        openvino_f32(batch)


def test_other_threads_run_while_openvino_computes(openvino_f32: Runtime) -> None:
    """Capture and display share the process with the network: it must not hold Python's lock."""
    batch = batch_of(2, 3, 256, 256)
    openvino_f32(batch)
    done = threading.Event()
    ticks = []

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    openvino_f32(batch)
    end = time.perf_counter()
    done.set()
    thread.join()
    assert sum(start < moment < end for moment in ticks) >= 3


def test_int8_is_taken_if_it_belongs_to_the_weights(weights: Path, int8_form: Path) -> None:
    network = open_runtime(weights, "openvino", precision="auto")
    assert network.name == "OpenVINO int8 on CPU"
    # both network sizes run, though the file is of one network with free sizes
    assert network(batch_of(1, 3, 32, 64)).shape == (1, 1, 32, 64)
    assert network(batch_of(2, 3, 64, 32)).shape == (2, 1, 64, 32)
    assert open_runtime(weights, "openvino", precision="f32").name == "OpenVINO f32 on CPU"


def test_int8_of_other_weights_is_not_used(weights: Path, int8_form: Path, random_state: dict) -> None:
    write_weights(weights, {**random_state, "finalconv3.bias": np.array([5], np.float32)})  # trained on
    with pytest.raises(UserError, match=r"other weights .*export --weights .* --int8"):
        open_runtime(weights, "openvino", precision="int8")
    network = open_runtime(weights, "openvino")
    assert "INT8 not used" in network.name and "other weights" in network.name
    assert network(batch_of(1, 3, 32, 32)).mean() > 3


def test_an_int8_form_of_a_newer_openvino_is_left_aside(weights: Path, int8_form: Path, monkeypatch) -> None:
    class Older(openvino.Core):
        def read_model(self, model, *more):
            if isinstance(model, str):
                raise RuntimeError("Cannot create Identity layer from unsupported opset: opset16")
            return super().read_model(model, *more)

    monkeypatch.setattr(ours, "core", Older)
    network = open_runtime(weights, "openvino")
    assert "INT8 not used" in network.name and "cannot be read by OpenVINO" in network.name
    with pytest.raises(UserError, match=r"cannot be read by OpenVINO 20.*tools\.export"):
        open_runtime(weights, "openvino", precision="int8")


def test_int8_that_is_missing_or_damaged(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")
    with pytest.raises(UserError, match=r"there is no .*w-int8\.xml.*tools\.export"):
        open_runtime(weights, "openvino", precision="int8")
    image, kernel = ops.parameter([1, 3, -1, -1], np.float32), ops.constant(np.ones((1, 3, 1, 1), np.float32))
    layer = ops.convolution(image, kernel, [2, 2], [0, 0], [0, 0], [1, 1])
    xml, binary = int8_path(weights), int8_path(weights).with_suffix(".bin")
    write_int8(openvino.Model([layer], [image]), xml, weights)
    assert sorted(tmp_path.iterdir()) == [binary, xml, weights]
    whole = {xml: xml.read_bytes(), binary: binary.read_bytes()}
    for damaged, content in (
        (xml, b"<net>"),
        (xml, whole[xml].replace(b'strides="2, 2"', b'strides="1, 1"', 1)),
        (xml, whole[xml].replace(b"parts_sha256", b"other_sha256")),
        (binary, b"short"),
        (binary, bytes(len(whole[binary]))),
    ):
        assert content != whole[damaged]
        damaged.write_bytes(content)
        with pytest.raises(UserError, match=r"is damaged|other weights"):
            open_runtime(weights, "openvino", precision="int8")
        damaged.write_bytes(whole[damaged])
    assert open_runtime(weights, "openvino").name == "OpenVINO int8 on CPU"
    binary.unlink()
    with pytest.raises(UserError, match=r"w-int8\.bin: no such file"):
        open_runtime(weights, "openvino", precision="int8")
    weights.unlink()
    with pytest.raises(UserError, match="no weights at"):
        open_runtime(weights, "openvino")


@pytest.mark.parametrize(
    ("capabilities", "slow", "precision"),
    [("FP32", "", "f32"), ("FP32 BF16", "f32", "bf16"), ("FP32 BF16", "bf16", "f32")],
)
def test_automatic_precision_is_the_faster_one(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capabilities: str, slow: str, precision: str
) -> None:
    class Timed:
        def __init__(self, model: object, precision: str) -> None:
            self.precision, self.name = precision, f"OpenVINO {precision} on CPU"

        def __call__(self, batch: np.ndarray) -> None:
            time.sleep(0.02 * (self.precision == slow))

    monkeypatch.setattr(ours, "OpenVinoRuntime", Timed)
    monkeypatch.setattr(ours.openvino.Core, "get_property", lambda *which: capabilities.split())
    assert open_runtime(weights, "openvino").name == f"OpenVINO {precision} on CPU"


def test_bf16_is_refused_where_the_processor_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours.openvino.Core, "get_property", lambda *which: ["FP32"])
    with pytest.raises(UserError, match="this processor has no bf16 arithmetic"):
        choose.choose_runtime("openvino", "cpu", "bf16")


def test_digest_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "variable").mkdir()
    (tmp_path / "variable" / "out").write_bytes(b"1234")
    first = weights_digest(tmp_path)
    (tmp_path / "variable" / "out").write_bytes(b"1235")
    assert weights_digest(tmp_path) != first


CHOICES = [
    # installed, GPU, (runtime, device, precision) asked for, what is chosen
    ("both", True, ("auto", "auto", "auto"), ("oneflow", "cuda")),
    ("both", True, ("auto", "cpu", "auto"), ("openvino", "cpu")),
    ("both", True, ("auto", "auto", "int8"), ("openvino", "cpu")),
    ("both", True, ("openvino", "auto", "auto"), ("openvino", "cpu")),
    ("both", True, ("oneflow", "cpu", "auto"), ("oneflow", "cpu")),
    ("both", True, ("auto", "cuda", "auto"), ("oneflow", "cuda")),
    ("both", False, ("auto", "auto", "auto"), ("openvino", "cpu")),
    ("both", False, ("oneflow", "auto", "auto"), ("oneflow", "cpu")),
    ("both", False, ("auto", "cuda", "auto"), "finds no CUDA device"),
    ("both", False, ("openvino", "cuda", "auto"), "needs the runtime oneflow"),
    ("both", False, ("oneflow", "auto", "bf16"), "OneFlow runs in f32 only"),
    ("openvino", False, ("auto", "auto", "auto"), ("openvino", "cpu")),
    ("openvino", False, ("oneflow", "auto", "auto"), "OneFlow is not installed"),
    ("oneflow", False, ("auto", "auto", "auto"), ("oneflow", "cpu")),
    ("none", False, ("auto", "auto", "auto"), "no module.*OneFlow is not installed"),
]


class Flow:
    """Stands in for OneFlow where it is asked for a GPU."""

    def __init__(self, gpu: bool):
        self.cuda = argparse.Namespace(is_available=lambda: gpu)


@pytest.mark.parametrize(("installed", "gpu", "asked", "chosen"), CHOICES)
def test_choice(monkeypatch, installed: str, gpu: bool, asked: tuple, chosen: tuple | str) -> None:
    monkeypatch.setattr(
        oneflow_runtime.importlib.util, "find_spec", lambda name: installed in (name, "both") or None
    )
    monkeypatch.setattr(oneflow_runtime, "import_oneflow", lambda: Flow(gpu))
    monkeypatch.setattr(choose, "RUNTIMES", ("openvino", "oneflow"))
    for module in (choose, oneflow_runtime):
        monkeypatch.setattr(module, "has_gpu_driver", lambda: gpu)
    if installed in ("oneflow", "none"):
        monkeypatch.setattr(ours, "check_available", raises(ImportError("no module of OpenVINO")))
    if isinstance(chosen, str):
        with pytest.raises(UserError, match=chosen):
            choose_runtime(*asked)
    else:
        assert choose_runtime(*asked)[:2] == chosen


def raises(error: Exception):
    def function(*arguments: object) -> None:
        raise error

    return function


def test_a_oneflow_that_does_not_load_is_explained(monkeypatch, random_weights: Path) -> None:
    broken = raises(ImportError("OneFlow 0.9.0 cannot be used here (libcudnn.so.8)"))
    monkeypatch.setattr(oneflow_runtime.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(oneflow_runtime, "import_oneflow", broken)
    for module in (choose, oneflow_runtime):
        monkeypatch.setattr(module, "has_gpu_driver", lambda: True)
    runtime, device, remark = choose_runtime("auto", "auto", "auto")  # on the CPU it works all the same
    assert (runtime, device) == ("openvino", "cpu")
    assert "the GPU is not used" in remark and "libcudnn" in remark
    for asked in ({"runtime": "oneflow"}, {"device": "cuda"}):
        with pytest.raises(UserError, match="libcudnn"):
            open_runtime(random_weights, **asked)


def test_a_runtime_is_a_file_and_a_name(monkeypatch, random_weights: Path) -> None:
    """One that is named first and can use the CPU takes OpenVINO's place, also in the options."""
    module = types.ModuleType("runtimes.zeros_runtime")
    module.check_available = lambda device, precision: None
    module.open_network = lambda *how: argparse.Namespace(name=f"zeros on {how[1]}")
    monkeypatch.setitem(sys.modules, "runtimes.zeros_runtime", module)
    monkeypatch.setattr(choose, "RUNTIMES", ("zeros", *choose.RUNTIMES))
    assert open_runtime(random_weights, device="cpu").name == "zeros on cpu"
    parser = Parser("Try.")
    choose.add_network_options(parser)
    assert parser.parse_args(["--runtime", "zeros"]).runtime == "zeros"


def test_an_int8_form_on_a_full_disk_is_not_written(
    tmp_path, random_weights, session_state, monkeypatch
) -> None:
    def save_model(model, path: str, **how) -> None:
        Path(path).with_suffix(".bin").write_bytes(b"half of it")
        raise RuntimeError("Check 'bin_file' failed")

    monkeypatch.setattr(ours.openvino, "save_model", save_model)
    with pytest.raises(OSError, match=r"cannot write .*w-int8\.xml.*is the disk full"):
        write_int8(read_onnx(build_onnx(session_state)), tmp_path / "w-int8.xml", random_weights)
    assert not list(tmp_path.iterdir())


def test_unusable_weights_and_choices(tmp_path: Path, random_weights: Path, random_state: dict) -> None:
    with pytest.raises(UserError, match="no weights at"):
        open_runtime(tmp_path / "missing.safetensors")
    del random_state["firstbn.bias"]
    write_weights(tmp_path / "other.safetensors", random_state)
    for name in ("openvino", "oneflow"):
        with pytest.raises(UserError, match=r"firstbn\.bias"):
            open_runtime(tmp_path / "other.safetensors", name)
    with pytest.raises(UserError, match="unknown choice 'tpu'"):
        open_runtime(random_weights, device="tpu")


def test_openvino_needs_no_oneflow_and_sends_no_telemetry(random_weights: Path) -> None:
    code = f"""
import json, sys
sys.modules["oneflow"] = None
import socket
socket.socket.connect = lambda *_: print("connects")
from faces.detector import Detector
Detector()
from runtimes.choose import open_runtime
import numpy as np
open_runtime({str(random_weights)!r}, "auto", "cpu")(np.zeros((1, 3, 32, 32), np.float32))
loaded = [name for name in sys.modules if name.startswith(("torch", "nncf", "openvino_telemetry"))]
print(json.dumps([name for name in loaded if sys.modules[name] is not None]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == []
