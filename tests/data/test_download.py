"""Downloads against a real server on this machine: resume, checksums, broken connections, malicious archives."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import tifffile
from PIL import Image

from bundle.data import datalist, download
from bundle.data.download import SOURCES, DownloadError, Source, main


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


GOOD = archive(**{"top/a.txt": b"alpha" * 1000, "top/sub/b.txt": b"beta", "__MACOSX/top/._a.txt": b"x"})


@dataclass
class Server:
    """What is served, what goes wrong, and what was asked for."""

    content: bytes = GOOD
    cut: int | None = None
    ranges: bool = True
    status: int | None = None
    wrong_range: bool = False
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            if state.status:
                self.send_error(state.status)
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and state.ranges else 0
            total = len(state.content)
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.end_headers()
                return
            self.send_response(206 if wanted and state.ranges else 200)
            if wanted and state.ranges:
                self.send_header("Content-Range", f"bytes {start + state.wrong_range}-{total - 1}/{total}")
            self.send_header("Content-Length", str(total - start))
            self.end_headers()
            self.wfile.write(state.content[start : total if state.cut is None else state.cut])

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}/x.zip"
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def sources(server: Server, sha256: str | None = hashlib.sha256(GOOD).hexdigest(), **options) -> dict[str, Source]:
    return {"set": Source(server.url, sha256, "some terms", **options)}


def names(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_fetch_verify_unpack(server, tmp_path):
    folder = download.download("set", tmp_path / "data", sources(server))
    assert folder == tmp_path / "data" / "set"
    assert names(tmp_path / "data") == ["set", "set/a.txt", "set/sub", "set/sub/b.txt"]
    assert (folder / "a.txt").read_bytes() == b"alpha" * 1000
    download.download("set", tmp_path / "data", sources(server))
    assert server.asked == [None]


def test_a_full_disk_is_no_broken_connection(server, tmp_path):
    part = tmp_path / "set.zip.part"
    part.symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=rf"^{part} cannot be written \(No space left on device\): see to that and"):
        download.download("set", tmp_path, sources(server))
    part.unlink()
    download.download("set", tmp_path, sources(server))
    assert (tmp_path / "set/a.txt").read_bytes() == b"alpha" * 1000
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^dest '.*file' cannot be written \(.*\): choose another"):
        download.download("set", tmp_path / "file", sources(server))


def test_a_broken_connection_is_resumed(server, tmp_path):
    server.cut = 60
    with pytest.raises(DownloadError, match=rf"broke off after 60 of {len(GOOD)} bytes: run again"):
        download.download("set", tmp_path, sources(server))
    assert names(tmp_path) == ["set.zip.part"]
    server.cut = None
    download.download("set", tmp_path, sources(server))
    assert server.asked == [None, "bytes=60-"]
    assert (tmp_path / "set/a.txt").read_bytes() == b"alpha" * 1000


def test_a_server_that_cannot_resume_starts_again(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(b"rubbish")
    server.ranges = False
    download.download("set", tmp_path, sources(server))
    assert server.asked == ["bytes=7-"]


def test_a_complete_part_that_was_never_renamed(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(GOOD)
    download.download("set", tmp_path, sources(server))
    assert names(tmp_path / "set") == ["a.txt", "sub", "sub/b.txt"]


def test_a_part_longer_than_the_file(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(GOOD + b"more")
    with pytest.raises(DownloadError, match="answered 416"):
        download.download("set", tmp_path, sources(server))


def test_another_part_than_asked_for(server, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(GOOD[:10])
    server.wrong_range = True
    with pytest.raises(DownloadError, match=r"another part than asked for; remove .*set\.zip\.part"):
        download.download("set", tmp_path, sources(server))


def test_wrong_checksum(server, tmp_path):
    wrong = sources(server, sha256="0" * 64)
    with pytest.raises(DownloadError, match=rf"has the sha256 {hashlib.sha256(GOOD).hexdigest()}, 0000"):
        download.download("set", tmp_path, wrong)
    assert names(tmp_path) == []


def test_unknown_checksum_is_said_aloud(server, tmp_path, capsys):
    download.download("set", tmp_path, sources(server, sha256=None))
    assert "not verified: no checksum" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"<html>log in</html>", GOOD[:-30], GOOD[:200] + b"\0" * 20 + GOOD[220:], b""])
def test_what_is_no_archive_is_not_taken_as_done(server, tmp_path, content):
    server.content = content or archive()
    with pytest.raises(DownloadError, match=r"cannot be used: it is (no complete zip archive|empty)"):
        download.download("set", tmp_path, sources(server, sha256=None))
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:evil.txt", "..\\evil.txt"])
def test_no_member_leaves_the_folder(server, tmp_path, name):
    server.content = archive(**{"fine.txt": b"x", name: b"evil"})
    (tmp_path / "data").mkdir()
    with pytest.raises(DownloadError, match="would lie outside the folder"):
        download.download("set", tmp_path / "data", sources(server, sha256=None))
    assert names(tmp_path) == ["data"]


def test_no_link_leaves_the_folder(server, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc")
    server.content = buffer.getvalue()
    with pytest.raises(DownloadError, match="'link' would lie outside"):
        download.download("set", tmp_path, sources(server, sha256=None))
    assert names(tmp_path) == []


def test_server_refuses(server, tmp_path):
    server.status = 404
    with pytest.raises(DownloadError, match="answered 404 Not Found"):
        download.download("set", tmp_path, sources(server))
    assert names(tmp_path) == []


def test_no_network(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    gone = {"set": Source(f"http://127.0.0.1:{port}/x.zip", None, "terms")}
    assert main(["set", "--dest", str(tmp_path / "d")], gone) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: http://127.0.0.1")
    assert "cannot be reached" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "d" / "set").exists()


def test_command_line(server, tmp_path, capsys):
    assert main(["set", "--dest", str(tmp_path)], sources(server)) == 0
    assert "set: some terms" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["unknown", "--dest", str(tmp_path)])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert all(name in error for name in SOURCES)


def test_unknown_name(tmp_path):
    with pytest.raises(ValueError, match="name must be one of isbi2012, dic-hela, phc-u373, dsb2018, got 'x'"):
        download.download("x", tmp_path)


def test_the_sources_are_well_formed():
    for source in SOURCES.values():
        assert source.url.startswith("https://")
        assert source.url.endswith(".zip")
        assert len(source.terms) > 20
        assert source.sha256 is None or re.fullmatch("[0-9a-f]{64}", source.sha256)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def nuclei(**masks: np.ndarray) -> bytes:
    image = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)
    members = {f"id/masks/{name}.png": png(mask) for name, mask in masks.items()}
    other = {"jd/images/jd.png": png(image), "jd/masks/m.png": png(image)}
    return archive(**{"id/images/id.png": png(image)}, **members, **other)


def test_nuclei_are_joined(server, tmp_path):
    one, two = np.zeros((2, 12, 20), np.uint8)
    one[1:4, 2:9] = 255
    two[6:11, 12:19] = 255
    server.content = nuclei(a=one, b=two)
    folder = download.download("set", tmp_path, sources(server, sha256=None, prepare=SOURCES["dsb2018"].prepare))
    assert [item["name"] for item in datalist(folder)] == ["id", "jd"]
    labels = tifffile.imread(folder / "label/id.tif")
    np.testing.assert_array_equal(labels, (one > 0) * 1 + (two > 0) * 2)
    assert labels.dtype == np.uint16
    assert names(folder) == [
        "image",
        "image/id.png",
        "image/jd.png",
        "label",
        "label/id.tif",
        "label/jd.tif",
    ]


def test_nuclei_of_different_size(server, tmp_path):
    server.content = nuclei(a=np.zeros((12, 20), np.uint8), b=np.zeros((12, 21), np.uint8))
    with pytest.raises(DownloadError, match=r"b\.png: its size \(y, x\) is \(12, 21\)"):
        download.download("set", tmp_path, sources(server, sha256=None, prepare=SOURCES["dsb2018"].prepare))
    assert names(tmp_path) == []
