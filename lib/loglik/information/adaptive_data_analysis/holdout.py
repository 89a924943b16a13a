"""A reusable holdout that outlives the process: what was spent stays spent.

The state is one JSON file. It is written, flushed to the disk and moved into place *before* an answer is
given out, so a crash at any moment can lose an answer but never refund one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from loglik.information.adaptive_data_analysis.accounting import Floats, Spent
from loglik.information.adaptive_data_analysis.mechanisms import BudgetExhausted, Query
from loglik.information.adaptive_data_analysis.thresholdout import ThresholdoutMechanism

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows has no fcntl: the serial number alone guards there)
    fcntl = None  # type: ignore[assignment]

FORMAT = "loglik reusable holdout 1"
PairedQuery = Query | tuple[ArrayLike, ArrayLike]


class Answer(NamedTuple):
    """What the analyst gets."""

    value: float
    paid: bool  # whether it came from the holdout set, and so cost one of the budget
    remaining: int  # paid answers that are left


class ReusableHoldout:
    """A holdout set that may be asked again and again, refuses when its budget is spent, and remembers.

    Parameters
    ----------
    train, holdout : DataFrame or array, rows are examples
        The training set is public; nobody should see the holdout but through this object.
    path : path-like
        Where the state is kept. It must not exist yet: a new state for an old holdout set would hand its
        spent budget back. Use :meth:`resume` to go on.
    budget : int
        B: answers that may come from the holdout.
    threshold : float, optional
        T: tolerated disagreement of the two sets, which is also the accuracy to expect; default 4/√n for n
        holdout rows.
    sigma : float, optional
        Noise scale; default T/16. Smaller values cost more privacy, larger ones more false alarms.
    rng : numpy.random.Generator, optional
        Default: fresh entropy. Its state is kept in the file, so a resumed run goes on where it stopped and
        no noise is ever used twice.
    query_range : (float, float)
        What every question's values must lie in.

    Raises
    ------
    FileExistsError
        If there is a state at `path` already.
    ValueError
        For empty sets, or parameters that make no sense.

    Notes
    -----
    The file holds the noise of the current threshold and the generators' states. Like the holdout rows
    themselves it belongs to the curator; an analyst who reads it can undo the noise.

    Examples
    --------
    >>> import tempfile
    >>> rng = np.random.default_rng(0)
    >>> train, hidden = rng.normal(size=(2, 1000, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     holdout = ReusableHoldout(train, hidden, Path(folder, "state.json"), budget=3, rng=rng)
    ...     answer = holdout.ask(lambda rows: rows[:, 0] > 0)
    >>> answer.paid, answer.remaining
    (False, 3)
    """

    def __init__(
        self,
        train: Any,
        holdout: Any,
        path: str | os.PathLike[str],
        *,
        budget: int,
        threshold: float | None = None,
        sigma: float | None = None,
        rng: np.random.Generator | None = None,
        query_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        threshold = 4 / np.sqrt(max(len(holdout), 1)) if threshold is None else threshold
        sigma = threshold / 16 if sigma is None else sigma
        if not (np.isfinite(threshold) and sigma > 0):
            raise ValueError(f"threshold must be finite and sigma above 0, got {threshold!r} and {sigma!r}")
        self._open(train, holdout, path, budget, float(threshold), float(sigma), query_range, rng)
        with _locked(self.path):
            if self.path.exists():
                raise FileExistsError(
                    f"{self.path} already holds a state. Starting anew would refund what was spent: "
                    "use ReusableHoldout.resume, or another path for another holdout set"
                )
            _write(self.path, self._snapshot(0))

    def _open(
        self,
        train: Any,
        holdout: Any,
        path: str | os.PathLike[str],
        budget: int,
        threshold: float,
        sigma: float,
        query_range: tuple[float, float],
        rng: np.random.Generator | None,
    ) -> None:
        self.path = Path(path)
        self.fingerprint = fingerprint(holdout)
        self._serial = 0
        self._core = ThresholdoutMechanism(
            train,
            holdout,
            threshold,
            sigma,
            budget,
            np.random.default_rng() if rng is None else rng,
            query_range=query_range,
        )

    @classmethod
    def resume(cls, train: Any, holdout: Any, path: str | os.PathLike[str]) -> ReusableHoldout:
        """Go on with the state at `path`; budget, threshold, noise and range come from there.

        Raises
        ------
        FileNotFoundError
            Without a state there.
        ValueError
            If the state belongs to other holdout rows (another hash), or isn't a state at all.
        """
        state = _read(Path(path))
        found = fingerprint(holdout)
        if state["holdout"] != found:
            raise ValueError(
                f"{path} belongs to another holdout set (hash {state['holdout'][:12]}…, these rows have "
                f"{found[:12]}…): its budget says nothing about these rows. Same rows in the same order, please"
            )
        self = cls.__new__(cls)
        low, high = state["query_range"]
        self._open(
            train, holdout, path, state["budget"], state["threshold"], state["sigma"], (low, high), None
        )
        self._core.set_state(state["mechanism"])
        self._serial = state["serial"]
        return self

    # -- asking --------------------------------------------------------------------------------------------

    def ask(self, query: PairedQuery) -> Answer:
        """Answer one question; see :meth:`ask_many`."""
        return self.ask_many([query])[0]

    def ask_many(self, queries: Sequence[PairedQuery]) -> list[Answer]:
        """Answer questions that were all chosen before the first answer; the state is written once.

        Parameters
        ----------
        queries : sequence
            Each a function of a set's rows that gives one number a row, or a tuple of such numbers for the
            training and the holdout rows.

        Raises
        ------
        BudgetExhausted
            When the budget is spent; answers of this call that it lasted for are in ``partial``.
        RuntimeError
            If another process has used the same state meanwhile.
        OSError
            If the state can't be written. Then no answer is given, and this object counts it as spent.
        """
        means = self._core.pair_means(list(queries))
        with _locked(self.path):
            self._refuse_if_used_elsewhere()
            left = self.remaining
            refusal = None
            try:
                values, paid = self._core.answer_differences(*means)
            except BudgetExhausted as error:
                refusal = error
            _write(self.path, self._snapshot(self._serial + 1))  # before anything is given out
            self._serial += 1
        if refusal is not None:
            raise refusal
        spent = np.cumsum(paid)
        return [Answer(float(v), bool(p), left - int(s)) for v, p, s in zip(values, paid, spent, strict=True)]

    def _refuse_if_used_elsewhere(self) -> None:
        if _read(self.path)["serial"] != self._serial:
            raise RuntimeError(
                f"{self.path} was used by another process since this object read it; "
                "resume from the file, so that what was spent there counts here"
            )

    # -- what is left --------------------------------------------------------------------------------------

    @property
    def remaining(self) -> int:
        """Paid answers that are left."""
        return int(self._core.budget or 0) - self._core.n_positive

    @property
    def n_answers(self) -> int:
        """Questions answered so far, paid or not."""
        return self._core.n_answers

    @property
    def threshold(self) -> float:
        """T, the tolerated disagreement."""
        return self._core.threshold

    @property
    def sigma(self) -> float:
        """Scale of the noise."""
        return self._core.sigma

    def budget_spent(self) -> Spent:
        """Privacy spent on the holdout set, positives and answers."""
        return self._core.budget_spent()

    # -- state ---------------------------------------------------------------------------------------------

    def _snapshot(self, serial: int) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "serial": serial,
            "holdout": self.fingerprint,
            "budget": self._core.budget,
            "threshold": self._core.threshold,
            "sigma": self._core.sigma,
            "query_range": list(self._core.query_range),
            "mechanism": self._core.state(),
        }


def fingerprint(rows: Any) -> str:
    """SHA-256 of a table's values, types, names of columns and order of rows."""
    digest = hashlib.sha256()
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(_flat(np.asarray(rows)))
    digest.update(json.dumps([list(map(str, table.columns)), len(table)]).encode())
    for _, column in table.items():
        values = column.to_numpy()
        if values.dtype.kind in "biufc":
            digest.update(values.dtype.str.encode() + np.ascontiguousarray(values).tobytes())
        else:
            digest.update(json.dumps([str(value) for value in values]).encode())
    return digest.hexdigest()


def _flat(array: Floats) -> Floats:
    return array.reshape(len(array), -1) if array.ndim != 2 else array


def _read(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not a state of a reusable holdout: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path} is not a state of a reusable holdout (its format is not {FORMAT!r})")
    return state


def _write(path: Path, state: dict[str, Any]) -> None:
    """Write beside the target, flush to the disk, move into place: the target is always whole."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    with contextlib.suppress(OSError):  # a folder can't be opened everywhere
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the state's lock; the system releases it when a process dies."""
    with path.with_name(path.name + ".lock").open("a", encoding="utf-8") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
