"""Time language/on_policy_preferences's hot path beside its peer: ``python bench/language/on_policy_preferences.py``."""

import timeit

import numpy as np
from scipy import stats

from loglik.language import on_policy_preferences

values = np.random.default_rng(0).normal(size=10_000)
ours = min(timeit.repeat(lambda: on_policy_preferences.standard_error(values), number=100, repeat=5))
peer = min(timeit.repeat(lambda: stats.sem(values), number=100, repeat=5))
print(f"ours {ours:.4f} s, scipy.stats.sem {peer:.4f} s, ratio {peer / ours:.2f}")
