"""`deepclean train --network`, as the documentation has it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers import training_site
from tests.helpers.commands import Run


def test_a_network_is_tried_on_top_of_the_closed_form(deepclean: Run, tmp_path: Path) -> None:
    config = training_site.make_site(tmp_path)
    span = f"--start {training_site.START} --end {training_site.START + training_site.SECONDS}"
    done = deepclean(tmp_path, f"train -c toy.yaml 30Hz {span} --network --epochs 2").good()
    # A linear coupling leaves a network nothing to find.
    assert "standard errors beyond the closed form" in done.stdout
    assert "the closed form is kept by itself" in " ".join(done.stderr.split())
    store = config.models.directory / "H1" / "30Hz"
    newest = max(int(path.name) for path in store.iterdir() if path.name.isdigit())
    manifest = json.loads((store / str(newest) / "manifest.json").read_text())
    assert manifest["architecture"]["name"] == "closed_form"
    assert manifest["validation"]["network_gain_sigma"] <= 3


def test_a_network_is_not_asked_for_under_another_name(deepclean: Run, tmp_path: Path) -> None:
    training_site.toy_config(tmp_path)
    command = "train -c toy.yaml 30Hz --start 1 --end 2 --network --architecture wiener"
    done = deepclean(tmp_path, command)
    assert done.returncode == 2
    assert "--architecture says wiener" in done.stderr


def test_options_of_another_architecture_do_not_go_with_the_one_that_is_named(
    deepclean: Run, tmp_path: Path
) -> None:
    training_site.make_site(tmp_path)
    end = training_site.START + training_site.SECONDS
    file = tmp_path / "toy.yaml"
    options = "architecture: autoencoder, architecture_options: {hidden: [4, 8]}"
    shared = "window: 4, batch_size: 4, epochs: 3, seed: 5, device: cpu"
    head = file.read_text().partition("training:")[0]
    file.write_text(f"{head}training: {{{options}, {shared}}}\n")
    command = f"train -c toy.yaml 30Hz --start {training_site.START} --end {end}"
    done = deepclean(tmp_path, f"{command} --architecture wiener").good()
    assert "ASD ratio over" in done.stdout
