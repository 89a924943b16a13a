"""The mixture learner as a scikit-learn classifier: a tanh network sampled by SGLD."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from loglik.information.universality_lens.checks import Floats
from loglik.information.universality_lens.langevin import (
    decaying_steps,
    normal_prior_grad,
    sgld,
    sgld_predict,
)
from loglik.information.universality_lens.learners import distill
from loglik.information.universality_lens.network import TanhNetwork


class SGLDMixtureClassifier(ClassifierMixin, BaseEstimator):
    """Bayesian mixture of small networks for two classes, sampled by SGLD.

    Features are standardised; the network is :class:`TanhNetwork` with a unit normal prior; the prediction
    is the mean *probability* over the draws of all chains.

    Parameters
    ----------
    width : int
        Hidden units. By the theory, more cost little.
    chains : int
        Independent chains, at least 2.
    steps : int
        SGLD steps of each chain; the first half is left out.
    batch : int
        Rows of a minibatch.
    step_size : float, optional
        First step; None takes ``0.04 / (1 + 0.05 n)``, tuned once against NUTS.
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : array of shape (2,)
    samples_ : array of shape (draws, chains, d)
    network_ : TanhNetwork

    Raises
    ------
    SamplingError
        From ``fit``, when a chain diverges.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer  # doctest: +SKIP
    >>> X, y = load_breast_cancer(return_X_y=True)  # doctest: +SKIP
    >>> SGLDMixtureClassifier(random_state=0).fit(X, y).predict_proba(X[:2])  # doctest: +SKIP
    """

    def __init__(
        self,
        width: int = 16,
        *,
        chains: int = 8,
        steps: int = 16_000,
        batch: int = 32,
        step_size: float | None = None,
        random_state: Any = None,
    ) -> None:
        self.width, self.chains, self.steps = width, chains, steps
        self.batch, self.step_size, self.random_state = batch, step_size, random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: Any, y: Any) -> SGLDMixtureClassifier:
        """Sample the posterior.

        Parameters
        ----------
        X : array_like of shape (n, p)
        y : array_like of shape (n,)
            Two classes.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(
                "Only binary classification is supported: the target has "
                f"{len(self.classes_)} class{'es' if len(self.classes_) != 1 else ''}, two are needed"
            )
        if self.chains < 2:
            raise ValueError(f"chains must be at least 2, for the diagnostics; got {self.chains}")
        self.mean_, self.scale_ = X.mean(0), np.where(X.std(0) > 1e-12, X.std(0), 1.0)
        self.network_ = TanhNetwork(X.shape[1], self.width)
        rng = check_random_state(self.random_state)
        order = rng.permutation(len(X))
        step = 0.04 / (1 + 0.05 * len(X)) if self.step_size is None else self.step_size
        run = sgld(
            normal_prior_grad, self.network_.loglik_grad, rng.standard_normal((self.chains, self.network_.dim)),
            (self.transform(X)[order], codes[order]), steps=self.steps, batch=self.batch,
            step_size=decaying_steps(step, self.steps), key=jax.random.key(int(rng.randint(2**31 - 1))),
            thin=max(1, self.steps // 400),
        )  # fmt: skip
        self.samples_ = np.asarray(run.samples)
        return self

    def transform(self, X: ArrayLike) -> Floats:
        """Features as the network sees them: standardised, over the square root of their number."""
        result: Floats = (np.asarray(X, dtype=float) - self.mean_) / self.scale_ / np.sqrt(len(self.mean_))
        return result

    def _checked(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        return self.transform(validate_data(self, X, dtype=np.float64, reset=False))

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probabilities of both classes, shape (n, 2): the mixture learner."""
        p = sgld_predict(self.samples_, self.network_.proba, self._checked(X), 1)[0]
        return np.column_stack([1 - p, p])

    def predict(self, X: ArrayLike) -> Any:
        """The likelier class of each row."""
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)]

    def draws_proba(self, X: ArrayLike) -> Floats:
        """Probability of the second class from every draw, shape (draws, chains, n): how unsure the mixture is."""
        x, shape = self._checked(X), self.samples_.shape
        flat = self.samples_.reshape(1, -1, shape[2])
        return sgld_predict(flat, self.network_.proba, x).reshape(*shape[:2], -1)

    def diagnostics(self, X: ArrayLike, rows: int = 50) -> pd.DataFrame:
        """Chain diagnostics of the predictions, on the logit scale, at the first `rows` rows.

        Weights of a network may trade places, so convergence is judged by what it predicts.

        Returns
        -------
        DataFrame
            One row each: r_hat (split Gelman-Rubin, 1 is good) and ess (effective number of draws).
        """
        head = X.iloc[:rows] if hasattr(X, "iloc") else np.asarray(X)[:rows]
        found = logit(np.clip(np.swapaxes(self.draws_proba(head), 0, 1), 1e-9, 1 - 1e-9))
        return pd.DataFrame({"r_hat": split_gelman_rubin(found), "ess": effective_sample_size(found)})

    def distilled(self, X: ArrayLike, *, fits: int = 3, steps: int = 800) -> tuple[Floats, Floats]:
        """One network that imitates the mixture on `X`, the best of several: (parameters (d,), its probabilities).

        Parameters
        ----------
        X : array_like of shape (m, p)
            Unlabelled rows.
        fits, steps : int
        """
        inputs, target = self._checked(X), self.predict_proba(X)[:, 1]
        rng = check_random_state(self.random_state)
        start = rng.standard_normal((fits, self.network_.dim))
        students = distill(self.network_, start, inputs, np.repeat(target[None], fits, 0), steps=steps)
        proba = sgld_predict(students[None], self.network_.proba, inputs)
        p = np.clip(proba, 1e-7, 1 - 1e-7)
        best = int(-(target * np.log(p) + (1 - target) * np.log(1 - p)).mean(1).argmin())
        return students[best].astype(float), proba[best]
