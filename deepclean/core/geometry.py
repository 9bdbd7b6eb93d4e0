"""Where the kernels of a prediction lie: the input that a hop needs, and where a hop may begin.

A network with zero padding predicts badly near the ends of a kernel, so those `edge` samples are
dropped. With kernel `K`, edge `E` and stride `S`, kernel `k` starts at sample `k S` counted from
GPS 0. Kernels are anchored to absolute indices, so a sample comes from the same kernel and has the
same bits however the stream was cut. There are three modes with one geometry each:

- `windows`: kernel `k` gives the samples `[k S + K - E - S, k S + K - E)`, the last `S` that its
  edge leaves. They end where those of the next kernel begin, so every sample comes from exactly one
  kernel, the first that can give it;
- `pass`: one long kernel gives a whole hop. For a translation-equivariant network whose receptive
  field is inside the edge these are the windows' samples (to rounding) at a fraction of the
  arithmetic;
- `average`: a sample is the mean over all kernels that hold it outside their edges, as in the 2023
  microservice.
"""

from __future__ import annotations

from dataclasses import dataclass

from deepclean.core.reach import Reach


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """Configured by `couplings.*.predict`; lengths in samples at the model rate.

    A stride of None is the longest that divides the hop.
    """

    mode: str
    kernel: int
    edge: int
    stride: int | None


@dataclass(frozen=True, slots=True)
class Geometry:
    """The input that a hop of prediction needs, and the indices where such a hop may begin.

    All lengths are samples at the model rate.

    >>> laid = geometry(PredictSettings("windows", kernel=64, edge=8, stride=16), 64, None, None)
    >>> laid.before, laid.after, laid.residue, laid.modulus
    (40, 8, 8, 16)
    >>> laid.align(0), laid.align(8), laid.align(9)
    (8, 8, 24)

    A bad input sample at 100 is inside the kernels that start at 48, 64, 80 and 96:

    >>> laid.spoilt(100, 101)
    (88, 152)

    Args:
        mode: `pass`, `windows` or `average`.
        before: the input samples needed before the first output sample.
        after: the input samples needed after the last output sample.
        modulus: a hop of outputs begins at an index that is congruent to `residue` modulo this.
        residue: the remainder of these indices.
        stride: the samples from one kernel to the next (`windows`, `average`); the hop in a pass.
        kernel: the samples that the network sees at once.
        edge: the samples dropped at either end of a kernel.
    """

    mode: str
    before: int
    after: int
    modulus: int
    residue: int
    stride: int
    kernel: int
    edge: int

    @property
    def effort(self) -> float:
        """The samples that the network computes for each that is kept, where it runs in windows.

        >>> settings = PredictSettings("windows", 4096, edge=1024, stride=None)
        >>> geometry(settings, 4096, None, None).effort
        2.0
        """
        return self.kernel / self.stride

    def align(self, offset: int) -> int:
        """Return the smallest index, not below `offset`, at which a hop of outputs may begin."""
        return offset + (self.residue - offset) % self.modulus

    @property
    def trail(self) -> int:
        """The number of samples after an input sample in which a prediction may rest on it."""
        # In a pass the reach into the past, which the margin covers. Else the sample may be the
        # first of a kernel, whose last output is K - E - 1 after it.
        return self.before if self.mode == "pass" else self.kernel - self.edge

    def spoilt(self, first: int, stop: int) -> tuple[int, int]:
        """Return the range of predictions that rest on any input sample of `[first, stop)`."""
        if self.mode == "pass":
            return first - self.after, stop + self.before
        # Kernel k reads [k S, k S + K). It meets [first, stop) where k S + K > first and
        # k S < stop, so for k from floor((first - K) / S) + 1 to ceil(stop / S) - 1. Its outputs
        # end at k S + K - E, and there are `kept` of them.
        earliest = (first - self.kernel) // self.stride + 1
        latest = -(-stop // self.stride) - 1
        kept = self.stride if self.mode == "windows" else self.kernel - 2 * self.edge
        end_of_kernel = self.kernel - self.edge
        return (
            earliest * self.stride + end_of_kernel - kept,
            latest * self.stride + end_of_kernel,
        )


def geometry(
    settings: PredictSettings, hop: int, reach: Reach | None, period: int | None
) -> Geometry:
    """Return the geometry by which hops of `hop` samples are predicted.

    >>> settings = PredictSettings("auto", kernel=4096, edge=128, stride=None)
    >>> geometry(settings, hop=4096, reach=Reach(96, 96), period=16).mode
    'pass'
    >>> laid = geometry(settings, hop=4096, reach=Reach(8000, 96), period=16)
    >>> laid.before, laid.after
    (8000, 128)
    >>> unknown = geometry(settings, hop=4096, reach=None, period=None)
    >>> unknown.mode, unknown.stride, unknown.before
    ('windows', 2048, 1920)

    Args:
        settings: the configured mode and lengths.
        hop: samples per hop at the model rate.
        reach: the network's receptive field before and after a sample; None where unknown.
        period: the shift in samples at which the network is translation-equivariant; None where it
            is not.

    Raises:
        ValueError: the configured mode does not suit the network or the hop.
    """
    # A shift of the input by a period shifts the output by as much. So where hops are whole
    # periods, all passes treat a sample alike; where the field fits the edge, the ends do no harm.
    kernel, edge = settings.kernel, settings.edge
    if 2 * edge >= kernel:
        raise ValueError(f"an edge of {edge} samples leaves nothing of a kernel of {kernel}")
    # Into the past a pass may reach as far as it likes: that costs history, no latency.
    suits = reach is not None and period is not None and reach.after <= edge and hop % period == 0
    if settings.mode == "pass" and not suits:
        raise ValueError(
            f"mode 'pass' needs an equivariant network whose receptive field fits the edge: field "
            f"{None if reach is None else reach.after}, period {period}, edge {edge}, hop {hop} "
            "samples; use mode 'auto'"
        )
    if settings.mode == "pass" or (settings.mode == "auto" and suits):
        assert reach is not None
        assert period is not None
        # A pass must begin at a whole period too: its margins are rounded up.
        before, after = (-(-end // period) * period for end in (max(edge, reach.before), edge))
        return Geometry("pass", before, after, period, 0, hop, before + hop + after, after)
    if settings.mode not in ("auto", "windows", "average"):
        raise ValueError(f"unknown mode {settings.mode!r}: auto, pass, windows or average")
    kept = kernel - 2 * edge
    stride = settings.stride or _longest_stride(hop, kept, averaged=settings.mode == "average")
    if stride > kept or hop % stride:
        raise ValueError(
            f"a stride of {stride} samples must divide the hop ({hop}) and not exceed what the "
            f"edges leave of a kernel ({kept})"
        )
    # windows: the first output of kernel k is k S + K - E - S, so it lies `before` = K - E - S
    # after the kernel's start, and the kernel ends E after its last output. A hop begins at such a
    # first output, which is congruent to K - E modulo S.
    before = kernel - edge - stride
    if settings.mode != "average":
        residue = (kernel - edge) % stride
        return Geometry("windows", before, edge, stride, residue, stride, kernel, edge)
    if kept % stride:
        raise ValueError(f"averaging needs a stride ({stride}) that divides {kept} samples")
    # average: kernel k holds [k S + E, k S + K - E) outside its edges. Where S divides K - 2 E,
    # every sample has (K - 2 E) / S kernels. A hop begins where a kernel's inside does, at E modulo
    # S. The earliest kernel that holds its first sample n ends its inside at n + S, so it starts at
    # n + S - (K - E), again K - E - S before n; by symmetry the latest ends as far after the hop.
    return Geometry("average", before, before, stride, edge % stride, stride, kernel, edge)


def _longest_stride(hop: int, kept: int, *, averaged: bool) -> int:
    """Return the longest stride, in samples, that suits a hop and the kept part of a kernel.

    >>> _longest_stride(4096, 3840, averaged=False), _longest_stride(4096, 3840, averaged=True)
    (2048, 256)
    """
    # The network computes K samples for every S that it gives, so the longest stride costs least.
    # An average needs two kernels a sample at least.
    limit = min(hop, max(kept // 2, 1) if averaged else kept)
    return max(d for d in range(1, limit + 1) if hop % d == 0 and not (averaged and kept % d))
