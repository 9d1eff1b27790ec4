"""The weights in the repository: whole, and as good as on the day they were put here."""

import re
from pathlib import Path

import numpy as np
import pytest

from dataset import read_mask
from files.pictures import read_image
from infer import segment
from runtimes.network import check_linknet34
from runtimes.openvino_runtime import int8_path
from runtimes.weights import default_weights, read_weights, trained_size

WEIGHTS = Path(default_weights())
ASSETS = Path(__file__).parents[2] / "docs"
HEAD = (slice(0, 256), slice(100, 356))  # of the portrait
HEAD_IOU = 0.963  # measured in f32 when the weights were put here


def test_weights_are_whole_and_small():
    check_linknet34(read_weights(WEIGHTS))
    assert trained_size(WEIGHTS) % 32 == 0
    assert WEIGHTS.stat().st_size < 45e6


def test_the_int8_form_is_of_operations_that_the_oldest_openvino_knows():
    """That of Python 3.8, 2024.4, knows those of opset 15."""
    versions = re.findall(r'version="opset(\d+)"', int8_path(WEIGHTS).read_text())
    assert len(versions) > 1000 and max(map(int, versions)) <= 15


@pytest.mark.parametrize("precision, tolerance", [("f32", 0.003), ("auto", 0.01)])
def test_portrait_is_segmented_as_well_as_ever(precision, tolerance):
    image = read_image(ASSETS / "portrait.png")[HEAD]
    face = read_mask(ASSETS / "portrait_mask.png")[HEAD] > 0
    found = segment(image, precision=precision) > 0.5
    iou = np.count_nonzero(found & face) / np.count_nonzero(found | face)
    assert iou == pytest.approx(HEAD_IOU, abs=tolerance)
