"""Train LinkNet34 on faces.

    python train.py --data faceseg_data --backbone resnet34.safetensors  # as published, on a GPU
    python train.py --data my_faces --size 128 --epochs 10  # on a laptop, from random weights
    python train.py --resume runs/train/last.safetensors  # go on where it stopped
    python -m oneflow.distributed.launch --nproc_per_node 2 train.py ...  # several GPUs or CPU processes

`bash train.sh` does the same, and sets up what is needed first. A run writes to its folder `last.safetensors`
and `best.safetensors` (resumable checkpoints, which infer.py and evaluate.py read too), `log.csv` and
`curves.png`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from files.paths import lock
from runtimes.network import check_linknet34
from training.checkpoint import read_checkpoint, without_prefix
from training.options import given_options, make_parser, parse_arguments
from utils import UserError, integer, real, run

WRITTEN = ("last.safetensors", "best.safetensors", "log.csv", "curves.png")


def main() -> int:
    args = parse_arguments()
    tensors, state = {}, None
    if args.resume:
        tensors, state = take_up(args, given_options())
    else:
        check_output(Path(args.output))
    from training.loop import Training  # late: it takes seconds, and there may be no OneFlow here

    training = Training(args, tensors, state)
    claim(Path(args.output), training.rank)
    return training.run()


def check_output(folder: Path) -> None:
    """Raise UserError if a training is in this folder already: a new one would write over it."""
    for name in WRITTEN:
        if (folder / name).exists():
            last = folder / "last.safetensors"
            going_on = f"go on with it with --resume {last}, or " if last.exists() else ""
            raise UserError(f"{folder} holds a training's {name}: {going_on}choose another --output")


def claim(folder: Path, rank: int) -> None:
    """Hold the folder until this process ends. Raises UserError where no file can be written, before hours of
    work are to be written there, or where another training holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        if rank == 0:
            lock(folder.resolve())
    except BlockingIOError:
        raise UserError(
            f"another training is writing to {folder}: wait for its end, or choose another --output"
        ) from None
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; choose another --output") from error


def take_up(args: argparse.Namespace, given: dict) -> tuple:
    """Read the checkpoint to resume and take its options over, all but those about this machine.

    given: the options that the user named. Raises UserError where one of them is another than the
    checkpoint's.
    """
    tensors, state = read_checkpoint(args.resume)
    check_state(state, args.resume)
    for prefix in ("model.", "ema."):
        check_linknet34(without_prefix(prefix, tensors))
    folder = Path(args.resume).parent
    anew = f"start anew with --weights {args.resume}"
    if "output" in given and Path(given["output"]).resolve() != folder.resolve():
        raise UserError(
            f"--output {given['output']} does not go with --resume, which goes on writing to {folder}; {anew}"
        )
    last = folder / "last.safetensors"
    if last.exists() and not last.samefile(args.resume):
        raise UserError(
            f"going on from {args.resume} would write over {last}: copy it, as {last.name}, to its own folder"
        )
    kept = {"resume", "output"} | given.keys() & {"device", "workers", "save_minutes"}
    if not state["options"].get("demo"):  # pictures may have moved
        kept |= {name for name in ("data", "no_face") if name in given and state["options"].get(name)}
    for name, value in {**vars(parse_arguments([])), **state["options"]}.items():
        if name in kept:
            continue
        if given.get(name, value) != value:
            raise UserError(
                f"--{name.replace('_', '-')} {given[name]} does not go with --resume, which goes on as the "
                f"training was begun ({'without' if value is None else f'with {value}'}); {anew}"
            )
        setattr(args, name, value)
    if args.kernels == "torch" and args.device == "cuda":
        raise UserError("--device cuda does not go with --resume: PyTorch's kernels train on a CPU; " + anew)
    args.output = str(folder)
    return tensors, state


def check_state(state: dict, path: str) -> None:
    """Raise UserError, saying what is wrong, unless a training can go on from these numbers."""
    needed = {"options", "step", "seconds", "epoch_sums", "best_iou", "log"}
    start = f"{path} is no checkpoint of this train.py:"
    if needed - state.keys():
        raise UserError(f"{start} it has no {', '.join(sorted(needed - state.keys()))}")
    try:
        step = integer(0)(state["step"])
        sums = [real(-1e12, 1e12)(value) for value in state["epoch_sums"]]
        real(0, 1e9)(state["seconds"]), real(-1, 1)(state["best_iou"])
        numbers = [float(value) for row in state["log"] for value in row.values()]
        ends = [integer(0, step)(row["step"]) for row in state["log"]]
        if len(sums) != 3 or ends != sorted(ends) or len(numbers) < len(ends):
            raise ValueError("numbers that do not fit each other")
        for action in make_parser()._actions:
            value = state["options"].get(action.dest)
            if value is not None and action.type is not None:
                action.type(value)
    except (AttributeError, KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{start} its training state is damaged ({error})") from None


if __name__ == "__main__":
    try:
        run(main)
    except SystemExit as end:
        # OneFlow's exit waits for the other processes, and those wait in their step for this one.
        if 0 < end.code < 128 and os.environ.get("WORLD_SIZE", "1") != "1":
            os._exit(end.code)
        raise
