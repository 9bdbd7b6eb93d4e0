"""The page of what a cleaned frame holds: its channels, the state bits, the reasons."""

from __future__ import annotations

from deepclean.core import channels, reasons
from deepclean.core.output.products import State
from scripts.reference.markdown import NOTE, code, constants, rows_of, table

_STRAIN, _COUPLING = "H1:GDS-CALIB_STRAIN", "60Hz"

_HEAD = f"""{NOTE}
# What a cleaned frame holds

`H-H1_DEEPCLEAN-1370000000-1.gwf` is a frame of Hanford with a coupling `60Hz`. A coupling's name is
spelt in capital letters, digits and underscores: `137-139Hz` gives `137_139HZ`.
`deepclean inspect FRAME` prints what a frame says.

## Channels

"""

_HISTORY = """
The frame's history record holds the software's version, the configuration's hash and the models'
hashes. A line `reason COUPLING` names the reasons for which a coupling's gain is below 1 in it;
`no_input`, `no_history` and `no_lookahead` stand there as `missing`, as a replay sees them.
"""

_BITS = """
## State bits

The bits of `<ifo>:DEEPCLEAN-STATE_VECTOR`, 16 times a second; 1 is good.

"""

_REASONS = """
## Reasons

A frame is *cleaned* if every coupling's gain is 1 throughout. Else the daemon counts it as
*reduced*, for the first of these reasons. The cause lies in the frame, or in the history or
look-ahead within reach of it. Logs, `deepclean status` and
[metrics](reference-monitoring.md#metrics) use the same words.

"""

_WITNESSES = """
`witness_zero` reduces no frame. It is counted where a witness is zero throughout: zeros are data.
"""


def of_channels() -> list[tuple[str, str, str]]:
    """Return a row for each channel that a frame can hold: its name, its rate, what it is."""
    products = channels.product_names(_STRAIN, ["OUT_DQ", "PRODUCTION", "CANARY"])
    site = _STRAIN.partition(":")[0]
    amplitude, phase, significance = channels.adaptation(site, _COUPLING)
    noise, factor = channels.noise(site, _COUPLING)
    slow, native = f"{channels.STATE_RATE} Hz", "the strain's"
    by_band = "as low as the bands allow"
    kept = "where `output.estimates` names the coupling ([products.md](products.md))"
    tried = "if `output.products` names `CANARY`"
    adapted = "unless `adapt: off` ([adapt.md](adapt.md))"
    return [
        (
            products["OUT_DQ"],
            native,
            "The official product: the estimates are subtracted where the gates are open.",
        ),
        (products["PRODUCTION"], native, "The estimates are subtracted wherever there are any."),
        (products["CANARY"], native, f"As `PRODUCTION`, with the canary versions; {tried}."),
        (
            channels.subtracted(_STRAIN),
            native,
            "All that `OUT_DQ` lacks: their sum is the raw strain; with `output.subtracted`.",
        ),
        (channels.state_vector(site), slow, "[State bits](#state-bits), an unsigned integer."),
        (
            channels.model_version(site, _COUPLING),
            slow,
            "The version of the coupling's model, an integer.",
        ),
        (
            channels.canary_version(site, _COUPLING),
            slow,
            f"The version of the coupling's canary, 0 if there is none; {tried}.",
        ),
        (
            channels.gain(site, _COUPLING),
            slow,
            "The lowest gain of the coupling in each sixteenth of a second, from 0 to 1.",
        ),
        (
            amplitude,
            slow,
            f"The amplitude of the gain that the adaptation multiplies by; {adapted}.",
        ),
        (phase, slow, f"The phase of that gain in radians; {adapted}."),
        (significance, slow, f"How significant that gain's changes are; {adapted}."),
        (noise, by_band, f"The coupling's estimate, float32; {kept}."),
        (factor, by_band, f"The gain under which it was subtracted, float32; {kept}."),
        ("H1:GDS-CALIB_STATE_VECTOR", "as it came", "The source's own state vector, unchanged."),
    ]


def of_bits() -> list[tuple[str, str, str]]:
    """Return a row for each bit of the state vector: its number, its name, its meaning."""
    said = {name: about for _, name, about in rows_of("deepclean.core.output.products")}
    return [
        (str(bit.bit_length() - 1), code(str(bit.name)), _sentence(said[str(bit.name)]))
        for bit in State
    ]


def of_reasons() -> list[tuple[str, str]]:
    """Return a row for each reason for which a frame is not fully cleaned."""
    said = constants("deepclean.core.reasons")
    words = {getattr(reasons, name): about for name, about in said.items()}
    return [(code(each), words[each]) for each in reasons.ALL if each != reasons.CLEANED]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def page() -> str:
    """Return the page."""
    named = ((code(name), rate, about) for name, rate, about in of_channels())
    text = _HEAD + table(("channel", "rate", "what"), named) + _HISTORY
    text += _BITS + table(("bit", "name", "meaning"), of_bits())
    return text + _REASONS + table(("reason", "cause"), of_reasons()) + _WITNESSES
