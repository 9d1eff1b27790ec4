"""Training and validation examples: which pairs they are made of, and how.

    from training.examples import TrainExamples, split_by_person
    train_indices, val_indices = split_by_person(pairs.names, 0.05)
    examples = TrainExamples(pairs, train_indices, size=256, seed=0)
    image, mask = examples[0]  # (3, 256, 256) float32, as the network is given it, and (1, 256, 256) uint8

`pairs` are those of `dataset.open_dataset`; the values of a mask are 0 = background, 255 = face and 128 = not
judged.
"""

from __future__ import annotations

import re

import numpy as np

from training.augment import augment, resize_mask
from utils import UserError, preprocess


def split_by_person(names: list, fraction: float, seed: int = 0) -> tuple:
    """Give (training indices, validation indices), about `fraction` of them for validation.

    Names that differ only in a number at the end, as NAME_0001 and NAME_0002, show one person: they stay on
    one side, or the validation would measure how well faces were remembered. A name with more than a tenth of
    the pictures and more than 20 (or a quarter, if that is less) is no person's but that of a series, as in
    IMG_0001: each picture of it stands for itself.
    """
    persons = np.array([re.sub(r"_\d+$", "", name) for name in names])
    _, person, counts = np.unique(persons, return_inverse=True, return_counts=True)
    persons = np.where(counts[person] > max(min(20, len(names) / 4), len(names) / 10), names, persons)
    shuffled = np.random.default_rng(seed).permutation(np.unique(persons))
    wanted = max(round(fraction * len(names)), 1 if fraction > 0 else 0)
    held_out, count = set(), 0
    for person in shuffled:
        if count >= wanted:
            break
        held_out.add(person)
        count += int((persons == person).sum())
    is_held_out = np.isin(persons, list(held_out))
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def repeat_group(indices: np.ndarray, names: list, group: str, times: int) -> np.ndarray:
    """Give `indices` with those of the pictures named GROUP_... standing there `times` times.

    Raises UserError where no picture has such a name.
    """
    members = np.array([names[index].startswith(f"{group}_") for index in indices], bool)
    if not members.any():
        raise UserError(f"no training picture's name starts with {group}_, which --repeat names")
    return np.repeat(indices, np.where(members, times, 1))


class TrainExamples:
    """Augmented training examples: item i is (image, mask), (3, S, S) float32 and (1, S, S) uint8.

    The image is what the network is given, the mask has the values 0, 128, 255.

    An example is a function of (seed, epoch, gentle, item) alone: whatever the number of loader workers, and
    after a resumed training, the same numbers come out. An index that stands in `indices` twice makes two
    different examples. Call `set_epoch` before each epoch.
    """

    def __init__(self, pairs, indices: np.ndarray, size: int, seed: int):
        self.pairs, self.indices, self.size, self.seed = pairs, indices, size, seed
        self.epoch, self.gentle = 0, False

    def set_epoch(self, epoch: int, gentle: bool = False) -> None:
        self.epoch, self.gentle = epoch, gentle

    def order(self) -> np.ndarray:
        """This epoch's shuffled order of the items."""
        return np.random.default_rng((self.seed, self.epoch)).permutation(len(self))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> tuple:
        rng = np.random.default_rng((self.seed, self.epoch, item))
        image, mask = augment(*self.pairs[int(self.indices[item])], self.size, rng, self.gentle)
        return preprocess(image), mask[None]


class PlainExamples:
    """Examples as they are, resized to (S, S): for validation while training. Items as in TrainExamples."""

    def __init__(self, pairs, indices: np.ndarray, size: int):
        self.pairs, self.indices, self.size = pairs, indices, size

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> tuple:
        image, mask = self.pairs[int(self.indices[item])]
        mask = resize_mask(mask, (self.size, self.size))
        return preprocess(image, (self.size, self.size)), mask[None]
