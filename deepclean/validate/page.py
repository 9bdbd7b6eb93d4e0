"""The page of a report: HTML without a script, from what the JSON says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from deepclean.validate.figures import Figure
from deepclean.validate.style import STYLE

_FEW = 20
"""Lines of a list that may be long."""


def html(report: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """Return the page."""
    run = report["runs"][0]
    name = f"{report['interferometer']} validation"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(name)} {report['span'][0]}</title>",
        f"<style>{STYLE}</style></head><body><main>",
        *_head(report),
        *_tiles(report),
        *_criteria(report["verdict"]),
        "<h2>Overview</h2>",
        *_figures([figure for figure in figures if figure.coupling is None]),
        *_time(run),
        *_waiting(run["waiting"]),
        *_signals(report["runs"]),
        *_comparison(report["runs"]),
    ]
    for coupling in run["couplings"]:
        parts += _coupling(coupling, run, [f for f in figures if f.coupling == coupling])
    parts += [*_provenance(report), "</main></body></html>"]
    return "\n".join(parts) + "\n"


def _head(report: Mapping[str, Any]) -> Iterator[str]:
    passed = report["verdict"]["passed"]
    start, end = report["span"]
    failed = sum(not each["met"] for each in report["verdict"]["criteria"])
    said = "In spec" if passed else "Not in spec"
    why = "all criteria are met" if passed else f"{failed} of {_of(report)} criteria not met"
    yield f'<header class="{"pass" if passed else "fail"}">'
    yield f'<p id="verdict"><strong>{said}</strong> <span>{why}</span></p>'
    yield f"<h1>{escape(report['interferometer'])}: strain before and after</h1>"
    yield (
        f"<p>{escape(report['strain'])}, GPS {start} to {end} "
        f"({_duration(end - start)}, {_duration(report['runs'][0]['seconds']['counted'])} counted)"
        "</p>"
    )
    run = report["runs"][0]
    models = run["models"]
    made = ", ".join(
        f"{escape(name)} version {model['version']} {_short(model['sha256'])}"
        for name, model in models.items()
    )
    yield (
        f"<p>deepclean {escape(report['software'])}, configuration {_short(run['configuration'])}, "
        f"{made}</p>"
    )
    seen = [name for name, model in models.items() if model["unseen"] not in (None, 1)]
    if seen:
        yield f'<p class="unmet">Trained on some of this time: {escape(", ".join(seen))}.</p>'
    yield "</header>"


def _of(report: Mapping[str, Any]) -> int:
    return len(report["verdict"]["criteria"])


def _tiles(report: Mapping[str, Any]) -> Iterator[str]:
    run = report["runs"][0]
    yield '<section class="tiles">'
    for name, coupling in run["couplings"].items():
        ratio = coupling["asd_ratio"]["OUT_DQ"]
        yield _tile(_number(ratio["in_band"]), f"ASD ratio in band, {name}")
    yield _tile(_percent(run["duty_cycle"]), "of the time at full gain")
    median, gain = run["range"]["median"], run["range"]["gain"]
    change = "none" if gain is None else f"{100 * (gain - 1):+.2f}%"
    yield _tile(change, f"range: {_number(median['RAW'])} to {_number(median['OUT_DQ'])} Mpc")
    for signal in run["injections"]:
        yield _tile(_number(signal["snr_ratio"]), f"SNR after / before, GPS {signal['gps']}")
    yield "</section>"


def _tile(value: str, label: str) -> str:
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>'


def _criteria(verdict: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [
            '<span class="met">met</span>' if each["met"] else '<span class="unmet">not met</span>',
            f"<code>{escape(each['criterion'])}</code>",
            escape(each["of"]),
            _number(each["value"]),
            f"&ge; {each['at_least']:g}" if "at_least" in each else f"&le; {each['at_most']:g}",
            escape(each["says"]),
        ]
        for each in verdict["criteria"]
    ]
    yield "<h2>Criteria</h2>"
    yield _table(["", "criterion", "of", "value", "limit", "what it is"], rows)


def _waiting(found: Mapping[str, Any] | None) -> Iterator[str]:
    """What waiting for the look-ahead buys."""
    yield "<h2>What waiting buys</h2>"
    if found is None:
        yield "<p>Not measured: no two seconds on end are cleaned in full.</p>"
        return
    start, end = found["span"]
    yield (
        "<p>A frame that waits for the next one knows what its filters look ahead to; for one that "
        "does not it is forecast. Both over the same data, cleaned with the same models without "
        f"gates, GPS {start} to {end}. This configuration has <code>wait: {found['wait']}</code>; "
        f"<code>auto</code> does not wait up to {found['limit']:g}.</p>"
    )
    rows = [
        [
            escape(name),
            _number(each["residual"]),
            _number(each["outside"]),
            str(each["seconds"]),
            f"<code>{each['auto']}</code>",
        ]
        for name, each in found["couplings"].items()
    ]
    columns = ["coupling", "in band, without / with waiting", "farthest bin outside", "seconds"]
    yield _table([*columns, "auto"], rows)


def _time(run: Mapping[str, Any]) -> Iterator[str]:
    rows = [[escape(why), str(n)] for why, n in run["seconds"]["left_out"].items()]
    if rows:
        yield "<h2>Time that does not count</h2>"
        yield _table(["reason", "seconds"], rows)
    longest = sorted(run["seconds"]["gaps"], key=lambda gap: gap[0] - gap[1])[:_FEW]
    if longest:
        rows = [[str(low), str(high), escape(why)] for low, high, why in sorted(longest)]
        yield f"<p>{_some('stretches', rows, run['seconds']['gaps'], 'the longest')}</p>"
        yield _table(["from GPS", "to", "reason"], rows)
    rows = [[escape(fault)] for fault in run["unread"][:_FEW]]
    if rows:
        yield "<h2>Input that could not be read</h2>"
        yield f"<p>{_some('faults', rows, run['unread'], 'the first')}</p>"
        yield _table(["what"], rows)
    rows = [
        [escape(each["witness"]), escape(each["reason"]), str(each["seconds"])]
        for each in run["witness_faults"]
    ]
    if rows:
        yield "<h2>Faults of witnesses</h2>"
        yield _table(["witness", "reason", "seconds"], rows)


def _signals(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = [
        [
            escape(run["name"]),
            escape(f"{each['gps']}: {each['mass1']:g} + {each['mass2']:g}, {each['distance']:g}"),
            product,
            *(_number(each[product][k]) for k in ("expected", "snr", "amplitude", "phase")),
            _gains(each["lowest_gain"]) if product == "OUT_DQ" else "",
        ]
        for run in runs
        for each in run["injections"]
        for product in ("RAW", "OUT_DQ", "PRODUCTION")
    ]
    if rows:
        yield "<h2>Signals put in</h2>"
        head = ["run", "GPS: masses (suns), Mpc", "strain"]
        head += ["SNR expected", "SNR found", "amplitude", "phase (degrees)", "lowest gain"]
        yield _table(head, rows)


def _gains(gains: Mapping[str, float | None]) -> str:
    """Return the lowest gain while a signal passed: of all couplings at once where it is 1."""
    low = {name: gain for name, gain in gains.items() if gain != 1}
    return ", ".join(f"{escape(name)} {_number(gain)}" for name, gain in low.items()) or "1"


def _comparison(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(runs) < 2:
        return
    yield "<h2>Side by side</h2>"
    rows = []
    for name in runs[0]["couplings"]:
        for label, product, key in (
            ("ASD ratio in band", "OUT_DQ", "in_band"),
            ("the same, ungated", "PRODUCTION", "in_band"),
            ("worst 8 s", "OUT_DQ", "worst_8s"),
            ("guard", "OUT_DQ", "guard"),
            ("outside", "OUT_DQ", "outside"),
        ):
            ratios = [run["couplings"].get(name, {}).get("asd_ratio") for run in runs]
            values = [_number(each[product][key]) if each else "none" for each in ratios]
            rows.append([f"{escape(name)}: {label}", *values])
    rows.append(["duty cycle", *(_percent(run["duty_cycle"]) for run in runs)])
    rows.append(["range gain", *(_number(run["range"]["gain"]) for run in runs)])
    yield _table(["", *(escape(run["name"]) for run in runs)], rows)


def _coupling(name: str, run: Mapping[str, Any], figures: Sequence[Figure]) -> Iterator[str]:
    coupling = run["couplings"][name]
    bands = ", ".join(f"{low:g} to {high:g} Hz" for low, high in coupling["bands"])
    yield f"<h2>{escape(name)}: {bands}</h2>"
    keys = ("in_band", "worst_bin", "guard", "outside", "worst_8s")
    rows = [
        [product, *(_number(ratio[key]) for key in keys)]
        for product, ratio in coupling["asd_ratio"].items()
    ]
    yield _table(["ASD ratio", "in band", "worst bin", "guard", "outside", "worst 8 s"], rows)
    limit = coupling["coherence"]["linear_limit_in_band"]
    yield (
        f"<p>At full gain {_percent(coupling['duty_cycle'])} of the time. The best linear filter "
        f"of its {len(coupling['witnesses'])} witnesses would leave {_number(limit)} in band.</p>"
    )
    if coupling["reasons"]:
        yield _table(
            ["why not fully cleaned", "seconds touched"],
            [[escape(why), str(n)] for why, n in coupling["reasons"].items()],
        )
    yield from _figures(figures)


def _figures(figures: Sequence[Figure]) -> Iterator[str]:
    yield '<div class="figures">'
    yield from map(_figure, figures)
    yield "</div>"


def _figure(figure: Figure) -> str:
    wide = ' class="wide"' if figure.wide else ""
    return (
        f'<figure{wide}><a href="{figure.name}.svg"><img src="{figure.name}.png" loading="eager" '
        f'alt="{escape(figure.title)}"></a><figcaption><b>{escape(figure.title)}.</b> '
        f"{escape(figure.says)}</figcaption></figure>"
    )


def _provenance(report: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Made from</h2>"
    rows = [["software", f"deepclean {escape(report['software'])}", ""]]
    for run in report["runs"]:
        rows.append([escape(run["name"]), "configuration", f"<code>{run['configuration']}</code>"])
        rows += [
            [
                escape(run["name"]),
                f"{escape(name)}, version {model['version']}",
                f"<code>{model['sha256']}</code><br>{_trained(model)}",
            ]
            for name, model in run["models"].items()
        ]
    if report["segments"]:
        rows.append(["segments", escape(report["segments"]), f"{len(report['counting'])}"])
    yield _table(["", "", ""], rows)
    yield '<p><a href="report.json">report.json</a> has every number.</p>'
    for run in report["runs"]:
        text = escape(json.dumps(run["resolved"], indent=1))
        yield f"<details><summary>Configuration of {escape(run['name'])}</summary>"
        yield f"<pre>{text}</pre></details>"


def _trained(model: Mapping[str, Any]) -> str:
    """Return what a model was trained on, and how much of the time is new to it."""
    spans = model["trained_on"]
    if spans is None:
        return "it does not say what it was trained on"
    total = _duration(sum(end - start for start, end in spans))
    within = f"GPS {spans[0][0]} to {spans[-1][1]}"
    return f"trained on {total} in {within}; new to it: {_percent(model['unseen'])}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{c}</td>' for c in row)}</tr>" for row in rows)
    return f'<div class="table"><table><tr>{top}</tr>\n{body}</table></div>'


def _some(what: str, shown: Sequence[Any], of: Sequence[Any], which: str) -> str:
    """Return how many there are, and which of them are shown."""
    if len(shown) == len(of):
        return f"{len(of)} {what}:"
    return f"{which.capitalize()} {len(shown)} of {len(of)} {what}, all are in report.json:"


def _short(digest: str) -> str:
    """Return the beginning of a hash, which the page has whole at its end."""
    return f"<code>{digest[:10]}</code>"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.2f}%"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
