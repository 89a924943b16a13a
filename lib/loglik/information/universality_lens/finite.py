"""The mixture learner over a finite class, one observation at a time, for many repetitions at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from loglik.information.universality_lens.checks import Floats, check_log_prior


class FiniteMixture:
    """Bayesian mixture over a finite class with log-loss.

    Parameters
    ----------
    log_prior : array_like of shape (H,)
        Log prior; it sums to one.
    loglik : callable
        Takes one observation, or one for each repetition, and gives log probabilities of shape (H,) or
        (reps, H). For the supervised setting an observation is a pair, and the probability that of its
        label given its input.

    Attributes
    ----------
    log_posterior : array of shape (H,) or (reps, H)

    Raises
    ------
    ValueError
        For a prior that doesn't sum to one, or probabilities of another number of hypotheses.

    Examples
    --------
    >>> import numpy as np
    >>> coins = np.array([0.2, 0.8])
    >>> mixture = FiniteMixture(np.log([0.5, 0.5]), lambda x: np.log(np.where(x, coins, 1 - coins)))
    >>> mixture.update(True)
    >>> round(float(np.exp(mixture.predict(True))), 2)
    0.68
    """

    def __init__(self, log_prior: ArrayLike, loglik: Callable[[Any], Floats]) -> None:
        prior = np.asarray(log_prior, dtype=float)
        self.log_prior = check_log_prior(prior, len(prior))
        self.loglik = loglik
        self.log_posterior = self.log_prior

    def _loglik(self, x: Any) -> Floats:
        values = np.asarray(self.loglik(x), dtype=float)
        if values.shape[-1:] != self.log_prior.shape:
            raise ValueError(
                f"loglik gave shape {values.shape}; its last axis must be the {len(self.log_prior)} hypotheses"
            )
        return values

    def predict(self, x: Any) -> Floats:
        """Log predictive probability of `x` given all that :meth:`update` has seen, shape () or (reps,)."""
        return np.asarray(logsumexp(self.log_posterior + self._loglik(x), axis=-1))

    def update(self, x: Any) -> None:
        """Condition on an observation; the posterior is normalised at each step."""
        joint = self.log_posterior + self._loglik(x)
        self.log_posterior = joint - logsumexp(joint, axis=-1, keepdims=True)

    def cumulative_regret(self, truth: Callable[[Any], ArrayLike], data: Iterable[Any]) -> Floats:
        """Realised regret after 0, 1, ..., n observations, starting from the prior.

        Parameters
        ----------
        truth : callable
            Log probability of an observation under the truth, shape () or (reps,).
        data : iterable of n observations

        Returns
        -------
        array of shape (n + 1,) or (n + 1, reps)
            Nats; its expectation over data from the truth is n times the online regret.
        """
        self.log_posterior = self.log_prior
        losses = []
        for x in data:
            losses.append(np.asarray(truth(x), dtype=float) - self.predict(x))
            self.update(x)
        if not losses:
            return np.zeros(1)
        steps = np.stack(np.broadcast_arrays(*losses))
        result: Floats = np.concatenate([np.zeros((1, *steps.shape[1:])), steps.cumsum(0)])
        return result
