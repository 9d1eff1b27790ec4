"""Mark or hide the faces of a camera's picture, a video, a stream or photos.

    python infer.py                                          # the first camera, in a window (h: help)
    python infer.py --source clip.mp4 --output out.mp4       # a video; also a picture, a folder, a stream

From Python: faceseg.py. Exit status: 0 if all was done, 1 if something went wrong, 130 after Ctrl-C and 143
after SIGTERM (what was recorded is kept).
"""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))  # before the modules of a program that imports this

from utils import UserError, interrupted, run  # first: it says what to install where OpenCV does not load

# isort: split
from media.jobs import PICTURE
from media.live import STDOUT, stdout_kept
from media.options import Options, parse_arguments
from media.plan import Plan, make_plan
from media.player import Player
from media.run import Worker, open_network, report, run_all
from media.streams import fetched, is_picture_address, printable
from media.table import FaceTable
from media.window import open_window


def main() -> int:
    options = parse_arguments()
    # Like Ctrl-C: what is being recorded is kept. A terminal that closes sends SIGHUP, unless under nohup.
    signal.signal(signal.SIGTERM, interrupted)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, interrupted)
    if options.page:
        from media.page import serve  # late: gradio is slow to load

        return serve(options)
    with contextlib.ExitStack() as stack:
        address = ""
        if options.source is not None and is_picture_address(options.source):
            address = printable(options.source)
            options.source = stack.enter_context(fetched(options.source))
        if options.output in STDOUT:  # a pipe for the video alone: what is printed goes to stderr
            options.output = stack.enter_context(stdout_kept())
        plan = make_plan(options, address)
        player = open_player(options, plan, stack)  # before the network: see open_window
        worker = Worker(options, open_network(options), player)
        start = time.perf_counter()
        outcomes = run_all(plan, worker)
        status = report(plan, outcomes, options, time.perf_counter() - start)
        if options.timing:
            print(player.timing.table())
        return status


def open_player(options: Options, plan: Plan, stack: contextlib.ExitStack) -> Player:
    """Return what draws, shows and tabulates; the stack closes its window and its table."""
    player = Player(options)
    photo = any(job.kind == PICTURE for job in plan.jobs)
    if options.window and (not options.output or (plan.alone and not photo)):
        player.window = open_window("LinkNet34")
    if player.window is not None:
        stack.callback(player.window.close)
    elif not (options.output or options.virtual_camera or options.timing or options.table):
        raise UserError("nothing would come out of this: give an --output")
    if options.table:
        player.table = stack.enter_context(FaceTable(options.table))
    return player


def segment(image: np.ndarray, **options) -> np.ndarray:
    """Deprecated: see FaceSegmenter.segment in faceseg.py. find: its `detect`."""
    return kept_segmenter(**options).segment(image)


def faces(image: np.ndarray, **options) -> list:
    """Deprecated: see FaceSegmenter.faces in faceseg.py. find: its `detect`."""
    return kept_segmenter(**options).faces(image)


@functools.lru_cache(maxsize=2)
def kept_segmenter(find: bool = True, **options):
    warnings.warn("use FaceSegmenter of faceseg.py: this will go", DeprecationWarning, stacklevel=3)
    from faceseg import FaceSegmenter

    return FaceSegmenter(detect=find, **options)


if __name__ == "__main__":
    run(main)
