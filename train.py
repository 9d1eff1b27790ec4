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
import copy
import json
import math
import signal
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from checkpoint import CheckpointError, read_checkpoint, with_prefix, without_prefix, write_checkpoint
from curves import append_log, plot_curves
from dataset import (
    DataError,
    PlainExamples,
    TrainExamples,
    open_dataset,
    readable_indices,
    split_by_person,
)
from demo import DemoFaces
from linknet import STRIDE, LinkNet34
from losses import image_iou, segmentation_loss
from quiet import flow
from utils import ImageError
from weights import WeightsError, backbone_to_encoder, check_linknet34, read_weights


def parse_arguments(arguments: list | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train LinkNet34 on faces.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    # what goes in and out
    add(
        "--data",
        default="faceseg_data",
        help="faceseg_data, or a folder with images/ and masks/ (or train/ and test/)",
    )
    add("--output", default="runs/train", help="folder of the run")
    add("--weights", help="start from these weights of the whole network")
    add("--backbone", help="start the encoder from these ResNet34 weights")
    add("--resume", metavar="CHECKPOINT", help="continue this run exactly; the other options come from it")
    add("--demo", action="store_true", help="train on generated pictures for a few minutes; needs no data")
    add(
        "--skip-bad",
        action="store_true",
        help="leave out unreadable pictures and odd masks instead of stopping",
    )
    add(
        "--allow-pickle",
        action="store_true",
        help="let OneFlow unpickle --weights or --backbone: only files you trust",
    )
    # the recipe
    add("--size", type=int, default=256, help="side of the training examples, a multiple of 32")
    add("--epochs", type=int, default=40)
    add("--batch-size", type=int, default=16, help="pictures in a step of one process")
    add(
        "--optimizer",
        choices=("adamw", "sgd"),
        default="adamw",
        help="sgd, with --lr 0.05, is the published one",
    )
    add("--lr", type=float, default=1e-3, help="highest learning rate")
    add("--weight-decay", type=float, default=0.02)
    add("--warmup", type=int, default=300, help="steps in which the learning rate rises from zero")
    add("--jaccard-weight", type=float, default=1.0, help="of -log(soft IoU), beside the cross-entropy")
    add("--clip", type=float, default=2.0, help="largest norm of the gradient")
    add("--ema", type=float, default=0.998, help="decay of the averaged weights")
    add(
        "--val",
        type=float,
        default=0.05,
        help="share of the training pictures, by person, kept for validation",
    )
    add("--seed", type=int, default=0)
    # the machine
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add(
        "--workers",
        type=int,
        default=2,
        help="processes that load and augment pictures, for each training process",
    )
    add(
        "--save-minutes",
        type=float,
        default=5.0,
        help="write the last checkpoint this often, also inside an epoch",
    )
    args = parser.parse_args(arguments)
    if args.size < STRIDE or args.size % STRIDE:
        parser.error(f"--size {args.size}: it must be a multiple of {STRIDE}")
    for name in ("epochs", "batch_size", "lr", "clip"):
        if getattr(args, name) <= 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0")
    if not 0 <= args.val < 1 or not 0 <= args.ema < 1:
        parser.error("--val and --ema must be in 0..1, without 1")
    return args


def main() -> None:
    args = parse_arguments()
    try:
        tensors, state = resume(args) if args.resume else ({}, None)
        train(args, tensors, state)
    except (CheckpointError, DataError, ImageError, WeightsError, OSError) as error:
        sys.exit(f"train.py: {error}")


def resume(args: argparse.Namespace) -> tuple:
    """Read the checkpoint and take over its options, except those about the machine and the data's place."""
    tensors, state = read_checkpoint(args.resume)
    given_now = {"resume", "output", "device", "workers", "save_minutes", "skip_bad"}
    if args.data != parse_arguments([]).data:
        given_now.add("data")
    for name, value in state["options"].items():
        if name not in given_now:
            setattr(args, name, value)
    args.output = str(Path(args.resume).parent)
    return tensors, state


def train(args: argparse.Namespace, tensors: dict, state: dict | None) -> None:
    rank, world = flow.env.get_rank(), flow.env.get_world_size()
    device = choose_device(args.device)
    pairs, train_indices, val_indices = open_pairs(args)
    examples = TrainExamples(pairs, train_indices, args.size, args.seed)
    validation = PlainExamples(pairs, val_indices[rank::world], args.size)
    steps_per_epoch = len(examples) // (args.batch_size * world)
    if steps_per_epoch == 0:
        raise DataError(
            f"{len(examples)} training pictures are fewer than one step's {args.batch_size * world}"
        )
    total_steps = steps_per_epoch * args.epochs

    flow.manual_seed(args.seed)
    model = LinkNet34()
    if state is None:
        load_start(model, args)
        state = {"step": 0, "best_iou": -1.0, "epoch_loss": 0.0, "epoch_iou": 0.0, "epoch_steps": 0}
    else:
        load_arrays(model, without_prefix("model.", tensors))
    if state["step"] > 0 and state.get("world", world) != world:
        raise CheckpointError(
            f"{args.resume} was made by {state['world']} processes; resume with as many (NPROC)"
        )
    state.update(world=world, options=vars(args))
    model.to(device)
    average = copy.deepcopy(
        model
    )  # exponential moving average of the weights (EMA): what is evaluated and kept
    if "ema.firstconv.weight" in tensors:
        load_arrays(average, without_prefix("ema.", tensors))
    average.eval()
    optimizer = make_optimizer(model, args)
    load_optimizer(optimizer, without_prefix("optimizer.", tensors), state)
    network = flow.nn.parallel.DistributedDataParallel(model) if world > 1 else model

    output = Path(args.output)
    if rank == 0:
        print(
            f"{len(examples)} training and {len(val_indices)} validation pictures at {args.size} pixels, "
            f"{args.epochs} epochs of {steps_per_epoch} steps, batch {args.batch_size} x {world} on {device}"
        )
    stop = StopRequest()
    saved = time.monotonic()
    while state["step"] < total_steps:
        epoch, first_step = divmod(state["step"], steps_per_epoch)
        model.train()
        started, done = time.monotonic(), 0
        batches = load_epoch(examples, epoch, first_step, steps_per_epoch, args, rank, world)
        progress = tqdm(
            batches,
            desc=f"epoch {epoch + 1}/{args.epochs}",
            total=steps_per_epoch,
            initial=first_step,
            disable=rank > 0,
        )
        for image, mask in progress:
            lr = learning_rate(state["step"], total_steps, args.warmup, args.lr)
            for group in optimizer.param_groups:
                group["lr"] = lr
            mask = mask.to(device)
            logits = network(image.to(device))
            loss = segmentation_loss(logits, mask, args.jaccard_weight)
            loss.backward()
            flow.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
            optimizer.step()
            optimizer.zero_grad()
            update_average(average, model, min(args.ema, (1 + state["step"]) / (10 + state["step"])))

            loss_value, iou = float(loss.numpy()), float(image_iou(logits.detach(), mask).mean().numpy())
            if not math.isfinite(loss_value):
                raise DataError(f"the loss became {loss_value} at step {state['step']}; try a lower --lr")
            state["step"] += 1
            state["epoch_steps"] += 1
            state["epoch_loss"] += loss_value
            state["epoch_iou"] += iou
            done += image.shape[0] * world
            rate = done / (time.monotonic() - started)
            progress.set_postfix(
                loss=f"{loss_value:.3f}", iou=f"{iou:.3f}", lr=f"{lr:.1e}", images_s=f"{rate:.1f}"
            )
            stopping = stop.requested(device)
            due = time.monotonic() - saved > args.save_minutes * 60
            if rank == 0 and (stopping or due):
                save(output / "last.safetensors", model, average, optimizer, state)
                saved = time.monotonic()
            if stopping:
                progress.close()
                if rank == 0:
                    print(f"stopped; continue with --resume {output / 'last.safetensors'}")
                sys.exit(128 + stop.signal)

        val_iou = validate(average, validation, args, device, world)
        steps = state["epoch_steps"]
        row = {
            "epoch": epoch + 1,
            "step": state["step"],
            "lr": lr,
            "loss": sum_over_processes(state["epoch_loss"] / steps, device, world) / world,
            "train_iou": sum_over_processes(state["epoch_iou"] / steps, device, world) / world,
            "val_iou": val_iou,
            "images_per_second": rate,
        }
        state.update(epoch_loss=0.0, epoch_iou=0.0, epoch_steps=0)
        better = val_iou > state["best_iou"] or len(val_indices) == 0
        state["best_iou"] = max(val_iou, state["best_iou"])
        if rank == 0:
            append_log(output / "log.csv", row)
            plot_curves(output / "log.csv", output / "curves.png")
            save(output / "last.safetensors", model, average, optimizer, state)
            if better:
                save(output / "best.safetensors", model, average, optimizer, state)
            print("  ".join(f"{name} {value:.4g}" for name, value in row.items()))
    if rank == 0:
        print(f"best validation IoU {state['best_iou']:.4f}; weights: {output / 'best.safetensors'}")


def choose_device(wanted: str) -> flow.device:
    """Pick this process's device; OneFlow aborts when a missing GPU is used, so it is asked for first."""
    if wanted == "cpu" or (wanted == "auto" and not flow.cuda.is_available()):
        return flow.device("cpu")
    if not flow.cuda.is_available():
        sys.exit(
            "train.py: --device cuda, but OneFlow finds no usable GPU; use --device cpu or check the driver"
        )
    return flow.device("cuda", flow.env.get_local_rank())


def open_pairs(args: argparse.Namespace) -> tuple:
    """Open the data: (pairs, training indices, validation indices)."""
    pairs = (
        DemoFaces(count=240, size=args.size, seed=args.seed)
        if args.demo
        else open_dataset(args.data, "train")
    )
    train_indices, val_indices = split_by_person(pairs.names, args.val)
    if args.skip_bad:
        good, messages = readable_indices(pairs)
        print("\n".join([*messages, f"{len(messages)} bad pictures left out"]), file=sys.stderr)
        train_indices, val_indices = np.intersect1d(train_indices, good), np.intersect1d(val_indices, good)
    return pairs, train_indices, val_indices


def load_epoch(examples: TrainExamples, epoch: int, first_step: int, steps: int, args, rank: int, world: int):
    """Iterate over this process's part of an epoch's batches, from `first_step` on."""
    examples.set_epoch(epoch)
    batches = examples.order()[: steps * world * args.batch_size].reshape(steps, world, args.batch_size)
    mine = batches[first_step:, rank].ravel().tolist()
    return flow.utils.data.DataLoader(
        examples, batch_size=args.batch_size, sampler=mine, num_workers=args.workers
    )


def learning_rate(step: int, total_steps: int, warmup: int, highest: float) -> float:
    """Rise linearly over `warmup` steps, then fall to 1% along a cosine that ends with the training."""
    warmup = min(warmup, total_steps // 10)
    if step < warmup:
        return highest * (step + 1) / warmup
    progress = (step - warmup) / max(total_steps - warmup, 1)
    return highest * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)


def make_optimizer(model: LinkNet34, args: argparse.Namespace):
    """AdamW or SGD; biases and batch norm are not decayed."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": args.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if args.optimizer == "sgd":
        return flow.optim.SGD(groups, lr=args.lr, momentum=0.9)
    return flow.optim.AdamW(groups, lr=args.lr)


def update_average(average: LinkNet34, model: LinkNet34, decay: float) -> None:
    with flow.no_grad():
        for old, new in zip(average.parameters(), model.parameters()):
            old.mul_(decay).add_(new * (1 - decay))
        for old, new in zip(average.buffers(), model.buffers()):
            if old.dtype == flow.float32:
                old.mul_(decay).add_(new * (1 - decay))
            else:
                old.copy_(new)


def validate(average: LinkNet34, validation: PlainExamples, args, device, world: int) -> float:
    """Mean per-image IoU over the validation pictures of all processes; NaN where there are none."""
    if world > 1:
        for buffer in average.buffers():  # the processes saw different batches: all take rank 0's statistics
            flow.comm.broadcast(buffer, 0)
    total, count = 0.0, 0
    with flow.no_grad():
        for image, mask in flow.utils.data.DataLoader(
            validation, batch_size=args.batch_size, num_workers=args.workers
        ):
            iou = image_iou(average(image.to(device)), mask.to(device))
            total += float(iou.sum().numpy())
            count += image.shape[0]
    total, count = sum_over_processes(total, device, world), sum_over_processes(count, device, world)
    return total / count if count else math.nan


def sum_over_processes(value: float, device, world: int) -> float:
    if world == 1:
        return value
    tensor = flow.tensor([value], dtype=flow.float32, device=device)
    flow.comm.all_reduce(tensor)
    return float(tensor.numpy()[0])


class StopRequest:
    """Ctrl-C or SIGTERM, in any of the processes: the step is finished and a checkpoint written."""

    def __init__(self):
        self.signal = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.remember)

    def remember(self, number: int, frame) -> None:
        self.signal = number

    def requested(self, device) -> bool:
        world = flow.env.get_world_size()
        anywhere = sum_over_processes(self.signal, device, world)
        if anywhere and not self.signal:
            self.signal = signal.SIGTERM
        return anywhere > 0


def load_start(model: LinkNet34, args: argparse.Namespace) -> None:
    if args.weights:
        state = read_weights(args.weights, args.allow_pickle)
        check_linknet34(state)
        load_arrays(model, state)
    elif args.backbone:
        encoder = backbone_to_encoder(read_weights(args.backbone, args.allow_pickle))
        load_arrays(model, {**to_arrays(model), **encoder})


def load_arrays(model: LinkNet34, arrays: dict) -> None:
    model.load_state_dict({name: flow.tensor(array) for name, array in arrays.items()})


def to_arrays(model: LinkNet34) -> dict:
    """Give the state dict as NumPy arrays of their own memory."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in model.state_dict().items()}


def load_optimizer(optimizer, tensors: dict, state: dict) -> None:
    """Put back what `save` took out: the moments and the number of steps."""
    if not tensors:
        return
    saved = optimizer.state_dict()
    for name, array in tensors.items():
        index, moment = name.split(".")
        saved["state"].setdefault(int(index), {})[moment] = flow.tensor(array)
    saved["state"]["step"] = state["step"]
    optimizer.load_state_dict(saved)


def save(path: Path, model: LinkNet34, average: LinkNet34, optimizer, state: dict) -> None:
    moments = {
        f"optimizer.{index}.{name}": tensor.cpu().numpy().copy()
        for index, values in optimizer.state_dict()["state"].items()
        if index != "step"
        for name, tensor in values.items()
    }
    tensors = {
        **with_prefix("model.", to_arrays(model)),
        **with_prefix("ema.", to_arrays(average)),
        **moments,
    }
    write_checkpoint(path, tensors, json.loads(json.dumps(state)))


if __name__ == "__main__":
    main()
