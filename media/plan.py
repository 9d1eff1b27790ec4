"""What a run is about to do, and the one check of all that it reads and all that it may write.

plan = make_plan(Options(source="photos/", output="masked/", recursive=True))
for job in plan.jobs:
    outcome = run_job(job, worker)      # run.py
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from files.paths import refuse_inputs
from media.jobs import LIVE, PICTURE, Job, find_jobs, is_files, name_outputs
from media.live import is_live
from media.mux import unfinished_path
from media.options import Options
from media.sample import PORTRAIT
from media.sources import camera_index
from media.streams import hide_password
from media.views import View, find_view
from runtimes.weights import runtime_files
from utils import UserError


class Plan(NamedTuple):
    jobs: list[Job]  # that are to be done
    alone: bool  # whether the source is one file, camera or stream, and no folder or pattern
    there_already: int  # how many results of earlier runs are kept
    left_out: Counter  # how many files of which kinds
    inputs: list[Path]  # all that is read
    outputs: list[Path]  # all that may be written, under its own name or one that is made up


def make_plan(options: Options) -> Plan:
    """Return what a run is about to do. Raises UserError if it cannot, or would overwrite what it reads."""
    view = find_view(options.view)
    if is_files(options.source):
        leave = Path(options.output) if options.output else None
        jobs, left_out = find_jobs(options.source, options.recursive, leave)
        alone = len(jobs) == 1 and jobs[0].source == Path(options.source)
        if options.output and not is_live(options.output):
            jobs = name_outputs(jobs, options.source, options.output, view)
        elif options.output:
            if not alone or jobs[0].kind == PICTURE:
                name = hide_password(options.output)
                raise UserError(f"{name} takes one video, not pictures or several files")
            jobs = [jobs[0]._replace(output=options.output)]
    else:
        jobs = [Job(options.source, LIVE, live_output(options.output, view))]
        left_out, alone = Counter(), True
    if options.virtual_camera and jobs[0].kind == PICTURE:
        raise UserError("--virtual-camera needs a video or a camera as the source, not pictures")
    inputs, outputs = checked(jobs, options, view)
    part, parts = options.shard
    jobs = jobs[part - 1 :: parts]
    if all(job.kind == PICTURE for job in jobs):
        jobs = jobs[:: options.stride][: options.max_frames]
    todo = [job for job in jobs if not (options.skip_existing and is_there(job))]
    done = len(jobs) - len(todo)
    if options.table and done:
        what = f"{options.table} would lack the faces of {done} results that are there already"
        raise UserError(f"{what}: use --table without --skip-existing")
    return Plan(todo, alone, done, left_out, inputs, outputs)


def live_output(output: str | None, view: View) -> Path | str | None:
    """Return where what comes from a camera or a stream goes."""
    if output is None or is_live(output):
        return output
    return Path(output) / "camera.mp4" if Path(output).is_dir() and not view.transparent else Path(output)


def is_there(job: Job) -> bool:
    return isinstance(job.output, Path) and job.output.is_file() and job.output.stat().st_size > 0


def checked(jobs: list[Job], options: Options, view: View) -> tuple[list[Path], list[Path]]:
    """Return all that is read and all that may be written.

    Raises UserError if a file is in both, is to be written twice, or has a name that will be made up and
    belongs to somebody.
    """
    inputs = [path for job in jobs for path in files_of(job.source)]
    kind, _, what = options.view.partition(":")
    inputs += [*runtime_files(options.weights), *([Path(what)] if kind == "background" and what else [])]
    named = [job.output for job in jobs if isinstance(job.output, Path)]
    named += [Path(options.table)] if options.table else []
    made_up = []
    for job in jobs:
        if job.is_numbered(view):
            refuse_numbered(job.output)
        elif isinstance(job.output, Path) and job.kind != PICTURE:
            made_up.append(unfinished_path(Path(os.path.realpath(job.output))))
    if options.table:
        made_up.append(unfinished_path(Path(os.path.realpath(options.table))))
    refuse_inputs([*named, *made_up], inputs)
    for path in made_up:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UserError(f"{path} is in the way: the result has that name until it is finished; rename it")
    return inputs, [*named, *made_up]


def files_of(source: Path | str | None) -> list[Path]:
    """Return the files that a source reads."""
    if isinstance(source, Path):
        return [source]
    index = None if source is None else camera_index(source)
    return [PORTRAIT] * (source in (None, "sample")) + [Path(f"/dev/video{index or 0}")] * (index is not None)


def refuse_numbered(folder: Path) -> None:
    """Raise UserError if there are numbered pictures in a folder into which others will be written."""
    names = os.listdir(folder) if folder.is_dir() else []
    taken = sorted(name for name in names if re.fullmatch(r"\d{6,}\.png", name))
    if taken:
        raise UserError(f"{folder / taken[0]} is there already: choose another --output, or remove it")
