"""`tsme ablate`: what each part of the method is worth, over seeds, on people nobody trained on.

Every variant of a seed has the same generators, begins with the same backbones and sees the same batches;
so differences are taken between equal seeds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import ray
import torch
from torch import Tensor, nn

from tsme.config import Config, ResourcesConfig, override
from tsme.data.image_cache import ImageCache
from tsme.data.images import grayscale
from tsme.data.types import MODALITIES, Modality, Trial, other
from tsme.errors import JobFailed, failure
from tsme.evaluation.evaluator import translate_split
from tsme.evaluation.image_quality import FeatureExtractor, HeldOutImages, match_histogram
from tsme.evaluation.protocols import searches
from tsme.evaluation.results import EvaluationResult
from tsme.models.checkpoint import load_generators, load_model
from tsme.models.reid import Stream
from tsme.presets import Variant, ablation
from tsme.report.ablation import ablation_plot, ablation_table, compare, translation_table
from tsme.storage.atomic import read_json, reading, replacing, write_json
from tsme.training.loop import Diverged
from tsme.training.trial import TrialTraining
from workflows.pipeline import measure, train_chains
from workflows.run import WorkflowRun
from workflows.spells import Spell
from workflows.steps.evaluate import EvaluationJob
from workflows.steps.pretrain import pretrain_backbones
from workflows.steps.sweep import Choice, choose
from workflows.tracking.provenance import git_revision
from workflows.tracking.server import redact

Scores = dict[str, list[dict[str, float]]]
FULL, WINNER = "PwIF and IAI", "sweep winner"
GRAYSCALE, MATCHED = "grayscale copy", "histogram matching"


def run_ablation(run: WorkflowRun, seeds: int, *, sweep: bool) -> dict[str, Any]:
    """Train and test every variant with every seed, on the first trial; what ablation.json holds.

    With `sweep` the configuration that a sweep chooses on held-out training identities is one of them,
    unless it is the one the sweep began with.
    """
    number, trial = next(iter(run.trials.items()))
    variants = ablation(run.config)
    asked = {v.name: searches(run.pixels.dataset, trial, v.config.evaluation) for v in variants}
    choice = choose(run) if sweep else None
    if choice is not None and choice.config not in [variant.config for variant in variants]:
        variants.append(Variant(WINNER, choice.config, FULL))
        asked[WINNER] = asked[FULL]
    numbers = range(run.config.seed, run.config.seed + seeds)
    pretrain_backbones(run, next(v.config for v in variants if v.name == FULL))
    generators = _train_translators(run, variants, number, numbers)
    chains = {
        (variant.name, seed): run.chain(override(variant.config, {"seed": seed}), number)
        for seed in numbers
        for variant in variants
    }
    train_chains(run, {_label(*key): chain for key, chain in chains.items()}, "variants")
    rows = measure(
        run,
        {
            _label(*key): EvaluationJob(number, chain.model_file, asked[key[0]], chain.config.evaluation)
            for key, chain in chains.items()
        },
    )
    samples = {v.name: [rows[_label(v.name, seed)] for seed in numbers] for v in variants}
    scores = _score_translators(run, generators, chains["baseline", numbers[0]], trial)
    return _report(run, variants, samples, scores, choice)


def _label(name: str, seed: int) -> str:
    return f"seed {seed} {name}"


def _train_translators(
    run: WorkflowRun, variants: list[Variant], number: int, seeds: Sequence[int]
) -> dict[str, list[TrialTraining]]:
    """Stage 1 of every seed: chains by generator, seeds in order, and a control without skips.

    The control may collapse: that is a result as well, and ends nothing; the seed is left out.
    """
    full = next(variant.config for variant in variants if variant.name == FULL)
    kinds = {"DSGAN": full}
    for variant in variants:  # a sweep's winner may have generators of its own
        if variant.config.reid.pwif and variant.config.dsgan != full.dsgan:
            kinds[f"DSGAN of the {variant.name}"] = variant.config
    control = "DSGAN without skips"

    def chains(config: Config) -> list[TrialTraining]:
        return [
            run.chain(override(config, {"seed": seed}), number, only_generators=True) for seed in seeds
        ]

    trained = {name: chains(config) for name, config in kinds.items()}
    train_chains(run, _labelled(trained, seeds), "generators")
    trained[control] = chains(override(full, {"dsgan.skips": False}))
    try:
        train_chains(run, _labelled({control: trained[control]}, seeds), "generators without skips")
    except Diverged as error:
        run.console.print(f"  note: {error}", soft_wrap=True)
    return {name: done for name, each in trained.items() if (done := [c for c in each if c.is_done()])}


def _labelled(
    chains: Mapping[str, list[TrialTraining]], seeds: Sequence[int]
) -> dict[str, TrialTraining]:
    return {
        _label(name, seed): chain
        for name, each in chains.items()
        for seed, chain in zip(seeds, each, strict=True)
    }


def _score_translators(
    run: WorkflowRun,
    generators: Mapping[str, Sequence[TrialTraining]],
    judge: TrialTraining,
    trial: Trial,
) -> Scores:
    """Translations of the test identities by name of the generator, one entry per seed; trivial ones too.

    Fréchet distances are taken in the streams for real images of the `judge`, a model without
    translations, so that no generator has taught it. What was measured before is not measured again.
    """
    trivial = {name: [name] for name in (GRAYSCALE, MATCHED)}
    every: dict[str, Sequence[TrialTraining | str]] = {**generators, **trivial}
    files = {
        name: [run.out / "stages" / f"translations-{_key(one)}-{judge.model_key}.json" for one in many]
        for name, many in every.items()
    }
    resources = run.config.resources
    score = ray.remote(
        num_cpus=resources.cpus,
        num_gpus=resources.gpus or 0,
        max_retries=2,
        retry_exceptions=[JobFailed],
    )(_score)
    with run.step("measure translations") as spells:
        tasks = {
            file: score.remote(one, judge, run.pixels, trial, resources)
            for name, many in every.items()
            for one, file in zip(many, files[name], strict=True)
            if not file.exists()
        }
        for file, task in tasks.items():
            try:
                scores, spell = ray.get(task)
            except ray.exceptions.RayError as error:
                raise failure(error, "measuring translations") from None
            write_json(file, scores)
            spells.append(spell)
    return {name: [read_json(file) for file in many] for name, many in files.items()}


def _key(generator: TrialTraining | str) -> str:
    return (
        generator.generators_key if isinstance(generator, TrialTraining) else generator.replace(" ", "-")
    )


def _score(
    generator: TrialTraining | str,
    judge: TrialTraining,
    pixels: ImageCache,
    trial: Trial,
    resources: ResourcesConfig,
) -> tuple[dict[str, float], Spell]:
    began = time.time()
    torch.set_num_threads(resources.cpus)
    device = torch.device("cuda" if resources.gpus else "cpu")
    network = load_model(judge.model_file, device).network
    streams = {m: cast(nn.ModuleList, network.streams[m]) for m in MODALITIES}
    features = {m: FeatureExtractor.of_stream(cast(Stream, real)) for m, (real, *_) in streams.items()}
    held = HeldOutImages.read(trial.test, pixels, features)
    if isinstance(generator, TrialTraining):
        networks, _ = load_generators(generator.generators_file, generator.config, device)
        translations = translate_split(networks, held.images, device)
    else:
        real = pixels.split(trial.train)
        translations = {m: _trivial(generator, held.images[m], real, m) for m in MODALITIES}
    return held.score(translations, device), (began, time.time())


def _trivial(name: str, images: Tensor, real: Mapping[Modality, Tensor], modality: Modality) -> Tensor:
    """An image as it is, in grayscale; or with the grayscale values of the other modality's training images."""
    if name == GRAYSCALE:
        return grayscale(images)
    return match_histogram(images, real[other(modality)])


def _report(
    run: WorkflowRun,
    variants: list[Variant],
    samples: Mapping[str, list[list[EvaluationResult]]],
    scores: Scores,
    choice: Choice | None,
) -> dict[str, Any]:
    """Print the tables, draw the picture, and write all figures to ablation.json."""
    lines = compare(samples, {variant.name: variant.over for variant in variants})
    seeds = len(samples["baseline"])
    results = {
        "dataset": run.config.dataset,
        "config": run.config.model_dump(mode="json"),
        "data_fingerprint": run.pixels.fingerprint,
        "seeds": seeds,
        "variants": {variant.name: variant.config.model_dump(mode="json") for variant in variants},
        "samples": {
            name: [[row.to_json() for row in rows] for rows in each] for name, each in samples.items()
        },
        "summary": [line.to_json() for line in lines],
        "generators": scores,
        "sweep": None if choice is None else asdict(choice) | {"config": None, "epochs": choice.epochs},
        "git_revision": git_revision(),
        "mlflow_run": run.mlflow_run.run_id,
        "mlflow_uri": redact(run.mlflow_run.uri),
        "timeline": run.timeline,
    }
    path, picture = run.out / "ablation.json", run.out / "ablation.png"
    write_json(path, results)
    with replacing(picture) as file:
        ablation_plot(samples, lines, file)
    for written in (path, picture):
        with reading(written) as file:
            run.mlflow_run.log_file(file)
    run.mlflow_run.log_metrics(
        {f"{line.variant}/{line.protocol}/{f}": s.mean for line in lines for f, s in line.figures.items()}
    )
    run.console.print(ablation_table(lines, seeds))
    run.console.print(translation_table(scores))
    for written in (picture, path):
        run.console.print(f"{written}", soft_wrap=True)
    return results
