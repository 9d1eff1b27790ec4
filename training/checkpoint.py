"""Training checkpoints: one safetensors file that holds all that a training needs to continue.

Its tensors are `model.*` and `ema.*`, state dicts, and `optimizer.INDEX.MOMENT`; a Recipe and a TrainState
are JSON in the file's header.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import get_type_hints

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from files.paths import atomic_path, regular_file
from training.options import Recipe
from utils import UserError

STATE_KEY = "training_state"
LARGEST = 2**30  # bytes of a checkpoint


@dataclass
class Epoch:
    """A row of the log. val_iou is None without validation pictures."""

    epoch: int
    step: int
    lr: float
    loss: float
    train_iou: float
    val_iou: float | None


@dataclass
class Layout:
    """What must be the same in all processes of a run, and when it is resumed."""

    processes: int
    steps_in_an_epoch: int
    training_pictures: int
    checksum_of_the_names: int  # other pictures would be held out: training would leak into validation


@dataclass
class TrainState:
    """How far a training is. Raises UserError for numbers that do not fit each other."""

    layout: Layout
    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0  # of the epoch that is under way
    iou_sum: float = 0.0
    first_loss: float | None = None  # of the first step
    start_iou: float | None = None  # of the weights that were given to start from
    best_iou: float | None = None
    log: list = field(default_factory=list)  # an Epoch for each that is done

    def __post_init__(self):
        ends = [0, *(row.step for row in self.log), self.step]
        values = [value for part in (self, *self.log) for value in vars(part).values()]
        if (
            any(not 0 <= end - start <= self.layout.steps_in_an_epoch for start, end in pairwise(ends))
            or self.seconds < 0
            or not all(math.isfinite(value) for value in values if isinstance(value, float))
            or (self.step > 0 and self.first_loss is None)
            or (self.start_iou is not None and self.best_iou is None)
        ):
            raise UserError("its steps or its figures are impossible")

    @property
    def epoch_start(self) -> int:
        """The number of steps done before the epoch that is under way."""
        return self.log[-1].step if self.log else 0

    @property
    def epoch_steps(self) -> int:
        """The number of steps done in the epoch that is under way."""
        return self.step - self.epoch_start


@dataclass
class Checkpoint:
    tensors: dict[str, np.ndarray]
    recipe: Recipe
    state: TrainState

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """Return the tensors whose names start with `prefix`, without it."""
        return {name[len(prefix) :]: value for name, value in self.tensors.items() if name.startswith(prefix)}


def write_checkpoint(path: str | os.PathLike, checkpoint: Checkpoint) -> None:
    """Write atomically: an interruption, a full disk or a power cut leaves the previous one as it was."""
    header = {"options": asdict(checkpoint.recipe), "state": asdict(checkpoint.state)}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        # Written by us, as save_file would make it readable to this user alone.
        file.write(save(checkpoint.tensors, {STATE_KEY: json.dumps(header)}))
        file.flush()
        os.fsync(file.fileno())  # on the disk before it replaces the last one: the power may fail


def read_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Read it back. Raises UserError, naming the file, where it is damaged or none."""
    path = regular_file(path)
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path} is too large for a checkpoint of LinkNet34, which has 0.35 GB")
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        header = json.loads(metadata.get(STATE_KEY, "null"))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # of many types; a panic in safetensors' Rust is no Exception
        raise UserError(f"{path} is broken or no safetensors file ({error})") from None
    if header is None:
        raise UserError(f"{path} holds weights but no training state; start from it with --weights instead")
    try:
        state = header["state"]
        layout, log = from_json(Layout, state["layout"]), [from_json(Epoch, row) for row in state["log"]]
        state = from_json(TrainState, {**state, "layout": layout, "log": log})
        return Checkpoint(tensors, from_json(Recipe, header["options"]), state)
    except (AttributeError, LookupError, TypeError, UserError) as error:
        remedy = f"start anew with --weights {path}"
        raise UserError(f"{path}: its header is damaged or of another version ({error}); {remedy}") from None


def from_json(kind: type, values: dict) -> object:
    """Return a dataclass of values, of which each must be of its declared type; TypeError if one is not."""
    hints = get_type_hints(kind)
    for name, value in values.items():
        hint = hints.get(name, ())
        if not isinstance(value, hint) or isinstance(value, bool) != (hint is bool):
            raise TypeError(f"{name} is {str(value)[:40]}")
    return kind(**values)
