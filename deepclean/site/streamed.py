"""What an Arrakis server has of a configuration's channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deepclean.config import Config
from deepclean.core.time import NS
from deepclean.errors import ConfigError, hint, listed
from deepclean.io.arrakis.feed import connected
from deepclean.io.arrakis.messages import message_of
from deepclean.io.arrakis.store import StreamedChannel
from deepclean.site.findings import Grade, SiteFinding

_SUBJECT = "input.arrakis"


def streamed(config: Config) -> Iterator[SiteFinding]:
    """Yield what the configured server has; nothing is read but the channels' descriptions."""
    given, strain = config.input.arrakis, config.strain
    assert given.server is not None
    of_strain = [] if given.channels == "witnesses" else [strain.channel]
    state = [strain.state_vector] if of_strain and strain.state_vector is not None else []
    witnesses = () if given.channels == "strain" else config.witness_channels
    try:
        session, wanted = connected(given.server, given.token), [*of_strain, *state, *witnesses]
        found = near = session.find(wanted)
        if len(found) < len(wanted):
            near = session.listing(config.interferometer)
    except ConfigError as error:
        yield SiteFinding(_SUBJECT, str(error), Grade.FAULT, "see docs/arrakis.md")
        return
    except Exception as error:  # noqa: BLE001  (whatever the client raises)
        said = f"{given.server}: {message_of(error)[:200]}"
        yield SiteFinding(_SUBJECT, said, Grade.FAULT, "is the server up?")
        return
    longest = max((one.stride for one in found.values()), default=0)
    latency = max((one.latency for one in found.values()), default=0)
    yield SiteFinding(
        _SUBJECT,
        f"{given.server}: {len(found)} channels in blocks of {longest / NS:g} s, given up "
        f"after {latency / NS:g} s",
    )
    if longest and given.stride % longest:
        said = f"{given.stride / NS:g} s is not a multiple of the server's {longest / NS:g} s"
        yield SiteFinding(f"{_SUBJECT}.stride", said, Grade.FAULT, f"set {longest / NS:g}")
    for name in of_strain:
        yield _strain(config, name, found, near)
    for name in state:
        if name not in found:
            said = (
                f"no channel {listed([name], near)}: no time counts as ready, all gates stay closed"
            )
            remedy = "name it, or set strain.state_vector: null"
            yield SiteFinding("strain.state_vector", said, Grade.FAULT, remedy)
    absent = [name for name in witnesses if name not in found]
    if witnesses:
        said = f"{len(witnesses) - len(absent)} of {len(witnesses)} are there"
        said += f"; not there: {listed(absent[:4], near)}" if absent else ""
        grade = Grade.FINE if not absent else Grade.WARNING
        grade = Grade.FAULT if len(absent) == len(witnesses) else grade
        remedy = "name the channels that are there, and train again" if absent else ""
        yield SiteFinding("couplings.witnesses", said, grade, remedy)


def _strain(
    config: Config,
    name: str,
    found: Mapping[str, StreamedChannel],
    near: Mapping[str, StreamedChannel],
) -> SiteFinding:
    """Return whether the server has the strain at its rate; `near` may hold another's name."""
    if name not in found:
        said = f"no channel {name}{hint(name, near)}"
        return SiteFinding("strain.channel", said, Grade.FAULT, "name another")
    rate = found[name].rate
    if rate != config.strain.rate:
        said = f"the server has {rate:g} Hz, not {config.strain.rate}"
        return SiteFinding("strain.rate", said, Grade.FAULT, f"set strain.rate: {rate:g}")
    return SiteFinding("strain.channel", f"{name} at {rate:g} Hz")
