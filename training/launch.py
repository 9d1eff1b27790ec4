"""Run a training script in several processes, on one machine or on several.

    python -m training.launch --processes 2 train.py --data my_faces
    python -m training.launch --processes 8 --nodes 2 --node-rank 0 --address 10.0.0.1 --port 29500 train.py

They are told of each other as by OneFlow's own launcher (`python -m oneflow.distributed.launch`), which at a
signal leaves while its processes still write their checkpoints. Here Ctrl-C and SIGTERM reach every process
once, and are waited for; a second one kills. If a process fails, the others are stopped. The exit status is
that of the process that failed first, or 128 + the signal's number.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

if not __package__:  # run as a file
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from files.paths import regular_file
from training.machines import gather, join, listen
from utils import Parser, UserError, integer, log, run

GRACE = 30  # seconds that the others have to end after one has failed or was stopped
POLL = 0.1  # seconds
SAY_EVERY = 10  # seconds
prctl = ctypes.CDLL(None).prctl


class Launcher:
    """The processes of this machine, and the signals that they get. args: of `make_parser`."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.first_rank = args, args.node_rank * args.processes
        self.workers: list[subprocess.Popen] = []
        self.stopped_by = 0  # the signal that has been passed on
        self.said = time.monotonic()

    def pass_on(self, number: int, frame: object) -> None:
        """Handle a signal: the first one goes to every process, one after it kills them."""
        self.send(signal.SIGKILL if self.stopped_by else number)
        self.stopped_by = self.stopped_by or number

    def send(self, number: int) -> None:
        for worker in self.workers:
            worker.send_signal(number)  # does nothing for one that has ended

    def goes_on(self, *missing: int) -> bool:
        """Return whether nothing stopped it; say every ten seconds which machines are waited for."""
        args = self.args
        if args.nodes > 1 and time.monotonic() - self.said >= SAY_EVERY:
            numbers = " and ".join(map(str, missing))
            log.info("waiting for machine %s of %d at %s:%d", numbers, args.nodes, args.address, args.port)
            self.said = time.monotonic()
        return not self.stopped_by

    def start(self) -> None:
        """Start the processes, on several machines when all are there, and the others when rank 0 listens."""
        args = self.args
        address = (args.address, args.port if args.node_rank else free_port(args.port))
        if args.nodes > 1:
            way = args.nodes, args.processes, self.goes_on
            met = join(address, args.node_rank, *way) if args.node_rank else gather(args.port, *way)
            if not met:
                return
        threads = str(max(1, len(os.sched_getaffinity(0)) // args.processes))
        environment = {
            **{"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            **os.environ,
            "MASTER_ADDR": args.address,
            "MASTER_PORT": str(address[1]),
            "WORLD_SIZE": str(args.processes * args.nodes),
        }
        for local_rank in range(args.processes):
            rank = self.first_rank + local_rank
            if rank and not self.reaches(address):
                self.send(signal.SIGKILL)  # the others will never come
                return
            worker = subprocess.Popen(
                [sys.executable, "-u", args.script, *args.arguments],
                env={**environment, "RANK": str(rank), "LOCAL_RANK": str(local_rank)},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # so that the terminal's Ctrl-C reaches it through `pass_on` alone
                # SIGTERM when the launcher is killed: PR_SET_PDEATHSIG
                preexec_fn=functools.partial(prctl, 1, signal.SIGTERM),
            )
            self.workers.append(worker)

    def reaches(self, address: tuple) -> bool:
        """Wait until rank 0 takes connections: without it the others try again only after ten seconds.

        Return False if a process has ended (after --help, or because of its arguments) or is to stop.
        """
        while self.goes_on(0) and all(worker.poll() is None for worker in self.workers):
            with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
                return True
            time.sleep(POLL)
        return False

    def wait(self, grace: float = GRACE) -> int:
        """Wait until all have ended, after a failure at most `grace` seconds; return the exit status."""
        status = deadline = 0
        while None in (codes := [worker.poll() for worker in self.workers]) or (any(codes) and not status):
            if not status and any(codes):
                status = next(filter(None, codes))
                deadline = time.monotonic() + grace
                if not self.stopped_by:
                    self.explain(self.first_rank + codes.index(status), status)
                    self.send(signal.SIGTERM)
            if deadline and time.monotonic() > deadline:
                self.send(signal.SIGKILL)  # it may wait for the one that has failed, and for ever
            time.sleep(POLL)
        if status < 0 or not self.workers:
            return 128 + (self.stopped_by or -status)
        return status

    def explain(self, rank: int, status: int) -> None:
        """Name a process that was aborted, and say how to go on."""
        if status < 0:
            other = " (perhaps as another machine's has ended: see there)" if self.args.nodes > 1 else ""
            last = last_checkpoint(self.args.arguments)
            remedy = f"; go on with the same command and --resume {last}" if last.exists() else ""
            log.error("process %d was ended by %s%s%s", rank, signal.Signals(-status).name, other, remedy)


def last_checkpoint(arguments: list) -> Path:
    """Return where a training with these arguments writes its newest checkpoint."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output", default="runs/demo" if "--demo" in arguments else "runs/train")
    parser.add_argument("--resume")
    options, _ = parser.parse_known_args(arguments)
    return (Path(options.resume).parent if options.resume else Path(options.output)) / "last.safetensors"


def free_port(port: int = 0) -> int:
    """Return the port, for 0 any free one. Raises UserError where it is in use."""
    with listen(port) as probe:
        return probe.getsockname()[1]


def host(name: str) -> str:
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError) as error:
        raise UserError(f"{name}: {getattr(error, 'strerror', error)}") from None
    return name


def make_parser() -> Parser:
    parser = Parser(__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--processes", type=integer(1, 1024), default=1, help="on each machine, one for each GPU")
    add("--nodes", type=integer(1, 1024), default=1, help="machines")
    add("--node-rank", type=integer(0, 1023), default=0, help="which of the machines this is, from 0")
    add("--address", type=host, default="127.0.0.1", help="of machine 0")
    add("--port", type=integer(0, 65535), default=0, help="of machine 0; on a single machine any free one")
    add("script")
    add("arguments", nargs=argparse.REMAINDER, help="passed on to the script")
    return parser


def main() -> int:
    parser = make_parser()
    args = parser.parse_args()
    if args.node_rank >= args.nodes:
        parser.error("--node-rank must be below --nodes")
    if args.nodes > 1 and not args.port:
        parser.error("several machines need the same MASTER_PORT (--port)")
    regular_file(args.script)
    launcher = Launcher(args)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as it is for SIGHUP under nohup
            signal.signal(number, launcher.pass_on)
    launcher.start()
    return launcher.wait()


if __name__ == "__main__":
    run(main)
