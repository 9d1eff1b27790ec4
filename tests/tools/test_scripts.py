"""train.sh, infer.sh and test.sh: what they install, fetch and run. Interpreters and pip are stubs."""

from __future__ import annotations

import os
import subprocess

import pytest
from stub_clone import ROOT, SCRIPTS, Clone, installs


@pytest.mark.parametrize("script", ["infer.sh", "train.sh"])
def test_arguments_and_exit_status_are_passed_on(clone: Clone, script: str):
    clone.add_python("3.10")
    (clone.stubs / "exit").write_text("7")
    program = clone.root / script.replace(".sh", ".py")
    arguments = ["--demo", "--output", "two words", "", "*"]
    expected = "run " + " ".join(f"[{argument}]" for argument in [program, *arguments])
    for folder in (clone.root, clone.home):
        assert clone.run(script, *arguments, cwd=folder).returncode == 7
        assert clone.log()[-1] == expected


def test_programs_run_where_the_user_stands(clone: Clone):
    clone.add_python("3.10")
    clone.run("tools/setup.sh", "train")
    clone.add_program(
        clone.root / ".venv/bin/python", (clone.stubs / "python3.10").read_text() + 'echo "in $PWD"\n'
    )
    for script in ("infer.sh", "train.sh"):
        assert clone.run(script, "--demo").stdout == f"in {clone.home}\n"


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        ([], "infer.txt"),
        (["--runtime", "openvino", "--device=cpu"], "infer.txt"),
        (["--output", "oneflow"], "infer.txt"),
        (["--runtime", "oneflow"], "requirements.txt"),
        (["--runtime=oneflow"], "requirements.txt"),
        (["--source", "0", "--device", "cuda"], "requirements.txt"),
        (["--device=cuda"], "requirements.txt"),
        (["--source", "0", "--device=cuda"], "requirements.txt"),
        (["--source", "0", "--runtime=oneflow"], "requirements.txt"),
        (["--device=cuda:1"], "infer.txt"),  # which infer.py refuses
    ],
)
def test_oneflow_is_installed_for_inference_only_on_request(clone: Clone, arguments: list, file: str):
    clone.add_python("3.10")
    assert clone.run("infer.sh", *arguments).returncode == 0
    assert installs(clone.log()) == [file]


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["--demo"], "requirements.txt"),
        (["--demo", "--kernels", "torch"], "torch.txt"),
        (["--kernels=torch", "--demo"], "torch.txt"),
        (["--demo", "--output", "torch", "--kernels=oneflow"], "requirements.txt"),
    ],
)
def test_pytorch_is_installed_for_training_only_on_request(clone: Clone, arguments: list, file: str):
    clone.add_python("3.10")
    assert clone.run("train.sh", *arguments).returncode == 0
    assert installs(clone.log()) == [file]


@pytest.mark.parametrize(
    ("arguments", "fetched"),
    [
        ([], ["data", "backbone"]),
        (["--epochs", "3"], ["data", "backbone"]),
        (["--data", "x"], ["backbone"]),
        (["--data=x", "--backbone=y"], []),
        (["--weights", "x"], ["data"]),
        (["--resume", "x"], []),
        (["--demo"], []),
    ],
)
def test_training_fetches_what_is_not_named(clone: Clone, arguments: list, fetched: list):
    clone.add_python("3.10")
    assert clone.run("train.sh", *arguments).returncode == 0
    runs = [line for line in clone.log() if line.startswith("run")]
    assert runs[:-1] == [f"run [{clone.root}/runtimes/download.py] [{name}]" for name in fetched]
    named = [f"[--{name}] [a folder/{name}]" for name in reversed(fetched)]
    assert runs[-1] == " ".join(["run", f"[{clone.root}/train.py]", *named, *(f"[{a}]" for a in arguments)])


def test_training_does_not_begin_without_its_data(clone: Clone):
    clone.add_python("3.10")
    (clone.stubs / "no-network").touch()
    assert clone.run("train.sh").returncode == 1
    assert clone.log()[-1] == f"run [{clone.root}/runtimes/download.py] [data]"


def test_training_on_own_data_begins_without_the_backbone_and_says_so(clone: Clone):
    clone.add_python("3.10")
    (clone.stubs / "no-network").touch()
    result = clone.run("train.sh", "--data", "x")
    assert "random weights" in result.stderr
    assert clone.log()[-1] == f"run [{clone.root}/train.py] [--data] [x]"


def test_training_in_several_processes(clone: Clone):
    clone.add_python("3.10")
    clone.run("train.sh", "--demo", NPROC="2")
    script = f"{clone.root}/training/launch.py"
    expected = "[--processes] [2] [--nodes] [1] [--node-rank] [0] [--address] [127.0.0.1] [--port] [0]"
    assert clone.log()[-1] == f"run [{script}] {expected} [{clone.root}/train.py] [--demo]"
    machine = {
        "NPROC": "8",
        "NNODES": "2",
        "NODE_RANK": "1",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29500",
    }
    clone.run("train.sh", "--demo", **machine)
    script = f"{clone.root}/training/launch.py"
    expected = "[--processes] [8] [--nodes] [2] [--node-rank] [1] [--address] [10.0.0.1] [--port] [29500]"
    assert expected in clone.log()[-1]


def test_tests_run_after_the_style_checks(clone: Clone):
    clone.add_python("3.10")
    assert clone.run("test.sh", "tests/test a.py", "-x").returncode == 0
    runs = [line for line in clone.log() if line.startswith("run")]
    assert runs == [
        "run [-m] [ruff] [check] [.]",
        "run [-m] [ruff] [format] [--check] [.]",
        "run [-m] [pytest] [-m] [not slow] [tests/test a.py] [-x]",
    ]
    clone.run("test.sh", "--slow", "-x")
    assert clone.log()[-1] == "run [-m] [pytest] [-m] [slow or not slow] [-x]"
    (clone.stubs / "exit").write_text("3")
    assert clone.run("test.sh").returncode == 3
    assert clone.log() == ["run [-m] [ruff] [check] [.]"]


def test_each_test_file_has_a_process_of_its_own(clone: Clone):
    clone.add_python("3.10")
    (clone.root / "tests").mkdir(exist_ok=True)
    for name in ("one", "two"):
        (clone.root / "tests" / f"test_{name}.py").touch()
    assert clone.run("test.sh").returncode == 0
    runs = [line for line in clone.log() if line.startswith("run [-m] [pytest]")]
    assert runs == [
        f"run [-m] [pytest] [-q] [-rs] [-m] [not slow] [tests/test_{name}.py]" for name in ("one", "two")
    ]


@pytest.mark.parametrize(
    ("script", "words"), [("test.sh", "--slow"), ("infer.sh", "--source photo.jpg"), ("train.sh", "--demo")]
)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_installs_nothing(clone: Clone, script: str, words: str, option: str):
    clone.add_python("3.10")
    result = clone.run(script, option)
    assert result.returncode == 0
    assert f"bash {script} {words}" in result.stdout
    assert "set -euo" not in result.stdout
    assert clone.log() == []


@pytest.mark.parametrize("name", ["infer", "train"])
def test_help_is_the_programs_where_the_packages_are_there(clone: Clone, name: str):
    clone.add_python("3.10")
    clone.run("tools/setup.sh", name)
    clone.run(f"{name}.sh", "--help")
    assert clone.log()[-1] == f"run [{clone.root}/{name}.py] [--help]"


def test_every_script_is_sound_bash():
    for script in (*SCRIPTS, ".ci/run"):
        assert subprocess.run(["bash", "-n", ROOT / script]).returncode == 0
        assert os.access(ROOT / script, os.X_OK)
        assert "set -euo pipefail" in (ROOT / script).read_text()
