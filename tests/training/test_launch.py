"""launch.py: what its processes are given, signals, failures and the exit status. No real training."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training import launch

ROOT = Path(__file__).parents[2]

# Rank 0 listens as OneFlow does; every rank leaves a file behind that says what it was given.
WORKER = """
import os, signal, socket, sys, time
if "--bad" in sys.argv:
    sys.exit("bad argument")
caught = []
for number in (signal.SIGINT, signal.SIGTERM, *([] if "--nohup" in sys.argv else [signal.SIGHUP])):
    signal.signal(number, lambda number, frame: caught.append(number))
rank = os.environ["RANK"]
if rank == "0":
    server = socket.create_server(("127.0.0.1", int(os.environ["MASTER_PORT"])))
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
open(rank + ".txt", "w").write(" ".join(os.environ[name] for name in names) + " " + " ".join(sys.argv[1:]))
{then}
"""
# What a training does: it finishes its step and writes a checkpoint.
TRAIN = """
while not caught:
    time.sleep(0.05)
time.sleep(0.5)
open(rank + ".checkpoint", "w").write(str(caught))
sys.exit(128 + caught[0])
"""


@pytest.fixture
def start(tmp_path: Path):
    """start(code, *options): the launcher, running workers with the code. It is ended after the test."""
    started = []

    def start_launcher(then: str, *options: str, arguments: tuple = ()) -> subprocess.Popen:
        script = tmp_path / "work er.py"
        script.write_text(WORKER.format(then=then))
        command = [sys.executable, ROOT / "training/launch.py", *options, script, *arguments]
        started.append(subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start_launcher
    for process in started:
        process.kill()  # its workers get SIGTERM
        process.communicate()


def wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 20
    while not all(path.exists() and path.read_text() for path in paths):
        assert time.monotonic() < deadline, f"no {paths}"
        time.sleep(0.02)


def test_processes_know_their_place(start, tmp_path: Path):
    process = start("time.sleep(1)", "--processes", "2", arguments=("--data", "a b"))
    assert process.wait(20) == 0
    given = [(tmp_path / f"{rank}.txt").read_text().split(" ") for rank in range(2)]
    port = given[0][4]
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    for rank in range(2):
        expected = [str(rank), str(rank), "2", "127.0.0.1", port, threads, "--data", "a", "b"]
        assert given[rank] == expected


def test_debug_reaches_the_processes(start, tmp_path: Path):
    assert start("", "--processes", "1", arguments=("--debug", "--data", "a")).wait(20) == 0
    assert sorted((tmp_path / "0.txt").read_text().split()[6:]) == ["--data", "--debug", "a"]


def test_a_second_machine_starts_when_the_first_says_so(start, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:  # in the first one's place
        port = str(server.getsockname()[1])
        machine = ["--nodes", "3", "--node-rank", "1", "--address", "127.0.0.1", "--port", port]
        process = start("", "--processes", "2", *machine)
        server.settimeout(20)
        first, _ = server.accept()
        assert first.recv(100) == b"1 3 2\n"
        time.sleep(0.3)
        assert not list(tmp_path.glob("*.txt"))
        first.sendall(b"\n")
        assert process.wait(20) == 0
    assert (tmp_path / "2.txt").read_text().split()[:5] == ["2", "0", "6", "127.0.0.1", port]
    assert (tmp_path / "3.txt").read_text().split()[:5] == ["3", "1", "6", "127.0.0.1", port]


@pytest.mark.parametrize("answer", [b"two machines have one address", b"no training \xff"])
def test_a_machine_that_does_not_fit_says_why_and_starts_nothing(start, tmp_path: Path, answer: bytes):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        process = start("", "--nodes", "2", "--node-rank", "1", "--port", port)
        server.settimeout(20)
        first, _ = server.accept()
        first.sendall(answer + b"\n")
        assert process.wait(20) == 1
    assert process.stderr.read() == f"launch.py: {answer.decode(errors='replace')}\n"
    assert not list(tmp_path.glob("*.txt"))


def test_a_machine_that_waits_can_be_stopped(start):
    process = start("", "--nodes", "2", "--port", str(launch.free_port()))
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 128 + signal.SIGINT


def test_an_aborted_process_is_named_with_the_line_to_resume(start, tmp_path: Path):
    (tmp_path / "my run").mkdir()
    (tmp_path / "my run" / "last.safetensors").touch()
    abort = "if rank == '1': os.abort()\n" + TRAIN
    process = start(abort, "--processes", "2", arguments=("--output", "my run"))
    assert process.wait(20) == 128 + signal.SIGABRT
    said = process.stderr.read()
    assert "process 1 was ended by SIGABRT; " in said
    assert "--resume my run/last.safetensors" in said


def test_help_needs_no_set_up(tmp_path: Path):
    command = [sys.executable, ROOT / "training/launch.py", "--help"]
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True)
    assert result.returncode == 0 and "--node-rank" in result.stdout, result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_all_once_and_is_waited_for(start, tmp_path: Path, number: int):
    process = start(TRAIN, "--processes", "2")
    wait_for(tmp_path / "0.txt", tmp_path / "1.txt")
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    for rank in range(2):
        assert (tmp_path / f"{rank}.checkpoint").read_text() == str([int(number)])


def test_nohup_protects_launcher_and_processes(tmp_path: Path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(then="time.sleep(2)"))
    command = ["nohup", sys.executable, ROOT / "training/launch.py", script, "--nohup"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    wait_for(tmp_path / "0.txt")
    process.send_signal(signal.SIGHUP)  # what a closing terminal sends
    assert process.wait(timeout=30) == 0


def test_a_second_signal_kills(start, tmp_path: Path):
    process = start("time.sleep(60)", "--processes", "2")
    wait_for(tmp_path / "0.txt", tmp_path / "1.txt")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 128 + signal.SIGINT


def test_a_process_that_does_not_end_at_a_signal_is_killed():
    """It may wait, in the middle of a step, for one that has left."""
    stubborn = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(flush=True)"
    launcher = launch.Launcher(launch.make_parser().parse_args(["script"]))
    for code in (f"{stubborn}; time.sleep(60)", f"{stubborn}; time.sleep(1); raise SystemExit(130)"):
        launcher.workers.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE))
    for worker in launcher.workers:
        worker.stdout.readline()
    launcher.pass_on(signal.SIGINT, None)
    start = time.monotonic()
    assert launcher.wait(grace=1) == 130
    assert time.monotonic() - start < 30


def test_one_failure_stops_the_others_and_gives_the_status(start, tmp_path: Path):
    process = start("if rank == '1': sys.exit(7)\n" + TRAIN, "--processes", "2")
    assert process.wait(20) == 7
    assert (tmp_path / "0.checkpoint").read_text() == str([int(signal.SIGTERM)])


def test_others_are_not_started_if_the_first_leaves(start, tmp_path: Path):
    process = start("", "--processes", "2", arguments=("--bad",))
    assert process.wait(20) == 1
    assert process.stderr.read().count("bad argument") == 1


def test_workers_end_with_a_killed_launcher(start, tmp_path: Path):
    process = start(TRAIN, "--processes", "2")
    wait_for(tmp_path / "0.txt", tmp_path / "1.txt")
    process.kill()
    wait_for(tmp_path / "0.checkpoint", tmp_path / "1.checkpoint")


@pytest.mark.parametrize("options", [["--processes", "0"], ["--node-rank", "1"], ["--nodes", "2"]])
def test_impossible_numbers_are_refused(start, options: list):
    process = start("", *options)
    assert process.wait(20) == 2
    assert "launch.py: error" in process.stderr.read()
