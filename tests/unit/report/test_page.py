"""report.html: its figures are those of the run, its texts are escaped, missing parts are named."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.unit.report.conftest import HOSTILE
from tsme.errors import UserError
from tsme.report.page import write_page
from tsme.report.run_folder import read_run


class Page(HTMLParser):
    """Elements of a page with their attributes, and the text of each table cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = tag if tag in ("td", "th") else self.inside
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        self.inside = "" if tag in ("td", "th") else self.inside

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def copy(finished, tmp_path: Path) -> Path:
    """A copy of the run's folder to damage."""
    shutil.copytree(finished[0], tmp_path / "copy")
    return tmp_path / "copy"


def page(folder: Path) -> str:
    return write_page(folder).read_text()


@pytest.fixture(scope="module")
def text(finished) -> str:
    """The page of the finished run."""
    return page(finished[0])


def change(file: Path, **values) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_the_headline_table_has_the_means_and_deviations_of_the_summary(finished, text):
    _, results = finished
    cells = [re.sub(r"\s+", " ", cell).strip() for cell in Page(text).cells]
    for protocol, figures in results["summary"].items():
        start = cells.index(protocol.replace("-to-", " to ")) + 1
        expected = [f"{100 * f['mean']:.2f} ± {100 * f['std']:.2f}" for f in figures.values()]
        assert cells[start : start + 7] == [*expected, "3 trials"]


def test_every_trial_is_listed_with_its_figures(finished, text):
    _, results = finished
    cells = Page(text).cells
    for row in results["trials"]:
        line = [
            f"{100 * row[figure]:.2f}" for figure in ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")
        ]
        starts = [i for i, cell in enumerate(cells) if cells[i : i + 6] == line]
        assert any(cells[i - 2] == str(row["trial"]) for i in starts), row


def test_cmc_charts_describe_the_mean_of_the_trials(finished, text):
    _, results = finished
    labels = [svg["aria-label"] for svg in Page(text).all("svg")]
    for direction in results["summary"]:
        mean = results["summary"][direction]["rank1"]["mean"]
        name = direction.replace("-to-", " to ")
        assert any(f"{name}: mean {100 * mean:.1f} % at rank 1" in label for label in labels)


def test_ranked_lists_show_the_frames_of_the_inspection(finished, text):
    inspection = read_run(finished[0]).inspection
    alternatives = [image["alt"] for image in Page(text).all("img")]
    for search in inspection.searches:
        for ranked in search.lists:
            for rank, frame in enumerate(ranked.frames, 1):
                verdict = "correct" if frame.correct else "wrong"
                assert f"Rank {rank}, {verdict}: identity {frame.identity}, {frame.path}" in alternatives


def test_names_are_text_not_markup(copy):
    samples = json.loads((copy / "results.json").read_text())["validation"]
    samples["samples"][0]["name"] = HOSTILE
    model = {"name": HOSTILE, "version": 1, "decision": HOSTILE}
    change(copy / "results.json", data=HOSTILE, model=model, command=HOSTILE, validation=samples)
    history = json.loads((copy / "history.json").read_text())
    history[0] |= {"name": f"sweep {HOSTILE}", "place": HOSTILE}
    (copy / "history.json").write_text(json.dumps(history))
    text = page(copy)
    assert "<script" not in text and text.count("&lt;script&gt;") > 10
    assert not Page(text).all("script")


def test_the_page_holds_all_that_it_shows(text):
    parsed = Page(text)
    for attributes in (attributes for _, attributes in parsed.elements):
        for name in ("src", "href", "xlink:href", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("data:", "#")), attributes
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert len(text) < 5_000_000
    identifiers = [a["id"] for _, a in parsed.elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    targets = [a["href"][1:] for a in parsed.all("a")]
    assert targets and set(targets) <= set(identifiers)


def test_every_picture_has_an_alternative_text(text):
    parsed = Page(text)
    assert len(parsed.all("img")) > 100 and all(image.get("alt") for image in parsed.all("img"))
    charts = parsed.all("svg")
    assert len(charts) >= 10 and all(c["role"] == "img" and c["aria-label"] for c in charts)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("history.json", "This folder holds no curves"),
        ("stages", "This run has kept no ranked lists"),
    ],
)
def test_what_is_missing_is_said(copy, file, said):
    path = copy / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert said in page(copy)


def test_results_of_an_earlier_version_have_a_page(copy):
    results = json.loads((copy / "results.json").read_text())
    for key in ("command", "versions", "machine"):
        del results[key]
    del results["validation"]["importance"]
    for row in results["trials"]:
        del row["cmc"]
    (copy / "results.json").write_text(json.dumps(results))
    text = page(copy)
    assert "This run has kept no CMC curves" in text and "has not recorded its command" in text


def test_published_figures_stand_apart_and_only_beside_comparable_data(copy):
    assert "Published figures are left out: RegDB has 206" in page(copy)
    results = json.loads((copy / "results.json").read_text())
    for row in results["trials"]:
        row["test_identities"] = 206
    (copy / "results.json").write_text(json.dumps(results))
    text = page(copy)
    assert "88.02" in text and "<b>Not measured here.</b>" in text
    ours = text[text.index('id="results"') : text.index("Published for the original")]
    assert "88.02" not in ours


def test_a_folder_without_results_or_with_damaged_files_is_refused(copy, tmp_path):
    with pytest.raises(UserError, match="not the folder of a run"):
        write_page(tmp_path)
    change(copy / "results.json", trials=[{"trial": 1}])
    with pytest.raises(UserError, match="not those of a run"):
        write_page(copy)
    (copy / "results.json").unlink()
    (copy / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"no results\.json yet"):
        write_page(copy)
