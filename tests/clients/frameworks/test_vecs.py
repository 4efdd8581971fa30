"""vecs, Supabase's client, unchanged: collections, filters, and the indexes that it makes by default and by name."""

import psycopg
import pytest
import vecs
from vecs import IndexArgsHNSW, IndexArgsIVFFlat, IndexMeasure, IndexMethod

RECORDS = [(f"r{i}", [float(i), float(i % 7), 1.0], {"part": "odd" if i % 2 else "even", "i": i}) for i in range(1, 201)]
QUERY = [70.2, 0.0, 1.0]


@pytest.fixture(scope="module")
def client():
    with vecs.create_client("postgresql://") as client:
        yield client


@pytest.fixture
def books(client):
    books = client.get_or_create_collection("books", dimension=3)
    books.upsert(RECORDS)
    yield books
    client.delete_collection("books")


def method_of_index():
    with psycopg.connect(autocommit=True) as connection:
        return [name for name, in connection.execute(
            """SELECT amname FROM pg_index JOIN pg_class i ON i.oid = indexrelid JOIN pg_am a ON a.oid = i.relam
            WHERE indrelid = 'vecs.books'::regclass AND amname IN ('hnsw', 'ivfflat')""")]


def nearest(measure):
    distances = {
        IndexMeasure.l2_distance: lambda v: sum((a - b) ** 2 for a, b in zip(v, QUERY)) ** .5,
        IndexMeasure.l1_distance: lambda v: sum(abs(a - b) for a, b in zip(v, QUERY)),
        IndexMeasure.max_inner_product: lambda v: -sum(a * b for a, b in zip(v, QUERY)),
    }
    return [id_ for id_, vector, _ in sorted(RECORDS, key=lambda record: distances[measure](record[1]))]


def test_its_automatic_index_is_hnsw(books):
    books.create_index()
    assert method_of_index() == ["hnsw"]
    assert books.is_indexed_for_measure(IndexMeasure.cosine_distance)
    found = books.query(QUERY, limit=5, measure="l2_distance", include_value=True)
    assert [id_ for id_, _ in found] == nearest(IndexMeasure.l2_distance)[:5]


@pytest.mark.parametrize("measure", [IndexMeasure.l2_distance, IndexMeasure.max_inner_product, IndexMeasure.l1_distance])
def test_hnsw(books, measure):
    books.create_index(method=IndexMethod.hnsw, measure=measure, index_arguments=IndexArgsHNSW(m=8, ef_construction=32))
    assert method_of_index() == ["hnsw"]
    assert books.query(QUERY, limit=5, measure=measure, ef_search=200) == nearest(measure)[:5]


def test_ivfflat(books):
    books.create_index(method=IndexMethod.ivfflat, measure="l2_distance", index_arguments=IndexArgsIVFFlat(n_lists=10))
    assert method_of_index() == ["ivfflat"]
    assert books.query(QUERY, limit=5, measure="l2_distance", probes=10) == nearest(IndexMeasure.l2_distance)[:5]
    books.create_index(replace=True)
    assert method_of_index() == ["hnsw"]


def test_filters_and_changes(books):
    books.create_index(measure="l2_distance")
    odd = [id_ for id_ in nearest(IndexMeasure.l2_distance) if int(id_[1:]) % 2]
    assert books.query(QUERY, limit=5, measure="l2_distance", filters={"part": {"$eq": "odd"}}) == odd[:5]
    assert sorted(books.delete(ids=odd[:2])) == sorted(odd[:2])
    assert books.query(QUERY, limit=3, measure="l2_distance", filters={"part": {"$eq": "odd"}}) == odd[2:5]
    assert len(books) == len(RECORDS) - 2
    assert books["r10"][0] == "r10"
