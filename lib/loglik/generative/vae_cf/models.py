"""Mult-VAE and Mult-DAE, and the three likelihoods on their decoder."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loglik.generative.vae_cf.rows import Rows, rows_of

LIKELIHOODS = ("multinomial", "gaussian", "logistic")


def log_likelihood(
    logits: Tensor, x: Tensor, likelihood: str = "multinomial", pos_weight: float = 1.0
) -> Tensor:
    """Log p(x | z) of each user, up to a constant in the parameters (equations 2 to 4 of the paper).

    Parameters
    ----------
    logits : Tensor, shape (..., B, I)
        f(z).
    x : Tensor, shape (B, I)
        Clicks, 0 or 1 (the multinomial takes counts too).
    likelihood : {"multinomial", "gaussian", "logistic"}
        ``sum x log softmax(f)``; ``-1/2 sum c (x - f)²`` with c = `pos_weight` on clicks and 1 elsewhere;
        ``sum x log σ(f) + (1 - x) log(1 - σ(f))``.
    pos_weight : float

    Returns
    -------
    Tensor, shape (..., B)
        In nats.

    Raises
    ------
    ValueError
        For an unknown likelihood.
    """
    if likelihood == "multinomial":
        return (x * F.log_softmax(logits, dim=-1)).sum(-1)
    if likelihood == "gaussian":
        weight = 1 + (pos_weight - 1) * (x > 0).to(x.dtype)
        return -0.5 * (weight * (x - logits).square()).sum(-1)
    if likelihood == "logistic":
        return (x * logits - F.softplus(logits)).sum(-1)
    raise ValueError(f"unknown likelihood {likelihood!r}; allowed: {', '.join(LIKELIHOODS)}")


class BagLinear(nn.Module):
    """A linear layer on sparse rows: sums the weight rows of the clicked items instead of multiplying zeros."""

    def __init__(self, n_items: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_items, width))
        self.bias = nn.Parameter(torch.empty(width))

    def forward(self, x: Rows, values: Tensor) -> Tensor:
        """``values`` stand in the place of the entries of `x`; the result has shape (B, width)."""
        bags = F.embedding_bag(
            x.items, self.weight, x.offsets, mode="sum", per_sample_weights=values.to(self.weight.dtype)
        )
        return bags + self.bias


class _Autoencoder(nn.Module):
    """What both models share: clicks to ``code_width`` numbers, and `latent` numbers to a score an item."""

    def __init__(
        self,
        n_items: int,
        hidden: Sequence[int],
        latent: int,
        code_width: int,
        dropout: float,
        likelihood: str,
        pos_weight: float,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        hidden = tuple(hidden)
        if min((n_items, latent, *hidden)) < 1:
            raise ValueError(f"sizes must be at least 1; got {n_items=}, {hidden=}, {latent=}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"unknown likelihood {likelihood!r}; allowed: {', '.join(LIKELIHOODS)}")
        if pos_weight < 1:
            raise ValueError(f"pos_weight weighs clicks over non-clicks and is at least 1, got {pos_weight}")
        self.n_items, self.latent, self.dropout = n_items, latent, dropout
        self.likelihood, self.pos_weight = likelihood, float(pos_weight)
        inward, outward = (*hidden, code_width), (latent, *reversed(hidden), n_items)
        self.first = BagLinear(n_items, inward[0])
        self.encoder = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(inward))
        self.decoder = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(outward))
        self._initialise(generator or torch.Generator().manual_seed(0))

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """As in the official code: Xavier weights, biases truncated normal with sd 0.001."""
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter, generator=generator)
            else:
                nn.init.trunc_normal_(parameter, std=0.001, a=-0.002, b=0.002, generator=generator)

    def matrices(self) -> list[nn.Parameter]:
        """The weights, without biases: what weight decay acts on."""
        return [p for p in self.parameters() if p.ndim == 2]

    @torch.no_grad()
    def start_at(self, popularity: Tensor) -> None:
        """Set the output bias to the logit of each item's share of users, shape (I,).

        The logistic likelihood then needs not spend its first updates on learning that most items aren't clicked.
        """
        bias = self.decoder[-1].bias
        bias.copy_(torch.logit(popularity.to(bias), eps=1e-4))  # type: ignore[arg-type, operator]

    def _code(self, x: Rows) -> Tensor:
        """Normalise, *then* drop: the kept entries don't know how many were dropped."""
        values = F.dropout(x.unit_values(), self.dropout, self.training)
        code = self.first(x, values)
        for layer in self.encoder:
            code = layer(torch.tanh(code))
        return code

    def decode(self, z: Tensor) -> Tensor:
        """Scores f(z), shape (..., I), of codes (..., K)."""
        for layer in self.decoder[:-1]:
            z = torch.tanh(layer(z))
        return self.decoder[-1](z)

    def _log_lik(self, logits: Tensor, x: Rows) -> Tensor:
        logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        return log_likelihood(logits, x.dense(logits.dtype), self.likelihood, self.pos_weight)

    def _checked(self, x: Any) -> Rows:
        rows = rows_of(x)
        if rows.n_items != self.n_items:
            raise ValueError(f"clicks have {rows.n_items} columns, the model {self.n_items} items")
        return rows.to(self.first.weight.device)

    def latent_mean(self, x: Any) -> Tensor:
        """The code that predictions are made from, shape (B, K)."""
        raise NotImplementedError

    @torch.no_grad()
    def predict(self, fold_in: Any) -> Tensor:
        """Scores of all items for new users: deterministic, two passes, −inf on what they have.

        Parameters
        ----------
        fold_in : sparse matrix, array, Tensor or Rows, shape (B, I)

        Returns
        -------
        Tensor, shape (B, I)
            The multinomial's softmax would not change the ranking.

        Raises
        ------
        ValueError
            For another number of columns, negative or NaN entries.

        Warns
        -----
        UserWarning
            For users without any click: they get the ranking of the bias, alike for all of them.
        """
        x = self._checked(fold_in)
        empty = x.n_users - int(x.users.unique().numel())
        if empty:
            warnings.warn(
                f"{empty} of {x.n_users} users have no click: they all get the same ranking", stacklevel=2
            )
        training = self.training
        self.eval()
        try:
            scores = self.decode(self.latent_mean(x))
        finally:
            self.train(training)
        scores[x.users, x.items] = -torch.inf
        return scores


class MultVAE(_Autoencoder):
    """Variational autoencoder of clicks.

    ``z ~ N(0, I)``, ``x ~ Mult(N, softmax(f(z)))`` and ``q(z | x) = N(mu(x), diag exp(logvar(x)))``.

    Parameters
    ----------
    n_items : int
    hidden : sequence of int
        Widths of the encoder's tanh layers; the decoder has them reversed. ``()`` is the shallow I-K-I.
    latent : int
        K.
    dropout : float
        Probability of dropping an entry of the normalised input.
    likelihood : {"multinomial", "gaussian", "logistic"}
    pos_weight : float
        Weight of clicks in the Gaussian likelihood; non-clicks have 1.
    generator : torch.Generator, optional
        Draws the weights; None: one of seed 0.

    Raises
    ------
    ValueError
        For sizes, dropout, likelihood or weight out of range.
    """

    def __init__(
        self,
        n_items: int,
        hidden: Sequence[int] = (600,),
        latent: int = 200,
        dropout: float = 0.5,
        likelihood: str = "multinomial",
        pos_weight: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(n_items, hidden, latent, 2 * latent, dropout, likelihood, pos_weight, generator)

    def encode(self, x: Any) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each (B, K)."""
        mu, logvar = self._code(self._checked(x)).chunk(2, dim=-1)
        return mu, logvar

    def latent_mean(self, x: Any) -> Tensor:
        """The posterior mean: nothing is sampled at prediction."""
        return self.encode(x)[0]

    def terms(
        self, x: Any, n_samples: int = 1, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """E_q log p(x | z) and KL(q || prior) of each user, each (B,), in nats.

        Parameters
        ----------
        x : clicks of B users, input and target at once
        n_samples : int
            Reparametrised draws that the expectation is a mean of.
        generator : torch.Generator, optional
            None: torch's own, which :func:`~loglik.generative.vae_cf.fit` seeds.
        """
        rows = self._checked(x)
        mu, logvar = self.encode(rows)
        noise = torch.randn((n_samples, *mu.shape), dtype=mu.dtype, device=mu.device, generator=generator)
        logits = self.decode(mu + (logvar / 2).exp() * noise)
        return self._log_lik(logits, rows).mean(0), gaussian_kl(mu, logvar)

    def elbo(
        self, x: Any, beta: float, n_samples: int = 1, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The objective L_β, averaged over users (never over items or dimensions, or β would mean something else).

        Returns
        -------
        dict of scalar Tensors
            loss = −log_lik + β kl; log_lik; kl.
        """
        log_lik, kl = self.terms(x, n_samples, generator)
        return {"loss": (beta * kl - log_lik).mean(), "log_lik": log_lik.mean(), "kl": kl.mean()}


class MultDAE(_Autoencoder):
    """Denoising autoencoder of clicks: no sampling, no KL term.

    Parameters as :class:`MultVAE`; the paper's is the shallow I-200-I with tanh on the code.
    ``MultDAE(likelihood="logistic")`` is CDAE without its user vector, which a new user has not got.
    """

    def __init__(
        self,
        n_items: int,
        hidden: Sequence[int] = (),
        latent: int = 200,
        dropout: float = 0.5,
        likelihood: str = "multinomial",
        pos_weight: float = 1.0,
        generator: torch.Generator | None = None,
        squash: bool = True,
    ) -> None:
        super().__init__(n_items, hidden, latent, latent, dropout, likelihood, pos_weight, generator)
        self.squash = squash

    def latent_mean(self, x: Any) -> Tensor:
        """The code, through tanh where `squash` says so."""
        code = self._code(self._checked(x))
        return torch.tanh(code) if self.squash else code

    def terms(
        self, x: Any, n_samples: int = 1, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log p(x | g(x)) and zeros, each (B,)."""
        del n_samples, generator
        rows = self._checked(x)
        log_lik = self._log_lik(self.decode(self.latent_mean(rows)), rows)
        return log_lik, torch.zeros_like(log_lik)

    def elbo(
        self, x: Any, beta: float = 0.0, n_samples: int = 1, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """As :meth:`MultVAE.elbo`, with a KL of 0."""
        log_lik, kl = self.terms(x, n_samples, generator)
        return {"loss": (beta * kl - log_lik).mean(), "log_lik": log_lik.mean(), "kl": kl.mean()}


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, diag exp(logvar)) || N(0, I)) in nats, over the last axis."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(-1)
