"""Default options: names, lists and images of every layout stay as they were."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tsme.config import DatasetName
from tsme.synthetic.generate import generate

# SHA-256 of all file names and list files, and the mean levels of four bands of the
# colour and the grayscale images.
EXPECTED: dict[DatasetName, tuple[str, list[list[float]]]] = {
    "regdb": (
        "48f8c955ee9fcf8d96c506fe74e8089c607a42fe4822b76efbfa4cf2a83760cc",
        [[122.53, 119.48, 126.91, 121.64], [62.21, 92.48, 87.99, 64.86]],
    ),
    "sysu": (
        "abbe6938c818e9ba4c67444c6d6e13000c263ad78695e697e54bb35c70f618aa",
        [[112.93, 111.77, 111.25, 120.64], [54.43, 100.23, 90.2, 70.17]],
    ),
    "llcm": (
        "663d4244f4004d63ec3a196b2c156891b16b27c80f7ff48af39eff6523374fe3",
        [[85.01, 73.89, 71.82, 74.09], [77.5, 114.37, 100.06, 82.52]],
    ),
    "csv": (
        "cf5cd805cb4ed9895528292f6d98627db153845dc243a219f96f7145b7e6e10e",
        [[124.86, 102.96, 110.61, 113.22], [80.08, 108.74, 94.43, 54.07]],
    ),
}


@pytest.mark.parametrize("layout", ["regdb", "sysu", "llcm", "csv"])
def test_default_output_is_unchanged(tmp_path: Path, layout: DatasetName) -> None:
    """Images are compared by means, as single bits may depend on the processor."""
    root = tmp_path / "data"
    generate(root, layout=layout, identities=6, images=2, seed=11, trials=2, workers=1)
    digest = hashlib.sha256()
    means: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(root)}\n".encode())
        if file.suffix in (".txt", ".csv"):
            digest.update(file.read_bytes())
        else:
            pixels = np.asarray(Image.open(file)).astype(float)
            grayscale = bool(np.ptp(pixels, axis=2).max() <= 1)
            means[grayscale].append(pixels.reshape(4, 32, 64, 3).mean(axis=(1, 2, 3)))
    expected_digest, expected_means = EXPECTED[layout]
    assert digest.hexdigest() == expected_digest
    for images, expected in zip((means[False], means[True]), expected_means, strict=True):
        np.testing.assert_allclose(np.mean(images, axis=0), expected, atol=0.05)
