"""SYSU-MM01's published gallery draws, from the MATLAB file of its authors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsme.errors import UserError

PERMUTATIONS = "exp/rand_perm_cam.mat"
_REMEDY = "download it again from evaluation/data_split of the authors' repository, wuancong/SYSU-MM01"


@dataclass(frozen=True, eq=False)
class Permutations:
    """Random orders of the frames of each identity in each camera.

    `orders[camera - 1][identity - 1]` is an integer array (draws, frames): each row is a permutation of
    the identity's frame numbers, which count from 1. It is empty if the camera has not seen the identity.
    """

    file: Path
    orders: tuple[tuple[NDArray[np.integer[Any]], ...], ...]

    def frames(self, camera: int, identity: int, draw: int, shots: int) -> list[int]:
        """The first `shots` frame numbers of a draw (from 0), or all if there are fewer.

        Empty if the camera has not seen the identity. Raises UserError for a camera, identity or draw
        that the file does not have.
        """
        if not 1 <= camera <= len(self.orders):
            raise UserError(
                f"{self.file}: has no camera {camera}, only 1 to {len(self.orders)}; {_REMEDY}"
            )
        identities = self.orders[camera - 1]
        if not 1 <= identity <= len(identities):
            known = f"only 1 to {len(identities)} in camera {camera}"
            raise UserError(f"{self.file}: has no identity {identity}, {known}; {_REMEDY}")
        order = identities[identity - 1]
        if order.size == 0:
            return []
        if not 0 <= draw < len(order):
            known = f"only 0 to {len(order) - 1} of identity {identity} in camera {camera}"
            raise UserError(f"{self.file}: has no draw {draw}, {known}; {_REMEDY}")
        return [int(frame) for frame in order[draw, :shots]]


def read_permutations(root: Path) -> Permutations | None:
    """The gallery draws of a SYSU-MM01 folder; None if it has no file of them.

    Raises UserError if the file is damaged, of an unsupported version, or has other contents.
    """
    file = root / PERMUTATIONS
    if not file.is_file():
        return None
    cameras = _cells(_load(file))
    if not cameras:
        raise UserError(f"{file}: has no list of cameras named rand_perm_cam; {_REMEDY}")
    return Permutations(
        file,
        tuple(
            tuple(
                _order(file, camera, identity, order)
                for identity, order in enumerate(_cells(identities), start=1)
            )
            for camera, identities in enumerate(cameras, start=1)
        ),
    )


def _load(file: Path) -> Any:
    """The variable rand_perm_cam: a cell array of cameras, each a cell array of identities, or None."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError(f"{file}: reading it requires scipy; install it: pip install scipy") from error
    try:
        return loadmat(file, variable_names=["rand_perm_cam"]).get("rand_perm_cam")
    except NotImplementedError as error:
        reason = "is a MATLAB 7.3 file, which requires the h5py package and is not supported"
        raise UserError(f"{file}: {reason}; save it with '-v7' in MATLAB, or {_REMEDY}") from error
    except Exception as error:  # a damaged file raises almost anything, including struct and zlib errors
        reason = f"cannot be read ({type(error).__name__}), it may be damaged"
        raise UserError(f"{file}: {reason}; {_REMEDY}") from error


def _cells(value: Any) -> list[Any]:
    """The cells of a cell array of any shape; empty for any other value."""
    return list(value.reshape(-1)) if isinstance(value, np.ndarray) and value.dtype == object else []


def _order(file: Path, camera: int, identity: int, value: Any) -> NDArray[np.integer[Any]]:
    if isinstance(value, np.ndarray) and value.size == 0:
        return np.empty((0, 0), dtype=np.uint8)
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "uif":
        with np.errstate(invalid="ignore"):  # the comparison below finds values that are not integers
            order = value.astype(np.int64)
        ascending = np.sort(order, axis=1)
        distinct = (np.diff(ascending, axis=1) > 0).all()
        if (order == value).all() and (ascending[:, 0] >= 1).all() and distinct:
            return order.astype(np.min_scalar_type(order.max()))  # small to send: mostly uint8
    place = f"camera {camera}, identity {identity}"
    raise UserError(f"{file}: {place}: not rows of distinct frame numbers from 1; {_REMEDY}")
