"""Reading and writing the network's weights, without OneFlow.

It reads safetensors (float16, float32, float64; weights or a training checkpoint), the old OneFlow directory
of the published files (one folder a variable) and, where torch is installed, a PyTorch `.pth`. `python -m
tools.convert` makes safetensors of them, and of the directories that `flow.save` writes.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from files.paths import atomic_path, regular_file
from utils import UserError, real, side

MAX_BYTES = 2**31  # of a file: a checkpoint of train.py has some 350 MB
# The names of the types in OneFlow's protobuf text.
ONEFLOW_TYPES = {"kFloat": "<f4", "kDouble": "<f8", "kInt32": "<i4", "kInt64": "<i8", "kFloat16": "<f2"}


def default_weights() -> str:
    """Return the path of the weights in this repository."""
    return str(Path(__file__).resolve().parent.parent / "weights" / "linknet34.safetensors")


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Return the state dict at `path`: float32 arrays, and int64 scalars for `num_batches_tracked`.

    Of a training checkpoint the averaged weights (EMA) are taken where there are any. Names are as stored,
    without a leading "module.". Raises UserError for whatever cannot be read.
    """
    path = existing_weights(path)
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES >> 30} GB: these are not LinkNet34's weights")
    if path.is_dir():
        state = read_oneflow_directory(path)
    elif path.suffix.lower() in (".pth", ".pt", ".tar", ".bin"):
        state = read_torch(path)
    else:
        state = read_safetensors(path)
    return normalise(state, path)


def weights_files(path: str | Path) -> list[Path]:
    """Return the files that weights are read from: the file itself, or all of a directory."""
    path = Path(path)
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def runtime_files(path: str | Path) -> list[Path]:
    """Return all that a runtime may read for these weights: theirs, and the two parts of their INT8 form."""
    form = int8_path(path)
    return [*weights_files(path), form, form.with_suffix(".bin")]


def int8_path(weights: str | Path) -> Path:
    """Return where the INT8 form of these weights belongs: NAME.safetensors -> NAME-int8.xml."""
    return Path(weights).with_name(f"{Path(weights).stem}-int8.xml")


def existing_weights(path: str | Path) -> Path:
    """Return `path`. Raises UserError, which says what to do, if nothing is there."""
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"there are no weights at {path}: check the path, train your own with `bash train.sh`, "
            "or fetch the published ones with `bash infer.sh --weights published`"
        )
    return path if path.is_dir() else regular_file(path)


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file; of a training checkpoint the weights only."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            names = list(file.keys())
            prefixes = (each for each in ("ema.", "model.") if any(name.startswith(each) for name in names))
            prefix = next(prefixes, "")
            weights = [name for name in names if name.startswith(prefix)]
            return {name.removeprefix(prefix): file.get_tensor(name) for name in weights}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of many types; a panic in safetensors' Rust is no Exception
        remedy = "it may be cut short: fetch it or write it again"
        raise UserError(f"{path} is not a readable safetensors file ({error}); {remedy}") from error


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Return the state dict of a PyTorch file, read with `weights_only=True`: nothing in it is run."""
    try:
        import torch
    except ImportError:
        remedy = "`bash tools/setup.sh torch` does it"
        raise UserError(f"{path} is a PyTorch file and torch is not installed: {remedy}") from None
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
            f"{path} holds a pickle, and reading a pickle can run any code that its maker put there. "
            "If you trust it: .venv/bin/python -m tools.convert --allow-pickle "
            f"--weights {path} --output NAME.safetensors"
        )
    folders = [f for f in sorted(path.iterdir()) if f.is_dir() and not f.name.startswith((".", "__"))]
    variables = [folder for folder in folders if (folder / "out").is_file()]
    if not variables and len(folders) == 1:  # as unpacked from the published zip
        return read_oneflow_directory(folders[0])
    if not variables:
        raise UserError(f"{path} holds no OneFlow weights: there are no folders with `meta` and `out`")
    return {folder.name: read_variable(folder) for folder in variables}


def read_variable(folder: Path) -> np.ndarray:
    """Return one variable: its folder holds `meta`, protobuf text, and `out`, raw little-endian numbers."""
    meta = regular_file(folder / "meta").read_text(errors="replace")
    # the shape is written `dim: 64 dim: 3` or `dim: [64, 3]`
    dims = re.findall(r"\bdim\s*:\s*(\[[\d\s,]*\]|\d+)", meta)
    shape = tuple(int(number) for dim in dims for number in re.findall(r"\d{1,18}", dim))
    kind = re.search(r"\bdata_type\s*:\s*(\w+)", meta)
    if kind is None or kind[1] not in ONEFLOW_TYPES or len(shape) > 4:
        raise UserError(f"{folder / 'meta'} describes no array of LinkNet34's: {meta.strip()[:200]!r}")
    out, dtype = regular_file(folder / "out"), np.dtype(ONEFLOW_TYPES[kind[1]])
    size, expected = out.stat().st_size, math.prod(shape) * dtype.itemsize
    if size != expected or size > MAX_BYTES:
        raise UserError(f"{out} has {size} bytes where its shape {shape} needs {expected}: fetch it again")
    return np.fromfile(out, dtype).reshape(shape)


def trained_size(path: str | Path) -> int:
    """Return the side in pixels of the examples that these weights were trained on, where they work best.

    256, the published size, where the file does not say. Raises UserError for a size that is not possible.
    """
    path = existing_weights(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
        size = metadata.get("size", 256)
        if "training_state" in metadata:  # a checkpoint of train.py
            size = json.loads(metadata["training_state"])["options"]["size"]
    except Exception:
        return 256  # another format; whether it can be read at all is for read_weights to say
    try:
        return side(size)
    except UserError as error:
        raise UserError(f"{path}: the size in its metadata: {error}") from None


def normalise(state: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Return the same arrays as float32, with a scalar `num_batches_tracked` for every running variance.

    Older versions of OneFlow and PyTorch did not store that counter, or stored it with the shape (1,).
    """
    if not state:
        raise UserError(f"{path} holds no arrays")
    result = {}
    for name, value in state.items():
        name = name.removeprefix("module.")
        if name.endswith("num_batches_tracked"):
            if value.size != 1:
                raise UserError(f"{name} in {path} has the shape {value.shape}; it must be one number")
            result[name] = np.array(int(real(0, 2**62)(value.item())), np.int64)
        else:
            with np.errstate(over="ignore"):  # whoever uses the weights checks that they are finite
                result[name] = value.astype(np.float32)
            if name.endswith("running_var"):
                result.setdefault(name.replace("running_var", "num_batches_tracked"), np.array(0, np.int64))
    return result


def write_weights(path: str | Path, state: dict, half: bool = False, metadata: dict | None = None) -> None:
    """Write {name: array} as a safetensors file, whole or not at all.

    half: store floating numbers as float16 (the logits move by about 1e-3). metadata: {str: str}. Raises
    UserError for a number too large for float16, OSError where `path` cannot be written.
    """
    arrays = {name: np.array(value, order="C") for name, value in state.items()}
    for name in [name for name, array in arrays.items() if half and array.dtype.kind == "f"]:
        with np.errstate(over="ignore"):
            arrays[name] = arrays[name].astype(np.float16)
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"{name} has numbers that float16 cannot hold: write it without half")
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays, metadata))
