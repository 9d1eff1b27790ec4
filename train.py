"""Train LinkNet34 on faces.

    python train.py --data faceseg_data --backbone resnet34.safetensors  # as published, on a GPU
    python train.py --data my_faces --size 128 --epochs 10  # on a laptop, from random weights
    python train.py --resume runs/train/last.safetensors  # continue where it stopped
    python -m training.launch --processes 2 train.py ...  # several GPUs or CPU processes

`bash train.sh` does the same, and sets up what is needed first. A run writes to its folder `last.safetensors`
and `best.safetensors` (resumable checkpoints, which infer.py and evaluate.py read too), `log.csv` and
`curves.png`.
"""

from __future__ import annotations

import faulthandler
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from files.paths import checked_name, lock
from runtimes.network import check_linknet34
from training.checkpoint import Checkpoint, read_checkpoint
from training.options import given_options, option_name, parse_arguments
from utils import UserError, run

PATIENCE = 5  # seconds for the other processes to end as well
WRITTEN = ("last.safetensors", "best.safetensors", "log.csv", "curves.png")


def main() -> int:
    recipe, checkpoint = parse_arguments(), None
    if recipe.resume:
        checkpoint = read_to_resume(recipe.resume, given_options())
        recipe = checkpoint.recipe
    else:
        check_output(Path(recipe.output))
    from training.loop import Training  # late: it takes seconds, and there may be no OneFlow here

    training = Training(recipe, checkpoint)
    claim(Path(recipe.output), training.rank)
    if not recipe.resume and training.rank == 0:
        check_output(Path(recipe.output))  # again: it took a while, and another training may have been here
    return training.run()


def check_output(folder: Path) -> None:
    """Raise UserError if the folder holds a training already: a new one would write over it."""
    last = folder / "last.safetensors"
    for name in WRITTEN:
        if (folder / name).exists():
            continuing = f"continue it with --resume {last}, or " if last.exists() else ""
            raise UserError(f"{folder} holds a training's {name}: {continuing}choose another --output")


def claim(folder: Path, rank: int) -> None:
    """Hold the folder until this process ends. Raises UserError where another training holds it, or no file
    can be written, before hours of work.
    """
    checked_name(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        if rank == 0:
            lock(folder.resolve())
    except BlockingIOError:
        raise UserError(f"another training is writing to {folder}; choose another --output") from None
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; choose another --output") from error


def read_to_resume(path: str, given: dict) -> Checkpoint:
    """Return the checkpoint, with the recipe to go on by: its own, but for what is this machine's.

    given: the options that the user named. Raises UserError where one of them differs from the checkpoint's,
    or its weights and their average are not LinkNet34's, or a tensor is not float32.
    """
    checkpoint = read_checkpoint(path)
    for prefix in ("model.", "ema."):
        check_linknet34(checkpoint.part(prefix))
    for name, array in checkpoint.tensors.items():
        if array.dtype != np.float32 and not name.endswith("num_batches_tracked"):
            raise UserError(f"the checkpoint's {name} is {array.dtype} instead of float32")
    recipe, folder = checkpoint.recipe, Path(path).parent
    anew = f"start anew with --weights {path}"
    output = given.get("output", folder)
    if Path(output).resolve() != folder.resolve():
        raise UserError(f"--output {output} does not go with --resume, which writes to {folder}; {anew}")
    last = folder / "last.safetensors"
    if last.exists() and not last.samefile(path):
        remedy = f"copy it, as {last.name}, to its own folder"
        raise UserError(f"going on from {path} would write over {last}: {remedy}")
    free = {"resume", "output", "device", "workers", "save_minutes"}
    if not recipe.demo:  # pictures may have moved
        free |= {name for name in ("data", "no_face", "labels") if getattr(recipe, name)}
    for name, value in given.items():
        before = getattr(recipe, name)
        if name not in free and value != before:
            begun = "without" if before is None else f"with {before}"
            fault = f"{option_name(name)} {value} does not go with --resume"
            raise UserError(f"{fault}, which goes on as the training was begun ({begun}); {anew}")
    checkpoint.recipe = replace(recipe, **{**given, "resume": path, "output": str(folder)})
    return checkpoint


if __name__ == "__main__":
    try:
        run(main)
    except SystemExit as end:
        if 0 < end.code < 128 and os.environ.get("WORLD_SIZE", "1") != "1":
            # OneFlow's exit waits for the other processes. Those that do not fail too wait for this one.
            nowhere = open(os.devnull, "w")  # noqa: SIM115 (it stays open)
            faulthandler.dump_traceback_later(PATIENCE, exit=True, file=nowhere)
        raise
