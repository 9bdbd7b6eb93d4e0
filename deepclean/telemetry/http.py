"""Requests and answers of HTTP/1.1 (RFC 9112), as far as the exporter needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Self
from urllib.parse import parse_qsl, urlsplit

_ALWAYS = {"Connection": "close", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Request:
    r"""The head of a request.

    >>> request = Request.parse(b"GET /events?since=7 HTTP/1.1\r\nAccept: */*\r\n\r\n")
    >>> request.path, request.number("since"), request.fields["accept"]
    ('/events', 7, '*/*')

    Args:
        method: in capital letters.
        path: without the query.
        query: the last value of each name.
        fields: the header fields, by name in small letters.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, head: bytes) -> Self:
        """Return the request of a head, whatever it holds."""
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        try:
            target = urlsplit(rest.partition(" ")[0])
            path, query = target.path, dict(parse_qsl(target.query, max_num_fields=20))
        except ValueError:
            path, query = "", {}
        split = (line.partition(":") for line in lines)
        return cls(method, path, query, {name.lower(): text.strip() for name, _, text in split})

    def number(self, name: str) -> int:
        """Return a whole number of the query; 0 where there is none."""
        text = self.query.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Args:
        content: the body.
        kind: its media type.
        status: as HTTP counts them.
        fields: more header fields.
    """

    content: bytes
    kind: str = "text/plain; charset=utf-8"
    status: int = 200
    fields: Mapping[str, str] = field(default_factory=dict)

    def encoded(self, request: Request) -> bytes:
        """Return the bytes that answer a request: without the body where that is known already."""
        status, content = self.status, self.content
        tag = self.fields.get("ETag")
        if tag is not None and tag in request.fields.get("if-none-match", ""):
            status, content = 304, b""
        fields = {**self.fields, **_ALWAYS}
        if status != 304:
            fields |= {"Content-Type": self.kind, "Content-Length": str(len(content))}
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return head if request.method == "HEAD" else head + content


def refused() -> Answer:
    """Return the answer to a method that changes something: nothing here does."""
    return Answer(b"only GET and HEAD\n", status=405, fields={"Allow": "GET, HEAD"})


def unknown(path: str) -> Answer:
    """Return the answer to a path that does not exist."""
    return Answer(f"there is no {path!r} here\n".encode(errors="replace"), status=404)
