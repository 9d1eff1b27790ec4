"""Run a training script in several processes, on one machine or on several.

    python -m training.launch --processes 2 train.py --data my_faces
    python -m training.launch --processes 8 --nodes 2 --node-rank 0 --address 10.0.0.1 --port 29500 train.py

The processes find each other as those of OneFlow's own launcher do (`python -m oneflow.distributed.launch`,
which works too). At a signal, though, that one leaves while its processes still write their checkpoints.

Ctrl-C and SIGTERM reach every process once, and are waited for; a second one kills. If a process fails, the
others are stopped. The exit status is that of the process that failed first, or 128 + the signal's number.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time

from files.paths import regular_file
from utils import Parser, UserError, integer, run

GRACE = 30  # seconds that the others have to end after one has failed or was stopped
POLL = 0.1  # seconds
prctl = ctypes.CDLL(None).prctl


class Launcher:
    """The processes of this machine, and what they are told."""

    def __init__(self):
        self.workers: list[subprocess.Popen] = []
        self.stopped_by = 0  # the signal that has been passed on

    def pass_on(self, number: int, frame: object) -> None:
        """The signal handler: what comes first goes to every process, what comes after it kills them."""
        self.tell(signal.SIGKILL if self.stopped_by else number)
        self.stopped_by = self.stopped_by or number

    def tell(self, number: int) -> None:
        for worker in self.workers:
            worker.send_signal(number)  # does nothing for one that has ended

    def listens(self, address: tuple) -> bool:
        """Wait until rank 0 takes connections: without it the others try again only after ten seconds.

        False if it has ended (after --help, say, or because of its arguments) or is to stop.
        """
        while self.workers[0].poll() is None and not self.stopped_by:
            with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
                return True
            time.sleep(POLL)
        return False

    def wait(self, grace: float = GRACE) -> int:
        """Wait until all have ended, after a bad end at most `grace` seconds; return the exit status."""
        status = deadline = 0
        while True:
            codes = [worker.poll() for worker in self.workers]
            status = status or next(filter(None, codes), 0)
            if None not in codes:
                return 128 + (self.stopped_by or -status) if status < 0 else status
            if status and not deadline:
                deadline = time.monotonic() + grace
                if not self.stopped_by:
                    self.tell(signal.SIGTERM)
            if deadline and time.monotonic() > deadline:
                self.tell(signal.SIGKILL)  # it may wait for the one that has failed, and for ever
            time.sleep(POLL)


def free_port(port: int = 0) -> int:
    """Return the port, for 0 any free one. Raises OSError where it is in use."""
    with socket.create_server(("", port)) as probe:
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
    add(
        "--port", type=integer(0, 65535), default=0, help="of machine 0; on one machine any free one is taken"
    )
    add("script")
    add("arguments", nargs=argparse.REMAINDER, help="passed on to the script")
    return parser


def main() -> int:
    parser = make_parser()
    args = parser.parse_args()
    if args.node_rank >= args.nodes:
        parser.error("--node-rank must be below --nodes")
    if args.nodes > 1 and not args.port:
        parser.error("several machines need the same --port")
    regular_file(args.script)
    port = args.port if args.node_rank else free_port(args.port)
    threads = str(max(1, len(os.sched_getaffinity(0)) // args.processes))
    environment = {
        **{"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        **os.environ,
        "MASTER_ADDR": args.address,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(args.processes * args.nodes),
    }
    launcher = Launcher()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as it is for SIGHUP under nohup
            signal.signal(number, launcher.pass_on)
    for local_rank in range(args.processes):
        rank = args.node_rank * args.processes + local_rank
        worker = subprocess.Popen(
            [sys.executable, "-u", args.script, *args.arguments],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(local_rank)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # so that the terminal's Ctrl-C reaches it through `pass_on` alone
            preexec_fn=lambda: prctl(1, signal.SIGTERM),  # PR_SET_PDEATHSIG: should the launcher be killed
        )
        launcher.workers.append(worker)
        if rank == 0 and not launcher.listens((args.address, port)):
            launcher.tell(signal.SIGKILL)  # the others will never come
            break
    return launcher.wait()


if __name__ == "__main__":
    run(main)
