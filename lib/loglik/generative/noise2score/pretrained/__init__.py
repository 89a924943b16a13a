"""Networks of the longer training runs, which a notebook would wait for: every method of every family, one seed.

``CARD.md`` says what they were trained on, how and when. To make them again (about twenty CPU minutes)::

    python -m loglik.generative.noise2score.pretrained.make

The weights are stored as 16-bit floats, one file a family, and read back into 32 bits.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from loglik.generative.noise2score.study import METHODS, OUTPUTS, make_net

HERE = Path(__file__).resolve().parent
BLIND = "Noise2Score, blind"
LONGER = {  # also with more updates, named "…, longer"
    "gaussian": ("Noise2Score", "supervised"),
    "poisson": ("Noise2Score", "supervised"),
}
STEPS, LONGER_STEPS = 3000, 9000  # updates of each network


def names(family: str) -> tuple[str, ...]:
    """The networks of a family: its methods, "Noise2Score, blind", and those trained longer.

    Raises
    ------
    ValueError
        For an unknown family.
    """
    if family not in METHODS:
        raise ValueError(f"unknown family {family!r}; allowed: {', '.join(METHODS)}")
    return (*METHODS[family], BLIND, *(f"{name}, longer" for name in LONGER.get(family, ())))


def load_pretrained(family: str, name: str = BLIND) -> nn.Module:
    """A trained network, in evaluation mode.

    Parameters
    ----------
    family : {"gaussian", "poisson", "gamma"}
        At σ = 25/255, ζ = 0.05 or k = 50; the blind one over σ in [20, 55]/255, ζ in [0.005, 0.1], k in [40, 120].
    name : str
        One of :func:`names`.

    Returns
    -------
    DnCNN
        Grey images; its output is a score for "Noise2Score", else what
        :func:`~loglik.generative.noise2score.study.apply_method` makes an image of.

    Raises
    ------
    ValueError
        For an unknown family or network.
    """
    if name not in names(family):
        raise ValueError(f"no network {name!r} for {family} noise; there are {', '.join(names(family))}")
    from safetensors.torch import load_file

    net = make_net(OUTPUTS[name.partition(",")[0]])
    stored = load_file(str(HERE / f"{family}.safetensors"))
    prefix = f"{name}/"
    state = {k.removeprefix(prefix): v.float() for k, v in stored.items() if k.startswith(prefix)}
    net.load_state_dict(state)
    with torch.no_grad():
        return net.eval()
