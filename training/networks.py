"""The network that is trained and its moving average: made, loaded, compared."""

from __future__ import annotations

import numpy as np

from linknet import LinkNet34
from runtimes.network import backbone_to_encoder, check_linknet34
from runtimes.weights import read_weights
from training.options import Recipe
from utils import import_oneflow

flow = import_oneflow()


def new_model(recipe: Recipe) -> LinkNet34:
    """Return a network with random weights, computed by the recipe's kernels."""
    if recipe.kernels == "oneflow":
        return LinkNet34()
    from training.torch_kernels import TorchLinkNet34  # late: PyTorch need not be installed

    return TorchLinkNet34(mixed_precision=not recipe.no_amp)


def make_model(recipe: Recipe, arrays: dict[str, np.ndarray] | None = None) -> LinkNet34:
    """Return a network with these weights; without any with --weights, a backbone's, or random ones."""
    model = new_model(recipe)
    if arrays is None and recipe.weights:
        arrays = read_weights(recipe.weights)
        check_linknet34(arrays)
    elif arrays is None and recipe.backbone not in (None, "none"):
        arrays = {**to_arrays(model), **backbone_to_encoder(read_weights(recipe.backbone))}
    return model if arrays is None else load_arrays(model, arrays)


def update_average(average: LinkNet34, model: LinkNet34, decay: float) -> None:
    """Move the average towards the model's weights and batch statistics, by 1 - decay."""
    with flow.no_grad():
        new = model.state_dict()
        for name, tensor in average.state_dict().items():
            if tensor.dtype == flow.float32:
                tensor.mul_(decay).add_(new[name] * (1 - decay))
            else:
                tensor.copy_(new[name])  # batch norm's counters


def load_arrays(model: LinkNet34, arrays: dict[str, np.ndarray]) -> LinkNet34:
    model.load_state_dict({name: flow.tensor(array) for name, array in arrays.items()})
    return model


def to_arrays(model: LinkNet34) -> dict[str, np.ndarray]:
    """Return the state dict as NumPy arrays with memory of their own."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in model.state_dict().items()}
