"""The search as a web page and a JSON API. Uploads are bounded and nothing is stored.

    GET  /                     the page; its files are public and hold no data
    GET  /api/index            what is searched: images by modality, model
    POST /api/search           the bytes of an image -> its ranked list
    GET  /api/images/{row}     a thumbnail of a gallery image

With a token, /api asks for it as `Authorization: Bearer TOKEN`.
"""

from __future__ import annotations

import io
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from PIL import Image
from starlette.middleware.trustedhost import TrustedHostMiddleware

from tsme.data.images import decode_image, open_image
from tsme.data.types import Modality
from tsme.errors import UserError
from tsme.search.query import Searcher

MAX_BYTES = 10 * 2**20
MAX_TOP = 200
THUMBNAIL = (256, 512)  # width and height at most
PAGE = Path(__file__).parent / "page"
PAGE_FILES = {"/": "index.html", "/style.css": "style.css", "/script.js": "script.js"}
LOOPBACK_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(searcher: Searcher, token: str | None) -> FastAPI:
    """The application. Without a token it answers requests to loopback addresses only.

    The check of the Host header keeps web pages from reaching it by a name of their own that leads to
    this machine (DNS rebinding).
    """
    app = FastAPI(title="TSME search", docs_url=None, redoc_url=None)  # their pages load foreign scripts
    if token is None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_HOSTS)

    @app.middleware("http")
    async def add_headers(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    for path, name in PAGE_FILES.items():
        app.add_api_route(path, _page_file(name), include_in_schema=False)
    app.include_router(_api(searcher), prefix="/api", dependencies=[Depends(_token_check(token))])
    return app


def _page_file(name: str) -> Callable[[], FileResponse]:
    return lambda: FileResponse(PAGE / name)


def _token_check(token: str | None) -> Callable[[str], None]:
    def check(authorization: Annotated[str, Header()] = "") -> None:
        expected = f"Bearer {token}".encode()
        if token is not None and not secrets.compare_digest(authorization.encode(), expected):
            raise HTTPException(401, "a token is required", {"WWW-Authenticate": "Bearer"})

    return check


def _api(searcher: Searcher) -> APIRouter:
    router = APIRouter()
    one_at_a_time = anyio.CapacityLimiter(1)  # a search uses all cores and the memory of one

    @router.get("/index")
    def describe() -> dict[str, Any]:
        header = searcher.index.header
        return {
            "images": header.vectors,
            "modalities": header.modalities,
            "model": header.model.key,
            "trial": header.model.trial,
            "max_bytes": MAX_BYTES,
        }

    @router.post("/search")
    async def search(
        request: Request,
        modality: Modality | None = None,
        top: Annotated[int, Query(ge=1, le=MAX_TOP)] = 20,
        rerank: bool = False,
    ) -> dict[str, Any]:
        content = await _body(request)

        def find() -> dict[str, Any]:
            start = time.perf_counter()
            image = decode_image(content)
            found = searcher.find(image, modality, top, reranked=rerank)
            return {"seconds": round(time.perf_counter() - start, 3), **found.to_json()}

        try:
            return await run_sync(find, limiter=one_at_a_time)
        except UserError as error:
            raise HTTPException(422, str(error)) from None

    @router.get("/images/{row}")
    def thumbnail(row: int) -> Response:
        try:
            image = open_image(searcher.index.file(searcher.index.image(row)))
        except (IndexError, UserError):
            raise HTTPException(404, "no such image, or its file is gone") from None
        image.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
        image.save(stream := io.BytesIO(), "JPEG", quality=90)
        return Response(stream.getvalue(), media_type="image/jpeg")

    return router


async def _body(request: Request) -> bytes:
    """The request's body; 413 as soon as it is longer than MAX_BYTES."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MAX_BYTES:
            raise HTTPException(
                413, f"the file is too large; at most {MAX_BYTES // 2**20} MiB are accepted"
            )
    return bytes(content)
