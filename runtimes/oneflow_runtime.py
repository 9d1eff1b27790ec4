"""The network in OneFlow, on a CPU or a CUDA GPU.

from runtimes.oneflow_runtime import OneFlowRuntime
logits = OneFlowRuntime("weights/linknet34.safetensors", "cuda")(batch)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from linknet import LinkNet34
from runtimes.network import check_batch, check_linknet34
from runtimes.weights import read_weights
from utils import import_oneflow

flow = import_oneflow()


class OneFlowRuntime:
    """See choose.Runtime. Called from one thread at a time."""

    def __init__(self, weights: str | Path, device: str):
        state = read_weights(weights)
        check_linknet34(state)
        self.device = device
        self.network = LinkNet34()
        self.network.load_state_dict({name: flow.tensor(array) for name, array in state.items()})
        self.network.to(device).eval()
        self.name = f"OneFlow f32 on {device.upper()}"

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        check_batch(batch)
        with flow.no_grad():
            return self.network(flow.from_numpy(np.ascontiguousarray(batch)).to(self.device)).numpy()
