#!/usr/bin/env python3
"""Queries of an index that memory does not hold: pg_alopex beside pgvector in one server.

shared_buffers are a third of the smaller of both indexes, for both. Beyond them reads are kept from the system's page
cache by debug_io_direct, or by a control group with little more memory than shared_buffers; where neither is to be had,
the results say so. Queries are rows that are not in the table, so many that they touch more pages than memory holds.
Each round warms up, then measures: milliseconds of a query (pgbench, one client), pages touched and read.
"""

import os
from pathlib import Path

import numpy as np

import datasets
from cgroup import Cgroup
from engines import Graph
from rounds import Figures, both, facts, parsed, turns
from server import Server, arguments

WAYS = ("direct", "cgroup", "none")
QUERIES = 10_000
# Of them, for recall, and for the pages of a round.
RECALL_QUERIES = 1_000
PAGES_QUERIES = 200
EF_SEARCH = [40, 100]
SECONDS = 15
WARM_UP_SECONDS = 5
# Memory of the server's processes in a control group; the page cache has the few megabytes that they leave of it.
PROCESSES_MB = 16


def split(whole: datasets.Dataset, queries: int) -> datasets.Dataset:
    """Rows at random become queries, and are no rows."""
    asked = np.zeros(len(whole.base), bool)
    asked[np.random.default_rng(1).choice(len(asked), queries, replace=False)] = True
    return datasets.Dataset(whole.name, whole.base[~asked], whole.base[asked].astype(np.float32), whole.fresh)


def cap(server: Server, cgroup: Cgroup, shared_mb: int, ways: list[str]) -> str:
    """Restarts the server with so much for shared_buffers, and tells what keeps further pages out of memory."""
    shared = f"{shared_mb}MB"
    server.stop()
    if "direct" in ways:
        try:
            server.start(shared_buffers=shared, debug_io_direct="data")
            return "debug_io_direct = data"
        except RuntimeError as error:
            print(f"no direct I/O here: {error}", flush=True)
    # A page that is in the page cache already would not count as memory of the group.
    forget(server.data)
    server.start(shared_buffers=shared)
    limit = shared_mb + PROCESSES_MB
    if "cgroup" in ways and cgroup.hold(server.process(), limit):
        return f"a control group with {limit} MB"
    return "none: pages beyond shared_buffers come from the system's page cache"


def forget(directory: Path) -> None:
    """Drops the files of a stopped server, which have been synced, from the page cache."""
    for path in directory.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--cap", choices=WAYS, help="how memory is capped (default: the first of these that works)")
    args = parsed(parser)
    ways = [args.cap] if args.cap else WAYS
    queries, seconds, warm_up = (500, 1, 1) if args.quick else (QUERIES, SECONDS, WARM_UP_SECONDS)
    data, graph = split(datasets.load_one(args), queries), Graph()
    sample = datasets.Dataset(data.name, data.base, data.queries[:RECALL_QUERIES], data.fresh)
    with (
        Cgroup(f"pg_alopex_bench_{args.port}") as cgroup,
        Server(args.programs, args.home, args.sockets, args.port, args.user) as server,
    ):
        extensions = both(server, args.workers)
        figures = Figures(args.out, "memory", facts(server, extensions, graph, args) | data.facts())
        sizes = []
        for extension in extensions:
            extension.load(data)
            sizes.append(extension.build(data, graph)["index_mb"])
            figures.add("index", extension, index_mb=sizes[-1])
            for ef in EF_SEARCH:
                found = extension.search(ef)[: len(sample.queries)]
                figures.add(f"ef_search {ef}", extension, recall=sample.recall(found))
        shared_mb = max(1, round(min(sizes) / 3))
        figures.about |= {"cap": cap(server, cgroup, shared_mb, ways), "shared_buffers": f"{shared_mb}MB"}
        print(f"shared_buffers: {shared_mb} MB; cap of memory: {figures.about['cap']}", flush=True)
        for number, extension in turns(extensions, args.rounds):
            extension.connect()
            for ef in EF_SEARCH:
                extension.queries_per_second(ef, 1, warm_up, f"--random-seed={2 * number + 1}")
                milliseconds = extension.latencies(ef, 1, seconds, f"--random-seed={2 * number + 2}")[:, 0] * 1e3
                touched, read = extension.pages_per_query(ef, PAGES_QUERIES)
                figures.add(
                    f"ef_search {ef}",
                    extension,
                    mean_ms=milliseconds.mean(),
                    p99_ms=np.percentile(milliseconds, 99),
                    pages_touched=touched,
                    pages_read=read,
                )
            figures.write()


if __name__ == "__main__":
    main()
