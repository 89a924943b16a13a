"""The small base model that the language chapters share, and its tokenizer.

A Llama of 0.9 million parameters, trained from scratch on four fifths of each of the corpora by
:mod:`loglik.language.base.pretrain`; ``CARD.md`` has its course and what it can and cannot do. The documents that it
never saw are those of :func:`loglik.language.corpora.held_out`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loglik.language import models

HERE = Path(__file__).resolve().parent
NAME = "loglik-base"


def load_base(device: str = "cpu") -> tuple[Any, Any]:
    """The base model, in evaluation mode, and its tokenizer.

    Returns
    -------
    (LlamaForCausalLM, PreTrainedTokenizerFast)
        Vocabulary 1,024, width 128, 3 blocks, context 128 tokens, untied output matrix.
    """
    return models.load_pretrained(str(HERE), device=device)
