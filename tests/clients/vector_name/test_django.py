"""Migrations of Django that start with pgvector-python's VectorExtension."""

import os

import django
import pytest
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"]}},
    INSTALLED_APPS=["django.contrib.postgres"],
)
django.setup()

# What these declare takes part in a set-up that is done.
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState
from pgvector.django import CosineDistance, HnswIndex, L2Distance, VectorExtension, VectorField

ROWS = 50


class First(migrations.Migration):
    operations = [VectorExtension()]


class Second(migrations.Migration):
    operations = [
        migrations.CreateModel("Item", [("id", models.AutoField(primary_key=True)), ("embedding", VectorField(dimensions=3))]),
        migrations.AddIndex("Item", HnswIndex(name="by_l2", fields=["embedding"], m=8, ef_construction=32,
                                              opclasses=["vector_l2_ops"])),
    ]


MIGRATIONS = [First("0001_extension", "shop"), Second("0002_item", "shop")]


def migrate():
    """Applies the migrations, and gives the states before each and after the last."""
    states = [ProjectState()]
    for migration in MIGRATIONS:
        with connection.schema_editor(atomic=True) as editor:
            states.append(migration.apply(states[-1].clone(), editor))
    return states


def extensions():
    with connection.cursor() as cursor:
        cursor.execute("SELECT extname FROM pg_extension WHERE extname IN ('vector', 'pg_alopex')")
        return [name for name, in cursor.fetchall()]


@pytest.fixture(scope="module")
def states():
    yield migrate()
    connection.close()


def test_a_migrated_model_answers(states):
    assert extensions() == ["vector"]
    Item = states[-1].apps.get_model("shop", "Item")
    Item.objects.bulk_create(Item(embedding=[i, i * i, 1]) for i in range(1, ROWS + 1))
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
    query = Item.objects.order_by(L2Distance("embedding", [20, 400, 1]))[:3]
    assert "Index Scan using by_l2" in query.explain()
    assert [list(item.embedding) for item in query] == [[20, 400, 1], [19, 361, 1], [21, 441, 1]]
    direction = Item.objects.order_by(CosineDistance("embedding", [7, 49, 1]))
    assert list(direction.first().embedding) == [7, 49, 1]


def test_migrations_unapply(states):
    for migration, state in reversed(list(zip(MIGRATIONS, states))):
        with connection.schema_editor(atomic=True) as editor:
            migration.unapply(state.clone(), editor)
    assert extensions() == []
