r"""Maps from logits to probabilities that keep the order of the classes.

All but the plain temperature act on :math:`\ell=\log\mathrm{softmax}(z)`, so they don't see a shift of the logits.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import elu


class TemperatureMap(nn.Module):
    r"""Temperature scaling, :math:`\mathrm{softmax}(|t|\,z)`: the one map that everybody uses.

    Attributes
    ----------
    inverse_temperature : tensor of shape ()
        t, started at 1 (the identity).

    Examples
    --------
    >>> z = torch.tensor([[1.0, 2.0, 0.0]])
    >>> bool(torch.allclose(TemperatureMap()(z), torch.softmax(z, 1)))
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self.inverse_temperature = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, logits: Tensor) -> Tensor:
        """Probabilities (n, L) of logits (n, L)."""
        return torch.softmax(self.inverse_temperature.abs().to(logits) * logits, dim=1)


class EnsembleTemperatureMap(nn.Module):
    r"""A mixture of temperatures, :math:`\sum_m w_m\,\mathrm{softmax}(|t_m|\ell)`.

    Parameters
    ----------
    size : int
        Temperatures; the paper tries 16, 32, 64 and 128.
    released_init : bool
        Start as the released code does, with t and v uniform on ±1/sqrt(size): predictions that are almost
        flat. By default t is spread over (0, 2) and all weights are equal.
    generator : torch.Generator, optional
        For the released start only.
    """

    def __init__(
        self, size: int = 16, *, released_init: bool = False, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        _positive(size, "size")
        t = (torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size
        v = torch.ones(size, dtype=torch.float64)
        if released_init:
            t, v = (torch.rand(2, size, generator=generator, dtype=torch.float64) * 2 - 1) / math.sqrt(size)
        self.inverse_temperatures, self.weights = nn.Parameter(t), nn.Parameter(v)

    def forward(self, logits: Tensor) -> Tensor:
        """Probabilities (n, L) of logits (n, L)."""
        below_top = (logits - logits.amax(1, keepdim=True)).T  # (L, n), at most 0: nothing overflows
        scaled = torch.exp(below_top[:, None] * self.inverse_temperatures.abs().to(logits)[:, None])
        weights = self.weights.abs().to(logits)
        share = (weights / weights.sum())[:, None] / scaled.sum(0)  # (m, n)
        return (scaled * share).sum(1).T


class _Elementwise(nn.Module):
    """softmax(h(l)) for an increasing h of one variable."""

    def transform(self, log_probs: Tensor) -> Tensor:
        """The map h at every entry."""
        raise NotImplementedError

    def forward(self, logits: Tensor) -> Tensor:
        """Probabilities (n, L) of logits (n, L)."""
        return torch.softmax(self.transform(torch.log_softmax(logits, dim=1)), dim=1)


class PiecewiseLinearMap(_Elementwise):
    r"""Increasing piecewise-linear transform of log-probabilities.

    .. math:: h(\ell)=-\int_0^{-\ell}|s|(u)\,du

    with slopes s constant on `segments` equal cells of [0, bound], the last one continued beyond.

    Parameters
    ----------
    segments : int
        Cells; the paper tries 1, 10, 100 and 500.
    bound : float
        R in nats. With the paper's 100 and 10 segments a knot stands every 10 nats, so for ten classes the
        map is nearly one temperature; the default of 40 with 20 segments has one every 2.
    released : bool
        The form of the released code, kept to show its fault: it interpolates from the *mapped* value of the
        left knot where the knot itself belongs, so it jumps at every knot unless all slopes are 1, and
        downwards where they exceed 1. Predictions can change. Don't use it.

    Examples
    --------
    >>> z = torch.tensor([[1.0, 2.0, 0.0]])
    >>> bool(torch.allclose(PiecewiseLinearMap()(z), torch.softmax(z, 1)))
    True
    """

    def __init__(self, segments: int = 20, *, bound: float = 40.0, released: bool = False) -> None:
        super().__init__()
        _positive(segments, "segments")
        _positive(bound, "bound")
        self.cell, self.released = bound / segments, released
        # the released code has one slope more: its first only shifts, which a softmax doesn't see
        self.slopes = nn.Parameter(torch.ones(segments + released, dtype=torch.float64))

    def transform(self, log_probs: Tensor) -> Tensor:
        """The map h at every entry of log-probabilities (at most 0)."""
        x = -log_probs
        slopes = self.slopes.abs().to(log_probs)
        cell = (x / self.cell).floor().long()
        if self.released:
            return self._released(x, slopes, cell)
        cell = cell.clamp_max(len(slopes) - 1)
        knots = slopes.cumsum(0) - slopes
        return -(knots[cell] * self.cell + slopes[cell] * (x - cell * self.cell))

    def _released(self, x: Tensor, slopes: Tensor, cell: Tensor) -> Tensor:
        cell = cell.clamp_max(len(slopes) - 1)
        mapped = (slopes.cumsum(0)[cell] - 1) * self.cell
        beyond = torch.where(cell + 1 < len(slopes), slopes[(cell + 1).clamp_max(len(slopes) - 1)], 0.0)
        return -(mapped + beyond * (x - mapped))


class MonotoneNetMap(_Elementwise):
    r"""A monotone network, :math:`h(\ell)=\int_0^{\tilde\ell}(\mathrm{ELU}(\mathrm{MLP}(u))+1)\,du`.

    Parameters
    ----------
    hidden : tuple of int
        Widths; the paper tries (2, 2), (10, 10), (20, 20) and (50, 50).
    mean, sd : float
        Centre and scale of the log-probabilities of the calibration split.
    bound : float
        The integrand is tabulated for log-probabilities in [-bound, 0] and constant beyond.
    nodes : int
        Points of that table.
    generator : torch.Generator, optional
        For the starting weights.

    Notes
    -----
    The released code integrates anew for each of the n·L entries with 50 quadrature nodes. The integrand is a
    function of one variable, so we tabulate it once a step and integrate its linear interpolant exactly:
    O(nodes + n L) instead of O(50 n L) network evaluations, and strictly increasing by construction.
    """

    mean: Tensor
    sd: Tensor

    def __init__(
        self,
        hidden: tuple[int, ...] = (10, 10),
        *,
        mean: float = 0.0,
        sd: float = 1.0,
        bound: float = 40.0,
        nodes: int = 256,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _positive(bound, "bound")
        _positive(sd, "sd")
        _positive(nodes - 1, "nodes - 1")
        sizes = [1, *hidden, 1]
        self.layers = nn.ModuleList(_linear(a, b, generator) for a, b in itertools.pairwise(sizes))
        self.bound, self.nodes = bound, nodes
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("sd", torch.tensor(sd, dtype=torch.float64))

    def integrand(self, standardised: Tensor) -> Tensor:
        """ELU(MLP(u)) + 1 at points (m,), and a millionth, so that a saturated ELU isn't flat."""
        u = standardised[:, None].to(self.mean)
        for layer in self.layers[:-1]:
            u = torch.relu(layer(u))
        return elu(self.layers[-1](u)).squeeze(1) + 1 + 1e-6

    def transform(self, log_probs: Tensor) -> Tensor:
        """The map h at every entry of log-probabilities (at most 0); h(0) is 0, which a softmax doesn't see."""
        step = self.bound / (self.nodes - 1)
        grid = -step * torch.arange(self.nodes, dtype=torch.float64, device=self.mean.device)
        f = self.integrand((grid - self.mean) / self.sd) / self.sd
        table = torch.cat([f.new_zeros(1), ((f[1:] + f[:-1]) / 2 * step).cumsum(0)]).to(log_probs)
        f = torch.cat([f, f[-1:]]).to(log_probs)
        x = -log_probs
        cell = (x / step).floor().long().clamp_max(self.nodes - 1)
        rest = x - cell * step
        return -(table[cell] + f[cell] * rest + (f[cell + 1] - f[cell]) * rest**2 / (2 * step))


def _linear(fan_in: int, fan_out: int, generator: torch.Generator | None) -> nn.Linear:
    """A float64 layer with torch's own initialisation, from a generator of the caller's."""
    layer = nn.Linear(fan_in, fan_out, dtype=torch.float64)
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            parameter.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
    return layer


def _positive(value: float, name: str) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value!r}")
