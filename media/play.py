"""From the pipeline to the player, until one of them has enough."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import time
from typing import Iterator

import numpy as np
from tqdm import tqdm

from media.pipeline import Pipeline
from media.player import Player
from utils import UserError

FROZEN_SECONDS = 5.0  # a real camera's noise never repeats a frame for so long


def play_all(pipeline: Pipeline, player: Player, max_frames: int | None) -> int:
    """Play what comes out of the pipeline. Return the exit status. Raises OSError if writing fails."""
    source, status = pipeline.source, 0
    whole = False  # whether all that was asked for has come
    before, changed, warning = None, 0.0, ""  # a few pixels of a live source, and since when they are so
    total, hidden = max_frames or source.expected, True if player.window is not None else None
    with tqdm(total=total, unit=" frames", disable=hidden, leave=False) as bar, pipeline:
        try:
            for result in iter(functools.partial(pipeline.take, player.idle), None):
                if source.live:
                    sample, now = result.frame.image[::16, ::16].copy(), time.perf_counter()
                    if not np.array_equal(sample, before):
                        before, changed, warning = sample, now, ""
                    elif now - changed > FROZEN_SECONDS and not warning:
                        warning = (
                            f"{source.name} gives the same picture again and again: is it stuck or covered?"
                        )
                        player.say(warning)
                bar.update()
                if not player.play(result, warning):
                    whole = source.live
                    break
                if player.count == max_frames:
                    whole = True
                    break
            else:
                whole = True
                if source.sound is not None:
                    source.sound.ended = True
        except UserError as error:
            print(f"infer.py: {error}", file=sys.stderr)
            status = 1
        except KeyboardInterrupt:
            print("infer.py: interrupted; what was written so far is kept", file=sys.stderr)
            status, whole = 130, source.live
        finally:
            with undisturbed():
                player.close(whole)
    return status or int(bool(warning) or player.failed)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """While it lasts, Ctrl-C and the like do nothing: a recording is being finished."""
    numbers = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
