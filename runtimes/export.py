"""Export LinkNet34: to ONNX, and to the INT8 form that runs fastest on a CPU.

    python -m runtimes.export --weights weights/linknet34.safetensors --output linknet34.onnx
    python -m runtimes.export --weights weights/linknet34.safetensors --int8 --data DIR

The ONNX graph takes "image", (N, 3, H, W) float32 RGB normalised as `utils.preprocess` does, H and W
multiples of 32, and gives "logits", (N, 1, H, W): above 0 is face. N, H and W are free. OneFlow is needed
neither to make it nor to run it. The second command makes weights/linknet34-int8.xml and .bin: see quantise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtimes.entries import check_linknet34
from runtimes.weights import read_weights, trained_size
from utils import atomic_path, refuse_empty

OPSET = 17
IR_VERSION = 8  # what goes with opset 17, so that runtimes of that age read it
BATCH_NORM_EPSILON = 1e-5  # the layers' default in OneFlow and PyTorch


class GraphBuilder:
    """Collects the nodes and constants of an ONNX graph. Methods that add a layer give its output's name."""

    def __init__(self, state: dict[str, np.ndarray]):
        self.state = state
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def conv(
        self,
        x: str,
        name: str,
        norm: str = "",
        stride: int = 1,
        padding: int = 0,
        transposed: bool = False,
        output: str = "",
    ) -> str:
        """A convolution, or a transposed one, with the batch norm after it folded in."""
        weight = self.state[f"{name}.weight"].astype(np.float64)
        out_axis = 1 if transposed else 0  # (in, out, kh, kw), (out, in, kh, kw)
        bias = self.state.get(f"{name}.bias", np.zeros(weight.shape[out_axis])).astype(np.float64)
        if norm:
            gamma, beta, mean, variance = (
                self.state[f"{norm}.{entry}"].astype(np.float64)
                for entry in ("weight", "bias", "running_mean", "running_var")
            )
            scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
            weight *= np.expand_dims(scale, [axis for axis in range(4) if axis != out_axis])
            bias = (bias - mean) * scale + beta
        inputs = [x, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        return self.node(
            "ConvTranspose" if transposed else "Conv",
            inputs,
            output or name,
            kernel_shape=list(weight.shape[2:]),
            strides=[stride] * 2,
            pads=[padding] * 4,
        )

    def relu(self, x: str) -> str:
        return self.node("Relu", [x], f"{x}.relu")

    def add(self, x: str, y: str) -> str:
        return self.node("Add", [x, y], f"{x}.sum")

    def basic_block(self, x: str, name: str, stride: int) -> str:
        """ResNet's two 3x3 convolutions beside a shortcut."""
        shortcut = x
        if f"{name}.downsample.0.weight" in self.state:
            shortcut = self.conv(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        x = self.relu(self.conv(x, f"{name}.conv1", f"{name}.bn1", stride, padding=1))
        x = self.conv(x, f"{name}.conv2", f"{name}.bn2", padding=1)
        return self.relu(self.add(x, shortcut))

    def decoder_block(self, x: str, name: str) -> str:
        """1x1 to a quarter of the channels, a transposed 4x4 that doubles the sides, 1x1."""
        x = self.relu(self.conv(x, f"{name}.conv1", f"{name}.norm1"))
        x = self.relu(self.conv(x, f"{name}.deconv2", f"{name}.norm2", stride=2, padding=1, transposed=True))
        return self.relu(self.conv(x, f"{name}.conv3", f"{name}.norm3"))


def build_onnx(state: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The ONNX model of LinkNet34 with these weights, checked. Raises WeightsError for another network's."""
    check_linknet34(state)
    graph = GraphBuilder(state)
    x = graph.relu(graph.conv("image", "firstconv", "firstbn", stride=2, padding=3))
    x = graph.node("MaxPool", [x], "firstmaxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    skips = {}
    for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for block in range(blocks):
            x = graph.basic_block(x, f"encoder{stage}.{block}", stride=2 if stage > 1 and block == 0 else 1)
        skips[stage] = x
    for stage in (4, 3, 2):
        x = graph.add(graph.decoder_block(x, f"decoder{stage}"), skips[stage - 1])
    x = graph.decoder_block(x, "decoder1")
    x = graph.relu(graph.conv(x, "finaldeconv1", stride=2, transposed=True))  # 2H + 1
    x = graph.relu(graph.conv(x, "finalconv2"))
    graph.conv(x, "finalconv3", padding=1, output="logits")

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1, "height", "width"])
    proto = helper.make_graph(graph.nodes, "linknet34", [image], [logits], graph.constants)
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="linknet34",
    )
    onnx.checker.check_model(model)
    return model


def write_onnx(path: str | Path, state: dict[str, np.ndarray]) -> None:
    """Writes the ONNX file, whole or not at all. Raises WeightsError, OSError."""
    data = build_onnx(state).SerializeToString()
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Export LinkNet34 to ONNX, or quantise it to INT8.")
    parser.add_argument("--weights", default="weights/linknet34.safetensors", help="default: %(default)s")
    parser.add_argument(
        "--output", help="the .onnx file, or the .xml file of INT8; default: beside the weights"
    )
    parser.add_argument("--int8", action="store_true", help="make OpenVINO's INT8 form instead (needs nncf)")
    parser.add_argument("--data", help="INT8: folder with train/ and test/, images/ and masks/ in each")
    parser.add_argument(
        "--images", type=int, default=300, help="INT8: pictures to calibrate with (%(default)s)"
    )
    parser.add_argument(
        "--size", type=int, help="INT8: longest side of the network's input (as the weights were trained)"
    )
    args = parser.parse_args()
    refuse_empty(parser, args)
    if args.int8 and not args.data:
        parser.error("--int8 needs --data DIR: it is calibrated and judged on pictures of faces")
    if args.output and not args.int8 and Path(args.output).suffix.lower() != ".onnx":
        parser.error(f"--output {args.output}: the file's name must end in .onnx")
    if args.images < 1:
        parser.error("--images must be at least 1")
    if args.size is None:
        args.size = trained_size(args.weights)
    if args.size < 32 or args.size % 32:
        parser.error("--size must be a multiple of 32")
    return args


def main() -> None:
    args = parse_arguments()
    weights = Path(args.weights)
    try:
        state = read_weights(weights)
        if args.int8:
            from runtimes.runtime import int8_path
            from tools.quantise import export_int8

            output = Path(args.output) if args.output else int8_path(weights)
            export_int8(build_onnx(state), weights, args.data, output, args.images, args.size)
        else:
            output = Path(args.output) if args.output else weights.with_suffix(".onnx")
            write_onnx(output, state)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"export.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
