"""Ground truth of generated data: what the other sensor would have recorded at the same moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tsme.data.datasets.regdb_lists import GROUND_TRUTH_FOLDER
from tsme.data.images import decode
from tsme.data.types import ImageList


def load_ground_truth(root: Path, images: ImageList, height: int, width: int) -> Tensor | None:
    """Ground-truth counterpart of each image in the other modality, uint8 (n, 3, H, W).

    None if the data set below `root` has no ground truth. Raises UserError naming a file that is missing
    or damaged.
    """
    folder = root / GROUND_TRUTH_FOLDER
    if not folder.is_dir():
        return None
    files = [folder / path for path in images.paths]
    return torch.from_numpy(np.stack(list(decode(files, height, width))))
