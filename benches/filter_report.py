#!/usr/bin/env python3
"""Makes a table and a plot of searches under conditions from filter-SET.json; `filter_report.py FILE..` does it again."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from report import table, times

# Way: colour, hatching.
STYLES = {
    "filter columns": ("#c2410c", ""),
    "bitmap": ("#ea580c", "//"),
    "scan alone": ("#fdba74", ""),
    "pgvector strict": ("#93c5fd", ""),
    "pgvector relaxed": ("#3b82f6", ""),
    "pgvector or btree": ("#1d4ed8", "//"),
}
BEST = "best of pgvector"


def ways_of(results: dict) -> list[str]:
    return [way for way in STYLES if way in results]


def conditions_of(results: dict) -> list[str]:
    return [name for name, measured in results[ways_of(results)[0]].items() if isinstance(measured, dict)]


def cell(measured: dict) -> str:
    short = f", {measured['returned']:.0%} of the rows" if measured["returned"] < 0.995 else ""
    return f"{measured['ms']:.3g} / {measured['recall']:.3f}{short}"


def page(results: dict) -> str:
    ways, conditions = ways_of(results), conditions_of(results)
    theirs = [way for way in ways if way.startswith("pgvector")]
    first = results[ways[0]]

    def compared(measure: str, cell) -> str:
        rows = []
        for name in conditions:
            ours = first[name][measure]
            best = min(results[way][name][measure] for way in theirs)
            ratios = [times(ours / first["none"][measure]), times(best / ours)]
            rows.append([name, *(cell(results[way][name]) for way in ways), *ratios])
        return table(["condition", *ways, "of no condition", f"{BEST}, times slower"], rows)

    sizes = [[way, f"{results[way]['build_s']:.1f}", f"{results[way]['index_mb']:.0f}"] for way in ways]
    return "\n\n".join(
        [
            f"# Searches under conditions: {results['set']}",
            f"`make bench-filter` on {results['rows']:,} rows, LIMIT 10, ef_search {results['ef_search']}, pg_alopex"
            f" {results['library']}:\nmilliseconds a query / recall among the matching rows. The last two columns are of"
            f" `{ways[0]}`.\nWritten by `benches/filter_report.py`.",
            f"![milliseconds a query](filter-{results['set']}.svg)",
            compared("ms", cell),
            "In the server, without the client and the reading of the query:",
            compared("server_ms", lambda measured: f"{measured['server_ms']:.3g}"),
            table(["index", "build, s", "MB"], sizes),
        ]
    ) + "\n"


def plot(path: Path, results: dict) -> None:
    plt.rcParams |= {"svg.hashsalt": "pg_alopex", "font.family": "sans-serif", "font.size": 10}
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    ways, conditions = ways_of(results), conditions_of(results)
    width = 0.8 / len(ways)
    for at, way in enumerate(ways):
        colour, hatch = STYLES[way]
        places = [place + (at - (len(ways) - 1) / 2) * width for place in range(len(conditions))]
        heights = [results[way][name]["ms"] for name in conditions]
        axes.bar(places, heights, width, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=way)
    axes.set_yscale("log")
    axes.set_xticks(range(len(conditions)), conditions)
    axes.yaxis.set_major_locator(LogLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{results['set']}: {results['rows']:,} rows under conditions", loc="left", fontsize=11)
    axes.set_ylabel("milliseconds a query")
    axes.legend(frameon=False, ncols=2)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def write(directory: Path, results: dict) -> None:
    """Writes filter-SET.json, .md and .svg."""
    name = directory / f"filter-{results['set']}"
    name.with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n")
    name.with_suffix(".md").write_text(page(results))
    plot(name.with_suffix(".svg"), results)


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        write(file.parent, json.loads(file.read_text()))
