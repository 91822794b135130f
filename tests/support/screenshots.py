"""Screenshots of a report that the documents show: `python -m tests.support.screenshots runs/demo`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from tests.support.browser import open_page

DESKTOP = {"width": 1280, "height": 900}
DOCUMENTS = Path(__file__).parents[2] / "docs"


def take_screenshots(report: Path, folder: Path) -> list[Path]:
    """Write the top of the page, and the ranked lists of the first search; returns the files."""
    with open_page(viewport=DESKTOP, color_scheme="light") as (page, _):
        page.goto(report.resolve().as_uri())
        top = page.screenshot()
        page.set_viewport_size({"width": 1280, "height": 1600})
        page.locator("#lists").scroll_into_view_if_needed()
        box = page.locator("#lists").bounding_box()
        last = page.locator("#lists .ranked").nth(5).bounding_box()
        clip = {"x": box["x"] - 20, "y": box["y"] + page.evaluate("scrollY")}
        clip |= {"width": box["width"] + 20, "height": last["y"] + last["height"] - box["y"]}
        lists = page.screenshot(full_page=True, clip=clip)
    files = [folder / "report.webp", folder / "ranked-lists.webp"]
    for file, picture in zip(files, (top, lists), strict=True):
        Image.open(io.BytesIO(picture)).convert("RGB").save(file, "WEBP", quality=82, method=6)
    return files


if __name__ == "__main__":
    for written in take_screenshots(Path(sys.argv[1]) / "report.html", DOCUMENTS):
        print(written)
