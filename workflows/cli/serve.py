"""`tsme serve`: a web page and a JSON API that search an index."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from tsme.errors import UserError
from workflows.cli.output import console
from workflows.cli.search import ApproximateOption, ModelOption, TrialOption, load_embedder

MAX_CONNECTIONS = 64


def serve(
    model: ModelOption,
    index: Annotated[Path, typer.Option(metavar="INDEX", help="An index that `tsme index` has built.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than loopback needs --token.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 8080,
    token: Annotated[
        str, typer.Option(envvar="TSME_TOKEN", help="What clients must know; better set as TSME_TOKEN.")
    ] = "",
    trial: TrialOption = None,
    approximate: ApproximateOption = False,
) -> None:
    """Serve a page and a JSON API to search an index.

    Uploaded images are limited to 10 MiB and 25 million pixels and are not stored. The connection is not
    encrypted: put a proxy with TLS in front of it on a network that you do not trust.
    """
    if not token and not _is_loopback(host):
        raise UserError(
            f"--host {host}: others can reach it, so it needs a token; set TSME_TOKEN or --token"
        )
    from tsme.search.approximate import ApproximateSearch
    from tsme.search.index import GalleryIndex
    from tsme.search.query import Searcher

    opened = GalleryIndex.open(index)
    function = ApproximateSearch(opened).search if approximate else None
    searcher = Searcher(opened, load_embedder(model, trial), function)
    import uvicorn

    from tsme.search.server import create_app

    listening = _listen(host, port)
    address = f"[{host}]" if ":" in host else host
    fragment = "/#token=…" if token else ""
    console.print(f"http://{address}:{listening.getsockname()[1]}{fragment}", soft_wrap=True)
    config = uvicorn.Config(
        create_app(searcher, token or None),
        log_level="warning",
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
    )
    with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        uvicorn.Server(config).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot be listened on ({error.strerror or error})"
        ) from None
