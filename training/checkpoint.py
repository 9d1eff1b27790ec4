"""Training checkpoints: one safetensors file that holds all that a training needs to go on.

`tensors` is a dict of NumPy arrays: `model.*` and `ema.*` are state dicts, `optimizer.INDEX.NAME` are the
optimizer's moments. `state` is a dict of plain numbers and strings, kept as JSON in the file's header.
"""

from __future__ import annotations

import json
import os

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from files.paths import atomic_path, regular_file
from utils import UserError

STATE_KEY = "training_state"


def write_checkpoint(path: str | os.PathLike, tensors: dict, state: dict) -> None:
    """Write atomically: an interruption, a full disk or a power cut leaves the previous one as it was."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        # Written by us, as save_file would make it readable to this user alone.
        file.write(save(tensors, {STATE_KEY: json.dumps(state)}))
        file.flush()
        os.fsync(file.fileno())  # on the disk before it takes the last one's place: the power may fail


def read_checkpoint(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict]:
    """Read both back. Raises UserError, naming the file, where it is not a whole checkpoint."""
    path = regular_file(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        state = json.loads(metadata.get(STATE_KEY, "null"))
    except Exception as error:  # of many types, of Rust and of JSON that is too deep too
        raise UserError(f"{path} is broken or no safetensors file ({error})") from None
    if not isinstance(state, dict):
        raise UserError(f"{path} holds weights but no training state; start from it with --weights instead")
    return tensors, state


def without_prefix(prefix: str, tensors: dict) -> dict:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
