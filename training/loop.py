"""A training run: epochs of steps, validation, checkpoints, and an orderly stop."""

from __future__ import annotations

import argparse
import copy
import math
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from linknet import LinkNet34
from runtimes.network import backbone_to_encoder, check_linknet34
from runtimes.weights import read_weights
from training.checkpoint import without_prefix, write_checkpoint
from training.curves import plot_curves, write_log
from training.examples import TrainExamples, open_pairs, validation_example
from training.loader import load_batches
from training.losses import image_iou
from training.options import split_sizes
from training.processes import StopRequest, choose_device, sum_over_processes
from training.steps import learning_rate, make_step
from utils import UserError, import_oneflow

flow = import_oneflow()


class Training:
    """A run: the network, its moving average, the data, and `state`, the plain numbers of the checkpoint."""

    def __init__(self, args: argparse.Namespace, tensors: dict, state: dict | None):
        self.args = args
        # First of all: of several processes none may leave alone, as the others would wait for it.
        self.stop = StopRequest()
        self.rank, self.world = flow.env.get_rank(), flow.env.get_world_size()
        self.device = choose_device("cpu" if args.kernels == "torch" else args.device)
        self.output = Path(args.output)

        pairs, train_indices, without_face, val_indices = open_pairs(args, tell=self.rank == 0)
        self.examples = TrainExamples(pairs, train_indices, without_face, args.seed)
        self.val_indices = val_indices[self.rank :: self.world]
        self.sizes = split_sizes(args.sizes) if args.sizes else [[args.size, 1.0]]
        self.epoch_steps = len(self.examples) // (args.batch_size * self.world)
        if self.epoch_steps == 0:
            raise UserError(
                f"{len(self.examples)} training pictures do not fill a batch of {args.batch_size} in each of "
                f"{self.world} processes; use a smaller --batch-size"
            )
        self.total_steps = self.epoch_steps * args.epochs

        flow.manual_seed(args.seed)
        if state is None:
            self.model = start_model(args)
        else:
            self.model = load_arrays(new_model(args), without_prefix("model.", tensors))
        self.model.to(self.device)
        # The exponential moving average of the weights (EMA) is what is validated and used afterwards.
        self.average = copy.deepcopy(self.model).eval()
        self.step = make_step(self.model, args, self.total_steps, self.device, self.world)
        constants = {  # what must not change between the parts of a resumed run
            "number of processes": self.world,
            "number of steps in an epoch": self.epoch_steps,
            "kind of step": type(self.step).__name__,
            "number of training pictures": len(self.examples),
            # With other pictures others would be held out, and training would leak into validation.
            "checksum of the pictures' names": zlib.crc32("\n".join(pairs.names).encode()),
        }
        if state is None:
            state = {"step": 0, "seconds": 0.0, "epoch_sums": [0.0, 0.0, 0.0], "best_iou": -1.0, "log": []}
        else:
            for name, value in constants.items():
                if state.get(name, value) != value:
                    raise UserError(
                        f"{args.resume} was written with {name} {state[name]}, here it is {value}: "
                        "resume with the same data, NPROC and --device, or start anew with --weights"
                    )
            load_arrays(self.average, without_prefix("ema.", tensors))
            self.step.load_state_arrays(without_prefix("optimizer.", tensors), state["step"])
        self.state = {**state, **constants, "options": vars(args)}

    def run(self) -> int:
        """Train to the end, or until a stop is asked for; return the exit status."""
        cv2.setNumThreads(1)  # the loader's threads are enough
        args = self.args
        self.started = time.monotonic() - self.state["seconds"]
        self.tell(
            f"{len(self.examples)} training pictures at {args.sizes or args.size}, "
            f"{f'{args.minutes:g} minutes' if args.minutes else f'{args.epochs} epochs'}, "
            f"{self.epoch_steps} steps an epoch, batch {args.batch_size} x {self.world} on {self.device.type}"
        )
        while self.state["epoch_sums"][2] or self.progress() < 1:
            if not self.train_epoch():
                self.save("last.safetensors")
                self.tell(f"stopped; go on with --resume {self.output / 'last.safetensors'}")
                return 128 + self.stop.signal
            self.finish_epoch()
        self.tell(f"done: the weights are in {self.output / 'best.safetensors'}")
        return 0

    def tell(self, line: str) -> None:
        if self.rank == 0:
            print(line, flush=True)

    def progress(self) -> float:
        """Return how much is done, 0..1, of the steps or of --minutes. All processes agree."""
        if self.args.minutes:
            return min(self.state["seconds"] / (60 * self.args.minutes), 1.0)
        return self.state["step"] / self.total_steps

    def learning_rate(self) -> float:
        return learning_rate(self.args.lr, self.progress(), self.state["step"], self.args.warmup)

    def train_epoch(self) -> bool:
        """Do the epoch's steps that are not done yet; False if a stop was asked for."""
        state, args = self.state, self.args
        first_step = state["step"] - (state["log"][-1]["step"] if state["log"] else 0)
        self.examples.epoch = len(state["log"])
        saved = time.monotonic()
        with (
            closing(self.load_epoch(first_step)) as batches,
            tqdm(
                desc=f"epoch {self.examples.epoch + 1}",
                initial=first_step,
                total=self.epoch_steps,
                unit=" images",
                unit_scale=args.batch_size * self.world,
                disable=self.rank > 0,
            ) as shown,
        ):
            for image, mask in batches:
                if args.minutes and self.progress() >= 1:
                    break
                loss, iou, lr = self.train_step(image, mask)
                shown.update()
                shown.set_postfix(loss=f"{loss:.3f}", iou=f"{iou:.3f}", lr=f"{lr:.1e}")
                if self.stop.made(self.device):
                    return False
                if time.monotonic() - saved > args.save_minutes * 60:
                    self.save("last.safetensors")
                    saved = time.monotonic()
        return True

    def load_epoch(self, first_step: int) -> Iterator[tuple]:
        """Iterate over this process's part of an epoch's batches, from `first_step` on."""
        count = self.epoch_steps * self.world * self.args.batch_size
        order = self.examples.order()[:count].reshape(self.epoch_steps, self.world, -1)[:, self.rank]
        start = self.state["step"] - first_step  # the run's steps before this epoch

        def batches():
            for step in range(first_step, self.epoch_steps):
                done = self.progress() if self.args.minutes else (start + step) / self.total_steps
                size, gentle = size_at(self.sizes, done), done >= 1 - self.args.gentle
                yield [(int(item), size, gentle) for item in order[step]]

        return load_batches(self.examples.read, batches(), self.args.workers)

    def train_step(self, image: np.ndarray, mask: np.ndarray) -> tuple:
        """Do one step with this process's part of the batch; return (loss, IoU, learning rate)."""
        state, lr = self.state, self.learning_rate()
        image, mask = flow.from_numpy(image).to(self.device), flow.from_numpy(mask).to(self.device)
        loss, logits = self.step(image, mask, lr)
        decay = min(self.args.ema, (1 + state["step"]) / (10 + state["step"]))
        update_average(self.average, self.model, decay)
        loss, iou = float(loss.numpy()), float(image_iou(logits, mask).mean().numpy())
        if not math.isfinite(loss):
            raise UserError(f"the loss became {loss} at step {state['step']}; try a lower --lr")
        sums = sum_over_processes([loss, iou, time.monotonic() - self.started], self.device)
        loss, iou, state["seconds"] = (value / self.world for value in sums)
        state["step"] += 1
        state["epoch_sums"] = [a + b for a, b in zip(state["epoch_sums"], (loss, iou, 1.0))]
        return loss, iou, lr

    def finish_epoch(self) -> None:
        """Validate, add a line to the log, and write the checkpoints."""
        state = self.state
        loss, iou, steps = state["epoch_sums"]
        row = {
            "epoch": len(state["log"]) + 1,
            "step": state["step"],
            "lr": self.learning_rate(),
            "loss": loss / steps,
            "train_iou": iou / steps,
            "val_iou": self.validate(),
        }
        state["log"].append(row)
        state["epoch_sums"] = [0.0, 0.0, 0.0]
        # Without validation pictures, at NaN, the newest weights are the best that is known.
        better = not row["val_iou"] <= state["best_iou"]
        state["best_iou"] = max(state["best_iou"], row["val_iou"])  # which NaN leaves as it is
        # First: `last` says that it is there. A run that is resumed in a folder of its own has none yet.
        if better or not (self.output / "best.safetensors").exists():
            self.save("best.safetensors")
        self.save("last.safetensors")
        if self.rank == 0:
            write_log(self.output / "log.csv", state["log"])
            plot_curves(self.output / "curves.png", state["log"])
        self.tell("  ".join(f"{name} {value:.4g}" for name, value in row.items()))

    def validate(self) -> float:
        """Return the mean IoU of the averaged weights over all validation pictures; NaN without any."""
        if self.world > 1:
            for buffer in self.average.buffers():  # each process averaged its own batches' statistics
                flow.comm.broadcast(buffer, 0)
        total, count = 0.0, len(self.val_indices)
        items = [(self.examples.pairs, int(index), self.args.size) for index in self.val_indices]
        batches = [items[i : i + self.args.batch_size] for i in range(0, count, self.args.batch_size)]
        loaded = load_batches(validation_example, batches, self.args.workers)
        with flow.no_grad(), closing(loaded):
            for image, mask in loaded:
                logits = self.average(flow.from_numpy(image).to(self.device))
                total += float(image_iou(logits, flow.from_numpy(mask).to(self.device)).sum().numpy())
        total, count = sum_over_processes([total, count], self.device)
        return total / count if count else math.nan

    def save(self, name: str) -> None:
        """Write a checkpoint; of several processes the first does."""
        if self.rank == 0:
            parts = {"model": to_arrays(self.model), "ema": to_arrays(self.average)}
            parts["optimizer"] = self.step.state_arrays()
            tensors = {f"{part}.{key}": value for part in parts for key, value in parts[part].items()}
            write_checkpoint(self.output / name, tensors, self.state)


def size_at(sizes: list, progress: float) -> int:
    """Return the size that is trained at when `progress` (0..1) of the run is done."""
    until = 0.0
    for size, share in sizes:
        until += share
        if progress < until - 1e-9:
            return size
    return sizes[-1][0]


def start_model(args: argparse.Namespace) -> LinkNet34:
    """Return a network with random weights, with those of a backbone, or with --weights."""
    model = new_model(args)
    if args.weights:
        arrays = read_weights(args.weights)
        check_linknet34(arrays)
        load_arrays(model, arrays)
    elif args.backbone not in (None, "none"):
        load_arrays(model, {**to_arrays(model), **backbone_to_encoder(read_weights(args.backbone))})
    return model


def new_model(args: argparse.Namespace) -> LinkNet34:
    """Return a network with random weights, computed by what --kernels names."""
    if args.kernels == "oneflow":
        return LinkNet34()
    from training.torch_kernels import TorchLinkNet34  # late: PyTorch need not be installed

    return TorchLinkNet34(mixed_precision=not args.no_amp)


def update_average(average: LinkNet34, model: LinkNet34, decay: float) -> None:
    with flow.no_grad():
        new = model.state_dict()
        for name, tensor in average.state_dict().items():
            if tensor.dtype == flow.float32:
                tensor.mul_(decay).add_(new[name] * (1 - decay))
            else:
                tensor.copy_(new[name])  # batch norm's counters


def load_arrays(model: LinkNet34, arrays: dict) -> LinkNet34:
    model.load_state_dict({name: flow.tensor(array) for name, array in arrays.items()})
    return model


def to_arrays(model: LinkNet34) -> dict:
    """Return the state dict as NumPy arrays with memory of their own."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in model.state_dict().items()}
