"""download.py against a server on the loopback that does everything a server can do wrong."""

from __future__ import annotations

import contextlib
import io
import stat
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from programs import ended

from runtimes import download
from runtimes.download import fetch, fetch_published, unpack
from utils import UserError


def make_zip(members: dict, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of name -> content; a name may be a ZipInfo."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return data.getvalue()


CONTENT = make_zip({"a": bytes(range(256)) * 4000}, zipfile.ZIP_STORED)  # 1 MB


class Server(ThreadingHTTPServer):
    """Serves `content` and notes the Range of each request; the attributes are its faults."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.ranges = True  # understands Range
        self.says_length = True
        self.statuses: list = []  # answered to the first requests
        self.breaks_after: list = []  # bytes after which the first answers break off
        self.kind = "application/zip"
        self.requests: list = []
        self.url = f"http://127.0.0.1:{self.server_port}/file.zip"

    def handle_error(self, request, client_address):
        """Say nothing of connections that the client has closed."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, content, begin = self.server, self.server.content, 0
        server.requests.append(self.headers.get("Range"))
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        if server.ranges and self.headers.get("Range"):
            begin = int(self.headers["Range"][len("bytes=") : -1])
            if begin > len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", server.kind)
        if server.says_length:
            self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        end = server.breaks_after.pop(0) if server.breaks_after else len(content)
        self.wfile.write(content[begin : max(end, begin)])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def left_over(folder: Path) -> list:
    return sorted(path.name for path in folder.iterdir())


# Fetching


def test_whole_file(server: Server, tmp_path: Path):
    path = tmp_path / "new folder" / "file.zip"
    fetch(server.url, path)
    assert path.read_bytes() == CONTENT
    assert left_over(path.parent) == ["file.zip"]


def test_goes_on_after_a_break(server: Server, tmp_path: Path):
    server.breaks_after = [300_000, 700_000]
    fetch(server.url, tmp_path / "file.zip", pause=0)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=700000-"]


def test_goes_on_in_a_later_run(server: Server, tmp_path: Path):
    server.breaks_after = [300_000, *[0] * download.ATTEMPTS]
    with pytest.raises(UserError, match="The same command goes on where it stopped"):
        fetch(server.url, tmp_path / "file.zip", pause=0)
    assert not (tmp_path / "file.zip").exists()
    server.requests, server.breaks_after = [], []
    fetch(server.url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert server.requests == ["bytes=300000-"]
    assert left_over(tmp_path) == ["file.zip"]


@pytest.mark.parametrize("fault", [{"ranges": False}, {"says_length": False}, {"statuses": [503, 500]}])
def test_what_servers_do(server: Server, tmp_path: Path, fault: dict):
    vars(server).update(fault)
    server.breaks_after = [300_000] if "ranges" in fault else []
    fetch(server.url, tmp_path / "file.zip", pause=0)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_that_the_server_does_not_know(server: Server, tmp_path: Path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT + b"more")
    fetch(server.url, tmp_path / "file.zip", pause=0)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("fault", "said", "reason"),
    [
        ({"statuses": [404]}, "curl cannot download", "404"),
        ({"statuses": [503] * 9}, "curl cannot download", "503"),
        ({"content": b"<html>Log in</html>"}, "not a zip file", ""),
        ({"breaks_after": [1000] * 9}, "curl cannot download", "curl: (18)"),
    ],
)
def test_the_message_says_what_and_where(server, tmp_path, fault, said, reason, capfd):
    vars(server).update(fault)
    path = tmp_path / "file.zip"
    with pytest.raises(UserError) as caught:
        fetch(server.url, path, pause=0)
    for text in (said, server.url, str(path)):
        assert text in str(caught.value)
    assert reason in capfd.readouterr().err
    assert not path.exists() and len(server.requests) == (1 if "40" in reason or not reason else 5)


def test_no_network(tmp_path: Path, capfd):
    with Server() as closed:
        url = closed.url
    with pytest.raises(UserError, match="curl cannot download"):
        fetch(url, tmp_path / "file.zip", pause=0)
    assert "curl: (7)" in capfd.readouterr().err


def test_no_curl(server: Server, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=r"curl is missing.*put it at .*file\.zip"):
        fetch(server.url, tmp_path / "file.zip")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up(server: Server, tmp_path: Path, capfd):
    (tmp_path / "file.zip.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match="curl cannot download"):
        fetch(server.url, tmp_path / "file.zip", pause=0)
    assert "curl: (23)" in capfd.readouterr().err


# Unpacking


@pytest.mark.parametrize("prefix", ["", "faces/", "a/b/"])
def test_unpack_skips_single_folders(tmp_path: Path, prefix: str):
    members = {f"{prefix}one/meta": "1", f"{prefix}two": "2", "__MACOSX/._two": "x"}
    (tmp_path / "file.zip").write_bytes(make_zip(members))
    unpack(tmp_path / "file.zip", tmp_path / "out" / "faces")
    assert (tmp_path / "out/faces/one/meta").read_text() == "1"
    assert (tmp_path / "out/faces/two").read_text() == "2"
    assert left_over(tmp_path / "out") == ["faces"]
    assert stat.S_IMODE((tmp_path / "out/faces").stat().st_mode) & 0o555 == 0o555


def damaged_zip() -> bytes:
    """Whole to look at, but a byte of a member's data has changed."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as file:
        file.writestr("good", b"g" * 1000)
        file.writestr("bad", b"b" * 1000)
    return data.getvalue().replace(b"b" * 1000, b"b" * 999 + b"x")


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (damaged_zip(), "Bad CRC-32 for file 'bad'"),
        (make_zip({"good": "x" * 9999})[:-30], "zip"),
        (b"<html>no such file</html>", "zip"),
        (b"", "zip"),
        (make_zip({"__MACOSX/x": ""}), "it has no files"),
    ],
)
def test_unpack_refuses(tmp_path: Path, archive: bytes, reason: str):
    (tmp_path / "file.zip").write_bytes(archive)
    with pytest.raises(UserError) as caught:
        unpack(tmp_path / "file.zip", tmp_path / "out")
    assert reason in str(caught.value)
    assert str(tmp_path / "file.zip") in str(caught.value)
    assert left_over(tmp_path) == ["file.zip"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "a\\..\\evil", "link"])
def test_members_stay_in_the_folder(tmp_path: Path, name: str):
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    (tmp_path / "file.zip").write_bytes(make_zip({"x/good": "", member: "/etc"}))
    with contextlib.suppress(UserError):
        unpack(tmp_path / "file.zip", tmp_path / "out" / "faces")
    assert set(left_over(tmp_path)) <= {"file.zip", "out"}
    assert left_over(tmp_path / "out") == ([] if name == "/evil" else ["faces"])
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


# The published files


def test_published_data(server: Server, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(download.PUBLISHED, "data", server.url)
    server.content = make_zip({f"faceseg_data/{name}": "1" for name in download.ARRAYS})
    folder = fetch_published("data", tmp_path)
    assert folder == tmp_path / "faceseg_data"
    assert left_over(folder) == ["img_test.npy", "img_train.npy", "mask_test.npy", "mask_train.npy"]
    assert left_over(tmp_path / "downloads") == []  # the zip file is not kept
    assert fetch_published("data", tmp_path) == folder
    assert len(server.requests) == 1


def test_a_part_of_the_data_is_not_all_of_it(tmp_path: Path, capsys):
    (tmp_path / "faceseg_data").mkdir()
    (tmp_path / "faceseg_data/img_train.npy").write_text("1")
    assert ended(download.main, "data", "--folder", tmp_path) == 1
    assert "lacks img_test.npy, mask_test.npy, mask_train.npy" in capsys.readouterr().err


def test_a_folder_that_is_there_is_taken(tmp_path: Path):
    folder = tmp_path / "faceseg_data"
    (folder / "train" / "images").mkdir(parents=True)
    assert fetch_published("data", tmp_path) == folder


def test_published_zip_put_there_by_hand(tmp_path: Path):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/linknet_oneflow_model.zip").write_bytes(
        make_zip({"model/bn/out": "", "model/x/out": ""})
    )
    folder = fetch_published("linknet", tmp_path)
    assert left_over(folder) == ["bn", "x"]


def test_of_several_that_start_together_one_fetches(tmp_path: Path, server: Server, monkeypatch):
    server.content = make_zip({"model/bn/out": bytes(400_000), "model/x/out": ""}, zipfile.ZIP_STORED)
    monkeypatch.setitem(download.PUBLISHED, "linknet", server.url)
    (tmp_path / "large disk").mkdir()
    (tmp_path / "downloads").symlink_to(tmp_path / "large disk")
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda _: fetch_published("linknet", tmp_path), range(3)))
    assert {tuple(left_over(folder)) for folder in folders} == {("bn", "x")}
    assert len(server.requests) == 1


def test_addresses_are_the_published_ones():
    assert set(download.PUBLISHED) == {"linknet", "backbone", "data"}
    for url in download.PUBLISHED.values():
        assert url.startswith("https://oneflow-")
        assert url.endswith(".zip")


def test_command_line(tmp_path: Path, capsys):
    (tmp_path / "downloads").mkdir()
    archive = tmp_path / "downloads/pretrained_resnet_oneflow_model.zip"
    archive.write_bytes(make_zip({"a": "", "b": ""}))
    arguments = (download.main, "backbone", "--folder", tmp_path)
    assert ended(*arguments) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "downloads/pretrained_resnet_oneflow_model")

    archive.write_bytes(b"no zip")
    (tmp_path / "downloads/pretrained_resnet_oneflow_model").rename(tmp_path / "elsewhere")
    assert ended(*arguments) == 1
    assert "cannot unpack" in capsys.readouterr().err
