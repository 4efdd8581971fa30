#!/usr/bin/env python3
"""Builds of an index within maintenance_work_mem and beyond it: pg_alopex beside pgvector in one server.

Each round builds the index of each extension anew, by the same workers, with little memory and with enough: time, size,
and the recall of the index that came out.
"""

import datasets
from engines import Graph
from rounds import Figures, both, facts, parsed, turns
from server import Server, arguments

LITTLE_MB = 64
LITTLE_QUICK_MB = 4
# PostgreSQL takes away workers of a parallel build that would have less.
WORKER_MB = 32
EF_SEARCH = 40


def main() -> None:
    args = parsed(arguments(__doc__))
    data, graph = datasets.load_one(args), Graph()
    with Server(args.programs, args.home, args.sockets, args.port, args.user) as server:
        extensions = both(server, args.workers)
        figures = Figures(args.out, "builds", facts(server, extensions, graph, args) | data.facts())
        for extension in extensions:
            extension.load(data)
        little = LITTLE_QUICK_MB if args.quick else LITTLE_MB
        workers = min(args.workers, max(0, little // WORKER_MB - 1))
        amounts = {f"{little}MB": workers, server.setting("maintenance_work_mem"): args.workers}
        for _, extension in turns(extensions, args.rounds):
            for memory, workers in amounts.items():
                extension.session.execute(f"SET maintenance_work_mem = '{memory}'")
                extension.session.execute(f"SET max_parallel_maintenance_workers = {workers}")
                built = extension.build(data, graph)
                recall = data.recall(extension.search(EF_SEARCH))
                figures.add(f"{memory}, workers: {workers}", extension, **built, **{f"recall_{EF_SEARCH}": recall})
                figures.write()


if __name__ == "__main__":
    main()
