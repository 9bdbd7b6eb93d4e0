"""A retraining to be done, and the site's data for it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from deepclean.config import Config
from deepclean.config.settings import engine_settings
from deepclean.core.time import NS, Span
from deepclean.io.source import ChannelHistory
from deepclean.models.store import changes as store
from deepclean.train.data import SiteData, TrainingData

Histories = tuple[ChannelHistory, ChannelHistory]
"""Strain and witnesses."""


@dataclass(frozen=True, slots=True)
class Job:
    """A retraining to be done.

    Args:
        config: the configuration of the site; its section `retrain` has the settings.
        coupling: a name in it, whose models are in the store.
        end: GPS nanoseconds, whole seconds, before which data are used.
        open_data: gives strain and witnesses over a span.
        check: raises unless the daemon can load a version; called before a pointer names it.
        search: whether a full training is wanted, even where none is due.
    """

    config: Config
    coupling: str
    end: int
    open_data: Callable[[Span], Histories]
    check: store.Check
    search: bool = False

    @property
    def directory(self) -> Path:
        """The coupling's directory in the store."""
        config = self.config
        return config.models.directory / config.interferometer / self.coupling

    @property
    def looked_through(self) -> Span:
        """The span that is searched for data. Fetched data are held in memory, hence less of it."""
        retrain = self.config.retrain
        back = retrain.span if retrain.fetch else retrain.within
        return Span(self.end - back * NS, self.end)

    def site(
        self,
        data: Histories,
        witnesses: Collection[str] | None = None,
        without: Collection[str] = (),
    ) -> SiteData:
        """Return the coupling's data.

        Args:
            data: the sources.
            witnesses: full names, in the order of the network's input; None for the configured.
            without: those that nothing depends on.

        Raises:
            InputError: a channel or the state vector is missing.
        """
        strain, state = self.config.strain, self.config.strain.state_vector
        if state is not None:
            data[0].require([state])
        wanted = self.config.couplings[self.coupling].witnesses if witnesses is None else witnesses
        checks = engine_settings(self.config).witness
        return SiteData(TrainingData(*data), strain.channel, tuple(wanted), state, checks, without)
