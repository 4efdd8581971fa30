#!/usr/bin/env python3
"""Size and recall of an index over the number of dimensions: pg_alopex beside pgvector in one server.

Vectors are real. A set's own number of dimensions leaves its rows as they are; fewer are the first coordinates, brought
to unit length; more are rows side by side, each with the next ones, cut and brought to unit length. Beyond 2,000
dimensions, which pgvector indexes as vector, both have halfvec; beyond 4,000, which pgvector indexes as halfvec,
pg_alopex is alone.
"""

import numpy as np

import datasets
from engines import Extension, Graph
from rounds import Figures, both, facts, parsed, turns
from server import Server, arguments

# Dimensions, and the data set that they come from.
SETS = {
    **dict.fromkeys((3, 8, 16, 32, 50), "words"),
    64: "text384",
    128: "sift128",
    **dict.fromkeys((256, 384), "text384"),
    784: "fashion-mnist",
    **dict.fromkeys((1536, 3072, 4096), "deep1536"),
}
ROWS = 20_000
QUERIES = 500
EF_SEARCH = [10, 40, 100]
MOST_OF_VECTOR = 2_000
MOST_OF_HALFVEC = 4_000


def shaped(rows: np.ndarray, dimensions: int) -> np.ndarray:
    """The rows with so many dimensions."""
    width = rows.shape[1]
    if width == dimensions:
        return rows
    beside = [np.roll(rows, -shift, axis=0) for shift in range(-(-dimensions // width))]
    joined = np.hstack(beside)[:, :dimensions].astype(np.float32)
    unit = joined / np.linalg.norm(joined, axis=1, keepdims=True)
    # Exact neighbors are those of the values that a column holds.
    return unit if dimensions <= MOST_OF_VECTOR else unit.astype(np.float16)


def measure(data: datasets.Dataset, case: str, extensions: list[Extension], rounds: int, figures: Figures) -> None:
    kind = "vector" if data.base.shape[1] <= MOST_OF_VECTOR else "halfvec"
    for extension in extensions:
        extension.load(data, kind)
    for _, extension in turns(extensions, rounds):
        size = extension.build(data, Graph())["index_mb"]
        recalls = {f"recall_{ef}": data.recall(extension.search(ef)) for ef in EF_SEARCH}
        figures.add(case, extension, index_mb=size, bytes_per_row=size * 1e6 / len(data.base), **recalls)
    for extension in extensions:
        extension.drop()


def main() -> None:
    args = parsed(arguments(__doc__))
    most_rows, most_queries = (datasets.QUICK_ROWS // 2, 100) if args.quick else (ROWS, QUERIES)
    sources = datasets.sources(args.data) | {"words": datasets.words}
    wanted = args.sets.split() or set(SETS.values())
    with Server(args.programs, args.home, args.sockets, args.port, args.user) as server:
        ours, theirs = both(server, args.workers)
        figures = Figures(args.out, "sizes", facts(server, [ours, theirs], Graph(), args))
        for dimensions, name in SETS.items():
            if name not in wanted:
                continue
            if name not in sources:
                print(f"{dimensions} dimensions are not measured: DATA has no {name}", flush=True)
                figures.about.setdefault("not_measured", []).append(dimensions)
                continue
            base, queries = sources[name]()
            base, queries = shaped(base[:most_rows], dimensions), shaped(queries[:most_queries], dimensions)
            data = datasets.Dataset(name, base, queries.astype(np.float32), queries[:0])
            extensions = [ours, theirs] if dimensions <= MOST_OF_HALFVEC else [ours]
            measure(data, f"{dimensions} ({name}, {len(base):,} rows)", extensions, args.rounds, figures)
            figures.write()


if __name__ == "__main__":
    main()
