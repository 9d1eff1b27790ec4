"""The machines of one training meet before their processes start.

Machine 0 listens at the port that its first process will have. Every other one sends a line, "NUMBER MACHINES
PROCESSES", and gets one back: empty when all have come, or what is wrong.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

from utils import UserError, log

SAY_EVERY = 10  # seconds
PATIENCE = 5  # seconds for a line, once somebody has connected
POLL = 0.2  # seconds


class Waiting:
    """Says every ten seconds which machine is waited for, until `stopped()`."""

    def __init__(self, address: tuple, nodes: int, stopped: Callable[[], bool]):
        self.place, self.nodes, self.stopped = f"of {nodes} at {address[0]}:{address[1]}", nodes, stopped
        self.said = time.monotonic()

    def goes_on(self, *missing: int) -> bool:
        if self.nodes > 1 and time.monotonic() - self.said >= SAY_EVERY:
            log.info("waiting for machine %s %s", " and ".join(map(str, missing)), self.place)
            self.said = time.monotonic()
        return not self.stopped()


def gather(server: socket.socket, nodes: int, processes: int, waiting: Waiting) -> bool:
    """Wait, as machine 0, for all others. Return False if stopped; raise UserError where they do not fit."""
    server.settimeout(POLL)
    come: dict[socket.socket, int] = {}
    while missing := sorted(set(range(1, nodes)) - set(come.values())):
        if not waiting.goes_on(*missing):
            return False
        with contextlib.suppress(OSError, ValueError):  # nobody, or nobody who says who it is
            machine, _ = server.accept()
            machine.settimeout(PATIENCE)
            number, machines, each = map(int, machine.makefile().readline(100).split())
            taken, come[machine] = [*come.values()], number
            hosts = [machine.getsockname()[0], *(other.getpeername()[0] for other in come)]
            if (machines, each) != (nodes, processes):
                fault = f"machine {number} was started with other NNODES or NPROC than machine 0"
            elif number in taken or not 0 < number < nodes:
                fault = f"two machines have NODE_RANK={number}, or it is not below NNODES"
            elif len(set(hosts)) < len(hosts):
                fault = (
                    f"two machines have the address {hosts[-1]}: on one machine NPROC starts all processes"
                )
            else:
                continue
            tell(come, fault)
            raise UserError(fault)
    server.close()  # the first process will listen there
    tell(come, "")
    return True


def tell(machines: dict, line: str) -> None:
    """Send a line to the machines, and wait until they have hung up: then the port is free."""
    for machine in machines:
        with contextlib.suppress(OSError), machine:
            machine.sendall(line.encode() + b"\n")
            machine.recv(1)


def join(address: tuple, number: int, nodes: int, processes: int, waiting: Waiting) -> bool:
    """Wait, as another machine, for machine 0's word. Return False if stopped; raise UserError if refused."""
    while waiting.goes_on(0):
        time.sleep(POLL)
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=PATIENCE) as machine:
            machine.sendall(b"%d %d %d\n" % (number, nodes, processes))
            machine.settimeout(POLL)
            answer = None
            while answer is None and waiting.goes_on(0):
                with contextlib.suppress(TimeoutError):
                    answer = machine.recv(1000).decode()  # short: it comes in one piece
            if answer == "\n":
                return True
            if answer:
                raise UserError(answer.strip())
    return False
