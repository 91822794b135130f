"""Published figures of the original, to stand beside a run's own and apart from them."""

from __future__ import annotations

from tsme.config import DatasetName

SOURCE = "Liu et al., IEEE TCSVT 32(10), 2022"
# Rank-1 and mAP in per cent by protocol, measured by the authors with their own code.
PUBLISHED: dict[DatasetName, dict[str, tuple[float, float]]] = {
    "regdb": {"visible-to-infrared": (88.02, 79.12), "infrared-to-visible": (86.98, 78.23)},
    "sysu": {
        "all-search single-shot": (62.65, 61.18),
        "all-search multi-shot": (67.14, 54.22),
        "indoor-search single-shot": (65.16, 72.17),
        "indoor-search multi-shot": (76.82, 65.72),
    },
}
# Test identities of a trial in the published data: with another number, data are not those.
TEST_IDENTITIES: dict[DatasetName, int] = {"regdb": 206, "sysu": 96}
