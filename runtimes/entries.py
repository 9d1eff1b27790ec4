"""The entries of LinkNet34's state dict: their names and shapes, without OneFlow.

from runtimes.entries import backbone_to_encoder, check_linknet34
check_linknet34(state)  # raises WeightsError unless they are all there, and nothing else
"""

from __future__ import annotations

import numpy as np

from runtimes.formats import WeightsError

ENCODER_BLOCKS = {1: (3, 64), 2: (4, 128), 3: (6, 256), 4: (3, 512)}  # stage: (basic blocks, channels)
DECODER_CHANNELS = {4: (512, 256), 3: (256, 128), 2: (128, 64), 1: (64, 64)}  # stage: (in, out)


def linknet34_shapes() -> dict[str, tuple[int, ...]]:
    """{name: shape} of the 306 entries in LinkNet34's state dict, made without OneFlow."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, *shape: int, bias: int = 0) -> None:
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = (bias,)

    def batch_norm(name: str, channels: int) -> None:
        for entry in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{entry}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    convolution("firstconv", 64, 3, 7, 7)
    batch_norm("firstbn", 64)
    channels = 64
    for stage, (blocks, out) in ENCODER_BLOCKS.items():
        for block in range(blocks):
            name = f"encoder{stage}.{block}"
            convolution(f"{name}.conv1", out, channels, 3, 3)
            batch_norm(f"{name}.bn1", out)
            convolution(f"{name}.conv2", out, out, 3, 3)
            batch_norm(f"{name}.bn2", out)
            if channels != out:
                convolution(f"{name}.downsample.0", out, channels, 1, 1)
                batch_norm(f"{name}.downsample.1", out)
            channels = out
    for stage, (into, out) in DECODER_CHANNELS.items():
        name, middle = f"decoder{stage}", into // 4
        convolution(f"{name}.conv1", middle, into, 1, 1, bias=middle)
        batch_norm(f"{name}.norm1", middle)
        convolution(f"{name}.deconv2", middle, middle, 4, 4, bias=middle)
        batch_norm(f"{name}.norm2", middle)
        convolution(f"{name}.conv3", out, middle, 1, 1, bias=out)
        batch_norm(f"{name}.norm3", out)
    convolution("finaldeconv1", 64, 32, 3, 3, bias=32)
    convolution("finalconv2", 32, 32, 3, 3, bias=32)
    convolution("finalconv3", 1, 32, 2, 2, bias=1)
    return shapes


def check_linknet34(state: dict) -> None:
    """Raises WeightsError unless the names and shapes are exactly LinkNet34's and every number is finite."""
    expected = linknet34_shapes()
    missing = [name for name in expected if name not in state]
    extra = [name for name in state if name not in expected]
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    faults = [
        f"{len(names)} {fault} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for fault, names in (("missing", missing), ("not part of it", extra), ("of another shape", misshapen))
        if names
    ]
    if faults:
        hint = (
            "; these are a ResNet's names: use them as a backbone" if "layer1.0.conv1.weight" in state else ""
        )
        raise WeightsError(f"the weights are not LinkNet34's: {'; '.join(faults)}{hint}")
    broken = [name for name, value in state.items() if not np.isfinite(value).all()]
    if broken:
        raise WeightsError(f"the weights hold numbers that are not finite: {', '.join(broken[:3])}")


def backbone_to_encoder(state: dict) -> dict:
    """The entries of a ResNet34 (`conv1 bn1 layer1..4`, `fc` dropped) under LinkNet34's encoder names.

    Raises WeightsError if they are not exactly those that the encoder needs.
    """
    encoder = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        if first in ("conv1", "bn1"):
            encoder[f"first{first.rstrip('1')}.{rest}"] = value
        elif first in ("layer1", "layer2", "layer3", "layer4"):
            encoder[f"encoder{first[-1]}.{rest}"] = value
        elif first != "fc":
            raise WeightsError(f"{name} is not part of a ResNet34 backbone")
    expected = {
        name: shape
        for name, shape in linknet34_shapes().items()
        if name.startswith(("firstconv", "firstbn", "encoder"))
    }
    faults = [name for name in {**expected, **encoder} if name not in encoder or name not in expected]
    faults += [name for name in encoder if name in expected and tuple(encoder[name].shape) != expected[name]]
    if faults:
        raise WeightsError(
            f"the backbone is not a ResNet34's: {', '.join(faults[:3])} missing, extra or of another shape"
        )
    return encoder
