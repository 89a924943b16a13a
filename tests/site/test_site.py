"""The HTML of the rendered site, read without a browser."""

import functools
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from loglik import claims
from loglik.press import catalogue

ROOT = Path(__file__).resolve().parents[2]
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
BUDGET = 1_500_000  # bytes that travel at a first visit: every static host compresses text, SVG included
LOADED_RELS = {"stylesheet", "preload", "icon", "shortcut icon", "modulepreload", "prefetch"}


class Page(HTMLParser):
    """What one page contains that tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []  # what the browser fetches without being asked
        self.images: list[dict[str, str | None]] = []
        self.meta: dict[str, str] = {}
        self.headings: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(found["id"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "link" and found.get("href") and found.get("rel") in LOADED_RELS:
            self.loads.append(found["href"])
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed") and found.get("src"):
            self.loads.append(found["src"])
        if tag == "img":
            self.images.append(found)
        if tag == "meta" and (found.get("property") or found.get("name")):
            self.meta[found.get("property") or found["name"]] = found.get("content") or ""
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)

    def handle_data(self, data):
        self.text.append(data)


@functools.cache
def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_no_output_shows_a_memory_address(site, chapter_pages):
    """It says nothing to a reader, and differs in each run."""
    shown = {
        page: re.findall(r" at 0x[0-9a-f]{6,}", (site / f"{page}.html").read_text("utf-8"))
        for page in chapter_pages
    }
    assert {page: found for page, found in shown.items() if found} == {}


def test_links_and_anchors_lead_somewhere(site, pages):
    broken = []
    for page in pages:
        here = site / f"{page}.html"
        for link in read(here).links:
            url, anchor = urldefrag(link)
            if urlsplit(url).scheme or url.startswith("//"):
                continue
            target = (here.parent / unquote(urlsplit(url).path)).resolve() if urlsplit(url).path else here
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                broken.append(f"{page}: {link}: no such page")
                continue
            named = anchor and target.suffix == ".html" and "=" not in anchor  # with "=": a table's filters
            if named and unquote(anchor) not in read(target).ids:
                broken.append(f"{page}: {link}: no such anchor")
    assert not broken, "\n".join(broken)


def test_local_files_that_pages_load_exist(site, pages):
    missing = []
    for page in pages:
        here = site / f"{page}.html"
        for url in read(here).loads:
            path = urlsplit(url).path
            if not urlsplit(url).scheme and path and not (here.parent / unquote(path)).resolve().is_file():
                missing.append(f"{page}: {url}")
    assert not missing, "\n".join(missing)


def test_no_page_loads_anything_from_another_host(site, pages):
    foreign = [
        f"{page}: {url}"
        for page in pages
        for url in read(site / f"{page}.html").loads
        if urlsplit(url).netloc or url.startswith("//")
    ]
    assert not foreign, "\n".join(foreign)


def test_no_style_sheet_loads_anything_from_another_host(site):
    for path in site.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        urls = re.findall(r"url\(\s*['\"]?([^'\")]+)", text) + re.findall(r"@import\s+['\"]([^'\"]+)", text)
        foreign = [url for url in urls if urlsplit(url).netloc]
        assert not foreign, f"{path.relative_to(site)}: {foreign}"


def test_no_page_carries_cells_that_would_run_elsewhere(site, pages):
    for page in pages:
        assert "thebe" not in (site / f"{page}.html").read_text(encoding="utf-8").lower(), page


def test_our_script_asks_no_other_host(site):
    text = (site / "_static" / "custom.js").read_text(encoding="utf-8")
    assert not re.search(r"https?://|fetch\(|XMLHttpRequest|import\(", text)


def test_every_image_has_a_text(site, pages):
    bare = [
        f"{page}: {image.get('src')}"
        for page in pages
        for image in read(site / f"{page}.html").images
        if not (image.get("alt") or "").strip()
    ]
    assert not bare, "\n".join(bare)


def test_figures_of_chapters_have_a_text_that_says_something(site, chapter_pages):
    for page in chapter_pages:
        for image in read(site / f"{page}.html").images:
            if "_images" not in (image.get("src") or ""):
                continue
            text = image["alt"] or ""
            assert len(text) > 10, f"{page}: {text!r}"
            assert not re.search(r"[\w/]+\.(png|svg|jpg)$", text), f"{page}: {text!r} is a file name"


def test_ids_are_unique_on_each_page(site, pages):
    for page in pages:
        ids = read(site / f"{page}.html").ids
        assert sorted(ids) == sorted(set(ids)), f"{page}: {sorted({i for i in ids if ids.count(i) > 1})}"


def test_each_page_has_one_title_and_says_what_it_is(site, pages):
    for page in pages:
        found = read(site / f"{page}.html")
        # the theme prints the title once more, for paper
        assert 1 <= found.headings.count("h1") <= 2, page
        for key in ("og:title", "og:type", "og:url", "og:site_name", "og:description"):
            assert found.meta.get(key), f"{page}: no {key}"
        assert found.meta["og:url"].endswith(f"{page}.html"), page


def test_the_sitemap_lists_the_pages(site, pages):
    listed = set(re.findall(r"<loc>(.*?)</loc>", (site / "sitemap.xml").read_text(encoding="utf-8")))
    base = catalogue.repository(ROOT).site
    assert {f"{base}{page}.html" for page in pages} <= listed


def test_there_is_a_page_for_wrong_addresses(site):
    found = read(site / "404.html")
    prefix = urlsplit(catalogue.repository(ROOT).site).path
    styles = [url for url in found.loads if url.endswith(".css") or ".css?" in url]
    assert styles
    assert all(url.startswith(prefix) for url in styles), styles


def test_the_home_address_leads_to_the_book(site):
    assert "book/index.html" in (site / "index.html").read_text(encoding="utf-8")


@functools.cache
def travelling(path: Path) -> int:
    """Bytes of a file on its way: fonts and photographs are compressed already, the rest is gzipped."""
    content = path.read_bytes()
    return len(content) if path.suffix in {".woff", ".woff2", ".png", ".jpg"} else len(gzip.compress(content))


def test_a_first_visit_stays_light(site, pages):
    """HTML, scripts, styles and images that a page names, fonts of icons and, with MathJax, of formulas."""
    fonts = sum(p.stat().st_size for p in (site / "_static").rglob("fa-*.woff2"))
    usual = {"Main-Regular", "Main-Bold", "Math-Italic", "AMS-Regular", "Calligraphic-Regular", "Zero"}
    usual |= {f"Size{n}-Regular" for n in range(1, 5)}
    math_fonts = sum(
        p.stat().st_size
        for p in (site / "_static" / "mathjax").rglob("*.woff")
        if p.stem.removeprefix("MathJax_") in usual
    )
    for page in pages:
        here = site / f"{page}.html"
        named = {
            (here.parent / unquote(urlsplit(url).path)).resolve()
            for url in read(here).loads
            if not urlsplit(url).scheme
        }
        weight = fonts + sum(travelling(path) for path in (here, *named))
        weight += math_fonts if any("mathjax" in path.as_posix() for path in named) else 0
        assert weight < BUDGET, f"{page}: {weight:,} bytes"


def test_mathematics_is_here_and_not_on_another_host(site, pages):
    assert (site / "_static" / "mathjax" / "tex-mml-chtml.js").is_file()
    assert len(list((site / "_static" / "mathjax").rglob("*.woff"))) > 15
    for page in pages:
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        if 'class="math' in text:
            assert "_static/mathjax/tex-mml-chtml.js" in text, page


def test_the_catalogue_shows_all_papers(site):
    text = (site / "book" / "catalogue.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<tr data-part=", text)) == 28


def test_the_scoreboard_shows_every_claim_with_a_link_to_its_card(site):
    rows = catalogue.claims_table(ROOT)
    found = read(site / "book" / "scoreboard.html")
    text = (site / "book" / "scoreboard.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<tr data-part=", text)) == len(rows)
    for row in rows:
        assert f"../{row.page}.html#{row.anchor}" in found.links


@pytest.fixture
def states():
    path = ROOT / "_build" / "site" / "state.json"
    return json.loads(path.read_text()) if path.exists() else {}


def test_every_claim_of_a_page_that_ran_has_its_card(site, states):
    for row in catalogue.claims_table(ROOT):
        if states.get(row.page, {}).get("state") == "ok":
            assert row.anchor in read(site / f"{row.page}.html").ids, f"{row.page}: {row.anchor}"


def test_each_chapter_page_has_its_header(site, chapter_pages):
    repository = catalogue.repository(ROOT)
    for page in chapter_pages:
        found = read(site / f"{page}.html")
        assert repository.binder(f"{page}.ipynb") in found.links, page
        assert repository.colab(f"{page}.ipynb") in found.links, page
        downloads = {link for link in found.links if "_sources/" in link}
        assert any(link.endswith(".ipynb") for link in downloads), page
        assert any(link.endswith(".py") for link in downloads), page
        text = " ".join(found.text)
        assert "@incollection{loglik" in text, page
        siblings = {p for p in chapter_pages if p.rpartition("/")[0] == page.rpartition("/")[0]} - {page}
        for other in siblings:
            assert f"{other.rpartition('/')[2]}.html" in " ".join(found.links), page


def test_a_swept_chapter_s_header_names_the_claims_that_depend_on_the_seed(site):
    rows = [row for row in catalogue.claims_table(ROOT) if row.swept]
    assert rows
    for address in {row.address for row in rows}:
        mine = {row.id: row.swept for row in rows if row.address == address}
        unsure = [f"{name} in {held}" for name, (held, of) in mine.items() if 0 < held < of]
        said = f"{len(mine) - len(unsure)} of {len(mine)} criteria always gave one answer."
        said += f" The others held: {', '.join(unsure)}." if unsure else ""
        assert said in (site / "notebooks" / address / "reproduction.html").read_text(encoding="utf-8")


def test_downloads_are_the_notebooks_with_their_outputs(site, states):
    for page, state in states.items():
        if state["state"] != "ok":
            continue
        notebook = json.loads((site / "_sources" / f"{page}.ipynb").read_text(encoding="utf-8"))
        assert any(cell.get("outputs") for cell in notebook["cells"] if cell["cell_type"] == "code"), page


def test_counts_on_the_landing_page_are_those_of_the_records(site):
    text = (site / "book" / "index.html").read_text(encoding="utf-8")
    tiles = re.findall(r"<div><b>(\d+)</b><span>([^<]+)</span></div>", text)
    counts = catalogue.total(catalogue.entries(ROOT))
    judged = sum(counts.values()) - counts[catalogue.UNJUDGED]
    complete = sum(entry.state == "complete" for entry in catalogue.entries(ROOT))
    assert {label: int(n) for n, label in tiles} == {
        "papers": 28,
        "complete chapters": complete,
        "claims judged": judged,
        "reproduced": counts[claims.REPRODUCED],
    }


def test_nothing_on_the_site_names_a_machine_s_folders(site, pages):
    for page in pages:
        text = " ".join(read(site / f"{page}.html").text)
        assert not re.search(r"/(home|root|tmp|work|Users)/\w+", text), page
