"""The chapter's experiments with the shared base model: scores of every text, to be judged later.

A study is a nested mapping ``known kind -> fine-tunings -> kind of test text -> score -> (N,)``. Test texts are the
same for all fine-tunings, so whatever is compared is paired.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loglik.language import tokens
from loglik.language.base import load_base
from loglik.language.llm_ood_ratio import baselines, data, metrics
from loglik.language.llm_ood_ratio.data import Pool
from loglik.language.llm_ood_ratio.scores import log_likelihood, log_likelihoods, ratio_scores
from loglik.language.llm_ood_ratio.tuning import finetune

Floats = NDArray[np.float64]
Scores = dict[str, dict[str, Floats]]  # kind of test text -> score -> (N,)
Study = dict[str, list[Scores]]  # known kind -> one for each fine-tuning
Progress = Callable[[Sequence[Any]], Iterable[Any]]

PAIRS = (
    *(("gospels", unknown) for unknown in (*data.NEAR, *data.FAR)),
    *(("ham", unknown) for unknown in ("spam", "gospels", "austen", "python")),
    *(("spam", unknown) for unknown in ("ham", "gospels", "austen", "python")),
)  # fmt: skip
BASELINES = ("LH", "NLH", "LH_pre", "bigram ratio", "Mahalanobis", "kNN", "NLH − zlib")


def base_study(
    pools: Mapping[str, Pool],
    seeds: Sequence[int],
    *,
    n_train: int = 400,
    epochs: float = 3.0,
    lr: float = 2e-3,
    max_len: int = 64,
    known: Sequence[str] = ("gospels", "ham", "spam"),
    n_broad: int = 1000,
    progress: Progress = iter,
) -> Study:
    """Fine-tune the shared base model on each known kind, and score all test texts by every method.

    Parameters
    ----------
    pools : mapping of str to Pool
    seeds : sequence of int
        Fine-tunings: another sample of the texts, another order.
    n_train : int
        Texts to fine-tune on (fewer where a domain has fewer), one in eight of them for early stopping.
    epochs, lr, max_len
        See :func:`~loglik.language.llm_ood_ratio.tuning.finetune`; texts are cut to `max_len` tokens.
    known : sequence of str
        Kinds to fine-tune on.
    n_broad : int
        Texts of each kind that the broad bigram model counts.
    progress : callable
        Wraps the list of fine-tunings.

    Returns
    -------
    Study
    """
    parent, tokenizer = load_base()
    tests = {name: tokens.encode(tokenizer, data.texts(pools[name].test), max_len=max_len) for name in pools}
    read = {name: baselines.first_tokens(tokenizer, data.texts(pools[name].test), max_len) for name in pools}
    before = {name: log_likelihood(parent, batch)[0] for name, batch in tests.items()}
    vectors = {name: baselines.embed(parent, batch) for name, batch in tests.items()}
    homes = {kind: _homes(parent, tokenizer, pools[kind].train, n_train, seeds, max_len) for kind in known}
    broad = data.texts(d for pool in pools.values() for d in pool.parent[:n_broad])
    broad_bigram = baselines.Bigram(len(tokenizer)).fit(tokens.encode(tokenizer, broad, max_len=max_len))
    study: Study = {kind: [] for kind in known}
    for seed, kind in progress([(seed, kind) for seed in seeds for kind in known]):
        train, validation = draw(pools[kind].train, n_train, seed, tokenizer, max_len)
        child = finetune(parent, train, validation=validation, epochs=epochs, lr=lr, seed=seed).model
        bigram = baselines.Bigram(len(tokenizer)).fit(train).tune(validation)
        broad_bigram.tune(validation)
        home = baselines.Representations(homes[kind][seed])
        wanted = {kind, *(unknown for name, unknown in PAIRS if name == kind)}
        study[kind].append({})
        for name in wanted:
            logp, n = log_likelihood(child, tests[name])
            found = ratio_scores(before[name], logp, n)
            found["bigram ratio"] = broad_bigram.score(tests[name]) - bigram.score(tests[name])
            found |= home.scores(vectors[name])
            found["NLH − zlib"] = baselines.compression_score(read[name], logp)
            study[kind][-1][name] = found | {"n": n, "child": logp}
    return study


def _homes(
    parent: Any, tokenizer: Any, documents: Sequence[data.Doc], n: int, seeds: Sequence[int], max_len: int
) -> dict[int, Floats]:
    """The parent's representations of each seed's training texts; what several seeds draw is read once."""
    parts = {seed: drawn(len(documents), n, seed)[1] for seed in seeds}
    union = np.unique(np.concatenate(list(parts.values())))
    batch = tokens.encode(tokenizer, [documents[i].text for i in union], max_len=max_len)
    vectors = baselines.embed(parent, batch)
    return {seed: vectors[np.searchsorted(union, part)] for seed, part in parts.items()}


def draw(
    documents: Sequence[data.Doc], n: int, seed: int, tokenizer: Any, max_len: int
) -> tuple[tokens.TokenBatch, tokens.TokenBatch]:
    """A random sample of a pool, encoded: seven eighths to train on, the rest to stop by."""
    held, train = (
        tokens.encode(tokenizer, [documents[i].text for i in part], max_len=max_len)
        for part in drawn(len(documents), n, seed)
    )
    return train, held


def drawn(size: int, n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of `size` documents a seed draws: one eighth to stop by, and those to train on."""
    chosen = np.random.default_rng(seed).permutation(size)[:n]
    cut = max(1, len(chosen) // 8)
    return chosen[:cut], chosen[cut:]


def add_double(study: Study) -> None:
    """Add the ratio of the two mail models to the ham entries: log spam child − log ham child."""
    for ham, spam in zip(study["ham"], study["spam"], strict=True):
        for name in ("ham", "spam"):
            ham[name]["double"] = spam[name]["child"] - ham[name]["child"]


def supervised_study(
    pools: Mapping[str, Pool], seeds: Sequence[int], *, n_train: int = 400, max_len: int = 64
) -> list[Scores]:
    """Five classifiers on the very mails that the two children were fine-tuned on. One entry a seed."""
    _, tokenizer = load_base()
    cut = {
        name: [baselines.first_tokens(tokenizer, data.texts(part), max_len) for part in pools[name][:2]]
        for name in ("ham", "spam")
    }
    out = []
    for seed in seeds:
        train = {
            name: [
                cut[name][1][i] for i in np.random.default_rng(seed).permutation(len(cut[name][1]))[:n_train]
            ]
            for name in cut
        }  # the same draw as that of the children
        labels = np.repeat([False, True], [len(train["ham"]), len(train["spam"])])
        found = baselines.supervised_scores(
            train["ham"] + train["spam"], labels, cut["ham"][0] + cut["spam"][0], random_state=seed
        )
        n = len(cut["ham"][0])
        out.append(
            {
                "ham": {method: values[:n] for method, values in found.items()},
                "spam": {method: values[n:] for method, values in found.items()},
            }
        )
    return out


def wins(fits: Sequence[Scores], known: str, unknown: str, name: str) -> Floats:
    """Pairwise wins of one score, (fine-tunings, unknown texts, known texts); their mean is the AUROC."""
    return np.stack([metrics.wins(fit[known][name], fit[unknown][name]) for fit in fits])


def summarise(study: Study, names: Sequence[str], pairs: Iterable[tuple[str, str]] = PAIRS) -> pd.DataFrame:
    """AUROC, AUPR and FPR95 of every score on every pair and fine-tuning: one row each."""
    rows = []
    for known, unknown in pairs:
        for fit_index, fit in enumerate(study.get(known, [])):
            for name in names:
                a, b = fit[known][name], fit[unknown][name]
                label = np.repeat([False, True], [len(a), len(b)])
                found = metrics.ood_metrics(np.concatenate([a, b]), label)
                rows.append({"known": known, "unknown": unknown, "fit": fit_index, "score": name} | found)
    return pd.DataFrame(rows)


def length_effect(study: Study, pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Change of the ratio's mean AUROC when texts are matched in length within 10 %, by pair."""
    out = {}
    for known, unknown in pairs:
        fits = study[known]
        a, b = metrics.length_matched(fits[0][known]["n"], fits[0][unknown]["n"])
        all_pairs = wins(fits, known, unknown, "LR")
        out[f"{known} / {unknown}"] = float(all_pairs[:, b][:, :, a].mean() - all_pairs.mean())
    return out


def released_effect(study: Study, pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Change of the ratio's mean AUROC when sums are inflated as in the released code, by pair."""
    out = {}
    for known, unknown in pairs:
        exact = wins(study[known], known, unknown, "LR").mean()
        inflated = copy.deepcopy([{k: fit[k] for k in (known, unknown)} for fit in study[known]])
        for fit in inflated:
            for found in fit.values():
                found["LR"] = ratio_scores(-found["LH_pre"], found["child"], found["n"], compat="official")[
                    "LR"
                ]
        out[f"{known} / {unknown}"] = float(wins(inflated, known, unknown, "LR").mean() - exact)
    return out


def loss_difference(
    pools: Mapping[str, Pool], n_texts: int, *, steps_seed: int = 0, max_len: int = 64
) -> Floats:
    """The batched ratio minus the one from both models' own losses, text by text; relative to the mean ratio.

    Parameters
    ----------
    pools : mapping of str to Pool
    n_texts : int
        Of mixed kinds and lengths.
    steps_seed : int
        Of the short fine-tuning that makes the child.
    """
    parent, tokenizer = load_base()
    train, _ = draw(pools["ham"].train, 64, steps_seed, tokenizer, max_len)
    child = finetune(parent, train, epochs=1, seed=steps_seed).model
    kinds = list(pools)
    texts = [pools[kinds[i % len(kinds)]].test[i].text for i in range(n_texts)]
    batch = tokens.encode(tokenizer, texts, max_len=max_len)
    ours = ratio_scores(*log_likelihoods(parent, child, batch))["LR"]
    theirs = []
    for ids, length in zip(batch.ids, batch.lengths.tolist(), strict=True):
        row = ids[None, :length]
        losses = [float(model(input_ids=row, labels=row).loss.detach()) for model in (parent, child)]
        theirs.append((losses[1] - losses[0]) * (length - 1))
    return (ours - np.array(theirs)) / np.abs(ours).mean()
