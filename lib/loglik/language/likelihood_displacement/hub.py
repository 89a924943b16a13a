"""The paper's own data, fetched by ``huggingface_hub``: preference pairs, requests to refuse, and persona questions.

Everything is public but SORRY-Bench, whose terms have to be accepted first. Nothing fetched is executed: the files
are JSON lines and Parquet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ULTRAFEEDBACK = "HuggingFaceH4/ultrafeedback_binarized"
SORRY_BENCH = "sorry-bench/sorry-bench-202406"
PERSONAS = "Anthropic/model-written-evals"
OFFLINE = (
    "without a network, examples.verse_pairs makes pairs of real text and refusals.make_world a small world"
)
SEED = 548  # of the official draw of 5,000 pairs


def load_ultrafeedback(
    n: int | None = None, *, split: str = "train_prefs", rng: np.random.Generator | None = None
) -> list[dict[str, str]]:
    """Pairs of UltraFeedback, binarised: the data of the paper's Figure 2 (MIT licence).

    Parameters
    ----------
    n : int, optional
        So many pairs at random; the paper scores 5,000. Default: all of the split, 61,135 for training.
    split : {"train_prefs", "test_prefs"}
    rng : Generator, optional
        Of the draw; default: a fixed one.

    Returns
    -------
    list of dicts with keys prompt, chosen, rejected
        Of the first exchange; pairs with an empty or with two equal answers are left out.

    Raises
    ------
    ConnectionError
        When the files can't be fetched; names the offline alternative.
    ImportError
        When pandas has nothing to read Parquet with (``pyarrow`` or ``fastparquet``).
    ValueError
        For an unknown split.
    """
    files = [f for f in _files(ULTRAFEEDBACK) if f.startswith(f"data/{split}-") and f.endswith(".parquet")]
    if not files:
        raise ValueError(f"{ULTRAFEEDBACK} has no split {split!r}; the paper's is 'train_prefs'")
    table = pd.concat([_parquet(_fetch(ULTRAFEEDBACK, name)) for name in sorted(files)], ignore_index=True)
    order = np.arange(len(table))
    if n is not None:
        order = (rng or np.random.default_rng(SEED)).permutation(len(table))[:n]
    chosen, rejected = (table[side].tolist() for side in ("chosen", "rejected"))
    rows = [_row(chosen[i], rejected[i]) for i in order]
    return [row for row in rows if all(map(str.strip, row.values())) and row["chosen"] != row["rejected"]]


def load_sorry_bench() -> list[dict[str, str]]:
    """The unsafe requests of SORRY-Bench (June 2024): what the paper's models should refuse.

    Only the requests as they are; their paraphrases, in other files, are left out.

    Returns
    -------
    list of dicts with keys prompt, category

    Raises
    ------
    ConnectionError
        When the file can't be fetched; says that the terms have to be accepted, and the offline alternative.
    """
    rows = _json_lines(_fetch(SORRY_BENCH, "question.jsonl"))
    plain = [row for row in rows if row.get("prompt_style", "base") == "base"]
    return [{"prompt": row["turns"][0], "category": str(row["category"])} for row in plain]


def load_personas(name: str = "ends-justify-means") -> list[dict[str, str]]:
    """Questions about a persona, the paper's single prompts (CC BY 4.0).

    Returns
    -------
    list of dicts with keys question, agrees
        ``agrees`` is Yes or No: the answer of somebody who has the persona.

    Raises
    ------
    ConnectionError
        When the file can't be fetched; names the offline alternative.
    """
    rows = _json_lines(_fetch(PERSONAS, f"persona/{name}.jsonl"))
    return [{"question": row["question"], "agrees": row["answer_matching_behavior"].strip()} for row in rows]


def _row(chosen: Sequence[dict[str, str]], rejected: Sequence[dict[str, str]]) -> dict[str, str]:
    return {
        "prompt": chosen[0]["content"],
        "chosen": chosen[1]["content"],
        "rejected": rejected[1]["content"],
    }


def _json_lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]


def _parquet(path: str) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=["chosen", "rejected"])
    except ImportError as error:
        raise ImportError(
            f"{path} is a Parquet file, and pandas reads those with pyarrow or fastparquet; install either, or: "
            f"{OFFLINE}"
        ) from error


def _files(repository: str) -> list[str]:
    try:
        from huggingface_hub import HfApi

        return list(HfApi().list_repo_files(repository, repo_type="dataset"))
    except Exception as error:
        raise _unreachable(repository, error) from error


def _fetch(repository: str, name: str) -> str:
    try:
        from huggingface_hub import hf_hub_download

        return str(hf_hub_download(repository, name, repo_type="dataset"))
    except Exception as error:
        raise _unreachable(f"{name} of {repository}", error) from error


def _unreachable(what: str, error: Exception) -> ConnectionError:
    terms = "accept its terms on its page and log in (hf auth login); " if SORRY_BENCH in what else ""
    return ConnectionError(
        f"{what} could not be fetched by huggingface_hub ({type(error).__name__}: {error}); {terms}{OFFLINE}"
    )
