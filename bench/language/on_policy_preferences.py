"""Time language/on_policy_preferences's hot path beside its peer: ``python bench/language/on_policy_preferences.py``.

The tabular bandit: on-policy DPO, 2,000 answers, 200 gradient steps, a grid of learning rates, betas and seeds. Ours
runs them all in one tensor program; the peer is the official script's way, one run after the other with torch's
Adam and a loop over single prompts, at the same samples and steps. It is written here anew, since the script trains
an MLP; `--runs` says how many runs ours stacks. One thread.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.nn import functional as F

from loglik.language.on_policy_preferences import PFTConfig, PreferenceBandit, fine_tune_bandit


def one_by_one(bandit: PreferenceBandit, cfg: PFTConfig, seed: int) -> float:
    """One run with a loop over prompts, as the official script does it; returns the final reward."""
    g = torch.Generator().manual_seed(seed)
    logits = bandit.ref_logits.float().requires_grad_()
    ref = bandit.ref_logits.float()
    adam = torch.optim.Adam([logits], lr=cfg.lr)
    where = torch.arange(bandit.n_tokens)
    for _ in range(cfg.refreshes):
        with torch.no_grad():
            answers = torch.multinomial(logits.softmax(-1), cfg.batch, True, generator=g).T
            rewards = bandit.reward(answers)
        for _ in range(cfg.inner_steps):
            loss, pairs = torch.zeros(()), 0
            logp = logits.log_softmax(-1)
            for start in range(0, cfg.batch, cfg.n_per_prompt):
                group, r = (
                    answers[start : start + cfg.n_per_prompt],
                    rewards[start : start + cfg.n_per_prompt],
                )
                h = (logp[where, group] - ref[where, group]).sum(1)
                better = r[:, None] > r[None, :]
                loss = loss - (F.logsigmoid(cfg.beta * (h[:, None] - h[None, :])) * better).sum()
                pairs += int(better.sum())
            adam.zero_grad()
            (loss / pairs).backward()
            adam.step()
    return float(bandit.exact_reward(logits.detach()))


def main() -> None:
    """Time both and print seconds a run and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--peer-runs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bandit, cfg = PreferenceBandit(), PFTConfig("dpo", lr=0.1, beta=0.3)
    fine_tune_bandit(bandit, cfg, seeds=[0], looks=1)
    one_by_one(bandit, PFTConfig("dpo", budget=100), 0)
    start = time.process_time()
    ours = fine_tune_bandit(bandit, cfg, seeds=range(options.runs), looks=1).reward[:, -1].mean()
    a = (time.process_time() - start) / options.runs
    start = time.process_time()
    peer = sum(one_by_one(bandit, cfg, seed) for seed in range(options.peer_runs)) / options.peer_runs
    b = (time.process_time() - start) / options.peer_runs
    print(f"mean reward: ours {ours:.3f}, one by one {peer:.3f}")
    print(f"CPU seconds a run: ours {a:.4f} ({options.runs} stacked), one by one {b:.3f}, ratio {b / a:.1f}")


if __name__ == "__main__":
    main()
