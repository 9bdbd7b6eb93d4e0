"""A stand-in for public data: files of GWOSC's layout behind an address that answers as its own.

The strain lies in HDF5 files as GWOSC publishes them (`strain/Strain`, `quality`, `meta`), which an
HTTP server on loopback lists as GWOSC's API does and sends. The channels of the auxiliary releases
are what its data server gives to gwpy: one series a channel, at the channel's rate.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import h5py
import numpy as np
from gwpy.timeseries import TimeSeries, TimeSeriesDict
from numpy.typing import NDArray

RATE = 4096
LINE, MOTION = "PEM-CS_MAINSMON_EBAY_1_DQ", "ASC-CHARD_P_IN1_DQ"
WITNESSES = {LINE: 1024, MOTION: 64}
FILE = 512
"""Seconds of strain in a file; GWOSC's have 4096."""


def samples(rate: int, start: int, seconds: int, what: str) -> NDArray[np.float64]:
    """Return a channel of the site from a GPS second on, shape `(seconds * rate,)`.

    The line is at 60 Hz and wanders, the motion is slow, and the strain holds white noise of 1e-23,
    the line, and their product: a sideband on each side of the line.
    """
    count = seconds * rate
    time = np.arange(count) / rate
    line: NDArray[np.float64] = np.cos(2 * np.pi * 60 * time + 0.3 * np.sin(2 * np.pi * time / 90))
    motion: NDArray[np.float64] = np.sum(
        [np.sin(2 * np.pi * f * time + f) for f in (0.37, 0.81, 1.73)], axis=0
    )
    if what == LINE:
        return line
    if what == MOTION:
        return motion
    floor: NDArray[np.float64] = 1e-23 * np.random.default_rng(start).normal(size=count)
    return floor if what == "floor" else floor + 1e-22 * line * (0.2 + motion)


def write_strain(path: Path, ifo: str, start: int, seconds: int) -> None:
    """Write a file of strain as GWOSC's are, with its quality masks at 1 Hz."""
    with h5py.File(path, "w") as file:
        strain = file.create_dataset("strain/Strain", data=samples(RATE, start, seconds, "strain"))
        spacing = {
            "Xstart": start,
            "Xspacing": 1 / RATE,
            "Xunits": "second",
            "Npoints": len(strain),
        }
        strain.attrs.update(spacing)
        for name in ("quality/simple/DQmask", "quality/injections/Injmask"):
            mask = file.create_dataset(name, data=np.full(seconds, 127, np.uint32))
            mask.attrs.update({"Xstart": start, "Xspacing": 1.0, "Npoints": seconds})
        meta = {"Detector": ifo, "Duration": seconds, "GPSstart": start, "Observatory": ifo[0]}
        for name, value in meta.items():
            file[f"meta/{name}"] = value


def series(names: list[str], start: int, end: int) -> TimeSeriesDict:
    """Return what the data server gives for channels: the witnesses and strain at 4096 Hz."""
    found = TimeSeriesDict()
    for name in names:
        short = name.partition(":")[2]
        what = "floor" if "SUB60HZ" in short else short
        rate = WITNESSES.get(short, RATE)
        values = samples(rate, start, end - start, what)
        found[name] = TimeSeries(values, t0=start, sample_rate=rate, name=name)
    return found


class _Answers(SimpleHTTPRequestHandler):
    """Answers a query for strain with the addresses of files, and sends files."""

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path != "/api/v2/runs/O2/strain-files":
            super().do_GET()
            return
        query = dict(parse_qsl(asked.query))
        answer = {"num_pages": 1, "next": None, "results": list(self._files(query))}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def _files(self, query: Mapping[str, str]) -> Iterator[dict[str, object]]:
        for path in sorted(Path(self.directory).glob(f"*-{query['detector']}_*.hdf5")):
            begin, length = map(int, path.stem.split("-")[2:])
            if begin < int(query["stop"]) and int(query["start"]) < begin + length:
                url = f"http://{self.headers['Host']}/{path.name}"
                yield {"gps_start": begin, "detector": query["detector"], "hdf5_url": url}

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(place: Path) -> Iterator[str]:
    """Serve the files of a directory; yield the address that stands for GWOSC's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Answers, directory=str(place))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
