"""The rendered site in a real browser: light and dark, wide and on a phone."""

import json
from contextlib import contextmanager

import pytest

from loglik.press import catalogue
from tests.site.conftest import ROOT

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1400, "height": 900}
#: Loaded is not yet laid out: mathematics is typeset and fonts arrive afterwards.
SETTLED = "Promise.all([window.MathJax?.startup?.promise, document.fonts.ready]).then(() => true)"


@pytest.fixture
def visit(chromium, address):
    """Open a page; it fails the test on a console error, a script error or a request to another host."""
    contexts, trouble = [], []

    def go(page, viewport=DESK, scheme="light", tab=None):
        if tab is None:
            contexts.append(chromium.new_context(viewport=viewport, color_scheme=scheme))
            tab = watched(contexts[-1].new_page(), address, trouble)
        tab.goto(f"{address}/{page}")
        tab.evaluate(SETTLED)
        return tab

    yield go
    for context in contexts:
        context.close()
    assert not trouble, "\n".join(trouble)


def watched(tab, address, trouble):
    tab.set_default_timeout(15_000)
    tab.on("console", lambda m: trouble.append(f"console: {m.text}") if m.type == "error" else None)
    tab.on("pageerror", lambda error: trouble.append(f"script: {error}"))
    tab.on("request", lambda r: None if _is_here(r.url, address) else trouble.append(f"request: {r.url}"))
    return tab


def tour(visit, pages, **options):
    """Pages one after the other in one tab: what they share is loaded once."""
    tab = None
    for page in pages:
        tab = visit(f"{page}.html", tab=tab, **options)
        yield page, tab


def _is_here(url, address):
    return url.startswith((address, "data:", "blob:", "about:"))


@contextmanager
def changed_hash(tab):
    before = tab.evaluate("location.hash")
    yield
    tab.wait_for_function("before => location.hash !== before", arg=before)


def field(tab, name):
    found = tab.locator(f".lk-filters [name={name}]")
    assert found.evaluate("f => f.labels.length") == 1, f"{name} has no label"
    return found


def shown(tab):
    return tab.locator(".lk-table tbody tr:visible").count()


@pytest.fixture(scope="session")
def complete_chapter():
    """Address of the first chapter that is no draft."""
    return next(entry.address for entry in catalogue.entries(ROOT) if entry.state == "complete")


@pytest.fixture
def method_page(complete_chapter):
    return f"notebooks/{complete_chapter}/method.html"


@pytest.fixture
def claims_page(complete_chapter):
    return f"notebooks/{complete_chapter}/reproduction.html"


# -- every page ----------------------------------------------------------------------------------------------


def test_every_page_loads_quietly_and_fits_a_phone(visit, pages):
    wide = {}
    for page, tab in tour(visit, pages, viewport=PHONE):
        width = tab.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide[page] = width
    assert not wide, f"pages that scroll sideways at {PHONE['width']} px: {wide}"


LOOK = """
() => {
  const all = (what) => [...document.querySelectorAll(what)];
  const seen = (node) => node && node.offsetParent !== null;
  for (const picture of document.images) picture.loading = "eager";
  return Promise.all([...document.images].map((i) => i.decode().catch(() => null))).then(() => ({
    broken: [...document.images].filter((i) => seen(i) && !i.naturalWidth).map((i) => i.src),
    silent: [...document.images].filter((i) => !i.alt.trim()).map((i) => i.src),
    formulae: all(".math").length,
    typeset: all(".math mjx-container").length,
    misspelt: all("mjx-merror").length,
    buttons: all(".lk-head .lk-actions a").filter(seen).map((a) => a.textContent.trim()),
    current: all(".lk-head .lk-tabs [aria-current=page]").length,
  }));
}
"""


def test_every_page_of_a_chapter_is_whole(visit, chapter_pages):
    """Pictures load and have texts, mathematics is typeset, the header has its buttons."""
    formulae = 0
    for page, tab in tour(visit, chapter_pages):
        look = tab.evaluate(LOOK)
        formulae += look["formulae"]
        assert look["broken"] == look["silent"] == [], page
        assert look["typeset"] >= look["formulae"], page
        assert look["misspelt"] == 0, page
        assert look["current"] == 1, page
        for name in ("Binder", "Colab", ".ipynb", ".py"):
            assert any(name in text for text in look["buttons"]), f"{page}: {name}"
    assert formulae > 100


# -- search, dark mode ---------------------------------------------------------------------------------------


def test_search_finds_a_word(visit):
    tab = visit("search.html?q=criterion")
    tab.wait_for_selector("#search-results li a")
    texts = " ".join(tab.locator("#search-results li").all_inner_texts())
    assert "How claims are judged" in texts


def test_the_search_box_opens_by_key(visit):
    tab = visit("book/index.html")
    tab.keyboard.press("Control+k")
    tab.wait_for_selector("dialog#pst-search-dialog[open] input")


def test_dark_mode_toggles_and_stays(visit):
    tab = visit("book/index.html")
    back = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for _ in range(3):
        seen[tab.evaluate("document.documentElement.dataset.theme")] = tab.evaluate(back)
        tab.locator(".theme-switch-button:visible").first.click()
    assert set(seen) == {"light", "dark"}
    assert seen["light"] != seen["dark"]
    tab.evaluate("localStorage.setItem('mode', 'dark'); localStorage.setItem('theme', 'dark')")
    tab.reload()
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


CONTRAST = """
() => {
  const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const channel = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const c = parse(getComputedStyle(node).backgroundColor);
      if (c.length && (c.length < 4 || c[3] > 0.99)) return c;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.offsetParent) continue;
    if (node.closest("svg, .headerlink, mjx-container, .highlight, select, .mime-html-fixed")) continue;
    const style = getComputedStyle(node);
    let seen = 1;
    for (let n = node; n; n = n.parentElement) seen *= Number(getComputedStyle(n).opacity);
    const ground = behind(node), ink = parse(style.color).slice(0, 3).map((v, i) => v * seen + ground[i] * (1 - seen));
    const a = luminance(ink), b = luminance(ground);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${walker.currentNode.data.trim().slice(0, 40)}`);
  }
  return [...new Set(poor)];
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(visit, scheme, claims_page):
    looked_at = ("book/index", "book/catalogue", "book/scoreboard", claims_page.removesuffix(".html"))
    for page, tab in tour(visit, looked_at, scheme=scheme):
        assert tab.evaluate("document.documentElement.dataset.theme") == scheme
        assert tab.evaluate(CONTRAST) == [], page


# -- the tables ----------------------------------------------------------------------------------------------


def test_the_catalogue_filters(visit):
    tab = visit("book/catalogue.html")
    assert shown(tab) == 28
    with changed_hash(tab):
        field(tab, "part").select_option("causal")
    assert shown(tab) == 2
    assert tab.locator(".lk-count").inner_text() == "2 of 28 papers"
    with changed_hash(tab):
        field(tab, "q").fill("instrumental invalid")
    assert shown(tab) == 1
    tab.reload()
    assert shown(tab) == 1, "the address keeps the filters"
    tab.get_by_role("button", name="Reset").click()
    tab.wait_for_function("location.hash === ''")
    assert shown(tab) == 28
    with changed_hash(tab):
        field(tab, "q").fill("no such paper anywhere")
    assert shown(tab) == 0
    assert tab.locator(".lk-none").is_visible()


def test_the_catalogue_sorts_by_keyboard(visit):
    tab = visit("book/catalogue.html")
    years = ".lk-table tbody tr td:nth-child(3)"
    tab.get_by_role("button", name="Year").focus()
    with changed_hash(tab):
        tab.keyboard.press("Enter")
    found = [int(text) for text in tab.locator(years).all_inner_texts()]
    assert found == sorted(found)
    assert found[0] != found[-1]
    assert tab.locator("th[aria-sort=ascending]").inner_text().startswith("Year")
    with changed_hash(tab):
        tab.keyboard.press("Enter")
    assert [int(text) for text in tab.locator(years).all_inner_texts()] == found[::-1]


def test_the_catalogue_sorts_on_a_phone(visit):
    tab = visit("book/catalogue.html", viewport=PHONE)
    with changed_hash(tab):
        tab.locator("select[aria-label='Sort by']").select_option("-year")
    found = [int(t.split()[-1]) for t in tab.locator(".lk-table tbody tr td:nth-child(3)").all_inner_texts()]
    assert found == sorted(found, reverse=True)


def test_the_whole_catalogue_is_there_without_scripts(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{address}/book/catalogue.html")
    assert tab.locator(".lk-table tbody tr").count() == 28
    assert not tab.locator(".lk-filters").is_visible()
    context.close()


def test_the_scoreboard_leads_to_the_card_of_a_claim(visit):
    tab = visit("book/scoreboard.html")
    link = tab.locator(".lk-table a.lk-id").first
    name = link.inner_text().strip()
    link.click()
    card = tab.locator(f"#claim-{name}")
    card.wait_for()
    tab.wait_for_load_state("load")
    tab.wait_for_function(
        "id => { const box = document.getElementById(id).getBoundingClientRect();"
        " return box.top >= 0 && box.top < innerHeight }",
        arg=f"claim-{name}",
    )


def test_the_scoreboard_filters_by_verdict(visit):
    tab = visit("book/scoreboard.html")
    choice = field(tab, "verdict")
    values = [v for v in choice.locator("option").evaluate_all("o => o.map(x => x.value)") if v]
    whole = shown(tab)
    each = []
    for value in values:
        choice.select_option(value)
        each.append(shown(tab))
        assert set(tab.locator("tbody tr:visible").evaluate_all("r => r.map(x => x.dataset.verdict)")) == {
            value
        }
    assert sum(each) == whole > 0


def test_the_scoreboard_filters_by_stability_over_seeds(visit):
    tab = visit("book/scoreboard.html")
    swept = {row.swept for row in catalogue.claims_table(ROOT) if row.swept}
    for value, wanted in (
        ("every seed", {s for s in swept if s[0] == s[1]}),
        ("no seed", {s for s in swept if not s[0]}),
    ):
        field(tab, "seeds").select_option(value)
        said = tab.locator("tbody tr:visible td:nth-child(4)").all_inner_texts()
        assert said
        assert {text.split("held in ")[1].split(" seeds")[0] for text in said} == {
            f"{a} of {b}" for a, b in wanted
        }


# -- equations and code --------------------------------------------------------------------------------------


def test_an_equation_leads_to_its_code_and_back(visit, method_page):
    tab = visit(method_page)
    line = tab.locator(".lk-code-of").first
    line.locator("a.internal").first.click()
    tab.wait_for_load_state("load")
    entry = tab.locator(f"dl.py:has(> dt[id='{tab.url.split('#')[1]}'])").first
    assert entry.locator("a", has_text="[source]").count() > 0
    entry.get_by_text("Computes").first.locator("xpath=following::a[1]").click()
    tab.wait_for_load_state("load")
    assert tab.url.split("#")[0].endswith(method_page)


# -- figures to drag -----------------------------------------------------------------------------------------


def test_a_slider_switches_the_picture_and_its_numbers(visit, site, chapter_pages):
    pages = [
        page for page in chapter_pages if 'class="lk-slider' in (site / f"{page}.html").read_text("utf-8")
    ]
    assert pages, "no page has a figure to drag"
    for page, tab in tour(visit, pages):
        box = tab.locator(".lk-slider")
        frames = json.loads(box.get_attribute("data-frames"))
        picture = tab.locator(f"figure[id='{box.get_attribute('data-figure')}'] img")
        slider = box.get_by_role("slider")
        slider.focus()
        tab.keyboard.press("End")  # it may stand at the first value already
        tab.keyboard.press("Home")
        seen = set()
        for frame in frames:
            assert box.locator("p").inner_text().startswith(frame["value"]), page
            assert frame["value"] in picture.get_attribute("alt")
            assert slider.get_attribute("aria-valuetext") == frame["value"]
            tab.wait_for_function("i => i.complete && i.naturalWidth > 0", arg=picture.element_handle())
            seen.add(picture.evaluate("i => i.src"))
            tab.keyboard.press("ArrowRight")
        assert len(seen) == len(frames), page


# -- the chapter's header ------------------------------------------------------------------------------------


def test_a_chapter_s_notebook_can_be_taken_away(visit, method_page):
    tab = visit(method_page)
    with tab.expect_download() as found:
        tab.locator(".lk-head .lk-actions a", has_text=".ipynb").click()
    assert found.value.suggested_filename.endswith(".ipynb")


def test_a_chapter_can_be_cited(visit, method_page):
    tab = visit(method_page)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    box = tab.locator(".lk-cite")
    assert not box.locator("pre").first.is_visible()
    box.locator("summary").click()
    assert box.locator("pre").count() == 2
    box.locator(".lk-copy").first.click()
    tab.wait_for_function("document.querySelector('.lk-cite .lk-copy').textContent === 'Copied'")
    assert tab.evaluate("navigator.clipboard.readText()").startswith("@")
