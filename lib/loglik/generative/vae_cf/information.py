"""The β-objective as an information bottleneck: rate, mutual information, marginal divergence, distortion."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from loglik.generative.vae_cf.models import MultVAE, gaussian_kl


@torch.no_grad()
def information_plane(model: MultVAE, X: Any, n_mc: int = 8, seed: int = 0) -> dict[str, float]:
    """Where a trained VAE stands in the information plane, in nats a user.

    ``E KL(q(z|x) || p(z)) = I_q(x; z) + KL(q(z) || p(z))`` with the aggregate posterior ``q(z)``, a mixture of U
    Gaussians. The rate is exact; the two parts are Monte-Carlo means over *separate* draws, so their sum is a test of
    the identity rather than a tautology (with shared draws q(z) would cancel).

    Parameters
    ----------
    model : MultVAE
    X : sparse matrix, array or Tensor, shape (U, I)
    n_mc : int
        Draws of z for each user; at least 2.
    seed : int

    Returns
    -------
    dict of float
        rate, mutual_information, marginal_kl, distortion (−E log p(x|z)), and the standard error mc_se of
        mutual_information + marginal_kl.

    Raises
    ------
    ValueError
        For fewer than 2 draws; as :meth:`MultVAE.predict`.
    """
    if n_mc < 2:
        raise ValueError(f"a Monte-Carlo error needs at least 2 draws a user, got {n_mc}")
    training = model.training
    model.eval()
    try:
        mu, logvar = (part.double() for part in model.encode(X))
        generator = torch.Generator(mu.device).manual_seed(seed)
        dtype = model.first.weight.dtype
        rows = model._checked(X)
        noise = torch.randn((3, n_mc, *mu.shape), dtype=mu.dtype, device=mu.device, generator=generator)
        z = mu + (logvar / 2).exp() * noise
        distortion = [-model._log_lik(model.decode(draw.to(dtype)), rows).double() for draw in z[2]]
    finally:
        model.train(training)
    own = _log_normal(noise[0]) - (logvar / 2).sum(-1)  # log q(z | x) of z's own user
    information = own - torch.stack([_log_mixture(draw, mu, logvar) for draw in z[0]])
    divergence = torch.stack([_log_mixture(draw, mu, logvar) for draw in z[1]]) - _log_normal(z[1])
    within = (information.var(0) + divergence.var(0)).sum() / n_mc  # users are strata: only z is random
    return {
        "rate": float(gaussian_kl(mu, logvar).mean()),
        "mutual_information": float(information.mean()),
        "marginal_kl": float(divergence.mean()),
        "distortion": float(torch.stack(distortion).mean()),
        "mc_se": float(within.sqrt() / len(mu)),
    }


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))


def _log_mixture(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """Log q(z), shape (S,), of z (S, K): a logsumexp over all users, the squares multiplied out."""
    precision = (-logvar).exp()
    squares = z.square() @ precision.T - 2 * z @ (mu * precision).T + (mu.square() * precision).sum(-1)
    exponent = -0.5 * (squares + logvar.sum(-1) + z.shape[-1] * math.log(2 * math.pi))
    return torch.logsumexp(exponent, dim=1) - math.log(len(mu))
