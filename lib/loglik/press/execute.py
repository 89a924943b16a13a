"""One notebook through papermill, in a process of its own: ``python -m loglik.press.execute FOLDER``.

`FOLDER` holds ``task.json``; the run leaves beside it ``notebook.ipynb``, ``progress.json`` while it goes,
and at the end ``usage.json`` or ``error.json``. Whoever started it watches limits (:mod:`loglik.press.runner`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from loglik import provenance
from loglik.press import files

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def main(folder: Path) -> int:
    """Execute the task in `folder`; 0 when every cell ran."""
    import papermill
    from papermill.engines import papermill_engines

    task = files.read_json(folder / "task.json")
    _die_with_parent()
    papermill_engines.register("loglik", _engine(folder / "progress.json"))
    clock = provenance.Stopwatch()
    sockets = tempfile.mkdtemp(prefix="loglik-")
    try:
        papermill.execute_notebook(
            task["source"],
            str(folder / "notebook.ipynb"),
            parameters=task["parameters"],
            engine_name="loglik",
            kernel_name="python3",
            cwd=task["cwd"],
            progress_bar=False,
            log_output=False,
            start_timeout=120,
            config=_ipc(sockets),
        )
    except Exception as error:
        files.write_json(folder / "error.json", _describe(error, folder))
        return 1
    finally:
        files.write_json(folder / "usage.json", clock.read())
        shutil.rmtree(sockets, ignore_errors=True)
    return 0


def _engine(progress: Path) -> Any:
    """Papermill's own engine, telling a file which cell it is at."""
    from papermill.engines import NBClientEngine

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            code = [i for i, cell in enumerate(nb_man.nb.cells) if _is_the_authors(cell)]
            start = nb_man.cell_start

            def cell_start(cell: Any, cell_index: int | None = None, **rest: Any) -> Any:
                if cell_index in code:
                    _tell(progress, code.index(cell_index) + 1, len(code))
                return start(cell, cell_index, **rest)

            nb_man.cell_start = cell_start
            return super().execute_managed_notebook(nb_man, kernel_name, **options)

    return Engine


def _is_the_authors(cell: Any) -> bool:
    """Whether a cell stands in the source, so that "cell 4" means the same to its author."""
    return cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])


def _tell(path: Path, cell: int, cells: int) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"cell": cell, "cells": cells}))
    temporary.replace(path)


def _ipc(sockets: str) -> Any:
    """Kernel transport over files in place of TCP ports, which parallel kernels race for.

    The files' folder has to be this run's own: by default they'd stand in the working directory under one
    name for all kernels. Its path is short, because a socket's may not pass some 100 characters.
    """
    from traitlets.config import Config

    config = Config()
    if sys.platform != "win32":
        for manager in (config.KernelManager, config.AsyncKernelManager):
            manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
    return config


def _describe(error: Exception, folder: Path) -> dict[str, Any]:
    """What a reader needs to mend a failed notebook: the cell, its last line, the traceback's end."""
    progress = files.read_json(folder / "progress.json") or {}
    ename = getattr(error, "ename", type(error).__name__)
    evalue = getattr(error, "evalue", str(error))
    traceback = "\n".join(getattr(error, "traceback", [])) or str(error)
    return {
        "cell": progress.get("cell"),
        "cells": progress.get("cells"),
        "line": _ANSI.sub(
            "", f"{ename}: {evalue}".strip().splitlines()[-1] if not evalue else f"{ename}: {evalue}"
        ),
        "traceback": _ANSI.sub("", traceback).splitlines()[-30:],
    }


def _die_with_parent() -> None:
    """Leave no orphan when the command is killed: the kernel follows its parent, and so do we."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
