"""The page in a real browser: what it says, in the dark and on a phone, through gap and restart."""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.processes import Daemon
from deepclean.config import Config, load
from deepclean.telemetry.exporter import Exporter
from tests.helpers import small_site as site
from tests.helpers.browser import BROWSER, Browser
from tests.helpers.metrics_run import Run
from tests.helpers.small_site import START

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium"),
]

COUPLINGS = 15
TEXT = "document.body.innerText"


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Give a browser whose page has nothing to complain about at the end."""
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser
        assert browser.complaints == []


def served(run: Run) -> Exporter:
    return Exporter(run.config.metrics, run.metrics.registry, run.pages)


def many_couplings(place: Path, port: int) -> Config:
    """Return the small site with fifteen couplings, each with a model."""
    site.small_config(place)
    path, one = place / "many.yaml", "adapt: 'off', predict: {edge: 0.25}, witnesses: [FAST]"
    more = [
        f"  {10 * n}Hz: {{band: [{10 * n}, {10 * n + 8}], {one}, bandpass: {{transition: 20}}}}\n"
        for n in range(7, 6 + COUPLINGS)
    ]
    metrics = f"metrics: {{enabled: true, port: {port}}}\n"
    path.write_text(f"extends: small.yaml\n{metrics}couplings:\n{''.join(more)}")
    config = load(path, environ={})
    site.publish_model(config)
    return config


def red(browser: Browser) -> int:
    """Return the red of the page's background, 0 to 255."""
    colour = browser.value("getComputedStyle(document.body).backgroundColor")
    return int(str(colour).removeprefix("rgb(").split(",")[0])


def test_page_of_fifteen_couplings_fits_any_window(
    tmp_path: Path, port: int, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "deepclean")
    run = Run(many_couplings(tmp_path, port))
    assert run.page is not None
    faults = {
        8: lambda config, second: site.write_site(config, second, 1, no_witnesses={second}),
        12: lambda config, second: site.write_site(config, second, 1, no_strain={second}),
    }
    with run.page, served(run):
        run.over(18, faults)
        for width, dark in ((1280, False), (360, True)):
            browser.show(width, 800, dark=dark)
            browser.open(f"http://127.0.0.1:{port}/")
            curves = "document.querySelectorAll('.card .curve.cleaned').length"
            browser.until(f"{curves} === {COUPLINGS}")
            browser.until("document.querySelectorAll('#timeline rect').length > 15")
            spare = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert browser.value(spare) <= 0
            assert (red(browser) < 64) is dark
            said = browser.value(TEXT)
            assert "H1:FAST" in said  # in trouble
            assert "strain_missing" in said
            assert "first frame written" in said
            assert "version" in said
            assert struct.unpack(">II", browser.picture()[16:24]) == (width, 800)
        names = "[...document.querySelectorAll('svg, progress')].every(e => e.ariaLabel || e.id)"
        assert browser.value(names)
        key = "new KeyboardEvent('keydown', {key: 'ArrowLeft'})"
        browser.value(f"document.getElementById('timeline').dispatchEvent({key})")
        assert "UTC · " in browser.until("document.getElementById('minute').textContent")


def contrast(browser: Browser, selector: str) -> float:
    """Return the contrast of an element's text with what is behind it (WCAG 2.2)."""
    script = """(selector => {
      const parse = text => text.match(/[\\d.]+/g).map(Number);
      const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const element = document.querySelector(selector);
      let behind = element;
      const back = e => parse(getComputedStyle(e).backgroundColor);
      while (behind.parentElement && back(behind)[3] === 0) behind = behind.parentElement;
      const style = getComputedStyle(element);
      const text = light(parse(element.namespaceURI.endsWith("svg") ? style.fill : style.color));
      const [a, b] = [text, light(back(behind))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    })"""
    return float(browser.value(f"{script}({selector!r})"))


def test_text_can_be_read(
    tmp_path: Path, port: int, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """Every kind of text has the contrast of 4.5 that WCAG asks for, by day and by night."""
    caplog.set_level(logging.INFO, "deepclean")
    config = site.make_site(tmp_path, f"metrics={{enabled: true, port: {port}}}")
    run = Run(config)
    assert run.page is not None
    with run.page, served(run):
        run.over(6)
        for dark in (False, True):
            browser.show(1280, 800, dark=dark)
            browser.open(f"http://127.0.0.1:{port}/")
            browser.until("document.querySelector('.card .curve.cleaned') !== null")
            browser.until("document.querySelector('#events li') !== null")
            kinds = ("#health", "h2", ".quiet", ".tiles dt", ".badge", ".card dd", "#events time")
            for selector in (*kinds, "svg text", "svg text.name", "#events b", "footer a"):
                assert contrast(browser, selector) >= 4.5, (selector, dark)


def test_it_follows_a_run_a_gap_and_a_restart(tmp_path: Path, port: int, browser: Browser) -> None:
    config = site.make_site(tmp_path, seconds=20)
    path, metrics = tmp_path / "small.yaml", f"metrics={{enabled: true, port: {port}}}"
    browser.show(1280, 800)

    with Daemon(path, (metrics, "input.max_lag=null"), tmp_path / "log") as daemon:
        daemon.until(lambda: daemon.says("first frame written"))
        browser.open(f"http://127.0.0.1:{port}/")
        browser.until(f"{TEXT}.includes('input to {START + 20} GPS')")
        site.write_site(config, START + 20, 10, no_strain={START + 23, START + 24})
        browser.until(f"{TEXT}.includes('input to {START + 30} GPS')")
        browser.until(f"{TEXT}.includes('2 strain_missing')")
        browser.until(f"{TEXT}.includes('no samples of')")
        daemon.kill()
        browser.until("document.getElementById('health').textContent === 'not reachable'")
    with Daemon(path, (metrics, "input.max_lag=null"), tmp_path / "log") as daemon:
        browser.until("document.getElementById('health').textContent !== 'not reachable'", 60)
        browser.until(f"{TEXT}.includes('the daemon started again')")
        site.write_site(config, START + 30, 10)
        browser.until(f"{TEXT}.includes('input to {START + 40} GPS')")
        assert daemon.stop() == 0


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
def test_it_follows_a_live_run_for_ten_minutes(tmp_path: Path, port: int, browser: Browser) -> None:
    """A stream in real time, a gap of five seconds, a killed daemon; the page is never reloaded."""
    config = site.make_site(tmp_path, seconds=20)
    asked = (f"metrics={{enabled: true, port: {port}}}", "input.max_lag=null")
    path, log = tmp_path / "small.yaml", tmp_path / "log"
    began, gap, kill, end = time.monotonic(), range(200, 205), 400, 600
    browser.show(1280, 800)
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(path, asked, log))
        daemon.until(lambda: daemon.says("first frame written"))
        browser.open(f"http://127.0.0.1:{port}/")
        browser.until(f"{TEXT}.includes('input to {START + 20} GPS')")
        browser.value("window.mark = 'the same page'")
        for second in range(20, end):
            time.sleep(max(began + second - time.monotonic(), 0.0))  # it is a stream in real time
            absent = {START + second} if second in gap else set()
            site.write_site(config, START + second, 1, no_strain=absent)
            if second == kill:
                daemon.kill()
                browser.until("document.getElementById('health').textContent === 'not reachable'")
                daemon = stack.enter_context(Daemon(path, asked, log))
                browser.until(f"{TEXT}.includes('the daemon started again')", 60)
            elif second == 230:
                browser.until(f"{TEXT}.includes('5 strain_missing')")
            elif second % 60 == 59:
                # The page asks every other second, so that it passes by single ones.
                shown = f"Number({TEXT}.match(/input to (\\d+) GPS/)[1])"
                browser.until(f"{shown} >= {START + second - 2}", 30)
                heap = browser.value("performance.memory.usedJSHeapSize") / 1e6
                count = browser.value("document.querySelectorAll('*').length")
                print(f"{second + 1} s: heap {heap:.1f} MB, {count} elements")
        assert browser.value("window.mark") == "the same page"
        said = browser.value(TEXT)
        assert "the daemon started again" in said
        assert "first frame written" in said  # of the daemon before
        assert daemon.stop() == 0
