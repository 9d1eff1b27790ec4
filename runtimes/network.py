"""LinkNet34 as one walk over its layers: logits = linknet34(ops, images).

`ops` is an object with the layers as methods: `Shapes` here lists the names and shapes of the state dict,
`OnnxOps` builds a graph, `TorchOps` computes. linknet.py is the same network in OneFlow's modules.
"""

from __future__ import annotations

import re

import numpy as np

from utils import UserError, check_shape


def linknet34(ops, x):
    """Return what `ops` makes of LinkNet34's input x: (N, 3, H, W), H and W multiples of 32 -> (N, 1, H, W).

    ops.conv(x, name, channels, kernel, stride, padding, bias) is a convolution to that many channels;
    ops.deconv(x, name, channels, kernel, padding) a transposed one of stride 2 with bias; ops.norm(x, name) a
    batch norm; ops.relu(x); ops.add(x, y); ops.pool(x) the maximum of 3x3 with stride 2 and padding 1.
    """

    def basic_block(x, name, channels, stride):
        y = ops.relu(ops.norm(ops.conv(x, f"{name}.conv1", channels, 3, stride, padding=1), f"{name}.bn1"))
        y = ops.norm(ops.conv(y, f"{name}.conv2", channels, 3, padding=1), f"{name}.bn2")
        if stride == 2:  # the channels change there too
            x = ops.norm(ops.conv(x, f"{name}.downsample.0", channels, 1, stride), f"{name}.downsample.1")
        return ops.relu(ops.add(y, x))

    def decoder_block(x, name, channels, out):
        middle = channels // 4
        x = ops.relu(ops.norm(ops.conv(x, f"{name}.conv1", middle, 1, bias=True), f"{name}.norm1"))
        x = ops.relu(ops.norm(ops.deconv(x, f"{name}.deconv2", middle, 4, padding=1), f"{name}.norm2"))
        return ops.relu(ops.norm(ops.conv(x, f"{name}.conv3", out, 1, bias=True), f"{name}.norm3"))

    x = ops.relu(ops.norm(ops.conv(x, "firstconv", 64, 7, stride=2, padding=3), "firstbn"))
    x = ops.pool(x)
    maps = []
    for stage, blocks, channels in ((1, 3, 64), (2, 4, 128), (3, 6, 256), (4, 3, 512)):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            x = basic_block(x, f"encoder{stage}.{block}", channels, stride)
        maps.append(x)
    x = ops.add(decoder_block(x, "decoder4", 512, 256), maps[2])
    x = ops.add(decoder_block(x, "decoder3", 256, 128), maps[1])
    x = ops.add(decoder_block(x, "decoder2", 128, 64), maps[0])
    x = decoder_block(x, "decoder1", 64, 64)
    x = ops.relu(ops.deconv(x, "finaldeconv1", 32, 3))  # 32 channels, H + 1
    x = ops.relu(ops.conv(x, "finalconv2", 32, 3, bias=True))  # H - 1
    return ops.conv(x, "finalconv3", 1, 2, padding=1, bias=True)


class Shapes:
    """Collects the shapes of the state dict's entries; a tensor is represented by its number of channels."""

    def __init__(self):
        self.shapes: dict[str, tuple[int, ...]] = {}

    def conv(self, x, name, channels, kernel, stride=1, padding=0, bias=False):
        self.shapes[f"{name}.weight"] = (channels, x, kernel, kernel)
        if bias:
            self.shapes[f"{name}.bias"] = (channels,)
        return channels

    def deconv(self, x, name, channels, kernel, padding=0):
        self.shapes[f"{name}.weight"] = (x, channels, kernel, kernel)
        self.shapes[f"{name}.bias"] = (channels,)
        return channels

    def norm(self, x, name):
        for entry in ("weight", "bias", "running_mean", "running_var"):
            self.shapes[f"{name}.{entry}"] = (x,)
        self.shapes[f"{name}.num_batches_tracked"] = ()
        return x

    def relu(self, x):
        return x

    def add(self, x, y):
        return x

    pool = relu


def linknet34_shapes() -> dict[str, tuple[int, ...]]:
    """Return {name: shape} of the 306 entries in LinkNet34's state dict, in its order."""
    ops = Shapes()
    linknet34(ops, 3)
    return ops.shapes


def check_batch(batch: np.ndarray) -> None:
    """Raise ValueError for an array that the network cannot take."""
    check_shape(batch.shape)
    if batch.dtype != np.float32:
        raise ValueError(f"the input is {batch.dtype}; it must be float32")


def check_linknet34(state: dict) -> None:
    """Raise UserError unless the names and shapes are LinkNet34's and the numbers can be computed with."""
    resnet = "layer1.0.conv1.weight" in state
    hint = "; these are a ResNet's names: use them as a backbone" if resnet else ""
    check_entries(state, linknet34_shapes(), "the weights are not LinkNet34's", hint)
    for name, value in state.items():
        if not np.isfinite(value).all():
            raise UserError(f"the weights hold numbers that are not finite: {name}")
        if name.endswith("running_var") and (value < 0).any():
            raise UserError(f"the weights hold negative variances: {name}")


def check_entries(state: dict, expected: dict, what: str, hint: str = "") -> None:
    """Raise UserError, which begins with `what`, unless the arrays have the expected names and shapes."""
    faults = [f"{name} is missing" for name in expected if name not in state]
    faults += [f"{name} is not part of it" for name in state if name not in expected]
    shapes = {name: tuple(value.shape) for name, value in state.items() if name in expected}
    faults += [f"{n} is {s} instead of {expected[n]}" for n, s in shapes.items() if s != expected[n]]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise UserError(f"{what}: {', '.join(faults[:3])}{more}{hint}")


def backbone_to_encoder(state: dict) -> dict:
    """Return the entries of a ResNet34 (`conv1 bn1 layer1..4`, `fc` dropped) under LinkNet34's names.

    Raises UserError if they are not exactly those that the encoder needs.
    """
    encoder = {}
    for name, value in state.items():
        if not name.startswith("fc."):
            name = re.sub(r"^(conv|bn)1\.", r"first\1.", name)
            encoder[re.sub(r"^layer(?=[1-4]\.)", "encoder", name)] = value
    shapes = {name: s for name, s in linknet34_shapes().items() if name.startswith(("first", "encoder"))}
    check_entries(encoder, shapes, "the backbone is not a ResNet34's")
    return encoder
