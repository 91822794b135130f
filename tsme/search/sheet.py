"""A contact sheet: the query and its best matches with rank, score, label and file name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from tsme.data.images import open_image
from tsme.errors import UserError
from tsme.search.query import Match, RankedList
from tsme.storage.atomic import replacing

THUMBNAIL = (144, 288)  # width, height
GAP, LINE, COLUMNS = 16, 20, 8
BACKGROUND, INK, PALE, QUERY = "white", "#1a1a1a", "#5c5c5c", "#0b57d0"


def save_sheet(file: Path, query: Image.Image, title: str, found: RankedList, root: Path) -> None:
    """Draw the sheet to an image file. A match whose file is gone is an empty frame.

    Raises UserError if the file's name is of no image format, or if it cannot be written.
    """
    if file.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UserError(f"{file}: name a .png, .jpg or .webp file")
    tiles = [_tile(query, [title, f"query, {found.modality}"], QUERY)]
    tiles += [_tile(_thumbnail(root / match.path), _lines(match), INK) for match in found.matches]
    with replacing(file) as temporary:
        _grid(tiles).save(temporary, format=Image.registered_extensions()[file.suffix.lower()])


def _lines(match: Match) -> list[str]:
    label = match.label or match.modality
    return [f"{match.rank}.  {match.score:.3f}", label, Path(match.path).name]


def _thumbnail(file: Path) -> Image.Image | None:
    try:
        return open_image(file)
    except UserError:
        return None


def _tile(image: Image.Image | None, lines: Sequence[str], colour: str) -> Image.Image:
    width, height = THUMBNAIL
    tile = Image.new("RGB", (width, height + 3 * LINE + 8), BACKGROUND)
    draw = ImageDraw.Draw(tile)
    if image is not None:
        tile.paste(ImageOps.pad(image, THUMBNAIL, color="#e8e8e8"))
    draw.rectangle((0, 0, width - 1, height - 1), outline=colour, width=4 if colour == QUERY else 1)
    for number, line in enumerate(lines):
        font = ImageFont.load_default(14 if number == 0 else 12)
        ink = colour if number == 0 else PALE
        draw.text((0, height + 4 + number * LINE), _fitted(line, font, width), fill=ink, font=font)
    return tile


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, its beginning replaced by … where it is wider than `width`: names differ at the end."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text


def _grid(tiles: Sequence[Image.Image]) -> Image.Image:
    width, height = tiles[0].size
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (GAP + columns * (width + GAP), GAP + rows * (height + GAP)), BACKGROUND)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        sheet.paste(tile, (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    return sheet
