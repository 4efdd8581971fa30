#!/usr/bin/env python3
"""Targets of recall: the recall of queries that are no rows, at the width that a target gives.

For each data set an index with a target is built on two thirds of the rows, and the other third is inserted, which VACUUM follows. Searches
for the 10 and 100 nearest rows are compared with exact ones at both times: of all rows, under a condition that a tenth of them passes by an
index of the vector alone, and under that condition by an index with a filter column. Each is built several times, because an index measures
itself with a sample of its rows.
"""

import json
import math
import os
import threading
import time

import numpy as np
import psycopg

import datasets
from datasets import Dataset
from server import Server, arguments

TARGETS = [0.95, 0.99]
COUNTS = [10, 100]
QUERIES = 500
BUILDS = 2
# Differences from a target that are within its bounds.
BOUNDS = (-0.005, 0.02)
# Rows of a set that is larger.
MOST_ROWS = 150_000
# Indexes, and rows of a thousand that a condition leaves.
INDEXES = {"vector alone": ("", {"all rows": 1000, "a tenth, no column": 100}), "filter column": (", f", {"a tenth, filter column": 100})}


class Measured:
    """One data set in a table with one index."""

    def __init__(self, server: Server, session: psycopg.Connection, data: Dataset, index: str):
        self.server, self.session, self.data = server, session, data
        self.columns, self.shares = INDEXES[index]
        self.rows, self.queries = data.comparable(data.base), data.comparable(data.queries[:QUERIES])
        self.texts = [text(query) for query in data.queries[:QUERIES]]
        self.f = np.random.default_rng(7).integers(0, 1000, len(self.rows))
        self.operator, self.operators = ("<=>", "cosine") if data.is_cosine else ("<->", "l2")
        self.exact = {}
        self.loaded = 0

    def empty(self) -> None:
        self.loaded = 0
        self.session.execute("DROP TABLE IF EXISTS items")
        self.session.execute(f"CREATE TABLE items (id int, e vector({self.rows.shape[1]}), f int)")
        self.session.execute("SET hnsw.target_recall = 0")

    def insert(self, end: int) -> None:
        with self.session.cursor() as cursor, cursor.copy("COPY items FROM STDIN") as copy:
            for row in range(self.loaded, end):
                copy.write(f"{row}\t{text(self.data.base[row])}\t{self.f[row]}\n")
        self.loaded = end

    def build(self) -> dict:
        """Builds the index; seconds of the build and of the measurement in it."""
        columns = f"e vector_{self.operators}_ops{self.columns}"
        watch = Watch(self.server)
        start = time.monotonic()
        self.session.execute(f"CREATE INDEX items_e ON items USING hnsw ({columns}) WITH (target_recall = {TARGETS[0]})")
        seconds = time.monotonic() - start
        measuring = watch.end()
        self.session.execute("ANALYZE items")
        return {"build": seconds, "measuring": measuring, "load": os.getloadavg()[0]}

    def kth(self, most: int) -> np.ndarray:
        """Squared distances of the nearest rows of each query, for each count."""
        if (self.loaded, most) not in self.exact:
            rows, kth = self.rows[np.flatnonzero(self.f[: self.loaded] < most)], []
            norms = (rows**2).sum(1)
            for query in self.queries:
                near = np.argpartition(norms - 2 * rows @ query, 2 * COUNTS[-1])[: 2 * COUNTS[-1]]
                kth.append(np.sort(self.squared(rows[near], query))[[count - 1 for count in COUNTS]])
            self.exact[self.loaded, most] = np.array(kth)
        return self.exact[self.loaded, most]

    @staticmethod
    def squared(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        return ((rows.astype(np.float64) - query) ** 2).sum(1)

    def recall(self, stage: str, build: int, facts: dict) -> list[dict]:
        results = []
        cases = [(*share, target, place) for share in self.shares.items() for target in TARGETS for place in range(len(COUNTS))]
        for share, most, target, place in cases:
            self.session.execute(f"SET hnsw.target_recall = {target}")
            count, kth = COUNTS[place], self.kth(most)[:, place]
            condition = f"WHERE f < {most}" if most < 1000 else ""
            sql = f"SELECT id FROM items {condition} ORDER BY e {self.operator} %s LIMIT {count}"
            hits, visits = 0, 0
            for query, vector, bound in zip(self.texts, self.queries, kth, strict=True):
                found = [row for (row,) in self.session.execute(sql, (query,))]
                if (self.f[found] >= most).any() or len(set(found)) != count:
                    raise RuntimeError(f"wrong rows for {sql}")
                hits += int((self.squared(self.rows[found], vector) <= bound * (1 + 1e-6) + 1e-12).sum())
                search = self.session.execute("SELECT nodes_visited, width FROM hnsw_last_search()").fetchone()
                visits += search[0]
            results.append(
                {"set": self.data.name, "rows": self.loaded, "stage": stage, "number": build, "share": share, "target": target, "k": count}
                | {"width": search[1], "recall": hits / count / len(self.texts), "visits": visits / len(self.texts)}
                | facts
            )
            print(line(results[-1]), flush=True)
        return results


class Watch:
    """Looks how long builds measure recall."""

    def __init__(self, server: Server):
        self.server, self.seconds, self.is_over = server, 0.0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        with self.server.connect() as session:
            first = None
            while not self.is_over.wait(0.02):
                now = time.monotonic()
                phases = session.execute("SELECT phase FROM pg_stat_progress_create_index").fetchall()
                if any("measuring recall" in phase for (phase,) in phases):
                    first = first or now
                    self.seconds = now - first

    def end(self) -> float:
        self.is_over.set()
        self.thread.join()
        return self.seconds


def text(vector: np.ndarray) -> str:
    return "[" + ",".join(map(repr, vector.tolist())) + "]"


def verdict(result: dict) -> str:
    """Empty within the bounds, and above them at the least width: that of the rows that are likely read."""
    off = result["recall"] - result["target"]
    least = max(10, result["k"])
    if result["share"] == "a tenth, no column":
        # Ten for each, and the standard deviation of their number.
        least = 10 * (result["k"] + math.sqrt(0.9 * result["k"]))
    is_least = result["width"] <= round(least)
    return "below" if off < BOUNDS[0] else "above" if off > BOUNDS[1] and not is_least else ""


def line(result: dict) -> str:
    return (
        f"{result['set']:13} {result['rows']:7} {result['stage']:5} {result['number']} {result['share']:22} {result['target']}"
        f" k {result['k']:3} width {result['width']:4} recall {result['recall']:.4f} visits {result['visits']:7.0f}"
        f" build {result['build']:6.1f} s, {result['measuring']:.2f} load {result['load']:.1f} {verdict(result)}"
    )


def report(library: str, results: list[dict]) -> str:
    """A table with a row for each set, condition, number of rows and target."""
    parts = [
        f"# Targets of recall\n\nWritten by `make bench-targets`. pg_alopex {library}. Recall of queries that are no rows, at the width that a"
        " target gave: after the build of two thirds of the rows, and after the other third was inserted and VACUUM measured the index anew."
        f" Values of {BUILDS} builds, at most {QUERIES} queries and {MOST_ROWS:,} rows; **bold**: not within {BOUNDS[0]} and +{BOUNDS[1]} of the target, but for the least width, that of the rows read. Conditions leave a"
        " tenth of the rows.\n",
        "| set | rows asked for | LIMIT | target | widths, recall after the build | widths, recall after 50% more rows |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    groups = {}
    for result in results:
        key = (result["set"], result["share"], result["k"], result["target"])
        groups.setdefault(key, {}).setdefault(result["stage"], []).append(result)
    for key, stages in groups.items():
        cells = []
        for stage in ("built", "grown"):
            values = [(result["width"], f"{result['recall']:.3f}".removeprefix("0"), verdict(result)) for result in stages.get(stage, [])]
            cells.append("; ".join(f"{width}, {f'**{recall}**' if off else recall}" for width, recall, off in values))
        parts.append(f"| {' | '.join(map(str, key))} | {' | '.join(cells)} |")
    parts += ["\n| set, index | seconds of a build | of its measurement | load of the machine |", "| --- | --- | --- | --- |"]
    builds = {(r["set"], "filter column" in r["share"], r["number"]): r for r in results if r["stage"] == "built"}
    for (name, is_filtered, _), r in builds.items():
        index = "with a filter column" if is_filtered else "vector alone"
        parts.append(f"| {name}, {index} | {r['build']:.1f} | {r['measuring']:.2f} | {r['load']:.1f} |")
    return "\n".join(parts) + "\n"


def sets(args) -> list[Dataset]:
    wanted = args.sets.split()
    found = []
    if wanted != ["words"]:
        found = list(datasets.load(args.data, [name for name in wanted if name != "words"], None))
    # The first rows of a set are measured once.
    found = [data for data in found if data.name not in datasets.FIRST_ROWS or data.name in wanted]
    for data in found:
        data.base = data.base[: datasets.QUICK_ROWS if args.quick else MOST_ROWS]
    if not wanted or "words" in wanted:
        base, queries = datasets.words()
        found.append(Dataset("words", base, queries, queries))
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--workers", type=int, default=max(0, (os.cpu_count() or 1) - 1), help="max_parallel_maintenance_workers")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    results = []
    with Server(args.programs, args.home, args.sockets, args.port, args.user) as server:
        library = server.library()
        print(f"pg_alopex {library}", flush=True)
        with server.connect() as session:
            session.execute("CREATE EXTENSION pg_alopex")
            session.execute("SET enable_seqscan = off")
            session.execute(f"SET max_parallel_maintenance_workers = {args.workers}")
            for data in sets(args):
                for index in INDEXES:
                    measured = Measured(server, session, data, index)
                    for build in range(1 if args.quick else BUILDS):
                        measured.empty()
                        measured.insert(2 * len(data.base) // 3)
                        facts = measured.build()
                        results += measured.recall("built", build, facts)
                        measured.insert(len(data.base))
                        session.execute("VACUUM ANALYZE items")
                        results += measured.recall("grown", build, facts)
                        (args.out / "targets.json").write_text(json.dumps({"library": library, "results": results}, indent=1))
                        (args.out / "targets.md").write_text(report(library, results))


if __name__ == "__main__":
    main()
