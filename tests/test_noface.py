"""Pictures without a face come after the pairs, with masks that are background alone."""

import numpy as np

from demo import DemoFaces
from noface import WithNoFace
from utils import write_image


def test_pictures_come_after_the_pairs(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 20, 30, 3)).astype(np.uint8)  # RGB
    for name, picture in zip(("b", "a"), pictures):
        write_image(tmp_path / f"{name}.png", picture)
    (tmp_path / "notes.txt").write_text("no picture")
    faces = DemoFaces(3, 32)
    pairs = WithNoFace(faces, tmp_path)
    assert len(pairs) == 5
    assert pairs.names == [*faces.names, "a", "b"]
    for index in range(3):
        for found, expected in zip(pairs[index], faces[index]):
            assert np.array_equal(found, expected)
    for index, picture in ((3, pictures[1]), (4, pictures[0])):
        image, mask = pairs[index]
        assert np.array_equal(image, picture)
        assert mask.shape == (20, 30) and mask.dtype == np.uint8 and not mask.any()
