"""The study of single prompts on SmolLM2, made once and committed: ten minutes of CPU are too much for a notebook.

``python -m loglik.language.likelihood_displacement.scan`` makes ``single_prompts.json`` again; the chapter reads it
and repeats some of its runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from loglik.language.likelihood_displacement import prompts
from loglik.language.models import load_pretrained

FILE = Path(__file__).with_name("single_prompts.json")
SETTINGS = (
    ("yes or no", 4, 10),
    ("all words", 4, 10),
    ("all words", 16, 2),
)  # words taught first, in steps; most runs
RATE, STEPS = 1e-6, 25
PAPERS = (1e-7, 101)  # rate and steps of the paper
EACH = 4  # statements for each of the paper's pairs of words


def run_scan(words: str, warm: int, most: int, *, seed: int = 0) -> Iterator[dict[str, Any]]:
    """All runs of a setting, summarised, with the courses of both words.

    The eligible runs at our rate; after the words Yes and No, where the start is most like the paper's, one for each
    of its pairs also at its own rate.
    """
    model, tokenizer = load_pretrained("smollm2-135m")
    prompts.warm_up(model, tokenizer, words=words, steps=warm, seed=seed)
    start = prompts.start_probabilities(model, tokenizer)
    plans = [(RATE, STEPS, prompts.eligible(start, each=EACH, n=most))]
    if words == "yes or no":
        plans.append((*PAPERS, [run for run in prompts.eligible(start) if run[1:] in prompts.PAPER]))
    for lr, steps, runs in plans:
        for run in prompts.train_runs(model, tokenizer, tqdm(runs, unit="run"), steps=steps, lr=lr):
            yield {"words": words, "warm": warm, "lr": lr, "steps": steps} | described(run, model, tokenizer)


def described(run: prompts.Run, model: Any, tokenizer: Any) -> dict[str, Any]:
    """The summary of a run, T2's rank correlation ``order``, and the courses ``p`` (both words) and ``losses``."""
    courses = [run.probabilities[:, prompts.single_token(tokenizer, word)] for word in run[1:3]]
    row = prompts.summarise(run, tokenizer) | {"order": prompts.alignment_order(model, tokenizer, run)}
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
    return rounded | {
        "p": [[round(x, 4) for x in course.tolist()] for course in courses],
        "losses": [round(x, 4) for x in run.losses.tolist()],
    }


def load_scan(path: Path = FILE) -> pd.DataFrame:
    """The committed study: a row a run.

    Columns words and warm (what was taught before, and in how many steps), lr, steps, those of
    :func:`~loglik.language.likelihood_displacement.prompts.summarise`, order, p (courses of the preferred and of the
    dispreferred word's probability) and losses.
    """
    return pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))["runs"])


def repeat(runs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Make runs of one setting again and compare: columns chosen, rejected, steps, difference.

    ``difference`` is the largest between the stored and the new course of either word's probability. RMSprop's first
    steps are nearly signs of gradients, so other hardware may differ in the second digit.

    Raises
    ------
    ValueError
        For runs of more than one setting.
    """
    setting = runs[["words", "warm", "lr", "steps"]].drop_duplicates()
    if len(setting) != 1:
        raise ValueError(f"runs of one setting, please; these are of {len(setting)}")
    words, warm, lr, steps = setting.iloc[0].tolist()
    model, tokenizer = load_pretrained("smollm2-135m")
    prompts.warm_up(model, tokenizer, words=words, steps=int(warm), seed=seed)
    plan = list(runs[["statement", "chosen", "rejected"]].itertuples(index=False, name=None))
    rows = []
    for run, stored in zip(
        prompts.train_runs(model, tokenizer, plan, steps=int(steps), lr=lr), runs["p"], strict=True
    ):
        ids = [prompts.single_token(tokenizer, word) for word in run[1:3]]
        gap = (run.probabilities[:, ids].T - torch.tensor(stored)).abs().max()
        rows.append((run.chosen, run.rejected, int(steps), float(gap)))
    return pd.DataFrame(rows, columns=["chosen", "rejected", "steps", "difference"])


def by_pair(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a pair of words and setting: how many runs, their mean start, and the run of the largest fall."""
    keys = ["words", "warm", "lr", "chosen", "rejected"]
    worst = runs.loc[runs.groupby(keys, sort=False)["fall"].idxmax()]
    counts = runs.groupby(keys, sort=False)["start"].agg(runs="size", start="mean").reset_index()
    columns = ["fall", "end", "riser", "rise", "meaning", "opposite", "order"]
    return counts.merge(worst[[*keys, *columns]], on=keys)


def main() -> None:
    """Make the file again, saved after every run."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for words, warm, most in SETTINGS:
        for row in run_scan(words, warm, most):
            rows.append(row)
            head = {"torch": torch.__version__, "cpu_seconds": round(time.process_time())}
            lines = ",\n  ".join(json.dumps(row) for row in rows)
            FILE.write_text(f'{{"made": {json.dumps(head)},\n "runs": [\n  {lines}\n ]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
