"""Labels that are wrong: what a file says of them, and what is trained on then."""

import numpy as np
import pytest
from runs import write_pairs

from training.examples import open_pairs
from training.labels import read_labels
from training.options import parse_arguments
from utils import UserError

GOOD = """# what was looked at
face_0_0001 leave-out  # someone else
face_1 not-judged 1,2,30,40

face_1 not-judged 0,0,5,5
"""


def test_each_line_names_a_picture_and_what_is_done(tmp_path):
    (tmp_path / "labels.txt").write_text(GOOD)
    expected = {"face_0_0001": None, "face_1": [(1, 2, 30, 40), (0, 0, 5, 5)]}
    assert read_labels(tmp_path / "labels.txt") == expected


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a leave",
        "a leave-out b",
        "a not-judged",
        "a not-judged 1,2,3",
        "a not-judged 5,2,5,9",
        "a not-judged -1,2,5,9",
        "a not-judged 1,2,5,x",
        "a not-judged 1, 2, 5, 9",
    ],
)
def test_a_line_that_is_not_understood_is_named(tmp_path, line):
    (tmp_path / "labels.txt").write_text(f"# labels\n{line}\n")
    with pytest.raises(UserError, match=r"labels\.txt, line 2: .* is neither 'NAME leave-out'"):
        read_labels(tmp_path / "labels.txt")


def test_wrong_labels_are_left_out_and_wrong_regions_not_judged(tmp_path):
    write_pairs(tmp_path / "data", 6)
    arguments = ["--data", str(tmp_path / "data"), "--val", "0.3"]
    plain, train, _, val = open_pairs(parse_arguments(arguments))
    out, changed = plain.names[train[0]], plain.names[train[1]]
    unwanted, labels = plain.names[val[0]], tmp_path / "labels.txt"
    labels.write_text(f"{out} leave-out\n{unwanted} leave-out\n{changed} not-judged 10,0,9999,20\n")
    pairs, some, _, some_val = open_pairs(parse_arguments([*arguments, "--labels", str(labels)]))
    assert pairs.names == plain.names and len(pairs) == 6
    assert some.tolist() == train[1:].tolist() and some_val.tolist() == val[1:].tolist()
    for index in range(6):
        image, mask = plain[index]
        if plain.names[index] == changed:
            mask = mask.copy()
            mask[:20, 10:] = 128
        assert np.array_equal(pairs[index][0], image)
        assert np.array_equal(pairs[index][1], mask)
    labels.write_text("nobody leave-out\n")
    with pytest.raises(UserError, match="--labels names nobody, and no training picture has that name"):
        open_pairs(parse_arguments([*arguments, "--labels", str(labels)]))
