"""Text to token ids and back: a byte-level BPE that is trained here, and batches of ragged texts.

``tokenizers`` does the work. Training is deterministic: the texts are sorted first, and ties between merges are
broken by the library in the order of the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, MASK = "<pad>", "<bos>", "<eos>", "<mask>"


class TokenBatch(NamedTuple):
    """Texts as a rectangle of ids."""

    ids: Tensor  # (N, T) int64, padded on the right
    mask: Tensor  # (N, T) bool, True where there is a token

    @property
    def lengths(self) -> Tensor:
        """Number of tokens of each text, (N,)."""
        return self.mask.sum(1)


def train_bpe(
    texts: Iterable[str], vocab_size: int, *, special_tokens: Sequence[str] = (PAD, BOS, EOS, MASK)
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE: any text can be encoded, whatever its characters.

    Parameters
    ----------
    texts : iterable of str
        Their order makes no difference.
    vocab_size : int
        Types in all: 256 bytes, the special tokens, and as many merges as fit.
    special_tokens : sequence of str
        They get the lowest ids. Those named ``<pad>``, ``<bos>``, ``<eos>`` and ``<mask>`` become the tokenizer's own.

    Raises
    ------
    ValueError
        When `vocab_size` leaves no room for all bytes.
    """
    smallest = 256 + len(special_tokens)
    if vocab_size < smallest:
        raise ValueError(
            f"vocab_size must be at least {smallest} (256 bytes and the special tokens), got {vocab_size}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(texts), trainer)
    roles = {PAD: "pad_token", BOS: "bos_token", EOS: "eos_token", MASK: "mask_token"}
    named = {roles[token]: token for token in special_tokens if token in roles}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **named)


def encode(
    tokenizer: Any, texts: Sequence[str], *, max_len: int | None = None, bos: bool = True, eos: bool = True
) -> TokenBatch:
    """Encode texts, with a beginning to condition on and an end to predict.

    Parameters
    ----------
    tokenizer : tokenizer of `transformers`
        Where it has no ``<bos>``, its end-of-text token begins a text too (as GPT-like models do it).
    texts : sequence of str
    max_len : int, optional
        Longest row in tokens, special tokens included; longer texts are cut and then have no ``<eos>``.
    bos, eos : bool
        Whether to add the special tokens.

    Raises
    ------
    ValueError
        For no texts, for an empty text (with its index), or a tokenizer that lacks a token asked for.
    """
    if not len(texts):
        raise ValueError("no texts to encode")
    start = _special(tokenizer, "bos_token_id", "eos_token_id") if bos else []
    end = _special(tokenizer, "eos_token_id") if eos else []
    rows = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    empty = [i for i, row in enumerate(rows) if not row]
    if empty:
        raise ValueError(f"text {empty[0]} is empty ({len(empty)} of {len(rows)} are)")
    return pad([(start + row + end)[:max_len] for row in rows], pad_id=pad_id(tokenizer))


def pad(rows: Sequence[Sequence[int]], *, pad_id: int, left: bool = False) -> TokenBatch:
    """Rows of ids as a rectangle, padded on the right (or on the left, as generation wants it)."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(len(row))
        ids[i, place] = torch.as_tensor(row, dtype=torch.long)
        mask[i, place] = True
    return TokenBatch(ids, mask)


def pack(tokenizer: Any, texts: Iterable[str], block: int) -> Tensor:
    """Texts end to end, cut into blocks: no padding, so pretraining wastes nothing.

    Parameters
    ----------
    tokenizer : tokenizer with ``<bos>`` and ``<eos>``
    texts : iterable of str
    block : int
        Tokens of a row.

    Returns
    -------
    Tensor of shape (M, block), int64
        What doesn't fill the last row is left out.
    """
    rows = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    stream = torch.tensor([i for row in rows for i in (start, *row, end)], dtype=torch.long)
    return stream[: len(stream) // block * block].reshape(-1, block)


def decode(tokenizer: Any, batch: TokenBatch) -> list[str]:
    """Texts without special tokens."""
    rows = [ids[mask].tolist() for ids, mask in zip(batch.ids, batch.mask, strict=True)]
    return [tokenizer.decode(row, skip_special_tokens=True) for row in rows]


def pad_id(tokenizer: Any) -> int:
    """Id that fills up a rectangle: the tokenizer's own, else that of its end of text (masked out anyway)."""
    return next(i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if i is not None)


def _special(tokenizer: Any, *names: str) -> list[int]:
    found = [i for i in (getattr(tokenizer, name) for name in names) if i is not None]
    if not found:
        raise ValueError(f"this tokenizer has no {' or '.join(names)}; pass bos=False or eos=False")
    return found[:1]
