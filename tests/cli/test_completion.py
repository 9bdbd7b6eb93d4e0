"""What the shell completes, asked as bash asks it, and DEEPCLEAN_CONFIG (docs/commands.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import small_site as site
from tests.helpers.commands import Run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    config = site.small_config(place)
    site.publish_model(config)
    site.publish_model(config, 12)
    (place / "other.yml").write_text("")
    (place / "sites").mkdir()
    (place / "notes.txt").write_text("")
    return place


def completed(run: Run, place: Path, line: str, **environ: str) -> list[str]:
    """Return what bash is offered for the last word of a line."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = run(place, "", _DEEPCLEAN_COMPLETE="complete_bash", **asked, **environ)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("deepclean val", ["validate"]),
        ("deepclean models pro", ["promote"]),
        ("deepclean replay --over", ["--overwrite"]),
        ("deepclean run -c s", ["sites/", "small.yaml"]),
        ("deepclean run -c o", ["other.yml"]),
        ("deepclean config s", ["sites/", "small.yaml"]),
        ("deepclean train -c small.yaml 6", ["60Hz"]),
        ("deepclean witnesses -c small.yaml --coupling ", ["60Hz"]),
        ("deepclean models promote -c small.yaml 60Hz 1", ["1", "12"]),
        ("deepclean models show -c small.yaml 60Hz p", ["production"]),
        ("deepclean train -c nowhere.yaml 6", []),
    ],
)
def test_a_word_is_completed(deepclean: Run, place: Path, line: str, offered: list[str]) -> None:
    assert sorted(completed(deepclean, place, line)) == sorted(offered)


def test_the_environment_names_the_configuration(deepclean: Run, place: Path) -> None:
    offered = completed(deepclean, place, "deepclean control 6", DEEPCLEAN_CONFIG="small.yaml")
    assert offered == ["60Hz"]


def test_the_environment_stands_for_the_option(deepclean: Run, place: Path) -> None:
    given = {"DEEPCLEAN_CONFIG": "small.yaml"}
    listed = deepclean(place, "models list", **given).good()
    assert "60Hz" in listed.stdout
    assert deepclean(place, "config --no-budget", **given).good().stdout
    with_option = deepclean(place, "models list -c nowhere.yaml", **given)
    with_option.refused("nowhere.yaml: cannot be read")
