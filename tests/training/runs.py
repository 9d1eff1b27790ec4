"""What the tests of trainings share: small data, options for seconds of training, ways to run one."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2

import train
from training import loop
from training.demo import DemoFaces
from training.options import given_options, parse_arguments

ROOT = Path(__file__).parents[2]
# PyTorch's where they are installed: they take a fifth of the time.
KERNELS = "torch" if importlib.util.find_spec("torch") else "oneflow"


def write_pairs(folder, count):
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    pairs = DemoFaces(count, size=48, seed=3)
    for name, (image, mask) in zip(pairs.names, pairs):
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image[:, :40, ::-1])
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask[:, :40])


def options(data, output, *more):
    return [
        *("--data", str(data), "--output", str(output), "--size", "32", "--batch-size", "4", "--epochs", "2"),
        *("--val", "0.15", "--workers", "0", "--device", "cpu", *more),
    ]


def command(*arguments):
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def run(*arguments, **more):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300, **more)


def train_here(arguments, stop_at=None):
    recipe, checkpoint = parse_arguments(arguments), None
    if recipe.resume:
        checkpoint = train.read_to_resume(recipe.resume, given_options(arguments))
        recipe = checkpoint.recipe
    training = loop.Training(recipe, checkpoint)
    if stop_at is not None:
        training.stop.made = lambda device: training.state.step == stop_at
        training.stop.signal = signal.SIGTERM
    return training.run()


def resume(path, *more):
    return train.read_to_resume(str(path), given_options(["--resume", str(path), *more]))


def wait_for(condition, process, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the training ended by itself"
        assert time.monotonic() < end, "the training did not start"
        time.sleep(0.1)
