"""Small weights, how they are compared, and inputs of the network, for several test files."""

from __future__ import annotations

import cv2
import numpy as np

SMALL = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "bn.running_var": np.array([1.5, 2.5], np.float32),
    "bn.num_batches_tracked": np.array(7, np.int64),
}


def assert_same(found: dict, expected: dict) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert found[name].dtype == (np.int64 if name.endswith("num_batches_tracked") else np.float32), name
        np.testing.assert_array_equal(found[name], array)


def batch_of(shape: tuple) -> np.ndarray:
    """Smooth coloured blobs with some noise, in the range of a normalised photo."""
    rng = np.random.default_rng(sum(shape))
    blobs = rng.standard_normal((*shape[:2], 4, 4)).astype(np.float32)
    images = [
        [cv2.resize(plane, shape[:1:-1], interpolation=cv2.INTER_CUBIC) for plane in blob] for blob in blobs
    ]
    return np.array(images, np.float32) + 0.1 * rng.standard_normal(shape).astype(np.float32)
