"""The exported network gives OneFlow's logits in three runtimes, at any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import openvino
import pytest
from arrays import batch_of

from runtimes.onnx_graph import build_onnx
from utils import UserError

SHAPES = [(1, 3, 64, 96), (2, 3, 128, 32), (1, 3, 64, 96)]  # the first one again: nothing may stay fixed


@pytest.fixture(scope="module")
def onnx_file(session_state: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "linknet34.onnx"
    onnx.save(build_onnx(session_state), str(path))
    return path


@pytest.fixture(scope="module")
def oneflow_logits(oneflow_runtime: Callable) -> list:
    """What OneFlow computes for a batch of each shape."""
    logits = [oneflow_runtime(batch_of(shape)) for shape in SHAPES]
    assert all(array.std() > 0.1 for array in logits)
    return logits


def assert_equal_logits(run, oneflow_logits: list) -> None:
    for shape, expected in zip(SHAPES, oneflow_logits):
        np.testing.assert_allclose(run(batch_of(shape)), expected, atol=1e-4, rtol=0)


def test_onnxruntime_equals_oneflow(onnx_file: Path, oneflow_logits: list) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    assert_equal_logits(lambda batch: session.run(["logits"], {"image": batch})[0], oneflow_logits)


def test_another_size_is_explained_by_the_name_of_the_node(onnx_file: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="height and width must be multiples of 32"):
        session.run(["logits"], {"image": batch_of((1, 3, 100, 100))})


def test_opencv_equals_oneflow(onnx_file: Path, oneflow_logits: list) -> None:
    network = cv2.dnn.readNetFromONNX(str(onnx_file))

    def run(batch: np.ndarray) -> np.ndarray:
        network.setInput(batch, "image")
        return network.forward("logits")

    assert_equal_logits(run, oneflow_logits)


def test_openvino_equals_oneflow(onnx_file: Path, oneflow_logits: list) -> None:
    core = openvino.Core()
    model = core.compile_model(str(onnx_file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert_equal_logits(lambda batch: model({"image": batch})["logits"], oneflow_logits)


def test_graph_is_valid_and_its_sizes_free(onnx_file: Path) -> None:
    onnx.checker.check_model(str(onnx_file), full_check=True)
    graph = onnx.load(str(onnx_file)).graph
    for value, name, channels in ((graph.input[0], "image", 3), (graph.output[0], "logits", 1)):
        assert value.name == name
        dims = value.type.tensor_type.shape.dim
        assert [dim.dim_value for dim in dims] == [0, channels, 0, 0]


def test_another_networks_weights_are_refused(random_state: dict) -> None:
    del random_state["decoder1.norm2.running_var"]
    with pytest.raises(UserError, match=r"decoder1\.norm2\.running_var is missing"):
        build_onnx(random_state)
