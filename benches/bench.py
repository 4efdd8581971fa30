#!/usr/bin/env python3
"""Compares pg_alopex with pgvector in one server, side by side, and with hnswlib as the reference.

What can vary with the machine's mood is measured in rounds that alternate between the engines; the best round counts.
"""

import json
from importlib.metadata import version

import datasets
import report
from engines import Engine, Extension, Graph, Hnswlib
from rounds import both, facts, parsed, turns
from server import Server, arguments

EF_SEARCH = [10, 20, 40, 60, 80, 120, 200, 400]
EF_CLIENTS = [40, 120, 400]
EF_COLD = 40
COLD_QUERIES = 20
CLIENTS = [1, 2]


def measure(data: datasets.Dataset, extensions: list[Extension], graph: Graph, args, server: Server, out) -> None:
    """Measures a data set; `out` takes an engine's name, a measure, ef_search or None, a value a round, and which counts."""
    engines: list[Engine] = [*extensions, Hnswlib()]
    for extension in extensions:
        extension.load(data)
    sizes = {}

    def build(engine: Engine) -> float:
        built = engine.build(data, graph)
        sizes[engine.name] = built["index_mb"]
        return built["build_s"]

    for name, seconds in alternate(engines, args.rounds, build).items():
        out(name, "build_s", None, *seconds)
        out(name, "index_mb", None, sizes[name])

    for ef in EF_SEARCH[::4] if args.quick else EF_SEARCH:
        for engine in engines:
            out(engine.name, "recall", ef, data.recall(engine.search(ef)))
        for extension in extensions:
            out(extension.name, "pages", ef, extension.pages_per_query(ef)[0])
        for name, seconds in alternate(engines, args.rounds, lambda e: e.seconds_per_query(ef)).items():
            out(name, "query_us", ef, *(value * 1e6 for value in seconds))

    seconds = 1 if args.quick else 3
    for ef in EF_CLIENTS[:1] if args.quick else EF_CLIENTS:
        with_distance = alternate(extensions, args.rounds, lambda e: e.seconds_per_query_with_distance(ef))
        for name, values in with_distance.items():
            out(name, "query_with_distance_us", ef, *(value * 1e6 for value in values))
        for clients in CLIENTS:
            measured = alternate(extensions, args.rounds, lambda e: e.queries_per_second(ef, clients, seconds))
            for name, rates in measured.items():
                out(name, f"qps_{clients}_client{'s' if clients > 1 else ''}", ef, *rates, best=max)

    for extension in extensions:
        for name, value in extension.insert().items():
            out(extension.name, name, None, value)
    for extension in extensions:
        server.restart()
        extension.connect()
        out(extension.name, "cold_pages_read", EF_COLD, extension.pages_per_query(EF_COLD, COLD_QUERIES)[1])
    for extension in extensions:
        extension.connect()
        out(extension.name, "vacuum_s", None, extension.vacuum_seconds())
    for extension in extensions:
        extension.drop()


def alternate(engines: list, rounds: int, value) -> dict[str, list[float]]:
    values = {engine.name: [] for engine in engines}
    for _, engine in turns(engines, rounds):
        values[engine.name].append(value(engine))
    return values


def main() -> None:
    args = parsed(arguments(__doc__))
    sets = datasets.load(args.data, args.sets.split(), datasets.QUICK_ROWS if args.quick else None)
    args.out.mkdir(parents=True, exist_ok=True)
    graph = Graph()
    with Server(args.programs, args.home, args.sockets, args.port, args.user) as server:
        extensions = both(server, args.workers)
        run = facts(server, extensions, graph, args)
        run |= {"hnswlib": version("hnswlib"), "cold_queries": COLD_QUERIES, "sets": {}}
        results = []
        for data in sets:
            rows, dimensions = data.base.shape
            print(f"== {data.name}: {rows:,} x {dimensions}, {data.metric}", flush=True)
            run["sets"][data.name] = {"rows": rows, "dimensions": dimensions, "metric": data.metric}
            run["sets"][data.name] |= {"queries": len(data.queries), "inserted": len(data.fresh)}

            def out(engine: str, measure: str, ef: int | None, *rounds: float, best=min, name: str = data.name) -> None:
                results.append((name, engine, measure, ef, best(rounds), rounds))
                print(f"{engine:10} {measure:18} {ef or '':>4} {best(rounds):12.4g}", flush=True)

            measure(data, extensions, graph, args, server, out)
            # After every set: an interrupted run leaves the sets that it finished.
            (args.out / "run.json").write_text(json.dumps(run, indent=2) + "\n")
            report.write_results(args.out, results)
            report.write(args.out)
    print(f"Results: {args.out}/README.md")


if __name__ == "__main__":
    main()
