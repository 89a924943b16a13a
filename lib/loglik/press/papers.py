"""The 28 papers: which they are, and how far the chapter of each has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from loglik import claims, manifest
from loglik.press import files, records

# The table of parts: every paper once, in the order of the book.
PAPERS: dict[str, tuple[str, ...]] = {
    "information": (
        "pn_criterion",
        "universality_lens",
        "adaptive_data_analysis",
        "unsupervised_pretraining",
    ),
    "risk": ("presto", "predictive_multiplicity", "h_calibration", "censored_erm"),
    "optimization": ("ila_sdp", "high_dimensional_robust", "bilevel_penalty", "surrogate_gradient_norm"),
    "causal": ("invalid_iv", "outcome_invariant_augmentation"),
    "sampling": ("parisian_particle_gibbs", "lisa_snl"),
    "generative": ("singular_dgm", "vae_cf", "marginalization_models", "noise2score", "gedi"),
    "language": (
        "localist_llm",
        "llm_ood_ratio",
        "likelihood_displacement",
        "on_policy_preferences",
        "palimpsestic_membership",
        "gdpo",
        "bgpo",
    ),
}
ADDRESSES = tuple(f"{part}/{paper}" for part, papers in PAPERS.items() for paper in papers)
PROFILES = ("full", "book", "smoke")  # best first
UNJUDGED = "not judged yet"

State = Literal["planned", "draft", "complete", "failed"]


@dataclass(frozen=True)
class Entry:
    """One paper: what is known of it, and how far its chapter has come."""

    address: str  # part/paper
    info: Mapping[str, Any]  # the keys of manifest.ENTRY
    state: State
    notebooks: tuple[str, ...]  # of the chapter; empty for a planned one
    claim_ids: tuple[str, ...]  # that the manifest lists
    record: Mapping[str, Any] | None  # the best one
    stale: bool  # the record belongs to an older chapter

    @property
    def part(self) -> str:
        """The part that the paper stands in."""
        return self.address.split("/")[0]

    @property
    def page(self) -> str | None:
        """The chapter's first page, from the book's root without suffix; None for a planned chapter."""
        return f"notebooks/{self.address}/{self.notebooks[0]}" if self.notebooks else None

    @property
    def profile(self) -> str | None:
        """Profile of the record that is shown."""
        return str(self.record["profile"]) if self.record else None

    @property
    def data(self) -> str:
        """Whether the chapter uses real data besides simulated ones: ``real`` or ``simulated``."""
        return "real" if self.info["data"] else "simulated"

    @property
    def hardware(self) -> str:
        """What the paper's own scale needs: ``cpu`` or ``gpu``."""
        return "gpu" if "gpu" in str(self.info["hardware"]["full"]).lower() else "cpu"

    def verdicts(self) -> dict[str, int]:
        """Number of claims by verdict, all verdicts present; claims without one count as not judged yet."""
        counts = dict.fromkeys((*claims.VERDICTS, UNJUDGED), 0)
        judged = {c["id"]: c["verdict"] for c in self.record["claims"]} if self.record else {}
        for claim_id in self.claim_ids:
            counts[judged.get(claim_id, UNJUDGED)] += 1
        return counts


def planned(root: Path) -> dict[str, Mapping[str, Any]]:
    """Papers without a chapter yet, by address, from ``book/planned.yml``; checked like a manifest."""
    path = root / "book" / "planned.yml"
    found = yaml.load(path.read_text(encoding="utf-8"), manifest.FastLoader) or {}
    schema = {
        "type": "object",
        "properties": manifest.ENTRY,
        "required": list(manifest.ENTRY),
        "additionalProperties": False,
    }
    for address, entry in found.items():
        manifest.validate(entry, schema, f"book/planned.yml, {address}")
    return dict(found)


def chapters(root: Path) -> dict[str, manifest.Manifest]:
    """Manifests of the chapters that exist, by address."""
    paths = sorted(root.glob("notebooks/*/*/paper.yml"))
    return {m.address: m for m in map(manifest.read, paths)}


def record_at(root: Path, address: str, profile: str) -> dict[str, Any] | None:
    """The record of a chapter at a profile; None where there is none."""
    found = files.read_json(root / "book" / "results" / address / f"{profile}.json")
    return dict(found) if found is not None else None


def best_record(root: Path, address: str) -> dict[str, Any] | None:
    """The record to show: full before book before smoke; None where nothing was recorded."""
    found = (record_at(root, address, profile) for profile in PROFILES)
    return next((record for record in found if record is not None), None)


def page_states(root: Path) -> dict[str, dict[str, Any]]:
    """What the press wrote of each page's run; empty before it has rendered anything."""
    return files.read_json(root / "_build" / "site" / "state.json") or {}


def entries(root: Path) -> list[Entry]:
    """All papers in the order of the book.

    Raises
    ------
    ValueError
        When a paper of the table is neither planned nor a chapter, is both, or isn't in the table.
    """
    plans, written = planned(root), chapters(root)
    twice, unknown = set(plans) & set(written), (set(plans) | set(written)) - set(ADDRESSES)
    missing = [a for a in ADDRESSES if a not in plans and a not in written]
    if twice or unknown or missing:
        raise ValueError(
            f"book/planned.yml and notebooks/ don't make up the table of papers: in both {sorted(twice)}, "
            f"not in the table {sorted(unknown)}, in neither {missing}"
        )
    states = page_states(root)
    return [
        _chapter(root, written[address], states) if address in written else _planned(address, plans[address])
        for address in ADDRESSES
    ]


def _planned(address: str, info: Mapping[str, Any]) -> Entry:
    return Entry(address, info, "planned", (), (), None, stale=False)


def _chapter(root: Path, found: manifest.Manifest, states: Mapping[str, Any]) -> Entry:
    pages = (f"notebooks/{found.address}/{name}" for name in found.notebooks)
    failed = any(states.get(page, {}).get("state") == "failed" for page in pages)
    record = best_record(root, found.address)
    return Entry(
        address=found.address,
        info={key: found[key] for key in manifest.ENTRY},
        state="failed" if failed else found["state"],
        notebooks=found.notebooks,
        claim_ids=tuple(claim.id for claim in found.claims),
        record=record,
        stale=record is not None and bool(records.problems(found, record)),
    )
