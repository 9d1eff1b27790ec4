"""Light, colour and sharpness: what each change does, in numbers."""

import cv2
import numpy as np
import pytest

from training import photometric

DRAWS = 400


@pytest.fixture
def photo():
    """A soft picture of 64x64 with light and dark places, in three different channels."""
    rng = np.random.default_rng(0)
    soft = cv2.GaussianBlur(rng.uniform(0, 255, (64, 64, 3)).astype(np.float32), (0, 0), 3)
    return np.clip((soft - soft.mean()) * 4 + (150, 120, 90), 0, 255).astype(np.uint8)


def detail(image):
    return cv2.Laplacian(image, cv2.CV_32F).std()


def test_darkening_leaves_that_part_of_the_light(photo):
    assert photometric.darken(photo, 0.1).mean() == pytest.approx(photo.mean() * 0.1, abs=0.5)
    drowned, lifted = (photometric.darken(photo, 1.0, gamma) for gamma in (1.5, 0.7))
    assert (drowned <= photo).all() and (lifted >= photo).all()


def test_tone_is_a_curve(photo):
    assert np.array_equal(photometric.tone(photo, 1.0, 1.0, 0.0), photo)
    assert (
        photometric.tone(np.full((1, 1, 3), 64, np.uint8), 0.5, 1.0, 0.0)[0, 0, 0] == 128
    )  # sqrt(1/4) is 1/2
    assert photometric.tone(np.full((1, 1, 3), 255, np.uint8), 1.0, 0.5, 0.1)[0, 0, 0] == round(255 * 0.85)


def test_a_shadow_darkens_a_part_smoothly():
    white = np.full((96, 96, 3), 200, np.uint8)
    for seed in range(20):
        shaded = photometric.cast_shadow(white, np.random.default_rng(seed))
        assert (shaded <= 200).all()
        assert (shaded[..., 0] == shaded[..., 2]).all()  # it has no colour
        assert shaded.min() < 200 * 0.8  # there is a shadow
        assert np.abs(np.diff(shaded[..., 0].astype(int), axis=0)).max() < 90


def test_local_contrast_brings_out_what_is_faint(photo):
    faint = (photo // 8 + 100).astype(np.uint8)
    assert photometric.local_contrast(faint, 3.0).std() > 1.5 * faint.std()
    assert np.allclose(
        photometric.local_contrast(faint, 3.0).mean(axis=(0, 1)), faint.mean(axis=(0, 1)), atol=30
    )


def test_sharpening_and_blurring_move_detail_apart(photo):
    assert detail(photometric.sharpen(photo, 1.0)) > 1.3 * detail(photo)
    assert detail(photometric.lower_resolution(photo, 0.25)) < detail(photo)
    assert photometric.lower_resolution(photo, 0.25).shape == photo.shape


def test_motion_smears_along_its_direction_alone():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::4] = 255  # upright ones
    assert np.array_equal(photometric.motion_blur(stripes, 9, 90), stripes)
    assert photometric.motion_blur(stripes, 9, 0)[16, 8:24].std() < 0.5 * stripes[16].std()


def test_white_balance_multiplies_each_channel(photo):
    dim = photo // 2
    result = photometric.white_balance(dim, (1.2, 1.0, 0.5))
    assert np.abs(result - dim * np.array([1.2, 1.0, 0.5])).max() <= 0.5 + 1e-4


def test_a_grade_leaves_black_and_white():
    greys = np.repeat(np.array([0, 64, 255], np.uint8)[:, None, None], 3, axis=2)
    assert photometric.grade(greys, (1.0, 0.5, 2.0))[:, 0].tolist() == [[0, 0, 0], [64, 128, 16], [255] * 3]


def test_coloured_light_has_any_hue_within_its_strength():
    drawn = np.log([photometric.gains(0.7, np.random.default_rng(seed)) for seed in range(100)])
    assert np.abs(drawn).max(axis=1) == pytest.approx(0.7)
    assert np.abs(drawn.sum(axis=1)).max() < 1e-9  # no channel gains more than the others lose
    assert drawn.min(axis=0).max() < -0.6  # each of the three weak, and each strong
    assert drawn.max(axis=0).min() > 0.6


def test_two_lights_meet_softly():
    image = np.full((96, 96, 3), 100, np.uint8)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        result = photometric.two_lights(image, np.array([1.5, 1, 0.5]), np.array([0.5, 1, 1.5]), rng)
        assert (np.abs(result[..., 1].astype(int) - 100) <= 1).all()
        assert (
            np.abs(result[..., 0].astype(int) + result[..., 2] - 200).max() <= 3
        )  # one goes as the other comes
        assert np.abs(np.diff(result.astype(int), axis=0)).max() < 25
        assert np.ptp(result[..., 0].astype(int)) > 20


def test_light_that_is_too_bright_clips():
    half = np.full((32, 32, 3), 128, np.uint8)
    assert (photometric.lighten(half, np.full((4, 4, 3), 3, np.float32)) == 255).all()
    assert np.abs(photometric.lighten(half, np.full((4, 4, 3), 0.5, np.float32)).astype(int) - 64).max() <= 1


def test_a_small_face_has_the_detail_of_few_pixels(photo):
    for seed in range(10):
        result = photometric.small_face(photo, 0.25, np.random.default_rng(seed))
        assert result.shape == photo.shape
        again = cv2.resize(cv2.resize(result, (16, 16), interpolation=cv2.INTER_AREA), (64, 64))
        assert np.abs(again.astype(int) - result).mean() < 8  # there is no more in it than in 16 pixels
    assert photometric.small_face(photo, 1.2, np.random.default_rng(0)) is photo


def test_out_of_focus_makes_discs():
    point = np.zeros((21, 21, 3), np.uint8)
    point[10, 10] = 255
    disc = photometric.out_of_focus(point, 3.0)[..., 0]
    assert cv2.boundingRect((disc > 0).astype(np.uint8)) == (7, 7, 7, 7)
    assert disc[10, 8] == disc[10, 10] == disc[12, 10]
    assert not disc[7, 7]


def test_hue_turns_and_saturation_scales():
    red = np.full((2, 2, 3), (200, 100, 100), np.uint8)
    assert photometric.shift_hue(red, 60, 1.0)[0, 0].tolist() == [100, 200, 100]  # 60 of 180: red is green
    assert np.ptp(photometric.shift_hue(red, 0, 0.5)[0, 0].astype(int)) == pytest.approx(50, abs=1)


def test_grey_has_no_colour(photo):
    result = photometric.grey(photo)
    assert (np.ptp(result.astype(int), axis=2) == 0).all()
    assert result.mean() == pytest.approx((photo @ [0.299, 0.587, 0.114]).mean(), abs=1)


def test_noise_has_its_deviation(photo):
    middle = np.full((64, 64, 3), 128, np.uint8)
    grain = photometric.noise(middle, 8.0, np.random.default_rng(0)).astype(float) - 128
    assert grain.std() == pytest.approx(8, rel=0.05)
    assert abs(grain.mean()) < 0.3
    assert abs(np.corrcoef(grain[..., 0].ravel(), grain[..., 1].ravel())[0, 1]) < 0.1


def test_compression_loses_a_little_and_swaps_no_channel(photo):
    for quality, limit in ((20, 14), (90, 5)):
        assert np.abs(photometric.compress(photo, quality).astype(int) - photo).mean() < limit
    assert np.abs(photometric.compress(photo, 20).astype(int) - photo).mean() > 1


def test_looks_cover_dark_and_bright_sharp_and_blurred_grey_and_coloured(photo):
    results = [photometric.vary_light(photo, np.random.default_rng(seed)) for seed in range(DRAWS)]
    assert all(result.shape == photo.shape and result.dtype == np.uint8 for result in results)
    light = np.array([result.mean() for result in results]) / photo.mean()
    assert 0.05 < (light < 0.5).mean() < 0.25
    assert light.min() < 0.2
    assert light.max() > 1.3
    details = np.array([detail(result) for result in results]) / detail(photo)
    assert (details < 0.6).mean() > 0.03
    assert (details > 1.5).mean() > 0.1
    grey = np.mean([np.ptp(result.astype(int), axis=2).max() <= 3 for result in results])
    assert 0.02 < grey < 0.15
    red, green, blue = np.array([result.mean(axis=(0, 1)) for result in results]).T
    assert 0.6 < ((red >= green - 8) & (green >= blue - 8)).mean() < 0.9  # light is seldom coloured


def test_the_same_generator_gives_the_same_look(photo):
    one, other = (photometric.vary_light(photo, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one, other)
