"""report.html in a real browser: no request, no error, readable in light and dark, wide and narrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import needs_browser, open_page
from tests.support.screenshots import DESKTOP, take_screenshots
from tsme.report.page import write_page

pytestmark = [needs_browser, pytest.mark.slow]
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def page_file(finished) -> Path:
    return write_page(finished[0])


def violations(page: Any) -> list[str]:
    """What axe-core finds wrong with the page: contrast, alternative texts, names, structure."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_works_in_a_browser(page_file: Path, scheme: str, viewport: dict[str, int]):
    with open_page(viewport=viewport, color_scheme=scheme) as (page, messages):
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_file.as_uri())
        for link in page.locator("nav a").all():
            link.click()
            section = page.locator(link.get_attribute("href"))
            assert section.bounding_box()["y"] < viewport["height"]
        for summary in page.locator("summary").all():
            summary.click()
            summary.click()
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert violations(page) == []
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= viewport["width"], "the page itself never scrolls sideways"
        pictures = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        assert pictures and all(pictures)
    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [page_file.as_uri()]


def test_charts_follow_the_colour_scheme(page_file: Path):
    """Text in a chart has the colour of the page's text, which is dark on light and light on dark."""
    colours = {}
    for scheme in ("light", "dark"):
        with open_page(color_scheme=scheme) as (page, _):
            page.goto(page_file.as_uri())
            fill = "getComputedStyle(document.querySelector('svg.chart text')).fill"
            colours[scheme] = page.evaluate(fill)
            brightness = sum(int(part) for part in colours[scheme][4:-1].split(","))
            assert (brightness > 384) == (scheme == "dark")
    assert colours["light"] != colours["dark"]


def test_the_page_prints_with_its_configuration(page_file: Path, tmp_path: Path):
    with open_page() as (page, _):
        page.goto(page_file.as_uri())
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        page.set_viewport_size({"width": 680, "height": 960})  # A4 without its margins
        assert page.evaluate("document.documentElement.scrollWidth") <= 680
        page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_screenshots_for_the_documents(page_file: Path, tmp_path: Path):
    names = [file.name for file in take_screenshots(page_file, tmp_path)]
    assert names == ["report.webp", "ranked-lists.webp"]
    documents = Path(__file__).parents[3] / "docs"
    for name in names:
        assert 5_000 < (documents / name).stat().st_size < 300_000
