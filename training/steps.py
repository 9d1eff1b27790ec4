"""One optimisation step of the training, and its learning rate."""

from __future__ import annotations

import math

import numpy as np

from linknet import LinkNet34
from runtimes.network import check_entries
from training.losses import segmentation_loss
from training.options import Recipe
from utils import import_oneflow

flow = import_oneflow()


def learning_rate(highest: float, progress: float, step: int, warmup: int) -> float:
    """Return the learning rate of a step.

    It rises in a line over `warmup` steps or a tenth of the run, whichever is shorter, multiplied by a cosine
    that falls to 1% at the end of the run. progress: 0..1. step: the number of steps done before.
    """
    first = 1 / max(warmup, 1)
    rise = first + (1 - first) * min(max(step * first, progress / 0.1), 1.0)
    return highest * rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


class Step:
    """A step of AdamW or SGD on `model`, in `world` processes by DistributedDataParallel.

    Each group's gradient is clipped; biases and batch norms are not decayed.
    """

    def __init__(self, model: LinkNet34, recipe: Recipe, world: int):
        self.network = flow.nn.parallel.DistributedDataParallel(model) if world > 1 else model
        self.jaccard_weight = recipe.jaccard_weight
        clip = {"clip_grad_max_norm": recipe.clip, "clip_grad_norm_type": 2.0}
        parameters = list(model.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay, **clip},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0, **clip},
        ]
        if recipe.optimizer == "sgd":
            self.optimizer = flow.optim.SGD(groups, lr=recipe.lr, momentum=0.9)
        else:
            self.optimizer = flow.optim.AdamW(groups, lr=recipe.lr)
        self.moments = ("momentum_buf",) if recipe.optimizer == "sgd" else ("exp_avg", "exp_avg_sq")

    def __call__(self, image: flow.Tensor, mask: flow.Tensor, lr: float) -> tuple:
        """Do the step; return (scalar loss, (N, 1, H, W) logits).

        image: (N, 3, H, W) float32, normalised RGB. mask: (N, 1, H, W) uint8 of 0, 128, 255.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        logits = self.network(image)
        loss = segmentation_loss(logits, mask, self.jaccard_weight)
        loss.backward()
        self.optimizer.clip_grad()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach(), logits.detach()

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Return the optimizer's moments, {"INDEX.MOMENT": array}; none before the first step."""
        state = self.optimizer.state_dict()["state"]
        return {
            f"{index}.{name}": tensor.cpu().numpy().copy()
            for index, values in state.items()
            if index != "step"
            for name, tensor in values.items()
        }

    def load_state_arrays(self, arrays: dict[str, np.ndarray], steps_done: int) -> None:
        """Take the moments back. Raises UserError unless they are this optimizer's, for these parameters."""
        parameters = [p for group in self.optimizer.param_groups for p in group.parameters]
        expected = {f"{i}.{name}": tuple(p.shape) for i, p in enumerate(parameters) for name in self.moments}
        check_entries(arrays, expected if steps_done else {}, "the checkpoint's optimizer state does not fit")
        saved = self.optimizer.state_dict()
        for key, array in arrays.items():
            index, name = key.split(".")
            saved["state"].setdefault(int(index), {})[name] = flow.tensor(array)
        saved["state"]["step"] = steps_done
        self.optimizer.load_state_dict(saved)
