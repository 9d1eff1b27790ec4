"""How programs end, what they take, and whole files: python -m pytest tests/test_programs.py"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from programs import PROGRAMS, ended
from safetensors.numpy import save_file

import utils
from dataset import open_dataset
from files import paths
from media.sources import camera_index
from runtimes.weights import read_weights, trained_size
from training import launch

ROOT = Path(__file__).parent.parent


def raises(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (utils.UserError("w.bin: no such file"), 1, "w.bin: no such file"),
        (FileNotFoundError(2, "No such file or directory", "a.png"), 1, "a.png: No such file or directory"),
        (OSError("cannot write a.png: the disk is full"), 1, "cannot write a.png: the disk is full"),
        (ImportError("OneFlow cannot be used here"), 1, "OneFlow cannot be used here"),
        (MemoryError(), 1, "not enough memory"),
        (RecursionError("too\ndeep"), 1, "RecursionError in test_programs.py, line"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no"), 1, "this should not have happened; --debug"),
        (KeyboardInterrupt(), 130, ""),
        (KeyboardInterrupt(143), 143, ""),
    ],
)
def test_whatever_goes_wrong_ends_in_one_line(error, status, words, capsys):
    assert ended(raises(error)) == status
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == (status == 1) and "Traceback" not in said


@pytest.mark.parametrize("debug", [True, False])
def test_debug_is_an_option_of_every_program_and_shows_the_trace(debug, capsys):
    def main() -> int:
        parser = utils.Parser("Try.")
        parser.add_argument("--size")
        assert vars(parser.parse_args()) == {"size": "3"} and "--debug" in parser.format_help()
        raise utils.UserError("odd")

    assert ended(main, "--size", 3, *["--debug"] * debug) == 1
    said = capsys.readouterr().err
    assert ("Traceback" in said) == debug and said.endswith("test_programs.py: odd\n")


def test_what_is_logged_is_printed_in_lines_and_warnings_name_the_program(capsys):
    def main() -> None:
        utils.log.info("wrote %s", "a.png")
        utils.log.warning("broken")
        utils.Parser("Try.").parse_args()
        utils.log.debug("", exc_info=KeyError("inside"))

    ended(main)
    assert capsys.readouterr().err == "wrote a.png\ntest_programs.py: broken\n"
    ended(main, "--debug")
    assert "KeyError: 'inside'" in capsys.readouterr().err


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_libraries_that_opencv_needs_one_line_says_what_to_install(program, tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "libGL.so.1" in done.stderr and "opencv-python-headless" in done.stderr


def test_the_status_is_what_the_program_returns():
    assert ended(lambda: None) == 0 and ended(lambda: 7) == 7


def test_without_standard_output(tmp_path):
    code = "import utils\ndef main():\n    print('x')\nutils.run(main)"
    assert subprocess.run(f"'{sys.executable}' -c \"{code}\" >&- 2>&-", shell=True, cwd=ROOT).returncode == 0


def test_where_there_are_no_locks_files_are_written_too(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    (tmp_path / ".tmp-1-a.bin").write_text("of who knows whom")
    with paths.atomic_path(tmp_path / "a.bin") as temporary:
        temporary.write_text("x")
    assert sorted(os.listdir(tmp_path)) == [".tmp-1-a.bin", "a.bin"]


@pytest.mark.parametrize("target", ["/dev/full", "closed"])
def test_output_that_nobody_takes_is_no_stack_trace(target):
    code = "import utils\ndef main():\n    print('x' * 100_000)\nutils.run(main)"
    command = [sys.executable, "-c", code]
    if target == "closed":
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        process.stdout.close()
    else:
        process = subprocess.Popen(command, stdout=open(target, "wb"), stderr=subprocess.PIPE, cwd=ROOT)  # noqa: SIM115
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) == 1 and said.count("\n") == 1 and "Traceback" not in said


def test_options(capsys):
    parser = utils.Parser("Try.")
    parser.add_argument("--count", type=utils.integer(1, 9))
    parser.add_argument("--share", type=utils.real(0, 1))
    parser.add_argument("--size", type=utils.side)
    args = parser.parse_args(["--count", "9", "--share", "1e-3", "--size", "4096"])
    assert (args.count, args.share, args.size) == (9, 0.001, 4096)
    for words, said in (
        (["--count", "10"], "'10' is not a whole number from 1 to 9"),
        (["--count", "2.0"], "not a whole number"),
        (["--share", "nan"], "'nan' is not a number from 0 to 1"),
        (["--size", "100"], "100 is not a multiple of 32"),
        (["--size", "4128"], "from 32 to 4096"),
        (["--size", ""], "'' is not a whole number"),
        (["--cou", "1"], "unrecognized"),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(words)
        assert said in capsys.readouterr().err


def test_an_empty_word_is_told(capsys):
    parser = utils.Parser("Try.")
    parser.add_argument("--data-folder")
    with pytest.raises(SystemExit):
        parser.parse_args(["--data-folder", ""])
    assert "--data-folder is empty: is a variable not set?" in capsys.readouterr().err


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "there" / "file.txt")
    for content in ("new", "newer"):  # the link leads to nothing at first
        with paths.atomic_path(tmp_path / "link.txt") as temporary:
            temporary.write_text(content)
        assert (tmp_path / "there" / "file.txt").read_text() == content
    assert (tmp_path / "link.txt").is_symlink()


def test_a_name_as_long_as_names_can_be(tmp_path):
    path = tmp_path / ("a" * 246 + ".safetensors"[:9])
    with paths.atomic_path(path) as temporary:
        temporary.write_text("x")
    assert path.read_text() == "x"


def test_a_folder_appears_whole(tmp_path):
    with paths.atomic_path(tmp_path / "folder", folder=True) as temporary:
        (temporary / "a").write_text("a")
        assert not (tmp_path / "folder").exists()
    assert os.listdir(tmp_path) == ["folder"]


def test_what_is_protected_or_has_no_text_as_name_is_not_written(tmp_path, monkeypatch):
    (tmp_path / "kept").write_text("kept")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for root nothing is protected
    with pytest.raises(OSError, match="it is write-protected"), paths.atomic_path(tmp_path / "kept"):
        pass
    with (
        pytest.raises(utils.UserError, match="the name is not UTF-8"),
        paths.atomic_path(tmp_path / os.fsdecode(b"o\xff")),
    ):
        pass


KILLED = """
import sys, time
from files import paths
with paths.atomic_path(sys.argv[1], folder=len(sys.argv) > 2) as temporary:
    path = temporary / "a" if len(sys.argv) > 2 else temporary
    path.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("more", [[], ["folder"]])
def test_what_a_killed_process_left_is_removed_by_the_next(more, tmp_path):
    processes = []
    for name in ("killed.bin", "alive.bin"):
        command = [sys.executable, "-c", KILLED, str(tmp_path / name), *more]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT))
        processes[-1].stdout.readline()
    killed, alive = processes
    killed.kill()
    killed.wait()
    assert len(os.listdir(tmp_path)) == 2
    for expected in (2, 1):  # of the living one nothing is touched
        paths.remove_litter.cache_clear()  # as in another process
        with paths.atomic_path(tmp_path / "next.bin") as temporary:
            temporary.write_bytes(b"whole")
        assert len(os.listdir(tmp_path)) == expected
        alive.kill()
        alive.wait()
    assert os.listdir(tmp_path) == ["next.bin"]
    for process in processes:
        process.stdout.close()


def test_no_file_stays_open_however_many_are_written(tmp_path):
    (tmp_path / ".tmp-12-0123abcd.png").write_text("ours")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        paths.write_json(tmp_path / f"{number}.json", {})
    assert len(os.listdir("/proc/self/fd")) == before


def test_only_what_we_named_is_removed(tmp_path):
    for name in (".tmp-notes", ".tmp-1-abcdefgh", ".tmp-7-0123456"):
        (tmp_path / name).write_text("somebody's")
    (tmp_path / ".tmp-12-0123abcd.png").write_text("ours")
    paths.write_json(tmp_path / "a.json", {})
    assert sorted(os.listdir(tmp_path)) == [".tmp-1-abcdefgh", ".tmp-7-0123456", ".tmp-notes", "a.json"]


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_text("x")
    monkeypatch.setattr(os, "access", lambda *how: False)  # root may read all
    with pytest.raises(utils.UserError, match=r"a\.png: you may not read it"):
        paths.regular_file(tmp_path / "a.png")


def test_one_file_has_many_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a b.png").write_text("x")
    Path("link").symlink_to("a b.png")
    os.link("a b.png", "hard")
    inputs = ["a b.png", None]
    for name in ("a b.png", "./a b.png", tmp_path / "x" / ".." / "a b.png", "link", "hard"):
        with pytest.raises(utils.UserError, match="one of the inputs"):
            paths.refuse_inputs([None, name], inputs)
    with pytest.raises(utils.UserError, match="written twice"):
        paths.refuse_inputs(["new", "./new"], [])
    paths.refuse_inputs(["new", "other"], ["a b.png"])


@pytest.mark.parametrize("size", ["1000000", "-32", "100", "x", "nan", "64.0", "9" * 400])
def test_the_size_in_weights_is_checked(size, tmp_path):
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "w.safetensors", {"size": size})
    with pytest.raises(utils.UserError, match=r"w\.safetensors: the size in its metadata"):
        trained_size(tmp_path / "w.safetensors")


def test_metadata_deeper_than_python_goes_is_passed_over(tmp_path):
    deep = {"training_state": "[" * 100_000}
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "w.safetensors", deep)
    assert trained_size(tmp_path / "w.safetensors") == 256


@pytest.mark.parametrize("count", [-1.0, np.nan, 1e300])
def test_counters_of_batch_norm_are_checked(count, tmp_path):
    save_file({"n.num_batches_tracked": np.array(count)}, tmp_path / "w.safetensors")
    with pytest.raises(utils.UserError, match="not a number from 0"):
        read_weights(tmp_path / "w.safetensors")


def header(shape: str, kind: str = "|u1") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (118 - len(text) - 1) + b"\n" if len(text) < 117 else b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        header("(1000000000000, 3, 256, 256)"),
        header("(99999999999999999999, 3, 8, 8)"),
        header("(-1, 3, 8, 8)"),
        header("(" * 5000),
        header("(1, 3, 8, 8)", "|O"),
        header("(1, 3, 8, 8)", "nonsense"),
        header("(1.5, 3, 8, 8)") + bytes(192),
        header("()") + bytes(8),
    ],
)
def test_the_headers_of_arrays_are_checked(content, tmp_path):
    (tmp_path / "img_test.npy").write_bytes(content)
    np.save(tmp_path / "mask_test.npy", np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(utils.UserError, match=r"img_test\.npy"):
        open_dataset(tmp_path, "test")


@pytest.mark.parametrize("kind", ["U1", "M8[s]", "c8", [("a", "u1")]])
def test_masks_of_no_numbers_are_refused(kind, tmp_path):
    np.save(tmp_path / "img_test.npy", np.zeros((1, 3, 8, 8), np.uint8))
    np.save(tmp_path / "mask_test.npy", np.zeros((1, 8, 8), kind))
    with pytest.raises(utils.UserError, match="masks must be numbers"):
        open_dataset(tmp_path, "test")


def test_a_mask_of_what_is_no_number_is_bad(tmp_path):
    np.save(tmp_path / "img_test.npy", np.zeros((1, 3, 8, 8), np.uint8))
    np.save(tmp_path / "mask_test.npy", np.full((1, 8, 8), np.nan, np.float32))
    with pytest.raises(utils.UserError, match=r"mask_test.npy\[0\]: .*nan"):
        open_dataset(tmp_path, "test")[0]


def test_camera_numbers_are_numbers_of_cameras():
    assert camera_index("/dev/video3") == 3
    with pytest.raises(utils.UserError, match="not a whole number from 0"):
        camera_index("4294967296")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--address", "no.such.host.invalid"], "no.such.host.invalid: "),
        (["--address", "h" * 100], "hhh: "),
        (["--port", "USED"], "Address already in use; choose another MASTER_PORT"),
        (["--port", "99999"], "not a whole number from 0 to 65535"),
        (["--processes", "0"], "not a whole number from 1"),
        (["--nodes", "2", "--node-rank", "2"], "must be below"),
    ],
)
def test_the_launcher_starts_nothing_on_what_cannot_be(options, words, tmp_path, capsys):
    import socket

    (tmp_path / "script.py").write_text("raise SystemExit('it ran')")
    with socket.create_server(("", 0)) as server:
        options = [str(server.getsockname()[1]) if option == "USED" else option for option in options]
        assert ended(launch.main, *options, tmp_path / "script.py") in (1, 2)
    assert words in capsys.readouterr().err
