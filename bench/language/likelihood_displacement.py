"""Score pairs in batches of similar length beside one pair at a time, as the official script does.

``python bench/language/likelihood_displacement.py``
"""

import time

import numpy as np
import torch

from loglik.language.likelihood_displacement.pairs import Pair
from loglik.language.likelihood_displacement.scores import ches_scores
from loglik.language.models import tiny_llama

torch.set_num_threads(1)
rng = np.random.default_rng(0)


def text(low, high):
    """Random ids."""
    return rng.integers(3, 1000, size=int(rng.integers(low, high))).tolist()


@torch.inference_mode()
def one_at_a_time(model, pairs):
    """The peer: two passes a pair, logits at all positions, as the official script has them."""
    found = []
    for pair in pairs:
        sums = []
        for answer in (pair.chosen, pair.rejected):
            ids = torch.tensor([[*pair.prompt, *answer]])
            hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
            sums.append(hidden[len(pair.prompt) - 1 : -1].sum(0))
        found.append(float((sums[0] * sums[1]).sum() - sums[0].square().sum()))
    return np.array(found)


model = tiny_llama(1024, d_model=64, n_layers=2, max_len=128).eval()
pairs = [Pair(text(4, 24), text(4, 40), text(4, 40)) for _ in range(512)]
times = {"ours": [], "peer": []}
for _ in range(3):
    for name, run in (("ours", ches_scores), ("peer", one_at_a_time)):
        start = time.process_time()
        result = run(model, pairs)
        times[name].append(time.process_time() - start)
        if name == "ours":
            ours = result["ches"].to_numpy()
np.testing.assert_allclose(ours, result, rtol=1e-3, atol=1e-2)
fast, slow = (min(times[name]) for name in ("ours", "peer"))
print(f"512 pairs: ours {fast:.2f} s CPU, one pair at a time {slow:.2f} s CPU, ratio {slow / fast:.1f}")
