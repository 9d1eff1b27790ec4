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

from files.paths import check_made_up, identity, refuse_inputs
from files.pictures import ALPHA_SUFFIXES, ANIMATED_SUFFIXES, EXACT_SUFFIXES, WRITTEN
from media.jobs import ANIMATION, LIVE, PICTURE, Job, find_jobs, fixed_part, is_files
from media.live import is_live
from media.options import Options
from media.sample import PORTRAIT
from media.streams import printable
from media.views import View, find_view
from media.writers import FORMATS, TRANSPARENT, unfinished_path
from runtimes.weights import runtime_files
from utils import UserError


class Plan(NamedTuple):
    jobs: list[Job]  # that are to be done
    alone: bool  # whether the source is one file, camera or stream, and no folder or pattern
    there_already: int  # how many results of earlier runs are kept
    left_out: Counter  # how many files of which kinds


def make_plan(options: Options, address: str = "") -> Plan:
    """Return what a run is about to do. Raises UserError if it cannot, or would overwrite what it reads.

    address: from which the source, a picture, was fetched, as it may be printed.
    """
    view, output = find_view(options.view), options.output
    target = Path(output) if output and not is_live(output) else None
    if is_files(options.source):
        jobs, left_out = find_jobs(options.source, options.recursive, target)
        alone = len(jobs) == 1 and jobs[0].source == Path(options.source)
        if target:
            jobs = name_outputs(jobs, alone, fixed_part(options.source), target, view)
        jobs = [job._replace(address=address) for job in jobs]
    else:
        jobs, left_out, alone = [Job(options.source, LIVE, target)], Counter(), True
    if output and not target:
        if not alone or jobs[0].kind == PICTURE:
            raise UserError(f"{printable(output)} takes one video, not pictures or several files")
        jobs = [jobs[0]._replace(output=output)]
    if options.virtual_camera and jobs[0].kind == PICTURE:
        raise UserError("--virtual-camera needs a video or a camera as the source, not pictures")
    refuse_overwriting(jobs, options, view)
    unsure = unsure_results(jobs)
    part, parts = options.shard
    pictures = all(job.kind == PICTURE for job in jobs)
    jobs = jobs[part - 1 :: parts]
    if pictures:
        jobs = jobs[:: options.stride][: options.max_frames]
    todo = [job for job in jobs if not (options.skip_existing and is_there(job)) or job.output in unsure]
    done = len(jobs) - len(todo)
    if options.table and done:
        what = f"{options.table} would lack the faces of {done} results that are there already"
        raise UserError(f"{what}: use --table without --skip-existing")
    return Plan(todo, alone, done, left_out)


def name_outputs(
    jobs: list[Job], alone: bool, base: Path, target: Path, view: View, transparent=tuple(TRANSPARENT)
) -> list[Job]:
    """Return the jobs with the place for the result of each. transparent: suffixes for videos with alpha.

    A single file may have a file as its target; otherwise it is a folder, in which names (below `base`) are
    kept. Raises UserError if a result would take the place of a file beside its source that the target does
    not name, or its format cannot hold the view.
    """
    results = [target]
    if alone and target.suffix and not target.is_dir():
        held = ALPHA_SUFFIXES if view.transparent else EXACT_SUFFIXES if view.exact else WRITTEN
        suffix = target.suffix.lower()
        if jobs[0].kind == PICTURE and suffix not in held:
            raise UserError(f"{target}: '{suffix}' cannot hold a picture in this view: use {', '.join(held)}")
    elif not (alone and jobs[0]._replace(output=target).is_numbered(view)):
        results = named_alike(jobs, base, target, view, transparent)
    sources = {identity(job.source) for job in jobs}
    folders = {identity(job.source.parent) for job in jobs}
    for result in results:
        beside = result != target and result.is_file() and identity(result.parent) in folders
        if beside and identity(result) not in sources:
            raise UserError(f"{result} is there already, beside the source: choose another --output")
    return [job._replace(output=result) for job, result in zip(jobs, results, strict=True)]


def named_alike(jobs: list[Job], base: Path, folder: Path, view: View, transparent: tuple) -> list[Path]:
    """Return for each job its name below `base` in the folder: another suffix takes the place of its own, or,
    where that would make two results one, comes after it, as after the name of a file that is unfinished:
    another result has that name while it is written.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: for several files the output is a folder, and this is a file")
    ways = []
    for job in jobs:
        plain, suffix = folder / os.path.relpath(job.source, base), suffix_of(job, view, transparent)
        long = plain.with_name(plain.name + suffix)
        ways.append((plain, long if ".unfinished" in plain.stem else plain.with_suffix(suffix), long))
    counts = Counter(str(short).lower() for _, short, _ in ways)  # to some file systems a.png is a.PNG
    named = [
        long if short != plain and counts[str(short).lower()] > 1 else short for plain, short, long in ways
    ]
    return named if len(set(named)) == len(named) else [long for *_, long in ways]


def suffix_of(job: Job, view: View, transparent: tuple) -> str:
    """Return the suffix of a result in a folder: the source's own where that can hold it."""
    if job.kind == PICTURE:
        holds, other = ALPHA_SUFFIXES[:1] if view.exact else WRITTEN, ".png"
    elif job.kind == ANIMATION and job.source.suffix.lower() in ANIMATED_SUFFIXES:
        return job.source.suffix
    else:
        holds, other = (transparent, ".webm") if view.transparent else (FORMATS, ".mp4")
    return job.source.suffix if job.source.suffix.lower() in holds else other


def unsure_results(jobs: list[Job]) -> set[Path]:
    """Return the results that an earlier run may have made of another source, when this one was not there,
    or when another was that is gone: see `named_alike`.
    """
    names, unsure = [], set()  # names: as each is called now, and as where no other is like it
    for job in jobs:
        if isinstance(job.output, Path) and job.kind != LIVE:
            short = job.output.parent / (job.source.stem + job.output.suffix)
            names.append((job.output, str(job.output).lower(), str(short).lower()))
            long = job.output.with_name(job.source.name + job.output.suffix)
            if long != job.output and long.is_file():
                unsure.add(job.output)
    counts = Counter(short for *_, short in names)
    return unsure | {output for output, name, short in names if counts[name] > (name == short)}


def is_there(job: Job) -> bool:
    return isinstance(job.output, Path) and job.output.is_file() and job.output.stat().st_size > 0


def refuse_overwriting(jobs: list[Job], options: Options, view: View) -> None:
    """Raise UserError if a file is both read and written, is to be written twice, or has a name that will be
    made up and belongs to somebody.
    """
    kind, _, what = options.view.partition(":")
    inputs = [PORTRAIT, *runtime_files(options.weights), *(job.source for job in jobs if job.kind != LIVE)]
    inputs += [Path(what)] if kind == "background" and what else []
    table = [Path(options.table)] if options.table else []
    outputs, slow = list(table), list(table)  # slow: of another name until they are finished
    for job in jobs:
        if isinstance(job.output, Path):
            outputs.append(job.output)
            if job.is_numbered(view):
                refuse_numbered(job.output)
            elif job.kind != PICTURE:
                slow.append(job.output)
    made_up = [unfinished_path(path) for path in slow]
    refuse_inputs([*outputs, *made_up], inputs)
    for path in made_up:
        try:
            check_made_up(path)
        except OSError as error:  # the result has that name until it is finished
            raise UserError(f"cannot write {path}: {error.strerror}") from None


def refuse_numbered(folder: Path) -> None:
    """Raise UserError if there are numbered pictures in a folder into which others will be written."""
    names = os.listdir(folder) if folder.is_dir() else []
    taken = sorted(name for name in names if re.fullmatch(r"\d{6,}\.png", name))
    if taken:
        raise UserError(f"{folder / taken[0]} is there already: choose another --output, or remove it")
