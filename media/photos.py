"""Photos: read, looked at with care, and written or shown."""

from __future__ import annotations

import argparse
import time

import cv2

from faces.finder import Finder
from faces.segmenter import segment_picture
from faces.timing import Timing
from files.pictures import metadata_of, on_black, read_pixels, write_image
from media.frames import Frame
from media.jobs import Job
from media.pipeline import Result
from media.player import Player, Stream
from media.views import to_rgb, with_alpha
from runtimes.choose import with_flip


class Pictures:
    """Looks at pictures, and writes or shows what comes out."""

    def __init__(self, args: argparse.Namespace, views: list, network, timing: Timing, window, table):
        self.args, self.timing, self.window = args, timing, window
        self.network = with_flip(network) if args.flip else network
        self.finder = Finder(photo=True, small_faces=args.small_faces) if args.find else None
        self.how = (views, args.threshold)
        self.more = ([], window, args.folder, timing, None, table)
        self.count, self.ended = 0, False

    def run(self, job: Job) -> tuple[int, bool]:
        """Returns the exit status, and whether there was a face. Raises UserError, OSError."""
        player = Player(*self.how, Stream(str(job.source), rate=1.0, live=False), *self.more)
        with self.timing("read"):
            pixels = read_pixels(job.source)
            image = cv2.cvtColor(on_black(pixels), cv2.COLOR_RGB2BGR)
        mask = segment_picture(self.network, self.finder, image, self.args.size, self.timing)
        result = Result(Frame(image, 0, time.perf_counter(), 0.0, 1.0), mask)
        player.note(result)
        if job.output is not None:
            drawn = player.draw(result)
            if self.args.view == "cutout" and pixels.shape[2] == 4:
                drawn = with_alpha(drawn, pixels)
            with self.timing("write"):
                exif = metadata_of(job.source) if self.args.keep_metadata else b""
                write_image(job.output, to_rgb(drawn), exif)
        elif self.window is not None:
            self.ended = not player.hold(result, f"{job.source.name}: space for the next, q to end")
        self.count += 1
        return int(player.failed), player.found
