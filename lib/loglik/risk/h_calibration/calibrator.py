"""The maps and the loss as a scikit-learn estimator: fit on the logits of a calibration split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from loglik.risk.checks import Floats, check_finite, check_weights, column_names
from loglik.risk.h_calibration.inputs import check_window, to_tensor
from loglik.risk.h_calibration.loss import WEIGHTINGS, LossOptions, _subsets, fast_loss
from loglik.risk.h_calibration.maps import (
    EnsembleTemperatureMap,
    MonotoneNetMap,
    PiecewiseLinearMap,
    TemperatureMap,
)
from loglik.risk.h_calibration.metrics import classwise_ece, debiased_ece, nll

MAPS = ("temperature", "ensemble", "pwl", "monotone")
LOSSES = ("h", "nll", "brier")
SIZES = {"temperature": 1, "ensemble": 16, "pwl": 20, "monotone": 10}
SELECTORS: dict[str, Callable[[Any, Any], float]] = {
    "debiased_ece": debiased_ece,
    "classwise_ece": classwise_ece,
    "nll": nll,
}
SELECT_EVERY = 10  # epochs between looks at a selector


def proper_loss(probs: Tensor, y: Tensor, kind: str, weight: Tensor | None = None) -> Tensor:
    """Mean NLL or Brier score of probabilities (n, L), differentiable."""
    if kind == "nll":
        each = -probs.gather(1, y[:, None]).squeeze(1).clamp_min(1e-30).log()
    else:
        each = (probs - nn.functional.one_hot(y, probs.shape[1])).square().sum(1)
    return each.mean() if weight is None else (each * weight).sum() / weight.sum()


def train_map(
    model: nn.Module,
    logits: Tensor,
    objective: Callable[[Tensor], Tensor],
    y: Tensor,
    selectors: Sequence[str] = ("loss",),
    *,
    lr: float = 0.02,
    epochs: int = 250,
) -> tuple[Floats, dict[str, dict[str, Tensor]]]:
    """Full-batch Adam with cosine decay, keeping the best checkpoint by each selector.

    Parameters
    ----------
    model : torch.nn.Module
        A map from logits (n, L) to probabilities; trained in place, in single precision but for its parameters.
    objective : callable
        Scalar loss of the probabilities.
    y : tensor of shape (n,)
    selectors : sequence of {"loss", "debiased_ece", "classwise_ece", "nll"}
        Measured on the same split as the loss; all but "loss" every tenth epoch.

    Returns
    -------
    curve : array of shape (epochs,)
        The loss.
    kept : dict of str to state_dict
        One checkpoint a selector.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    curve, z = np.empty(epochs), logits.float()
    best, kept = dict.fromkeys(selectors, np.inf), dict.fromkeys(selectors, _state(model))
    for epoch in range(epochs):
        probs = model(z)
        loss = objective(probs)
        curve[epoch] = loss.item()
        for name in selectors:
            score = _score(name, probs, y, curve, epoch)
            if score < best[name]:
                best[name], kept[name] = score, _state(model)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return curve, kept


def _score(name: str, probs: Tensor, y: Tensor, curve: Floats, epoch: int) -> float:
    if name == "loss":
        return float(curve[epoch])
    if epoch % SELECT_EVERY and epoch + 1 < len(curve):
        return np.inf
    return SELECTORS[name](probs.detach().double().numpy(), y.numpy())


class PostHocCalibrator(ClassifierMixin, BaseEstimator):
    """Recalibrate a trained classifier from its logits on held-out data, without changing its predictions.

    Parameters
    ----------
    map : {"pwl", "temperature", "ensemble", "monotone"}
        Family of order-preserving maps; see :mod:`loglik.risk.h_calibration.maps`.
    loss : {"h", "nll", "brier"}
        What the map minimises on the calibration split: the windowed calibration gap, or a proper score.
    size : int, optional
        Temperatures of the ensemble (16), segments (20) or hidden width (10) of the others.
    window : int
        M of the h loss, even. 200 as released; the noise falls with sqrt(M), the smoothing grows with M/(n L).
    epsilon : float
        Tolerance of the h loss.
    weighting : {"kmeans", "uniform", "equal_width", "top1"}
        Of the h loss.
    leave_one_class_out : bool or "auto"
        As in the released configurations (True). That moves the optimum under class imbalance, so "auto", the
        default, leaves classes out only where the largest share is at most twice the smallest.
    classes_per_step : int, optional
        Random classes left out a step, for hundreds of classes.
    lr : float
        Of Adam, with cosine decay. The released code takes 0.005 and up to 2000 epochs; 0.02 and 250 arrive
        at the same loss on the chapter's data.
    epochs : int
        Full-batch steps. A single temperature is found by a scalar search instead (about 30 evaluations).
    select : {"loss", "debiased_ece", "classwise_ece", "nll"}
        Which checkpoint to keep, measured on the calibration split: the released code takes the second for
        top-label, the third for class-wise calibration, the last for proper scores.
    bound : float
        Range in nats of the "pwl" and "monotone" maps.
    classes : array of shape (L,), optional
        Labels of the columns, such as a scikit-learn model's ``classes_``. Without it, labels are column
        numbers, or any L different labels in their sort order.
    random_state : int or None
        For starting weights and for `classes_per_step`.

    Attributes
    ----------
    classes_ : array of shape (L,)
    map_ : torch.nn.Module
        The fitted map; its ``state_dict`` is what to save.
    loss_curve_ : array of shape (epochs,)
        Training loss. For a temperature: of the evaluations of its search.
    leave_one_class_out_ : bool
        What "auto" decided.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn; a column is a class.

    Raises
    ------
    ValueError
        From ``fit``: NaN (column and count), labels that don't name columns, one class only, a window longer
        than the events, or a parameter out of its range.

    Notes
    -----
    Each epoch with the h loss costs O(n L log(n L) + S n L), S = L subsets or 1. `sample_weight` is for the
    proper scores only: the h loss counts events in windows, and a weight has no equivalent there.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(size=(1000, 3))
    >>> y = np.array([rng.choice(3, p=np.exp(v) / np.exp(v).sum()) for v in truth])
    >>> calibrator = PostHocCalibrator("temperature").fit(3 * truth, y)
    >>> bool(0.25 < calibrator.map_.inverse_temperature.item() < 0.45)
    True
    """

    def __init__(
        self,
        map: str = "pwl",  # noqa: A002
        loss: str = "h",
        *,
        size: int | None = None,
        window: int = 200,
        epsilon: float = 0.0,
        weighting: str = "kmeans",
        leave_one_class_out: bool | str = "auto",
        classes_per_step: int | None = None,
        lr: float = 0.02,
        epochs: int = 250,
        select: str = "loss",
        bound: float = 40.0,
        classes: Any = None,
        random_state: int | None = None,
    ) -> None:
        self.map = map
        self.loss = loss
        self.size = size
        self.window = window
        self.epsilon = epsilon
        self.weighting = weighting
        self.leave_one_class_out = leave_one_class_out
        self.classes_per_step = classes_per_step
        self.lr = lr
        self.epochs = epochs
        self.select = select
        self.bound = bound
        self.classes = classes
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> PostHocCalibrator:
        """Fit the map to logits (n, L) and labels (n,) that the classifier was not trained on."""
        self._check()
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        logits, codes = self._columns(X, y)
        if sample_weight is not None and self.loss == "h":
            raise ValueError(
                "the h loss counts events in windows and takes no sample_weight; use 'nll' or 'brier'"
            )
        weight = None
        if sample_weight is not None:
            weight = torch.from_numpy(check_weights(sample_weight, len(logits)))
        z, labels = to_tensor(logits), torch.from_numpy(codes)
        generator = torch.Generator().manual_seed(0 if self.random_state is None else int(self.random_state))
        self.leave_one_class_out_ = self._leave_out(np.bincount(codes, minlength=logits.shape[1]))
        if self.loss == "h":
            check_window(self.window, logits.size)
        self.map_ = self._new_map(z, generator)
        objective = self._objective(labels, weight, generator)
        train = _search if self.map == "temperature" and self.select == "loss" else self._train
        self.loss_curve_ = train(self.map_, z, objective, labels)
        return self

    # -- training ------------------------------------------------------------------------------------------

    def _new_map(self, z: Tensor, generator: torch.Generator) -> nn.Module:
        size = self.size if self.size is not None else SIZES[self.map]
        if self.map == "temperature":
            return TemperatureMap()
        if self.map == "ensemble":
            return EnsembleTemperatureMap(size)
        if self.map == "pwl":
            return PiecewiseLinearMap(size, bound=self.bound)
        log_probs = torch.log_softmax(z, 1)
        mean, sd = float(log_probs.mean()), float(log_probs.std())
        return MonotoneNetMap((size, size), mean=mean, sd=sd, bound=self.bound, generator=generator)

    def _objective(
        self, y: Tensor, weight: Tensor | None, generator: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        if self.loss != "h":
            return lambda probs: proper_loss(probs, y, self.loss, weight)
        options = LossOptions(self.window, float(self.epsilon), self.weighting, 15)

        def h_loss(probs: Tensor) -> Tensor:
            leave_out = self.leave_one_class_out_
            subsets = _subsets(y, probs.shape[1], leave_out, self.classes_per_step, generator)
            return fast_loss(probs, y, options, subsets)

        return h_loss

    def _train(self, model: nn.Module, z: Tensor, objective: Callable[[Tensor], Tensor], y: Tensor) -> Floats:
        curve, kept = train_map(model, z, objective, y, (self.select,), lr=self.lr, epochs=self.epochs)
        model.load_state_dict(kept[self.select])
        return curve

    # -- predictions ---------------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> Floats:
        """Calibrated probabilities (m, L); a row's order of classes is that of its logits."""
        check_is_fitted(self)
        logits = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=False)
        check_finite(logits, column_names(X, logits.shape[1]), "logits")
        with torch.no_grad():
            return np.asarray(self.map_(to_tensor(logits)).numpy())

    def predict(self, X: Any) -> np.ndarray:
        """The label with the largest logit: recalibration does not touch it."""
        best = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[best])

    # -- checks --------------------------------------------------------------------------------------------

    def _columns(self, X: Any, y: Any) -> tuple[Floats, np.ndarray]:
        logits, labels = validate_data(
            self, X, y, dtype=np.float64, ensure_all_finite=False, ensure_min_features=2
        )
        check_finite(logits, column_names(X, logits.shape[1]), "logits")
        check_classification_targets(labels)
        L = logits.shape[1]
        self.classes_ = _classes(labels, L, self.classes)
        codes = pd.Index(self.classes_).get_indexer(labels)
        unknown = int((codes < 0).sum())
        if unknown:
            names = sorted(set(labels[codes < 0].tolist()))[:5]
            raise ValueError(f"y has {unknown} labels that no column of the logits stands for: {names}")
        found = np.unique(codes)
        if len(found) < 2:
            raise ValueError(
                f"y has one class ({labels[0]}) in {len(labels)} rows; at least 2 classes are needed"
            )
        return logits, codes.astype(np.int64)

    def _leave_out(self, counts: np.ndarray) -> bool:
        if self.leave_one_class_out != "auto":
            return bool(self.leave_one_class_out)
        return bool(counts.max() <= 2 * counts.min())

    def _check(self) -> None:
        choices = [
            ("map", self.map, MAPS),
            ("loss", self.loss, LOSSES),
            ("weighting", self.weighting, WEIGHTINGS),
            ("select", self.select, ("loss", *SELECTORS)),
            ("leave_one_class_out", self.leave_one_class_out, (True, False, "auto")),
        ]
        for name, value, allowed in choices:
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}")
        rules = [
            ("size", 1 if self.size is None else self.size, Integral, 1),
            ("epochs", self.epochs, Integral, 1),
            ("lr", self.lr, Real, 1e-12),
            ("epsilon", self.epsilon, Real, 0),
            ("bound", self.bound, Real, 1e-12),
        ]
        for name, number, kind, least in rules:
            if not isinstance(number, kind) or isinstance(number, bool) or not number >= least:
                raise ValueError(f"{name} must be a number of at least {least}, got {number!r}")


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _search(
    model: nn.Module,
    z: Tensor,
    objective: Callable[[Tensor], Tensor],
    y: Tensor,
    step: float = 0.5,
    reach: int = 8,
) -> Floats:
    """The best inverse temperature downhill from 1: steps in its logarithm, then Brent between the last three.

    Downhill, as a gradient would go, because under equal-width weighting empty bins count as zero: far from 1,
    predictions that are flattened into one bin can score better than good ones.
    """
    del y
    parameter: Any = model.inverse_temperature
    seen: dict[float, float] = {}

    @torch.no_grad()
    def at(log_t: float) -> float:
        if log_t not in seen:
            parameter.fill_(float(np.exp(log_t)))
            seen[log_t] = float(objective(model(z)))
        return seen[log_t]

    here = 0
    while abs(here) < reach and min(at(step * (here - 1)), at(step * (here + 1))) < at(step * here):
        here += -1 if at(step * (here - 1)) < at(step * (here + 1)) else 1
    bracket = (step * (here - 1), step * (here + 1))
    found = minimize_scalar(at, bounds=bracket, method="bounded", options={"xatol": 1e-4})
    best = float(found.x) if at(float(found.x)) <= at(step * here) else step * here
    with torch.no_grad():
        parameter.fill_(float(np.exp(best)))
    return np.array(list(seen.values()))


def _classes(labels: np.ndarray, L: int, given: Any) -> np.ndarray:
    """What each column stands for."""
    if given is not None:
        classes = np.asarray(given)
        if classes.shape != (L,) or len(np.unique(classes)) != L:
            raise ValueError(f"classes must name the {L} columns once each, got {classes.tolist()}")
        return classes
    whole = labels.dtype.kind in "iu" or (labels.dtype.kind == "f" and (labels == np.floor(labels)).all())
    if whole and labels.min() >= 0 and labels.max() < L:
        return np.arange(L).astype(labels.dtype)
    found = np.unique(labels)
    if len(found) != L:
        raise ValueError(
            f"logits have {L} columns, so y needs labels 0 to {L - 1} or exactly {L} different ones; "
            f"it has {len(found)}: {found[:5].tolist()}. Pass classes= to name the columns"
        )
    return found
