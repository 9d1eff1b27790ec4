"""What one visitor of the page (page.py) does: a camera's frames one by one, and files.

    session = Session(folder, one_at_a_time(network))
    picture = session.draw_frame(image, options)          # HWC uint8 BGR
    outcome = session.do_files(paths, options)
    session.close()                                       # deletes the results

Files go through `make_plan` and `run_job`, as on the command line.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

from media.frames import Frame, LiveSource, Result
from media.jobs import VIDEO, kind_of
from media.options import Options
from media.plan import make_plan
from media.player import Player
from media.run import Worker, make_player, make_segmenter, run_job
from media.table import FaceTable
from media.views import find_view, parse_view, to_bgr
from runtimes.runtime import Runtime
from utils import UserError, explain, log


class Done(NamedTuple):
    """What came of some files."""

    results: list[Path]
    table: Path  # CSV, see table.py
    rows: list[list[str]]  # of the table, without its head
    messages: list[str]


class Camera:
    """Segments a camera's frames, which somebody else reads, and follows the faces in them."""

    def __init__(self, options: Options, network: Runtime):
        self.player, self.smooth = make_player(options), options.smooth
        detector = Worker(options, network, self.player).detector
        source, view = LiveSource("the browser's camera"), self.player.view
        segmenter, self.set_view = make_segmenter(source, network, detector, options, view)
        self.set_view(view)
        self.frames: SimpleQueue[Frame] = SimpleQueue()
        self.results = segmenter.segment(segmenter.follow(iter(self.frames.get, None)))

    def draw(self, image: np.ndarray, options: Options) -> np.ndarray:
        """Return the view of the next frame. Both are HWC uint8 BGR; the options may change but `smooth`."""
        self.player.style = options.style
        if options.view != self.player.view.name:
            self.player.views = [parse_view(options.view)]
            self.set_view(self.player.view)
        now = time.perf_counter()
        self.frames.put(Frame(image, time=now, at=now, until=now))
        frame, mask = next(self.results)
        return to_bgr(self.player.draw(Result(frame, mask)))


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

    def do_files(self, paths: Iterable[Path], options: Options) -> Done:
        """Do the files one after another until the session is closed. What goes wrong is in the messages."""
        with self.busy:
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            self.player = player = make_player(options)
            worker = Worker(options, self.network, player)
            results, messages, text = [], [], ""
            for number, path in enumerate(paths, 1):
                if self.closed:
                    break
                own = folder / str(number)  # two files may have one name
                with FaceTable(own / "faces.csv") as player.table:
                    output, message = do_file(path, own, worker)
                results += [output] if output else []
                # Names as the visitor knows them, without the folder that they are in here.
                messages += [message.replace(f"{path.parent}/", "")] if message else []
                (written,) = own.glob("faces*.csv")  # of another name if the file was cut off
                head, _, rows = written.read_text("utf-8").replace(f"{path.parent}/", "").partition("\n")
                text += rows if text else f"{head}\n{rows}"
            table = folder / "faces.csv"
            table.write_text(text, "utf-8")
        return Done(results, table, list(csv.reader(text.splitlines()[1:])), messages)

    def close(self) -> None:
        """Delete the results. What is being done ends first."""
        self.closed, self.camera = True, None
        if self.player is not None:
            self.player.ended = True
        with self.busy:
            shutil.rmtree(self.folder)


def do_file(path: Path, folder: Path, worker: Worker) -> tuple[Path | None, str]:
    """Return the result of one file, None without one, and what there is to say of it."""
    options = worker.options
    # Into a folder, the frames of a cut-out video would go as numbered files.
    is_cutout = find_view(options.view).transparent and kind_of(path) == VIDEO
    output = folder / f"{path.stem}.webm" if is_cutout else folder
    try:
        (job,) = make_plan(replace(options, source=str(path), output=str(output))).jobs
    except (UserError, OSError) as error:
        log.warning("%s", explain(error))
        return None, explain(error)
    outcome = run_job(job, worker)
    message = outcome.error or ("" if outcome.faces else f"no face was found in {path}")
    return (job.output if job.output.is_file() else None), message


def one_at_a_time(network: Runtime) -> Runtime:
    """Return the network for use by several threads."""
    lock = threading.Lock()

    def call(batch: np.ndarray) -> np.ndarray:
        with lock:
            return network(batch)

    call.name = network.name
    return call
