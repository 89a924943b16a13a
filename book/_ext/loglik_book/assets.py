"""Addresses from the one setting, mathematics that needs no other host, and pages that load little."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

from loglik.press import catalogue

LOG = logging.getLogger(__name__)
# What a page's mathematics may load: the program, its fonts, and TeX extensions loaded on demand.
MATHJAX = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions")


def connect(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("config-inited", set_addresses, priority=1)
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("html-page-context", without_needless_mathjax, priority=900)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", drop_icon_script)
    app.connect("build-finished", write_sitemap)
    app.connect("doctree-resolved", without_double_ids)


def set_addresses(app: Sphinx, config: Config) -> None:
    """Let every link to the repository and to the site follow from ``pyproject.toml``."""
    repository = catalogue.repository(Path(app.srcdir))
    config.html_theme_options |= {
        "repository_url": repository.url,
        "repository_branch": repository.branch,
        "path_to_docs": "",
    }
    config.html_baseurl = config.ogp_site_url = repository.site
    config.notfound_urls_prefix = urlsplit(repository.site).path
    if mathjax_source() is not None:
        config.mathjax_path = f"mathjax/{MATHJAX[0]}"


def mathjax_source() -> Path | None:
    """MathJax as the package ``sphinx-mathjax-offline`` brings it; None where that isn't installed."""
    found = importlib.util.find_spec("sphinx-mathjax-offline")
    for place in (found.submodule_search_locations or ()) if found else ():
        folder = Path(place) / "static" / "mathjax"
        if (folder / MATHJAX[0]).is_file():
            return folder
    return None


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Copy the needed fifth of MathJax beside the pages."""
    if error is not None or app.builder.format != "html":
        return
    source = mathjax_source()
    if source is None:
        LOG.warning("sphinx-mathjax-offline isn't installed: mathematics will be loaded from another host")
        return
    target = Path(app.outdir) / "_static" / "mathjax"
    for name in MATHJAX:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)


THEBE_BLOCK = re.compile(
    r'\s*<script type="text/x-thebe-config">.*?</script>\s*<script>kernelName.*?</script>', re.DOTALL
)


def without_thebe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Leave out thebe: the book offers no cells that run in the page, and two extensions declare it twice."""
    for key in ("script_files", "css_files"):
        context[key] = [item for item in context.get(key, []) if "thebe" not in _described(item)]
    context["body"] = THEBE_BLOCK.sub("", context.get("body", ""))


def _described(item: Any) -> str:
    """Name and text of a script or style sheet, in small letters."""
    return f"{getattr(item, 'filename', item)} {getattr(item, 'attributes', '')}".lower()


def without_double_ids(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Take out the id that sphinx-proof gives to the content of every theorem and algorithm, the same for all."""
    for node in doctree.findall(nodes.section):
        node["ids"] = [name for name in node["ids"] if name != "proof-content"]


def write_sitemap(app: Sphinx, error: Exception | None) -> None:
    """List every page of the book for search engines, also those that this build did not have to write."""
    if error is not None or app.builder.format != "html":
        return
    pages = (
        f"<url><loc>{app.config.html_baseurl}{page}.html</loc></url>" for page in sorted(app.env.found_docs)
    )
    opening = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    lines = ['<?xml version="1.0" encoding="utf-8"?>', opening, *pages, "</urlset>", ""]
    (Path(app.outdir) / "sitemap.xml").write_text("\n".join(lines), encoding="utf-8")


def without_needless_mathjax(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Load MathJax only where there is mathematics; Sphinx also does so where a page below has some."""
    if page.startswith("notebooks/") or 'class="math' in context.get("body", ""):
        return
    scripts = context.get("script_files", [])
    context["script_files"] = [s for s in scripts if "mathjax/" not in str(getattr(s, "filename", s))]


# The theme brings its icons twice: as web fonts (0.3 MB) and as a script that redraws them (1.5 MB).
ICON_SCRIPT = re.compile(r"\s*<script[^>]*scripts/fontawesome\.js[^>]*></script>")


def drop_icon_script(app: Sphinx, error: Exception | None) -> None:
    """Leave out the theme's second copy of its icons; the web fonts draw all that are used."""
    if error is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        lean = ICON_SCRIPT.sub("", text)
        if lean != text:
            path.write_text(lean, encoding="utf-8")
    for path in (Path(app.outdir) / "_static" / "scripts").glob("fontawesome.js*"):
        path.unlink()
