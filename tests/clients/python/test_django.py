"""Django models with pgvector-python's fields: DDL of indexes, distances in queries, aggregates."""

import os

import django
import numpy as np
import pytest
from django.conf import settings
from pgvector import HalfVector, SparseVector

from exact import (BITS, DIMENSIONS, DISTANCES, FLAGS, OPERATOR_CLASSES, QUERY, QUERY_FLAGS, ROWS, SEARCHES, VALUES, assert_close,
                   assert_index_scan, assert_nearest, text)

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"]}},
    INSTALLED_APPS=["django.contrib.postgres"],
)
django.setup()

# Models are declared once Django is set up.
from django.contrib.postgres.indexes import OpClass
from django.contrib.postgres.operations import CreateExtension
from django.db import connection, migrations, models, transaction
from django.db.migrations.state import ProjectState
from django.db.models import Avg, Sum
from django.db.models.functions import Cast
from pgvector.django import (BitField, CosineDistance, HalfVectorField, HammingDistance, HnswIndex, JaccardDistance, L1Distance,
                             L2Distance, MaxInnerProduct, SparseVectorField, VectorField)


class Item(models.Model):
    id = models.BigAutoField(primary_key=True)
    vector = VectorField(dimensions=DIMENSIONS)
    halfvec = HalfVectorField(dimensions=DIMENSIONS)
    sparsevec = SparseVectorField(dimensions=DIMENSIONS)
    bit = BitField(length=BITS)

    class Meta:
        app_label = "clients"
        indexes = [
            *(HnswIndex(name=operator_class, fields=[type_], m=12, ef_construction=48, opclasses=[operator_class])
              for (type_, _), operator_class in OPERATOR_CLASSES.items()),
            HnswIndex(OpClass(Cast("vector", HalfVectorField(dimensions=DIMENSIONS)), name="halfvec_cosine_ops"), name="half"),
        ]


FUNCTIONS = {"<->": L2Distance, "<#>": MaxInnerProduct, "<=>": CosineDistance, "<+>": L1Distance, "<~>": HammingDistance,
             "<%>": JaccardDistance}
NUMBERS = QUERY.astype(np.float32).tolist()
QUERIES = {"vector": NUMBERS, "halfvec": HalfVector(NUMBERS), "sparsevec": SparseVector(NUMBERS), "bit": text(QUERY_FLAGS)}


@pytest.fixture(scope="module", autouse=True)
def items():
    migration = migrations.Migration("0001_initial", "clients")
    migration.operations = [CreateExtension("pg_alopex")]
    with connection.schema_editor() as editor:
        migration.apply(ProjectState(), editor)
        editor.create_model(Item)
    Item.objects.bulk_create(
        Item(vector=row, halfvec=HalfVector(row), sparsevec=SparseVector(row), bit=text(flags))
        for row, flags in zip(VALUES.astype(np.float32).tolist(), FLAGS))
    yield
    connection.close()


@pytest.fixture
def session():
    """Settings and changes of a test end with it."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL hnsw.ef_search = 1000")
            cursor.execute("SET LOCAL enable_seqscan = off")
        yield
        transaction.set_rollback(True)


def test_objects_come_back():
    items = Item.objects.order_by("id")
    assert [item.id for item in items] == list(range(1, ROWS + 1))
    for item, numbers, flags in zip(items, VALUES.astype(np.float32).tolist(), FLAGS):
        assert list(item.vector) == numbers
        assert item.halfvec == numbers
        assert item.sparsevec == SparseVector(numbers)
        assert item.bit == text(flags)


@pytest.mark.parametrize("search", SEARCHES, ids=" ".join)
def test_nearest(session, search):
    type_, operator = search
    query = Item.objects.annotate(distance=FUNCTIONS[operator](type_, QUERIES[type_])).order_by("distance")[:10]
    assert_nearest(list(query.values_list("id", "distance")), search)
    assert_index_scan(query.values_list("id", "distance").explain().splitlines(), OPERATOR_CLASSES[search])


def test_nearest_by_an_expression(session):
    half = Cast("vector", HalfVectorField(dimensions=DIMENSIONS))
    query = Item.objects.annotate(distance=CosineDistance(half, HalfVector(NUMBERS))).order_by("distance")[:10]
    assert_nearest(list(query.values_list("id", "distance")), ("halfvec", "<=>"))
    assert_index_scan(query.values_list("id", "distance").explain().splitlines(), "half")


def test_rows_within_a_distance():
    found = Item.objects.alias(distance=L2Distance("vector", NUMBERS)).filter(distance__lt=3)
    assert {item.id for item in found} == set(np.flatnonzero(DISTANCES["vector", "<->"] < 3) + 1) != set()


def test_iterative_scan_with_a_filter(session):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL hnsw.ef_search = 5")
        cursor.execute("SET LOCAL hnsw.iterative_scan = relaxed_order")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
    far = np.argsort(DISTANCES["vector", "<->"])[ROWS // 2:] + 1
    query = Item.objects.filter(bit__in=[text(FLAGS[id_ - 1]) for id_ in far]).order_by(L2Distance("vector", NUMBERS))[:20]
    found = {item.id for item in query}
    assert len(found) == 20 and found <= set(far)


def test_aggregates():
    answer = Item.objects.aggregate(mean=Avg("vector"), total=Sum("vector"), half=Sum("halfvec"))
    numbers = VALUES.astype(np.float64)
    assert_close(answer["mean"], numbers.mean(axis=0))
    assert_close(answer["total"], numbers.sum(axis=0))
    np.testing.assert_allclose(answer["half"], numbers.sum(axis=0), rtol=2e-3)


def test_a_change_is_found(session):
    item = Item.objects.get(id=7)
    item.vector = [50] * DIMENSIONS
    item.save()
    assert Item.objects.order_by(L2Distance("vector", [50] * DIMENSIONS)).first().id == 7
    item.delete()
    assert Item.objects.order_by(L2Distance("vector", [50] * DIMENSIONS)).first().id != 7


def test_the_index_has_its_options():
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, "clients_item")
    index = constraints["vector_l2_ops"]
    assert (index["type"], index["columns"], index["options"]) == ("hnsw", ["vector"], ["m=12", "ef_construction=48"])
