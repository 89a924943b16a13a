"""AdamW that decays matrices only, and the one place where gradients are divided and clipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Groups = list[dict[str, Any]]
MakeOptimizer = Callable[[Groups], torch.optim.Optimizer]


def parameter_groups(model: nn.Module, weight_decay: float) -> Groups:
    """Trainable parameters in two groups: matrices and kernels, which decay, and all others, which don't.

    Without decay one group, which costs an optimiser less.

    Norms, biases and embeddings don't decay; a matrix that is tied to an embedding is an embedding.

    Raises
    ------
    ValueError
        When nothing is trainable.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("the model has no parameter with requires_grad=True: there is nothing to train")
    if not weight_decay:
        return [{"params": trainable, "weight_decay": 0.0}]
    matrices = [p for p in trainable if p.ndim >= 2 and id(p) not in embeddings]
    chosen = {id(p) for p in matrices}
    rest = [p for p in trainable if id(p) not in chosen]
    groups: Groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def rescale_gradients(parameters: list[nn.Parameter], scale: Tensor, clip: float | None) -> Tensor:
    """Multiply all gradients by `scale` and cut their norm at `clip`, in one pass; the norm before the cut.

    Parameters
    ----------
    parameters : list of nn.Parameter
    scale : Tensor, scalar
        World size over the global number of units: what makes a mean over processes of sums a mean over units.
    clip : float or None
        Largest norm of the whole gradient.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if hasattr(norm, "full_tensor"):
        norm = norm.full_tensor()
    norm = norm * scale
    if clip is not None:
        scale = scale * (clip / norm).clamp(max=1.0)
    torch._foreach_mul_(gradients, scale.to(gradients[0].dtype))
    return norm
