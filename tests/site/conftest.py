"""The rendered site, and a server for it."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.site)


@pytest.fixture(scope="session")
def site() -> Path:
    """Folder of the rendered site: ``$LOGLIK_SITE``, else ``_build/html``."""
    folder = Path(os.environ.get("LOGLIK_SITE") or ROOT / "_build" / "html")
    if not (folder / "book" / "index.html").is_file():
        pytest.fail(f"no rendered site in {folder}: run `make site` (or `jupyter-book build .`) first")
    return folder


@pytest.fixture(scope="session")
def pages(site) -> list[str]:
    """Every page of the book, from the site's root without suffix."""
    found = [p.relative_to(site).with_suffix("").as_posix() for p in site.rglob("*.html")]
    return sorted(page for page in found if page.startswith(("book/", "notebooks/")))


@pytest.fixture(scope="session")
def chapter_pages(pages) -> list[str]:
    found = [page for page in pages if page.startswith("notebooks/")]
    assert found, "the site has no chapter"
    return found


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # a browser that closes a connection early is no error of ours


@pytest.fixture(scope="session")
def address(site):
    """Address of a server for the site, on a free port of the loopback interface."""
    server = _Server(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def chromium():
    """A real browser; CI fails without one, another machine skips."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI has to have Chromium: apt-get install chromium")
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
