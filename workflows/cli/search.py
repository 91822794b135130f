"""`tsme index` and `tsme search`: find a person in a gallery by an image of either modality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from tsme.errors import UserError
from workflows.cli.output import console

if TYPE_CHECKING:
    from tsme.search.embedder import ImageEmbedder
    from tsme.search.gallery import Gallery
    from tsme.search.index import GalleryIndex
    from tsme.search.query import RankedList


ModalityChoice = Literal["visible", "infrared"]
ModelOption = Annotated[
    str, typer.Option("--model", help="Weights: a file, folder or URI, or models:/NAME@ALIAS.")
]
TrialOption = Annotated[
    int | None, typer.Option(help="Which trial's weights, if there are several; default: the first.")
]
ApproximateOption = Annotated[
    bool, typer.Option("--approximate", help="Search approximately, by faiss: for millions of images.")
]


def index(
    gallery: Annotated[
        str,
        typer.Argument(metavar="GALLERY", help="Folder, CSV or Parquet file, or 'PATTERN' of images."),
    ],
    model: ModelOption,
    out: Annotated[Path, typer.Option(metavar="INDEX", help="Folder to create, or to complete.")],
    modality: Annotated[
        ModalityChoice | None,
        typer.Option(help="Of all images; default: a table's column, or what each image shows."),
    ] = None,
    trial: TrialOption = None,
    approximate: ApproximateOption = False,
) -> None:
    """Index a gallery, so that `tsme search` and `tsme serve` need not embed it again.

    Subfolders and the column `identity` become labels. An image whose three channels are equal is
    infrared. The same command continues an interrupted build. Unreadable images are listed in
    INDEX/unreadable.jsonl.
    """
    from tsme.search.gallery import read_gallery

    images = read_gallery(gallery, modality)
    from tsme.search.approximate import build_approximate

    built = _build(out, images, load_embedder(model, trial))
    _print_index(built)
    if approximate:
        with console.status("building the approximate index"):
            built = build_approximate(built)
        record = built.header.approximate
        assert record is not None
        console.print(
            f"approximate index: finds {record.recall:.1%} of the exact first {record.top} "
            f"({record.queries} gallery images as queries)",
            soft_wrap=True,
        )


def search(
    model: ModelOption,
    gallery: Annotated[
        str,
        typer.Option(metavar="DIR|INDEX", help="An index, or a gallery to index in the cache folder."),
    ],
    query: Annotated[Path, typer.Option(metavar="IMAGE", help="The image to search by.")],
    modality: Annotated[
        ModalityChoice | None, typer.Option(help="Of the query; default: what it shows.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=1000, help="Results.")] = 10,
    trial: TrialOption = None,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Order the best 100 again, k-reciprocal.")
    ] = False,
    approximate: ApproximateOption = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the list here.")] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw the query and its matches (.png, .jpg)."),
    ] = None,
) -> None:
    """Search a gallery by an image of a person.

    The score is the cosine similarity of the embeddings, 1 for the same image.
    """
    if not query.is_file():
        raise UserError(f"{query}: no such image")
    images = None
    if not Path(gallery, "index.json").exists():
        from tsme.search.gallery import read_gallery

        images = read_gallery(gallery)
    from tsme.data.images import open_image
    from tsme.search.approximate import ApproximateSearch
    from tsme.search.index import GalleryIndex
    from tsme.search.query import Searcher
    from tsme.search.sheet import save_sheet
    from tsme.storage.atomic import write_json

    image, embedder = open_image(query), load_embedder(model, trial)
    opened = GalleryIndex.open(Path(gallery)) if images is None else _cached_index(images, embedder)
    searcher = Searcher(opened, embedder, ApproximateSearch(opened).search if approximate else None)
    found = searcher.find(image, modality, top, reranked=rerank)
    _print_list(query, found)
    if json is not None:
        write_json(json, {"query": str(query), "model": embedder.identity.key, **found.to_json()})
    if sheet is not None:
        save_sheet(sheet, image, query.name, found, opened.header.root)
        console.print(f"contact sheet: {sheet}", soft_wrap=True)


def load_embedder(model: str, trial: int | None) -> ImageEmbedder:
    """The model that `--model` and `--trial` name, on the GPU if there is one."""
    import torch

    from tsme.search.embedder import ImageEmbedder
    from workflows.weights import one_weights_file

    with one_weights_file(model, trial) as file:
        return ImageEmbedder(file, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def _cached_index(gallery: Gallery, embedder: ImageEmbedder) -> GalleryIndex:
    """An index in the cache folder, which serves later searches while the images stay as they are."""
    from tsme.storage.digest import digest
    from tsme.storage.local_copy import cache_folder

    name = digest([gallery.fingerprint(), embedder.identity.sha256], digits=16)
    folder = cache_folder() / f"index-{name}"
    built = _build(folder, gallery, embedder)
    _print_index(built)
    return built


def _build(folder: Path, gallery: Gallery, embedder: ImageEmbedder) -> GalleryIndex:
    """Build or complete an index, with a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tsme.search.build import build_index

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("embedding images", total=len(gallery.images))
        return build_index(
            folder,
            gallery,
            embedder,
            progress=lambda done, total: bars.update(bar, completed=done, total=total),
        )


def _print_index(index: GalleryIndex) -> None:
    header = index.header
    counts = ", ".join(f"{count} {modality}" for modality, count in header.modalities.items())
    told = " (told by the images: three equal channels are infrared)" if header.told else ""
    console.print(f"{header.vectors} images, {counts}{told}: {index.folder}", soft_wrap=True)
    if header.unreadable:
        listed = index.folder / "unreadable.jsonl"
        what = f"{header.unreadable} of {header.images} images cannot be read"
        console.print(f"note: {what}: {listed}", soft_wrap=True)


def _print_list(query: Path, found: RankedList) -> None:
    from rich.table import Table

    told = " (its channels are {}equal)".format("" if found.modality == "infrared" else "not ")
    title = f"{query.name}, {found.modality}{told if found.told else ''}"
    table = Table(title=title, title_justify="left")
    reranked = any(match.reranked is not None for match in found.matches)
    for name in ("rank", "score", *(("re-ranked",) if reranked else ())):
        table.add_column(name, justify="right")
    for name in ("label", "modality", "image"):
        table.add_column(name, overflow="fold")
    for match in found.matches:
        again = () if match.reranked is None else (f"{match.reranked:.3f}",)
        texts = (match.label, match.modality, match.path)
        table.add_row(str(match.rank), f"{match.score:.3f}", *again, *map(escape, texts))
    console.print(table)
