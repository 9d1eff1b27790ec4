"""Batches made by threads: the same as without, in order, and left in order."""

import threading
import time

import numpy as np
import pytest

from training.loader import AHEAD, load_batches

BATCHES = [[(item, 3) for item in range(start, start + 4)] for start in range(0, 24, 4)]


def read(item: int, size: int) -> tuple:
    time.sleep(0.002 * (item % 3))  # later ones are done earlier
    return np.full((2, size), item, np.float32), np.array([item], np.uint8)


def count_threads() -> int:
    return sum("loader" in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_whole_and_in_order(workers):
    loaded = list(load_batches(read, BATCHES, workers))
    assert [masks[:, 0].tolist() for _, masks in loaded] == [[item for item, _ in b] for b in BATCHES]
    assert all(images.shape == (4, 2, 3) and images.dtype == np.float32 for images, _ in loaded)
    assert [images[2, 1, 1] for images, _ in loaded] == [2, 6, 10, 14, 18, 22]


def test_no_more_is_made_than_a_few_batches_ahead():
    asked = []

    def watched():
        for batch in BATCHES:
            asked.append(batch)
            yield batch

    loaded = load_batches(read, watched(), workers=2)
    next(loaded)
    assert len(asked) == AHEAD + 1
    loaded.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_out_as_it_was_raised(workers):
    def broken(item, size):
        if item == 9:
            raise ValueError("face_9.jpg is broken")
        return read(item, size)

    loaded = load_batches(broken, BATCHES, workers)
    assert len([next(loaded), next(loaded)]) == 2
    with pytest.raises(ValueError, match=r"face_9\.jpg is broken"):
        next(loaded)
    assert count_threads() == 0


def test_leaving_in_the_middle_ends_the_threads_and_drops_what_waits():
    done = []

    def slow(item, size):
        time.sleep(0.02)
        done.append(item)
        return read(item, size)

    loaded = load_batches(slow, BATCHES, workers=2)
    next(loaded)
    assert count_threads() == 2
    loaded.close()
    assert count_threads() == 0
    assert len(done) <= 4 + 2 + 2  # the batch that came, and what was being made
