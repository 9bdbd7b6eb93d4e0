"""A client that lacks what is used of it beside its public interface is named, with the member."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path
from types import GeneratorType

import numpy as np
import pytest
from arrakis import Client, Publisher

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError
from deepclean.io.arrakis.members import private_member
from deepclean.io.arrakis.publisher import publisher_of
from deepclean.io.arrakis.reading import _reader_of
from deepclean.site.findings import Grade
from deepclean.site.published import published
from tests.helpers.small_site import small_config
from tests.streams.rig import Site, gps_now, live_site, wait_for  # noqa: F401  # a fixture

SAID = f"the Arrakis client {version('arrakis')} has no"


def test_what_a_client_has_is_given_and_what_it_lacks_is_named() -> None:
    made = Publisher("DEEPCLEAN", "grpc://127.0.0.1:1", token=False)
    assert private_member(made, "_partition_channels") == made._partition_channels
    with pytest.raises(
        ConfigError, match=rf"^{SAID} Publisher\._producer, .*install version 0\.21"
    ):
        private_member(made, "_producer")  # it comes with a connection


def test_the_check_names_it(
    live_site: Site,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(Publisher, "_partition_channels")
    *_, fault = published(small_config(tmp_path, f"output.arrakis.server={live_site.url}"))
    assert fault.grade is Grade.FAULT
    assert f"{SAID} Publisher._partition_channels" in fault.found


def test_the_publisher_names_it_once_and_the_cleaning_goes_on(
    live_site: Site,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    enter = Publisher.enter
    tried: list[Publisher] = []

    def renamed(self: Publisher) -> None:
        enter(self)
        tried.append(self.__dict__.pop("_producer"))

    monkeypatch.setattr(Publisher, "enter", renamed)
    counts: Counter[str] = Counter()
    config = small_config(
        tmp_path, f"output.arrakis.server={live_site.url}", "output.arrakis.drain=0"
    )
    publisher = publisher_of(config, counts)
    assert publisher is not None
    with publisher:
        start = gps_now() // NS * NS
        for second in (Span(start, start + NS), Span(start + NS, start + 2 * NS)):
            low, high = second.indices(256)
            publisher.push(second, {"H1:A-B": Series(second, 256, np.arange(low, high))})
        wait_for(lambda: len(tried) > 1, "it is tried again")
    warnings = [one.message for one in caplog.records if one.levelname == "WARNING"]
    assert [SAID in one for one in warnings] == [True]
    assert "Publisher._producer" in warnings[0]
    assert counts == {"stopped": 32}


def test_a_stream_that_cannot_be_ended_is_said(caplog: pytest.LogCaptureFixture) -> None:
    def stream() -> Generator[int, None, None]:
        source = 0  # the reader under another name
        yield source

    other = stream()
    assert isinstance(other, GeneratorType)
    assert other.gi_frame is not None
    assert _reader_of(other.gi_frame) is None
    assert f"{SAID} `reader` in Client.stream" in caplog.text
    caplog.clear()
    unread = Client("grpc://127.0.0.1:1", token=False).stream(["H1:A-B"])
    assert _reader_of(unread.gi_frame) is None
    assert not caplog.text  # it has a reader, and none yet
