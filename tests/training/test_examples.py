"""What is trained and validated on: the split, balanced groups, and examples that can be had again."""

import cv2
import numpy as np
import pytest

from files.pictures import write_image
from training.augment import augment
from training.demo import DemoFaces
from training.examples import (
    TrainExamples,
    WithNoFace,
    group_of,
    group_times,
    open_pairs,
    split_by_person,
    validation_example,
)
from training.options import parse_arguments
from utils import UserError, preprocess


def test_split_keeps_a_person_on_one_side():
    names = [f"{person}_{photo:04d}" for person in "abcdefghij" for photo in range(3)]
    train, val = split_by_person(names, 0.2)
    assert sorted([*train, *val]) == list(range(30))
    assert len(val) == 6
    assert not {names[i][0] for i in train} & {names[i][0] for i in val}
    assert np.array_equal(split_by_person(names, 0.2)[1], val)


def test_split_of_a_numbered_series_takes_single_pictures():
    train, val = split_by_person([f"face_{index:04d}" for index in range(200)], 0.05)
    assert (len(train), len(val)) == (190, 10)


def test_split_of_a_short_series_leaves_pictures_to_train_on():
    train, val = split_by_person([f"IMG_{index:04d}" for index in range(15)], 0.05)
    assert (len(train), len(val)) == (14, 1)


def test_a_small_series_beside_a_large_one_is_trained_on():
    names = [f"{name}_{index:04d}" for name, count in (("a", 900), ("b", 90)) for index in range(count)]
    for share in (0.05, 0.15):
        train, val = split_by_person(names, share)
        assert len(val) == round(share * 990)
        assert sum(names[index].startswith("b_") for index in train) == 90


def test_split_without_validation():
    train, val = split_by_person(["a_1", "b_1"], 0.0)
    assert (train.tolist(), val.tolist()) == ([0, 1], [])


def test_pictures_without_a_face_come_after_the_pairs(tmp_path):
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


@pytest.mark.parametrize(
    "counts, times",
    [({"a": 100, "b": 25, "c": 11, "d": 1}, {"a": 1, "b": 2, "c": 3, "d": 4}), ({"only": 7}, {"only": 1})],
)
def test_small_groups_are_repeated_up_to_four_times(counts, times):
    groups = np.concatenate([[group] * count for group, count in counts.items()])
    assert all(
        group_times(groups)[groups == group].tolist() == [times[group]] * counts[group] for group in counts
    )


@pytest.mark.parametrize(
    "name, group", [("lfw_Ann_Lee_0001", "lfw"), ("celeb2_7", "celeb2"), ("12", ""), ("_x", "")]
)
def test_group_is_the_start_of_the_name(name, group):
    assert group_of(name) == group


def make_data(folder, names):
    """Write a data folder with a small picture and mask of each name."""
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    for name in names:
        write_image(folder / "images" / f"{name}.png", cv2.merge([mask] * 3))
        write_image(folder / "masks" / f"{name}.png", mask)
    return str(folder)


def shown(data, *options):
    """Return how often each picture of a data folder is shown in an epoch: {name: times}."""
    pairs, indices, _, val_indices = open_pairs(parse_arguments(["--data", data, "--val", "0", *options]))
    assert not len(val_indices)
    return {name: np.count_nonzero(indices == index) for index, name in enumerate(pairs.names)}


def test_balance_and_more_say_how_often_a_picture_is_shown(tmp_path):
    data = make_data(tmp_path, [*(f"a_{number}" for number in range(4)), "b_0"])
    assert set(shown(data).values()) == {1}
    assert shown(data, "--balance") == {"a_0": 1, "a_1": 1, "a_2": 1, "a_3": 1, "b_0": 2}
    assert shown(data, "--more", "b") == {"a_0": 1, "a_1": 1, "a_2": 1, "a_3": 1, "b_0": 2}
    assert shown(data, "--balance", "--more", "b")["b_0"] == 4
    assert shown(data, "--more", "b:5,a:3") == {"a_0": 3, "a_1": 3, "a_2": 3, "a_3": 3, "b_0": 5}
    assert shown(data, "--more", "a,b:3") == {"a_0": 2, "a_1": 2, "a_2": 2, "a_3": 2, "b_0": 3}
    assert shown(data, "--balance", "--more", "a") == {"a_0": 2, "a_1": 2, "a_2": 2, "a_3": 2, "b_0": 2}


def test_more_of_a_group_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="--more c: no training picture's name starts with c_"):
        shown(make_data(tmp_path, ["a_0", "a_1"]), "--more", "c")


@pytest.fixture
def examples():
    return make_examples()


def make_examples(seed=5, indices=range(3, 20), without_face=()):
    return TrainExamples(DemoFaces(20, 48), np.array(indices), np.array(without_face, int), seed)


def test_example_is_the_augmented_pair_as_the_network_takes_it(examples):
    examples.epoch = 2
    image, mask = examples.read(4, 32)
    assert (image.shape, image.dtype) == ((3, 32, 32), np.float32)
    assert (mask.shape, mask.dtype) == ((1, 32, 32), np.uint8)
    expected_image, expected_mask = augment(*DemoFaces(20, 48)[7], 32, np.random.default_rng((5, 2, 4)))
    assert np.array_equal(image, preprocess(expected_image))
    assert np.array_equal(mask[0], expected_mask)


def test_examples_follow_from_seed_and_epoch_alone(examples):
    first = [examples.read(item, 32) for item in range(5)]
    again = make_examples()
    for item in (4, 2, 0, 3, 1):  # in any order
        assert all(np.array_equal(a, b) for a, b in zip(again.read(item, 32), first[item]))
    assert np.array_equal(examples.order(), again.order())
    again.epoch = 1
    for other in (again, make_examples(seed=6)):
        assert not np.array_equal(other.read(0, 32)[0], first[0][0])
        assert not np.array_equal(other.order(), examples.order())


def test_repeated_picture_makes_different_examples():
    examples = make_examples(indices=[4, 4])
    assert len(examples) == 2
    assert not np.array_equal(examples.read(0, 32)[0], examples.read(1, 32)[0])


def test_pictures_without_a_face_are_trained_on_and_cut_from(monkeypatch):
    seen = []

    def watch(image, mask, size, rng, other, hand, gentle):
        seen.append((image, other))
        return image[:size, :size], mask[:size, :size]

    monkeypatch.setattr("training.examples.augment", watch)
    examples = make_examples(indices=[*range(12)] * 10, without_face=[15, 18])
    assert len(examples) == 122  # a fiftieth shows no face
    for item in range(120, 122):
        examples.read(item, 32)
    assert all(any(np.array_equal(seen[k][0], DemoFaces(20, 48)[i][0]) for i in (15, 18)) for k in range(2))
    for item in range(12):
        examples.read(item, 32)
    pieces = [other for _, other in seen if other is not None]
    assert 0 < len(pieces) < 10
    allowed = [DemoFaces(20, 48)[index][0] for index in (15, 18)]
    assert all(any(np.array_equal(piece, image) for image in allowed) for piece in pieces)


def test_a_mask_without_a_face_is_warned_of_once(caplog):
    pairs = DemoFaces(4, 48)
    pairs.names = [f"p{number}" for number in range(4)]
    empty = Empty(pairs, (1, 2, 3))
    examples = TrainExamples(empty, np.arange(3), np.array([3]), 0)
    for item in range(4):  # the last one is of a picture without a face
        examples.read(item, 32)
    assert caplog.text.count("its mask marks no face; --skip-bad") == 1
    assert "p1: its mask" in caplog.text


class Empty:
    """Pairs of which some have an empty mask."""

    def __init__(self, pairs, empty):
        self.pairs, self.names, self.empty = pairs, pairs.names, empty

    def __getitem__(self, index):
        image, mask = self.pairs[index]
        return image, mask * 0 if index in self.empty else mask


def test_every_epoch_is_shuffled_and_whole(examples):
    orders = []
    for epoch in range(3):
        examples.epoch = epoch
        orders.append(examples.order().tolist())
    assert all(sorted(order) == list(range(17)) for order in orders)
    assert len({tuple(order) for order in [*orders, range(17)]}) == 4


def test_validation_shows_the_largest_face_at_one_scale():
    """A picture that is its own mask: they still cover each other, and half of the side is face."""
    mask = np.zeros((250, 300), np.uint8)
    cv2.circle(mask, (131, 117), 45, 255, -1)
    cv2.circle(mask, (260, 40), 30, 255, -1)
    image = cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB)
    pairs = [(image, mask), (image, np.zeros_like(mask))]
    shown, cut = validation_example(pairs, 0, 96)
    assert (shown.shape, cut.shape) == ((3, 96, 96), (1, 96, 96))
    box = cv2.boundingRect((cut[0, 10:86, 10:86] == 255).astype(np.uint8))
    assert box == pytest.approx((48 - 24 - 10, 48 - 24 - 10, 48, 48), abs=1.5)
    assert ((shown[0] > shown[0].mean()) != (cut[0] == 255)).mean() < 0.01
    assert np.array_equal(validation_example(pairs, 0, 96)[0], shown)  # nothing is left to chance
    _, none = validation_example(pairs, 1, 96)  # no face: the picture as a whole
    assert not none.any()


def test_validation_brightens_a_dark_picture_as_inference_does():
    image, mask = DemoFaces(1, 64)[0]
    assert validation_example([(image // 8, mask)], 0, 64)[0].max() > 1


def test_validation_shows_all_of_a_picture_without_a_large_face():
    mask = np.zeros((100, 200), np.uint8)
    mask[80:100, 180:200] = 255
    _, cut = validation_example([(cv2.merge([mask] * 3), mask)], 0, 100)
    assert cv2.boundingRect((cut[0] == 255).astype(np.uint8)) == pytest.approx((90, 65, 10, 10), abs=1)
