"""The pictures of cleaned frames: numbers that are known, from arrays and from frames."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.spectra import band_ratio
from deepclean.errors import InputError
from deepclean.io.history import History
from deepclean.plots import figures
from deepclean.plots.measure import CleanedStrain, measured
from tests.helpers import small_site as site
from tests.helpers.commands import Run
from tests.helpers.pages import ROOT, blocks
from tests.helpers.site_runs import OUT_DQ, clean
from tests.helpers.small_site import START

RATE, SECONDS = 256, 128
BANDS = {"30Hz": [(25.0, 35.0)]}


def toy(seconds: int = SECONDS) -> CleanedStrain:
    """Return white noise of 1e-21 with a line that a witness sees, and what is left without it."""
    rng = np.random.default_rng(1)
    time = np.arange(seconds * RATE) / RATE
    witness = rng.standard_normal(len(time))
    floor = 1e-21 * rng.standard_normal(len(time))
    hum = 3e-21 * np.sin(2 * np.pi * 30 * time) + 2e-21 * witness
    return CleanedStrain(
        1_400_000_000,
        RATE,
        floor + hum,
        {"OUT_DQ": floor + 0.5 * hum, "PRODUCTION": floor},
        BANDS,
        {"30Hz": {"H1:WITNESS": witness, "H1:OTHER": rng.standard_normal(seconds * 64)}},
        {"30HZ": np.repeat([0.0, 1.0], seconds * 8)},
        np.full(seconds * 16, 1 << 5),
    )


def test_the_numbers_of_known_strain() -> None:
    strain = toy()
    found = measured(strain)
    assert len(found.starts) == SECONDS // 8
    assert found.cleaned == 1.0
    expected = band_ratio(strain.products["PRODUCTION"], strain.raw, RATE, BANDS["30Hz"])
    assert found.in_band("30Hz", "PRODUCTION") == pytest.approx(expected, rel=0.1)
    coherent = found.coherences("30Hz")["witnesses"]
    raw, left = (np.array(coherent["H1:WITNESS"][each]) for each in ("RAW", "PRODUCTION"))
    assert np.median(raw) == pytest.approx(4 / 5, abs=0.1)  # 4 of the 5 parts of the power
    assert np.median(left) < 0.1
    assert np.median(np.array(coherent["H1:OTHER"]["RAW"])[:10]) < 0.1
    lowest, mean = found.gains["30HZ"][0]
    assert (lowest, mean) == (0.0, 0.0)
    assert found.gains["30HZ"][-1].tolist() == [1.0, 1.0]


def test_every_scale_and_gaps() -> None:
    strain = toy()
    holes = strain.raw.copy()
    holes[40 * RATE : 56 * RATE] = np.nan
    products = {"OUT_DQ": strain.products["OUT_DQ"]}
    found = measured(CleanedStrain(strain.start, RATE, holes, products, BANDS))
    assert len(found.starts) == SECONDS // 8 - 2
    assert found.coherence == {}
    loud = measured(CleanedStrain(0, RATE, 1e21 * strain.raw, {"OUT_DQ": 1e21 * strain.raw}, BANDS))
    assert loud.in_band("30Hz") == 1.0
    with pytest.raises(InputError, match="nothing to draw"):
        measured(CleanedStrain(0, RATE, np.full(RATE * 8, np.nan), {"OUT_DQ": np.zeros(RATE * 8)}))
    with pytest.raises(ValueError, match="the same whole seconds"):
        CleanedStrain(0, RATE, np.zeros(RATE), {"OUT_DQ": np.zeros(RATE - 1)})


@pytest.mark.slow
def test_figures_are_of_matplotlib_and_hold_the_curves() -> None:
    from matplotlib.figure import Figure

    found = measured(toy(24))  # short enough for waves
    assert found.wave is not None
    drawn = {one.name: one.figure for one in figures.draw_all(found)}
    assert drawn.keys() == {"spectra", "ratio", "spectrogram-30hz", "series", "coherence-30hz"}
    assert all(isinstance(each, Figure) for each in drawn.values())
    legend = drawn["ratio"].axes[0].get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["PRODUCTION / raw", "OUT_DQ / raw"]
    legend = drawn["coherence-30hz"].axes[0].get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels[-2:] == ["thin: before", "thick: after"]
    wave = drawn["series"].axes[0].get_lines()[0].get_ydata()
    assert np.asarray(wave).shape == (24 * RATE,)
    bare = measured(CleanedStrain(0, RATE, toy(8).raw, {"OUT_DQ": toy(8).raw}))
    assert len(list(figures.draw_all(bare))) == 4


def test_the_pages_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of docs/plot.md, on half a minute of arrays."""
    (program,) = [b.text for b in blocks(ROOT / "docs" / "plot.md") if b.language == "python"]
    monkeypatch.chdir(tmp_path)
    made, said = toy(32), list[float]()
    given = {"start": made.start, "rate": RATE, "raw": made.raw, "print": said.append}
    exec(program, given | {"cleaned": made.products["OUT_DQ"]})
    assert (tmp_path / "spectra.png").stat().st_size > 10_000
    # In its band there is white noise alone: 1 + 0.5^2 * 2^2 of 1 + 2^2 in power.
    assert said == [pytest.approx((2 / 5) ** 0.5, rel=0.1)]


class _Images(HTMLParser):
    """The sources of a page's images."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if tag == "img" and name == "src"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    place = tmp_path_factory.mktemp("site")
    config = site.make_site(place, "output.subtracted=true", seconds=40)
    clean(config, START + 2, START + 36, config.output.directory)
    return config


def test_frames_become_pictures_and_a_page(deepclean: Run, config: Config, tmp_path: Path) -> None:
    place = config.input.strain_frames.directory.parent
    done = deepclean(place, f"plot cleaned -c small.yaml -o {tmp_path / 'out'}").good()
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"GPS {START + 2} to {START + 36} (2024-05-17 16:53:04 to ")
    assert lines[-1] == str(tmp_path / "out" / "index.html")
    names = ("coherence-60hz", "ratio", "series", "spectra", "spectrogram-60hz")
    held = {path.name for path in (tmp_path / "out").iterdir()}
    assert held == {"index.html", *(f"{name}.png" for name in names)}
    page = _Images()
    page.feed((tmp_path / "out" / "index.html").read_text())
    assert len(page.sources) == len(names)
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    said = next(line for line in lines if "OUT_DQ / raw" in line)
    ratio = float(said.rpartition(" ")[2])
    # Against the raw strain of the source, by the estimate over the whole stretch.
    span = History([place / "cleaned"]).spans()[0]
    cleaned = History([place / "cleaned"]).read([OUT_DQ], span)[OUT_DQ]
    raw = History([place / "strain"]).read([site.STRAIN], span)[site.STRAIN]
    assert isinstance(cleaned, Series)
    assert isinstance(raw, Series)
    expected = band_ratio(cleaned.samples, raw.samples, site.STRAIN_RATE, [(55.0, 65.0)])
    assert ratio == pytest.approx(expected, rel=0.05)


def test_the_command_that_inspect_prints_runs(
    deepclean: Run, config: Config, tmp_path: Path
) -> None:
    frames = [
        str(config.output.directory / f"H-H1_DEEPCLEAN-{second}-1.gwf")
        for second in (START + 8, START + 9)
    ]
    printed = deepclean(tmp_path, f"inspect {' '.join(frames)}").good().stdout
    (command,) = re.findall(r"^pictures: deepclean (plot .+)$", printed, re.MULTILINE)
    done = deepclean(tmp_path, command).good()
    assert done.stdout.splitlines()[-1] == f"plot-{START + 8}-{START + 10}/index.html"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("plot strain", "no cleaned frames: 0 channels"),
        ("plot nowhere", "neither a file nor a time: nowhere"),
        ("plot cleaned --start 5 --end 9", "no cleaned frame of"),
        ("plot cleaned --start 5", "give --start and --end together"),
        ("plot 1400000010 --start 5 --end 6 -c small.yaml", "give a time, or --start and --end"),
        ("plot cleaned --band 60", "expected LOW-HIGH"),
        ("plot", "no frames: name their files"),
    ],
)
def test_a_fault_is_one_message(deepclean: Run, config: Config, command: str, said: str) -> None:
    deepclean(config.input.strain_frames.directory.parent, command).refused(said, lines=1)


@pytest.mark.slow
def test_without_what_was_subtracted_the_raw_strain_is_wanted(
    deepclean: Run, tmp_path: Path
) -> None:
    config = site.make_site(tmp_path, seconds=12)
    clean(config, START + 2, START + 10, config.output.directory)
    deepclean(tmp_path, "plot cleaned").refused("--strain PATH or --config FILE")
    said = deepclean(tmp_path, "plot cleaned --strain strain --band 55-65").good().stdout
    assert "55-65 Hz (55-65 Hz): ASD ratio, OUT_DQ / raw: " in said
    around = deepclean(tmp_path, f"plot {START + 6}", DEEPCLEAN_CONFIG="small.yaml").good()
    assert f"plot-{START + 2}-{START + 10}/index.html" in around.stdout
