"""The names and shapes of the network are right, and what does not fit them is named."""

from __future__ import annotations

import numpy as np
import pytest

from runtimes.network import backbone_to_encoder, check_linknet34, linknet34_shapes
from utils import UserError


def test_table_of_entries(random_state: dict) -> None:
    assert linknet34_shapes() == {name: array.shape for name, array in random_state.items()}
    assert list(linknet34_shapes()) == list(random_state)
    assert len(linknet34_shapes()) == 306
    check_linknet34(random_state)


def test_check_names_what_is_wrong(random_state: dict) -> None:
    def faults(change: dict, drop: tuple = ()) -> str:
        state = {name: array for name, array in {**random_state, **change}.items() if name not in drop}
        with pytest.raises(UserError) as error:
            check_linknet34(state)
        return str(error.value)

    assert "firstbn.bias is missing" in faults({}, drop=("firstbn.bias",))
    assert "head.weight is not part of it" in faults({"head.weight": np.zeros(1)})
    assert "finalconv3.bias is (2,) instead of (1,)" in faults({"finalconv3.bias": np.zeros(2)})
    assert "not finite: finalconv3.bias" in faults({"finalconv3.bias": np.array([np.nan])})
    variance = random_state["decoder1.norm2.running_var"] - 2
    assert "negative variances: decoder1.norm2" in faults({"decoder1.norm2.running_var": variance})


def resnet34(random_state: dict) -> dict:
    """The encoder's entries under ResNet34's own names, with a classifier."""
    names = {"firstconv": "conv1", "firstbn": "bn1", **{f"encoder{i}": f"layer{i}" for i in (1, 2, 3, 4)}}
    state = {}
    for name, array in random_state.items():
        first, _, rest = name.partition(".")
        if first in names:
            state[f"{names[first]}.{rest}"] = array
    return {**state, "fc.weight": np.zeros((1000, 512)), "fc.bias": np.zeros(1000)}


def test_backbone(random_state: dict) -> None:
    backbone = resnet34(random_state)
    encoder = backbone_to_encoder(backbone)
    wanted = {n: a for n, a in random_state.items() if n.startswith(("first", "encoder"))}
    assert set(encoder) == set(wanted)
    assert all(encoder[name] is wanted[name] for name in wanted)
    with pytest.raises(UserError, match="as a backbone"):
        check_linknet34(backbone)


def test_backbone_of_another_network(random_state: dict) -> None:
    backbone = resnet34(random_state)
    for change in (
        {"layer1.0.conv3.weight": np.zeros(1)},
        {"conv1.weight": np.zeros((64, 3, 3, 3))},
        {"x": 0},
    ):
        with pytest.raises(
            UserError, match=next(iter(change)).replace("conv1", "firstconv").replace("layer", "encoder")
        ):
            backbone_to_encoder({**backbone, **change})
    del backbone["layer4.2.bn2.bias"]
    with pytest.raises(UserError, match=r"encoder4\.2\.bn2\.bias"):
        backbone_to_encoder(backbone)
