"""The bench of models trains networks, too."""

from __future__ import annotations

import pytest

from benchmarks.models import bench


def test_networks_are_methods_of_the_bench(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "_TESTING_SECONDS", 32)
    chosen = "--seconds 96 --rate 512 --epochs 1 --site".split()
    bench.main([*chosen, "few sidebands", "--method", "bilinear", "network", "hybrid"])
    printed = capsys.readouterr()
    cells = [cell.strip() for cell in printed.out.splitlines()[-1].strip("| ").split("|")]
    assert cells[0] == "few sidebands"
    closed, network, hybrid = map(float, cells[1:4])
    assert closed < 1.1
    assert hybrid < closed + 0.001
    assert network > 1.5  # an epoch is not enough for it
    assert printed.err.count("standard errors over the closed form") == 2
