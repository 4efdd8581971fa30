#!/usr/bin/env python3
"""What VACUUM of an index costs, and costs others: pg_alopex beside pgvector, in one server.

For each part of the rows that is deleted, both extensions in turn, the same rows: how fast single rows are inserted and queries are answered
before, and once the rows are deleted; queries go on while VACUUM runs; then both again, and the recall beside that of an index built anew over
the same rows.
"""

import json
import threading
import time
from pathlib import Path

import numpy as np

import datasets
from engines import INDEX, Extension, Graph
from server import Server, arguments

WIDTHS = [10, 20, 40, 100, 200]
EF_SEARCH = 40
MEMORY = "64MB"
SECONDS = 10
INSERTS = 500


class Vacuumed(Extension):
    """An extension whose table is vacuumed."""

    def delete(self, part: float) -> np.ndarray:
        """Deletes a random part of the rows; says which of all rows stay."""
        rows = self.session.execute("SELECT count(*) FROM items").fetchone()[0]
        alive = np.random.default_rng(1).random(rows) >= part
        with self.session.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE gone (id int)")
            with cursor.copy("COPY gone FROM STDIN") as copy:
                copy.write("".join(f"{row}\n" for row in np.flatnonzero(~alive)))
            cursor.execute("DELETE FROM items USING gone WHERE items.id = gone.id")
            cursor.execute("DROP TABLE gone")
        return alive

    def insert_rate(self) -> float:
        """Rows a second, each in a transaction of its own."""
        first = len(self.dataset.base)
        script = f"INSERT INTO items SELECT {first} + id, e FROM fresh WHERE id = (SELECT nextval('next_fresh'));\n"
        return self.server.pgbench(self.database, script, "-c", "1", "-t", str(INSERTS))

    def latencies_until(self, done: threading.Event, seconds: int) -> np.ndarray:
        """Latencies in rounds of so many seconds, until something is done."""
        all_rounds = []
        while True:
            all_rounds.append(self.latencies(EF_SEARCH, 1, seconds))
            if done.is_set():
                return np.concatenate(all_rounds)

    def vacuum(self) -> dict[str, float]:
        """VACUUM, while queries go on."""
        self.session.execute(f"SET maintenance_work_mem = '{MEMORY}'")
        self.session.execute("CHECKPOINT")
        process = self.session.execute("SELECT pg_backend_pid()").fetchone()[0]
        done, result = threading.Event(), {}

        def run() -> None:
            try:
                start = time.time()
                self.session.execute("VACUUM (INDEX_CLEANUP ON, PARALLEL 0) items")
                result.update(start=start, end=time.time())
            finally:
                done.set()

        memory = []
        before = own_memory(process)
        threading.Thread(target=lambda: watch(process, memory, done), daemon=True).start()
        vacuum = threading.Thread(target=run)
        vacuum.start()
        latencies = self.latencies_until(done, 2)
        vacuum.join()
        during = latencies[(latencies[:, 1] > result["start"]) & (latencies[:, 1] < result["end"]), 0]
        return {
            "seconds": result["end"] - result["start"],
            "memory_mb": (max(memory, default=before) - before) / 1e6,
            **percentiles("during", during),
        }

    def recall(self, ef_search: int, alive: np.ndarray) -> float:
        """Recall among the rows that are there."""
        rows = np.concatenate((self.dataset.base, self.dataset.fresh))[: len(alive)][alive]
        left = datasets.Dataset(self.dataset.name, rows, self.dataset.queries, self.dataset.fresh)
        position = np.cumsum(alive) - 1
        return left.recall([position[found] for found in self.search(ef_search)])


def own_memory(process: int) -> int:
    """Bytes of a process that are its own, shared buffers aside."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no RssAnon of process {process}")


def watch(process: int, memory: list[int], done: threading.Event) -> None:
    while not done.wait(0.02):
        memory.append(own_memory(process))


def percentiles(name: str, latencies: np.ndarray) -> dict[str, float]:
    p50, p99 = np.percentile(latencies, (50, 99)) * 1e6 if len(latencies) else (np.nan, np.nan)
    return {f"{name}_p50_us": p50, f"{name}_p99_us": p99, f"{name}_queries": len(latencies)}


def measure(extension: Vacuumed, data: datasets.Dataset, part: float) -> dict[str, float]:
    extension.load(data)
    built = extension.build(data, Graph())
    result = {"build_s": built["build_s"], "inserts_per_s_before": extension.insert_rate()}
    result |= percentiles("before", extension.latencies(EF_SEARCH, 1, SECONDS)[:, 0])
    alive = extension.delete(part)
    # Before VACUUM comes searches meet dead rows, and mark them.
    result |= percentiles("deleted", extension.latencies(EF_SEARCH, 1, SECONDS)[:, 0])
    result |= extension.vacuum()
    result |= percentiles("after", extension.latencies(EF_SEARCH, 1, SECONDS)[:, 0])
    result["inserts_per_s_after"] = extension.insert_rate()
    alive = np.concatenate((alive, np.ones(INSERTS, bool)))
    for ef_search in WIDTHS:
        result[f"recall_{ef_search}"] = extension.recall(ef_search, alive)
    result["index_mb"] = extension.session.execute(f"SELECT pg_relation_size('{INDEX}') / 1e6").fetchone()[0]
    extension.session.execute(f"SET maintenance_work_mem = '2GB'; REINDEX INDEX {INDEX}")
    for ef_search in WIDTHS:
        result[f"recall_{ef_search}_built_anew"] = extension.recall(ef_search, alive)
    extension.drop()
    return {name: float(value) for name, value in result.items()}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--parts", default="0.1 0.5", help="parts of the rows that are deleted")
    parser.add_argument("--engines", default="pg_alopex vector", help="extensions to measure")
    args = parser.parse_args()
    whole = datasets.load_one(args)
    # Rows to insert that are no queries: those would be their own nearest neighbors.
    base, fresh = np.split(whole.base, [-2 * INSERTS])
    data = datasets.Dataset(whole.name, base, whole.queries, fresh)
    args.out.mkdir(parents=True, exist_ok=True)
    with Server(args.programs, args.home, args.sockets, args.port, args.user) as server:
        results = {"library": server.library()}
        print(f"pg_alopex {results['library']}", flush=True)
        for part in map(float, args.parts.split()):
            for name in args.engines.split():
                extension = Vacuumed(name, name, server, workers=1)
                results[f"{part:.0%} {name}"] = result = measure(extension, data, part)
                for measured, value in result.items():
                    print(f"{part:4.0%} {name:10} {measured:24} {value:12.4g}", flush=True)
                (args.out / "vacuum.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
