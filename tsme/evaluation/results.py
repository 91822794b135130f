"""Results of evaluations, as they are written to results.json, and their summary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tsme.data.types import Trial
from tsme.evaluation.protocols import Search, direction, label
from tsme.evaluation.spread import Spread

if TYPE_CHECKING:  # reading results.json should not take the seconds that importing torch takes
    from tsme.evaluation.metrics import RankingMetrics
    from tsme.models.checkpoint import Provenance

FIGURES = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")


@dataclass(frozen=True)
class EvaluationResult:
    """The figures of one search, in [0, 1], and everything they depend on.

    `trial` numbers the division into training and test identities, `draw` the random gallery where
    there is one; `model` is the key of the weights, `model_trial` the trial they were trained on, and
    `seen_identities` the number of test identities among their training identities. `cmc[k - 1]` is
    Rank-k, as in `RankingMetrics`; it is empty in files of earlier versions.
    """

    trial: int
    direction: str
    rank1: float
    rank5: float
    rank10: float
    rank20: float
    mAP: float
    mINP: float
    queries: int
    skipped_queries: int
    gallery: int
    test_identities: int
    model: str
    model_trial: int
    seen_identities: int
    mode: str = ""
    shots: str = ""
    draw: int | None = None
    drawn_by: str = ""
    flip: bool = False
    rerank: bool = False
    cmc: list[float] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        metrics: RankingMetrics,
        search: Search,
        trial: Trial,
        provenance: Provenance,
        *,
        flip: bool,
        rerank: bool,
    ) -> EvaluationResult:
        """The metrics of one search on a trial's test identities, by the weights of `provenance`."""
        return cls(
            trial=trial.number,
            direction=direction(search.query),
            rank1=metrics.rank(1),
            rank5=metrics.rank(5),
            rank10=metrics.rank(10),
            rank20=metrics.rank(20),
            mAP=metrics.mAP,
            mINP=metrics.mINP,
            queries=metrics.queries,
            skipped_queries=metrics.skipped_queries,
            gallery=len(search.gallery),
            test_identities=len(trial.test.all_identities),
            model=provenance.key,
            model_trial=provenance.trial,
            seen_identities=count_seen(provenance, trial),
            mode=search.mode,
            shots=search.shots,
            draw=search.draw,
            drawn_by=search.drawn_by,
            flip=flip,
            rerank=rerank,
            cmc=metrics.cmc.tolist(),
        )

    @property
    def protocol(self) -> str:
        """Name shared by results that are averaged, for example "all-search single-shot with flip"."""
        name = label(self.direction, self.mode, self.shots)
        extras = ["flip"] * self.flip + ["re-ranking"] * self.rerank
        return f"{name} with {' and '.join(extras)}" if extras else name

    def to_json(self) -> dict[str, Any]:
        """The entry in results.json."""
        return asdict(self)


def count_seen(provenance: Provenance, trial: Trial) -> int:
    """Number of the trial's test identities that the weights were trained on."""
    return len(trial.test.all_identities & set(provenance.train_identities))


def summarise(results: Iterable[EvaluationResult]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Mean and standard deviation of each figure, by protocol, as in results.json.

    They are taken over trials if the data set has several, else over gallery draws.
    """
    by_protocol: dict[str, list[EvaluationResult]] = {}
    for result in results:
        by_protocol.setdefault(result.protocol, []).append(result)
    return {
        protocol: {f: Spread.of([getattr(result, f) for result in group])._asdict() for f in FIGURES}
        for protocol, group in by_protocol.items()
    }
