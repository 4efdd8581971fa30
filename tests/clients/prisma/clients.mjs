// Prisma with its adapter for node-postgres: the client is generated here, and needs no program beside the packages. `prisma migrate`
// and `prisma db push` do, one that is in no package: so a migration's SQL is run by the client.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PrismaPg } from '@prisma/adapter-pg';
import pgvector, { SparseVector } from 'pgvector';

const SCHEMA = `
generator client {
  provider = "prisma-client"
  output = "./generated"
  moduleFormat = "esm"
  importFileExtension = "ts"
}
datasource db {
  provider = "postgresql"
}
model Item {
  id Int @id
  kind String
  numbers Unsupported("vector(3)")?
  half Unsupported("halfvec(3)")?
  sparse Unsupported("sparsevec(3)")?
  bits Unsupported("bit(3)")?
  @@map("items")
}
`;
const MIGRATION = [
  'CREATE EXTENSION IF NOT EXISTS vector',
  `CREATE TABLE items (id int PRIMARY KEY, kind text NOT NULL, numbers vector(3), half halfvec(3), sparse sparsevec(3), bits bit(3))`,
  'CREATE INDEX l2 ON items USING hnsw (numbers vector_l2_ops)',
  'CREATE INDEX cosine ON items USING hnsw (half halfvec_cosine_ops)',
  'CREATE INDEX ip ON items USING hnsw (sparse sparsevec_ip_ops)',
  'CREATE INDEX hamming ON items USING ivfflat (bits bit_hamming_ops) WITH (lists = 2)',
];
const ROWS = 300, NEAREST = 10;
// No two in one direction, at one distance of the query, or with one product.
const vectors = Array.from({ length: ROWS }, (_, i) => [1 + ((i * 37) % 101) / 8, 1 + ((i * 53) % 89) / 8, 1 + i / 4]);
const rows = vectors.map((numbers, i) => ({ id: i + 1, kind: i % 2 ? 'odd' : 'even', numbers }));
const query = [4.3, 5.1, 20.2];
const sum = (values) => values.reduce((total, value) => total + value, 0);
const dot = (a, b) => sum(a.map((value, i) => value * b[i]));
const l2 = (a, b) => Math.hypot(...a.map((value, i) => value - b[i]));
const cosine = (a, b) => 1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
const nearest = (distance, of = rows) => [...of].sort((a, b) => distance(a.numbers, query) - distance(b.numbers, query)).slice(0, NEAREST)
  .map((row) => row.id);
const ids = (found) => found.map((row) => row.id);

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const { PGHOST: host, PGPORT, PGUSER: user, PGDATABASE: database } = process.env;
let db, Prisma;

before(async () => {
  writeFileSync(here('schema.prisma'), SCHEMA);
  // The command wants to have the program that it does not run here.
  const env = { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1', PRISMA_HIDE_UPDATE_MESSAGE: '1' };
  const cli = here('node_modules/prisma/build/index.js');
  execFileSync(process.execPath, [cli, 'generate', '--schema', here('schema.prisma')], { cwd: here('.'), env, stdio: ['ignore', 'pipe', 'inherit'] });
  const client = await import('./generated/client.ts');
  Prisma = client.Prisma;
  const adapter = new PrismaPg({ host, port: Number(PGPORT), user, database, password: 'trusted' });
  db = new client.PrismaClient({ adapter });
  for (const statement of MIGRATION) await db.$executeRawUnsafe(statement);
  await db.item.createMany({ data: rows.map(({ id, kind }) => ({ id, kind })) });
  for (const { id, numbers } of rows) {
    const [text, sparse, bits] = [pgvector.toSql(numbers), pgvector.toSql(new SparseVector(numbers)), (id % 8).toString(2).padStart(3, '0')];
    await db.$executeRaw`UPDATE items SET numbers = ${text}::vector, half = ${text}::halfvec, sparse = ${sparse}::sparsevec,
      bits = ${bits}::bit(3) WHERE id = ${id}`;
  }
  await db.$executeRawUnsafe('ANALYZE items');
});
after(() => db?.$disconnect());

// In a transaction, whose statements are one session's.
const search = (select) => db.$transaction(async (session) => {
  await session.$executeRaw`SET LOCAL enable_seqscan = off`;
  await session.$executeRaw`SET LOCAL hnsw.ef_search = 400`;
  const plan = await session.$queryRaw(Prisma.sql`EXPLAIN ${select}`);
  return { found: await session.$queryRaw(select), plan: plan.map((row) => Object.values(row)[0]).join('\n') };
});

test('nearest rows by each type', async () => {
  const text = pgvector.toSql(query);
  for (const [index, select, distance] of [
    ['l2', Prisma.sql`SELECT id, numbers::text FROM items ORDER BY numbers <-> ${text}::vector LIMIT ${NEAREST}`, l2],
    ['cosine', Prisma.sql`SELECT id, half::text FROM items ORDER BY half <=> ${text}::halfvec LIMIT ${NEAREST}`, cosine],
    ['ip', Prisma.sql`SELECT id, sparse::text FROM items ORDER BY sparse <#> ${pgvector.toSql(new SparseVector(query))}::sparsevec
      LIMIT ${NEAREST}`, (a, b) => -dot(a, b)],
  ]) {
    const { found, plan } = await search(select);
    assert.match(plan, new RegExp(`Index Scan using ${index} `));
    assert.deepEqual(ids(found), nearest(distance), index);
    if (index === 'l2') assert.deepEqual(pgvector.fromSql(found[0].numbers), vectors[found[0].id - 1]);
  }
  const { found } = await search(Prisma.sql`SELECT id FROM items ORDER BY bits <~> B'101' LIMIT 5`);
  assert.deepEqual(ids(found).map((id) => id % 8), Array(5).fill(5));
});

test('a condition, a transaction that fails, and the other rows', async () => {
  const text = pgvector.toSql(query);
  const odd = Prisma.sql`SELECT id FROM items WHERE kind = ${'odd'} ORDER BY numbers <-> ${text}::vector LIMIT ${NEAREST}`;
  assert.deepEqual(ids((await search(odd)).found), nearest(l2, rows.filter((row) => row.kind === 'odd')));
  await assert.rejects(db.$transaction(async (session) => {
    await session.$executeRaw`INSERT INTO items (id, kind, numbers) VALUES (0, 'new', ${text}::vector)`;
    await session.$executeRaw`INSERT INTO items (id, kind, numbers) VALUES (-1, 'new', '[1,2]'::vector)`;
  }), /expected 3 dimensions, not 2/);
  const all = Prisma.sql`SELECT id FROM items ORDER BY numbers <-> ${text}::vector LIMIT ${NEAREST}`;
  assert.deepEqual(ids((await search(all)).found), nearest(l2));
  await db.item.delete({ where: { id: nearest(l2)[0] } });
  assert.deepEqual(ids((await search(all)).found).slice(0, NEAREST - 1), nearest(l2).slice(1));
  assert.equal(await db.item.count(), ROWS - 1);
});
