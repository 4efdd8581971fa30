#!/usr/bin/env python3
"""Queries a second over the number of clients: pg_alopex beside pgvector in one server.

Each round asks both extensions the same queries in the same order, by pgbench with prepared statements. Statements
without a search tell how many pgbench and the server can exchange at most; the recall at each ef_search stands beside.
"""

import datasets
from engines import Graph
from rounds import Figures, both, facts, parsed, turns
from server import Server, arguments

CLIENTS = [1, 2, 4, 8]
EF_SEARCH = [40, 100]
SECONDS = 5


def main() -> None:
    args = parsed(arguments(__doc__))
    data, graph = datasets.load_one(args), Graph()
    seconds = 1 if args.quick else SECONDS
    with Server(args.programs, args.home, args.sockets, args.port, args.user) as server:
        extensions = both(server, args.workers)
        figures = Figures(args.out, "clients", facts(server, extensions, graph, args) | data.facts())
        for extension in extensions:
            extension.load(data)
            extension.build(data, graph)
            for ef in EF_SEARCH:
                figures.add(f"ef_search {ef}", extension, recall=data.recall(extension.search(ef)))
        for clients in CLIENTS:
            for number, extension in turns(extensions, args.rounds):
                seed = f"--random-seed={number + 1}"
                for ef in EF_SEARCH:
                    rate = extension.queries_per_second(ef, clients, seconds, seed)
                    figures.add(f"ef_search {ef}, clients: {clients}", extension, queries_per_s=rate)
                rate = extension.statements_per_second(clients, seconds, seed)
                figures.add(f"no search, clients: {clients}", extension, statements_per_s=rate)
            figures.write()


if __name__ == "__main__":
    main()
