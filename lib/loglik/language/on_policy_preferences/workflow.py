"""What the apply notebook does: the reader's bandit, its geometry, and which family of methods wins on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from loglik.language.on_policy_preferences.bandit import PreferenceBandit, read_bandit
from loglik.language.on_policy_preferences.real import TABLE
from loglik.language.on_policy_preferences.study import BanditStudy
from loglik.stats import intervals

#: One row a family: which axes it uses.
FAMILIES = {
    "imitation, offline": ("offline pref-ft", "offline best-of-n", "offline rwr"),
    "contrast, offline": ("offline dpo", "offline ipo"),
    "imitation, on-policy": ("on-policy best-of-n", "on-policy rwr", "on-policy reinforce-nonneg"),
    "negative gradient, on-policy": (
        "on-policy dpo",
        "on-policy ipo",
        "on-policy reinforce",
        "on-policy ppo",
    ),
}

_SAYS = (
    {True: "likely: offline imitation can do", False: "unlikely: fresh samples and negative gradients pay"},
    {True: "imitation has something to copy", False: "nothing whole to copy: parts must be combined"},
    {
        True: "seen often enough to learn from",
        False: "hardly ever seen: no method can tell; raise the budget",
    },
    {True: "worth the effort", False: "the reference is nearly best"},
)


def load(data: str, n_tokens: int) -> tuple[PreferenceBandit, pd.DataFrame]:
    """The reader's bandit, or SmolLM2's next tokens for an empty `data`."""
    return read_bandit(data or TABLE, n_tokens=n_tokens)


def geometry(bandit: PreferenceBandit, budget: int, *, share: float = 0.9) -> pd.DataFrame:
    """What decides which family wins, with a threshold for each: columns quantity, value, says.

    Parameters
    ----------
    bandit : PreferenceBandit
    budget : int
        Answers that may be labelled.
    share : float
        A token is good when its reward exceeds the lowest by this share of the range.
    """
    p, r = bandit.ref_logp.exp().numpy(), bandit.rewards.numpy()
    near = bandit.mass_near_peak(share)
    whole = near**bandit.n_tokens * budget
    good = r >= r.min() + share * (r.max() - r.min())
    rarest = float(p[good].max()) * budget * bandit.n_tokens
    headroom = float((r.max() - p @ r) / (r.max() - r.min()))
    rows = [
        ("reference's mass on good tokens", near, near > 0.3),
        ("whole good answers expected in the budget", whole, whole >= 10),
        ("samples of the likeliest good token", rarest, rarest >= 30),
        ("room above the reference, share of the range", headroom, headroom > 0.1),
    ]
    return pd.DataFrame([(what, value, says[fine]) for (what, value, fine), says in zip(rows, _SAYS, strict=True)],
                        columns=["quantity", "value", "says"])  # fmt: skip


def family_table(study: BanditStudy) -> pd.DataFrame:
    """Each family's best tuned arm: reward with a 95 % interval, KL, and the share of seeds in which it wins.

    The arm of a family is chosen on the tuning seeds, so the reported ones are no part of the choice.
    """
    chosen = study.grid.groupby("method").reward.max()
    arms = {
        name: max((a for a in members if a in chosen), key=lambda a: float(chosen[a]))
        for name, members in FAMILIES.items()
    }
    wide = study.final.pivot(index="seed", columns="method", values="reward")[list(arms.values())]  # noqa: PD010
    winners = wide.idxmax(axis=1)
    rows = []
    for family, arm in arms.items():
        found = intervals.mean(wide[arm])
        kl = study.final[study.final.method == arm].kl.mean()
        rows.append((family, arm, found.value, found.low, found.high, kl, float((winners == arm).mean())))
    return pd.DataFrame(rows, columns=["family", "arm", "reward", "low", "high", "kl", "wins"])


def verdict(table: pd.DataFrame, worth: float, span: float) -> str:
    """The cheapest family that is within `worth` (a share of the rewards' range) of the best, in words.

    Families are ordered by what they cost: offline ones need one round of labels, on-policy ones a loop.
    """
    best = table.reward.max()
    enough = table[table.reward >= best - worth * span].iloc[0]
    top = table.iloc[int(table.reward.argmax())]
    if enough.family == top.family:
        return f"{top.family} wins ({top.arm}), and no cheaper family comes within {worth:.0%} of the range."
    return (
        f"{enough.family} is enough ({enough.arm}): within {worth:.0%} of the range of the winner, "
        f"{top.family} ({top.arm})."
    )


def load_preferences(path: str | Path) -> pd.DataFrame:
    """Preference pairs of AlpacaFarm's or UltraFeedback's kind from a JSONL file of the reader's.

    Returns
    -------
    DataFrame
        Columns prompt, chosen and rejected: text.

    Raises
    ------
    FileNotFoundError
        Without the file; says where it comes from and what runs without it.
    ValueError
        For a line that isn't an object with the three texts.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"no {file}: export tatsu-lab/alpaca_farm or HuggingFaceH4/ultrafeedback_binarized as JSON lines with "
            "prompt, chosen and rejected; without them the length problems on the King James Bible stand in"
        )
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]
    names = ("prompt", "chosen", "rejected")
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in names):
            raise ValueError(f"{file.name}, line {i + 1}: want an object with the texts {', '.join(names)}")
    return pd.DataFrame(rows, columns=list(names))


def tilted_table(bandit: PreferenceBandit, table: pd.DataFrame, beta: float) -> pd.DataFrame:
    """The reader's table with the optimum at `beta` beside the reference: column best_prob."""
    return table.assign(best_prob=np.exp(bandit.tilted(beta).numpy()))
