"""What one visitor of the page (page.py) does: a camera's frames one by one, and files.

session = Session(folder, one_at_a_time(network))
picture = session.draw_frame(image, options)          # HWC uint8 BGR
done = session.do_files(paths, options)
session.close()                                       # deletes the results
"""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

from media.frames import Frame, LiveSource, Result
from media.jobs import VIDEO, Job, kind_of
from media.options import Options
from media.plan import Plan, name_outputs
from media.player import Player
from media.run import Outcome, Worker, run_all
from media.table import FaceTable
from media.views import parse_view, to_bgr
from runtimes.runtime import Runtime


class Done(NamedTuple):
    """What came of some files."""

    results: list[Path]
    table: Path  # CSV, see table.py
    rows: list[list[str]]  # of the table, without its head
    messages: list[str]


class Camera:
    """Segments a camera's frames, which somebody else reads, and follows the faces in them."""

    def __init__(self, options: Options, network: Runtime):
        worker = Worker(options, network)
        self.player, self.smooth = worker.player, options.smooth
        segmenter = worker.segmenter(LiveSource("the browser's camera"))
        self.frames: SimpleQueue[Frame] = SimpleQueue()
        self.results = segmenter.segment(segmenter.follow(iter(self.frames.get, None)))

    def draw(self, image: np.ndarray, options: Options) -> np.ndarray:
        """Return the view of the next frame. Both are HWC uint8 BGR; the options may change but `smooth`."""
        self.player.style = options.style
        if options.view != self.player.view.name:
            self.player.views = [parse_view(options.view)]
            self.player.on_view(self.player.view)
        now = time.perf_counter()
        self.frames.put(Frame(image, time=now, at=now, until=now))
        return to_bgr(self.player.draw(Result(*next(self.results))))


class Session:
    """One visitor. Files and frames may be done at the same time, in two threads."""

    def __init__(self, folder: Path, network: Runtime):
        """folder: for its own folder of results. network: see `one_at_a_time`."""
        self.folder, self.network = Path(tempfile.mkdtemp(prefix="results-", dir=folder)), network
        self.uploads: set[Path] = set()  # that are to be deleted at the end
        self.camera: Camera | None = None
        self.player: Player | None = None  # of the files that are being done
        self.busy = threading.Lock()  # while files are being done
        self.closed = False

    def draw_frame(self, image: np.ndarray, options: Options) -> np.ndarray:
        """Return the view of the camera's next frame. Both are HWC uint8 BGR."""
        try:
            if self.camera is None or self.camera.smooth != options.smooth:
                self.camera = Camera(options, self.network)
            return self.camera.draw(image, options)
        except Exception:
            self.camera = None  # its generators have ended
            raise

    def do_files(self, paths: list[Path], options: Options) -> Done:
        """Do the files one after another until the session is closed. What goes wrong is in the messages."""

        def as_known(text: str) -> str:
            """Return a text with the files' names as the visitor knows them, without their folders here."""
            for path in paths:
                text = text.replace(f"{path.parent}/", "")
            return text

        with self.busy:
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            worker = Worker(options.but(output=str(folder)), self.network)
            self.player = worker.player
            self.player.ended = self.closed
            base = Path(os.path.commonpath([path.parent for path in paths]))
            jobs = [Job(path, kind_of(path) or VIDEO) for path in dict.fromkeys(paths)]
            shown = (".webm",)  # no browser shows what .mov has of transparency, ProRes
            jobs = name_outputs(jobs, False, base, folder / "results", self.player.view, shown)
            table = folder / "faces.csv"
            with FaceTable(table) as self.player.table:
                outcomes = run_all(Plan(jobs, False, 0, Counter()), worker)
            (written,) = folder.glob("faces*.csv")  # of another name if a file was cut off
            table.write_text(as_known(written.read_text("utf-8")), "utf-8")
        results = [job.output for job in jobs if job.output.is_file()]
        messages = [as_known(text) for text in map(message_on, outcomes) if text]
        return Done(results, table, list(csv.reader(table.read_text("utf-8").splitlines()))[1:], messages)

    def close(self) -> None:
        """Delete the results. What is being done ends first."""
        self.closed, self.camera = True, None
        if self.player is not None:
            self.player.ended = True
        with self.busy:
            shutil.rmtree(self.folder)


def message_on(outcome: Outcome) -> str:
    """Return what there is to say of a file."""
    if outcome.status and not outcome.error:  # what there was to say is logged
        return f"{outcome.job.source} cannot be read to its end"
    return outcome.error or (f"no face was found in {outcome.faceless}" if outcome.faceless else "")


def one_at_a_time(network: Runtime) -> Runtime:
    """Return the network for use by several threads."""
    lock = threading.Lock()

    def call(batch: np.ndarray) -> np.ndarray:
        with lock:
            return network(batch)

    call.name = network.name
    return call
