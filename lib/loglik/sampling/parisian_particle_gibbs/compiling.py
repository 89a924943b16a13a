"""How hard XLA should think: small jobs take longer to compile than to run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

SMALL = 20_000_000  # pairs of particles: below it the quickest compilation wins, measured on one CPU core


@functools.cache
def effort(level: int) -> dict[str, Any]:
    """XLA's options for a CPU at optimisation `level`; none elsewhere, or where this XLA doesn't know them.

    Its newer emitters of fused loops are left out: they take most of the compilation and make the sweep at
    best a fifth faster.
    """
    if jax.default_backend() != "cpu":
        return {}
    options = {"xla_backend_optimization_level": level, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(0.0)
    except (RuntimeError, TypeError):  # an option came or went with a version of XLA
        return {}
    return options


def compile_once(function: Callable[..., Any], *static: str) -> Callable[[float], Callable[..., Any]]:
    """``jit`` with two levels of effort; the result takes the work ahead, in pairs of particles.

    On a CPU, level 0 compiles the sweep in a tenth of the default's time and runs four times slower, level 1 in
    a third of the time and hardly slower.
    """

    @functools.cache
    def at(level: int) -> Callable[..., Any]:
        compiled: Callable[..., Any] = jax.jit(
            function, static_argnames=static, compiler_options=effort(level) or None
        )
        return compiled

    return lambda work: at(0 if work < SMALL else 1)
