"""One optimisation step of the training, in OneFlow's two ways: eager, or compiled as an nn.Graph.

The eager one runs everywhere; the graph one is for one GPU, and OneFlow's documented way to mixed precision.
"""

from __future__ import annotations

import argparse
import math

from linknet import LinkNet34
from training.losses import segmentation_loss
from utils import import_oneflow

flow = import_oneflow()


def make_optimizer(model: LinkNet34, name: str, lr: float, weight_decay: float, clip: float):
    """Return AdamW or SGD; each group's gradient is clipped; biases and batch norm are not decayed."""
    parameters = list(model.parameters())
    clipping = {"clip_grad_max_norm": clip, "clip_grad_norm_type": 2.0}
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay, **clipping},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0, **clipping},
    ]
    if name == "sgd":
        return flow.optim.SGD(groups, lr=lr, momentum=0.9)
    return flow.optim.AdamW(groups, lr=lr)


def learning_rate(highest: float, progress: float, step: int, warmup: int) -> float:
    """Return the learning rate of a step.

    It rises in a line over `warmup` steps or a tenth of the run, whichever is shorter, onto a cosine that
    falls to 1% with the end of the run. progress: 0..1. step: how many were done before.
    """
    first = 1 / max(warmup, 1)
    rise = first + (1 - first) * min(max(step * first, progress / 0.1), 1.0)
    return highest * rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def make_schedule(optimizer, total_steps: int, warmup: int):
    """Return the same as OneFlow computes it inside of a compiled step, but for the height of the rise."""
    warmup = max(min(warmup, total_steps // 10), 1)
    cosine = flow.optim.lr_scheduler.CosineDecayLR(optimizer, decay_steps=total_steps, alpha=0.01)
    return flow.optim.lr_scheduler.WarmUpLR(
        cosine, warmup_factor=1 / warmup, warmup_iters=warmup, warmup_method="linear"
    )


def make_step(model: LinkNet34, args: argparse.Namespace, total_steps: int, device: flow.device, world: int):
    """Return the compiled step for a single GPU, the eager one otherwise. args: of options.py."""
    mixed_precision = device.type == "cuda" and not (args.no_amp or args.minutes or args.sizes)
    network = flow.nn.parallel.DistributedDataParallel(model) if world > 1 else model
    optimizer = make_optimizer(model, args.optimizer, args.lr, args.weight_decay, args.clip)
    if world == 1 and (args.graph or mixed_precision):
        schedule = make_schedule(optimizer, total_steps, args.warmup)
        return GraphStep(model, optimizer, schedule, args.jaccard_weight, mixed_precision)
    return EagerStep(network, optimizer, args.jaccard_weight)


class EagerStep:
    """One operation after the other. `network` is the model, or the model wrapped for several processes."""

    def __init__(self, network, optimizer, jaccard_weight: float):
        self.network, self.optimizer, self.jaccard_weight = network, optimizer, jaccard_weight

    def __call__(self, image: flow.Tensor, mask: flow.Tensor, lr: float) -> tuple:
        """image (N, 3, H, W) float32, mask (N, 1, H, W) uint8 -> (scalar loss, (N, 1, H, W) logits)."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        logits = self.network(image)
        loss = segmentation_loss(logits, mask, self.jaccard_weight)
        loss.backward()
        self.optimizer.clip_grad()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach(), logits.detach()

    def state_arrays(self) -> dict:
        """Return the optimizer's state as {name: array}."""
        state = self.optimizer.state_dict()["state"]
        return {
            f"{index}.{name}": tensor.cpu().numpy().copy()
            for index, values in state.items()
            if index != "step"
            for name, tensor in values.items()
        }

    def load_state_arrays(self, arrays: dict, steps_done: int) -> None:
        saved = self.optimizer.state_dict()
        for key, array in arrays.items():
            index, name = key.split(".")
            saved["state"].setdefault(int(index), {})[name] = flow.tensor(array)
        saved["state"]["step"] = steps_done
        self.optimizer.load_state_dict(saved)


class GraphStep(flow.nn.Graph):
    """The same step compiled once, on CUDA optionally in mixed precision (float16 with a loss scale)."""

    def __init__(self, model: LinkNet34, optimizer, schedule, jaccard_weight: float, mixed_precision: bool):
        super().__init__()
        self.model, self.jaccard_weight = model, jaccard_weight
        self.add_optimizer(optimizer, lr_sch=schedule)
        if mixed_precision:
            self.config.enable_amp(True)
            self.set_grad_scaler(flow.amp.GradScaler())

    def __call__(self, image: flow.Tensor, mask: flow.Tensor, lr: float) -> tuple:
        """As in EagerStep, but all images have one shape, and the learning rate is the schedule's."""
        return super().__call__(image, mask)

    def build(self, image: flow.Tensor, mask: flow.Tensor) -> tuple:
        logits = self.model(image)
        loss = segmentation_loss(logits, mask, self.jaccard_weight)
        loss.backward()
        return loss, logits

    def state_arrays(self) -> dict:
        state = self.state_dict()
        return {name: value.cpu().numpy().copy() for name, value in state.items() if name != "model"}

    def load_state_arrays(self, arrays: dict, steps_done: int) -> None:
        self.load_state_dict({name: flow.tensor(array) for name, array in arrays.items()})
