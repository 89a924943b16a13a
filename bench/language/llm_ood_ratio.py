"""Batched scoring of both models beside the released code's way: ``python bench/language/llm_ood_ratio.py``.

The peer scores one text at a time with the models' own loss. One thread, 1000 texts of mixed kinds, same weights; CPU seconds.
"""

import copy
import time

import numpy as np
import torch

from loglik.language import tokens
from loglik.language.base import load_base
from loglik.language.llm_ood_ratio import data, log_likelihoods

torch.set_num_threads(1)
parent, tokenizer = load_base()
child = copy.deepcopy(parent)
with torch.no_grad():
    child.lm_head.weight.mul_(1.1)
texts = [doc.text for pool in data.load_pools().values() for doc in pool.test][:1000]
batch = tokens.encode(tokenizer, texts, max_len=64)


def one_at_a_time() -> np.ndarray:
    """Mean loss times number of predicted tokens, text by text."""
    out = []
    with torch.inference_mode():
        for ids, length in zip(batch.ids, batch.lengths.tolist(), strict=True):
            row = ids[None, :length]
            out.append([-float(m(input_ids=row, labels=row).loss) * (length - 1) for m in (parent, child)])
    return np.array(out).T


def timed(function):
    """Result and CPU seconds, the better of two runs."""
    best = float("inf")
    for _ in range(2):
        start = time.process_time()
        result = function()
        best = min(best, time.process_time() - start)
    return result, best


ours, fast = timed(lambda: log_likelihoods(parent, child, batch))
theirs, slow = timed(one_at_a_time)
apart = np.abs(np.array(ours[:2]) - theirs).max() / np.abs(theirs).mean()
print(
    f"{len(texts)} texts: ours {fast:.2f} s, one at a time {slow:.2f} s, ratio {slow / fast:.1f}, apart {apart:.1e}"
)
