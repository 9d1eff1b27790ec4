"""A training: epochs of steps, validation, checkpoints, and an orderly stop."""

from __future__ import annotations

import copy
import math
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from training.checkpoint import Checkpoint, Epoch, Layout, TrainState, write_checkpoint
from training.curves import plot_curves, write_log
from training.examples import TrainExamples, open_pairs, validation_example
from training.loader import load_batches
from training.losses import image_iou
from training.networks import load_arrays, make_model, to_arrays, update_average
from training.options import MACHINES_OWN, Recipe
from training.processes import StopRequest, check_agreement, choose_device, sum_over_processes
from training.steps import Step, learning_rate
from utils import UserError, import_oneflow, log

flow = import_oneflow()

DIVERGED = 100  # times the first step's loss


class Training:
    """A training by a recipe, from its start or from a checkpoint. Each of several processes has one."""

    def __init__(self, recipe: Recipe, checkpoint: Checkpoint | None = None):
        # First: a process that a signal ended alone would leave the others waiting.
        self.stop = StopRequest()
        self.recipe, self.output = recipe, Path(recipe.output)
        self.rank, self.world = flow.env.get_rank(), flow.env.get_world_size()
        self.device = choose_device("cpu" if recipe.kernels == "torch" else recipe.device)
        pairs, train_indices, without_face, val_indices = open_pairs(recipe, tell=self.rank == 0)
        self.examples = TrainExamples(pairs, train_indices, without_face, recipe.seed)
        self.val_indices = val_indices[self.rank :: self.world]

        flow.manual_seed(recipe.seed)
        self.model = make_model(recipe, checkpoint.part("model.") if checkpoint else None)
        layout = Layout(
            processes=self.world,
            steps_in_an_epoch=len(self.examples) // (recipe.batch_size * self.world),
            training_pictures=len(self.examples),
            checksum_of_the_names=zlib.crc32(os.fsencode("\n".join(pairs.names))),
        )
        self.check(layout, checkpoint)
        self.state = checkpoint.state if checkpoint else TrainState(layout)
        self.epoch_length = layout.steps_in_an_epoch
        self.total_steps = self.epoch_length * recipe.epochs
        self.model.to(self.device)
        # The exponential moving average of the weights (EMA) is what is validated and used afterwards.
        self.average = copy.deepcopy(self.model).eval()
        self.step = Step(self.model, recipe, self.world)
        if checkpoint:
            load_arrays(self.average, checkpoint.part("ema."))
            self.step.load_state_arrays(checkpoint.part("optimizer."), self.state.step)
        self.started = time.monotonic() - self.state.seconds

    def check(self, layout: Layout, checkpoint: Checkpoint | None) -> None:
        """Raise UserError unless all processes do the same, with enough pictures, and as before a resume."""
        recipe = {name: value for name, value in asdict(self.recipe).items() if name not in MACHINES_OWN}
        weights = zlib.crc32(b"".join(array.tobytes() for array in to_arrays(self.model).values()))
        check_agreement({**recipe, **asdict(layout), "the first weights": weights}, self.device)
        if layout.steps_in_an_epoch == 0:
            batch = f"a batch of {self.recipe.batch_size} in each of {self.world} processes"
            count = layout.training_pictures
            raise UserError(f"{count} training pictures do not fill {batch}; use a smaller --batch-size")
        for name, now in asdict(layout).items():
            before = getattr(checkpoint.state.layout, name) if checkpoint else now
            if before != now:
                fault = f"was written with {name.replace('_', ' ')} {before}, here it is {now}"
                remedy = "resume with the same data and NPROC, or start anew with --weights"
                raise UserError(f"{self.recipe.resume} {fault}: {remedy}")

    def run(self) -> int:
        """Train to the end, or until a stop is asked for; return the exit status."""
        cv2.setNumThreads(1)  # the loader's threads are enough
        recipe, state = self.recipe, self.state
        length = f"{recipe.minutes:g} minutes" if recipe.minutes else f"{recipe.epochs} epochs"
        self.tell(
            f"{len(self.examples)} training pictures at {recipe.sizes or recipe.size}, {length}, "
            f"{self.epoch_length} steps an epoch, batch {recipe.batch_size} x {self.world} "
            f"on {self.device.type}"
        )
        if recipe.weights and state.step == 0 and (iou := self.validate()) is not None:
            # These weights are the best until an epoch is better.
            state.start_iou = state.best_iou = iou
            for name in ("best.safetensors", "last.safetensors"):
                self.save(name)
            self.tell(f"the weights to start from: val_iou {iou:.4g}")
        while state.epoch_steps or self.progress() < 1:
            if not self.train_epoch():
                self.save("last.safetensors")
                self.tell(f"stopped; go on with --resume {self.output / 'last.safetensors'}")
                return 128 + self.stop.signal
            self.finish_epoch()
            if self.has_diverged():
                break
        self.complete()
        best = self.output / "best.safetensors"
        if self.has_diverged():
            now = state.log[-1].loss
            fault = f"the training diverged, from a loss of {state.first_loss:.3g} to {now:.3g}"
        elif state.start_iou is not None and state.best_iou <= state.start_iou:
            fault = f"no epoch was better than the weights it started from, {recipe.weights}"
        else:
            self.tell(f"done: the weights are in {best}")
            return 0
        if self.rank == 0:
            log.error("%s; try a lower rate, as --lr %g", fault, recipe.lr / 10)
        return 1

    def has_diverged(self) -> bool:
        return self.state.log[-1].loss > DIVERGED * self.state.first_loss

    def tell(self, line: str) -> None:
        if self.rank == 0:
            print(line, flush=True)

    def progress(self) -> float:
        """Return how much is done, 0..1, of the steps or of --minutes. All processes agree."""
        if self.recipe.minutes:
            return min(self.state.seconds / (60 * self.recipe.minutes), 1.0)
        return self.state.step / self.total_steps

    def learning_rate(self) -> float:
        return learning_rate(self.recipe.lr, self.progress(), self.state.step, self.recipe.warmup)

    def train_epoch(self) -> bool:
        """Do the epoch's steps that are not done yet; return False if a stop was asked for."""
        state, recipe = self.state, self.recipe
        first_step = state.epoch_steps
        self.examples.epoch = len(state.log)
        saved = time.monotonic()
        with (
            closing(self.load_epoch(first_step)) as batches,
            tqdm(
                desc=f"epoch {self.examples.epoch + 1}",
                initial=first_step,
                total=self.epoch_length,
                unit=" images",
                unit_scale=recipe.batch_size * self.world,
                disable=self.rank > 0,
            ) as shown,
        ):
            for image, mask in batches:
                if recipe.minutes and self.progress() >= 1:
                    break
                loss, iou, lr = self.train_step(image, mask)
                shown.update()
                shown.set_postfix(loss=f"{loss:.3f}", iou=f"{iou:.3f}", lr=f"{lr:.1e}")
                if self.stop.made(self.device):
                    return False
                if time.monotonic() - saved > recipe.save_minutes * 60:
                    self.save("last.safetensors")
                    saved = time.monotonic()
        return True

    def load_epoch(self, first_step: int) -> Iterator[tuple]:
        """Yield this process's part of an epoch's batches, from `first_step` on."""
        recipe, start = self.recipe, self.state.epoch_start
        count = self.epoch_length * self.world * recipe.batch_size
        order = self.examples.order()[:count].reshape(self.epoch_length, self.world, -1)[:, self.rank]

        def batches():
            for step in range(first_step, self.epoch_length):
                done = self.progress() if recipe.minutes else (start + step) / self.total_steps
                size, gentle = recipe.size_at(done), done >= 1 - recipe.gentle
                yield [(int(item), size, gentle) for item in order[step]]

        return load_batches(self.examples.read, batches(), recipe.workers)

    def train_step(self, image: np.ndarray, mask: np.ndarray) -> tuple:
        """Do one step with this process's part of the batch; return (loss, IoU, learning rate)."""
        state, lr = self.state, self.learning_rate()
        image, mask = flow.from_numpy(image).to(self.device), flow.from_numpy(mask).to(self.device)
        loss, logits = self.step(image, mask, lr)
        decay = min(self.recipe.ema, (1 + state.step) / (10 + state.step))
        update_average(self.average, self.model, decay)
        figures = [float(loss.numpy()), float(image_iou(logits, mask).mean().numpy())]
        sums = sum_over_processes([*figures, time.monotonic() - self.started], self.device)
        loss, iou, state.seconds = (value / self.world for value in sums)
        if not math.isfinite(loss):
            raise UserError(f"the loss became {loss} at step {state.step}; try a lower --lr")
        state.first_loss = loss if state.step == 0 else state.first_loss
        state.step += 1
        state.loss_sum += loss
        state.iou_sum += iou
        return loss, iou, lr

    def finish_epoch(self) -> None:
        """Validate, add a row to the log, and write the checkpoints."""
        state = self.state
        row = Epoch(
            epoch=len(state.log) + 1,
            step=state.step,
            lr=self.learning_rate(),
            loss=state.loss_sum / state.epoch_steps,
            train_iou=state.iou_sum / state.epoch_steps,
            val_iou=self.validate(),
        )
        state.log.append(row)
        state.loss_sum = state.iou_sum = 0.0
        # Without validation pictures the newest weights are the best that is known.
        better = row.val_iou is None or state.best_iou is None or row.val_iou > state.best_iou
        if better:
            state.best_iou = row.val_iou
            self.save("best.safetensors")
        self.complete()
        self.save("last.safetensors")  # after all else: it says that they are there
        shown = {name: value for name, value in asdict(row).items() if value is not None}
        self.tell("  ".join(f"{name} {value:.4g}" for name, value in shown.items()))

    def complete(self) -> None:
        """Write the log; and the newest weights in place of the best, where these are not in the folder."""
        if self.rank > 0:
            return
        if not (self.output / "best.safetensors").exists():
            self.save("best.safetensors")
            self.tell("best.safetensors was not beside the checkpoint: it holds the newest weights now")
        write_log(self.output / "log.csv", self.state.log)
        plot_curves(self.output / "curves.png", self.state.log)

    def validate(self) -> float | None:
        """Return the mean IoU of the averaged weights over all validation pictures; None without any."""
        if self.world > 1:
            for buffer in self.average.buffers():  # each process averaged its own batches' statistics
                flow.comm.broadcast(buffer, 0)
        total, count, recipe = 0.0, len(self.val_indices), self.recipe
        items = [(self.examples.pairs, int(index), recipe.size) for index in self.val_indices]
        batches = [items[i : i + recipe.batch_size] for i in range(0, count, recipe.batch_size)]
        loaded = load_batches(validation_example, batches, recipe.workers)
        with flow.no_grad(), closing(loaded):
            for image, mask in loaded:
                logits = self.average(flow.from_numpy(image).to(self.device))
                total += float(image_iou(logits, flow.from_numpy(mask).to(self.device)).sum().numpy())
        total, count = sum_over_processes([total, count], self.device)
        return total / count if count else None

    def save(self, name: str) -> None:
        """Write a checkpoint; of several processes the first does."""
        if self.rank == 0:
            parts = {"model": to_arrays(self.model), "ema": to_arrays(self.average)}
            parts["optimizer"] = self.step.state_arrays()
            tensors = {f"{part}.{key}": value for part in parts for key, value in parts[part].items()}
            write_checkpoint(self.output / name, Checkpoint(tensors, self.recipe, self.state))
