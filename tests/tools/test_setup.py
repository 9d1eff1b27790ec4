"""setup.sh: which interpreter it takes, what it installs and when, and what it says when it cannot."""

from __future__ import annotations

import subprocess

import pytest
from stub_clone import REQUIREMENTS, Clone, installs

BROKEN_SHIM = """#!/usr/bin/env bash
echo 'pyenv: command not found' >&2
exit 127
"""
# It knows Python 3.10 alone, once that is installed.
UV_STUB = """#!/usr/bin/env bash
case "$2 $3" in
    'find 3.10') [ ! -f '{place}' ] || printf '%s\\n' '{place}' ;;
    install*) mkdir -p "$(dirname '{place}')" && cp '{source}' '{place}' ;;
esac
"""


# Which interpreter


@pytest.mark.parametrize(
    ("packages", "present", "chosen"),
    [
        ("infer", ["3.8", "3.9", "3.10", "3.12"], "3.10"),
        ("infer", ["3.9", "3.12"], "3.9"),
        ("infer", ["3.12", "3.13"], "3.12"),
        ("infer", ["3.14"], "3.14"),
        ("train", ["3.8", "3.9", "3.12"], "3.9"),
        ("train", ["3.8", "3.13"], "3.8"),
        ("test", ["3.10", "3.11"], "3.10"),
    ],
)
def test_the_best_version_is_chosen(clone: Clone, packages: str, present: list, chosen: str):
    for version in present:
        clone.add_python(version)
    assert clone.run("tools/setup.sh", packages).returncode == 0
    assert clone.log()[0] == f"venv {chosen}"


@pytest.mark.parametrize("present", [[], ["3.11"], ["3.12", "3.13"], ["3.7"]])
def test_training_refuses_other_versions(clone: Clone, present: list):
    for version in present:
        clone.add_python(version)
        clone.add_python(version, clone.stubs / "python3")
    result = clone.run("train.sh", "--demo")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "No Python 3.10, 3.9 or 3.8 was found" in result.stderr
    assert clone.log() == []


def test_a_shim_that_does_not_run_is_passed_over(clone: Clone):
    clone.add_program(clone.stubs / "python3.10", BROKEN_SHIM)
    clone.add_python("3.9")
    assert clone.run("tools/setup.sh", "train").returncode == 0
    assert clone.log()[0] == "venv 3.9"


@pytest.mark.parametrize("variable", ["PYENV_ROOT", None])
def test_versions_of_pyenv_are_found(clone: Clone, variable: str | None):
    pyenv = clone.home / ("py env" if variable else ".pyenv")
    clone.add_program(clone.stubs / "python3.10", BROKEN_SHIM)
    clone.add_python("3.10", pyenv / "versions/3.10.13/bin/python")
    result = clone.run("tools/setup.sh", "train", **({variable: str(pyenv)} if variable else {}))
    assert result.returncode == 0
    assert clone.log()[0] == "venv 3.10"


def test_plain_python3_is_found(clone: Clone):
    clone.add_python("3.9", clone.stubs / "python3")
    assert clone.run("tools/setup.sh", "train").returncode == 0


def test_an_active_environment_goes_first(clone: Clone):
    clone.add_python("3.10")
    active = clone.home / "active"
    clone.add_python("3.9", active / "bin/python")
    assert clone.run("tools/setup.sh", "train", VIRTUAL_ENV=str(active)).returncode == 0
    assert clone.log()[0] == "venv 3.9"


def test_an_active_environment_that_is_unfit_is_passed_over(clone: Clone):
    clone.add_python("3.10")
    active = clone.home / "active"
    clone.add_python("3.12", active / "bin/python")
    assert clone.run("tools/setup.sh", "train", VIRTUAL_ENV=str(active)).returncode == 0
    assert clone.log()[0] == "venv 3.10"


@pytest.mark.parametrize("installed", [True, False])
def test_uv_finds_or_fetches(clone: Clone, installed: bool):
    place = clone.home / "uv/python"
    source = clone.add_python("3.10", place if installed else clone.home / "not yet")
    clone.add_program(clone.stubs / "uv", UV_STUB.format(place=place, source=source))
    result = clone.run("tools/setup.sh", "train")
    assert result.returncode == 0, result.stderr
    assert clone.log()[0] == "venv 3.10"
    assert ("uv fetches" in result.stderr) is not installed


def test_without_the_venv_module(clone: Clone):
    clone.add_python("3.10", clone.stubs / "python3", can_venv=False)
    result = clone.run("tools/setup.sh", "train")
    assert result.returncode == 1
    assert "apt install python3.10-venv" in result.stderr
    clone.add_python("3.9")  # another that can
    assert clone.run("tools/setup.sh", "train").returncode == 0


def test_the_asked_for_interpreter(clone: Clone):
    clone.add_python("3.10")
    mine = clone.add_python("3.8", clone.home / "my python")
    assert clone.run("tools/setup.sh", "infer", PYTHON=str(mine)).returncode == 0
    assert clone.log()[0] == "venv 3.8"
    clone.run("tools/setup.sh", "infer", PYTHON=str(mine))
    assert clone.log() == []
    clone.run("tools/setup.sh", "infer")  # nobody asks for another
    assert clone.log() == []
    result = clone.run("tools/setup.sh", "infer", PYTHON="python3.10")
    assert "Making .venv anew with Python 3.10" in result.stderr
    assert clone.log()[0] == "venv 3.10"


@pytest.mark.parametrize(
    ("python", "reason"),
    [("3.12", "is Python 3.12"), ("nowhere", "does not run"), ("no venv", "python3.10-venv")],
)
def test_an_unfit_interpreter_that_was_asked_for_is_refused(clone: Clone, python: str, reason: str):
    clone.add_python("3.10")
    clone.add_python("3.12", clone.home / "3.12")
    clone.add_python("3.10", clone.home / "no venv", can_venv=False)
    result = clone.run("tools/setup.sh", "train", PYTHON=str(clone.home / python))
    assert result.returncode == 1
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert clone.log() == []


def test_oneflow_is_for_linux_on_x86(clone: Clone):
    clone.add_python("3.10")
    (clone.stubs / "uname").unlink()
    clone.add_program(
        clone.stubs / "uname", "#!/usr/bin/env bash\n[ $1 = -s ] && echo Darwin || echo arm64\n"
    )
    result = clone.run("tools/setup.sh", "train")
    assert result.returncode == 1
    assert "Darwin on arm64" in result.stderr
    assert clone.run("tools/setup.sh", "infer").returncode == 0


# What is installed, and when


def test_nothing_is_done_twice(clone: Clone):
    clone.add_python("3.10")
    for packages, file in zip(("infer", "train", "torch", "test"), REQUIREMENTS):
        assert clone.run("tools/setup.sh", packages).returncode == 0
        assert installs(clone.log()) == [file.rpartition("/")[2]]
        result = clone.run("tools/setup.sh", packages)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        assert clone.log() == []


@pytest.mark.parametrize("larger", ["torch", "test"])
def test_a_larger_set_serves_for_the_smaller(clone: Clone, larger: str):
    clone.add_python("3.10")
    clone.run("tools/setup.sh", larger)
    clone.log()
    for packages in ("infer", "train"):
        assert clone.run("tools/setup.sh", packages).returncode == 0
    assert clone.log() == []


@pytest.mark.parametrize("changed", REQUIREMENTS)
def test_changed_requirements_are_installed(clone: Clone, changed: str):
    clone.add_python("3.10")
    packages = "torch" if changed == "requirements/torch.txt" else "test"
    clone.run("tools/setup.sh", packages)
    clone.log()
    with open(clone.root / changed, "a") as file:
        file.write("# changed\n")
    assert clone.run("tools/setup.sh", packages).returncode == 0
    assert clone.log() == [f"pip 3.10 {clone.root}/requirements/{packages}.txt"]  # in the same environment


def test_a_failed_install_is_repeated(clone: Clone):
    clone.add_python("3.10")
    clone.run("tools/setup.sh", "infer")
    (clone.stubs / "pip-fails").write_text("ERROR: something\n")
    assert clone.run("train.sh", "--demo").returncode == 1
    (clone.stubs / "pip-fails").unlink()
    clone.log()
    # pip may have changed any of the packages before it failed.
    clone.run("tools/setup.sh", "infer")
    clone.run("tools/setup.sh", "train")
    assert installs(clone.log()) == ["infer.txt", "requirements.txt"]


def test_a_half_made_environment_is_made_anew(clone: Clone):
    clone.add_python("3.10")
    (clone.root / ".venv/bin").mkdir(parents=True)
    (clone.root / ".venv/bin/python").symlink_to("/nowhere/python3.10")
    result = clone.run("tools/setup.sh", "infer")
    assert result.returncode == 0
    assert "in place of a broken one" in result.stderr
    assert clone.log()[0] == "venv 3.10"


def test_training_replaces_an_environment_that_is_too_new(clone: Clone):
    clone.add_python("3.12")
    clone.run("tools/setup.sh", "infer")
    clone.add_python("3.10")
    clone.log()
    result = clone.run("tools/setup.sh", "train")
    assert "Making .venv anew with Python 3.10, in place of 3.12" in result.stderr
    assert clone.log()[0] == "venv 3.10"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        (
            "WARNING: Retrying: NewConnectionError(Temporary failure in name resolution)\n"
            "ERROR: No matching distribution found for numpy==1.26.4",
            "is there a network?",
        ),
        ("ERROR: No matching distribution found for openvino", "No matching distribution found for openvino"),
    ],
)
def test_pip_failures_are_explained(clone: Clone, said: str, message: str):
    clone.add_python("3.10")
    (clone.stubs / "pip-fails").write_text(said + "\n")
    result = clone.run("tools/setup.sh", "infer")
    assert result.returncode == 1
    assert message in result.stderr


def test_only_large_downloads_are_shown(clone: Clone):
    clone.add_python("3.10")
    result = clone.run("tools/setup.sh", "train")
    assert "downloading oneflow 0.9.0 (964.8 MB)" in result.stderr
    assert "tqdm" not in result.stderr


def test_missing_system_libraries_are_named(clone: Clone):
    clone.add_python("3.10")
    (clone.stubs / "no-cv2").touch()
    result = clone.run("tools/setup.sh", "infer")
    assert result.returncode == 1
    assert "libGL.so.1" in result.stderr
    assert "apt install libgl1 libglib2.0-0" in result.stderr
    (clone.stubs / "no-cv2").unlink()
    assert clone.run("tools/setup.sh", "infer").returncode == 0


def test_two_set_ups_at_once_install_once(clone: Clone):
    clone.add_python("3.10")
    machine = {"PATH": str(clone.stubs), "HOME": str(clone.home), "STUBS": str(clone.stubs)}
    command = ["bash", clone.root / "tools/setup.sh", "infer"]
    both = [subprocess.Popen(command, env=machine, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert installs(clone.log()) == ["infer.txt"]
