"""Which time counts: segments of files, and of an HTTP server that speaks the database's JSON."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from gwpy.segments import DataQualityDict, DataQualityFlag

from deepclean.core.output.segments import intersection
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.validate.segments import query_segments, read_segments
from tests.helpers.commands import Run
from tests.helpers.training_site import START, toy_config

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def segment_files(place: Path) -> dict[str, tuple[Path, str | None]]:
    """Return files of the same segments, and the flag to be named."""
    flag = DataQualityFlag("H1:READY:1", active=[(10, 20), (30, 44.5)], known=[(0, 50)])
    other = DataQualityFlag("H1:OTHER:1", active=[(1, 2)], known=[(0, 50)])
    text = place / "two.txt"
    text.write_text("# start end\n10 20\n30 44.5\n")
    both = DataQualityDict({flag.name: flag, other.name: other})
    flag.write(str(place / "one.h5"))
    both.write(str(place / "both.hdf5"))
    flag.write(str(place / "one.xml"), format="ligolw")
    return {
        "text": (text, None),
        "hdf5": (place / "one.h5", None),
        "one of several": (place / "both.hdf5", flag.name),
        "xml": (place / "one.xml", None),
    }


@pytest.mark.parametrize("kind", ["text", "hdf5", "one of several", "xml"])
def test_segments_are_read(tmp_path: Path, kind: str) -> None:
    path, flag = segment_files(tmp_path)[kind]
    found = read_segments(path, flag)
    assert found == [Span(10 * NS, 20 * NS), Span(30 * NS, 44 * NS)]
    assert intersection(found, [Span(15 * NS, 31 * NS)]) == [
        Span(15 * NS, 20 * NS),
        Span(30 * NS, 31 * NS),
    ]


def test_segments_that_cannot_be_read(tmp_path: Path) -> None:
    both = segment_files(tmp_path)["one of several"][0]
    (tmp_path / "bad.h5").write_text("no")
    for path, flag, said in (
        (tmp_path / "none.txt", None, "no such file"),
        (tmp_path / "bad.h5", None, "no segments can be read"),
        (both, None, "name one of H1:OTHER:1, H1:READY:1"),
        (both, "H1:REDY:1", "did you mean H1:READY:1"),
    ):
        with pytest.raises(InputError, match=said):
            read_segments(path, flag)


class Database(BaseHTTPRequestHandler):
    """Speaks as a segment database does (LIGO-T1300625), of versions 1 and 2 of one flag."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer `/dq/IFO/NAME` and `/dq/IFO/NAME/VERSION?s=..&e=..&include=..`."""
        self.asked.append(self.path)
        path = self.path.partition("?")[0]
        if path.startswith("/dq/H1/BROKEN"):
            self._answer(200, "<html>")
        elif path.startswith("/dq/H1/SECRET"):
            self._answer(403, "{}")
        elif path == "/dq/H1/READY":
            self._answer(200, json.dumps({"resource_type": "version", "version": [1, 2]}))
        elif path.startswith("/dq/H1/READY/"):
            version = int(path.rpartition("/")[2])
            # It gives whole segments, also what of them is not asked for.
            active = {1: [[-5, 20], [30, 44.5]], 2: [[46, 60]]}[version]
            found = {"ifo": "H1", "name": "READY", "version": version, "active": active}
            found |= {"known": [[-100, 100]], "query_information": {"server": "here"}}
            self._answer(200, json.dumps(found))
        else:
            self._answer(404, "{}")

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing on standard error."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a segment database is asked for, the environment's default."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Database)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("DEFAULT_SEGMENT_SERVER", f"http://127.0.0.1:{server.server_port}")
    # Whoever runs the tests may have credentials, which the client looks for and warns of.
    monkeypatch.setenv("IGWN_AUTH_UTILS_FIND_X509", "0")
    monkeypatch.setenv("IGWN_AUTH_UTILS_FIND_SCITOKEN", "0")
    monkeypatch.setattr(Database, "asked", [])
    yield Database.asked
    server.shutdown()
    thread.join()
    server.server_close()
    # What gwpy's client raises holds its connection, which says so when it is collected: now, while
    # this file's filter is in force.
    gc.collect()


SPAN = Span(0, 50 * NS)


def test_database_is_asked_for_the_span_and_its_flag(asked: list[str]) -> None:
    assert query_segments("H1:READY:1", SPAN) == [Span(0, 20 * NS), Span(30 * NS, 44 * NS)]
    (path,) = asked
    assert path.startswith("/dq/H1/READY/1?s=0&e=50&include=active")


def test_flag_without_a_version_is_that_of_all(asked: list[str]) -> None:
    spans = [Span(0, 20 * NS), Span(30 * NS, 44 * NS), Span(46 * NS, 50 * NS)]
    assert query_segments("H1:READY", SPAN) == spans
    assert len(asked) == 3


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("H1:REDY:1", "404"),
        ("H1:SECRET:1", "403"),
        ("H1:BROKEN:1", "Expecting value"),
        ("READY", "Cannot parse"),
    ],
)
def test_what_the_database_does_not_give_is_one_line(flag: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        query_segments(flag, SPAN)
    assert str(caught.value).startswith(f"the segments of {flag} cannot be had: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_database_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Database) as server:
        port = server.server_port
    monkeypatch.setenv("DEFAULT_SEGMENT_SERVER", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("IGWN_AUTH_UTILS_FIND_X509", "0")
    with pytest.raises(InputError, match=r"cannot be had: .*refused"):
        query_segments("H1:READY:1", SPAN)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("flag", "said"),
    [("H1:REDY:1", "404"), ("H1:READY:1", f"no segment in GPS {START} to {START + 64}")],
)
def test_command_asks_the_database(deepclean: Run, tmp_path: Path, flag: str, said: str) -> None:
    toy_config(tmp_path)
    span = f"--start {START} --end {START + 64}"
    deepclean(tmp_path, f"validate -c toy.yaml {span} --out report --flag {flag}").refused(
        flag, said
    )


def test_blank_lines_and_comments_count_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "segments.txt"
    path.write_text("# seg start stop duration\n\n0 1400000000 1400000010 10\n   \n\n")
    assert read_segments(path) == [Span.of_seconds(1400000000, 10)]
    path.write_text("\n1400000000 1400000010  # locked\n\n1400000020\t1400000030\n")
    assert [span.start // NS for span in read_segments(path)] == [1400000000, 1400000020]


def test_json_of_the_segment_server_is_read(tmp_path: Path) -> None:
    path = tmp_path / "flag.json"
    path.write_text(
        '{"ifo": "H1", "name": "X", "version": 1, "active": [[1400000000, 1400000010]]}'
    )
    assert read_segments(path) == [Span.of_seconds(1400000000, 10)]


@pytest.mark.parametrize("text", ["1 2 3\n", "a b\n", '{"active": []}'])
def test_what_is_no_segments_names_the_formats(tmp_path: Path, text: str) -> None:
    path = tmp_path / "segments.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=r"two columns \(start, end\) or four .* \.json"):
        read_segments(path)
