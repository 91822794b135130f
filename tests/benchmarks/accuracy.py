"""`python -m tests.benchmarks.accuracy RUN`: does stage 2 learn as well in the cheaper ways?

Stage 2 of each trial of a finished run is trained again in every way, with the run's generators,
identities and seed, and evaluated on the trial's test identities. The figures are for a report, like
those of an ablation; they choose nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tsme.config import Config, EvaluationConfig
from tsme.data.datasets.registry import open_dataset
from tsme.data.fingerprint import fingerprint
from tsme.data.image_cache import ImageCache
from tsme.data.transforms import Augmentation, take
from tsme.data.types import MODALITIES, Modality, Trial
from tsme.errors import UserError
from tsme.evaluation.evaluator import score_search, translate_split
from tsme.evaluation.features import embed_split
from tsme.evaluation.protocols import searches
from tsme.evaluation.spread import Spread
from tsme.models.checkpoint import load_generators
from tsme.models.dsgan import Generators
from tsme.models.inference import folded
from tsme.models.reid import TsmeNet
from tsme.models.translate import translate
from tsme.settings import override
from tsme.storage.atomic import read_json, write_json
from tsme.training.distributed import Worker
from tsme.training.loop import fit
from tsme.training.reid import Pixels, ReidTask
from tsme.training.trial import TrialTraining

STORED = "stored"
WAYS = {
    STORED: "as a run trains: translations stored, cropped and mirrored with their images",
    "bfloat16": "the same, in bfloat16",
    "new": "every image translated in the step that shows it, after its crop and flip",
    "new-black": "the same, and what lies outside the image black again, as with stored ones",
    "both-flips": "stored, of mirrored images as well, which mirrored images then go with",
}


@dataclass(frozen=True)
class Outcome:
    """Means over all searches of a trial's test identities, in [0, 1]; how long training took.

    In seconds: processor time, or of a GPU that of the clock.
    """

    way: str
    trial: int
    rank1: float
    mAP: float
    seconds: float


class Repeated(ReidTask):
    """Stage 2 with translations that come about in another way."""

    def translate_by(self, way: str, generators: Generators) -> None:
        """What is to be known before the first step."""
        self.way, self.generators = way, folded(generators)  # or each step would fold them
        if way == "both-flips":
            mirrored = {m: self.images[m].flip(3) for m in MODALITIES}
            made = translate_split(generators, mirrored, self.worker.device)
            # Mirrored back, since the augmentation mirrors them with their images.
            self.of_mirrored = {m: made[m].flip(3) for m in MODALITIES}

    def _translated(self, modality: Modality, rows: NDArray[Any], augmentation: Augmentation) -> Tensor:
        stored = super()._translated(modality, rows, augmentation)
        if self.way == "both-flips":
            other = augmentation.apply(take(self.of_mirrored[modality], rows))
            mirror = augmentation.mirror.to(stored.device)
            return torch.where(mirror[:, None, None, None], other, stored)
        if self.way not in ("new", "new-black"):
            return stored
        images = take(self.images[modality], rows)
        new = translate(self.generators, augmentation.apply(images), modality, self.worker.device)
        new = new.to(stored.device)
        return new * augmentation.apply(torch.ones_like(images)) if self.way == "new-black" else new


def repeat(run: Path, way: str, trial: int, device: str) -> Outcome:
    """Train a trial's stage 2 in one way and measure it; UserError if the run's data are not there."""
    results = read_json(run / "results.json")
    config = Config.model_validate(results["config"])
    if way == "bfloat16":
        config = override(config, {"reid.precision": "bfloat16"})
    dataset = open_dataset(config.dataset, Path(results["data"]))
    pixels = ImageCache(dataset, fingerprint(dataset), config.image.height, config.image.width)
    if pixels.fingerprint != results["data_fingerprint"]:
        raise UserError(f"{dataset.location}: not the images that the run in {run} learnt from")
    people = dataset.trial(trial)
    chain = TrialTraining(config, trial, people.train, None, pixels, run / "stages")
    worker = Worker(device=torch.device(device))
    generators, stored = load_generators(chain.generators_file, config, worker.device)
    with chain.with_local_weights("reid") as initialised:
        known = Pixels(pixels.split(people.train), stored)
        task = Repeated(initialised, people.train, known, worker)
    clock = time.process_time if worker.device.type == "cpu" else time.perf_counter
    began = clock()
    task.translate_by(way, generators)
    for _ in fit(task, worker, done=0):
        pass
    seconds = clock() - began
    return Outcome(way, trial, *_measure(task, pixels, people), seconds)


def _measure(task: Repeated, pixels: ImageCache, people: Trial) -> tuple[float, float]:
    """Rank-1 and mAP, means over what the protocol searches for."""
    images, device = pixels.split(people.test), task.worker.device
    translations = translate_split(task.generators, images, device)
    described = embed_split(cast(TsmeNet, task.network), images, translations, device)
    asked = searches(pixels.dataset, people, EvaluationConfig())
    found = [score_search(described, people.test, search) for search in asked]
    return float(np.mean([m.rank(1) for m in found])), float(np.mean([m.mAP for m in found]))


def main(arguments: Sequence[str]) -> int:
    """Every way on every trial asked for, a table of them, and JSON."""
    options = _parser().parse_args(arguments)
    run, progress = options.run.resolve(), Console(stderr=True)
    ways = list(dict.fromkeys([STORED, *options.ways]))  # what the others are compared with
    try:
        trials = options.trials or trials_of(run)
        outcomes = []
        pool = ProcessPoolExecutor(options.processes, get_context("spawn"), torch.set_num_threads, (1,))
        with pool:
            left = [
                pool.submit(repeat, run, way, trial, options.device) for trial in trials for way in ways
            ]
            for future in as_completed(left):
                outcomes.append(outcome := future.result())
                progress.print(
                    f"trial {outcome.trial:02d}, {outcome.way}: Rank-1 {100 * outcome.rank1:.2f}, "
                    f"mAP {100 * outcome.mAP:.2f}, {outcome.seconds:.0f} s"
                )
    except UserError as problem:
        progress.print(str(problem), style="red", markup=False, soft_wrap=True)
        return 1
    outcomes.sort(key=lambda outcome: (ways.index(outcome.way), outcome.trial))
    if options.json is not None:
        write_json(options.json, {"run": run.name, "outcomes": [asdict(outcome) for outcome in outcomes]})
    Console().print(table(outcomes))
    return 0


def trials_of(run: Path) -> list[int]:
    """The trials that a finished run trained; UserError if it is not one."""
    if not (run / "results.json").is_file():
        raise UserError(f"{run}: no results.json; give the --out of a finished `tsme demo` or `tsme run`")
    return sorted({row["trial"] for row in read_json(run / "results.json")["trials"]})


def table(outcomes: Sequence[Outcome]) -> Table:
    """Means over trials, also of what a way has more than stored translations in the same trial."""
    by_way: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_way.setdefault(outcome.way, []).append(outcome)
    table = Table(title=f"stage 2 of {len(by_way[STORED])} trials, in %: mean ± standard deviation")
    table.add_column("way", no_wrap=True)
    for column in ("Rank-1", "mAP", "mAP, paired difference", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for way, found in by_way.items():
        more = [a.mAP - b.mAP for a, b in zip(found, by_way[STORED], strict=True)]
        rank1, mean_ap = (Spread.of([getattr(o, figure) for o in found]) for figure in ("rank1", "mAP"))
        seconds = np.mean([outcome.seconds for outcome in found])
        table.add_row(way, str(rank1), str(mean_ap), str(Spread.of(more)), f"{seconds:.1f}")
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.accuracy",
        description=__doc__,
        epilog="\n".join(f"{way:12}{what}" for way, what in WAYS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="--out of a finished run with translations")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY")
    parser.add_argument("--trials", nargs="+", type=int, help="by default all that the run trained")
    parser.add_argument("--processes", type=int, default=1, help="trainings side by side, a thread each")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
