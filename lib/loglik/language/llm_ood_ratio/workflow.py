"""A file of texts and two checkpoints in; scores, a threshold and flags out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from loglik.language import tokens
from loglik.language.base import load_base
from loglik.language.llm_ood_ratio import data, metrics
from loglik.language.llm_ood_ratio.detector import LikelihoodRatioDetector, conformal_threshold
from loglik.language.llm_ood_ratio.study import draw
from loglik.language.llm_ood_ratio.tuning import finetune
from loglik.language.models import load_pretrained

BASE = "loglik-base"


class Table(NamedTuple):
    """Texts, and for each whether it is of the known kind, where that is given."""

    texts: list[str]
    kind: list[str] | None


def read_texts(path: str, column: str = "text", kind_column: str = "") -> Table:
    """Texts of a CSV file with a column of them, or of a plain file with one a line.

    Parameters
    ----------
    path : str
        File or URL; a name ending in ``.csv`` is read as CSV.
    column : str
        Column of the texts.
    kind_column : str
        Column that says what each text is, for a table by kind; empty: none.

    Raises
    ------
    ValueError
        For a column that isn't there, or an empty text (with its line).
    """
    if path.lower().endswith(".csv"):
        frame = pd.read_csv(path)
        for name in filter(None, (column, kind_column)):
            if name not in frame:
                raise ValueError(
                    f"{path} has no column {name!r}; it has {', '.join(map(str, frame.columns))}"
                )
        texts = frame[column].fillna("").astype(str).tolist()
        kind = frame[kind_column].astype(str).tolist() if kind_column else None
    else:
        texts, kind = Path(path).read_text(encoding="utf-8").splitlines(), None
    empty = [i for i, text in enumerate(texts) if not text.strip()]
    if empty or not texts:
        raise ValueError(
            f"{path}: text {empty[0] + 1 if empty else 0} is empty ({len(empty)} are); take it out"
        )
    return Table(texts, kind)


def example(n: int, rng: np.random.Generator, known: str = "ham") -> tuple[Table, list[str], list[str]]:
    """Mails, spam and other texts to be judged, with known texts to fine-tune on and to calibrate with.

    Returns
    -------
    (Table, list of str, list of str)
        Texts to judge (`n` of each kind, none seen by a model), texts to fine-tune on, calibration texts.
    """
    pools = data.load_pools(200)
    kinds = (known, "spam", "gospels", "austen", "python")
    rows = [(doc.text, kind) for kind in kinds for doc in pools[kind].test[:n]]
    order = rng.permutation(len(rows))
    lessons, calibration = pools[known].train[:400], pools[known].train[400:]
    table = Table([rows[i][0] for i in order], [rows[i][1] for i in order])
    return table, data.texts(lessons), data.texts(calibration)


def load_pair(
    parent: str, child: str, lessons: list[str] | None, *, epochs: float, seed: int, max_len: int
) -> tuple[Any, Any, Any]:
    """Parent, child and tokenizer: from checkpoints, or the child made on the spot.

    Parameters
    ----------
    parent : str
        ``"loglik-base"``, a local folder, a hub name, or ``"smollm2-135m"``.
    child : str
        A folder or name; empty: fine-tune the parent on `lessons`.
    lessons : list of str or None
    epochs, seed, max_len
        Of the fine-tuning.

    Raises
    ------
    ValueError
        When there is neither a child nor a text to make one from.
    """
    first, tokenizer = load_base() if parent == BASE else load_pretrained(parent)
    if child:
        return first, load_pretrained(child)[0], tokenizer
    if not lessons:
        raise ValueError("give a fine-tuned child, or known texts to fine-tune the parent on")
    train, validation = draw(
        [data.Doc(text, "", "", "") for text in lessons], len(lessons), seed, tokenizer, max_len
    )
    made = finetune(
        first, train, validation=validation, epochs=epochs, lr=1e-3 if parent == BASE else 1e-4, seed=seed
    )
    return first, made.model, tokenizer


def judge(detector: LikelihoodRatioDetector, table: Table) -> pd.DataFrame:
    """One row a text: every score, the flag, and the file's kind where given; in the file's order."""
    frame = pd.DataFrame(detector.scores(table.texts))
    frame.insert(0, "flagged", frame["NLR" if detector.normalize else "LR"] > detector.threshold_)
    if table.kind is not None:
        frame.insert(0, "kind", table.kind)
    return frame.assign(text=table.texts)


def check_assumptions(
    detector: LikelihoodRatioDetector, calibration: list[str], table: Table, lessons: list[str] | None
) -> pd.DataFrame:
    """Whether this data meets what the method assumes: a row each, with what to do where it doesn't."""
    found = detector.scores(calibration)
    known = tokens.encode(detector.tokenizer, calibration, max_len=detector.max_len)
    new = tokens.encode(detector.tokenizer, table.texts, max_len=detector.max_len)
    gain = stats.ttest_1samp(-found["NLR"], 0, alternative="greater").pvalue
    short = float((new.lengths < 8).float().mean())
    cut = float((known.lengths >= detector.max_len).float().mean())
    shared = len(
        set(map(data.near_copy_key, lessons or [])) & set(map(data.near_copy_key, calibration + table.texts))
    )
    matched = metrics.length_matched(known.lengths.numpy(), new.lengths.numpy())[0]
    gained = f"{-found['NLR'].mean():+.3f} nats a token, p = {gain:.1g}"
    enough = len(matched) > 0.25 * min(len(known.ids), len(new.ids))
    facts: list[tuple[str, bool, str, str]] = [
        ("the child knows fresh known texts better than its parent", bool(gain < 0.01), gained,
         "fine-tune longer, or on more texts: without that gain the ratio is noise"),
        ("no text to judge or calibrate with was trained on", shared == 0, f"{shared} near copies",
         "take them out: the threshold would be too low"),
        ("texts are long enough to judge", short < 0.05, f"{short:.0%} have fewer than 8 tokens",
         "distrust flags on very short texts"),
        ("known and new texts overlap in length", enough, f"{len(matched)} matched pairs",
         "a threshold from long texts is loose for short ones: calibrate with texts like those to judge"),
        ("few texts are cut", cut < 0.5, f"{cut:.0%} of known texts reach {detector.max_len} tokens",
         "what follows the cut isn't judged; raise max_len"),
    ]  # fmt: skip
    return pd.DataFrame(facts, columns=["assumption", "holds", "seen", "then"])


def gather(
    texts: str, known: str, *, column: str, kind: str, child: str, n_example: int, rng: np.random.Generator
) -> tuple[Table, list[str], list[str]]:
    """Texts to judge, texts to fine-tune on (none where a child is given), and calibration texts.

    Parameters
    ----------
    texts, known : str
        Files, see :func:`read_texts`; both empty: the example.
    column, kind : str
    child : str
        Without one, half of the known texts are for fine-tuning.
    n_example : int
        Texts of each kind in the example.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        When only one of the two files is given, or a child without files: a threshold needs texts that it knows.
    """
    if not texts and not known and not child:
        return example(n_example, rng)
    if not texts or not known:
        raise ValueError(
            "give both texts (to judge) and known (fresh texts of the kind that the child was tuned on); "
            f"got texts={texts!r}, known={known!r}"
        )
    table, fresh = read_texts(texts, column, kind), read_texts(known, column).texts
    fresh = [fresh[i] for i in rng.permutation(len(fresh))]
    half = 0 if child else len(fresh) // 2
    return table, fresh[:half], fresh[half:]


def report(
    detector: LikelihoodRatioDetector, frame: pd.DataFrame, calibration: list[str], fpr: float
) -> pd.DataFrame:
    """Share of flagged texts by kind with 95 % Clopper-Pearson intervals, beside what the likelihood would flag.

    Parameters
    ----------
    detector : LikelihoodRatioDetector
    frame : DataFrame of :func:`judge`
        Without a column ``kind``: one row for all texts.
    calibration : list of str
    fpr : float
    """
    limit = conformal_threshold(detector.scores(calibration)["LH"], fpr)
    kinds = frame["kind"] if "kind" in frame else pd.Series("all texts", index=frame.index)
    by_ratio, by_likelihood = (
        frame.flagged.groupby(kinds, sort=True),
        (limit < frame.LH).groupby(kinds, sort=True),
    )
    counts = by_ratio.agg(["size", "sum"])
    ends = [stats.binomtest(int(k), int(n)).proportion_ci() for n, k in counts.itertuples(index=False)]
    columns = {
        "texts": counts["size"],
        "flagged": by_ratio.mean(),
        "low": [end.low for end in ends],
        "high": [end.high for end in ends],
        "flagged by likelihood": by_likelihood.mean(),
    }
    return pd.DataFrame(columns).rename_axis("kind")
