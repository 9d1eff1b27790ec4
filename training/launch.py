"""Run a training script in several processes, on one machine or on several.

    python -m training.launch --processes 2 train.py --data my_faces
    python -m training.launch --processes 8 --nodes 2 --node-rank 0 --address 10.0.0.1 train.py ...

The processes find each other as those of OneFlow's own launcher do (`python -m oneflow.distributed.launch`,
which works too): through MASTER_ADDR, MASTER_PORT, WORLD_SIZE, RANK and LOCAL_RANK. At a signal, though, that
one leaves while its processes still write their checkpoints, or leaves them running.

Ctrl-C and SIGTERM reach every process once, and are waited for; a second one kills. If a process fails, the
others are stopped. The exit status is that of the process that failed first, or 128 + the signal's number.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

from files.paths import regular_file
from utils import Parser, UserError, run, whole

ROOT = Path(__file__).resolve().parent.parent
GRACE = 30  # seconds that the others have to end after one has failed or was stopped
POLL = 0.1  # seconds


class Launcher:
    """The processes of this machine, and what they are told."""

    def __init__(self):
        self.workers: list[subprocess.Popen] = []
        self.stopped_by = 0  # the signal that has been passed on

    def start(self, command: list, environment: dict) -> subprocess.Popen:
        # A session of their own, so that the terminal's Ctrl-C reaches them through `pass_on` alone.
        worker = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        self.workers.append(worker)
        return worker

    def pass_on(self, number: int, frame: object) -> None:
        """The signal handler: what comes first goes to every process, what comes after it kills them."""
        self.tell(signal.SIGKILL if self.stopped_by else number)
        self.stopped_by = self.stopped_by or number

    def tell(self, number: int) -> None:
        for worker in self.workers:
            worker.send_signal(number)  # does nothing for one that has ended

    def wait(self, grace: float = GRACE) -> int:
        """Waits until all have ended, after a bad end at most `grace` seconds; gives the exit status."""
        status = deadline = None
        while True:
            codes = [worker.poll() for worker in self.workers]
            status = status or next((code for code in codes if code), 0)
            if None not in codes:
                break
            if status and not deadline:
                if not self.stopped_by:
                    self.tell(signal.SIGTERM)
                deadline = time.monotonic() + grace
            if deadline and time.monotonic() > deadline:
                self.tell(signal.SIGKILL)  # it may wait for the one that has failed, and for ever
            time.sleep(POLL)
        if status < 0:  # killed by a signal
            return 128 + (self.stopped_by or -status)
        return status


def end_with_parent() -> None:
    """Runs in a new process: it is to get SIGTERM should the launcher be killed."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG, see prctl(2)
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def run_script(script: str, arguments: list) -> None:
    """Runs the script in this process, which is one of several; does not return if it fails.

    OneFlow's exit waits for the other processes, and those wait for this one in the middle of a step: a
    process that fails has to leave without it. Those that a signal has stopped (status 128 and more) all
    leave, and in order.
    """
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        if error.code is None or (isinstance(error.code, int) and (error.code == 0 or error.code > 128)):
            raise
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else 1
    except Exception:
        traceback.print_exc()
        status = 1
    else:
        return
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def launch(command: list, processes: int, nodes: int, node_rank: int, address: str, port: int) -> int:
    """Runs the command once for each of this machine's processes; gives the exit status."""
    launcher = Launcher()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as it is for SIGHUP under nohup
            signal.signal(number, launcher.pass_on)
    cores = len(os.sched_getaffinity(0))
    threads = str(max(1, cores // processes))
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port or free_port()),
        "WORLD_SIZE": str(processes * nodes),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
        "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", threads),
    }
    for local_rank in range(processes):
        rank = node_rank * processes + local_rank
        launcher.start(command, {**environment, "RANK": str(rank), "LOCAL_RANK": str(local_rank)})
        if rank == 0 and not listens(launcher, address, int(environment["MASTER_PORT"])):
            launcher.tell(signal.SIGKILL)  # the others will never come
            break
    return launcher.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def check_address(address: str, port: int, bind: bool) -> None:
    """Raise UserError for an unknown host or, where this machine is to `bind` it, for a port in use."""
    try:
        socket.getaddrinfo(address, port)
        if bind and port:
            socket.create_server(("", port)).close()
    except (OSError, UnicodeError) as error:
        raise UserError(f"{address}, port {port}: {getattr(error, 'strerror', error)}") from None


def listens(launcher: Launcher, address: str, port: int) -> bool:
    """Waits until rank 0 takes connections; without that, the others try again only after ten seconds.

    False if it has ended (after --help, say, or because of its arguments) or is to stop.
    """
    while launcher.workers[0].poll() is None and not launcher.stopped_by:
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
            return True
        time.sleep(POLL)
    return False


def make_parser() -> Parser:
    parser = Parser(__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--processes", type=whole(1, 1024), default=1, help="on each machine, one for each GPU"
    )
    parser.add_argument("--nodes", type=whole(1, 1024), default=1, help="machines")
    parser.add_argument(
        "--node-rank", type=whole(0, 1023), default=0, help="which of the machines this is, from 0"
    )
    parser.add_argument("--address", default="127.0.0.1", help="of machine 0")
    parser.add_argument(
        "--port", type=whole(0, 65535), default=0, help="of machine 0; on one machine any free one is taken"
    )
    parser.add_argument(
        "--worker", action="store_true", help="be one of the processes (for the launcher's own use)"
    )
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on to the script")
    return parser


def main() -> int | None:
    parser = make_parser()
    args = parser.parse_args()
    if args.worker:
        return run_script(args.script, args.arguments)
    if args.node_rank >= args.nodes:
        parser.error("--node-rank must be below --nodes")
    if args.nodes > 1 and not args.port:
        parser.error("several machines need the same --port")
    regular_file(args.script)
    check_address(args.address, args.port, bind=args.node_rank == 0)
    command = [sys.executable, "-u", __file__, "--worker", args.script, *args.arguments]
    return launch(command, args.processes, args.nodes, args.node_rank, args.address, args.port)


if __name__ == "__main__":
    run(main)
