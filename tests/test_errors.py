"""What messages about unknown names say beside the name."""

import pytest

from deepclean.errors import hint, listed

MANY = [f"CHANNEL_{number}" for number in range(9)]


@pytest.mark.parametrize(
    ("name", "valid", "said"),
    [
        ("60hz", ["105Hz", "60Hz"], "; did you mean 60Hz?"),
        ("CHANEL_3", MANY, "; did you mean CHANNEL_3?"),
        ("x", ["60Hz", "105Hz"], "; there are 60Hz, 105Hz"),
        ("x", {"60Hz": 0}, "; there is 60Hz"),
        ("x", MANY[:8], f"; there are {', '.join(MANY[:8])}"),
        ("x", MANY, ""),
        ("x", [], ""),
    ],
)
def test_hint(name: str, valid: list[str], said: str) -> None:
    assert hint(name, valid) == said


def test_absent_names_are_listed_with_what_may_be_meant() -> None:
    assert listed(["60hz", "x"], ["60Hz"]) == "60hz (did you mean 60Hz?), x"
    assert listed([], MANY) == ""


def test_the_first_three_absent_names_get_a_suggestion() -> None:
    said = listed(["60hz", "105hz", "60Hzz", "60HZ"], ["60Hz", "105Hz"])
    assert said.count("did you mean") == 3
    assert said.endswith("60Hzz (did you mean 60Hz?), 60HZ")
