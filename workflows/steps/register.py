"""Register the trained weights as a model version; promote it if it is the best so far."""

from __future__ import annotations

from collections.abc import Mapping

from tsme.evaluation.protocols import DESCRIPTIONS
from tsme.evaluation.results import EvaluationResult
from tsme.report.wording import figures_table
from tsme.storage.object_store import AnyPath
from workflows.run import WorkflowRun
from workflows.steps.sweep import Choice
from workflows.tracking import registry

CHAMPION = (
    "The alias `champion` is on the version with the best validation mAP on held-out training identities."
)
REPORT = "Everything about this run is on one page, the artifact `report.html`."


def register_version(run: WorkflowRun, choice: Choice, weights: Mapping[int, AnyPath]) -> int:
    """Register the weights of all trials as one version of the run's model; returns its number."""
    embedding = choice.config.reid.stripes * choice.config.reid.embedding
    with run.step("register"):
        return registry.register(
            run.mlflow_run, run.model_name, weights, embedding, _candidate(run, choice)
        )


def promote_version(
    run: WorkflowRun, choice: Choice, results: list[EvaluationResult], version: int
) -> str:
    """Make the version the champion if its validation mAP is the best; returns the decision and why.

    Its figures on test identities are in its description and in the run's, and decide nothing.
    """
    with run.step("promote"):
        decision = registry.promote(run.mlflow_run, run.model_name, version, _candidate(run, choice))
        table = figures_table(results)
        registry.describe(
            run.mlflow_run,
            run.model_name,
            version,
            model=f"Embeddings of visible and infrared images of persons, by TSME. {CHAMPION}",
            version="\n\n".join([_data(run), table, _how_to_load(run.model_name, version)]),
        )
        model = f"{run.model_name}, version {version}: {decision}"
        run.mlflow_run.tag({"mlflow.note.content": "\n\n".join([_data(run), table, model, REPORT])})
    run.console.print(f"{run.model_name} version {version}: {decision}")
    return decision


def _data(run: WorkflowRun) -> str:
    config = run.config
    return (
        f"Trained on {run.data} (fingerprint `{run.images.fingerprint}`), trials "
        f"{', '.join(map(str, run.trials))}, each with weights of its own. Protocol: "
        f"{DESCRIPTIONS[config.dataset]}. Figures on test identities, in %:"
    )


def _how_to_load(name: str, version: int) -> str:
    return f"""```python
model = mlflow.pyfunc.load_model("models:/{name}/{version}")
# images: uint8 (n, height, width, 3); trial: whose weights to use, by default the first trial's
embeddings = model.predict(images, params={{"modality": "infrared"}})
```"""


def _candidate(run: WorkflowRun, choice: Choice) -> registry.Candidate:
    return registry.Candidate(choice.best.score, choice.validation_set, run.images.fingerprint)
