#!/usr/bin/env python3
"""Targets of recall: the recall of queries that are no rows, at the width that a target gives.

For each data set an index with a target is built on two thirds of the rows, and the other third is inserted, which VACUUM follows. Searches
for the 1, 10 and 100 nearest rows are compared with exact ones at both times: by an index of the vector alone, and under a condition that a
tenth of the rows passes by one with a filter column.
"""

import json

import numpy as np
import psycopg

import datasets
from datasets import Dataset
from server import Server, arguments

TARGETS = [0.95, 0.99]
COUNTS = [1, 10, 100]
QUERIES = 1000
# Rows of a thousand that the condition leaves, by index.
SHARES = {"vector alone": ("all", 1000), "filter column": ("10%", 100)}
# Rows of a set that is larger.
MOST_ROWS = 300_000
INDEXES = {"vector alone": "", "filter column": ", f"}


class Measured:
    """One data set in a table with one index."""

    def __init__(self, session: psycopg.Connection, data: Dataset, index: str):
        self.session, self.data, self.index = session, data, index
        self.rows, self.queries = data.comparable(data.base), data.comparable(data.queries[:QUERIES])
        self.texts = [text(query) for query in data.queries[:QUERIES]]
        self.f = np.random.default_rng(7).integers(0, 1000, len(self.rows))
        self.operator, self.operators = ("<=>", "cosine") if data.is_cosine else ("<->", "l2")
        self.loaded = 0
        session.execute("DROP TABLE IF EXISTS items")
        session.execute(f"CREATE TABLE items (id int, e vector({self.rows.shape[1]}), f int)")
        session.execute("SET hnsw.target_recall = 0")

    def insert(self, end: int) -> None:
        with self.session.cursor() as cursor, cursor.copy("COPY items FROM STDIN") as copy:
            for row in range(self.loaded, end):
                copy.write(f"{row}\t{text(self.data.base[row])}\t{self.f[row]}\n")
        self.loaded = end

    def build(self) -> None:
        options = f"WITH (target_recall = {TARGETS[0]})"
        columns = f"e vector_{self.operators}_ops{INDEXES[self.index]}"
        self.session.execute(f"CREATE INDEX items_e ON items USING hnsw ({columns}) {options}")
        self.session.execute("ANALYZE items")

    def kth(self, matching: np.ndarray) -> np.ndarray:
        """Squared distances of the nearest rows of each query, for each count."""
        rows, kth = self.rows[matching], []
        norms = (rows**2).sum(1)
        for query in self.queries:
            near = np.argpartition(norms - 2 * rows @ query, 2 * COUNTS[-1])[: 2 * COUNTS[-1]]
            kth.append(np.sort(self.squared(rows[near], query))[[count - 1 for count in COUNTS]])
        return np.array(kth)

    @staticmethod
    def squared(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        return ((rows.astype(np.float64) - query) ** 2).sum(1)

    def recall(self, stage: str) -> list[dict]:
        results = []
        for share, most in [SHARES[self.index]]:
            kth = self.kth(np.flatnonzero(self.f[: self.loaded] < most))
            condition = f"WHERE f < {most}" if share != "all" else ""
            for target in TARGETS:
                self.session.execute(f"SET hnsw.target_recall = {target}")
                for place, count in enumerate(COUNTS):
                    sql = f"SELECT id FROM items {condition} ORDER BY e {self.operator} %s LIMIT {count}"
                    hits, visits = 0, 0
                    for query, vector, bound in zip(self.texts, self.queries, kth[:, place], strict=True):
                        found = [row for (row,) in self.session.execute(sql, (query,))]
                        if (self.f[found] >= most).any() or len(set(found)) != count:
                            raise RuntimeError(f"wrong rows for {sql}")
                        hits += int((self.squared(self.rows[found], vector) <= bound * (1 + 1e-6) + 1e-12).sum())
                        search = self.session.execute("SELECT nodes_visited, width FROM hnsw_last_search()").fetchone()
                        visits += search[0]
                    results.append(
                        {
                            "set": self.data.name,
                            "index": self.index,
                            "rows": self.loaded,
                            "stage": stage,
                            "share": share,
                            "target": target,
                            "k": count,
                            "width": search[1],
                            "recall": hits / count / len(self.texts),
                            "visits": visits / len(self.texts),
                        }
                    )
                    print(line(results[-1]), flush=True)
        return results


def text(vector: np.ndarray) -> str:
    return "[" + ",".join(map(repr, vector.tolist())) + "]"


def line(result: dict) -> str:
    off = result["recall"] - result["target"]
    verdict = "" if -0.005 <= off <= 0.02 else "  below" if off < 0 else "  above"
    return (
        f"{result['set']:13} {result['index']:13} {result['rows']:7} {result['stage']:5} {result['share']:4}"
        f" {result['target']} k {result['k']:3} width {result['width']:4} recall {result['recall']:.4f}"
        f" visits {result['visits']:7.0f}{verdict}"
    )


def sets(args) -> list[Dataset]:
    wanted = args.sets.split()
    found = []
    if wanted != ["words"]:
        found = list(datasets.load(args.data, [name for name in wanted if name != "words"], None))
    for data in found:
        data.base = data.base[: datasets.QUICK_ROWS if args.quick else MOST_ROWS]
    if not wanted or "words" in wanted:
        base, queries = datasets.words()
        found.append(Dataset("words", base, queries, queries))
    return found


def main() -> None:
    parser = arguments(__doc__)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    results = []
    with Server(args.programs, args.home, args.sockets, args.port, args.user) as server:
        library = server.library()
        print(f"pg_alopex {library}", flush=True)
        with server.connect() as session:
            session.execute("CREATE EXTENSION pg_alopex")
            session.execute("SET enable_seqscan = off")
            for data in sets(args):
                for index in INDEXES:
                    measured = Measured(session, data, index)
                    measured.insert(2 * len(data.base) // 3)
                    measured.build()
                    results += measured.recall("built")
                    measured.insert(len(data.base))
                    session.execute("VACUUM ANALYZE items")
                    results += measured.recall("grown")
    (args.out / "targets.json").write_text(json.dumps({"library": library, "results": results}, indent=1))


if __name__ == "__main__":
    main()
