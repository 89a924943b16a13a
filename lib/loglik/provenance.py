"""Where a number comes from: revision, versions, machine, time and memory."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MIME = "application/vnd.loglik.run+json"


def versions(packages: tuple[str, ...] | None = None) -> dict[str, str]:
    """Versions of Python and of the distributions whose modules are loaded (or of `packages`)."""
    if packages is None:
        packages = tuple(sorted(set(_requirements()) & _loaded_distributions()))
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def _requirements() -> tuple[str, ...]:
    """Names of every distribution that ``loglik`` or one of its extras asks for."""
    try:
        requires = importlib.metadata.requires("loglik") or []
    except importlib.metadata.PackageNotFoundError:
        return ()
    names = {re.split(r"[ ;<>=!~\[]", line, maxsplit=1)[0] for line in requires}
    return ("loglik", *sorted(names - {"loglik"}))


def _loaded_distributions() -> set[str]:
    by_module = importlib.metadata.packages_distributions()
    loaded = {name.partition(".")[0] for name in sys.modules}
    return {d.lower() for module in loaded & set(by_module) for d in by_module[module]} | {"loglik"}


def revision(folder: Path) -> dict[str, Any]:
    """Git revision of `folder` and whether its tree has uncommitted changes; None outside a checkout."""

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *args],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()

    try:
        return {"revision": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"revision": None, "dirty": None}


def device() -> str:
    """Name of what computes: the GPU that a loaded framework sees, else the CPU."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    jax = sys.modules.get("jax")
    if jax is not None and jax.default_backend() != "cpu":
        return str(jax.devices()[0].device_kind)
    return _cpu_name()


@functools.cache
def _cpu_name() -> str:
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return f"CPU ({match[1].strip()})" if match else f"CPU ({platform.processor() or platform.machine()})"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_seconds() -> float:
    """CPU time of this process and its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_memory_mb() -> float:
    """Largest resident size of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e3 if sys.platform != "darwin" else peak / 1e6


def now() -> str:
    """Today's date and time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Stopwatch:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()

    def read(self) -> dict[str, float]:
        """Seconds so far: ``wall_seconds`` and ``cpu_seconds``."""
        return {
            "wall_seconds": round(time.perf_counter() - self._wall, 2),
            "cpu_seconds": round(cpu_seconds() - self._cpu, 2),
        }
