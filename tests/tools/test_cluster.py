"""tools/cluster.py: who does which file, alone and on a cluster of two nodes on this machine."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from clips import frames_of, make_clip
from programs import ROOT, ended

from files.pictures import read_image, write_image
from media.options import Options
from media.plan import PICTURE, VIDEO, Job
from media.run import Outcome
from tools import cluster
from utils import UserError, resize

needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
LOCAL = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
PICTURES = 16


class Dies(Exception):
    """Stands for Ray's errors."""


def fake_ray(cpus: int, given: list, starts=lambda worker: True, dies=lambda job, worker: False):
    """Return what `run_all` uses of Ray. given: gets (worker, name of the file) as they are handed out."""
    workers = []

    def actor():
        worker = len(workers)
        workers.append(worker)
        return SimpleNamespace(
            open=SimpleNamespace(remote=lambda *how: (worker, None)),
            run=SimpleNamespace(
                remote=lambda job, attempt: given.append((worker, job.source.name)) or (worker, job)
            ),
        )

    def get(promise):
        worker, job = promise
        if dies(job.source.name, worker) if job else not starts(worker):
            raise Dies("it died\nand more")
        return job and cluster.Done(Outcome(job, 0, 1))

    return SimpleNamespace(
        nodes=lambda: [{"Alive": True, "Resources": {"CPU": float(cpus)}}, {"Alive": False, "Resources": {}}],
        remote=lambda **how: lambda kind: SimpleNamespace(remote=actor),
        wait=lambda promises, timeout: (promises[:1], promises[1:]),
        get=get,
        kill=lambda worker: None,
        exceptions=SimpleNamespace(RayError=Dies),
    )


def outcomes(monkeypatch, jobs: list, ray, retries: int = 2) -> dict:
    monkeypatch.setitem(sys.modules, "ray", ray)
    done = list(cluster.run_all(jobs, Options(), 2, retries))
    assert sorted(number for number, _ in done) == list(range(len(jobs)))  # each once
    return {jobs[number].source.name: result.outcome for number, result in done}


def test_the_longest_videos_go_first(tmp_path, monkeypatch):
    frames = [np.full((32, 32, 3), 90, np.uint8)] * 9
    lengths = {"a.jpg": 0, "b.mp4": 3, "c.mp4": 9, "d.mp4": 6}
    jobs = [Job(tmp_path / name, VIDEO if count else PICTURE) for name, count in lengths.items()]
    for job, count in zip(jobs, lengths.values(), strict=True):
        if count:
            make_clip(job.source, frames[:count])
    (tmp_path / "e.mp4").write_text("no video")
    given = []
    outcomes(monkeypatch, [*jobs, Job(tmp_path / "e.mp4", VIDEO)], fake_ray(2, given))
    assert [name for _, name in given] == ["c.mp4", "d.mp4", "b.mp4", "a.jpg", "e.mp4"]


JOBS = [Job(Path(name), PICTURE) for name in "abcd"]


def test_the_file_of_a_worker_that_dies_is_done_by_another(monkeypatch):
    given = []
    ray = fake_ray(4, given, dies=lambda job, worker: worker == 0)
    assert all(outcome.status == 0 for outcome in outcomes(monkeypatch, JOBS, ray).values())
    (lost,) = (name for worker, name in given if worker == 0)
    assert len(given) == 5 and [name for _, name in given].count(lost) == 2


def test_a_file_that_kills_its_workers_is_given_up(monkeypatch):
    given = []
    ray = fake_ray(4, given, dies=lambda job, worker: job == "b")
    done = outcomes(monkeypatch, JOBS, ray, retries=1)
    assert [name for _, name in given].count("b") == 2
    assert {name for name, outcome in done.items() if outcome.status} == {"b"}
    assert done["b"].error == "b: given up, as 2 workers died with it: it died"


def test_workers_that_do_not_start_leave_the_files_to_the_others(monkeypatch, caplog):
    given = []
    outcomes(monkeypatch, JOBS, fake_ray(4, given, starts=lambda worker: worker == 1))
    assert {worker for worker, _ in given} == {1} and "a worker did not start: it died" in caplog.text
    with pytest.raises(UserError, match="no worker is left"):
        outcomes(monkeypatch, JOBS, fake_ray(4, [], starts=lambda worker: False))


def test_more_cores_than_a_machine_has(monkeypatch):
    with pytest.raises(UserError, match="no machine of the cluster has 2 cores"):
        outcomes(monkeypatch, JOBS, fake_ray(1, []))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "reads files and writes files"),
        (["--source", "sample", "--output", "out.mp4"], "reads files and writes files"),
        (["--source", "in"], "give an --output"),
        (["--source", "in", "--output", "out", "--timing"], "--timing is for one machine"),
        (["--source", "none", "--output", "out"], "none: no such file"),
        (["--source", "in", "--output", "out"], "Ray is not installed"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(more, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # what is set for Ray is of this test alone
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    write_image("in/a.png", np.zeros((8, 8, 3), np.uint8))
    assert ended(cluster.main, *more) == 1
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and not Path("out").exists()


@needs_ray
def test_an_address_that_does_not_answer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_image("a.png", np.zeros((8, 8, 3), np.uint8))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    assert ended(cluster.main, "--source", "a.png", "--output", "b.png", "--address", address) == 1
    said = capsys.readouterr().err
    assert f"no cluster answers at {address}" in said and said.count("\n") == 1


# A real cluster


def start_node(number: int, *more: str) -> subprocess.Popen:
    """Start a node of one core, with this number in its loopback address, in a process group of its own."""
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus", "1"]
    command = [*ray, "--node-ip-address", f"127.0.0.{number}", *more]
    how = {"env": {**os.environ, **LOCAL}, "text": True, "start_new_session": True}
    node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
    said = ""
    for line in node.stdout:
        said += line
        if "runtime started" in line:
            return node
    raise AssertionError(said)


def kill(node: subprocess.Popen) -> None:
    """Kill a node and all its workers at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()
    node.stdout.close()


@pytest.fixture
def nodes():
    with socket.create_server(("127.0.0.2", 0)) as server:
        port = server.getsockname()[1]
    with contextlib.ExitStack() as stack:
        head = start_node(2, "--head", "--port", str(port), "--include-dashboard", "false")
        stack.callback(kill, head)
        second = start_node(3, "--address", f"127.0.0.2:{port}")
        stack.callback(kill, second)
        yield f"127.0.0.2:{port}", second


def make_files(folder: Path, short: int = 10, long: int = 40) -> None:
    portrait = resize(read_image(ROOT / "docs/portrait.png"), (224, 224))
    for number in range(PICTURES):
        write_image(folder / f"{number:02}.png", np.roll(portrait, 2 * number, axis=1))
    for name, count in (("short.mp4", short), ("long.mp4", long)):
        make_clip(folder / name, [np.roll(portrait, k, axis=0)[..., ::-1] for k in range(count)])


def start(program: str, folder: Path, output: str, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", program, "--source", folder / "in", "--output", folder / output, *more]
    env = {**os.environ, **LOCAL}
    return subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)


def result(process: subprocess.Popen) -> tuple[int, str]:
    _, said = process.communicate(timeout=240)
    return process.returncode, said


def check_results(folder: Path, short: int = 10, long: int = 40) -> None:
    """All results are there, whole, and nothing else."""
    names = sorted(os.listdir(folder))
    assert names == sorted(os.listdir(folder.parent / "in")) and len(names) == PICTURES + 2
    assert len(frames_of(folder / "long.mp4")) == long and len(frames_of(folder / "short.mp4")) == short
    assert all(read_image(path).shape == (224, 224, 3) for path in folder.glob("*.png"))


@needs_ray
@pytest.mark.slow
def test_two_nodes_do_what_infer_does(nodes, tmp_path):
    address, _ = nodes
    make_files(tmp_path / "in")
    (tmp_path / "in/broken.png").write_bytes(b"no picture")
    ways = (("infer", "alone"), ("tools.cluster", "out", "--cores", "1", "--address", address))
    tables = []
    for program, output, *more in ways:
        table = tmp_path / f"{output}.csv"
        status, said = result(start(program, tmp_path, output, "--table", str(table), *more))
        assert status == 1 and f"{PICTURES + 2} done, 1 failed" in said
        assert said.count("broken.png") == 1
        with table.with_name(f"{output}.unfinished.csv").open() as file:  # a file failed
            tables.append(list(csv.DictReader(file)))
    alone, joined = tables
    assert len(alone) == PICTURES + 50
    assert [(row["file"], row["frame"]) for row in joined] == [(row["file"], row["frame"]) for row in alone]
    assert all(abs(int(a["left"]) - int(b["left"])) <= 1 for a, b in zip(alone, joined, strict=True))
    for path in (tmp_path / "alone").glob("*.png"):
        difference = read_image(path).astype(int) - read_image(tmp_path / "out" / path.name)
        assert np.abs(difference).mean() < 0.1  # the network's last digits change with the number of cores
    os.remove(tmp_path / "in/broken.png")
    check_results(tmp_path / "out")
    os.remove(tmp_path / "out/03.png")
    before = (tmp_path / "out/04.png").stat().st_mtime_ns
    more = ("--skip-existing", "--cores", "1", "--address", address)
    status, said = result(start("tools.cluster", tmp_path, "out", *more))
    assert status == 0 and said.endswith(f"1 done, 0 failed, {PICTURES + 1} there already\n")
    check_results(tmp_path / "out")
    assert (tmp_path / "out/04.png").stat().st_mtime_ns == before


@needs_ray
@pytest.mark.slow
def test_a_node_dies_in_the_middle(nodes, tmp_path):
    address, second = nodes
    make_files(tmp_path / "in", 190, 200)
    running = start("tools.cluster", tmp_path, "out", "--cores", "1", "--address", address)
    until = time.monotonic() + 120
    while len(list((tmp_path / "out").glob("*.unfinished.mp4"))) < 2:  # each node is at one
        assert running.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    kill(second)
    status, said = result(running)
    assert status == 0, said
    assert said.endswith(f"{PICTURES + 2} done, 0 failed\n") and said.count("done again") == 1
    check_results(tmp_path / "out", 190, 200)
