"""Opening, keeping and submitting against the real server, without a window; and servers that are something else."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import tifffile
from seamless_annotator.server import Away, Changed, Foreign, NotFound, Refused, Server
from seamless_annotator.session import Session


@pytest.fixture
def session(real):
    for file in (real.studies / "drafts").glob("*"):
        file.unlink()
    if not real.answers():
        real.start()
    return Session(Server(real.url))


def square(first, last=None):
    cells = np.zeros((96, 80), np.int32)
    cells[first : last or first + 20, 10:40] = 1
    return cells


def test_what_is_opened_first_is_the_draft_then_the_label(session, real):
    opened = session.open("i1")
    assert opened.numbers.shape == opened.image.shape[:2] == (96, 80)
    opened.numbers[...] = square(5)
    assert session.submit(opened).startswith("1 cells")
    np.testing.assert_array_equal(session.open("i1").numbers > 0, square(5) > 0)
    opened.numbers[...] = square(40)
    opened.edited = True
    session.keep(opened)
    again = Session(Server(real.url)).open("i1")
    np.testing.assert_array_equal(again.numbers, square(40))
    assert (again.told, again.edited) == ("the draft was restored", True)
    assert [one["state"] for one in session.images() if one["name"] == "i1"] == ["draft"]


def test_next_is_an_image_that_needs_work(session):
    chosen = [session.next("first")["image"]]
    for _ in range(2):
        opened = session.open(chosen[-1])
        opened.edited = True
        session.keep(opened)
        chosen.append(session.next("first").get("image", ""))
    assert len(set(chosen)) == 3
    assert session.next("first", chosen[-1]).get("image") not in chosen


def test_somebody_elses_label_is_not_replaced_without_a_word(session, real):
    one, other = session.open("i2"), Session(Server(real.url)).open("i2")
    one.numbers[...], other.numbers[...] = square(5), square(50)
    session.submit(one)
    with pytest.raises(Changed, match="submit once more to replace"):
        session.submit(other)
    assert session.server.label("i2")[0][10, 20] == 1
    session.submit(other)
    assert session.server.label("i2")[0][10, 20] == 0
    one.edited = True
    session.keep(one)
    assert "has changed since this draft" in Session(Server(real.url)).open("i2").told


def test_a_label_of_another_size_and_a_draft_of_another_size_are_told(session, real):
    opened = session.open("i3")
    opened.numbers[...] = square(5)
    session.submit(opened)
    tifffile.imwrite(real.studies / "labels" / "final" / "i3.tif", np.ones((5, 6), np.uint8))
    opened = session.open("i3")
    assert "of another size" in opened.told
    assert not opened.numbers.any()
    session.drafts.save("i3", np.ones((4, 4), np.int32), {"classes": ["background", "cell"]})
    told = session.open("i3").told
    assert "a draft of other classes or another size was kept as" in told
    assert list(session.drafts.folder.glob("i3.1.kept.tif"))
    opened.numbers[...] = square(8)
    session.submit(opened)
    np.testing.assert_array_equal(session.server.label("i3")[0], square(8))


def test_an_image_that_has_gone_leaves_its_draft(session, real):
    tifffile.imwrite(real.studies / "gone.tif", np.arange(96 * 80, dtype=np.uint16).reshape(96, 80))
    for _ in range(100):
        if any(one["name"] == "gone" for one in session.images()):
            break
        threading.Event().wait(0.2)
    opened = session.open("gone")
    opened.numbers[...] = square(5)
    (real.studies / "gone.tif").unlink()
    with pytest.raises(NotFound, match="the draft stays"):
        session.submit(opened)
    assert session.drafts.load("gone")[0].any()
    with pytest.raises(NotFound):
        session.open("gone")


def test_reasons_of_the_server_reach_the_annotator(session):
    with pytest.raises(Refused, match="threshold"):
        session.server.propose("i0", {"threshold": 3})
    with pytest.raises(Refused, match="its size"):
        session.server.submit("i0", np.ones((4, 4), np.int32), np.array([0, 1]), None)
    with pytest.raises(Refused, match="no training is running"):
        session.server.stop_training()


def test_classes_are_kept_through_proposal_and_label(network, tmp_path, real):
    from tests.conftest import RealServer

    (tmp_path / "studies").mkdir()
    tifffile.imwrite(tmp_path / "studies" / "a.tif", tifffile.imread(real.studies / "i0.tif"))
    names = ["background", "round", "rod", "marked"]
    server = RealServer(network(tmp_path / "app", "--option", f"class_names={json.dumps(names)}"), tmp_path / "studies")
    server.start()
    try:
        session = Session(Server(server.url))
        assert session.numbering.names == tuple(names[1:])
        opened = session.open("a")
        session.proposed(opened, session.server.propose("a"))
        cells, classes = np.zeros((96, 80), np.int32), np.array([0, 3, 1, 3])
        cells[5:20, 5:20], cells[5:20, 20:40], cells[60:70, 5:20], cells[80:] = 1, 2, 3, -1
        opened.numbers[...] = session.numbering.encode(cells, classes)
        assert "not annotated" in session.submit(opened)
        back = session.open("a").numbers
        np.testing.assert_array_equal(session.numbering.class_of(back), np.where(cells > 0, classes[cells], cells))
    finally:
        server.stop()


@pytest.fixture
def other():
    """A server of something else; what it answers with can be changed."""

    class Handler(BaseHTTPRequestHandler):
        answer = (404, {"detail": "Not Found"})
        lost = 0  # bytes of its end

        def do_GET(self):
            status, content = self.answer
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + self.lost))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_other_servers_are_refused(other, session):
    handler, url = other
    for handler.answer in ((404, {"detail": "Not Found"}), (200, ["text"]), (200, {"server": "other"})):
        with pytest.raises(Foreign, match="is no server of this bundle"):
            Server(url).about()
    handler.answer = (500, "no detail")
    with pytest.raises(Refused, match="500"):
        Server(url).about()
    handler.answer = (200, {**session.about, "classes": ["background", "nucleus"]})
    session.server.address = url
    with pytest.raises(Foreign, match=r"another server answers .* classes"):
        session.require_same()


def test_a_page_of_something_else_is_no_server_of_this_bundle(other):
    handler, url = other
    handler.answer = (200, b"<html>welcome</html>")
    with pytest.raises(Foreign, match="is no server of this bundle"):
        Server(url).about()


def test_a_server_that_ends_in_the_middle_of_an_answer_is_away(other):
    handler, url = other
    handler.answer, handler.lost = (200, b"PK"), 1000
    with pytest.raises(Away, match="is the server running"):
        Server(url).label("a")


def test_no_server_is_said_so():
    with pytest.raises(Away, match="is the server running"):
        Server("http://127.0.0.1:9").about()
    with pytest.raises(Refused, match="cannot be asked"):
        Server("not an address").about()
