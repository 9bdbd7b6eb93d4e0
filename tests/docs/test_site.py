"""The documentation site: it builds without a warning, needs no network, and reads plainly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.helpers.browser import BROWSER, Browser
from tests.helpers.pages import MADE, ROOT, sentences

pytest.importorskip("mkdocs", reason="needs the extra docs")

DOCS = ROOT / "docs"
NAV = YAML(typ="safe").load((ROOT / "mkdocs.yml").read_text())["nav"]
LONGEST = 30
"""Words of a sentence in pages that say how something is done."""


def named(tree: Any) -> Iterator[str]:
    """Yield the pages of a part of the navigation."""
    if isinstance(tree, str):
        yield tree
    for inner in (
        tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    ):
        yield from named(inner)


SECTIONS = {title: list(named(part)) for each in NAV for title, part in each.items()}
PLAIN = [*SECTIONS["Home"], *SECTIONS["Tutorial"], *SECTIONS["How-to"], "method.md"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as CI builds it."""
    place = tmp_path_factory.mktemp("site")
    # Not with --quiet, under which --strict counts no warnings.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(place)]
    around = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=around, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARNING" not in said
    return place


class _Loaded(HTMLParser):
    """Collects what a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the address of whatever is no link for people."""
        if tag != "a":
            self.found += [
                value or "" for name, value in attrs if name in {"src", "href", "srcset"}
            ]


def test_every_page_loads_only_what_the_site_holds(built: Path) -> None:
    pages = sorted(built.glob("*.html"))
    assert {page.stem for page in pages} == {page.stem for page in DOCS.glob("*.md")} | {"404"}
    for page in (page for page in pages if page.stem != "404"):
        loaded = _Loaded()
        loaded.feed(page.read_text())
        assert len(loaded.found) > 3
        for address in loaded.found:
            assert (built / address).exists(), f"{page.name}: {address}"


def test_styles_load_nothing_from_elsewhere(built: Path) -> None:
    for style in built.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", style.read_text()), style.name


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium")
def test_search_works_from_plain_files(built: Path, tmp_path: Path) -> None:
    with Browser(tmp_path) as browser:
        browser.show(1200, 800)
        browser.open(f"{(built / 'index.html').as_uri()}?q=crossfade")
        shown = "[...document.querySelectorAll('.md-search-result__link')].map(e => e.href)"
        found = browser.until(f"document.querySelector('.md-search-result__link') && {shown}")
        assert any("models.html" in address for address in found)
        assert browser.complaints == []


@pytest.mark.parametrize("page", PLAIN)
def test_sentences_are_short(page: str) -> None:
    found = list(sentences(DOCS / page))
    assert len(found) > 10
    long = [said for said in found if len(said.split()) > LONGEST]
    assert not long


TERMS = """
adaptation, analysis-ready, archive, autoencoder, BNS range, canary, carrier, chance, closed form,
coherence, control, coupling, crossfade, estimate, excess, feature, floor, forecast, freeze, gain,
gap, gate, glitch, GPS, guard band, GWF, GWOSC, history, held-out data, hop, hybrid, inhibit,
injection, kernel, lag, latency, ledger, line, look-ahead, mains, manifest, net effect, NDS2,
OUT_DQ, plan, production, promote, ramp, reason, receptive field, refit, replay, residual,
retraining, roll back, segment, shard, sideband, splice, state vector, store, stream, trial,
version, Wiener filter, witness
"""


def test_glossary_has_the_terms_of_the_pages() -> None:
    """And each of them is used on a page."""
    glossary = re.findall(r"^\| \*\*(.+?)\*\* \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    terms = " ".join(TERMS.split()).strip().split(", ")
    known = {term.lower() for each in glossary for term in each.split(", ")}
    assert [term for term in terms if term.lower() not in known] == []
    pages = [page for page in DOCS.glob("*.md") if page.name != "glossary.md"]
    text = " ".join(page.read_text() for page in pages).lower().replace("_", " ")
    assert [term for term in sorted(known) if term.replace("_", " ") not in text] == []


def test_made_pages_are_the_reference() -> None:
    made = {page.name for page in DOCS.glob("*.md") if page.read_text().startswith(MADE)}
    assert made == set(SECTIONS["Reference"])
