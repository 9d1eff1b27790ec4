"""What is shown: python -m pytest tests/media/test_views.py"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scenes import background, draw_face

from faces.mask import Face, Mask, Region
from files.pictures import write_image
from media.shapes import Style, coverage
from media.views import VIEWS, parse_color, parse_view, to_bgr
from utils import UserError


@pytest.fixture
def scene() -> tuple[np.ndarray, Mask, np.ndarray]:
    """A frame, its mask with soft edges, and the coverage that follows from it, HxW float64, 0..1."""
    frame = background(120, 160)
    truth = draw_face(frame, (90, 50), 30)
    probability = cv2.GaussianBlur(truth.astype(np.uint8) * 255, (0, 0), 3)
    left, top, width, height = cv2.boundingRect((probability > 12).astype(np.uint8))
    mask = Mask(probability, Region(left, top, left + width, top + height))
    covered = np.clip((probability / 255.0 - 0.5) / 0.9 + 0.5, 0, 1)
    return frame, mask, covered


def show(name: str, scene: tuple, threshold: float = 0.5, **options) -> np.ndarray:
    return parse_view(name).draw(scene[0].copy(), scene[1], Style(threshold, **options))


def assert_close(picture: np.ndarray, wanted: np.ndarray, tolerance: float = 2.5) -> None:
    assert picture.dtype == np.uint8 and picture.shape == wanted.shape
    assert np.abs(picture.astype(float) - wanted).max() <= tolerance


@pytest.mark.parametrize("view", ["blur-face", "mosaic-face"])
def test_small_faces_are_hidden_too_at_the_lowest_strength(view):
    face = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    mask = np.full((24, 20), 255, np.uint8)
    region = Region(0, 0, 20, 24)
    whole = Mask(mask, region, (Face(1, region, 0.9, region, mask),))
    hidden = parse_view(view).draw(face.copy(), whole, Style(strength=1))
    assert abs(np.corrcoef(hidden.ravel(), face.ravel())[0, 1]) < 0.6


def test_overlay_is_a_blend_in_the_colour_and_leaves_the_rest_alone(scene):
    frame, _mask, covered = scene
    for color, alpha in (((0, 200, 120), 0.5), ((255, 0, 0), 1.0), ((9, 9, 9), 0.0)):
        weight = (covered * alpha)[..., None]
        wanted = frame * (1 - weight) + np.array(color[::-1]) * weight
        picture = show("overlay", scene, color=color, alpha=alpha)
        assert_close(picture, wanted)
        np.testing.assert_array_equal(picture[covered == 0], frame[covered == 0])


def test_overlay_draws_into_the_frame_it_is_given(scene):
    frame, mask, _ = scene
    assert parse_view("overlay").draw(frame, mask, Style()) is frame


def test_the_threshold_moves_the_edge(scene):
    areas = [np.count_nonzero(show("mask", scene, threshold)) for threshold in (0.1, 0.5, 0.9)]
    assert areas[0] > areas[1] > areas[2] > 0
    np.testing.assert_array_equal(show("mask", scene) == 255, scene[1].probability > 127)


def test_cutout_keeps_the_face_and_nothing_else(scene):
    frame, _mask, covered = scene
    picture = show("cutout", scene)
    assert picture.shape == (120, 160, 4)
    assert np.abs(picture[..., 3] - covered * 255).max() <= 1.01
    np.testing.assert_array_equal(picture[covered > 0.01][:, :3], frame[covered > 0.01])
    assert not picture[covered == 0].any()  # what is transparent is not hidden, it is gone
    assert_close(to_bgr(picture), frame * covered[..., None])


def test_background_colour_and_picture(scene, tmp_path):
    frame, _mask, covered = scene
    weight = covered[..., None]
    assert_close(show("background:#ff8000", scene), frame * weight + np.array([0, 128, 255]) * (1 - weight))
    picture = np.zeros((50, 200, 3), np.uint8)
    picture[:, 100:] = (10, 200, 30)  # RGB, the right half
    write_image(tmp_path / "back.png", picture)
    shown = show(f"background:{tmp_path / 'back.png'}", scene)
    assert (shown[5, 5] == 0).all() and (shown[115, 155] == (30, 200, 10)).all()
    np.testing.assert_array_equal(shown[covered == 1], frame[covered == 1])


def test_no_face_stays_in_the_background_behind_the_next_frame(scene):
    frame, mask, _covered = scene
    view = parse_view("background:#ff8000")
    view.draw(frame.copy(), mask, Style())
    empty = Mask(np.zeros_like(mask.probability), Region(0, 0, 0, 0))
    assert (view.draw(frame, empty, Style()) == (0, 128, 255)).all()


def test_a_blurred_face_cannot_be_recognised_and_the_rest_is_untouched(scene):
    frame, mask, covered = scene
    left, top, right, bottom = mask.region
    rng = np.random.default_rng(0)
    frame[top:bottom, left:right] = rng.integers(0, 256, (bottom - top, right - left, 3))
    blurred = show("blur-face", scene)
    inside = cv2.erode((covered == 1).astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert blurred[inside].std() < 0.3 * frame[inside].std()
    edge = (covered > 0) & (covered < 0.5)  # the mask is widened: its soft edge is blurred in full
    assert np.abs(blurred[edge].astype(float) - frame[edge]).mean() > 20
    far = cv2.dilate((covered > 0).astype(np.uint8), np.ones((31, 31))) == 0
    np.testing.assert_array_equal(blurred[far], frame[far])


def test_a_blurred_background_keeps_the_face_and_takes_none_of_its_colour(scene):
    frame, mask, covered = scene
    frame[covered == 0] = (90, 90, 90)
    shown = show("blur-background", scene)
    np.testing.assert_array_equal(shown[covered == 1], frame[covered == 1])
    assert np.abs(shown[covered == 0].astype(int) - 90).max() < 40
    sharp = background(120, 160)
    sharp[::2] = 0
    soft = parse_view("blur-background").draw(
        sharp.copy(), Mask(mask.probability * 0, Region(0, 0, 0, 0)), Style()
    )
    assert (
        np.abs(np.diff(soft.astype(int), axis=0)).mean()
        < 0.1 * np.abs(np.diff(sharp.astype(int), axis=0)).mean()
    )


def test_side_by_side(scene):
    frame, _mask, _ = scene
    shown = show("side-by-side", scene)
    assert shown.shape == (120, 320, 3)
    np.testing.assert_array_equal(shown[:, :160], frame)
    np.testing.assert_array_equal(shown[:, 160:], show("overlay", scene))


@pytest.mark.parametrize("name", [*VIEWS, "background:red"])
@pytest.mark.parametrize("region", [(0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 31, 17), (30, 16, 31, 17)])
def test_no_mask_and_tiny_ones(name, region):
    frame = background(17, 31)
    probability = np.zeros((17, 31), np.uint8)
    probability[region[1] : region[3], region[0] : region[2]] = 255
    shown = parse_view(name).draw(frame.copy(), Mask(probability, Region(*region)), Style())
    assert shown.shape[0] == 17 and to_bgr(shown).shape[2] == 3


@pytest.mark.parametrize("shape", [(20, 600), (600, 20)])
def test_a_long_thin_mask_is_blurred_too(shape):
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    mask = Mask(np.full(shape, 255, np.uint8), Region(0, 0, shape[1], shape[0]))
    assert parse_view("blur-face").draw(frame.copy(), mask, Style()).std() < 0.3 * frame.std()


def test_coverage_is_soft_only_at_the_edge(scene):
    _, mask, covered = scene
    left, top, right, bottom = mask.region
    levels = coverage(mask, Style())
    assert np.abs(levels - covered[top:bottom, left:right] * 255).max() <= 1.01
    assert 0.05 < np.mean((levels > 0) & (levels < 255)) < 0.5


@pytest.mark.parametrize("side", [90, 180, 300, 600])
def test_the_edge_of_a_cutout_is_two_to_three_pixels_wide(side):
    """The network sees each face at the same size: the edge of its mask is as wide as the face is large."""
    frame = background(side * 2, side * 2)
    truth = draw_face(frame, (side, side), side / 2).astype(np.uint8) * 255
    probability = cv2.GaussianBlur(truth, (0, 0), side / 150)
    box = Region(side // 2, side // 2, side // 2 + side, side // 2 + side)
    mask = Mask(
        probability, Region(0, 0, *probability.shape), (Face(1, box, 1.0, box, box_of(probability, box)),)
    )
    alpha = parse_view("cutout").draw(frame, mask, Style())[..., 3]
    row = alpha[side]
    assert 3 <= np.count_nonzero((row > 5) & (row < 250)) <= 7  # on both sides
    assert np.all(np.diff(row[:side].astype(int)) >= 0)


def box_of(probability: np.ndarray, box: Region) -> np.ndarray:
    return probability[box.rows, box.columns]


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.95])
def test_what_is_certain_is_so_at_every_threshold(threshold):
    probability = np.array([[0, 255]], np.uint8)
    assert coverage(Mask(probability, Region(0, 0, 2, 1)), Style(threshold)).tolist() == [[0, 255]]


def test_colours():
    assert parse_color("0,200,120") == (0, 200, 120)
    assert parse_color("#00c878") == (0, 200, 120)
    assert parse_color("red") == (255, 0, 0)
    for bad in ("reddish", "1,2", "300,0,0", ""):
        with pytest.raises(UserError, match="no colour"):
            parse_color(bad)


def test_unknown_views_and_backgrounds_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no view 'overlay2'.*blur-face"):
        parse_view("overlay2")
    with pytest.raises(UserError, match="nothing"):
        parse_view(f"background:{tmp_path / 'nothing.png'}")
    with pytest.raises(UserError, match="folder"):
        parse_view("background:")
    with pytest.raises(UserError, match="'' is no colour"):
        parse_view("fill-face:")


@pytest.mark.parametrize("view", ["blur-face", "mosaic-face", "fill-face:red"])
@pytest.mark.parametrize("marked", [False, True])
def test_a_found_face_that_the_network_hardly_sees_is_hidden_all_the_same(view, marked):
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    probability = np.zeros((120, 160), np.uint8)
    box, region = Region(50, 30, 110, 100), Region(0, 0, 0, 0)
    if marked:  # a few pixels of it
        region = Region(70, 50, 80, 60)
        probability[50:60, 70:80] = 255
    face = Face(1, box, 0.9, region, probability[region.rows, region.columns])
    shown = parse_view(view).draw(frame.copy(), Mask(probability.copy(), region, (face,)), Style())
    changed = (shown != frame).any(axis=2)
    assert changed[40:90, 65:95].mean() > 0.95
    assert not changed[:20].any() and not changed[:, :35].any()
