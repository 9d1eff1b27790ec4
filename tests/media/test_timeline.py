"""The times of frames: python -m pytest tests/media/test_timeline.py"""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from media.timeline import Timeline

STEP = Fraction(1, 25)


def shown(stamps: list, frames: list, delay: int = 2, guessed: bool = False) -> tuple[list, Timeline]:
    """Return what is shown, in steps: (begin, whether it is a frame of its own).

    stamps: of the packets. frames: those of the frames, each of which comes `delay` packets after its own.
    """
    timeline, result = Timeline(STEP, guessed), []
    for number in range(max(len(stamps), len(frames)) + delay):
        if number < len(stamps) and stamps[number] is not None:
            timeline.add(stamps[number] * STEP, STEP)
        if 0 <= number - delay < len(frames):
            stamp = frames[number - delay]
            stamp = None if stamp is None else stamp * STEP
            result += [(round(25 * at), is_own) for is_own, at, _ in timeline.spans(stamp)]
    return result + [(round(25 * at), False) for at, _ in timeline.rest()], timeline


@pytest.mark.parametrize(
    "stamps, frames, wanted",
    [
        ([0, 3, 1, 2, 6, 4, 5], [0, 1, 2, 3, 4, 5, 6], "0 1 2 3 4 5 6"),
        ([0, 1, 2, 5, 6], [0, 1, 2, 5, 6], "0 1 2 5 6"),  # a pause
        ([0, 1, 2, 3, 4], [0, 3, 4], "0 (1) (2) 3 4"),
        ([0, 1, 2, 3, 4], [2], "(0) (1) 2 (3) (4)"),
        ([None] * 4, [None] * 4, "0 1 2 3"),
        ([0, 1, 2], [0, 1, 1, 2], "0 1 2 3"),  # two frames of one packet
        (
            [0, 1, 2, 3, 4, 5, 6, 7],
            [0, 2, 1, 4, 3, 6, 7],
            "0 (1) 2 3 4 5 6 (7)",
        ),  # out of order, and 5 is lost
    ],
)
def test_each_packet_is_shown_once_at_its_time(stamps, frames, wanted):
    result, timeline = shown(stamps, frames)
    assert " ".join(str(at) if own else f"({at})" for at, own in result) == wanted and timeline.jumps == 0


def test_the_second_field_of_an_interlaced_frame_is_no_frame():
    timeline = Timeline(Fraction(1))
    for half in range(8):
        timeline.add(Fraction(half, 2), Fraction(1, 2))
    found = []
    for stamp in range(4):
        assert timeline.join_fields(Fraction(stamp), Fraction(1)) == 1
        found += timeline.spans(Fraction(stamp))
    assert found == [(True, at, at + 1) for at in range(4)] and not list(timeline.rest())
    timeline.add(Fraction(4), Fraction(1))
    timeline.add(Fraction(5), Fraction(1))
    assert timeline.join_fields(Fraction(4), Fraction(1)) == 0  # a whole frame
    assert len(list(timeline.spans(Fraction(5)))) == 2


def test_guessed_stamps_are_taken_in_order():
    result, timeline = shown([0, 3, 2, 4, 1, 7, 6, 8, 5], [0, 3, 2, 4, 1, 7, 6, 8, 5], delay=5, guessed=True)
    assert result == [(at, True) for at in range(9)] and timeline.jumps == 0


@pytest.mark.parametrize("jump", [-1000, 10**10])
def test_jumps_are_left_out(jump):
    stamps = [0, 1, 2, *(number + jump for number in range(3, 9))]
    result, timeline = shown(stamps, stamps, delay=0)
    assert result == [(at, True) for at in range(9)] and timeline.jumps == 1


def test_a_decoder_that_loses_stamps_loses_no_frames():
    result, _ = shown(list(range(500)), [None] * 500)
    assert 500 <= len(result) < 560 and all(a < b for (a, _), (b, _) in itertools.pairwise(result))


def test_a_frame_of_unknown_length_is_shown_as_long_as_the_one_before():
    timeline = Timeline(Fraction(1, 25))
    for stamp in (0, 2):
        timeline.add(Fraction(stamp), Fraction(0))
    assert [[*timeline.spans(Fraction(stamp))] for stamp in (0, 2)] == [[(True, 0, 0.04)], [(True, 2, 4)]]
