"""File names: strict in both directions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.time import Span
from deepclean.io.t050017 import FrameName

NAMES = st.builds(
    FrameName,
    site=st.from_regex(r"[A-Z][A-Z0-9]{0,4}", fullmatch=True),
    description=st.from_regex(r"[A-Za-z0-9_+#]{1,20}", fullmatch=True),
    start=st.integers(0, 9_999_999_999),
    duration=st.integers(1, 100_000),
    extension=st.sampled_from(["gwf", "hdf5", "h5"]),
)


def test_the_parts_of_a_live_frame() -> None:
    name = FrameName.parse("H-H1_llhoft-1370000000-1.gwf")
    assert name == FrameName("H", "H1_llhoft", 1370000000, 1)
    assert name.span == Span.of_seconds(1370000000, 1)


def test_the_public_files_have_names() -> None:
    name = FrameName.parse("H-H1_LOSC_4_V2-1126259446-32.hdf5")
    assert name == FrameName("H", "H1_LOSC_4_V2", 1126259446, 32, "hdf5")


@given(NAMES)
def test_parse_inverts_str(name: FrameName) -> None:
    assert FrameName.parse(str(name)) == name


@given(st.text(alphabet="HL1-_.+#ahgwfdtmp5 \n0", max_size=40))
def test_what_parses_is_written_back_as_it_was(text: str) -> None:
    name = FrameName.parse(text)
    assert name is None or str(name) == text


@given(NAMES, st.sampled_from([".", "-", " ", "\n", "x", "/"]))
def test_nothing_may_stand_before_or_after(name: FrameName, junk: str) -> None:
    assert FrameName.parse(f"{name}{junk}") is None
    assert junk == "x" or FrameName.parse(f"{junk}{name}") is None


@pytest.mark.parametrize(
    "filename",
    [
        "",
        "H-H1_llhoft-1370000000-1.gwf.tmp",
        ".H-H1_llhoft-1370000000-1.gwf",
        ".H-H1_llhoft-1370000000-1.gwf.tmp",
        "H-H1_llhoft-1370000000-1.gwf~",
        "H-H1-llhoft-1370000000-1.gwf",
        "H-H1.llhoft-1370000000-1.gwf",
        "H-H1 llhoft-1370000000-1.gwf",
        "H--1370000000-1.gwf",
        "-H1_llhoft-1370000000-1.gwf",
        "h-H1_llhoft-1370000000-1.gwf",
        "H-H1_llhoft-1370000000-0.gwf",
        "H-H1_llhoft-1370000000-01.gwf",
        "H-H1_llhoft-01370000000-1.gwf",
        "H-H1_llhoft-1370000000.5-1.gwf",
        "H-H1_llhoft-1370000000--1.gwf",
        "H-H1_llhoft-13700000000-1.gwf",
        "H-H1_llhoft-1370000000-1",
        "H-H1_llhoft-1370000000-1.GWF",
        "H-H1_llhoft-1370000000-1.txt",
        "H-H1_llhoft-١٣٧-1.gwf",
        "deepclean-1370000000-4096.hdf5",
        "kafka/H-H1_llhoft-1370000000-1.gwf",
    ],
)
def test_everything_else_is_refused(filename: str) -> None:
    assert FrameName.parse(filename) is None


def test_parts_that_make_no_name_are_refused() -> None:
    with pytest.raises(ValueError, match="H1-DEEPCLEAN"):
        FrameName("H", "H1-DEEPCLEAN", 1370000000, 1)
    with pytest.raises(ValueError, match="T050017"):
        FrameName("H", "H1_DEEPCLEAN", -1, 1)
    with pytest.raises(ValueError, match="T050017"):
        FrameName("H", "H1_DEEPCLEAN", 1370000000, 0)


def test_a_stream_sorts_by_time() -> None:
    later = FrameName("H", "H1_llhoft", 1370000010, 1)
    earlier = FrameName("H", "H1_llhoft", 999999999, 1)
    assert sorted([later, earlier]) == [earlier, later]
