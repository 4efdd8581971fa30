#!/usr/bin/env python3
"""Nearest neighbors under conditions: pg_alopex with filter columns, with a bitmap of other indexes, and with neither, beside pgvector's
iterative scans and a btree with a sort, in one server.

For each condition and each way, the same queries with LIMIT 10: milliseconds a query, of a client (prepared statements over one connection)
and in the server (a loop in PL/pgSQL), each the median of interleaved rounds; recall among the matching rows, and the rows returned of those
wanted.
"""

import statistics
import time

import numpy as np
import psycopg

import datasets
import filter_report
from datasets import K
from server import Server, arguments

EF_SEARCH = 40
ROUNDS = 3
QUERIES = 100
PLACES = 100
TENANT_ROWS = 100
TAGS = 200

# Name, extension, indexes beside the one on the vector (whose columns come first), settings.
FILTERS = "day, place, tenant, tags"
OTHERS = ["(day)", "(place)", "(tenant)", "USING gin (tags)"]
WAYS = {
    "filter columns": ("pg_alopex", FILTERS, [], []),
    "bitmap": ("pg_alopex", "", OTHERS, []),
    "scan alone": ("pg_alopex", "", [], []),
    "pgvector strict": ("vector", "", [], ["hnsw.iterative_scan = strict_order"]),
    "pgvector relaxed": ("vector", "", [], ["hnsw.iterative_scan = relaxed_order"]),
    "pgvector or btree": ("vector", "", OTHERS, ["hnsw.iterative_scan = relaxed_order"]),
}


class Rows:
    """The other columns of the rows, and the conditions on them."""

    def __init__(self, data: datasets.Dataset):
        random = np.random.default_rng(5)
        self.data, self.count = data, len(data.base)
        self.vectors, self.queries = data.comparable(data.base), data.comparable(data.queries[:QUERIES])
        self.squares = (self.vectors**2).sum(1)
        self.day = random.integers(0, 1000, self.count)
        self.tenant = random.permutation(self.count) // TENANT_ROWS
        self.tags = [random.choice(TAGS, 3, replace=False) for _ in range(self.count)]
        self.places = self.vectors[random.choice(self.count, PLACES, replace=False)]
        self.place = self._nearest_place(self.vectors)
        self.picked = random.integers(0, self.count // TENANT_ROWS, len(self.queries))
        self.tag = random.integers(0, TAGS, len(self.queries))
        of_queries = self._distances(self.queries)
        self.near, self.far = of_queries.argmin(1), of_queries.argmax(1)

    def _distances(self, vectors: np.ndarray) -> np.ndarray:
        return (vectors**2).sum(1)[:, None] - 2 * vectors @ self.places.T + (self.places**2).sum(1)

    def _nearest_place(self, vectors: np.ndarray) -> np.ndarray:
        parts = np.array_split(vectors, max(1, len(vectors) // 10_000))
        return np.concatenate([self._distances(part).argmin(1) for part in parts])

    def lines(self):
        for row, vector in enumerate(self.data.base):
            tags = ",".join(map(str, self.tags[row]))
            numbers = ",".join(map(repr, vector.tolist()))
            yield f"{row}\t[{numbers}]\t{self.day[row]}\t{self.place[row]}\t{self.tenant[row]}\t{{{tags}}}\n"

    def conditions(self):
        """Name, SQL with a parameter, the parameter of each query, and the rows that match it."""
        queries = range(len(self.queries))
        yield "none", "", [None for _ in queries], lambda _: np.arange(self.count)
        for name, days in (("50%", 500), ("10%", 100), ("1%", 10), (".1%", 1)):
            rows = np.flatnonzero(self.day < days)
            yield name, "WHERE day < date '2020-01-01' + %s::int", [days for _ in queries], lambda _, rows=rows: rows
        for name, places in (("near", self.near), ("far", self.far)):
            yield name, "WHERE place = %s", places.tolist(), lambda place: np.flatnonzero(self.place == place)
        yield "tenant", "WHERE tenant = %s", self.picked.tolist(), lambda tenant: np.flatnonzero(self.tenant == tenant)
        tags = np.array(self.tags)
        yield "tag", "WHERE tags && ARRAY[%s::int]", self.tag.tolist(), lambda tag: np.flatnonzero((tags == tag).any(1))


class Way:
    """One way to the rows: a database with its indexes."""

    def __init__(self, name: str, server: Server, rows: Rows):
        self.name = name
        extension, filters, others, settings = WAYS[name]
        database = "filter_" + "".join(c if c.isalnum() else "_" for c in name)
        with server.connect() as session:
            session.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            session.execute(f"CREATE DATABASE {database}")
        self.session = server.connect(database)
        self.session.execute(f"CREATE EXTENSION {extension}")
        self.operator, operators = ("<=>", "cosine") if rows.data.is_cosine else ("<->", "l2")
        self.dimensions = rows.data.base.shape[1]
        self.session.execute(
            f"CREATE TABLE items (id int, e vector({self.dimensions}), day date, place int, tenant int, tags int[])"
        )
        with self.session.cursor() as cursor:
            cursor.execute(
                f"CREATE TEMP TABLE loaded (id int, e vector({self.dimensions}), day int, place int, tenant int, tags int[])"
            )
            with cursor.copy("COPY loaded FROM STDIN") as copy:
                for line in rows.lines():
                    copy.write(line)
            cursor.execute("INSERT INTO items SELECT id, e, date '2020-01-01' + day, place, tenant, tags FROM loaded ORDER BY id")
            cursor.execute("DROP TABLE loaded")
        columns = ", ".join(filter(None, [f"e vector_{operators}_ops", filters]))
        start = time.perf_counter()
        self.session.execute(f"CREATE INDEX items_e ON items USING hnsw ({columns})")
        self.build_s = time.perf_counter() - start
        for other in others:
            self.session.execute(f"CREATE INDEX ON items {other}")
        self.session.execute("VACUUM ANALYZE items")
        self.index_mb = self.session.execute("SELECT pg_relation_size('items_e') / 1e6").fetchone()[0]
        for setting in [f"hnsw.ef_search = {EF_SEARCH}", *settings]:
            self.session.execute(f"SET {setting}")

    def run(self, condition: str, queries: list[str], parameters: list) -> tuple[float, list[list[int]]]:
        """Seconds a query, and the rows found by each."""
        sql = f"SELECT id FROM items {condition} ORDER BY e {self.operator} %s::vector({self.dimensions}) LIMIT {K}"
        found, start = [], time.perf_counter()
        for query, parameter in zip(queries, parameters, strict=True):
            values = (query,) if parameter is None else (parameter, query)
            found.append([row for (row,) in self.session.execute(sql, values, prepare=True)])
        return (time.perf_counter() - start) / len(queries), found

    def prepare(self, condition: str) -> None:
        """Makes the function that `run_in_server` calls."""
        condition = condition.replace("%s", "parameter")
        self.session.execute(
            f"""CREATE OR REPLACE FUNCTION seconds(queries vector[], parameters int[]) RETURNS float8 LANGUAGE plpgsql AS $$
            DECLARE
                query vector({self.dimensions});
                parameter int;
                start timestamptz := clock_timestamp();
            BEGIN
                FOR query, parameter IN SELECT * FROM unnest(queries, parameters) LOOP
                    PERFORM id FROM items {condition} ORDER BY e {self.operator} query LIMIT {K};
                END LOOP;
                RETURN extract(epoch FROM clock_timestamp() - start) / cardinality(queries);
            END $$"""
        )

    def run_in_server(self, queries: list[str], parameters: list) -> float:
        """Seconds a query, without the client and the reading of the query."""
        sql = "SELECT seconds(%s::vector[], %s::int[])"
        return self.session.execute(sql, (queries, parameters), prepare=True).fetchone()[0]

    def plan(self, condition: str, query: str, parameter) -> str:
        sql = f"SELECT id FROM items {condition} ORDER BY e {self.operator} %s::vector({self.dimensions}) LIMIT {K}"
        with psycopg.ClientCursor(self.session) as cursor:
            cursor.execute("EXPLAIN (COSTS OFF) " + sql, (query,) if parameter is None else (parameter, query))
            lines = [line.strip() for (line,) in cursor]
        return next((line for line in lines if "Scan" in line), lines[0]).removeprefix("->").strip()


def distances(rows: Rows, query: int, which: np.ndarray | list[int]) -> np.ndarray:
    return ((rows.vectors[np.asarray(which, int)] - rows.queries[query]) ** 2).sum(1)


def recall(rows: Rows, matching: np.ndarray, query: int, found: list[int]) -> tuple[int, int]:
    """Rows found that are as near as the Kth nearest matching one, and the number wanted."""
    wanted = min(K, len(matching))
    if wanted == 0:
        return 0, 0
    # Products in f32 order the rows nearly; differences tell which of the nearest is the Kth.
    nearly = rows.squares - 2 * rows.vectors @ rows.queries[query]
    most = min(100, len(matching))
    near = matching[np.argpartition(nearly[matching], most - 1)[:most]]
    kth = np.partition(distances(rows, query, near), wanted - 1)[wanted - 1]
    of_found = distances(rows, query, found)
    if not np.isin(found, matching).all():
        raise RuntimeError("a row that does not match")
    return int((of_found <= kth * (1 + 1e-5) + 1e-9).sum()), wanted


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--ways", type=lambda names: names.split(","), default=list(WAYS), help=f"some of: {', '.join(WAYS)}")
    args = parser.parse_args()
    data = datasets.load_one(args)
    rows = Rows(data)
    texts = ["[" + ",".join(map(repr, query.tolist())) + "]" for query in data.queries[:QUERIES]]
    args.out.mkdir(parents=True, exist_ok=True)
    with Server(args.programs, args.home, args.sockets, args.port, args.user) as server:
        results = {"library": server.library(), "set": data.name, "rows": rows.count, "ef_search": EF_SEARCH}
        print(f"pg_alopex {results['library']}", flush=True)
        ways = [Way(name, server, rows) for name in args.ways]
        for way in ways:
            results[way.name] = {"build_s": way.build_s, "index_mb": float(way.index_mb)}
            print(f"{way.name:18} build {way.build_s:7.1f} s  {way.index_mb:8.1f} MB", flush=True)
        for name, condition, parameters, matches in rows.conditions():
            seconds, in_server, found = {way.name: [] for way in ways}, {way.name: [] for way in ways}, {}
            for way in ways:
                way.prepare(condition)
            for _ in range(ROUNDS + 1):  # The first round warms up.
                for way in ways:
                    spent, found[way.name] = way.run(condition, texts, parameters)
                    seconds[way.name].append(spent)
                    in_server[way.name].append(way.run_in_server(texts, parameters))
            for way in ways:
                counted = [
                    recall(rows, matches(parameter), query, found[way.name][query])
                    for query, parameter in enumerate(parameters)
                ]
                hits, most = map(sum, zip(*counted, strict=True))
                returned = sum(map(len, found[way.name]))
                measured = {
                    "ms": statistics.median(seconds[way.name][1:]) * 1e3,
                    "rounds_ms": [spent * 1e3 for spent in seconds[way.name][1:]],
                    "server_ms": statistics.median(in_server[way.name][1:]) * 1e3,
                    "server_rounds_ms": [spent * 1e3 for spent in in_server[way.name][1:]],
                    "recall": hits / most,
                    "returned": returned / most,
                    "plan": way.plan(condition, texts[0], parameters[0]),
                }
                results[way.name][name] = measured
                print(
                    f"{name:7} {way.name:18} {measured['ms']:9.3f} ms, {measured['server_ms']:9.3f} in the server  recall {measured['recall']:.4f}"
                    f"  returned {measured['returned']:.3f}  {measured['plan']}",
                    flush=True,
                )
        filter_report.write(args.out, results)


if __name__ == "__main__":
    main()
