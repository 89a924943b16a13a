"""Time language/llm_ood_ratio's hot path beside its peer: ``python bench/language/llm_ood_ratio.py``."""

import timeit

import numpy as np
from scipy import stats

from loglik.language import llm_ood_ratio

values = np.random.default_rng(0).normal(size=10_000)
ours = min(timeit.repeat(lambda: llm_ood_ratio.standard_error(values), number=100, repeat=5))
peer = min(timeit.repeat(lambda: stats.sem(values), number=100, repeat=5))
print(f"ours {ours:.4f} s, scipy.stats.sem {peer:.4f} s, ratio {peer / ours:.2f}")
