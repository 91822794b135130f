"""`tsme ablate`: what each part of the method adds, over several seeds, on test identities.

All variants of a seed start from the same backbones and are trained on the same identity batches, so
variants are compared seed by seed. They use the same generators, except the stronger recipe and the
sweep's winner if their configuration of stage 1 differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from tsme.config import Config
from tsme.evaluation.protocols import Search, searches
from tsme.report.ablation import (
    ResultsByVariant,
    ablation_plot,
    ablation_table,
    compare,
    translation_table,
)
from tsme.settings import override
from tsme.storage.atomic import reading, replacing, write_json
from tsme.training.loop import Diverged
from tsme.training.trial import TrialTraining
from tsme.variants import Variant, ablation
from workflows.run import RunOptions, WorkflowRun, open_run
from workflows.steps.evaluate import EvaluationJob, evaluate_jobs
from workflows.steps.pretrain import pretrain_backbones
from workflows.steps.sweep import Choice, choose_configuration
from workflows.steps.train import train_side_by_side
from workflows.steps.translations import TranslationScores, score_translations
from workflows.tracking.provenance import git_revision
from workflows.tracking.server import redact

BASELINE, FULL, WINNER = "baseline", "PwIF and IAI", "sweep winner"


def run_ablation(options: RunOptions, seeds: int, console: Console) -> dict[str, Any]:
    """Train and evaluate every variant with every seed on the first trial; returns ablation.json.

    With `options.samples`, the configuration that a sweep chooses is another variant, unless it is the
    one that the sweep starts from.
    """
    with open_run(options, console) as run:
        trial = next(iter(run.trials.values()))
        variants = ablation(run.config)
        protocol = {
            v.name: searches(run.images.dataset, trial, v.config.evaluation) for v in variants
        }  # fails now if the data do not allow it
        choice = choose_configuration(run) if options.samples else None
        if choice is not None and choice.config not in [variant.config for variant in variants]:
            variants.append(Variant(WINNER, choice.config, FULL))
            protocol[WINNER] = protocol[FULL]
        numbers = range(run.config.seed, run.config.seed + seeds)
        full = next(variant.config for variant in variants if variant.name == FULL)
        pretrain_backbones(run, full)
        generators = _train_generators(run, variants, full, trial.number, numbers)
        models = _train_variants(run, variants, trial.number, numbers)
        results = _evaluate_variants(run, models, protocol)
        scores = score_translations(run, generators, models[BASELINE][0], trial)
        return _write_ablation(run, variants, results, scores, choice)


def _train_generators(
    run: WorkflowRun, variants: list[Variant], full: Config, trial: int, seeds: Sequence[int]
) -> dict[str, list[TrialTraining]]:
    """Train stage 1 with every seed; finished trainings by the generators' name.

    A control is trained without skip connections. If it collapses, a note says so and its seed is left
    out.
    """
    configs = {"DSGAN": full}
    for variant in variants:  # the stronger recipe and the sweep's winner may have other generators
        known = [config.dsgan for config in configs.values()]
        if variant.config.reid.translation == "dsgan" and variant.config.dsgan not in known:
            configs[f"DSGAN of the {variant.name}"] = variant.config
    trained = {
        name: _trainings(run, config, trial, seeds, only_generators=True)
        for name, config in configs.items()
    }
    train_side_by_side(run, _labelled(trained, seeds), "generators")
    without_skips = override(full, {"dsgan.skips": False})
    control = {"DSGAN without skips": _trainings(run, without_skips, trial, seeds, only_generators=True)}
    try:
        train_side_by_side(run, _labelled(control, seeds), "generators without skips")
    except Diverged as error:
        run.console.print(f"  note: {error}", soft_wrap=True)
    finished = {
        name: [training for training in trainings if training.is_done()]
        for name, trainings in (trained | control).items()
    }
    return {name: trainings for name, trainings in finished.items() if trainings}


def _train_variants(
    run: WorkflowRun, variants: list[Variant], trial: int, seeds: Sequence[int]
) -> dict[str, list[TrialTraining]]:
    """Train every variant with every seed; trainings by the variant's name, in the order of seeds."""
    trainings = {v.name: _trainings(run, v.config, trial, seeds) for v in variants}
    train_side_by_side(run, _labelled(trainings, seeds), "variants")
    return trainings


def _trainings(
    run: WorkflowRun,
    config: Config,
    trial: int,
    seeds: Sequence[int],
    *,
    only_generators: bool = False,
) -> list[TrialTraining]:
    return [
        run.training(override(config, {"seed": seed}), trial, only_generators=only_generators)
        for seed in seeds
    ]


def _labelled(
    trainings: Mapping[str, list[TrialTraining]], seeds: Sequence[int]
) -> dict[str, TrialTraining]:
    """Keyed by labels such as "seed 0 baseline", seed after seed."""
    return {
        _label(name, seed): by_seed[index]
        for index, seed in enumerate(seeds)
        for name, by_seed in trainings.items()
    }


def _label(name: str, seed: int) -> str:
    return f"seed {seed} {name}"


def _evaluate_variants(
    run: WorkflowRun, models: Mapping[str, list[TrialTraining]], protocol: Mapping[str, list[Search]]
) -> ResultsByVariant:
    jobs = {
        _label(name, model.config.seed): EvaluationJob(
            model.trial, model.model_file, protocol[name], model.config.evaluation
        )
        for name, by_seed in models.items()
        for model in by_seed
    }
    rows = evaluate_jobs(run, jobs)
    return {
        name: [rows[_label(name, model.config.seed)] for model in by_seed]
        for name, by_seed in models.items()
    }


def _write_ablation(
    run: WorkflowRun,
    variants: list[Variant],
    results: ResultsByVariant,
    scores: TranslationScores,
    choice: Choice | None,
) -> dict[str, Any]:
    """Write ablation.json and ablation.png, log both to MLflow, print the tables."""
    lines = compare(results, {variant.name: variant.over for variant in variants})
    seeds = len(results[BASELINE])
    sweep = None
    if choice is not None:
        sweep = asdict(choice) | {"config": None, "epochs": choice.epochs_trained}
    content = {
        "dataset": run.config.dataset,
        "config": run.config.model_dump(mode="json"),
        "data_fingerprint": run.images.fingerprint,
        "seeds": seeds,
        "variants": {variant.name: variant.config.model_dump(mode="json") for variant in variants},
        "samples": {
            name: [[row.to_json() for row in rows] for rows in by_seed]
            for name, by_seed in results.items()
        },
        "summary": [line.to_json() for line in lines],
        "generators": scores,
        "sweep": sweep,
        "git_revision": git_revision(),
        "mlflow_run": run.mlflow_run.run_id,
        "mlflow_uri": redact(run.mlflow_run.uri),
        "timeline": run.timeline,
    }
    file, plot = run.out / "ablation.json", run.out / "ablation.png"
    write_json(file, content)
    with replacing(plot) as temporary:
        ablation_plot(results, lines, temporary)
    for written in (file, plot):
        with reading(written) as local:
            run.mlflow_run.log_file(local)
    run.mlflow_run.log_metrics(
        {f"{line.variant}/{line.protocol}/{f}": s.mean for line in lines for f, s in line.figures.items()}
    )
    run.console.print(ablation_table(lines, seeds))
    run.console.print(translation_table(scores))
    for written in (plot, file):
        run.console.print(f"{written}", soft_wrap=True)
    return content
