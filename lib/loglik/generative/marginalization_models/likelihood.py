"""Any-order likelihoods, sampling and the one-step condition that ties marginals to conditionals.

An *order* is a permutation σ: ``order[d - 1]`` is the variable revealed in step d. Inside, its inverse is handier: a
variable's *rank*, so that "the first d revealed" is ``ranks < d``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from loglik.generative.marginalization_models.models import MASK, MarginalModel, check_states

ROWS = 16384  # rows of one pass: bounds memory where D prefixes are stacked


def random_ranks(n: int, D: int, generator: torch.Generator) -> Tensor:
    """Ranks of the variables in `n` uniform random orders; (n, D)."""
    return torch.rand(n, D, generator=generator, device=generator.device).argsort(1)


def ranks_of(
    order: Tensor | None, x: Tensor, generator: torch.Generator | None, *, known_first: bool = False
) -> Tensor:
    """Ranks (B, D) of one order for all rows, one a row, or (None) random ones.

    Raises
    ------
    ValueError
        For something that isn't a permutation, or neither an order nor a generator.
    """
    n, D = x.shape
    if order is None:
        if generator is None:
            raise ValueError("give an order, or a generator to draw random ones from")
        ranks = random_ranks(n, D, generator)
    else:
        order = torch.as_tensor(order, device=x.device)
        rows = order[None] if order.ndim == 1 else order
        if rows.shape not in ((1, D), (n, D)) or not torch.equal(
            rows.sort(1).values, torch.arange(D, device=x.device).expand(len(rows), D)
        ):
            raise ValueError(f"an order must be a permutation of 0..{D - 1}, one for all rows or one a row")
        ranks = rows.argsort(1).expand(n, D)
    if known_first:
        ranks = (ranks + D * (x == MASK)).argsort(1).argsort(1)
    return ranks


def reveal(x: Tensor, ranks: Tensor, n: Tensor | int) -> Tensor:
    """`x` with only the first `n` variables of each order kept; n an int or (B,)."""
    count = n[:, None] if isinstance(n, Tensor) else n
    return torch.where(ranks < count, x, MASK)


def log_conditional(model: MarginalModel, before: Tensor, which: Tensor, value: Tensor) -> Tensor:
    """Log p_φ(x_which = value | before); all (B,). The one row that is needed is gathered before the softmax."""
    logits = model.conditional_logits(before)
    row = logits[torch.arange(len(before), device=before.device), which]
    return row.log_softmax(-1).gather(1, value[:, None] - 1)[:, 0]


def self_consistency_residual(model: MarginalModel, x: Tensor, order: Tensor, d: Tensor | int) -> Tensor:
    """Signed residual of the one-step condition; zero for all (σ, d, x) if and only if all marginals agree.

    ``log p_θ(x_σ(<d)) + log p_φ(x_σ(d) | x_σ(<d)) − log p_θ(x_σ(≤d))``

    Parameters
    ----------
    model : MarginalModel
    x : Tensor, shape (B, D)
        Complete configurations.
    order : Tensor, shape (D,) or (B, D)
        Permutations.
    d : Tensor of shape (B,), or int
        The step, in 1..D.

    Returns
    -------
    Tensor, shape (B,), nats

    Raises
    ------
    ValueError
        For incomplete configurations, an order that isn't a permutation, or d outside 1..D.
    """
    check_states(x, model.D, model.K, complete=True)
    steps = torch.as_tensor(d, device=x.device).expand(len(x))
    if len(steps) and not (int(steps.min()) >= 1 and int(steps.max()) <= model.D):
        raise ValueError(f"d must lie in 1..{model.D}, got {int(steps.min())} to {int(steps.max())}")
    ranks = ranks_of(order, x, None)
    before, after = reveal(x, ranks, steps - 1), reveal(x, ranks, steps)
    low, high = model.log_marginal(torch.cat([before, after])).chunk(2)
    which = ranks.argsort(1).gather(1, steps[:, None] - 1)[:, 0]
    value = x.gather(1, which[:, None])[:, 0]
    return low + log_conditional(model, before, which, value) - high


def ao_arm_terms(model: MarginalModel, x: Tensor, ranks: Tensor, t: Tensor) -> Tensor:
    """Mean of −log p_φ over the known variables of `x` that stay hidden when the first `t` are revealed; (B,)."""
    hidden = (ranks >= t[:, None]) & (x != MASK)
    log_p = model.conditional_logits(reveal(x, ranks, t)).log_softmax(-1)
    own = log_p.gather(2, (x - 1).clamp(min=0)[..., None])[..., 0]
    return -torch.where(hidden, own, 0.0).sum(1) / hidden.sum(1).clamp(min=1)


def ao_arm_loss(model: MarginalModel, x: Tensor, generator: torch.Generator) -> Tensor:
    """Loss of an any-order autoregressive model: a random order, a random number of revealed variables.

    Its expectation is the order-averaged negative log-likelihood over D (nats a variable). Unknown entries of `x` are
    never revealed nor predicted, so rows with missing values take part.
    """
    check_states(x, model.D, model.K)
    ranks = ranks_of(None, x, generator, known_first=True)
    u = torch.rand(len(x), generator=generator, device=x.device)
    t = (u * (x != MASK).sum(1)).long()
    return ao_arm_terms(model, x, ranks, t).mean()


def log_marginal_any_order(
    model: MarginalModel,
    x_partial: Tensor,
    order: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Log-probability of the known entries by the chain rule: one conditional pass for each of them.

    The slow way that :meth:`~loglik.generative.marginalization_models.MarginalModel.log_probability` replaces. All
    prefixes are stacked into few large passes, which is the fair peer.

    Parameters
    ----------
    model : MarginalModel
    x_partial : Tensor, shape (B, D)
    order : Tensor, optional
        The known variables are revealed in this order; default a random one a row, from `generator`.
    generator : torch.Generator, optional

    Returns
    -------
    Tensor, shape (B,), nats
    """
    x = check_states(x_partial, model.D, model.K)
    ranks = ranks_of(order, x, generator, known_first=True)
    steps = torch.arange(model.D, device=x.device)
    row, step = torch.nonzero(steps < (x != MASK).sum(1)[:, None], as_tuple=True)
    which = ranks.argsort(1)[row, step]
    terms = [
        log_conditional(model, reveal(x[r], ranks[r], s), w, x[r, w])
        for r, s, w in zip(row.split(ROWS), step.split(ROWS), which.split(ROWS), strict=True)
    ]
    return torch.zeros(len(x), dtype=terms[0].dtype, device=x.device).index_add(0, row, torch.cat(terms))


def log_prob_any_order(
    model: MarginalModel,
    x: Tensor,
    order: Tensor | None = None,
    n_orders: int = 1,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Log-likelihood of complete configurations by D conditional passes; (B,), nats.

    Parameters
    ----------
    model : MarginalModel
    x : Tensor, shape (B, D)
        Complete.
    order : Tensor, optional
        One order for all rows or one a row; default random ones from `generator`.
    n_orders : int
        Average the *probabilities* over that many random orders: a mixture, and so a likelihood itself.
    generator : torch.Generator, optional

    Raises
    ------
    ValueError
        For incomplete configurations, or several orders where one is given.
    """
    check_states(x, model.D, model.K, complete=True)
    if n_orders < 1 or (n_orders > 1 and order is not None):
        raise ValueError(f"n_orders must be 1 with a given order and at least 1 without, got {n_orders}")
    each = [log_marginal_any_order(model, x, order, generator=generator) for _ in range(n_orders)]
    return torch.stack(each).logsumexp(0) - torch.tensor(float(n_orders)).log()


@torch.no_grad()
def fill(model: MarginalModel, x: Tensor, ranks: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the unknown entries of `x` one after another by p_φ, in order of their ranks."""
    x = x.clone()
    unknown = x == MASK
    todo = torch.where(unknown, ranks, ranks + x.shape[1]).argsort(1)
    rows = torch.arange(len(x), device=x.device)
    for step in range(int(unknown.sum(1).max()) if len(x) else 0):
        which = todo[:, step]
        logits = model.conditional_logits(x)[rows, which]
        noise = torch.empty_like(logits).exponential_(generator=generator).log()
        new = (logits - noise).argmax(1) + 1
        x[rows, which] = torch.where(unknown[rows, which], new, x[rows, which])
    return x


def sample(
    model: MarginalModel,
    n: int,
    order: Tensor | None = None,
    given: Tensor | None = None,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Draw complete configurations, D conditional passes.

    Parameters
    ----------
    model : MarginalModel
    n : int
    order : Tensor, optional
        Order in which unknown variables are drawn; default a random one a row.
    given : Tensor, shape (n, D) or (D,), optional
        Entries that are known stay as they are (in-painting).
    generator : torch.Generator

    Returns
    -------
    Tensor, shape (n, D), int64 in 1..K
    """
    start = model.empty(n) if given is None else given.expand(n, model.D)
    check_states(start, model.D, model.K)
    return fill(model, start, ranks_of(order, start, generator), generator)


def block_gibbs(
    model: MarginalModel,
    x: Tensor,
    order: Tensor | None,
    n_steps: int,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Erase the last `n_steps` variables of each order and draw them again: a move of a persistent chain.

    Raises
    ------
    ValueError
        For n_steps outside 1..D, or incomplete configurations.
    """
    check_states(x, model.D, model.K, complete=True)
    if not 1 <= n_steps <= model.D:
        raise ValueError(f"n_steps must lie in 1..{model.D} (there are {model.D} variables), got {n_steps}")
    ranks = ranks_of(order, x, generator)
    return fill(model, reveal(x, ranks, model.D - n_steps), ranks, generator)
