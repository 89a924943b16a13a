"""Marginal and conditional networks over partly known configurations, and their exact counterpart in a table."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loglik.nn import initialise

MASK = 0


def check_states(x: Tensor, D: int, K: int, *, complete: bool = False) -> Tensor:
    """`x`, if it is an int64 tensor (B, D) in 0..K (1..K where `complete`).

    Raises
    ------
    TypeError
        For anything but an int64 tensor.
    ValueError
        For another shape, values outside the range, or a 0 where a complete configuration is needed.
    """
    if not isinstance(x, Tensor) or x.dtype != torch.int64:
        raise TypeError(
            f"states must be an int64 tensor of values 0..{K} (0 is unknown), got {getattr(x, 'dtype', type(x))}"
        )
    if x.ndim != 2 or x.shape[1] != D:
        raise ValueError(f"states must have shape (B, {D}), got {tuple(x.shape)}")
    if x.numel() and not (int(x.min()) >= 0 and int(x.max()) <= K):
        raise ValueError(f"values must lie in 0..{K}, got {int(x.min())} to {int(x.max())}")
    if complete and bool((x == MASK).any()):
        raise ValueError("this needs complete configurations (values from 1), got some unknown entries (0)")
    return x


class MarginalModel(nn.Module):
    """What every model here answers, for D variables with values 1..K; 0 stands for unknown.

    Parameters
    ----------
    D, K : int
        Number of variables, and of values of each.
    """

    def __init__(self, D: int, K: int) -> None:
        super().__init__()
        if D < 1 or K < 2:
            raise ValueError(f"need at least one variable and two values, got D = {D}, K = {K}")
        self.D, self.K = D, K

    def log_marginal(self, x_partial: Tensor) -> Tensor:
        """Log-probability of the known entries up to the constant :meth:`log_z`; (B, D) → (B,), nats."""
        raise NotImplementedError

    def conditional_logits(self, x_partial: Tensor) -> Tensor:
        """Logits of every unknown variable given the known ones; (B, D) → (B, D, K). Known rows mean nothing."""
        raise NotImplementedError

    def log_z(self) -> Tensor:
        """Log-marginal of the empty set: what all log-marginals must be reduced by; scalar, nats."""
        return self.log_marginal(self.empty(1))[0]

    def log_probability(self, x_partial: Tensor) -> Tensor:
        """Normalised log-marginal, ``log_marginal − log_z``, of one pass; (B, D) → (B,), nats."""
        both = self.log_marginal(torch.cat([x_partial, self.empty(1).to(x_partial)]))
        return both[:-1] - both[-1]

    def empty(self, n: int) -> Tensor:
        """`n` configurations of which nothing is known, on the model's device."""
        some = next(iter([*self.parameters(), *self.buffers()]))
        return torch.zeros(n, self.D, dtype=torch.int64, device=some.device)


class _Network(nn.Module):
    """One-hot input, `layers` hidden layers with SiLU, residual from the second on."""

    def __init__(self, inputs: int, hidden: int, layers: int, outputs: int, residual: bool) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.blocks = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        self.last = nn.Linear(hidden, outputs)
        self.residual = residual

    def forward(self, one_hot: Tensor) -> Tensor:
        h = F.silu(self.first(one_hot))
        for block in self.blocks:
            new = F.silu(block(h))
            h = h + new if self.residual else new
        out: Tensor = self.last(h)
        return out


class DualMLP(MarginalModel):
    """Two separate multilayer perceptrons, as in the paper's energy-based experiments.

    The networks' outputs are added to those of independent variables, so that an untrained model is close to
    independence. The constant is such that, with uniform base rates, complete configurations get about 0 and the
    empty one about ``D log K``.

    Parameters
    ----------
    D, K : int
        Number of variables and of values.
    hidden, layers : int
        Width and number of hidden layers of each network.
    residual : bool
        Add each hidden layer's input to its output, from the second on.
    levels : sequence of int, optional
        Number of values of each variable where they differ (at most K); the others get probability zero.
    base : Tensor, shape (D, K), optional
        Probabilities of the independent variables, such as :func:`base_rates`; default uniform over the levels.
    generator : torch.Generator
        Draws the weights.

    Raises
    ------
    ValueError
        For sizes below one, levels outside 1..K, or base rates that aren't positive where they must be.
    """

    log_base: Tensor
    forbidden: Tensor

    def __init__(
        self,
        D: int,
        K: int,
        hidden: int = 128,
        layers: int = 3,
        residual: bool = True,
        *,
        levels: Sequence[int] | None = None,
        base: Tensor | None = None,
        generator: torch.Generator,
    ) -> None:
        super().__init__(D, K)
        if hidden < 1 or layers < 1:
            raise ValueError(f"hidden and layers must be at least 1, got {hidden} and {layers}")
        sizes = torch.tensor([K] * D if levels is None else list(levels))
        if len(sizes) != D or int(sizes.min()) < 1 or int(sizes.max()) > K:
            raise ValueError(f"levels must be {D} numbers in 1..{K}, got {sizes.tolist()}")
        self.marginal = _Network(D * (K + 1), hidden, layers, 1, residual)
        self.conditional = _Network(D * (K + 1), hidden, layers, D * K, residual)
        forbidden = torch.arange(K)[None] >= sizes[:, None]
        rates = (1.0 / sizes.double())[:, None].expand(D, K) if base is None else base.double()
        if rates.shape != (D, K) or not bool(((rates > 0) | forbidden).all()):
            raise ValueError(f"base must be positive rates ({D}, {K}), got shape {tuple(rates.shape)}")
        self.log_uniform = float(sizes.double().log().sum())
        self.register_buffer("forbidden", forbidden)
        self.register_buffer("log_base", rates.masked_fill(forbidden, 1.0).log())
        initialise(self, generator)

    def _one_hot(self, x: Tensor) -> Tensor:
        return F.one_hot(x, self.K + 1).flatten(1).to(self.marginal.first.weight.dtype)

    def log_marginal(self, x_partial: Tensor) -> Tensor:
        """See :meth:`MarginalModel.log_marginal`."""
        x = check_states(x_partial, self.D, self.K)
        base = self.log_base.to(self.marginal.first.weight.dtype)
        own = base.expand(len(x), -1, -1).gather(2, (x - 1).clamp(min=0)[..., None])[..., 0]
        independent = self.log_uniform + torch.where(x == MASK, 0.0, own).sum(1)
        out: Tensor = self.marginal(self._one_hot(x))[:, 0] + independent
        return out

    def conditional_logits(self, x_partial: Tensor) -> Tensor:
        """See :meth:`MarginalModel.conditional_logits`."""
        x = check_states(x_partial, self.D, self.K)
        logits = self.conditional(self._one_hot(x)).view(-1, self.D, self.K)
        logits = logits + self.log_base.to(logits.dtype)
        out: Tensor = logits.masked_fill(self.forbidden, -torch.inf)
        return out


def base_rates(X: Tensor, levels: Sequence[int], K: int) -> Tensor:
    """Share of each value of each variable among its known entries, with one half added to each count; (D, K)."""
    counts = (X[..., None] == torch.arange(1, K + 1)).sum(0) + 0.5
    counts = counts * (torch.arange(K)[None] < torch.as_tensor(list(levels))[:, None])
    return counts / counts.sum(1, keepdim=True)


class TableModel(MarginalModel):
    """All (K+1)^D marginals of a joint distribution, added up: the exact model that networks approximate.

    Parameters
    ----------
    joint : Tensor, shape (K,) * D
        Probabilities, or any positive weights (then :meth:`log_z` is not zero).

    Raises
    ------
    ValueError
        For axes of unequal length, weights that aren't positive, or more than 2e7 marginals.
    """

    place: Tensor

    def __init__(self, joint: Tensor) -> None:
        super().__init__(joint.ndim, joint.shape[0])
        if len(set(joint.shape)) != 1 or not bool((joint > 0).all()):
            raise ValueError(
                f"the joint must be positive with one axis of length K a variable, got shape {tuple(joint.shape)}"
            )
        if (self.K + 1) ** self.D > 2e7:
            raise ValueError(
                f"{self.K + 1}^{self.D} marginals are too many to hold; a table is for small problems"
            )
        full = joint.double()
        for axis in range(self.D):
            full = torch.cat([full.sum(axis, keepdim=True), full], axis)
        self.table = nn.Parameter(full.log().flatten())
        self.register_buffer("place", (self.K + 1) ** torch.arange(self.D - 1, -1, -1))

    def log_marginal(self, x_partial: Tensor) -> Tensor:
        """See :meth:`MarginalModel.log_marginal`."""
        x = check_states(x_partial, self.D, self.K)
        return self.table[(x * self.place).sum(1)]

    def conditional_logits(self, x_partial: Tensor) -> Tensor:
        """See :meth:`MarginalModel.conditional_logits`."""
        x = check_states(x_partial, self.D, self.K)
        here = (x * self.place).sum(1)[:, None] - x * self.place  # index with each variable unknown
        values = torch.arange(1, self.K + 1, device=x.device)
        return self.table[here[..., None] + values * self.place[:, None]]
