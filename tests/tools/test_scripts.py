"""train.sh, infer.sh and test.sh: what they install, fetch and run. Interpreters and pip are stubs."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from stub_clone import ROOT, SCRIPTS, Clone


@pytest.fixture
def ready(clone: Clone) -> Clone:
    clone.add_python("3.10")
    return clone


@pytest.mark.parametrize("script", ["infer.sh", "train.sh"])
def test_programs_run_where_the_user_stands_with_what_they_were_given(ready: Clone, script: str):
    arguments = ["--demo", "--output", "two words", "", "*"]
    for folder in (ready.root, ready.home):
        given = ready.started(script, *arguments, cwd=folder, EXIT="7")
        assert given["program"] == script.replace(".sh", ".py")
        assert (given["arguments"], given["cwd"]) == (arguments, str(folder))


@pytest.mark.parametrize("script", ["infer.sh", "train.sh"])
def test_another_projects_modules_do_not_reach_the_programs(ready: Clone, script: str):
    given = ready.started(script, "--demo", PYTHONPATH="/opt/ros/lib/python", PYTHONHOME="/opt", HOME=None)
    assert "ros" not in given["path"]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.skipif(shutil.which("dash") is None, reason="needs a shell that is not bash")
def test_another_shell_is_told_to_take_bash(clone: Clone, script: str):
    result = subprocess.run(
        [shutil.which("dash"), clone.root / script], env=clone.machine, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and f"bash {script}" in result.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "file"),
    [
        ("infer.sh", [], "infer.txt"),
        ("infer.sh", ["--runtime", "openvino", "--device=cpu"], "infer.txt"),
        ("infer.sh", ["--output", "oneflow"], "infer.txt"),
        ("infer.sh", ["--source", "0", "--runtime", "oneflow"], "requirements.txt"),
        ("infer.sh", ["--source", "0", "--device=cuda"], "requirements.txt"),
        ("train.sh", ["--demo"], "requirements.txt"),
        ("train.sh", ["--demo", "--kernels", "torch"], "torch.txt"),
        ("train.sh", ["--kernels=torch", "--demo"], "torch.txt"),
        ("train.sh", ["--demo", "--output", "torch", "--kernels=oneflow"], "requirements.txt"),
    ],
)
def test_large_packages_are_installed_only_on_request(ready: Clone, script: str, arguments: list, file: str):
    ready.started(script, *arguments)
    assert ready.installed() == [file]


@pytest.mark.parametrize("option", ["--page", "--page=7861"])
def test_the_page_is_installed_only_on_request(ready: Clone, option: str):
    assert ready.started("infer.sh", option, "--mirror")["arguments"] == [option, "--mirror"]
    assert ready.installed() == ["infer.txt", "page.txt"]


@pytest.mark.parametrize(
    ("script", "options"),
    [("infer.sh", ["--device", "cuda"]), ("infer.sh", ["--page"]), ("train.sh", ["--kernels", "torch"])],
)
def test_nothing_is_installed_to_be_read_about(ready: Clone, script: str, options: list):
    ready.run("tools/setup.sh", script.removesuffix(".sh"))
    ready.installed()
    assert ready.started(script, *options, "--help")["arguments"] == [*options, "--help"]
    assert ready.installed() == []


@pytest.mark.parametrize(
    ("arguments", "fetched"),
    [
        ([], ["--backbone", "the backbone", "--data", "the data"]),
        (["--data", "x"], ["--backbone", "the backbone"]),
        (["--data=x", "--backbone=y"], []),
        (["--weights", "x"], ["--data", "the data"]),
        (["--resume", "x"], []),
        (["--demo"], []),
    ],
)
def test_training_fetches_what_is_not_named(ready: Clone, arguments: list, fetched: list):
    assert ready.started("train.sh", *arguments)["arguments"] == fetched + arguments


def test_without_a_network_training_begins_on_own_data_alone(ready: Clone):
    result = ready.run("train.sh", OFFLINE="1")
    assert result.returncode == 1 and "train.py" not in result.stdout
    result = ready.run("train.sh", "--data", "x", OFFLINE="1")
    assert result.returncode == 0 and '"arguments": ["--data", "x"]' in result.stdout
    assert "random weights" in result.stderr


def test_training_in_several_processes(ready: Clone):
    def options(**environment: str) -> dict:
        given = ready.started("train.sh", "--demo", **environment)
        assert given["program"] == "launch.py"
        assert given["arguments"][-2:] == [str(ready.root / "train.py"), "--demo"]
        return dict(zip(given["arguments"][:-2:2], given["arguments"][1:-2:2]))

    assert options(NPROC="2")["--processes"] == "2"
    machines = {
        "NPROC": "8",
        "NNODES": "2",
        "NODE_RANK": "1",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29500",
    }
    given = options(**machines)
    assert (given["--processes"], given["--nodes"], given["--node-rank"]) == ("8", "2", "1")
    assert (given["--address"], given["--port"]) == ("10.0.0.1", "29500")


@pytest.mark.parametrize(
    ("script", "words"), [("test.sh", "--slow"), ("infer.sh", "--source photo.jpg"), ("train.sh", "--demo")]
)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_installs_nothing(ready: Clone, script: str, words: str, option: str):
    result = ready.run(script, option)
    assert result.returncode == 0
    assert f"bash {script} {words}" in result.stdout
    assert "set -euo" not in result.stdout and "BASH_VERSION" not in result.stdout
    assert ready.version() is None


@pytest.mark.parametrize("name", ["infer", "train"])
def test_help_is_the_programs_where_the_packages_are_there(ready: Clone, name: str):
    ready.run("tools/setup.sh", name)
    assert ready.started(f"{name}.sh", "--help")["arguments"] == ["--help"]


def test_every_script_is_sound_bash():
    for script in (*SCRIPTS, ".ci/run"):
        assert subprocess.run(["bash", "-n", ROOT / script]).returncode == 0
        assert os.access(ROOT / script, os.X_OK)
