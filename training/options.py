"""The options of train.py: `python train.py --help` prints them."""

from __future__ import annotations

import argparse

from utils import Parser, UserError, integer, real, side


def make_parser() -> Parser:
    parser = Parser("Train LinkNet34 on faces.", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    # what goes in and out
    folders = "faceseg_data, or a folder with images/ and masks/ (or train/ and test/)"
    add("--data", default="faceseg_data", help=folders)
    add("--output", default="runs/train", help="folder of the run")
    add("--weights", help="start from these weights of the whole network")
    add("--backbone", help="start the encoder from these ResNet34 weights, or none")
    add("--resume", metavar="CHECKPOINT", help="continue this run exactly; the other options come from it")
    add("--demo", action="store_true", help="train on generated pictures for a few minutes; needs no data")
    add("--skip-bad", action="store_true", help="leave out unreadable pictures and odd masks, do not stop")
    add("--mask-threshold", type=integer(1, 255), help="from here on a mask shows face (JPEG masks need it)")
    # the recipe
    add("--size", type=side, default=256, help="side of the training examples, a multiple of 32")
    sizes = "sizes one after the other, with their shares of the training, as in 160:0.6,224:0.4"
    add("--sizes", type=checked_sizes, metavar="SIZE:SHARE,...", help=sizes)
    gentle = "share of the training, at its end, in which most examples are cropped and not changed further"
    add("--gentle", type=real(0, 1), default=0.0, help=gentle)
    add("--epochs", type=integer(1, 100_000), default=40)
    add("--minutes", type=real(0.001, 1e6), help="end the schedule after this time, at whatever epoch")
    add("--batch-size", type=integer(1, 65_536), default=16, help="pictures in a step of one process")
    add("--optimizer", choices=("adamw", "sgd"), default="adamw", help="sgd has momentum 0.9")
    add("--lr", type=real(1e-9, 100), default=1e-3, help="highest learning rate")
    add("--weight-decay", type=real(0, 100), default=0.02)
    add("--warmup", type=integer(0), default=300, help="steps in which the learning rate rises from zero")
    add("--jaccard-weight", type=real(0, 100), default=1.0, help="of -log(soft IoU), beside cross-entropy")
    add("--clip", type=real(1e-6, 1e6), default=2.0, help="largest gradient norm, of weights and of biases")
    add("--ema", type=real(0, 0.999999), default=0.998, help="decay of the averaged weights")
    add("--balance", action="store_true", help="show small groups (names' starts) up to four times an epoch")
    more = "show the pictures of these groups (their names' starts) this many times as often (2 if not said)"
    add("--more", type=checked_more, metavar="GROUP[:TIMES],...", help=more)
    add("--no-face", metavar="DIR", help="train also on the pictures of this folder, which show no face")
    add("--val", type=real(0, 0.99), default=0.05, help="share of the pictures, by person, for validation")
    add("--seed", type=integer(0, 2**63 - 1), default=0)
    # the machine
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--graph", action="store_true", help="compile the step on a CPU too (one process)")
    kernels = "what computes the network on a CPU: PyTorch does it several times as fast"
    add("--kernels", choices=("oneflow", "torch"), default="oneflow", help=kernels)
    precision = "full precision on a GPU (several GPUs always have it) and in PyTorch's kernels"
    add("--no-amp", action="store_true", help=precision)
    add("--workers", type=integer(0, 1024), default=2, help="threads of each process that make examples")
    add("--save-minutes", type=real(0, 1e5), default=5.0, help="write last.safetensors this often")
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


def split_more(text: str) -> dict:
    """Read --more: "lfw,celeb:3" is {"lfw": 2, "celeb": 3}. Raises UserError for anything else."""
    parts = [part.partition(":") for part in text.split(",")]
    return {group: integer(1, 100)(times) if colon else 2 for group, colon, times in parts}


def checked_more(text: object) -> str:
    split_more(str(text))
    return str(text)


def given_options(arguments: list | None = None) -> dict:
    """Return only the options that stand in the arguments (the process's if None): {name: value}."""
    parser = make_parser()
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    return vars(parser.parse_args(arguments))


def parse_arguments(arguments: list | None = None) -> argparse.Namespace:
    """Return all options, given or by default. Ends the process with a message if one cannot be."""
    parser = make_parser()
    args, given = parser.parse_args(arguments), given_options(arguments)
    if args.demo:
        parser.set_defaults(size=64, epochs=12, batch_size=8, val=0.15, output="runs/demo")
        args = parser.parse_args(arguments)
    if args.kernels == "torch" and (args.graph or args.device == "cuda"):
        parser.error("--kernels torch trains step by step on a CPU: it goes without --graph and cuda")
    if args.demo and "data" in given:
        parser.error("--demo trains on generated pictures: it goes without --data")
    if args.weights and args.backbone not in (None, "none"):
        parser.error("--weights hold the encoder too: they go without --backbone")
    if args.sizes and "size" in given:
        parser.error("--sizes say it all: they go without --size")
    if args.graph and (args.minutes or args.sizes):
        parser.error("--graph compiles one size and a number of steps: it goes without --sizes and --minutes")
    if args.sizes:
        args.size = split_sizes(args.sizes)[-1][0]  # what the weights will be used at
    return args
