"""What an Arrakis server says of the output that a configuration publishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from deepclean.config import Config
from deepclean.core.time import NS
from deepclean.errors import listed, one_line
from deepclean.io.arrakis.messages import message_of
from deepclean.io.arrakis.strides import PublishedChannel
from deepclean.io.frame_channels import cleaned_channels
from deepclean.site.findings import Grade, SiteFinding

_SUBJECT = "output.arrakis"


def published(config: Config) -> Iterator[SiteFinding]:
    """Yield what the configured server says of the publisher; nothing is registered there."""
    given = config.output.arrakis
    assert given.server is not None
    made = {name: PublishedChannel(*each) for name, each in cleaned_channels(config).items()}
    wanted = {name: one for name, one in made.items() if name in (given.channels or made)}
    yield from _channels(config, made, wanted)
    try:
        from deepclean.io.arrakis.standing import publisher_standing
    except ImportError as error:
        said = f"the Arrakis client cannot be imported ({one_line(error)})"
        remedy = "install deepclean-production[arrakis], or set output.arrakis.server: null"
        yield SiteFinding(_SUBJECT, said, Grade.FAULT, remedy)
        return
    try:
        standing = publisher_standing(given.server, given.publisher, wanted, token=given.token)
    except Exception as error:  # noqa: BLE001  (whatever the client raises)
        said = f"{given.server}: publisher {given.publisher}: {message_of(error)[:200]}"
        remedy = (
            "is the server up, and does it have this publisher, as docs/arrakis.md says "
            "(Publishing)?"
        )
        yield SiteFinding(_SUBJECT, said, Grade.FAULT, remedy)
        return
    there = sum(standing.channels.get(name) == one for name, one in wanted.items())
    new = f"; {len(wanted) - there} are to be registered" if there < len(wanted) else ""
    said = f"publisher {given.publisher} may publish; {there} of {len(wanted)} channels are there"
    yield SiteFinding(_SUBJECT, f"{given.server}: {said}{new}")
    if others := standing.others:
        name, owner = min(others.items())
        said = f"channels of other publishers: {len(others)}, as {name} of {owner}"
        remedy = "their readers would lose them: is this the right publisher?"
        yield SiteFinding(f"{_SUBJECT}.publisher", said, Grade.WARNING, remedy)
    stride = standing.stride
    if stride is not None and stride != given.stride:
        said = f"the server has {stride / NS:g} s for this publisher, not {given.stride / NS:g} s"
        yield SiteFinding(f"{_SUBJECT}.stride", said, Grade.FAULT, f"set {stride / NS:g}")


def _channels(
    config: Config, made: dict[str, PublishedChannel], wanted: dict[str, PublishedChannel]
) -> Iterator[SiteFinding]:
    """Yield which channels would be published, at which rates, and what is asked for in vain."""
    subject = f"{_SUBJECT}.channels"
    absent = [name for name in config.output.arrakis.channels if name not in made]
    if absent:
        said = f"the cleaned frames hold no channel {listed(absent, made)}"
        grade = Grade.WARNING if wanted else Grade.FAULT
        yield SiteFinding(subject, said, grade, "name the channels that there are")
    rates = Counter((one.rate, one.kind) for one in wanted.values())
    if rates:
        shown = ", ".join(
            f"{count} at {rate} Hz ({kind})"
            for (rate, kind), count in sorted(rates.items(), reverse=True)
        )
        yield SiteFinding(subject, f"{len(wanted)} channels: {shown}")
