"""Which faces a view draws, how far they reach, how soft they are: python -m pytest tests/media"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faces.mask import Face, Mask, Region
from media.shapes import (
    Length,
    Selection,
    Style,
    contains,
    joined,
    parse_length,
    parse_rectangle,
    parse_tracks,
    reshape,
    soften,
)
from media.views import parse_view
from utils import UserError


def disc(track: int, centre: tuple[int, int], radius: int) -> Face:
    """A round face in a frame of 300x400; its box is that of the disc."""
    x, y = centre
    region = Region(x - radius, y - radius, x + radius + 1, y + radius + 1)
    levels = np.zeros((region.height, region.width), np.uint8)
    cv2.circle(levels, (radius, radius), radius, 255, -1)
    return Face(track, region, 0.9, region, levels)


def radius_of(mask: Mask, above: int = 127) -> float:
    return (np.count_nonzero(mask.probability > above) / np.pi) ** 0.5


FACES = [disc(1, (100, 150), 40), disc(2, (300, 150), 20)]
MASK = joined(FACES, (300, 400))


def test_lengths_tracks_and_rectangles():
    assert parse_length("10%") == Length(0.1, True) and parse_length("-5") == Length(-5)
    assert (
        parse_length("10%").pixels(Region(0, 0, 30, 50)) == 5
        and parse_length("7").pixels(Region(0, 0, 1, 1)) == 7
    )
    assert parse_tracks("1,3") == (1, 3) and parse_rectangle("10,20,30,40") == Region(10, 20, 40, 60)
    for parse, bad in (
        (parse_length, ("", "%", "x", "nan", "200%", "1e9")),
        (parse_tracks, ("", "1,", "x", "-1", "1;2")),
        (parse_rectangle, ("", "1,2,3", "1,2,3,0", "1,2,3,-4", "1.5,2,3,4", "a,b,c,d")),
    ):
        for text in bad:
            with pytest.raises(UserError):
                parse(text)


@pytest.mark.parametrize("by", [4, 12, 19, -6, -12, -19])
def test_faces_grow_and_shrink_by_pixels(by):
    mask = reshape(joined(FACES[:1], (300, 400)), Style(grow=Length(by)))
    assert radius_of(mask) == pytest.approx(40 + by, abs=2.5)
    left, top, right, bottom = cv2.boundingRect((mask.probability > 0).astype(np.uint8))
    assert mask.region.left <= left and mask.region.top <= top
    assert mask.region.right >= left + right and mask.region.bottom >= top + bottom


@pytest.mark.parametrize("by", [20, 60, 100])
@pytest.mark.parametrize("radius", [3, 8, 12])
def test_small_faces_grow_too_and_are_hidden_under_a_wide_feather(by, radius):
    small = joined([disc(1, (200, 150), radius)], (300, 400))
    assert radius_of(reshape(small, Style(grow=Length(by)))) == pytest.approx(radius + by, rel=0.07)
    hidden = reshape(small, Style(feather=Length(by)), hides=True).probability
    assert hidden[small.probability > 0].min() > 240


@pytest.mark.parametrize("by", [3, 40, 200])
def test_no_pixel_of_a_small_face_is_lost_when_it_grows(by):
    small = joined([disc(1, (100, 150), 2)], (300, 400))
    assert (reshape(small, Style(grow=Length(by))).probability >= small.probability).all()


def test_a_share_is_of_each_face_and_the_edge_of_the_frame_is_the_end():
    mask = reshape(MASK, Style(grow=Length(0.25, True)))
    sizes = [radius_of(joined([face], (300, 400))) for face in mask.faces]
    assert sizes == pytest.approx([60, 30], abs=2)
    at_the_edge = joined([disc(1, (40, 40), 40)], (300, 400))
    assert reshape(at_the_edge, Style(grow=Length(30))).region == Region(0, 0, 111, 111)


def test_views_that_hide_grow_faces_by_a_tenth_unless_told():
    frame = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    for style, radius in ((Style(), 48), (Style(grow=Length(0)), 40), (Style(grow=Length(20)), 60)):
        shown = parse_view("fill-face:red").draw(frame.copy(), joined(FACES[:1], (300, 400)), style)
        red = (shown == (0, 0, 255)).all(axis=2)
        assert (np.count_nonzero(red) / np.pi) ** 0.5 == pytest.approx(radius, abs=2.5)


def test_views_that_hide_cover_the_box_of_a_face_whose_mask_lies_beside_it():
    face = disc(1, (100, 150), 40)
    beside = face._replace(box=face.box.moved(70, 0))
    (hidden,) = reshape(joined([beside], (300, 400)), Style(), hides=True).faces
    levels = np.zeros((300, 400), np.uint8)
    levels[hidden.region.rows, hidden.region.columns] = hidden.mask
    assert (cv2.circle(np.zeros_like(levels), (170, 150), 38, 255, -1) <= levels).all()


@pytest.mark.parametrize("left, top", [(0, 100), (100, 0), (360, 100), (100, 260), (0, 0)])
def test_a_face_at_the_frames_edge_is_covered_up_to_it(left, top):
    box = Region(left, top, min(left + 60, 400), min(top + 80, 300))
    unseen = Face(1, box, 0.9, Region(0, 0, 0, 0), np.zeros((0, 0), np.uint8))
    covered = reshape(joined([unseen], (300, 400)), Style(grow=Length(0)), hides=True).probability
    assert (covered[box.rows, box.columns] == 255).all()


def test_a_feather_of_less_than_a_pixel_hides_a_face_of_which_the_network_is_unsure():
    face = disc(1, (100, 150), 20)
    face = face._replace(mask=cv2.min(face.mask, 200))
    for feather in (Length(0.4), Length(0.01, True)):
        mask = reshape(joined([face], (300, 400)), Style(feather=feather), hides=True)
        levels = soften(mask.probability, Style(feather=feather))
        assert levels[150, 100] == 255


def test_feathered_edges_fade_over_so_many_pixels():
    for width in (6, 20):
        mask = reshape(joined(FACES[:1], (300, 400)), Style(feather=Length(width)))
        row = mask.probability[150, 60 - 2 * width : 60 + 2 * width]
        assert np.all(np.diff(row.astype(int)) >= 0) and row[0] < 3 and row[-1] > 252
        assert np.count_nonzero((row > 13) & (row < 242)) == pytest.approx(width * 1.3, rel=0.25)
    hidden = reshape(joined(FACES[:1], (300, 400)), Style(feather=Length(10)), hides=True)
    assert (hidden.probability[joined(FACES[:1], (300, 400)).probability > 0] > 240).all()  # it fades outside


def test_what_is_at_the_left_and_the_top_edge_is_in_a_region():
    inside = [
        (x, y) for x in (9, 10, 29, 30) for y in (19, 20, 59, 60) if contains(Region(10, 20, 30, 60), (x, y))
    ]
    assert inside == [(10, 20), (10, 59), (29, 20), (29, 59)]


def test_the_faces_that_are_meant():
    for selection, left in (
        (Selection(), [1, 2]),
        (Selection(except_track=(1,)), [2]),
        (Selection(except_track=(1, 2, 9)), []),
        (Selection(only_in=Region(0, 0, 200, 300)), [1]),
        (Selection(not_in=Region(0, 0, 200, 300)), [2]),
        (Selection(only_in=Region(0, 0, 400, 300), not_in=Region(250, 100, 350, 200)), [1]),
    ):
        mask = selection(MASK)
        assert [face.track for face in mask.faces] == left
        wanted = joined([face for face in FACES if face.track in left], (300, 400))
        np.testing.assert_array_equal(mask.probability, wanted.probability)
        assert mask.region == wanted.region


def test_the_soft_mask_is_the_probability_in_16_bits():
    frame, mask = np.zeros((300, 400, 3), np.uint8), joined(FACES, (300, 400))
    mask.probability[150, 100] = 77
    shown = parse_view("mask-soft").draw(frame, mask, Style())
    assert shown.dtype == np.uint16 and shown[150, 100] == 77 * 257 and shown.max() == 65535
    assert shown[0, 0] == 0


def test_numbers_are_drawn_at_the_faces():
    frame = np.zeros((300, 400, 3), np.uint8)
    shown = parse_view("numbers").draw(frame.copy(), MASK, Style())
    bare = parse_view("overlay").draw(frame.copy(), MASK, Style())
    changed = (shown != bare).any(axis=2)
    assert changed[110:112, 60:141].all() and changed[110:190, 60:62].all()  # the box of the first
    assert changed[90:109, 60:140].any() and changed[110:129, 280:320].any()  # letters above both
    assert not changed[200:].any()
