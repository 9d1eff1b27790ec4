"""Labels that are wrong: what a file says of them, and what is trained on then."""

import cv2
import numpy as np
import pytest
from runs import write_pairs

from training.examples import open_pairs
from training.labels import Relabelled, read_labels
from training.options import parse_arguments
from utils import UserError

GOOD = """# what was looked at
face_0_0001 leave-out  # someone else
face_1 not-judged 1,2,30,40

face_1 not-judged 0,0,5,5
web_* not-judged hull
"""


def test_each_line_names_a_picture_and_what_is_done(tmp_path):
    (tmp_path / "labels.txt").write_text(GOOD)
    regions = [("face_1", (1, 2, 30, 40)), ("face_1", (0, 0, 5, 5))]
    expected = [("face_0_0001", "leave-out"), *regions, ("web_*", "hull")]
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
    with pytest.raises(UserError, match=r"labels\.txt, line 2: .* is none of 'NAME leave-out'"):
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


def test_only_the_star_is_a_wildcard():
    pairs = Pairs([None] * 4, ["face1", "face[1]", "my face", "face?"])
    found = Relabelled(pairs, [("face[1]", "leave-out"), ("my*face", "leave-out"), ("face?", "leave-out")])
    assert found.left_out == [1, 2, 3]


def test_what_a_mask_leaves_out_of_a_face_is_not_judged():
    whole = np.zeros((100, 160), np.uint8)
    cv2.circle(whole, (40, 50), 30, 255, -1)
    mask = cv2.circle(whole.copy(), (30, 45), 6, 0, -1)  # an eye
    mask[45:55, 50:72] = 0  # a notch
    cv2.circle(mask, (130, 50), 20, 255, -1)  # another face, far away
    pairs = Pairs([(cv2.merge([mask] * 3), mask)], ["web_1"])
    _, result = Relabelled(pairs, [("web_*", "hull")])[0]
    assert np.array_equal(result[mask == 255], mask[mask == 255])
    assert (result[38:52, 24:36][mask[38:52, 24:36] == 0] == 128).all()
    assert (result[45:55, 50:66] == 128).all()
    assert not result[:, 75:105].any()  # what is between two faces is background
    assert ((result == 128) & (whole == 0)).mean() < 0.01


class Pairs(list):
    """Pairs with names."""

    def __init__(self, pairs: list, names: list):
        super().__init__(pairs)
        self.names = names
