"""machines.py: machines meet before a training; what does not fit is refused on all of them."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest
from runs import ROOT, options

from training import launch, machines
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


def gather(nodes: int, processes: int, *lines: tuple, first: bytes = b"") -> tuple[str, list]:
    """Gather machines, (address, line) each; return the fault and what they were answered.

    first: the line of one that leaves before they come.
    """
    port, started, fault = launch.free_port(), [], ""
    callers = [Caller(port, *line) for line in lines]

    def goes_on(*missing: int) -> bool:  # it listens now
        if first and not started:
            with socket.create_connection(("127.0.0.1", port), 20, ("127.0.0.2", 0)) as machine:
                machine.sendall(first)
            started.append(machine)
            return True
        for caller in callers if len(started) < len(callers) else ():
            caller.start()
            started.append(caller)
        return True

    try:
        assert machines.gather(port, nodes, processes, goes_on)
    except UserError as error:
        fault = str(error)
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


def test_a_machine_that_was_stopped_may_come_again():
    answers = gather(3, 1, ("127.0.0.2", "1 3 1\n"), ("127.0.0.3", "2 3 1\n"), first=b"1 3 1\n")
    assert answers == ("", [b"\n", b"\n"])


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
    monkeypatch.setattr(launch, "SAY_EVERY", 0.5)
    port = launch.free_port()
    options = ["--nodes", "3", "--address", "127.0.0.1", "--port", str(port), "script"]
    launcher = launch.Launcher(launch.make_parser().parse_args(options))
    threading.Timer(1.7, lambda: launcher.pass_on(signal.SIGINT, None)).start()
    with caplog.at_level(logging.INFO, "faceseg"):
        launcher.start()
    assert launcher.wait() == 130
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == f"waiting for machine 1 and 2 of 3 at 127.0.0.1:{port}"
    assert 2 <= len(lines) <= 3


@pytest.fixture
def network():
    """Two network namespaces, as two machines with a cable between them."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("needs root and ip")
    names = [f"machine{number}-{os.getpid()}" for number in range(2)]
    ends = [f"cable{number}" for number in range(2)]
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        cable = ["ip", "-n", names[0], "link", "add", ends[0], "type", "veth"]
        subprocess.run([*cable, "peer", "name", ends[1], "netns", names[1]], check=True)
        for number, (name, end) in enumerate(zip(names, ends)):
            for words in (
                f"addr add 10.77.0.{number + 1}/24 dev {end}",
                f"link set {end} up",
                "link set lo up",
            ):
                subprocess.run(["ip", "-n", name, *words.split()], check=True)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.mark.slow
def test_two_machines_train_and_name_what_differs(network, data, tmp_path):
    program = tmp_path / "small.py"
    program.write_text(
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests' / 'training')!r}]\n"
        "import train, utils\nfrom small_network import SmallNetwork\nfrom training import networks\n"
        "networks.new_model = lambda recipe: SmallNetwork()\n"
        "utils.run(train.main)"
    )
    for run, (size, status) in enumerate((("32", 0), ("64", 1))):
        started = []
        for number, name in enumerate(network):
            launch = [sys.executable, ROOT / "training/launch.py", "--nodes", "2", "--node-rank", str(number)]
            place = ["--address", "10.77.0.1", "--port", "29500", program]
            recipe = options(data, tmp_path / f"run{run}{number}", "--size", size if number else "32")
            command = ["ip", "netns", "exec", name, *launch, *place, *recipe]
            started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        said = [process.communicate(timeout=120)[1] for process in started]
        assert [process.returncode for process in started] == [status, status], said
        for number, text in enumerate(said):
            assert (f"process {number} of 2 has size {size if number else 32}" in text) == (status == 1)
    assert (tmp_path / "run00" / "best.safetensors").exists()
