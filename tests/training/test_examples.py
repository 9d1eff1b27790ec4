"""What is trained and validated on: the split, the repeated group, and examples that can be had again."""

import cv2
import numpy as np
import pytest

from training.augment import augment
from training.demo import DemoFaces
from training.examples import PlainExamples, TrainExamples, repeat_group, split_by_person
from utils import UserError, preprocess


def test_split_keeps_a_person_on_one_side():
    names = [f"{person}_{photo:04d}" for person in "abcdefghij" for photo in range(3)]
    train, val = split_by_person(names, 0.2)
    assert sorted([*train, *val]) == list(range(30))
    assert len(val) == 6
    assert not {names[i][0] for i in train} & {names[i][0] for i in val}
    assert np.array_equal(split_by_person(names, 0.2)[1], val)
    assert not np.array_equal(split_by_person(names, 0.2, seed=1)[1], val)


def test_split_of_a_numbered_series_takes_single_pictures():
    train, val = split_by_person([f"face_{index:04d}" for index in range(200)], 0.05)
    assert (len(train), len(val)) == (190, 10)


def test_split_of_a_short_series_leaves_pictures_to_train_on():
    train, val = split_by_person([f"IMG_{index:04d}" for index in range(15)], 0.05)
    assert (len(train), len(val)) == (14, 1)


def test_split_without_validation():
    train, val = split_by_person(["a_1", "b_1"], 0.0)
    assert (train.tolist(), val.tolist()) == ([0, 1], [])


@pytest.fixture
def examples():
    return TrainExamples(DemoFaces(20, 48), np.arange(3, 20), size=32, seed=5)


@pytest.mark.parametrize("gentle", [False, True])
def test_example_is_the_augmented_pair_as_the_network_takes_it(examples, gentle):
    examples.set_epoch(2, gentle)
    image, mask = examples[4]
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == (
        (3, 32, 32),
        np.float32,
        (1, 32, 32),
        np.uint8,
    )
    rng = np.random.default_rng((5, 2, 4))
    expected_image, expected_mask = augment(*DemoFaces(20, 48)[7], 32, rng, gentle)
    assert np.array_equal(image, preprocess(expected_image))
    assert np.array_equal(mask[0], expected_mask)


def test_examples_follow_from_seed_and_epoch_alone(examples):
    first = [examples[item] for item in range(5)]
    again = TrainExamples(DemoFaces(20, 48), np.arange(3, 20), size=32, seed=5)
    for item in (4, 2, 0, 3, 1):  # in any order
        assert all(np.array_equal(a, b) for a, b in zip(again[item], first[item]))
    assert np.array_equal(examples.order(), again.order())
    other_seed = TrainExamples(DemoFaces(20, 48), np.arange(3, 20), size=32, seed=6)
    again.set_epoch(1)
    for other in (again, other_seed):
        assert not np.array_equal(other[0][0], first[0][0])
        assert not np.array_equal(other.order(), examples.order())


def test_repeated_group_stands_there_that_often():
    names = ["celeb_1", "lfw_a_0001", "celeb_2", "celebrity_3", "lfw_b_0001"]
    repeated = repeat_group(np.array([0, 2, 3, 4]), names, "celeb", 3)
    assert repeated.tolist() == [0, 0, 0, 2, 2, 2, 3, 4]
    with pytest.raises(UserError, match="starts with cat_"):
        repeat_group(np.array([0, 1]), names, "cat", 2)
    with pytest.raises(UserError, match="starts with celeb_"):  # there is one, but held out for validation
        repeat_group(np.array([1, 3]), names, "celeb", 2)


def test_repeated_picture_makes_different_examples():
    examples = TrainExamples(DemoFaces(20, 48), np.array([4, 4]), size=32, seed=5)
    assert len(examples) == 2
    assert not np.array_equal(examples[0][0], examples[1][0])


def test_every_epoch_is_shuffled_and_whole(examples):
    orders = []
    for epoch in range(3):
        examples.set_epoch(epoch)
        orders.append(examples.order().tolist())
    assert all(sorted(order) == list(range(17)) for order in orders)
    assert len({tuple(order) for order in [*orders, range(17)]}) == 4


def test_examples_are_the_same_for_any_number_of_workers(examples):
    from quiet import flow

    batches = []
    for workers in (0, 1, 2):
        loader = flow.utils.data.DataLoader(
            examples, batch_size=4, sampler=examples.order().tolist(), num_workers=workers
        )
        batches.append([(image.numpy(), mask.numpy()) for image, mask in loader])
    for other in batches[1:]:
        assert len(other) == len(batches[0]) == 5
        for (image, mask), (other_image, other_mask) in zip(batches[0], other):
            assert np.array_equal(image, other_image)
            assert np.array_equal(mask, other_mask)


def test_plain_examples_are_not_augmented():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 24, 32, 3)).astype(np.uint8)
    masks = rng.choice([0, 255], (5, 24, 32)).astype(np.uint8)
    masks[:, :5] = 128
    plain = PlainExamples(list(zip(images, masks)), np.array([3, 1]), 64)
    assert len(plain) == 2
    image, mask = plain[0]
    assert np.array_equal(image, preprocess(images[3], (64, 64)))
    assert mask.shape == (1, 64, 64)
    assert set(np.unique(mask)) == {0, 128, 255}


def test_plain_mask_stays_where_the_picture_is():
    """A picture that is its own mask: they still cover each other after shrinking."""
    mask = np.zeros((250, 250), np.uint8)
    cv2.circle(mask, (131, 117), 60, 255, -1)
    image, small = PlainExamples([(cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), mask)], np.array([0]), 64)[0]
    from_picture, from_mask = (
        np.argwhere(shown > np.median([shown.min(), shown.max()])).mean(axis=0)
        for shown in (image[0], small[0].astype(np.float32))
    )
    assert np.abs(from_picture - from_mask).max() < 0.05
