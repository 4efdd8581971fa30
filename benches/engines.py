"""What is compared: two extensions in one server, a database each, and hnswlib in this process.

Every engine builds over a data set and answers all its queries; the other measures exist for the extensions only.
"""

import time
from dataclasses import dataclass
from typing import Protocol

import hnswlib
import numpy as np

from datasets import K, Dataset
from server import Server

INDEX = "items_e_idx"


@dataclass(frozen=True)
class Graph:
    """Parameters of an index, the same for every engine."""

    m: int = 16
    ef_construction: int = 64


class Engine(Protocol):
    name: str

    def build(self, dataset: Dataset, graph: Graph) -> dict[str, float]:
        """Builds the index; returns `build_s` and `index_mb`."""

    def search(self, ef_search: int) -> list[np.ndarray]:
        """The rows found for each query."""

    def seconds_per_query(self, ef_search: int) -> float:
        """One pass over all queries."""


class Extension:
    """An extension with an access method `hnsw`, in a database of its own."""

    def __init__(self, name: str, extension: str, server: Server, workers: int):
        self.name, self.extension, self.server, self.workers = name, extension, server, workers
        self.database = f"bench_{extension}"

    def version(self) -> str:
        with self.server.connect() as session:
            sql = "SELECT default_version FROM pg_available_extensions WHERE name = %s"
            return session.execute(sql, (self.extension,)).fetchone()[0]

    def load(self, dataset: Dataset, kind: str = "vector") -> None:
        """Makes the database with the data set's vectors in columns of the type `kind`: vector or halfvec."""
        with self.server.connect() as session:
            session.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")
            session.execute(f"CREATE DATABASE {self.database}")
        self.dataset, self.kind = dataset, kind
        self.operator, self.operators = ("<=>", "cosine") if dataset.is_cosine else ("<->", "l2")
        self.connect()
        self.session.execute(f"CREATE EXTENSION {self.extension}")
        self._load("items", dataset.base)
        self._load("queries", dataset.queries)
        self._load("fresh", dataset.fresh)
        self.session.execute(f"ALTER TABLE items SET (parallel_workers = {self.workers})")
        self.session.execute("CREATE SEQUENCE next_fresh MINVALUE 0")
        self.session.execute("VACUUM ANALYZE")

    def connect(self) -> None:
        self.session = self.server.connect(self.database)
        self.session.execute(f"SET max_parallel_maintenance_workers = {self.workers}")
        # The planner would rather sort a small table than use an index.
        self.session.execute("SET enable_seqscan = off")

    def build(self, dataset: Dataset, graph: Graph) -> dict[str, float]:
        self.session.execute(f"DROP INDEX IF EXISTS {INDEX}")
        self.session.execute("CHECKPOINT")
        options = f"m = {graph.m}, ef_construction = {graph.ef_construction}"
        sql = f"CREATE INDEX {INDEX} ON items USING hnsw (e {self.kind}_{self.operators}_ops) WITH ({options})"
        seconds = self._time(sql)
        size = self.session.execute(f"SELECT pg_relation_size('{INDEX}')").fetchone()[0]
        self.session.execute("CHECKPOINT")
        return {"build_s": seconds, "index_mb": size / 1e6}

    def search(self, ef_search: int) -> list[np.ndarray]:
        self._set(ef_search)
        found = [[] for _ in self.dataset.queries]
        for query, row in self.session.execute(self._searches()):
            found[query].append(row)
        return [np.array(rows, dtype=int) for rows in found]

    def seconds_per_query(self, ef_search: int) -> float:
        self._set(ef_search)
        return self._time(f"SELECT count(*) FROM ({self._searches()}) s") / len(self.dataset.queries)

    def seconds_per_query_with_distance(self, ef_search: int) -> float:
        self._set(ef_search)
        searches = self._searches(f"e {self.operator} q.e AS id")
        return self._time(f"SELECT sum(s.distance) FROM ({searches}) s (query, distance)") / len(self.dataset.queries)

    def pages_per_query(self, ef_search: int, most_queries: int | None = None) -> tuple[float, float]:
        """Pages that the index scan touches, and those of them that were not in shared_buffers."""
        self._set(ef_search)
        count = min(len(self.dataset.queries), most_queries or len(self.dataset.queries))
        sql = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT json) {self._searches()} WHERE q.id < {count}"
        scan = _index_scan(self.session.execute(sql).fetchone()[0][0]["Plan"])
        if scan is None:
            raise RuntimeError(f"{self.name}: the planner does not use the index")
        hit, read = (scan[f"Shared {kind} Blocks"] / count for kind in ("Hit", "Read"))
        return hit + read, read

    def queries_per_second(self, ef_search: int, clients: int, seconds: int, *options: str) -> float:
        script = (
            f"\\set q random(0, {len(self.dataset.queries) - 1})\n"
            f"SELECT id FROM items ORDER BY e {self.operator} (SELECT e FROM queries WHERE id = :q) LIMIT {K};\n"
        )
        settings = f"-c enable_seqscan=off -c hnsw.ef_search={ef_search}"
        arguments = ["-c", str(clients), "-j", str(clients), "-T", str(seconds), *options]
        return self.server.pgbench(self.database, script, *arguments, settings=settings)

    def statements_per_second(self, clients: int, seconds: int, *options: str) -> float:
        """The bound of `queries_per_second`: a statement that finds its query by its id, and searches for nothing."""
        script = f"\\set q random(0, {len(self.dataset.queries) - 1})\nSELECT id FROM queries WHERE id = :q;\n"
        arguments = ["-c", str(clients), "-j", str(clients), "-T", str(seconds), *options]
        return self.server.pgbench(self.database, script, *arguments)

    def latencies(self, ef_search: int, clients: int, seconds: int, *options: str) -> np.ndarray:
        """Seconds that each query took, and when it ended, in a run of so many seconds."""
        prefix = self.server.home / "latencies"
        for old in self.server.home.glob("latencies*"):
            old.unlink()
        self.queries_per_second(ef_search, clients, seconds, "--log", f"--log-prefix={prefix}", *options)
        logs = [np.loadtxt(log, usecols=(2, 4, 5), ndmin=2) for log in self.server.home.glob("latencies*")]
        columns = np.concatenate(logs)
        return np.column_stack((columns[:, 0] / 1e6, columns[:, 1] + columns[:, 2] / 1e6))

    def insert(self) -> dict[str, float]:
        """Inserts the fresh rows, each in a transaction of its own: half of them as the server is set, half with full-page images
        after a checkpoint, which is what PostgreSQL does unless told otherwise."""
        rows = len(self.dataset.fresh)
        first = len(self.dataset.base)
        script = f"INSERT INTO items SELECT {first} + id, e FROM fresh WHERE id = (SELECT nextval('next_fresh'));\n"

        def insert(count: int) -> tuple[float, float]:
            before = self._wal()
            rate = self.server.pgbench(self.database, script, "-c", "1", "-t", str(count))
            return rate, (self._wal() - before) / count

        rate, wal = insert(rows // 2)
        self._full_page_writes("on")
        _, wal_with_images = insert(rows - rows // 2)
        self._full_page_writes("off")
        count = self.session.execute(f"SELECT count(*) FROM items WHERE id >= {first}").fetchone()[0]
        if count != rows:
            raise RuntimeError(f"{self.name}: {count} of {rows} rows were inserted")
        return {"inserts_per_s": rate, "wal_bytes_per_row": wal, "wal_bytes_per_row_with_images": wal_with_images}

    def vacuum_seconds(self) -> float:
        """VACUUM of the table after a tenth of its rows was deleted."""
        self.session.execute("DELETE FROM items WHERE id % 10 = 0")
        return self._time("VACUUM items")

    def drop(self) -> None:
        self.session.close()
        with self.server.connect() as session:
            session.execute(f"DROP DATABASE {self.database} WITH (FORCE)")

    def _searches(self, column: str = "id") -> str:
        nearest = f"SELECT {column} FROM items ORDER BY e {self.operator} q.e LIMIT {K}"
        return f"SELECT q.id, x.id FROM queries q CROSS JOIN LATERAL ({nearest}) x"

    def _set(self, ef_search: int) -> None:
        self.session.execute(f"SET hnsw.ef_search = {ef_search}")

    def _full_page_writes(self, value: str) -> None:
        self.session.execute(f"ALTER SYSTEM SET full_page_writes = {value}")
        self.session.execute("SELECT pg_reload_conf()")
        self.session.execute("CHECKPOINT")

    def _wal(self) -> int:
        return self.session.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()[0]

    def _time(self, sql: str) -> float:
        start = time.perf_counter()
        self.session.execute(sql)
        return time.perf_counter() - start

    def _load(self, table: str, vectors: np.ndarray) -> None:
        """Copies vectors with their positions as ids, in COPY's binary format, which both extensions share."""
        dimensions = vectors.shape[1]
        self.session.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, e vector({dimensions}) NOT NULL)")
        if table == "queries" and dimensions < 2000:
            # Fetching a query's own out-of-line value would count as pages of the index scan.
            self.session.execute("ALTER TABLE queries ALTER e SET STORAGE plain")
        header = [("fields", ">i2"), ("id_bytes", ">i4"), ("id", ">i4"), ("e_bytes", ">i4"), ("dimensions", ">i2")]
        row = np.dtype([*header, ("zero", ">i2"), ("e", ">f4", dimensions)])
        with self.session.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
            for first in range(0, len(vectors), 1000):
                part = vectors[first : first + 1000]
                rows = np.zeros(len(part), row)
                rows["fields"], rows["id_bytes"], rows["e_bytes"] = 2, 4, 4 + 4 * dimensions
                rows["id"] = np.arange(first, first + len(part))
                rows["dimensions"], rows["e"] = dimensions, part
                copy.write(rows.tobytes())
            copy.write(b"\xff\xff")
        if self.kind != "vector":
            kind = f"{self.kind}({dimensions})"
            self.session.execute(f"ALTER TABLE {table} ALTER e TYPE {kind} USING e::{kind}")


def _index_scan(plan: dict) -> dict | None:
    if plan.get("Index Name") == INDEX:
        return plan
    return next((scan for part in plan.get("Plans", ()) if (scan := _index_scan(part))), None)


class Hnswlib:
    """The reference: the graph alone, in this process and its memory, one thread, no SQL."""

    name = "hnswlib"

    def build(self, dataset: Dataset, graph: Graph) -> dict[str, float]:
        rows, dimensions = dataset.base.shape
        self.queries = dataset.comparable(dataset.queries)
        self.index = hnswlib.Index(space="l2", dim=dimensions)
        self.index.init_index(rows, M=graph.m, ef_construction=graph.ef_construction, random_seed=1)
        self.index.set_num_threads(1)
        seconds = 0.0
        for first, part in dataset.parts():
            start = time.perf_counter()
            self.index.add_items(part, np.arange(first, first + len(part)), num_threads=1)
            seconds += time.perf_counter() - start
        return {"build_s": seconds, "index_mb": self.index.index_file_size() / 1e6}

    def search(self, ef_search: int) -> list[np.ndarray]:
        self.index.set_ef(ef_search)
        return list(self.index.knn_query(self.queries, k=K, num_threads=1)[0].astype(int))

    def seconds_per_query(self, ef_search: int) -> float:
        start = time.perf_counter()
        self.search(ef_search)
        return (time.perf_counter() - start) / len(self.queries)
