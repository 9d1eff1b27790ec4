"""Give the files of a folder to the machines of a Ray cluster, each as infer.py does it.

    python -m tools.cluster --source photos/ --output masked/  # all cores of this machine
    python -m tools.cluster --source photos/ --output masked/ --address auto  # the cluster that runs here

It takes the options of infer.py. Large videos go first; the file of a worker that dies is done again.
Every machine must have this folder, the files and the output under the same paths.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import logging
import logging.handlers
import os
import pickle
import queue
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
from tqdm import tqdm

from media import options as infer_options
from media.jobs import VIDEO, Job, is_files
from media.live import is_live
from media.options import Options
from media.plan import make_plan
from media.run import Outcome, Worker, open_network, report, run_job
from media.table import FaceTable
from runtimes.weights import existing_weights
from utils import Parser, UserError, explain, integer, interrupted, log, run


class Done(NamedTuple):
    """What a worker gives back."""

    outcome: Outcome
    said: tuple[logging.LogRecord, ...] = ()
    table: bytes = b""  # a CSV file


@functools.cache
def worker_for(options: bytes, folder: str, level: int) -> tuple[Worker, queue.SimpleQueue]:
    """Return what does this process's files, and what it will have to say.

    options: pickled. folder: what relative paths begin at. level: of the log.
    """
    from runtimes.openvino_runtime import core

    chosen = pickle.loads(options)
    os.chdir(folder)
    cv2.setNumThreads(chosen.cores)
    core().set_property("CPU", {"INFERENCE_NUM_THREADS": chosen.cores})
    said = queue.SimpleQueue()
    log.handlers, log.propagate = [logging.handlers.QueueHandler(said)], False
    log.setLevel(level)
    return Worker(chosen, open_network(chosen)), said


def do_file(job: Job, *how) -> Done:
    """Do one file in a process of Ray's. how: see worker_for."""
    worker, said = worker_for(*how)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.csv"
        with FaceTable(path) as table:
            worker.player.table = table if worker.options.table else None
            outcome = run_job(job, worker)
            table.finished = True  # with what rows there are: the outcome says whether these are all
        rows = path.read_bytes()
    return Done(outcome, tuple(said.get() for _ in range(said.qsize())), rows)


def make_parser() -> Parser:
    parser = infer_options.make_parser()
    parser.description = "Do what infer.py does with many files, on all machines of a Ray cluster."
    add = parser.add_argument_group("cluster").add_argument
    add("--address", metavar="HOST:PORT", help="of a cluster; auto: the one of this machine (default: none)")
    add("--cores", type=integer(1), default=2, metavar="N", help="of each worker (default: %(default)s)")
    again = "do a file again so often if its worker dies (default: %(default)s)"
    add("--retries", type=integer(0), default=2, metavar="N", help=again)
    return parser


def main() -> int:
    options = Options(**vars(make_parser().parse_args()))  # with those of the cluster
    plan = make_plan(options)
    check(options)
    start, outcomes = time.perf_counter(), {}
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(FaceTable(options.table)) if options.table else None
        rows = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            if plan.jobs:
                stack.enter_context(connected(options.address))
                done = run_all(plan.jobs, options)
                for number, result in tqdm(done, total=len(plan.jobs), unit=" files", disable=None):
                    (rows / str(number)).write_bytes(result.table)
                    outcomes[number] = result.outcome
                    for record in result.said:
                        log.handle(record)
        finally:  # interrupted, too: what is done need not be done again
            outcomes = dict(sorted(outcomes.items()))
            for number, outcome in outcomes.items():
                if outcome.error:
                    log.warning("%s", outcome.error)
                if table is not None:
                    table.append(rows / str(number))
                    table.finished &= not outcome.status
        return report(plan, list(outcomes.values()), options, time.perf_counter() - start)


def check(options: Options) -> None:
    """Raise UserError for what a cluster cannot do."""
    live = options.virtual_camera or options.page or is_live(options.output or "")
    if live or not is_files(options.source):
        raise UserError("a cluster reads files and writes files: name them with --source and --output")
    if not (options.output or options.table):
        raise UserError("nothing would come out of this: give an --output")
    if options.timing:
        raise UserError("--timing is for one machine: use it with infer.py")
    if options.weights != "published":
        existing_weights(options.weights)


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Join the cluster at an address, or make one of this machine's cores. Raises UserError if it cannot."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would report to a server
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    if address is None:  # then it listens on 127.0.0.1 alone
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError:
        raise UserError("Ray is not installed: `bash tools/setup.sh cluster` installs it") from None
    where = {"address": "local", "include_dashboard": False} if address is None else {"address": address}
    try:
        host, colon, port = (address or "").rpartition(":")
        if colon:  # Ray itself would try for long
            socket.create_connection((host, int(port)), 10).close()
        ray.init(**where, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, RuntimeError, ValueError) as error:
        what = f"no cluster answers at {address}" if address else "Ray does not start"
        raise UserError(f"{what} ({first_line(error)}); `ray start --head` starts one") from error
    signal.signal(signal.SIGTERM, interrupted)  # Ray has its own handler
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # under nohup it is ignored
        signal.signal(signal.SIGHUP, interrupted)
    try:
        yield
    finally:
        ray.shutdown()  # ends the workers, and what they are writing keeps the name of an unfinished file


def run_all(jobs: list[Job], options: Options) -> Iterator[tuple[int, Done]]:
    """Yield each job's number and what came of it, as they are done. Raises UserError without workers."""
    import ray

    from tools.cluster import do_file  # by its name, where this module is __main__: its cache stays

    gpus = int(options.device == "cuda")
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(has.get("CPU", 0) >= options.cores and has.get("GPU", 0) >= gpus for has in machines):
        what = f"{options.cores} cores{' and a GPU' if gpus else ''}"
        raise UserError(f"no machine of the cluster has {what}: use a smaller --cores")
    needs = {"num_cpus": options.cores, "num_gpus": gpus}
    # max_calls: no process ends after a file, as those with a GPU would.
    task = ray.remote(**needs, max_retries=options.retries, max_calls=0)(do_file)
    how = pickle.dumps(options), os.getcwd(), log.level
    sizes = [(job.kind == VIDEO, size_of(job.source)) for job in jobs]
    order = sorted(range(len(jobs)), key=sizes.__getitem__, reverse=True)
    numbers = {task.remote(jobs[number], *how).future(): number for number in order}
    for future in concurrent.futures.as_completed(numbers):
        number = numbers.pop(future)  # its table is not kept in memory
        job = jobs[number]
        try:
            done = future.result()
        except ray.exceptions.RayTaskError as error:  # not of the file: `run_job` keeps what goes wrong there
            raise UserError(f"a worker does not start: {first_line(error.cause)}") from error
        except ray.exceptions.RayError as error:
            text = f"given up, as {options.retries + 1} workers died with it: {first_line(error)}"
            done = Done(Outcome(job, 1, error=f"{job.source}: {text}"))
        yield number, done


def size_of(path: Path) -> int:
    """Return a file's size, 0 of one that is gone: the worker will say so."""
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def first_line(error: Exception) -> str:
    return explain(error) if isinstance(error, UserError) else str(error).partition("\n")[0]


if __name__ == "__main__":
    run(main)
