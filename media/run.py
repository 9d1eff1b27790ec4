"""Doing the jobs of a plan: pictures, videos, cameras.

worker = Worker(options, open_network(options))
outcomes = run_all(plan, worker)  # or one by one: run_job(job, worker)
status = report(plan, outcomes, options, seconds)
"""

from __future__ import annotations

import time
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from faces.detector import Detector
from faces.mask import Mask
from faces.segmenter import Segmenter, segment_picture
from files.pictures import ANIMATED_SUFFIXES, metadata_of, on_black, read_pixels, write_image
from media.frames import Frame, Result, Source
from media.jobs import ANIMATION, LIVE, PICTURE, UNREADABLE, Job, list_counts
from media.live import VirtualCamera, open_live
from media.options import Options
from media.pipeline import Pipeline, play_all
from media.plan import Plan
from media.player import Playback, Player
from media.sample import Sample
from media.sources import Animation, open_video
from media.videos import open_file
from media.views import View, find_view, to_rgb, with_alpha
from media.writers import AnimationWriter, PictureFolder, VideoWriter, Writer
from runtimes.choose import open_runtime, video_size
from runtimes.runtime import Runtime, with_flip
from utils import UserError, explain, log


class Worker:
    """What jobs are done with, one after another."""

    def __init__(self, options: Options, network: Runtime, player: Player | None = None):
        self.options, self.network = options, network
        self.player = player or Player(options)

    @cached_property
    def detector(self) -> Detector | None:
        return Detector(self.options.small_faces) if self.options.detect else None

    def mask(self, image: np.ndarray) -> Mask:
        """Return the mask of a picture, HWC uint8 BGR."""
        network = with_flip(self.network) if self.options.flip else self.network
        return segment_picture(network, self.detector, image, self.options.full_size, self.player.timing)

    def segmenter(self, source: Source) -> Segmenter:
        """Return what segments the frames of a source. It heeds the player's view."""
        options, view = self.options, self.player.view
        full = options.full_size
        size = full if options.size or view.careful else video_size(self.network, full, source.live)
        how = (size, options.smooth, source.live, options.detect_every, self.player.timing)
        segmenter = Segmenter(self.network, self.detector, *how)

        def heed(view: View) -> None:
            segmenter.set_hiding(view.careful, full if view.careful else size)

        heed(view)
        self.player.on_view = heed
        return segmenter


class Outcome(NamedTuple):
    """What came of a job."""

    job: Job
    status: int  # 0 if all of it was done, 1 if something went wrong, 130 or 143 if it was interrupted
    count: int = 0  # pictures or frames
    faceless: str = ""  # the name of a picture or video in which there was no face
    error: str = ""


def open_network(options: Options) -> Runtime:
    weights = options.weights
    if weights == "published":
        from runtimes.download import fetch_published

        weights = fetch_published("linknet")
    return open_runtime(weights, options.runtime, options.device, options.precision)


def run_all(plan: Plan, worker: Worker) -> list[Outcome]:
    """Do all jobs, until the user has enough."""
    outcomes = []
    hidden = None if worker.options.output and not plan.alone else True  # None: shown in a terminal
    for job in tqdm(plan.jobs, unit=" files", disable=hidden):
        start = time.perf_counter()
        outcome = run_job(job, worker)
        outcomes.append(outcome)
        if outcome.error:
            log.warning("%s", outcome.error)
        elif job.kind != PICTURE:
            print_rate(outcome.count, "frames", time.perf_counter() - start)
        if worker.player.ended or outcome.status > 1:
            break
    if worker.player.table is not None and len(outcomes) < len(plan.jobs):
        worker.player.table.finished = False
    return outcomes


def report(plan: Plan, outcomes: list[Outcome], options: Options, seconds: float) -> int:
    """Say what was done. Return the exit status: 0 if that is all that was asked for."""
    hides = find_view(options.view).hides
    pictures = sum(outcome.count for outcome in outcomes if outcome.job.kind == PICTURE)
    if pictures:
        print_rate(pictures, "pictures", seconds)
    faceless = [outcome.faceless for outcome in outcomes if outcome.faceless]
    if hides and faceless:
        log.warning("no face was found in %s", ", ".join(faceless))
    if not plan.alone or not plan.jobs:
        counts = Counter(done=0, failed=0)
        counts.update("failed" if outcome.status else "done" for outcome in outcomes)
        counts.update({"there already": plan.there_already} if plan.there_already else {})
        more = f", {plan.left_out.total()} left out ({list_counts(plan.left_out)})" if plan.left_out else ""
        log.warning("%s%s", list_counts(counts), more)
    # The faces of skipped files are not hidden, and a folder that cannot be read holds anything: a failure.
    incomplete = plan.left_out if hides else plan.left_out[UNREADABLE]
    ended = options.table and len(outcomes) < len(plan.jobs)  # by the user: the table is not whole
    return max([int(bool(incomplete or ended)), *(outcome.status for outcome in outcomes)])


def print_rate(count: int, what: str, seconds: float) -> None:
    print(f"{count} {what} in {seconds:.1f} s, {count / max(seconds, 1e-6):.1f} {what}/s")


def run_job(job: Job, worker: Worker) -> Outcome:
    """Do one job. What goes wrong is in the outcome, so that it does not hold up the others."""
    try:
        return (run_picture if job.kind == PICTURE else run_video)(job, worker)
    except Exception as error:  # of any kind: one file never ends a folder
        log.debug("", exc_info=error)
        if worker.player.table is not None:
            worker.player.table.finished = False
        return Outcome(job, 1, error=explain(error).replace(str(job.source), job.name))


def run_picture(job: Job, worker: Worker) -> Outcome:
    """Segment a picture, and write or show what comes out."""
    player = worker.player
    playback = Playback(player, Source(job.name))
    with player.timing("read"):
        pixels = read_pixels(job.source, job.name)
        image = cv2.cvtColor(on_black(pixels), cv2.COLOR_RGB2BGR)
    result = Result(Frame(image), worker.mask(image))
    playback.note(result)
    if job.output is not None:
        drawn = player.draw(result)
        if player.view.transparent and pixels.shape[2] == 4:
            alpha = cv2.multiply(drawn[..., 3], pixels[..., 3], scale=1 / 255)  # transparent where either is
            drawn = with_alpha(pixels[..., 2::-1], alpha)
        with player.timing("write"):
            exif = metadata_of(job.source) if worker.options.keep_metadata else b""
            write_image(job.output, to_rgb(drawn, job.output.suffix), exif=exif)
    elif player.window is not None:
        playback.hold(result, f"{job.source.name}: space for the next, q to end")
    return Outcome(job, int(playback.failed), 1, playback.faceless)


def run_video(job: Job, worker: Worker) -> Outcome:
    """Play everything that a source gives."""
    options, player = worker.options, worker.player
    source = open_source(job, options, endless=bool(player.window or options.virtual_camera))
    sinks = [open_writer(job, source, options, player.view)] if job.output else []
    sinks += [VirtualCamera(source.rate)] if options.virtual_camera else []
    segmenter = worker.segmenter(source)
    log.info("%s, %.4g frames/s; %s", source.name, source.rate, worker.network.name)
    for remark in source.remarks if job.output else ():
        log.info("%s: %s", source.name, remark)
    playback = Playback(player, source, sinks)
    pipeline = Pipeline(source, segmenter, player.timing, playback.recorded)
    status = play_all(pipeline, playback, options.max_frames)
    losses = source.losses()
    if playback.recorded() and pipeline.dropped:
        losses.append(f"{pipeline.dropped} frames were dropped: this machine is too slow for all")
    for loss in losses:
        log.info("%s: %s", source.name, loss)
    if job.output and playback.count:
        log.info("%s", sinks[0].outcome())
    return Outcome(job, status, playback.count, playback.faceless)


def open_source(job: Job, options: Options, endless: bool) -> Source:
    """Return the frames of a job. endless: the sample goes on until the user ends it."""
    if job.kind == ANIMATION:
        return Animation(job.source, options.stride, job.name)
    if job.kind != LIVE:
        return open_file(job.source, options.stride)
    if job.source != "sample":
        try:
            camera = options.camera_size, options.camera_rate
            return open_video(job.source or "0", options.stride, options.reconnect, *camera)
        except UserError as error:
            if job.source is not None:
                raise
            log.warning("%s: taking the sample instead (--source chooses another)", error)
    return Sample((endless and not job.output) or options.max_frames is not None, options.stride)


def open_writer(job: Job, source: Source, options: Options, view: View) -> Writer:
    """Return what writes the pictures of a source: a video, a stream, an animation, or numbered files."""
    if job.kind == ANIMATION and Path(job.output).suffix.lower() in ANIMATED_SUFFIXES:
        exif = metadata_of(job.source) if options.keep_metadata else b""
        return AnimationWriter(job.output, min(source.expected, options.max_frames or source.expected), exif)
    held = job.kind != ANIMATION and isinstance(job.output, Path) and not job.is_numbered(view)
    if options.keep_metadata and not held:
        log.info("%s: date, place and camera are left out of what is written", source.name)
    if job.is_numbered(view):
        return PictureFolder(job.output)
    what = source.rate, source.colors, source.sound if options.sound else None
    how = {"crf": options.crf, "preset": options.preset}
    if isinstance(job.output, str):
        return open_live(job.output, *what, patience=options.reconnect, **how)
    metadata = source.metadata if options.keep_metadata else None
    return VideoWriter(job.output, *what, transparent=view.transparent, metadata=metadata, **how)
