"""What this machine has, and what each profile would take on it."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
from typing import Any
from urllib.parse import urlparse

import psutil
from rich.console import Console
from rich.table import Table

from loglik import provenance
from loglik.chapter import PROFILES
from loglik.press import files, pairs, records
from loglik.press.project import Project

_PACKAGES = (
    "loglik",
    "papermill",
    "jupytext",
    "jupyter-book",
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "jax",
    "numpyro",
)


def machine(project: Project) -> dict[str, str]:
    """Cores, memory, disk, GPU, network, browser, by name."""
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(project.root)
    host = urlparse(pairs.settings(project)["repository"]).hostname or ""
    return {
        "processor": provenance.device(),
        "cores": str(provenance.cores()),
        "memory": f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB",
        "disk": f"{disk.free / 1e9:.0f} GB free",
        "GPU": _gpu(),
        "network": f"{host} reachable"
        if _reachable(host)
        else f"{host} not reachable: chapters use the data they ship with",
        "browser tests": shutil.which("chromium")
        or "no chromium: `make test` skips the browser tests outside CI",
    }


def _gpu() -> str:
    if shutil.which("nvidia-smi") is None:
        return "none"
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    return "; ".join(found.stdout.strip().splitlines()) if found.returncode == 0 else "none"


def _reachable(host: str) -> bool:
    try:
        socket.create_connection((host, 443), timeout=2).close()
    except OSError:
        return False
    return True


def costs(project: Project) -> dict[str, dict[str, Any]]:
    """Per profile: chapters with a record, their CPU seconds in all, the largest peak memory (MB)."""
    result = {}
    for profile in PROFILES:
        paths = [records.path_of(project, address, profile) for address in project.addresses()]
        runs = [found["provenance"] for found in map(files.read_json, paths) if found]
        result[profile] = {
            "chapters": len(runs),
            "cpu_seconds": sum(run["cpu_seconds"] for run in runs),
            "peak_memory_mb": max((run["peak_memory_mb"] for run in runs), default=0.0),
        }
    return result


def show(project: Project, console: Console) -> None:
    """Print it all."""
    table = Table(show_header=False, box=None)
    for name, value in machine(project).items():
        table.add_row(f"[bold]{name}[/]", value)
    console.print(table)
    missing = [p for p in ("torch", "jax", "jupyter_book") if importlib.util.find_spec(p) is None]
    versions = provenance.versions(_PACKAGES)
    console.print(
        "\n[bold]versions[/]  " + "  ".join(f"{name} {version}" for name, version in versions.items())
    )
    if missing:
        console.print(f"not installed: {', '.join(missing)} (pip install -r requirements.txt)")
    profiles = Table(
        "profile", "recorded chapters", "time on this machine", "peak memory", title="What a profile takes"
    )
    for profile, cost in costs(project).items():
        minutes = cost["cpu_seconds"] / provenance.cores() / 60
        time = f"about {minutes:.1f} min" if cost["chapters"] else "no record yet"
        profiles.add_row(
            profile,
            f"{cost['chapters']} of {len(project.addresses())}",
            time,
            f"{cost['peak_memory_mb']:,.0f} MB",
        )
    console.print(profiles)
    for address in project.addresses():
        console.print(f"full profile of {address}: {project.manifest(address)['hardware']['full']}")
