"""Preference fine-tuning by its three axes: fresh samples, their reuse, and pushing bad answers down.

What Fahim Tajwar, Anikait Singh, Archit Sharma, Rafael Rafailov, Jeff Schneider, Tengyang Xie, Stefano Ermon,
Chelsea Finn and Aviral Kumar (2024) compare: exact bandits (``bandit``, ``tabular``), the missing losses
(``losses``), the generic loop on causal models (``sequence``), length problems on real text (``lengths``), and why it
comes out so (``theory``).
"""

from loglik.language.on_policy_preferences.bandit import (
    PreferenceBandit,
    cauchy_reference,
    peak_rewards,
    read_bandit,
)
from loglik.language.on_policy_preferences.config import METHODS, PFTConfig
from loglik.language.on_policy_preferences.tabular import Runs, fine_tune_bandit

__all__ = [
    "METHODS",
    "PFTConfig",
    "PreferenceBandit",
    "Runs",
    "cauchy_reference",
    "fine_tune_bandit",
    "peak_rewards",
    "read_bandit",
]
