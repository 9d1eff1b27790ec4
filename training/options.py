"""The options of train.py: `python train.py --help` prints them.

args = parse_arguments(["--size", "128"])
given = given_options(["--size", "128"])  # {"size": 128}
"""

from __future__ import annotations

import argparse

from utils import Parser, UserError, real, side, whole


def make_parser() -> Parser:
    parser = Parser("Train LinkNet34 on faces.", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    # what goes in and out
    add(
        "--data",
        default="faceseg_data",
        help="faceseg_data, or a folder with images/ and masks/ (or train/ and test/)",
    )
    add("--output", default="runs/train", help="folder of the run")
    add("--weights", help="start from these weights of the whole network")
    add("--backbone", help="start the encoder from these ResNet34 weights, or none")
    add("--resume", metavar="CHECKPOINT", help="continue this run exactly; the other options come from it")
    add("--demo", action="store_true", help="train on generated pictures for a few minutes; needs no data")
    add(
        "--skip-bad",
        action="store_true",
        help="leave out unreadable pictures and odd masks instead of stopping",
    )
    add(
        "--mask-threshold",
        type=whole(1, 255),
        help="from here on a mask file shows face (JPEG masks need it)",
    )
    # the recipe
    add("--size", type=side, default=256, help="side of the training examples, a multiple of 32")
    add(
        "--sizes",
        type=checked_sizes,
        metavar="SIZE:SHARE,...",
        help="sizes one after the other, with their shares of the training, as in 160:0.6,224:0.4",
    )
    add("--epochs", type=whole(1, 100_000), default=40)
    add(
        "--minutes",
        type=real(0.001, 1e6),
        help="end the schedule after this time, however many epochs it makes",
    )
    add("--batch-size", type=whole(1, 65_536), default=16, help="pictures in a step of one process")
    add(
        "--optimizer",
        choices=("adamw", "sgd"),
        default="adamw",
        help="sgd has momentum 0.9",
    )
    add("--lr", type=real(1e-9, 100), default=1e-3, help="highest learning rate")
    add("--weight-decay", type=real(0, 100), default=0.02)
    add("--warmup", type=whole(0), default=300, help="steps in which the learning rate rises from zero")
    add("--jaccard-weight", type=real(0, 100), default=1.0, help="of -log(soft IoU), beside cross-entropy")
    add(
        "--clip",
        type=real(1e-6, 1e6),
        default=2.0,
        help="largest norm of the gradient of the weights, and of the biases",
    )
    add("--ema", type=real(0, 0.999999), default=0.998, help="decay of the averaged weights")
    add("--balance", action="store_true", help="show small groups (names' starts) up to four times an epoch")
    add("--no-face", metavar="DIR", help="train also on the pictures of this folder, which show no face")
    add(
        "--val",
        type=real(0, 0.99),
        default=0.05,
        help="share of the training pictures, by person, kept for validation",
    )
    add("--seed", type=whole(0, 2**63 - 1), default=0)
    # the machine
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--graph", action="store_true", help="compile the step on a CPU too (one process)")
    add(
        "--kernels",
        choices=("oneflow", "torch"),
        default="oneflow",
        help="what computes the network on a CPU: PyTorch does it several times as fast",
    )
    add(
        "--no-amp",
        action="store_true",
        help="full precision on a GPU (several GPUs always have it) and in PyTorch's kernels",
    )
    add(
        "--workers",
        type=whole(0, 1024),
        default=2,
        help="threads that load and augment pictures, for each training process",
    )
    add(
        "--save-minutes",
        type=real(0, 100_000),
        default=5.0,
        help="write the last checkpoint this often, also inside an epoch",
    )
    return parser


def split_sizes(text: str) -> list:
    """Read --sizes: "160:0.6,224:0.4" is [[160, 0.6], [224, 0.4]]. Raises UserError for anything else."""
    parts = [part.partition(":") for part in text.split(",")]
    found = [[side(size), real(1e-6, 1)(share)] for size, _, share in parts]
    if abs(sum(share for _, share in found) - 1) > 1e-6:
        raise UserError(f"{text}: the shares must add up to 1, as in 160:0.6,224:0.4")
    return found


def checked_sizes(text: object) -> str:
    split_sizes(str(text))
    return str(text)


def given_options(arguments: list | None = None) -> dict:
    """Only the options that stand in the arguments (those of the process if None): {name: value}."""
    parser = make_parser()
    unset = argparse.Namespace(**dict.fromkeys(vars(parser.parse_args([]))))  # argparse leaves what is there
    found = vars(parser.parse_args(arguments, unset))
    return {name: value for name, value in found.items() if value is not None}


def parse_arguments(arguments: list | None = None) -> argparse.Namespace:
    """All options, given or by default. Ends the process with a message if one cannot be."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    if args.kernels == "torch" and (args.graph or args.device == "cuda"):
        parser.error(
            "--kernels torch is for training step by step on a CPU: it goes without --graph and cuda"
        )
    if args.demo and "data" in given_options(arguments):
        parser.error("--demo trains on generated pictures: it goes without --data")
    if args.weights and args.backbone not in (None, "none"):
        parser.error("--weights hold the encoder too: they go without --backbone")
    if args.demo:
        parser.set_defaults(size=64, epochs=12, batch_size=8, val=0.15, output="runs/demo")
        args = parser.parse_args(arguments)
    if args.sizes:
        if "size" in given_options(arguments):
            parser.error("--sizes say it all: they go without --size")
        args.size = split_sizes(args.sizes)[-1][0]  # what the weights will be used at
    if args.minutes and args.graph:
        parser.error("--minutes go without --graph, whose schedule is compiled for a number of steps")
    return args
