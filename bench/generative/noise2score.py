"""Time generative/noise2score's hot path beside its peer: ``python bench/generative/noise2score.py``."""

import timeit

import numpy as np
from scipy import stats

from loglik.generative import noise2score

values = np.random.default_rng(0).normal(size=10_000)
ours = min(timeit.repeat(lambda: noise2score.standard_error(values), number=100, repeat=5))
peer = min(timeit.repeat(lambda: stats.sem(values), number=100, repeat=5))
print(f"ours {ours:.4f} s, scipy.stats.sem {peer:.4f} s, ratio {peer / ours:.2f}")
