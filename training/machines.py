"""The machines of one training meet before their processes start.

Machine 0 listens at the port that its first process will have. Every other one sends a line, "NUMBER MACHINES
PROCESSES", and gets one back: empty when all have come, or what is wrong. `goes_on` takes the numbers of
those that are waited for, and returns whether to wait on.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable

from utils import UserError

PATIENCE = 5  # seconds for a line, once somebody has connected
POLL = 0.2  # seconds


def gather(port: int, nodes: int, processes: int, goes_on: Callable[..., bool]) -> bool:
    """Wait, as machine 0, for all others. Return False if stopped; raise UserError where they do not fit."""
    come: dict[socket.socket, int] = {}
    fault = ""
    with listen(port) as server:
        server.settimeout(POLL)
        while not fault and (missing := sorted(set(range(1, nodes)) - set(come.values()))):
            if not goes_on(*missing):
                return False
            for machine in select.select([*come], [], [], 0)[0]:
                del come[machine]  # it has hung up, as after Ctrl-C, and may come again
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
                    same = f"two machines have the address {hosts[-1]}"
                    fault = f"{same}: on one machine NPROC starts all processes"
    for machine in come:
        with contextlib.suppress(OSError), machine:
            machine.sendall(fault.encode() + b"\n")
            machine.recv(1)  # nothing: it has hung up, and the port is free for the first process
    if fault:
        raise UserError(fault)
    return True


def listen(port: int) -> socket.socket:
    """Return a server at a port, for 0 at any free one. Raises UserError where it is in use."""
    try:
        return socket.create_server(("", port))
    except OSError as error:
        fault = os.strerror(error.errno)
        raise UserError(f"port {port}: {fault}; choose another MASTER_PORT (--port)") from None


def join(address: tuple, number: int, nodes: int, processes: int, goes_on: Callable[..., bool]) -> bool:
    """Wait, as another machine, for machine 0's word. Return False if stopped; raise UserError if refused."""
    while goes_on(0):
        time.sleep(POLL)
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=PATIENCE) as machine:
            machine.sendall(b"%d %d %d\n" % (number, nodes, processes))
            machine.settimeout(POLL)
            answer = None
            while answer is None and goes_on(0):
                with contextlib.suppress(TimeoutError):
                    answer = machine.recv(1000).decode(errors="replace")  # short: it comes in one piece
            if answer == "\n":
                return True
            if answer:
                raise UserError(answer.strip())
    return False
