"""axe-core on the rendered site, light and dark: contrast, names, roles, labels."""

import pytest
from axe_playwright_python.sync_playwright import Axe

# docutils writes the list of references, with roles that ARIA 1.3 no longer knows; long tables go on as they begin.
EXCEPT = {"exclude": [".citation-list", ".lk-table tbody tr:nth-child(n+40)"]}
#: Names and roles are the same in the dark; colours aren't.
RULES = {"light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "dark": ["color-contrast"]}
STILL = "*, ::before, ::after { animation: none !important; transition: none !important }"


@pytest.fixture(scope="module")
def looked_at(pages, chapter_pages):
    """Every page of prose, one of the API's, which are alike, and the three of the first chapter."""
    prose = [page for page in pages if page.startswith("book/") and not page.startswith("book/api_")]
    return [*prose, "book/api_causal", *chapter_pages[:3]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_mend(chromium, address, looked_at, scheme):
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    tab = context.new_page()
    found = [text for page in looked_at for text in violations(tab, f"{address}/{page}.html", scheme)]
    context.close()
    assert not found, "\n".join(found)


def test_axe_would_notice(chromium):
    tab = chromium.new_page()
    tab.set_content(
        '<html lang="en"><title>t</title><main><p style="color:#bbb">pale</p><img src="x.png"></main></html>'
    )
    assert {text.split()[1] for text in named(tab)} == {"color-contrast", "image-alt"}
    tab.close()


def violations(tab, url, scheme):
    """What axe finds on a page with everything unfolded."""
    tab.goto(url)
    tab.wait_for_load_state("load")
    tab.add_style_tag(content=STILL)  # what fades in is pale while it does
    tab.evaluate("document.querySelectorAll('details').forEach(box => { box.open = true })")
    return named(tab, scheme)


def named(tab, scheme="light"):
    options = {"runOnly": RULES[scheme], "resultTypes": ["violations"]}
    return [
        f"{tab.url} {rule['id']} {node['target']}: {node['failureSummary']}"
        for rule in Axe().run(tab, EXCEPT, options).response["violations"]
        for node in rule["nodes"]
    ]
