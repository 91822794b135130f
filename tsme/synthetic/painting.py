"""Paint a posed figure: tones, patterns, shading, and the folds and textures of cloth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tsme.synthetic.cameras.optics import FloatImage
from tsme.synthetic.people.pattern import accent_mask
from tsme.synthetic.people.person import Person, Sensor, Texture
from tsme.synthetic.people.shapes import Shape

FOLD_STRENGTH: Mapping[Sensor, float] = {"visible": 0.06, "thermal": 0.03, "nir": 0.07}  # without texture
# How much of a fabric's texture each sensor records. Quilting is thin, so warm, at its seams.
TEXTURE_GAIN: Mapping[Sensor, Texture] = {
    "visible": Texture(folds=1.0, weave=1.0, sheen=1.0, seams=1.0),
    "thermal": Texture(folds=0.3, weave=0.0, sheen=0.0, seams=-0.4),
    "nir": Texture(folds=1.0, weave=0.7, sheen=0.6, seams=0.8),
}
QUILTED_ROWS = 6  # per garment
SEAM_WIDTH = 0.2  # of a row
SHEEN_WIDTH = 0.25  # in units of u


class Light(NamedTuple):
    """Light on a figure: rounded parts are brightest at u = `side` and darken towards their edges.

    `folds` and `weave` (height, width) are coarse and fine noise; `weave` is only used for textures.
    """

    darkening: float
    side: float
    folds: FloatImage
    weave: FloatImage


class Window(NamedTuple):
    """The pixels that one shape covers: a view of the image, and mask, u and v of the shape, (h, w)."""

    pixels: FloatImage
    area: tuple[slice, slice]
    inside: NDArray[np.bool_]
    u: FloatImage
    v: FloatImage


class Painter:
    """Paints shapes of one person over `image` (height, width, channels), in place."""

    def __init__(self, person: Person, sensor: Sensor, image: FloatImage, light: Light) -> None:
        part_tones = person.tones[sensor].items()
        self.tones = {part: np.array(tone, dtype=np.float32) for part, tone in part_tones}
        self.textures = person.textures
        self.gain, self.fold_strength = TEXTURE_GAIN[sensor], np.float32(FOLD_STRENGTH[sensor])
        self.image, self.light = image, light

    def paint(self, figure: Sequence[Shape]) -> None:
        """Paint the shapes in order."""
        for shape in figure:
            window = _window(shape, self.image)
            if window is None:
                continue
            self._paint_part(shape.part, window, window.inside)
            if shape.pattern is not None:
                u, v = shape.u_offset + shape.u_scale * window.u, shape.v_scale * window.v
                accent = window.inside & accent_mask(shape.pattern, u, v)
                self._paint_part(f"{shape.part}_accent", window, accent)

    def _paint_part(self, part: str, window: Window, where: NDArray[np.bool_]) -> None:
        """Write the part's tone, shaded, where `where` is True."""
        light, texture = self.light, self.textures.get(part)
        distance = np.abs(window.u - light.side)
        shade = 1 - light.darkening * np.minimum(np.maximum(distance - 0.2, 0), 1.2)
        if texture is None:
            shade *= 1 + self.fold_strength * light.folds[window.area]
            _fill(window.pixels, where, self.tones[part], shade)
            return
        gain = self.gain
        shade *= 1 + gain.folds * texture.folds * light.folds[window.area]
        shade *= 1 + gain.weave * texture.weave * light.weave[window.area]
        if texture.seams:
            seam = (np.abs(window.v) * QUILTED_ROWS) % 1.0 < SEAM_WIDTH
            shade *= 1 - gain.seams * texture.seams * seam
        _fill(window.pixels, where, self.tones[part], shade)
        if gain.sheen * texture.sheen:
            highlight = gain.sheen * texture.sheen * np.exp(-((distance / SHEEN_WIDTH) ** 2))
            window.pixels[where] += highlight[where][:, None]


def _window(shape: Shape, image: FloatImage) -> Window | None:
    """Return the pixels that `shape` covers, or None if it is outside the image."""
    height, width = image.shape[:2]
    xs, ys = (shape.outline * height).T.tolist()
    left, right = max(math.floor(min(xs)), 0), min(math.ceil(max(xs)) + 1, width)
    top, bottom = max(math.floor(min(ys)), 0), min(math.ceil(max(ys)) + 1, height)
    if right <= left or bottom <= top:
        return None
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in zip(xs, ys, strict=True)], fill=1)
    area = (slice(top, bottom), slice(left, right))
    u, v = _garment_coordinates(shape, np.arange(left, right), np.arange(top, bottom), height)
    return Window(image[area], area, np.asarray(mask).view(np.bool_), u, v)


def _fill(window: FloatImage, where: NDArray[np.bool_], tone: FloatImage, shade: FloatImage) -> None:
    """Write `tone` times `shade` into `window` where `where` is True, in place.

    One channel at a time: NumPy's inner loop over the three channels together has only three steps.
    """
    for channel, level in enumerate(tone):
        np.multiply(shade, level, out=window[..., channel], where=where)


def _garment_coordinates(
    shape: Shape, columns: NDArray[np.int64], rows: NDArray[np.int64], height: int
) -> tuple[FloatImage, FloatImage]:
    """Return the shape's u and v, each (h, w), at pixel columns (w,) and rows (h,)."""
    start, axis = shape.top * height, (shape.bottom - shape.top) * height
    length = max(float(np.hypot(axis[0], axis[1])), 1e-6)
    along = axis / length
    across = shape.sign * along
    x = columns.astype(np.float32) - np.float32(start[0])
    y = (rows.astype(np.float32) - np.float32(start[1]))[:, None]
    u = (x * across[1] - y * across[0]) / max(shape.half_width * height, 1e-6)
    v = (x * along[0] + y * along[1]) / length
    return u.astype(np.float32), v.astype(np.float32)
