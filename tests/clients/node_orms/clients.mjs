// What builds SQL for Node, with pgvector's types: Knex, Objection, Kysely, Sequelize, Drizzle, TypeORM, MikroORM, pg-promise,
// Postgres.js, Slonik. Each has a table of its own, with an index that it makes itself if it can, and finds the nearest rows in order.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { defineEntity, MikroORM, p } from '@mikro-orm/postgresql';
import { cosineDistance as drizzleCosine, l2Distance as drizzleL2, sql as drizzleSql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { halfvec, integer, pgTable, sparsevec, vector } from 'drizzle-orm/pg-core';
import knexFactory from 'knex';
import { Kysely, PostgresDialect, sql } from 'kysely';
import { Model } from 'objection';
import pg from 'pg';
import pgPromise from 'pg-promise';
import pgvector, { SparseVector } from 'pgvector';
import 'pgvector/knex';
import * as forKysely from 'pgvector/kysely';
import * as forMikroOrm from 'pgvector/mikro-orm';
import * as forObjection from 'pgvector/objection';
import forPgPromise from 'pgvector/pg-promise';
import * as forSequelize from 'pgvector/sequelize';
import postgres from 'postgres';
import { DataTypes, Sequelize } from 'sequelize';
import * as slonik from 'slonik';
import { DataSource, EntitySchema } from 'typeorm';

const { PGHOST: host, PGPORT, PGUSER: user, PGDATABASE: database } = process.env;
const port = Number(PGPORT);
const connection = { host, port, user, database, password: 'trusted' };
const ROWS = 300, NEAREST = 10;
// No two in one direction or at one distance of the query.
const vectors = Array.from({ length: ROWS }, (_, i) => [1 + ((i * 37) % 101) / 8, 1 + ((i * 53) % 89) / 8, 1 + i / 4]);
const rows = vectors.map((numbers, i) => ({ id: i + 1, numbers }));
const query = [4.3, 5.1, 20.2];
const sum = (values) => values.reduce((total, value) => total + value, 0);
const dot = (a, b) => sum(a.map((value, i) => value * b[i]));
const l2 = (a, b) => Math.hypot(...a.map((value, i) => value - b[i]));
const cosine = (a, b) => 1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
const nearest = (distance) => [...rows].sort((a, b) => distance(a.numbers, query) - distance(b.numbers, query)).slice(0, NEAREST)
  .map((row) => row.id);
const ids = (found) => found.map((row) => row.id);

async function methods(table) {
  const client = new pg.Client(connection);
  await client.connect();
  const found = await client.query(`SELECT amname FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
    WHERE indrelid = $1::regclass AND amname <> 'btree' ORDER BY 1`, [table]);
  await client.end();
  return found.rows.map((row) => row.amname);
}

before(async () => {
  const client = new pg.Client(connection);
  await client.connect();
  await client.query('CREATE EXTENSION IF NOT EXISTS vector');
  await client.query(`ALTER DATABASE ${database} SET enable_seqscan = off`);
  await client.query(`ALTER DATABASE ${database} SET hnsw.ef_search = 400`);
  await client.end();
});

test('Knex and Objection', async () => {
  const knex = knexFactory({ client: 'pg', connection });
  await knex.schema.createTable('knex_items', (table) => {
    table.increments('id');
    table.vector('numbers', { dimensions: 3 });
    table.halfvec('half', { dimensions: 3 });
    table.sparsevec('sparse', { dimensions: 3 });
    table.index(knex.raw('numbers vector_l2_ops'), 'knex_l2', 'hnsw');
    table.index(knex.raw('half halfvec_cosine_ops'), 'knex_cosine', 'ivfflat');
  });
  await knex('knex_items').insert(rows.map(({ numbers }) => (
    { numbers: pgvector.toSql(numbers), half: pgvector.toSql(numbers), sparse: pgvector.toSql(new SparseVector(numbers)) })));
  const found = await knex('knex_items').orderBy(knex.l2Distance('numbers', query)).limit(NEAREST);
  assert.deepEqual(ids(found), nearest(l2));
  assert.deepEqual(pgvector.fromSql(found[0].numbers), vectors[found[0].id - 1]);
  const byCosine = await knex('knex_items').orderBy(knex.cosineDistance('numbers', query)).limit(NEAREST);
  assert.deepEqual(ids(byCosine), nearest(cosine));
  assert.deepEqual(await methods('knex_items'), ['hnsw', 'ivfflat']);

  Model.knex(knex);
  class Item extends Model {
    static get tableName() {
      return 'knex_items';
    }
  }
  const models = await Item.query().orderBy(forObjection.l2Distance('numbers', query)).limit(NEAREST);
  assert.deepEqual(ids(models), nearest(l2));
  await knex.destroy();
});

test('Kysely', async () => {
  const db = new Kysely({ dialect: new PostgresDialect({ pool: new pg.Pool(connection) }) });
  await db.schema.createTable('kysely_items').addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('numbers', sql`vector(3)`).execute();
  await db.schema.createIndex('kysely_l2').on('kysely_items').using('hnsw').expression(sql`numbers vector_l2_ops`).execute();
  await db.insertInto('kysely_items').values(rows.map(({ id, numbers }) => ({ id, numbers: pgvector.toSql(numbers) }))).execute();
  const found = await db.selectFrom('kysely_items').select('id').orderBy(forKysely.l2Distance('numbers', query)).limit(NEAREST).execute();
  assert.deepEqual(ids(found), nearest(l2));
  assert.deepEqual(await methods('kysely_items'), ['hnsw']);
  await db.destroy();
});

test('Sequelize', async () => {
  const sequelize = new Sequelize(database, user, 'trusted', { host, port, dialect: 'postgres', logging: false });
  const Item = sequelize.define('Item', {
    numbers: { type: DataTypes.VECTOR(3) }, half: { type: DataTypes.HALFVEC(3) }, sparse: { type: DataTypes.SPARSEVEC(3) },
  }, {
    tableName: 'sequelize_items', timestamps: false,
    indexes: [{ fields: ['numbers'], using: 'hnsw', operator: 'vector_l2_ops' }],
  });
  await Item.sync({ force: true });
  await Item.bulkCreate(rows.map(({ numbers }) => ({ numbers, half: numbers, sparse: new SparseVector(numbers) })));
  const found = await Item.findAll({ order: forSequelize.l2Distance('numbers', query, sequelize), limit: NEAREST });
  assert.deepEqual(ids(found), nearest(l2));
  assert.deepEqual(found[0].numbers, vectors[found[0].id - 1]);
  assert.deepEqual(found[0].sparse.toArray(), vectors[found[0].id - 1]);
  assert.deepEqual(await methods('sequelize_items'), ['hnsw']);
  await sequelize.close();
});

test('Drizzle', async () => {
  const client = new pg.Client(connection);
  await client.connect();
  const db = drizzle(client);
  const items = pgTable('drizzle_items', {
    id: integer('id').primaryKey(), numbers: vector('numbers', { dimensions: 3 }), half: halfvec('half', { dimensions: 3 }),
    sparse: sparsevec('sparse', { dimensions: 3 }),
  });
  await db.execute(drizzleSql`CREATE TABLE drizzle_items (id int PRIMARY KEY, numbers vector(3), half halfvec(3), sparse sparsevec(3))`);
  await db.execute(drizzleSql`CREATE INDEX ON drizzle_items USING hnsw (numbers vector_l2_ops)`);
  await db.insert(items).values(rows.map(({ id, numbers }) => ({ id, numbers, half: numbers, sparse: new SparseVector(numbers).toString() })));
  const found = await db.select().from(items).orderBy(drizzleL2(items.numbers, query)).limit(NEAREST);
  assert.deepEqual(ids(found), nearest(l2));
  assert.deepEqual(found[0].numbers, vectors[found[0].id - 1]);
  const byCosine = await db.select({ id: items.id }).from(items).orderBy(drizzleCosine(items.numbers, query)).limit(NEAREST);
  assert.deepEqual(ids(byCosine), nearest(cosine));
  await client.end();
});

test('TypeORM', async () => {
  const Item = new EntitySchema({
    name: 'typeorm_items',
    columns: { id: { type: Number, primary: true }, numbers: { type: 'vector', length: 3 }, half: { type: 'halfvec', length: 3 } },
  });
  const source = new DataSource({ type: 'postgres', host, port, username: user, database, password: 'trusted', entities: [Item], synchronize: true });
  await source.initialize();
  const repository = source.getRepository(Item);
  await repository.query('CREATE INDEX ON typeorm_items USING hnsw (numbers vector_l2_ops)');
  await repository.insert(rows.map(({ id, numbers }) => ({ id, numbers, half: numbers })));
  const found = await repository.createQueryBuilder('item').orderBy('item.numbers <-> :query').setParameter('query', pgvector.toSql(query))
    .limit(NEAREST).getMany();
  assert.deepEqual(ids(found), nearest(l2));
  assert.deepEqual(found[0].half, vectors[found[0].id - 1]);
  await source.destroy();
});

test('MikroORM', async () => {
  const Item = defineEntity({
    name: 'MikroItem',
    tableName: 'mikro_items',
    properties: {
      id: p.integer().primary(),
      numbers: p.type(forMikroOrm.VectorType).length(3),
      half: p.type(forMikroOrm.HalfvecType).length(3),
      sparse: p.type(forMikroOrm.SparsevecType).length(3),
    },
  });
  const orm = await MikroORM.init({ host, port, user, dbName: database, password: 'trusted', entities: [Item] });
  // As a migration's: the columns have the types that the classes name.
  await orm.em.execute(await orm.schema.getCreateSchemaSQL());
  await orm.em.execute('CREATE INDEX ON mikro_items USING hnsw (numbers vector_l2_ops)');
  await orm.em.execute('CREATE INDEX ON mikro_items USING hnsw (sparse sparsevec_cosine_ops)');
  const em = orm.em.fork();
  for (const { id, numbers } of rows) em.create(Item, { id, numbers, half: numbers, sparse: new SparseVector(numbers) });
  await em.flush();
  em.clear();
  const order = (distance) => em.createQueryBuilder(Item).orderBy({ [distance]: 'ASC' }).limit(NEAREST).getResult();
  const found = await order(forMikroOrm.l2Distance('numbers', query));
  assert.deepEqual(ids(found), nearest(l2));
  assert.deepEqual(found[0].numbers, vectors[found[0].id - 1]);
  assert.deepEqual(found[0].half, vectors[found[0].id - 1]);
  assert.deepEqual(found[0].sparse.toArray(), vectors[found[0].id - 1]);
  assert.deepEqual(ids(await order(forMikroOrm.cosineDistance('sparse', new SparseVector(query)))), nearest(cosine));
  // The columns are what it made; of the indexes it knows nothing.
  assert.doesNotMatch(await orm.schema.getUpdateSchemaSQL({ dropTables: false }), /alter table/);
  await orm.close();
});

test('pg-promise', async () => {
  const initialize = pgPromise({ connect: async (event) => forPgPromise.registerTypes(event.client), noWarnings: true });
  const db = initialize(connection);
  await db.none('CREATE TABLE promise_items (id int PRIMARY KEY, numbers vector(3))');
  await db.none('CREATE INDEX ON promise_items USING ivfflat (numbers) WITH (lists = 5)');
  for (const { id, numbers } of rows) await db.none('INSERT INTO promise_items VALUES ($1, $2)', [id, pgvector.toSql(numbers)]);
  await db.task(async (task) => {
    await task.none('SET ivfflat.probes = 5');
    const found = await task.any('SELECT * FROM promise_items ORDER BY numbers <-> $1 LIMIT $2', [pgvector.toSql(query), NEAREST]);
    assert.deepEqual(ids(found), nearest(l2));
    assert.deepEqual(found[0].numbers, vectors[found[0].id - 1]);
  });
  initialize.end();
});

test('Postgres.js', async () => {
  const db = postgres({ ...connection, username: user, path: `${host}/.s.PGSQL.${port}`, onnotice: () => {} });
  await db`CREATE TABLE postgres_items (id int PRIMARY KEY, numbers vector(3))`;
  await db`CREATE INDEX ON postgres_items USING hnsw (numbers vector_l2_ops)`;
  await db`INSERT INTO postgres_items ${db(rows.map(({ id, numbers }) => ({ id, numbers: pgvector.toSql(numbers) })))}`;
  const found = await db`SELECT id FROM postgres_items ORDER BY numbers <-> ${pgvector.toSql(query)} LIMIT ${NEAREST}`;
  assert.deepEqual(ids(found), nearest(l2));
  await db.end();
});

test('Slonik', async () => {
  const { sql: text } = slonik;
  const pool = await slonik.createPool(`postgresql:///${database}`);
  await pool.query(text.unsafe`CREATE TABLE slonik_items (id int PRIMARY KEY, numbers vector(3))`);
  await pool.query(text.unsafe`CREATE INDEX ON slonik_items USING hnsw (numbers vector_l2_ops)`);
  const values = rows.map(({ id, numbers }) => [id, pgvector.toSql(numbers)]);
  await pool.query(text.unsafe`INSERT INTO slonik_items SELECT id, numbers::vector FROM ${text.unnest(values, ['int4', 'text'])} AS n (id, numbers)`);
  const found = await pool.any(text.unsafe`SELECT * FROM slonik_items ORDER BY numbers <-> ${pgvector.toSql(query)} LIMIT ${NEAREST}`);
  assert.deepEqual(ids(found), nearest(l2));
  assert.deepEqual(pgvector.fromSql(found[0].numbers), vectors[found[0].id - 1]);
  assert.deepEqual(await methods('slonik_items'), ['hnsw']);
  await pool.end();
});
