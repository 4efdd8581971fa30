"""Figures of both extensions over rounds that alternate between them: all are kept, medians and ratios are shown."""

import argparse
import json
import os
import platform
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from statistics import median

from engines import Extension, Graph
from report import OURS, SIDES, THEIRS, table, times
from server import Server, memory_mb


class Figures:
    """Figures by case, measure and engine, one for each round: NAME.json has all, NAME.md their medians and ratios."""

    def __init__(self, directory: Path, name: str, about: dict):
        self.file, self.about, self.cases = directory / name, about, {}
        directory.mkdir(parents=True, exist_ok=True)

    def add(self, case: str, extension: Extension, **measured: float) -> None:
        for measure, value in measured.items():
            of_engines = self.cases.setdefault(case, {}).setdefault(measure, {})
            of_engines.setdefault(extension.name, []).append(float(value))
            print(f"{case:28} {extension.name:10} {measure:22} {value:12.4g}", flush=True)

    def write(self) -> None:
        """Called after every case: an interrupted run leaves the cases that it finished."""
        text = json.dumps({"about": self.about, "cases": self.cases}, indent=2)
        self.file.with_suffix(".json").write_text(text + "\n")
        rows = [
            [case, measure, *(_text(of_engines.get(engine)) for engine in SIDES), _compared(measure, of_engines)]
            for case, measures in self.cases.items()
            for measure, of_engines in measures.items()
        ]
        page = table(["case", "measure", *SIDES, "ratio; difference of recall"], rows)
        self.file.with_suffix(".md").write_text(page + "\n")


def _text(values: list[float] | None) -> str:
    if not values:
        return "-"
    least, most = min(values), max(values)
    return _number(median(values)) + (f" ({_number(least)} to {_number(most)})" if least < most else "")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _compared(measure: str, of_engines: dict[str, list[float]]) -> str:
    if set(of_engines) != set(SIDES):
        return "-"
    ours, theirs = median(of_engines[OURS]), median(of_engines[THEIRS])
    if measure.startswith("recall"):
        return f"{ours - theirs:+.4f}"
    return times(ours / theirs) if theirs else "-"


def turns(extensions: list[Extension], rounds: int) -> Iterator[tuple[int, Extension]]:
    """Each extension once a round, in the opposite order every other round."""
    for number in range(rounds):
        for extension in extensions[:: -1 if number % 2 else 1]:
            yield number, extension


def both(server: Server, workers: int) -> list[Extension]:
    names = {OURS: "pg_alopex", THEIRS: "vector"}
    return [Extension(name, extension, server, workers) for name, extension in names.items()]


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Arguments of a benchmark of both extensions in rounds."""
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    args = parser.parse_args()
    args.rounds = 1 if args.quick else 3
    return args


def facts(server: Server, extensions: list[Extension], graph: Graph, args: argparse.Namespace) -> dict:
    """Where and with what the figures were taken."""
    library = server.library()
    print(f"pg_alopex {library}", flush=True)
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    return {
        "date": date.today().isoformat(),
        "cpu": cpu,
        "processors": os.cpu_count(),
        "memory_gb": round(memory_mb() / 1024),
        "postgresql": server.setting("server_version"),
        "versions": {extension.name: extension.version() for extension in extensions},
        "commit": re.search(r"commit ([^)]*)", library)[1],
        "m": graph.m,
        "ef_construction": graph.ef_construction,
        "workers": args.workers,
        "rounds": args.rounds,
        "shared_buffers": server.setting("shared_buffers"),
        "maintenance_work_mem": server.setting("maintenance_work_mem"),
    }
