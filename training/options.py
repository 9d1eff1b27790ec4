"""The options of train.py, which are the recipe of a training: `python train.py --help` prints them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, fields

from utils import Parser, UserError, integer, real, side


def option(default: object, help: str = "", **more):
    """Return a field of Recipe; `more` is what `argparse` is given for it."""
    shown = "" if default is None or default is False else f" (default: {default})"
    return field(default=default, metadata={"help": (help + shown).strip(), **more})


def split_sizes(text: str) -> list:
    """Return [[160, 0.6], [224, 0.4]] for "160:0.6,224:0.4". Raises UserError for anything else."""
    parts = [part.partition(":") for part in text.split(",")]
    sizes = [[side(size), real(1e-6, 1)(share)] for size, _, share in parts]
    if abs(sum(share for _, share in sizes) - 1) > 1e-6:
        raise UserError(f"{text}: the shares must add up to 1, as in 160:0.6,224:0.4")
    return sizes


def split_more(text: str) -> dict:
    """Return {"lfw": 2, "celeb": 3} for "lfw,celeb:3". Raises UserError for anything else."""
    parts = [part.partition(":") for part in text.split(",")]
    return {group: integer(1, 100)(times) if colon else 2 for group, colon, times in parts}


def checked_by(split: Callable) -> Callable[[str], str]:
    """Return a converter that keeps text which `split` can read."""
    return lambda text: split(text) and text


FLAG = {"action": "store_true"}
PATHS = ("data", "no_face", "labels", "output", "weights", "backbone", "resume")
MACHINES_OWN = (*PATHS, "device", "workers", "save_minutes")  # may differ between machines


@dataclass
class Recipe:
    """All that decides a training: each field is an option of train.py. Raises UserError for a bad value."""

    # input and output
    data: str = option("faceseg_data", "arrays, or a folder of images/ and masks/, or train/ and test/")
    output: str = option("runs/train", "folder of the run")
    weights: str | None = option(None, "start from these weights of LinkNet34")
    backbone: str | None = option(None, "start the encoder from these ResNet34 weights, or none")
    resume: str | None = option(None, "continue this run exactly, with its options", metavar="CHECKPOINT")
    demo: bool = option(False, "train on generated pictures for a few minutes; needs no data", **FLAG)
    skip_bad: bool = option(False, "leave out unreadable pictures and bad masks", **FLAG)
    mask_threshold: int | None = option(None, "grey level from which a mask is face", type=integer(1, 255))
    # the recipe proper
    size: int = option(256, "side of the training examples, a multiple of 32", type=side)
    sizes: str | None = option(
        None, "sizes in turn, with shares: 160:0.6,224:0.4", type=checked_by(split_sizes)
    )
    gentle: float = option(0.0, "last share of the run, with most examples only cropped", type=real(0, 1))
    epochs: int = option(40, type=integer(1, 100_000))
    minutes: float | None = option(None, "end the run after this time instead", type=real(0.001, 1e6))
    batch_size: int = option(16, "pictures in a step of one process", type=integer(1, 65_536))
    optimizer: str = option("adamw", "sgd has momentum 0.9", choices=("adamw", "sgd"))
    lr: float = option(1e-3, "highest learning rate", type=real(1e-9, 100))
    weight_decay: float = option(0.02, type=real(0, 100))
    warmup: int = option(300, "steps in which the learning rate rises from zero", type=integer(0))
    jaccard_weight: float = option(1.0, "of -log(soft IoU), added to cross-entropy", type=real(0, 100))
    clip: float = option(2.0, "largest gradient norm, of weights and of biases", type=real(1e-6, 1e6))
    ema: float = option(0.998, "decay of the averaged weights", type=real(0, 0.999999))
    balance: bool = option(False, "show small groups (names' starts) up to four times an epoch", **FLAG)
    more: str | None = option(None, "groups to show twice, or as in lfw,celeb:3", type=checked_by(split_more))
    no_face: str | None = option(None, "train also on this folder's pictures, without a face", metavar="DIR")
    labels: str | None = option(None, "list of masks that are wrong, and what to do", metavar="FILE")
    val: float = option(0.05, "share of the pictures, by person, for validation", type=real(0, 0.99))
    seed: int = option(0, type=integer(0, 2**63 - 1))
    # the machine
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    kernels: str = option("oneflow", "torch is several times as fast on a CPU", choices=("oneflow", "torch"))
    no_amp: bool = option(False, "float32 in PyTorch's kernels, where they would take bfloat16", **FLAG)
    workers: int = option(2, "threads of each process that make examples", type=integer(0, 1024))
    save_minutes: float = option(5.0, "write last.safetensors this often", type=real(0, 1e5))

    def __post_init__(self):
        for each in fields(self):
            value, convert = getattr(self, each.name), each.metadata.get("type", str)
            try:
                if value not in each.metadata.get("choices", (value,)):
                    raise UserError(f"{value!r} is none of {', '.join(each.metadata['choices'])}")
                if value is not None:
                    convert(value)
            except UserError as error:
                raise UserError(f"{option_name(each.name)}: {error}") from None
        if self.kernels == "torch" and self.device == "cuda":
            raise UserError("--kernels torch trains on a CPU: it does not go with --device cuda")
        if self.weights and self.backbone not in (None, "none"):
            raise UserError("--weights hold the encoder too: they do not go with --backbone")

    def size_at(self, progress: float) -> int:
        """Return the size to train at when `progress` (0..1) of the training is done."""
        until = 0.0
        for size, share in split_sizes(self.sizes) if self.sizes else ():
            until += share
            if progress < until - 1e-9:
                return size
        return self.size


def option_name(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def make_parser() -> Parser:
    """Return a parser of the options that are given: the defaults are Recipe's."""
    parser = Parser("Train LinkNet34 on faces.")
    for each in fields(Recipe):
        parser.add_argument(option_name(each.name), default=argparse.SUPPRESS, **each.metadata)
    return parser


def given_options(arguments: list | None = None) -> dict:
    """Return only the options that stand in the arguments (the process's if None): {name: value}."""
    return vars(make_parser().parse_args(arguments))


def parse_arguments(arguments: list | None = None) -> Recipe:
    """Return all options, given or by default. Ends the process with a message for impossible ones."""
    parser, given, defaults = make_parser(), given_options(arguments), {}
    if "demo" in given:
        defaults = {"size": 64, "epochs": 12, "batch_size": 8, "val": 0.15, "output": "runs/demo"}
    if "sizes" in given:  # the last one is what the weights are for
        defaults["size"] = split_sizes(given["sizes"])[-1][0]
    if "demo" in given and "data" in given:
        parser.error("--demo trains on generated pictures: it does not go with --data")
    if "sizes" in given and "size" in given:
        parser.error("--sizes replace --size: give one of them")
    try:
        return Recipe(**{**defaults, **given})
    except UserError as error:
        parser.error(str(error))
