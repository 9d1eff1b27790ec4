"""setup.sh: which interpreter it takes, what it installs and when, and what it says when it cannot."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from stub_clone import Clone

BROKEN_SHIM = """#!/usr/bin/env bash
echo 'pyenv: command not found' >&2
exit 127
"""
# It knows Python 3.10 alone, once that is installed.
UV_STUB = """#!/usr/bin/env bash
case "$*" in
    'python find --system 3.10') [ -f '{place}' ] && printf '%s\\n' '{place}' ;;
    'python install 3.10') mkdir -p "$(dirname '{place}')" && cp '{source}' '{place}' ;;
esac
"""
SETUP = "tools/setup.sh"


# Which interpreter


@pytest.mark.parametrize(
    ("packages", "present", "chosen"),
    [
        ("infer", ["3.9", "3.10", "3.12"], "3.10"),
        ("infer", ["3.12", "3.14"], "3.12"),
        ("infer", ["3.8", "3.9"], None),
        ("page", ["3.12", "3.14"], "3.12"),
        ("train", ["3.9", "3.10", "3.12"], "3.10"),
        ("train", ["3.12"], None),
        ("test", ["3.11"], None),
    ],
)
def test_the_best_version_is_chosen(clone: Clone, packages: str, present: list, chosen: str | None):
    for version in present:
        clone.add_python(version)
    result = clone.run(SETUP, packages)
    assert clone.version() == chosen
    assert (result.returncode == 0) == (chosen is not None)
    assert ("No Python of 3.10" in result.stderr) == (chosen is None)


@pytest.mark.parametrize("root", ["PYENV_ROOT", "HOME", None])
def test_a_shim_that_does_not_run_is_passed_over(clone: Clone, root: str | None):
    """pyenv's shim fails, its versions are found; without HOME another Python is."""
    clone.add_program(clone.stubs / "python3.10", BROKEN_SHIM)
    clone.add_python("3.11")
    pyenv = clone.home / ("py env" if root == "PYENV_ROOT" else ".pyenv")
    clone.add_python("3.10", pyenv / "versions/3.10.13/bin/python")
    more = {"PYENV_ROOT": str(pyenv)} if root == "PYENV_ROOT" else {} if root else {"HOME": None}
    result = clone.run(SETUP, "infer", **more)
    assert result.returncode == 0, result.stderr
    assert clone.version() == ("3.10" if root else "3.11")


@pytest.mark.parametrize(("version", "chosen"), [("3.11", "3.11"), ("3.9", "3.10")])
def test_an_active_environment_goes_first_if_it_is_fit(clone: Clone, version: str, chosen: str):
    clone.add_python("3.10")
    clone.add_python(version, clone.home / "active/bin/python")
    assert clone.run(SETUP, "infer", VIRTUAL_ENV=str(clone.home / "active")).returncode == 0
    assert clone.version() == chosen


def test_an_active_venv_of_the_clone_that_has_no_pip_is_not_made_with_itself(clone: Clone):
    clone.add_python("3.11")
    own = clone.add_python("3.10", clone.root / ".venv/bin/python")
    own.write_text(own.read_text().replace("exit 0 ;; esac", "exit 1 ;; esac"))
    for name in ("python3", "python3.10"):
        (own.parent / name).symlink_to(own)
    path = f"{own.parent}:{clone.stubs}"
    result = clone.run(SETUP, "infer", VIRTUAL_ENV=str(own.parent.parent), PATH=path)
    assert result.returncode == 0, result.stderr
    assert clone.version() == "3.11"


@pytest.mark.parametrize("there", [True, False])
def test_uv_finds_or_fetches(clone: Clone, there: bool):
    place = clone.home / "uv/python"
    source = clone.add_python("3.10", place if there else clone.home / "not yet")
    clone.add_program(clone.stubs / "uv", UV_STUB.format(place=place, source=source))
    assert clone.run(SETUP, "train").returncode == 0
    assert clone.version() == "3.10"


def test_without_the_venv_module(clone: Clone):
    clone.add_python("3.10", clone.stubs / "python3", can_venv=False)
    result = clone.run(SETUP, "train")
    assert result.returncode == 1
    assert "apt install python3-venv" in result.stderr


@pytest.mark.parametrize(("asked", "fits"), [("3.11", True), ("3.9", False), ("nowhere", False)])
def test_the_asked_for_interpreter(clone: Clone, asked: str, fits: bool):
    clone.add_python("3.10")
    for version in ("3.11", "3.9"):
        clone.add_python(version, clone.home / version)
    result = clone.run(SETUP, "infer", PYTHON=str(clone.home / asked))
    assert clone.version() == (asked if fits else None)
    assert fits or ("PYTHON=" in result.stderr and result.returncode == 1)


def test_oneflow_is_for_linux_on_x86(clone: Clone):
    clone.add_python("3.10")
    (clone.stubs / "uname").unlink()
    clone.add_program(
        clone.stubs / "uname", "#!/usr/bin/env bash\n[ $1 = -s ] && echo Darwin || echo arm64\n"
    )
    result = clone.run(SETUP, "train")
    assert result.returncode == 1
    assert "Darwin on arm64" in result.stderr
    assert clone.run(SETUP, "infer").returncode == 0


# What is installed, and when


def test_nothing_is_done_twice_and_a_larger_set_serves_for_a_smaller(clone: Clone):
    clone.add_python("3.10")
    for packages, file in (("infer", "infer.txt"), ("train", "requirements.txt"), ("test", "test.txt")):
        assert clone.run(SETUP, packages).returncode == 0
        assert clone.installed() == [file]
        for smaller in ("infer", packages):
            result = clone.run(SETUP, smaller)
            assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
            assert clone.installed() == []


@pytest.mark.parametrize("more", ["page", "cluster"])
def test_some_come_beside_another_set(clone: Clone, more: str):
    clone.add_python("3.10")
    for packages, files in (("train", ["requirements.txt"]), (more, [f"{more}.txt"])):
        assert clone.run(SETUP, packages).returncode == 0
        assert clone.installed() == files
    for packages in ("train", more, "infer"):
        assert clone.run(SETUP, packages).returncode == 0
        assert clone.installed() == []


CHANGED = ("requirements", "requirements/infer", "requirements/detector", "requirements/torch")


@pytest.mark.parametrize("changed", CHANGED)
def test_changed_requirements_are_installed(clone: Clone, changed: str):
    clone.add_python("3.10")
    clone.run(SETUP, "torch")
    clone.installed()
    with open(clone.root / f"{changed}.txt", "a") as file:
        file.write("# changed\n")
    assert clone.run(SETUP, "torch").returncode == 0
    assert clone.installed() == ["torch.txt"]


def test_a_failed_install_is_explained_and_repeated(clone: Clone):
    clone.add_python("3.10")
    clone.run(SETUP, "infer")
    clone.installed()
    (clone.stubs / "pip-fails").touch()
    result = clone.run("train.sh", "--demo")
    assert result.returncode == 1
    assert "No space left on device" in result.stderr and "The same command goes on" in result.stderr
    (clone.stubs / "pip-fails").unlink()
    # pip may have changed any of the packages before it failed.
    clone.run(SETUP, "infer")
    clone.run(SETUP, "train")
    assert clone.installed() == ["infer.txt", "requirements.txt"]


@pytest.mark.parametrize("fault", ["broken", "too new"])
def test_an_environment_that_does_not_serve_is_made_anew(clone: Clone, fault: str):
    clone.add_python("3.12")
    if fault == "too new":
        clone.run(SETUP, "infer")
    else:
        (clone.root / ".venv/bin").mkdir(parents=True)
        (clone.root / ".venv/bin/python").symlink_to("/nowhere/python3.10")
    clone.add_python("3.10")
    result = clone.run(SETUP, "train")
    assert "Making .venv anew" in result.stderr
    assert clone.version() == "3.10"


def test_an_environment_that_serves_comes_back_where_its_successor_cannot_be_made(clone: Clone):
    clone.add_python("3.12")
    clone.run(SETUP, "infer")
    clone.installed()
    clone.add_python("3.10")
    (clone.stubs / "pip-fails").touch()
    assert clone.run(SETUP, "train").returncode == 1
    assert clone.version() == "3.12" and not (clone.root / ".venv.old").exists()
    assert clone.run(SETUP, "infer").returncode == 0 and clone.installed() == []
    shutil.copytree(clone.root / ".venv", clone.root / ".venv.old")  # as a set-up that was killed leaves it
    for stamp in (clone.root / ".venv").glob("installed-*"):
        stamp.unlink()
    (clone.root / ".venv/bin/python").unlink()
    assert clone.run(SETUP, "infer").returncode == 0 and clone.installed() == []
    assert clone.version() == "3.12" and not (clone.root / ".venv.old").exists()


def test_a_page_that_could_not_be_installed_leaves_no_set_that_counts_as_whole(clone: Clone):
    clone.add_python("3.10")
    clone.run(SETUP, "infer")
    clone.installed()
    (clone.stubs / "pip-fails").touch()
    assert clone.run(SETUP, "page").returncode == 1
    (clone.stubs / "pip-fails").unlink()
    assert clone.run(SETUP, "infer").returncode == 0 and clone.installed() == ["infer.txt"]


def test_where_there_are_no_locks_it_goes_on(clone: Clone):
    clone.add_python("3.10")
    (clone.stubs / "flock").unlink()
    clone.add_program(clone.stubs / "flock", "#!/usr/bin/env bash\necho 'Bad file descriptor' >&2\nexit 65\n")
    result = clone.run(SETUP, "infer")
    assert result.returncode == 0 and "descriptor" not in result.stderr


def test_the_detector_is_installed_without_what_it_would_import(clone: Clone):
    clone.add_python("3.10")
    for packages in ("infer", "train"):
        clone.run(SETUP, packages)
        assert clone.pip_ran()[1:] == ["install detector.txt"]


def test_without_libraries_of_a_screen_opencv_has_no_windows(clone: Clone):
    clone.add_python("3.10")
    for name in ("no-cv2", "no-libGL"):
        (clone.stubs / name).touch()
    result = clone.run(SETUP, "infer")
    assert result.returncode == 0
    assert "libGL.so.1" in result.stderr and "apt install libgl1" in result.stderr
    version = re.search(r"^opencv-python==(.*)$", (clone.root / "requirements/infer.txt").read_text(), re.M)[
        1
    ]
    expected = ["uninstall opencv-python", f"install opencv-python-headless=={version}"]
    assert clone.pip_ran()[2:] == expected
    assert clone.run(SETUP, "infer").stderr == ""


def test_an_opencv_that_does_not_load_at_all(clone: Clone):
    clone.add_python("3.10")
    (clone.stubs / "no-cv2").touch()
    result = clone.run(SETUP, "infer")
    assert result.returncode == 1 and "OpenCV does not load: ImportError: libGL.so.1" in result.stderr
    (clone.stubs / "no-cv2").unlink()
    assert clone.run(SETUP, "infer").returncode == 0


def test_two_set_ups_at_once_install_once(clone: Clone):
    clone.add_python("3.10")
    command = ["bash", clone.root / SETUP, "infer"]
    both = [subprocess.Popen(command, env=clone.machine, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert clone.installed() == ["infer.txt"]
