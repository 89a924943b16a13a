"""What a notebook imports: its settings, seeds, device, style and claims.

>>> chapter = Chapter("risk/presto/reproduction", profile="smoke", seed=0)  # doctest: +SKIP
>>> cfg = chapter.settings(smoke=dict(n=100), book=dict(n=1000), full=dict(n=10000))  # doctest: +SKIP
>>> rng = chapter.rng("simulation")  # doctest: +SKIP
>>> chapter.claim("C3", measured=0.71, interval=(0.66, 0.76), interval_from="…")  # doctest: +SKIP
>>> chapter.summary()  # doctest: +SKIP
"""

from __future__ import annotations

import html
import os
import sys
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from loglik import claims, manifest, parameters, provenance, sources

if TYPE_CHECKING:
    import jax
    import numpy as np
    import torch

PROFILES = ("smoke", "book", "full")


class Settings(SimpleNamespace):
    """Sizes of a run, by attribute; ``vars(cfg)`` gives the dictionary."""


class Chapter:
    """A notebook's link to its paper: one object, made in the notebook's set-up cell.

    Parameters
    ----------
    address : str
        ``part/paper/notebook``.
    profile : {"smoke", "book", "full"}
        How much to compute; see :meth:`settings`.
    seed : int
        All randomness of the notebook follows from it, through :meth:`rng`, :meth:`key` and kin.

    Raises
    ------
    ValueError
        For an unknown profile, notebook or injected parameter; says what is allowed.
    TypeError
        For an injected parameter of the wrong type.
    """

    def __init__(self, address: str, *, profile: str = "book", seed: int = 0) -> None:
        if profile not in PROFILES:
            raise ValueError(f"unknown profile {profile!r}; allowed: {', '.join(PROFILES)}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise TypeError(f"seed must be an int of at least 0, got {seed!r}")
        self._clock = provenance.Stopwatch()
        paper, _, self.notebook = address.rpartition("/")
        self.manifest = manifest.find(paper)
        self.profile, self.seed = profile, seed
        self._judged: dict[str, claims.Claim] = {}
        self._numbers: dict[str, dict[str, Any]] = {}
        self._parameters = self._read_parameters()
        use_style()

    # -- sizes ---------------------------------------------------------------------------------------------

    def settings(
        self,
        *,
        smoke: Mapping[str, Any],
        book: Mapping[str, Any],
        full: Mapping[str, Any],
        **overrides: Any,
    ) -> Settings:
        """The sizes of this run: the profile's, and over them every override that isn't None.

        Raises
        ------
        ValueError
            When the three profiles name different sizes, or an override names none of them.
        """
        by_profile = {"smoke": smoke, "book": book, "full": full}
        names = set(by_profile[self.profile])
        for profile, sizes in by_profile.items():
            if set(sizes) != names:
                raise ValueError(
                    f"profile {profile!r} names {sorted(sizes)}, {self.profile!r} names {sorted(names)}"
                )
        unknown = sorted(set(overrides) - names)
        if unknown:
            raise ValueError(f"unknown setting {', '.join(unknown)}; allowed: {', '.join(sorted(names))}")
        given = {name: value for name, value in overrides.items() if value is not None}
        return Settings(**{**by_profile[self.profile], **given})

    # -- randomness ----------------------------------------------------------------------------------------

    def entropy(self, stream: str) -> tuple[int, int]:
        """The seed and a fixed number for `stream`: streams of other names are independent."""
        return self.seed, zlib.crc32(f"{self.manifest.address}:{stream}".encode())

    def rng(self, stream: str) -> np.random.Generator:
        """A NumPy generator for `stream`; the same seed and name give the same numbers."""
        import numpy as np

        return np.random.default_rng(np.random.SeedSequence(self.entropy(stream)))

    def random_state(self, stream: str) -> int:
        """An integer for scikit-learn's ``random_state``."""
        return int(self.rng(stream).integers(2**31 - 1))

    def key(self, stream: str) -> jax.Array:
        """A JAX PRNG key for `stream`."""
        import jax

        seed, number = self.entropy(stream)
        return jax.random.fold_in(jax.random.key(seed), number & 0x7FFFFFFF)

    def generator(self, stream: str, device: str = "cpu") -> torch.Generator:
        """A torch generator for `stream` on `device`."""
        import torch

        return torch.Generator(device).manual_seed(self.random_state(stream))

    @property
    def device(self) -> torch.device:
        """CUDA where there is one, else the CPU."""
        import torch

        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    # -- what a reader keeps -------------------------------------------------------------------------------

    def output(self, name: str) -> Path:
        """Path for a file that the reader takes away; its folder exists.

        The folder is ``$LOGLIK_OUTPUT``, or ``<paper>-<notebook>`` in the working directory.
        """
        default = f"{self.manifest.paper}-{self.notebook}"
        folder = Path(os.environ.get("LOGLIK_OUTPUT") or default)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def progress(self, items: Iterable[Any], description: str, total: int | None = None) -> Iterable[Any]:
        """`items` with a progress bar on the notebook's error stream (which the book leaves out)."""
        from tqdm.auto import tqdm

        return tqdm(items, desc=description, total=total, mininterval=0.5)

    def numbers(self, figure: str, **shown: float | str) -> None:
        """Numbers that belong to a figure's caption, for the page's slider below it.

        Parameters
        ----------
        figure : str
            The figure's name in its cell's head.
        **shown
            Number or text by what it is; an underscore is read as a space.
        """
        self._numbers[figure] = {
            name.replace("_", " "): value if isinstance(value, str) else claims.plain(value)
            for name, value in shown.items()
        }

    # -- claims --------------------------------------------------------------------------------------------

    def claim(
        self,
        claim_id: str,
        *,
        measured: float,
        interval: tuple[float, float] | None = None,
        interval_from: str | None = None,
        evidence: claims.Evidence | None = None,
        note: str | None = None,
    ) -> claims.Claim:
        """Give a claim of ``paper.yml`` its verdict.

        Parameters
        ----------
        claim_id : str
            Its id in the manifest.
        measured : float
            The claim's ``quantity``.
        interval : (float, float), optional
            Its uncertainty; the criterion knows the ends as ``low`` and ``high``.
        interval_from : str
            Where the interval comes from, such as "95 % bootstrap over 24 data sets".
        evidence : mapping of str to numbers or sequences of numbers, optional
            Whatever else the criterion asks for, by name.
        note : str, optional
            What a reader should know beside the verdict: why only partly, or what was seen instead.

        Returns
        -------
        Claim
            Renders as a card; as a cell's last value it travels in the notebook's outputs.
        """
        spec = self._spec(claim_id)
        claim = claims.make(
            spec,
            measured=measured,
            interval=interval,
            interval_from=interval_from,
            evidence=evidence or {},
            note=note,
        )
        return self._keep(claim)

    def out_of_reach(self, claim_id: str, needs: str) -> claims.Claim:
        """Say of a claim what it would take; never for what one of our machines can do."""
        return self._keep(claims.unreached(self._spec(claim_id), needs))

    def _spec(self, claim_id: str) -> manifest.ClaimSpec:
        spec = self.manifest.claim(claim_id)
        if spec.notebook != self.notebook:
            raise ValueError(
                f"paper.yml has claim {claim_id} judged in {spec.notebook!r}, not in {self.notebook!r}"
            )
        return spec

    def _keep(self, claim: claims.Claim) -> claims.Claim:
        self._judged[claim.id] = claim
        return claim

    def summary(self) -> Summary:
        """The notebook's last word: its verdicts and its provenance.

        Raises
        ------
        RuntimeError
            When a claim that the manifest gives to this notebook got no verdict, unless the chapter is a draft.
        """
        mine = [spec.id for spec in self.manifest.claims if spec.notebook == self.notebook]
        missing = [claim_id for claim_id in mine if claim_id not in self._judged]
        if missing and self.manifest["state"] == "complete":
            raise RuntimeError(
                f"{self.manifest.address}/{self.notebook}: no verdict for {', '.join(missing)}"
            )
        judged = tuple(self._judged[claim_id] for claim_id in mine if claim_id in self._judged)
        return Summary(judged, self.provenance(), claims.jsonable(self._numbers))

    def provenance(self) -> dict[str, Any]:
        """Everything needed to make this run again, and what it cost."""
        return {
            "chapter": self.manifest.address,
            "notebook": self.notebook,
            "profile": self.profile,
            "seed": self.seed,
            "parameters": self._parameter_values(),
            **provenance.revision(self.manifest.folder),
            "source_hash": sources.source_hash(self.manifest, self.notebook),
            "versions": provenance.versions(),
            "device": provenance.device(),
            "cores": provenance.cores(),
            **self._clock.read(),
            "peak_memory_mb": round(provenance.peak_memory_mb(), 1),
            "date": provenance.now(),
        }

    # -- parameters ----------------------------------------------------------------------------------------

    def _read_parameters(self) -> tuple[parameters.Parameter, ...]:
        source = sources.notebook_source(self.manifest, self.notebook)
        known = parameters.declared(source)
        shell = _shell()
        if shell is not None:
            where = f"{self.manifest.address}/{self.notebook}"
            parameters.check(parameters.injected(shell.user_ns.get("In", [])), known, where)
        return known

    def _parameter_values(self) -> dict[str, Any]:
        shell = _shell()
        scope = shell.user_ns if shell is not None else {}
        return claims.jsonable({p.name: scope.get(p.name, p.default) for p in self._parameters})


class Summary:
    """Verdicts and provenance of one notebook, for people and (as JSON) for the press."""

    def __init__(
        self,
        judged: tuple[claims.Claim, ...],
        run: dict[str, Any],
        numbers: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.claims, self.run, self.numbers = judged, run, dict(numbers or {})

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {
            provenance.MIME: {
                **self.run,
                "claims": [claim.to_json() for claim in self.claims],
                "numbers": self.numbers,
            },
            "text/html": self._html(),
            "text/plain": self._text(),
        }

    def _line(self) -> str:
        run = self.run
        revision = (run["revision"] or "no revision")[:10] + (" with local changes" if run["dirty"] else "")
        return (
            f"{run['chapter']}/{run['notebook']} · profile {run['profile']} · seed {run['seed']} · "
            f"{run['wall_seconds']:.0f} s wall, {run['cpu_seconds']:.0f} s CPU, {run['peak_memory_mb']:,.0f} MB · "
            f"{run['device']}, {run['cores']} cores · {revision} · sources {run['source_hash'][:10]} · {run['date']}"
        )

    def _text(self) -> str:
        rows = [
            f"{c.id:>4}  {c.verdict:<14}  {c.paper['value']} | {c.ours()}  ({c.quantity})"
            for c in self.claims
        ]
        return "\n".join([*rows, self._line()])

    def _html(self) -> str:
        e = html.escape
        rows = "".join(
            f"<tr><td>{e(c.id)}</td><td style='text-align:left'>{e(c.statement)}</td><td style='text-align:left'>"
            f"{e(c.paper['value'])}</td><td style='text-align:left'><b>{e(c.ours())}</b> <small>{e(c.quantity)}</small>"
            f"</td><td>{claims.badge(c.verdict)}</td></tr>"
            for c in self.claims
        )
        table = (
            "<div style='overflow-x:auto'><table class='loglik-summary'><thead><tr><th>id</th>"
            "<th style='text-align:left'>claim</th><th style='text-align:left'>paper</th>"
            f"<th style='text-align:left'>ours</th><th>verdict</th></tr></thead><tbody>{rows}</tbody></table></div>"
        )
        line = f"<p class='loglik-run' style='font-size:.85em;opacity:.75'>{e(self._line())}</p>"
        return (table if self.claims else "") + line


def _shell() -> Any:
    """IPython's shell when we run in one."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def use_style() -> None:
    """The house's figures: seaborn's quiet grid, colour-blind palette, crisp SVG that is equal each time."""
    import matplotlib as mpl
    import seaborn as sns

    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    mpl.rcParams.update(
        {
            "figure.figsize": (7.2, 4.0),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "axes.titlesize": "medium",
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.alpha": 0.5,
            "legend.frameon": False,
            "svg.hashsalt": "loglik",
        }
    )
    if _shell() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})
