"""The command: choose parts, measure them, print a table, write JSON."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks import augmentation, dsgan, extraction, gallery_search, opening, ranking, stage2
from tests.benchmarks.measure import Benchmark, Disagreement, Result, circumstances, measure
from tests.benchmarks.setting import SIZES, Setting
from tsme.storage.atomic import write_json

BENCHMARKS: list[Benchmark] = [
    benchmark
    for module in (stage2, dsgan, extraction, ranking, gallery_search, augmentation, opening)
    for benchmark in module.BENCHMARKS
]
MIB = 2**20


def run(arguments: Sequence[str]) -> int:
    """Measure what the command line asks for; 1 if the sides of a part do not do the same work."""
    parser = _parser()
    options = parser.parse_args(arguments)
    chosen = select(options.parts)
    for part in options.parts:
        if not select([part]):
            parser.error(f"{part}: no such part; --list shows them")
    if options.list:
        print("\n".join(benchmark.name for benchmark in chosen))
        return 0
    torch.set_num_threads(1)
    # With its number: a tensor's device has one, and would otherwise not compare as equal.
    device = torch.device("cuda:0" if options.device == "cuda" else "cpu")
    setting, console = Setting(options.size, device), Console(stderr=True)
    results: list[Result] = []
    for benchmark in chosen:
        try:
            results.append(_measured(benchmark, setting, options.repeats, console))
        except Disagreement as problem:
            console.print(str(problem), style="red", markup=False, soft_wrap=True)
            return 1
    facts = circumstances(setting)
    Console().print(table(results, f"{facts['hardware']['cpu']}, {facts['hardware']['device']}"))
    if options.json is not None:
        command = f"python -m tests.benchmarks {shlex.join(arguments)}".rstrip()
        about = {"command": command, "size": options.size, "repeats": options.repeats} | facts
        write_json(options.json, about | {"results": [asdict(result) for result in results]})
    return 0


def _measured(benchmark: Benchmark, setting: Setting, repeats: int, console: Console) -> Result:
    """Measure one part, saying what is being done, and its result when it is done."""
    with console.status(benchmark.name) as status:

        def progress(now: str) -> None:
            status.update(f"{benchmark.name}: {now}")

        result = measure(benchmark, setting, repeats, progress)
    console.print(f"{benchmark.name}: {_ratio(result)}; {result.checked}", soft_wrap=True)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="such as ranking or dsgan/step-bf16")
    parser.add_argument("--list", action="store_true", help="name the parts and stop")
    parser.add_argument("--size", choices=SIZES, default="paper", help="small: only to see it run")
    parser.add_argument("--repeats", type=_count, default=5, metavar="N", help="rounds, 5 by default")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    return parser


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise ValueError(text)
    return count


def select(parts: Sequence[str]) -> list[Benchmark]:
    """Benchmarks of these names or groups, such as "ranking"; all if none is given."""
    return [b for b in BENCHMARKS if not parts or {b.name, b.name.partition("/")[0]} & set(parts)]


def table(results: Sequence[Result], caption: str) -> Table:
    """A line per part."""
    table = Table(title="medians and their ratio (lowest to highest round)", caption=caption)
    table.add_column("part", no_wrap=True)
    for column in ("reference", "ours", "ratio", "goal"):
        table.add_column(column, justify="right", no_wrap=True)
    for result in results:
        colour = {True: "green", False: "red", None: "default"}[result.met]
        values = [_amount(value, result.unit) for value in (result.reference, result.ours)]
        table.add_row(result.name, *values, _ratio(result), f"[{colour}]{result.goal}[/{colour}]")
    return table


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / MIB:.1f} MiB"
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.2f} ms"


def _ratio(result: Result) -> str:
    if result.rounds == 1:
        return f"{result.ratio:.3g}"
    return f"{result.ratio:.3g} ({result.lowest:.3g} to {result.highest:.3g})"
