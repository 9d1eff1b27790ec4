"""machines.py: machines meet before a training; what does not fit is refused on all of them."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

import pytest

from training import machines
from utils import UserError


class Caller(threading.Thread):
    """Another machine, with an address of its own on the loopback: sends a line, keeps the answer."""

    def __init__(self, port: int, host: str, line: str):
        super().__init__()
        self.port, self.host, self.line, self.answer = port, host, line, b""

    def run(self):
        with socket.create_connection(("127.0.0.1", self.port), 20, (self.host, 0)) as machine:
            machine.sendall(self.line.encode())
            with contextlib.suppress(OSError):
                self.answer = machine.recv(1000)


def gather(nodes: int, processes: int, *lines: tuple) -> tuple[str, list]:
    """Gather machines, (address, line) each; return the fault and what they were answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        callers = [Caller(port, *line) for line in lines]
        for caller in callers:
            caller.start()
        fault = ""
        try:
            waiting = machines.Waiting(("127.0.0.1", port), nodes, lambda: False)
            assert machines.gather(server, nodes, processes, waiting)
        except UserError as error:
            fault = str(error)
            server.close()
        for caller in callers:
            caller.join(20)
    return fault, [caller.answer for caller in callers]


def test_all_start_when_the_last_has_come():
    answers = gather(3, 2, ("127.0.0.2", "1 3 2\n"), ("127.0.0.3", "2 3 2\n"))
    assert answers == ("", [b"\n", b"\n"])


def test_others_at_the_port_are_not_minded():
    strangers = [("127.0.0.4", "GET / HTTP/1.1\r\n"), ("127.0.0.5", "\n"), ("127.0.0.6", "1 2 3 4 5" * 99)]
    fault, answers = gather(2, 1, *strangers, ("127.0.0.2", "1 2 1\n"))
    assert (fault, answers[-1]) == ("", b"\n")


@pytest.mark.parametrize(
    ("nodes", "lines", "words"),
    [
        (2, [("127.0.0.2", "1 2 4\n")], "other NNODES or NPROC"),
        (2, [("127.0.0.2", "1 3 1\n")], "other NNODES or NPROC"),
        (2, [("127.0.0.2", "0 2 1\n")], "NODE_RANK=0"),
        (2, [("127.0.0.2", "2 2 1\n")], "NODE_RANK=2"),
        (3, [("127.0.0.2", "1 3 1\n"), ("127.0.0.3", "1 3 1\n")], "NODE_RANK=1"),
        (2, [("127.0.0.1", "1 2 1\n")], "the address 127.0.0.1: on one machine NPROC"),
        (3, [("127.0.0.2", "1 3 1\n"), ("127.0.0.2", "2 3 1\n")], "the address 127.0.0.2"),
    ],
)
def test_what_does_not_fit_is_refused_everywhere(nodes: int, lines: list, words: str):
    fault, answers = gather(nodes, 1, *lines)
    assert words in fault
    assert all(answer.decode() == f"{fault}\n" for answer in answers)


def test_who_is_missing_is_said_every_so_often(monkeypatch, caplog):
    monkeypatch.setattr(machines, "SAY_EVERY", 0.5)
    timer = threading.Timer(1.7, lambda: stopped.append(True))
    stopped = []
    timer.start()
    waiting = machines.Waiting(("10.0.0.1", 29500), 3, lambda: bool(stopped))
    with caplog.at_level(logging.INFO, "faceseg"), socket.create_server(("127.0.0.1", 0)) as server:
        assert not machines.gather(server, 3, 1, waiting)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "waiting for machine 1 and 2 of 3 at 10.0.0.1:29500"
    assert 2 <= len(lines) <= 3
