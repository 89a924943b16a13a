"""Notebooks on many machines: Dask hands them out, and neither a lost worker nor a lost scheduler loses work.

Workers see the checkout under the same path (a shared file system) and have its environment. A finished run
is a folder there, so whatever the cluster forgets, the next attempt finds: only unfinished notebooks go out
again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from loglik.press import runner
from loglik.press.runner import Outcome, Task

RETRY_SECONDS = 1.0


class SchedulerLostError(ConnectionError):
    """The scheduler went away while notebooks were out."""


class ClusterExecutor(Executor):
    """A ``concurrent.futures`` executor over a Dask client.

    Dask sends the tasks of a lost worker to another one by itself. When the scheduler is lost, the futures
    end with :class:`SchedulerLostError`.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._remote: dict[Future[Any], Any] = {}  # Dask forgets a task whose future nobody holds

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send one call out; it is never taken from Dask's own cache of equal calls."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        remote = self._client.submit(function, *args, **kwargs, pure=False)
        self._remote[future] = remote
        remote.add_done_callback(lambda done: _settle(future, done))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Forget what is out; what a worker has begun it finishes, and its folder is found next time."""
        self._client.cancel(list(self._remote.values()))
        self._remote.clear()


def _settle(future: Future[Any], remote: Any) -> None:
    """Copy the end of a Dask future into ours."""
    if remote.status == "finished":
        future.set_result(remote.result())
    elif remote.status == "error":
        future.set_exception(remote.exception())
    else:
        future.set_exception(SchedulerLostError("the scheduler went away"))


def run(
    tasks: list[Task],
    address: str,
    *,
    force: bool = False,
    patience: float = 120.0,
    watch: Callable[[Task, str, Any], None] = lambda *_: None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Run tasks on the cluster at `address`, through the loss of workers and of the scheduler.

    Parameters
    ----------
    tasks : list of Task
    address : str
        Of the Dask scheduler, such as ``tcp://10.0.0.5:8786``.
    force : bool
        Run also what is fresh.
    patience : float
        How many seconds to wait for a scheduler at that address, at the start and after each loss.
    watch, tell : callable
        For the terminal: see :func:`loglik.press.runner.run`; `tell` gets a line about the cluster.

    Raises
    ------
    ConnectionError
        When no scheduler answers within `patience`. Finished notebooks are kept.
    ModuleNotFoundError
        Without the extra ``cluster``.
    """
    while True:
        client = _connect(address, patience)
        for task in tasks if force else ():  # not before a scheduler is there to run them again
            shutil.rmtree(task.folder, ignore_errors=True)
        force = False
        executor = ClusterExecutor(client)
        try:
            return runner.run(tasks, executor=executor, watch=watch)
        except SchedulerLostError:
            tell(f"the scheduler at {address} went away; waiting for one, finished notebooks are kept")
        finally:
            executor.shutdown()
            client.close(timeout=5)


def _connect(address: str, patience: float) -> Any:
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--cluster needs Dask: pip install 'loglik[cluster]'") from error
    deadline = time.monotonic() + patience
    while True:
        try:
            return Client(address, timeout=min(5.0, max(0.5, patience)), set_as_default=False)
        except OSError as error:
            if time.monotonic() > deadline:
                raise ConnectionError(
                    f"no scheduler at {address} for {patience:.0f} s; finished notebooks are kept, "
                    "the same command goes on where it stopped"
                ) from error
            time.sleep(RETRY_SECONDS)
