"""How to fine-tune on preferences: the paper's three axes and the budget."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("pref-ft", "best-of-n", "rwr", "dpo", "ipo", "reinforce", "reinforce-nonneg", "ppo")
PAIRWISE = ("pref-ft", "best-of-n", "dpo", "ipo")


@dataclass(frozen=True)
class PFTConfig:
    """One arm of the paper's generic loop.

    Attributes
    ----------
    method : str
        One of ``METHODS``.
    on_policy : bool
        Whether answers are drawn from the current policy again and again, or from the reference once. Policy
        gradients need True.
    budget : int
        Answers that may be drawn and labelled in all, D.
    batch : int
        Answers of one refresh, B. Offline, all of the budget is drawn at once and `batch` is D.
    inner_steps : int
        Gradient steps on each refresh, T.
    n_per_prompt : int
        Answers to a prompt, N.
    minibatch : int
        Answers of a gradient step (at most `batch`).
    lr : float
        Of Adam.
    beta : float
        Strength of DPO or IPO, temperature of RWR, weight of the KL term of policy gradients.

    Raises
    ------
    ValueError
        For an unknown method, an offline policy gradient, one answer a prompt with a loss that compares answers, a
        budget that isn't a multiple of the batch, a batch that isn't one of the prompts' answers, or a size, rate or
        beta of zero or less.
    """

    method: str = "dpo"
    on_policy: bool = True
    budget: int = 2000
    batch: int = 100
    inner_steps: int = 10
    n_per_prompt: int = 10
    minibatch: int = 100
    lr: float = 0.1
    beta: float = 0.1

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"no method {self.method!r}; there are {', '.join(METHODS)}")
        if self.method.startswith(("reinforce", "ppo")) and not self.on_policy:
            raise ValueError(f"{self.method} needs answers of the current policy: on_policy must be True")
        for name in ("budget", "batch", "inner_steps", "n_per_prompt", "minibatch", "lr", "beta"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.n_per_prompt < 2 and self.method in PAIRWISE:
            raise ValueError(f"{self.method} compares answers: n_per_prompt must be at least 2")
        if not self.on_policy:
            object.__setattr__(self, "batch", self.budget)
        if self.budget % self.batch:
            raise ValueError(f"budget {self.budget} is not a multiple of batch {self.batch}")
        object.__setattr__(self, "minibatch", min(self.minibatch, self.batch))
        if self.batch % self.n_per_prompt or self.minibatch % self.n_per_prompt:
            raise ValueError(
                f"batch {self.batch} and minibatch {self.minibatch} must be multiples of "
                f"n_per_prompt {self.n_per_prompt}"
            )

    @property
    def refreshes(self) -> int:
        """How often answers are drawn, D / B."""
        return self.budget // self.batch

    @property
    def gradient_steps(self) -> int:
        """D / B times T."""
        return self.refreshes * self.inner_steps
