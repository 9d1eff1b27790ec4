"""The network in OneFlow, on a CPU or a CUDA GPU. OneFlow is imported late: that takes seconds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from runtimes.network import check_batch, check_linknet34
from runtimes.runtime import Runtime, has_gpu_driver
from runtimes.weights import read_weights
from utils import UserError, import_oneflow


def check_available(device: str, precision: str) -> None:
    """Raise UserError or ImportError unless OneFlow can run here so."""
    if importlib.util.find_spec("oneflow") is None:
        raise UserError("OneFlow is not installed: `bash tools/setup.sh train` does it")
    if precision not in ("auto", "f32"):
        raise UserError(f"OneFlow runs in f32 only: {precision} needs OpenVINO on the CPU")
    # Without a GPU, moving a tensor to "cuda" would abort the process.
    if device == "cuda" and not (has_gpu_driver() and import_oneflow().cuda.is_available()):
        raise UserError("OneFlow finds no CUDA device that its CUDA 11 can use: use the device cpu or auto")


def open_network(weights: str | Path, device: str, precision: str = "auto") -> Runtime:
    """Return the network of these weights. Raises UserError for another network's."""
    flow = import_oneflow()
    from linknet import LinkNet34

    state = read_weights(weights)
    check_linknet34(state)
    network = LinkNet34()
    network.load_state_dict({name: flow.tensor(array) for name, array in state.items()})
    network.to(device).eval()

    def runtime(batch: np.ndarray) -> np.ndarray:
        check_batch(batch)
        with flow.no_grad():
            return network(flow.from_numpy(np.ascontiguousarray(batch)).to(device)).numpy()

    runtime.name = f"OneFlow f32 on {device.upper()}"
    return runtime
