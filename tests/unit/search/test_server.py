"""`tsme serve` on loopback: a real server, its limits, its token, and its page in a real browser."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import uvicorn
from PIL import Image

from tests.support.browser import needs_browser, open_page
from tsme.search import server
from tsme.search.build import build_index
from tsme.search.gallery import read_gallery
from tsme.search.index import GalleryIndex
from tsme.search.query import Searcher
from workflows.cli.main import main

TOKEN = "a secret of the test"


@pytest.fixture
def index(gallery_folder: Path, embedder, tmp_path: Path) -> GalleryIndex:
    return build_index(tmp_path / "index", read_gallery(str(gallery_folder)), embedder)


@pytest.fixture
def start(index, embedder) -> Iterator[Callable[[str | None], str]]:
    """start(token): the address of a server in this process."""
    started: list[tuple[uvicorn.Server, threading.Thread]] = []

    def run(token: str | None) -> str:
        app = server.create_app(Searcher(index, embedder), token)
        listening = socket.create_server(("127.0.0.1", 0))
        serving = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=serving.run, args=([listening],))
        thread.start()
        started.append((serving, thread))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield run
    for serving, thread in started:
        serving.should_exit = True
        thread.join()


def png(width: int, height: int) -> bytes:
    Image.new("RGB", (width, height)).save(stream := io.BytesIO(), "PNG")
    return stream.getvalue()


def test_the_api_answers_within_its_limits(start, gallery_folder, tmp_path):
    url = start(None)
    index = requests.get(f"{url}/api/index").json()
    assert index["images"] == 6 and index["modalities"] == {"visible": 3, "infrared": 3}
    query = (gallery_folder / "b" / "4.png").read_bytes()
    before = sorted(tmp_path.rglob("*"))
    found = requests.post(f"{url}/api/search?top=2", data=query).json()
    assert (found["modality"], found["told"], len(found["matches"])) == ("infrared", True, 2)
    first = found["matches"][0]
    assert (first["path"], first["label"]) == ("b/4.png", "b") and first["score"] > 0.99
    given = requests.post(f"{url}/api/search?modality=visible&rerank=true", data=query).json()
    assert given["modality"] == "visible" and given["matches"][0]["reranked"] is not None
    thumbnail = requests.get(f"{url}/api/images/{first['row']}")
    with Image.open(io.BytesIO(thumbnail.content)) as image:
        assert (image.format, image.size) == ("JPEG", (16, 32))
    assert requests.get(f"{url}/api/images/6").status_code == 404
    assert requests.get(f"{url}/api/images/-1").status_code == 404

    def refused(content: bytes, options: str = "") -> tuple[int, str]:
        response = requests.post(f"{url}/api/search?{options}", data=content)
        return response.status_code, str(response.json()["detail"])

    assert refused(b"no image") == (
        422, "not a readable image (unknown format); send JPEG, PNG, WEBP, BMP, TIFF"
    )  # fmt: skip
    assert refused(query[:-40])[0] == 422
    status, detail = refused(png(25_001, 1000))
    assert status == 422 and "25001 x 1000 pixels; at most 25 million" in detail
    assert refused(bytes(server.MAX_BYTES + 1)) == (
        413, "the file is too large; at most 10 MiB are accepted"
    )  # fmt: skip
    assert refused(query, "top=0")[0] == refused(query, "modality=thermal")[0] == 422
    assert sorted(tmp_path.rglob("*")) == before, "nothing is stored"
    # A page elsewhere whose name leads to this machine is refused.
    foreign = requests.get(f"{url}/api/index", headers={"Host": "elsewhere.example"})
    assert foreign.status_code == 400
    page = requests.get(url)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"https?://", page.text), "the page loads nothing from elsewhere"
    assert requests.get(f"{url}/docs").status_code == 404


def test_a_token_is_required_where_one_is_set(start, gallery_folder):
    url, query = start(TOKEN), (gallery_folder / "a" / "0.png").read_bytes()
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        for response in (
            requests.get(f"{url}/api/index", headers=header),
            requests.get(f"{url}/api/images/0", headers=header),
            requests.post(f"{url}/api/search", data=query, headers=header),
        ):
            assert (response.status_code, response.json()) == (401, {"detail": "a token is required"})
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert requests.post(f"{url}/api/search", data=query, headers=right).status_code == 200
    assert requests.get(url).status_code == 200


def test_the_command_prints_its_address_and_ends_at_an_interrupt(index, model_file):
    command = [sys.executable, "-m", "workflows", "serve", "--index", str(index.folder)]
    command += ["--model", str(model_file), "--port", "0", "--host", "0.0.0.0"]
    environment = os.environ | {"TSME_TOKEN": TOKEN}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        timer = threading.Timer(300, process.kill)
        timer.start()
        printed = process.stdout.readline()
        port = re.fullmatch(r"http://0\.0\.0\.0:(\d+)/#token=…\n", printed)[1]
        right = {"Authorization": f"Bearer {TOKEN}"}
        index = requests.get(f"http://127.0.0.1:{port}/api/index", headers=right)
        assert index.json()["images"] == 6
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        timer.cancel()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_other_addresses_than_loopback_need_a_token(capsys, monkeypatch, host: str):
    monkeypatch.delenv("TSME_TOKEN", raising=False)
    with pytest.raises(SystemExit) as stop:
        main(["serve", "--model", "m", "--index", "i", "--host", host])
    assert stop.value.code == 2
    assert f"--host {host}: others can reach it, so it needs a token" in capsys.readouterr().err


@needs_browser
def test_the_page_searches_in_a_browser(start, gallery_folder):
    url = start(TOKEN)
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True}
    with open_page(**phone) as (page, messages):
        page.goto(url)
        page.fill("#token", TOKEN)  # asked for, as the address has none
        page.click("text=Continue")
        page.wait_for_selector("text=among 3 visible and 3 infrared images")
        messages.clear()  # the browser has logged the 401
        page.goto("about:blank")
        page.goto(f"{url}/#token={TOKEN}")
        page.wait_for_selector("text=among 3 visible and 3 infrared images")
        assert TOKEN not in page.url
        page.set_input_files("#file", gallery_folder / "b" / "4.png")
        page.wait_for_selector("text=Taken as infrared (its three channels are equal): 6 matches")
        for place in range(1, 7):
            page.wait_for_selector(f"#matches li:nth-child({place}) img[src^='blob:']")
        assert page.get_attribute("#matches li:first-child img", "alt") == "Rank 1: b, 4.png"
        page.check("input[value=visible]")
        page.wait_for_selector("text=Taken as visible: 6 matches")
        page.check("#rerank")
        page.wait_for_selector("text=re-ranked, in")
        named = (
            "[...document.querySelectorAll('img, input, select')].every(x => x.alt || x.labels?.length)"
        )
        assert page.evaluate(named)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, "no sideways scrolling"
        page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"broken"})
        page.wait_for_selector("#status.error >> text=not a readable image")
    assert [text for text in messages if "422" not in text] == []
