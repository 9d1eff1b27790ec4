"""Reading weights that other programs wrote: OneFlow's directories and PyTorch's files.

    from runtimes.formats import read_oneflow_directory, read_torch
    state = read_oneflow_directory(Path("linknet_oneflow_model"))  # {name: array}

`weights.read_weights` chooses among them. All raise UserError for what they cannot read.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from files.paths import regular_file
from utils import UserError

# What OneFlow's protobuf text calls the types.
ONEFLOW_TYPES = {"kFloat": "<f4", "kDouble": "<f8", "kInt32": "<i4", "kInt64": "<i8", "kFloat16": "<f2"}


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Return the state dict of a PyTorch file, read with `weights_only=True`: nothing in it is run."""
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path} is a PyTorch file and torch is not installed: `pip install torch`, or convert it to "
            "safetensors with `python -m tools.convert` where torch is"
        ) from None
    try:
        content = torch.load(str(path), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a broken or unsafe file
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{path} cannot be read as a PyTorch file of plain tensors: {reason}") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a state dict")
    return {
        name: (value.float() if value.is_floating_point() else value).detach().numpy()
        for name, value in content.items()
        if isinstance(value, torch.Tensor)
    }


def read_oneflow_directory(path: Path) -> dict[str, np.ndarray]:
    """Return the variables of a directory written by OneFlow, or of its one sub-folder that is such."""
    if (path / "pickled_data").is_file():
        raise UserError(
            f"{path} holds a pickle, and reading a pickle can run any code that its maker put there. If you "
            f"trust it: python -m tools.convert --allow-pickle --weights {path} --output NAME.safetensors"
        )
    folders = [f for f in sorted(path.iterdir()) if f.is_dir() and not f.name.startswith((".", "__"))]
    variables = [folder for folder in folders if (folder / "out").is_file()]
    if variables:
        return {folder.name: read_variable(folder) for folder in variables}
    if len(folders) == 1:  # as unpacked from the published zip
        return read_oneflow_directory(folders[0])
    raise UserError(
        f"{path} holds no OneFlow weights: neither a file `pickled_data` nor folders with `meta` and `out`"
    )


def read_variable(folder: Path) -> np.ndarray:
    """Return one variable: its folder holds `meta`, protobuf text, and `out`, raw little-endian numbers."""
    try:
        meta = regular_file(folder / "meta").read_text()
        data = (folder / "out").read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the variable in {folder} cannot be read: {error}") from error
    # the shape is written `dim: 64 dim: 3` or `dim: [64, 3]`
    dims = re.findall(r"\bdim\s*:\s*(\[[\d\s,]*\]|\d+)", meta)
    shape = tuple(int(number) for dim in dims for number in re.findall(r"\d+", dim))
    kind = re.search(r"\bdata_type\s*:\s*(\w+)", meta)
    if kind is None or kind[1] not in ONEFLOW_TYPES:
        raise UserError(f"{folder / 'meta'} names no type of number known here: {meta.strip()[:200]!r}")
    dtype = np.dtype(ONEFLOW_TYPES[kind[1]])
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise UserError(
            f"{folder / 'out'} has {len(data)} bytes where its shape {shape} needs {expected}: fetch it again"
        )
    return np.frombuffer(data, dtype).reshape(shape)
