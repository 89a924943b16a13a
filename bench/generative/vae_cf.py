"""Mult-VAE beside RecBole's MultiVAE and a dense step, and WMF's fold-in beside implicit's.

    python bench/generative/vae_cf.py [--epochs 30] [--steps 5]

Trains both networks with equal layers, batches, Adam and number of updates on the same clicks (MovieLens-100K where
`make optional` put it, else simulated ones) on one thread, and scores both on the same test users. RecBole's own class
computes its own loss; its trainer, which would only add time, is left out, and so are the packages for logging that its
modules import but the model does not use. Then a few updates at the width of MovieLens-20M (20,108 items, batches of 500).
RecBole draws its noise with standard deviation 0.01 instead of 1, so its MultiVAE is close to a network without noise.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import time
import types
from typing import Any

import numpy as np
import torch
from scipy import sparse
from threadpoolctl import threadpool_limits

from loglik.generative.vae_cf import (
    ClickRows,
    LinearAnneal,
    MultVAE,
    evaluate,
    find_movielens_100k,
    fit,
    load_movielens,
    simulate_clicks,
    user_kfold,
    wmf,
    wmf_half_step,
)
from loglik.generative.vae_cf.training import predictor

UNUSED = {
    "colorlog": {},
    "colorama": {"init": lambda *_, **__: None},
    "texttable": {"Texttable": object},
    "torch.utils.tensorboard": {"SummaryWriter": object},
}


def recbole_class() -> Any:
    """RecBole's MultiVAE, or None without the package."""
    if importlib.util.find_spec("recbole") is None:
        return None
    if "recbole.model.general_recommender.multivae" in sys.modules:
        return sys.modules["recbole.model.general_recommender.multivae"].MultiVAE
    for name, content in UNUSED.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
    folder = importlib.util.find_spec("recbole.model").submodule_search_locations[0]
    package = types.ModuleType("recbole.model.general_recommender")  # its __init__ would import every model
    package.__path__ = [f"{folder}/general_recommender"]
    sys.modules[package.__name__] = package
    return importlib.import_module("recbole.model.general_recommender.multivae").MultiVAE


class Clicks:
    """What RecBole's model asks of a data set; its item 0 is padding."""

    def __init__(self, X: sparse.csr_matrix) -> None:
        counts = np.diff(X.indptr)
        inside = np.arange(counts.max()) < counts[:, None]
        self.ids = torch.zeros(inside.shape, dtype=torch.long)
        self.ids[torch.from_numpy(inside)] = torch.from_numpy(X.indices.astype(np.int64)) + 1
        self.values = torch.from_numpy(inside.astype(np.float32))
        self.sizes = {"user": X.shape[0], "item": X.shape[1] + 1}

    def num(self, field: str) -> int:
        """Users or items."""
        return self.sizes[field]

    def history_item_matrix(self) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Items of every user, padded, and which of them are real."""
        return self.ids, self.values, None


def recbole_model(X: sparse.csr_matrix, hidden: int, latent: int, total: int) -> Any:
    config = {
        "USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "NEG_PREFIX": "neg_", "device": torch.device("cpu"),
        "mlp_hidden_size": [hidden], "latent_dimension": 2 * latent, "dropout_prob": 0.5, "anneal_cap": 0.2,
        "total_anneal_steps": total,
    }  # fmt: skip
    return recbole_class()(config, Clicks(X))


def recbole_steps(model: Any, n_users: int, batch_size: int, steps: int) -> float:
    """CPU seconds of so many updates."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    per_epoch = -(-n_users // batch_size)
    started = time.process_time()
    for step in range(steps):
        if step % per_epoch == 0:
            order = torch.randperm(n_users)
        at = step % per_epoch * batch_size
        optimizer.zero_grad()
        model.calculate_loss({"user": order[at : at + batch_size]}).backward()
        optimizer.step()
    return time.process_time() - started


def own_steps(model: MultVAE, X: sparse.csr_matrix, batch_size: int, steps: int) -> float:
    """The same with our model in the same bare loop."""
    data, optimizer = ClickRows(X), torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    per_epoch = -(-len(data) // batch_size)
    started = time.process_time()
    for step in range(steps):
        if step % per_epoch == 0:
            order = torch.randperm(len(data))
        at = step % per_epoch * batch_size
        optimizer.zero_grad()
        model.elbo(data[order[at : at + batch_size]], min(0.2, step / max(1, steps)))["loss"].backward()
        optimizer.step()
    return time.process_time() - started


def scores_of_recbole(model: Any, fold_in: sparse.csr_matrix) -> np.ndarray:
    model.eval()
    with torch.no_grad():
        dense = torch.from_numpy(np.pad(fold_in.toarray(), ((0, 0), (1, 0))))
        return model(dense)[0][:, 1:].numpy()


def compare_training(epochs: int) -> None:
    real = find_movielens_100k() is not None
    table = load_movielens() if real else simulate_clicks(900, 1400, limits=(5, 200), seed=0).table
    split = next(user_kfold(table, 5, 100, 0))
    steps = epochs * -(-split.train.shape[0] // 100)
    print(
        f"{'MovieLens-100K' if real else 'simulated clicks'}: {split.train.shape} clicks, I-600-200-600-I, {steps} updates of 100"
    )
    ours = MultVAE(split.n_items, (600,), 200)
    seconds = own_steps(ours, split.train, 100, steps)
    score = evaluate(predictor(ours), split.test)["ndcg@100"]
    print(
        f"{'loglik, bare loop':28}{seconds:8.1f} CPU s        NDCG@100 {score.mean():.4f} (SE {score.sem():.4f})"
    )
    whole = MultVAE(split.n_items, (600,), 200)
    history = fit(whole, split, epochs=epochs, batch_size=100, anneal=LinearAnneal(steps, 0.2))
    score = evaluate(predictor(whole), split.test)["ndcg@100"]
    print(
        f"{'loglik, fit and validation':28}{history.seconds:8.1f} CPU s {history.seconds / seconds:5.2f}× NDCG@100 {score.mean():.4f}"
    )
    if recbole_class() is None:
        print("RecBole is left out: make optional")
        return
    peer = recbole_model(split.train, 600, 200, steps)
    theirs = recbole_steps(peer, split.train.shape[0], 100, steps)
    score = evaluate(lambda x: scores_of_recbole(peer, x), split.test)["ndcg@100"]
    print(
        f"{'RecBole MultiVAE':28}{theirs:8.1f} CPU s {theirs / seconds:5.2f}× NDCG@100 {score.mean():.4f} (SE {score.sem():.4f})"
    )


def compare_width(steps: int, n_items: int = 20_108, batch_size: int = 500) -> None:
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, n_items + 1) ** 0.8
    items = rng.choice(n_items, (1000, 90), p=weights / weights.sum())
    X = sparse.csr_matrix((np.ones(items.size, np.float32), (np.repeat(np.arange(1000), 90), items.ravel())))
    X = sparse.csr_matrix((X.data, X.indices, X.indptr), shape=(1000, n_items))
    X.sum_duplicates()
    X.data[:] = 1
    ours = own_steps(MultVAE(n_items, (600,), 200), X, batch_size, steps) / steps
    print(f"{n_items:,} items, batches of {batch_size}: {X.nnz / X.shape[0]:.0f} clicks a user")
    print(f"{'loglik':28}{ours:8.2f} CPU s an update, {batch_size / ours:.0f} users/s")
    if recbole_class() is not None:
        theirs = recbole_steps(recbole_model(X, 600, 200, steps), 1000, batch_size, steps) / steps
        print(f"{'RecBole MultiVAE':28}{theirs:8.2f} CPU s an update {theirs / ours:5.2f}×")


def compare_fold_in(repeats: int = 5) -> None:
    X = sparse.csr_matrix((np.random.default_rng(0).random((500, 1400)) < 0.03).astype(np.float32))
    for factors in (20, 200):
        model = wmf(X, factors, 5.0, 5.0, n_iter=1)
        network = MultVAE(1400, (), factors)
        jobs = {
            "implicit (our WMF.fold_in)": lambda m=model: m.fold_in(X),
            "float64, batched": lambda m=model: wmf_half_step(m.item_factors, X, 5.0, 5.0),
            "Mult-VAE predict": lambda m=network: m.predict(X),
        }
        best = {name: min(timed(job) for _ in range(repeats)) / 500 * 1e6 for name, job in jobs.items()}
        base = best["implicit (our WMF.fold_in)"]
        print(
            f"new users, {factors} factors: "
            + "; ".join(f"{n} {t:.0f} µs ({t / base:.2f}×)" for n, t in best.items())
        )


def timed(work: Any) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=30, help="passes over the training users")
    parser.add_argument("--steps", type=int, default=5, help="updates at the width of MovieLens-20M")
    args = parser.parse_args()
    torch.manual_seed(0)
    compare_training(args.epochs)
    compare_width(args.steps)
    compare_fold_in()


if __name__ == "__main__":
    torch.set_num_threads(1)
    with threadpool_limits(1):
        main()
