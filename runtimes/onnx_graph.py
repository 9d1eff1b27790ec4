"""LinkNet34 as an ONNX graph, made from its weights alone.

The graph takes "image", (N, 3, H, W) float32 RGB normalised as `utils.preprocess` does, H and W multiples of
32, and gives "logits", (N, 1, H, W): above 0 is face. N, H and W are free.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtimes.network import check_linknet34, linknet34
from utils import MEAN, STD

OPSET = 17
IR_VERSION = 8  # what goes with opset 17, so that runtimes of that age read it
BATCH_NORM_EPSILON = 1e-5  # the layers' default in OneFlow and PyTorch
SIDES = ["height, a multiple of 32", "width, a multiple of 32"]


class OnnxOps:
    """Collects nodes and constants, see network.linknet34; batch norms are folded into the layers before."""

    def __init__(self, state: dict[str, np.ndarray]):
        self.state = state
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def node(self, kind: str, inputs: list[str], output: str, remark: str = "", **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output + remark, **attributes))
        return output

    def layer(self, kind: str, x: str, name: str, stride: int, padding: int) -> str:
        weight = self.state[f"{name}.weight"].astype(np.float64)
        bias = self.state.get(f"{name}.bias", np.zeros(len(weight))).astype(np.float64)
        self.constants[f"{name}.weight"], self.constants[f"{name}.bias"] = weight, bias
        form = {"kernel_shape": weight.shape[2:], "strides": [stride] * 2, "pads": [padding] * 4}
        return self.node(kind, [x, f"{name}.weight", f"{name}.bias"], name, **form)

    def conv(self, x, name, channels, kernel, stride=1, padding=0, bias=False):
        return self.layer("Conv", x, name, stride, padding)

    def deconv(self, x, name, channels, kernel, padding=0):
        return self.layer("ConvTranspose", x, name, 2, padding)

    def norm(self, x, name):
        entries = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (self.state[f"{name}.{each}"].astype(np.float64) for each in entries)
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        outputs = (1, -1, 1, 1) if self.nodes[-1].op_type == "ConvTranspose" else (-1, 1, 1, 1)
        self.constants[f"{x}.weight"] *= scale.reshape(outputs)
        self.constants[f"{x}.bias"] = (self.constants[f"{x}.bias"] - mean) * scale + beta
        return x

    def relu(self, x):
        return self.node("Relu", [x], f"{x}.relu")

    def add(self, x, y):
        # Another height or width fails here, with the node's name in the runtime's message.
        return self.node("Add", [x, y], f"{x}.sum", " (height and width must be multiples of 32)")

    def pool(self, x):
        return self.node("MaxPool", [x], f"{x}.pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)


def build_onnx(state: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Return the ONNX model of LinkNet34 with these weights. Raises UserError for another network's."""
    check_linknet34(state)
    ops = OnnxOps(state)
    linknet34(ops, "image")
    ops.nodes[-1].output[0] = "logits"  # no node of its own: older OpenVINO could not read the INT8 form's
    constants = [numpy_helper.from_array(np.float32(array), name) for name, array in ops.constants.items()]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, *SIDES])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1, *SIDES])
    model = helper.make_model(
        helper.make_graph(ops.nodes, "linknet34", [image], [logits], constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="linknet34",
        doc_string=f"image: RGB of 0..255, minus {MEAN.round(3)}, over {STD.round(3)}. logits: face above 0;"
        " its probability is 1 / (1 + exp(-logits)).",
    )
    onnx.checker.check_model(model)
    return model
