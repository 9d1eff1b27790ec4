"""The generated pictures: the same for the same seed, and each with a face where its mask says so."""

import numpy as np

from training.demo import DemoFaces
from utils import FACE


def test_pictures_follow_from_seed_and_index():
    first, again, other = DemoFaces(4, 64), DemoFaces(4, 64), DemoFaces(4, 64, seed=1)
    for index in (3, 1):
        assert all(np.array_equal(a, b) for a, b in zip(first[index], again[index]))
        assert not np.array_equal(first[index][0], other[index][0])
    assert not np.array_equal(first[0][0], first[1][0])


def test_pictures_are_what_the_training_takes():
    faces = DemoFaces(12, 48)
    assert len(faces) == len(faces.names) == 12
    for index in range(12):
        image, mask = faces[index]
        assert (image.shape, image.dtype) == ((48, 48, 3), np.uint8)
        assert (mask.shape, mask.dtype) == ((48, 48), np.uint8)
        assert set(np.unique(mask)) == {0, FACE}
        assert 0.03 < (mask == FACE).mean() < 0.4


def test_faces_are_skin_coloured_in_rgb():
    redder = 0
    for index in range(40):
        image, mask = DemoFaces(40, 64)[index]
        red, _, blue = image[mask == FACE].mean(axis=0)
        redder += red > blue
    assert redder >= 38
