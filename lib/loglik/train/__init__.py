"""Training on one CPU, one GPU or many, resumable to the bit.

>>> from loglik.train import TrainConfig, fit
>>> log = fit(model, loss_fn, data, TrainConfig(steps=1000, batch_size=64))  # doctest: +SKIP

The loop is :func:`fit` (``loop.py``), to be read from top to bottom. Around it: who trains (``context``), on what in
which order (``order``), at which rate (``schedule``), what is kept (``checkpoint``, ``state``, ``ema``), what is said
(``meter``). Each part works without the loop.
"""

from loglik.train.callbacks import KeepBest, StopOnSignal
from loglik.train.checkpoint import CheckpointError
from loglik.train.config import TrainConfig
from loglik.train.context import Context, all_reduce_sum, distributed_context, shard, wrap
from loglik.train.ema import EMA
from loglik.train.loop import fit, to_device
from loglik.train.meter import NonFiniteError, model_flops
from loglik.train.optimizer import parameter_groups, rescale_gradients
from loglik.train.order import Columns, Data, Examples, OrderedSampler, split
from loglik.train.run import Run, TrainLog
from loglik.train.schedule import learning_rate_factor
from loglik.train.state import load_weights, save_weights

__all__ = [
    "EMA",
    "CheckpointError",
    "Columns",
    "Context",
    "Data",
    "Examples",
    "KeepBest",
    "NonFiniteError",
    "OrderedSampler",
    "Run",
    "StopOnSignal",
    "TrainConfig",
    "TrainLog",
    "all_reduce_sum",
    "distributed_context",
    "fit",
    "learning_rate_factor",
    "load_weights",
    "model_flops",
    "parameter_groups",
    "rescale_gradients",
    "save_weights",
    "shard",
    "split",
    "to_device",
    "wrap",
]
