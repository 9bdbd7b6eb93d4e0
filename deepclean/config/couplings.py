"""One subtraction problem: its bands, its witnesses, and the stages that clean."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from deepclean.config.types import (
    AutoDuration,
    Bands,
    Channel,
    Count,
    Duration,
    Flag,
    Fraction,
    Pause,
    Positive,
    Section,
    seconds,
)


class PredictConfig(Section):
    """How the network is run over the witnesses."""

    mode: Literal["auto", "pass", "windows", "average"] = "auto"
    """One pass per hop, windows with their edges dropped, or overlapping windows averaged.
    auto: a pass where the model's measured receptive field allows it, else windows."""

    kernel: Duration = seconds(1.0)
    """Window length in seconds."""

    edge: Pause = seconds(0.03125)
    """Seconds dropped at each end of a window, where zero padding spoils the prediction; at the end
    it is what a network looks ahead. A closed form keeps to it where its band allows that; where it
    does not, mode auto drops what the model states."""

    stride: AutoDuration = seconds("auto")
    """Seconds from one window to the next, at most kernel - 2 edge; auto: that much."""


class BandpassConfig(Section):
    """How the prediction is confined to the coupling's bands."""

    filter: Literal["fir", "butterworth"] = "fir"
    """Linear-phase FIR (finite support, no truncation error) or zero-phase Butterworth."""

    order: Count = 8
    """Order of the Butterworth, per edge and direction."""

    transition: Positive = 6.0
    """Hz between a band's edge and where the FIR's stop band begins."""

    tolerance: Fraction = 1e-3
    """FIR: largest deviation from 1 in the band and from 0 in the stop band. Butterworth: root of
    the fraction of its response's energy that the settle-in may cut off."""

    settle_in: AutoDuration = seconds("auto")
    """Seconds of data needed on either side; auto: the least that meets the tolerance."""


class CouplingConfig(Section):
    """One subtraction problem: the bands to clean and the witnesses that see the noise."""

    enabled: Flag = True
    """Whether it is cleaned."""

    about: str = ""
    """What the noise is, for people."""

    bands: Bands = Field(examples=[[[55.0, 65.0]]])
    """Where to clean: a list of [low, high] in Hz. A single one may be written as `band`."""

    witnesses: tuple[Channel, ...] = Field(min_length=1, examples=[["PEM-CS_MAINSMON_EBAY_1_DQ"]])
    """The channels that see the noise; the interferometer's prefix may be left out."""

    wait: Literal[0, 1, "auto"] = 1
    """1: a frame is cleaned when its look-ahead is there, which is the next frame. 0: a frame is
    cleaned at once, and its look-ahead is forecast. auto: 0 where the residual in the band grows by
    no more than 1%, measured at the start. A frame that waits for one coupling waits for all."""

    predict: PredictConfig = PredictConfig()
    """How the network is run over the witnesses."""

    bandpass: BandpassConfig = BandpassConfig()
    """How the prediction is confined to the bands."""

    adapt: Literal["off", "gain", "features"] = "gain"
    """gain: the estimate's amplitude and phase follow a coupling that drifts, learnt from the
    seconds before; so do those of the model's carriers, each by itself. features: so does each
    feature of a closed form too, learnt from minutes. off: the model as it is."""

    model: Path | None = None
    """A model directory to use as it is; null: the production version of the model store."""
