"""From the pipeline to the player, until one of them has enough."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from typing import Iterator

from tqdm import tqdm

from media.pipeline import Pipeline
from media.player import Player
from utils import UserError


def play_all(pipeline: Pipeline, player: Player, max_frames: int | None, progress: bool) -> int:
    """Everything that comes out of the pipeline. Returns the exit status; OSError if writing fails."""
    source, warning, status = pipeline.source, "", 0
    whole = False  # whether all that was asked for has come
    total = max_frames or getattr(source, "expected", None)
    with tqdm(total=total, unit=" frames", disable=None if progress else True, leave=False) as bar, pipeline:
        try:
            while not whole:
                if (result := pipeline.take(player.idle)) is None:
                    whole = True
                    if source.sound is not None:
                        source.sound.ended = True
                    break
                frozen = source.live and source.frozen(time.perf_counter())
                if frozen and not warning:
                    warning = f"{source.name} gives the same picture again and again: is it stuck or covered?"
                    player.say(warning)
                elif not frozen:
                    warning = ""
                bar.update()
                if not player.play(result, warning):
                    whole = source.live
                    break
                whole = player.count == max_frames
        except UserError as error:
            print(f"infer.py: {error}", file=sys.stderr)
            status = 1
        except KeyboardInterrupt:
            print("infer.py: interrupted; what was written so far is kept", file=sys.stderr)
            status, whole = 130, source.live
        finally:
            with undisturbed():
                player.close(whole)
    return status or (1 if warning or player.failed else 0)


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
