"""Training and validation examples: which pairs they are made of, and how.

`pairs` are those of `dataset.open_dataset`; a mask has 0 = background, 255 = face and 128 = not judged.
"""

from __future__ import annotations

import os
import re
import sys

import numpy as np

from dataset import Pairs, group_of, open_dataset, readable_indices
from files.pictures import picture_files, read_image
from training.augment import as_given, augment
from training.crops import face_boxes, face_crop, warp
from training.demo import DemoFaces
from training.hands import find_hand
from training.labels import Relabelled, read_labels
from training.options import Recipe, split_more
from utils import FACE, UserError, log, preprocess

NO_FACE_SHARE = 0.02  # of the examples: those of pictures without a face
SEARCHED = 1000  # pictures without a face at most are searched for hands, a few milliseconds each


def open_pairs(recipe: Recipe, tell: bool = True) -> tuple:
    """Return (pairs, training indices, those of pictures without a face, validation indices).

    tell: print which pictures are left out. Raises UserError where none is left.
    """
    if recipe.demo:
        pairs = DemoFaces(count=180, size=recipe.size, seed=recipe.seed)
    else:
        pairs = open_dataset(recipe.data, "train", recipe.skip_bad, recipe.mask_threshold)
    train_indices, val_indices = split_by_person(pairs.names, recipe.val)
    if recipe.labels:
        pairs = Relabelled(pairs, read_labels(recipe.labels))
        train_indices = np.setdiff1d(train_indices, pairs.left_out)
        val_indices = np.setdiff1d(val_indices, pairs.left_out)
    count, without_face = len(pairs), np.array([], int)
    if recipe.no_face:
        pairs = WithNoFace(pairs, recipe.no_face)
        without_face = np.arange(count, len(pairs))
    if recipe.skip_bad:
        good, messages = readable_indices(pairs, count)
        if tell:
            print("\n".join([*messages[:20], f"{len(messages)} bad pictures left out"]), file=sys.stderr)
        train_indices, without_face, val_indices = (
            np.intersect1d(part, good) for part in (train_indices, without_face, val_indices)
        )
        if not len(train_indices) + len(val_indices):
            remedy = f"`.venv/bin/python dataset.py {recipe.data}` says why"
            raise UserError(f"no picture of {recipe.data} is left; {remedy}")
    if not len(train_indices):
        raise UserError(f"all {len(val_indices)} pictures are kept for validation; use a smaller --val")
    groups = np.array([group_of(name) for name in pairs.names])
    times = np.ones(len(groups), int)
    if recipe.balance:
        times[train_indices] = group_times(groups[train_indices])
    for group, factor in split_more(recipe.more).items() if recipe.more else ():
        if group not in groups[train_indices]:
            raise UserError(f"--more {recipe.more}: no training picture's name starts with {group}_")
        times[groups == group] *= factor
    return pairs, np.repeat(train_indices, times[train_indices]), without_face, val_indices


class WithNoFace(Pairs):
    """The given pairs, and after them the pictures of a folder, with masks that are background alone.

    Raises UserError if the folder holds no pictures.
    """

    def __init__(self, pairs: Pairs, folder: str | os.PathLike):
        self.pairs, self.paths = pairs, picture_files(folder)
        if not self.paths:
            raise UserError(f"{folder}: no picture is there; --no-face names a folder of such without a face")
        self.names = [*pairs.names, *(path.stem for path in self.paths)]

    def __getitem__(self, index: int) -> tuple:
        if index < len(self.pairs):
            return self.pairs[index]
        image = read_image(self.paths[index - len(self.pairs)])
        return image, np.zeros(image.shape[:2], np.uint8)


def split_by_person(names: list, fraction: float) -> tuple:
    """Return (training indices, validation indices), about `fraction` of them for validation.

    Names that differ only in a number at the end show one person: they stay on one side, or the validation
    would measure how well faces were remembered. A name with more than a tenth of the pictures and more than
    20 (or a quarter, if that is less) is that of a series, as in IMG_0001: each picture stands for itself. A
    smaller name of more than 20 may be either: all of it is trained on, where there are others.
    """
    persons = np.array([re.sub(r"_\d+$", "", name) for name in names])
    _, person, counts = np.unique(persons, return_inverse=True, return_counts=True)
    persons = np.where(counts[person] > max(min(20, len(names) / 4), len(names) / 10), names, persons)
    wanted = max(round(fraction * len(names)), int(fraction > 0))
    people, counts = np.unique(persons, return_counts=True)
    shuffled = np.random.default_rng(0).permutation(people)
    counts = counts[np.searchsorted(people, shuffled)]
    few = counts <= max(20, counts.min())
    shuffled, counts = shuffled[few], counts[few]
    held_out = np.isin(persons, shuffled[np.cumsum(counts) - counts < wanted])
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def group_times(groups: np.ndarray) -> np.ndarray:
    """Return how often each picture is shown in an epoch, so that small groups come up to four times: one
    with a quarter of the largest one's pictures twice, with a ninth three times.
    """
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.rint(np.sqrt(counts.max() / counts)).astype(int).clip(1, 4)[group]


class TrainExamples:
    """Augmented training examples, each a function of (seed, epoch, item, size) alone.

    An index that stands in `indices` twice makes two different examples. `without_face` are the indices of
    pictures without a face: NO_FACE_SHARE of the examples show a part of one, and hands and things before
    faces are cut from them. Set `epoch` before each epoch.
    """

    def __init__(self, pairs: Pairs, indices: np.ndarray, without_face: np.ndarray, seed: int):
        self.pairs, self.indices, self.without_face, self.seed = pairs, indices, without_face, seed
        searched = np.random.default_rng(seed).permutation(without_face)[:SEARCHED]
        found = (find_hand(pairs[int(index)][0]) for index in searched)
        self.hands = [hand for hand in found if hand is not None]
        more = len(indices) * NO_FACE_SHARE / (1 - NO_FACE_SHARE)
        self.count = len(indices) + (max(round(more), 1) if len(without_face) else 0)
        self.epoch = 0
        self.warned = False

    def __len__(self) -> int:
        return self.count

    def order(self) -> np.ndarray:
        """Return this epoch's shuffled order of the items."""
        return np.random.default_rng((self.seed, self.epoch)).permutation(len(self))

    def read(self, item: int, size: int, gentle: bool = False) -> tuple:
        """Return (image, mask): (3, S, S) float32 as the network takes it, (1, S, S) uint8 of 0, 128, 255.

        gentle: see augment.
        """
        rng = np.random.default_rng((self.seed, self.epoch, item))
        other, hand = None, None
        if len(self.without_face) and rng.random() < 0.25:  # few examples need one
            other, _ = self.pairs[int(rng.choice(self.without_face))]
        if self.hands:
            hand = self.hands[rng.integers(len(self.hands))]
        index = self.indices[item] if item < len(self.indices) else rng.choice(self.without_face)
        image, mask = self.pairs[int(index)]
        if not self.warned and item < len(self.indices) and not (mask == FACE).any():
            self.warned = True  # once is enough
            name = self.pairs.names[int(index)]
            log.warning("%s: its mask marks no face; --skip-bad leaves such pictures out", name)
        image, mask = augment(image, mask, size, rng, other, hand, gentle)
        return preprocess(image), mask[None]


def validation_example(pairs: Pairs, index: int, size: int) -> tuple:
    """Return (image, mask) as TrainExamples do, of a picture's largest face, or of all of it without one."""
    image, mask = pairs[index]
    boxes = face_boxes(mask) or [(0, 0, *mask.shape[::-1])]
    image, mask = warp(image, mask, face_crop(boxes[0], mask.shape, size), size)
    return preprocess(as_given(image)), mask[None]
