"""tools/cluster.py: who does which file, alone and on a cluster of two nodes on this machine."""

from __future__ import annotations

import contextlib
import csv
import gc
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import weakref
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from clips import frames_of, make_clip
from programs import ROOT, ended

from files.pictures import read_image, write_image
from media.jobs import PICTURE, VIDEO, Job
from media.options import Options
from media.run import Outcome
from tools import cluster
from utils import UserError, resize

needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
LOCAL = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
PICTURES = 16


class Dies(Exception):
    """Stands for Ray's errors."""


class Fails(Dies):
    """Stands for an error of our own in a worker, before it begins with a file."""

    cause = UserError("no weights")


def fake_ray(given: list, cpus: int = 4, error=lambda name: None):
    """Return what `run_all` uses of Ray. given: gets the files' names. error: what comes of one of them."""

    def remote(job: Job, *how) -> SimpleNamespace:
        given.append(job.source.name)
        future = Future()
        if raised := error(job.source.name):
            future.set_exception(raised)
        else:
            future.set_result(cluster.Done(Outcome(job, 0, 1)))
        return SimpleNamespace(future=lambda: future)

    return SimpleNamespace(
        nodes=lambda: [{"Alive": True, "Resources": {"CPU": float(cpus)}}, {"Alive": False, "Resources": {}}],
        remote=lambda **how: lambda function: SimpleNamespace(remote=remote),
        exceptions=SimpleNamespace(RayError=Dies, RayTaskError=Fails),
    )


@pytest.fixture
def jobs(tmp_path) -> list[Job]:
    """Two pictures and two videos, of which the last is the largest of its kind."""
    kinds = {"a.jpg": PICTURE, "b.jpg": PICTURE, "c.mp4": VIDEO, "d.mp4": VIDEO}
    found = [Job(tmp_path / name, kind) for name, kind in kinds.items()]
    for size, job in enumerate(found, 1):
        job.source.write_bytes(b"x" * (100 - size if job.kind == PICTURE else size))
    return found


def outcomes(monkeypatch, jobs: list, ray) -> dict:
    monkeypatch.setitem(sys.modules, "ray", ray)
    done = list(cluster.run_all(jobs, Options(cores=2, retries=1)))
    assert sorted(number for number, _ in done) == list(range(len(jobs)))  # each once
    return {jobs[number].source.name: result.outcome for number, result in done}


def test_large_videos_go_first(jobs, monkeypatch):
    given = []
    assert not any(outcome.status for outcome in outcomes(monkeypatch, jobs, fake_ray(given)).values())
    assert given == ["d.mp4", "c.mp4", "a.jpg", "b.jpg"]


def test_a_file_that_kills_its_workers_is_given_up(jobs, monkeypatch):
    ray = fake_ray([], error=lambda name: Dies("it died\nand more") if name == "b.jpg" else None)
    done = outcomes(monkeypatch, jobs, ray)
    assert {name for name, outcome in done.items() if outcome.status} == {"b.jpg"}
    assert done["b.jpg"].error.endswith("b.jpg: given up, as 2 workers died with it: it died")


def test_a_worker_has_the_cores_and_the_retries_that_are_asked_for(jobs, monkeypatch):
    asked, ray = [], fake_ray([])
    remote = ray.remote
    ray.remote = lambda **how: asked.append(how) or remote(**how)
    outcomes(monkeypatch, jobs, ray)
    assert asked == [{"num_cpus": 2, "num_gpus": 0, "max_retries": 1, "max_calls": 0}]


def test_a_worker_that_does_not_start_ends_it(jobs, monkeypatch):
    with pytest.raises(UserError, match="a worker does not start: no weights"):
        outcomes(monkeypatch, jobs, fake_ray([], error=lambda name: Fails()))


def test_what_was_done_before_an_interruption_is_in_the_table(jobs, monkeypatch, tmp_path, run_here):
    def interrupted_run(jobs, options):
        for number, job in enumerate(jobs[:2]):
            yield number, cluster.Done(Outcome(job, 0, 1), (), b"file,frame\r\n%d,0\r\n" % number)
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "connected", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(cluster, "run_all", interrupted_run)
    result = run_here(cluster.main, "--source", tmp_path, "--table", tmp_path / "faces.csv")
    assert result.returncode == 130
    with open(tmp_path / "faces.unfinished.csv", newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == ["0", "1"]


def test_more_cores_than_a_machine_has_and_no_gpu(jobs, monkeypatch):
    with pytest.raises(UserError, match="no machine of the cluster has 2 cores: "):
        outcomes(monkeypatch, jobs, fake_ray([], cpus=1))
    with pytest.raises(UserError, match="no machine of the cluster has 2 cores and a GPU"):
        list(cluster.run_all(jobs, Options(cores=2, retries=1, device="cuda")))


def test_a_file_that_is_gone_does_not_end_the_others(jobs, monkeypatch):
    jobs[0].source.unlink()
    given = []
    outcomes(monkeypatch, jobs, fake_ray(given))
    assert given == ["d.mp4", "c.mp4", "b.jpg", "a.jpg"]


def test_what_was_given_out_is_not_kept_in_memory(jobs, monkeypatch):
    futures, ray = [], fake_ray([])
    task = ray.remote()(None)

    def remote(*how) -> SimpleNamespace:
        promise = task.remote(*how)
        futures.append(weakref.ref(promise.future()))
        return promise

    ray.remote = lambda **how: lambda function: SimpleNamespace(remote=remote)
    monkeypatch.setitem(sys.modules, "ray", ray)
    for number, _ in enumerate(cluster.run_all(jobs, Options(cores=2, retries=1))):
        gc.collect()
        assert sum(future() is not None for future in futures) == len(jobs) - number


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
    make_files(tmp_path / "in", 590, 600)
    running = start("tools.cluster", tmp_path, "out", "--cores", "1", "--address", address)
    until = time.monotonic() + 120
    while len(list((tmp_path / "out").glob("*.unfinished.mp4"))) < 2:  # each node is at one
        assert running.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    kill(second)
    status, said = result(running)
    assert status == 0, said
    assert said.endswith(f"{PICTURES + 2} done, 0 failed\n")
    check_results(tmp_path / "out", 590, 600)
