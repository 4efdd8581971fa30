-- Operator classes that somebody else made, of whatever form: an error, and the server goes on.
CREATE TABLE t (id int, v vector(3), h halfvec(3), b bit(8), n int, w time(3), s char(30));
INSERT INTO t SELECT n, ARRAY[n, n % 7, 1]::vector, ARRAY[n, n % 7, 1]::halfvec, n::bit(8), n, '12:00', n::text FROM generate_series(1, 20) n;
CREATE FUNCTION valid(class name) RETURNS boolean LANGUAGE sql AS $$
    SELECT amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod WHERE a.amname = 'hnsw' AND c.opcname = class
$$;

-- pgvector's form: support function 1 is a distance, 2 a norm, 3 tells the type.
CREATE OPERATOR CLASS pgvector_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 vector_negative_inner_product(vector, vector),
    FUNCTION 2 vector_norm(vector);
CREATE OPERATOR CLASS pgvector_half_ops FOR TYPE halfvec USING hnsw AS
    OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 l1_distance(halfvec, halfvec),
    FUNCTION 3 hnsw_halfvec_support(internal);
SELECT valid('pgvector_ops'), valid('pgvector_half_ops');
CREATE INDEX t_pgvector ON t USING hnsw (v pgvector_ops);
SELECT * FROM hnsw_check('t_pgvector', true);
DROP INDEX t_pgvector;
-- With the operator of another distance, or a function of another kind, it is not.
CREATE OPERATOR CLASS pgvector_mixed_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 vector_negative_inner_product(vector, vector);
CREATE OPERATOR CLASS pgvector_other_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 vector_l2_squared_distance(vector, vector),
    FUNCTION 2 vector_dims(vector);
SELECT valid('pgvector_mixed_ops'), valid('pgvector_other_ops');
CREATE INDEX ON t USING hnsw (v pgvector_mixed_ops);

-- Support function 1 is another distance than pgvector has there.
CREATE OPERATOR CLASS foreign_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 l2_distance(vector, vector);
SELECT valid('foreign_ops');
CREATE INDEX ON t USING hnsw (v foreign_ops);
CREATE TABLE empty (v vector(3));
CREATE INDEX ON empty USING hnsw (v foreign_ops);
CREATE UNLOGGED TABLE unlogged (v vector(3));
CREATE INDEX ON unlogged USING hnsw (v foreign_ops);

-- With more functions than there are.
CREATE OPERATOR CLASS norm_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_cosine_support(internal),
    FUNCTION 2 vector_norm(vector);
SELECT valid('norm_ops');

-- Without a support function, without an operator.
CREATE OPERATOR CLASS bare_ops FOR TYPE vector USING hnsw AS OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops;
SELECT valid('bare_ops');
CREATE INDEX ON t USING hnsw (v bare_ops);
CREATE OPERATOR CLASS mute_ops FOR TYPE vector USING hnsw AS FUNCTION 1 hnsw_vector_l2_support(internal);
SELECT valid('mute_ops');
CREATE INDEX ON t USING hnsw (v mute_ops);

-- Our functions for other types: values would be read for what they are not.
CREATE OPERATOR CLASS int_ops FOR TYPE int USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 (int, int) hnsw_vector_l2_support(internal);
SELECT valid('int_ops');
CREATE INDEX ON t USING hnsw (n int_ops);
CREATE OPERATOR CLASS time_ops FOR TYPE time USING hnsw AS FUNCTION 1 (time, time) hnsw_vector_l2_support(internal);
SELECT valid('time_ops');
CREATE INDEX ON t USING hnsw (w time_ops);
CREATE OPERATOR CLASS char_ops FOR TYPE bpchar USING hnsw AS FUNCTION 1 (bpchar, bpchar) hnsw_vector_l2_support(internal);
SELECT valid('char_ops');
CREATE INDEX ON t USING hnsw (s char_ops);
CREATE OPERATOR CLASS half_ops FOR TYPE halfvec USING hnsw AS
    OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_l2_support(internal);
SELECT valid('half_ops');
CREATE INDEX ON t USING hnsw (h half_ops);

-- One distance and the support function of another.
CREATE OPERATOR CLASS mixed_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_l2_support(internal);
SELECT valid('mixed_ops');
CREATE INDEX ON t USING hnsw (v mixed_ops);

-- Functions that are called what ours are, in other languages.
CREATE FUNCTION named() RETURNS int LANGUAGE sql IMMUTABLE AS 'hnsw_vector_l2_support';
SET check_function_bodies = off;
CREATE FUNCTION named() RETURNS int LANGUAGE sql IMMUTABLE AS 'hnsw_vector_l2_support';
RESET check_function_bodies;
CREATE OPERATOR CLASS named_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 (vector, vector) named();
SELECT valid('named_ops');
CREATE INDEX ON t USING hnsw (v named_ops);

-- Other strategies, purposes and types. A class that is right but for what its family has besides works, as far as it is right.
CREATE FUNCTION far(vector, int) RETURNS double precision LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $2; END';
CREATE OPERATOR <-> (LEFTARG = vector, RIGHTARG = int, FUNCTION = far);
CREATE OPERATOR CLASS more_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    OPERATOR 1 <-> (vector, int) FOR ORDER BY float_ops,
    OPERATOR 2 <=> (vector, vector) FOR ORDER BY float_ops,
    OPERATOR 3 = (vector, vector),
    FUNCTION 1 hnsw_vector_l2_support(internal);
SELECT valid('more_ops');
CREATE INDEX t_more ON t USING hnsw (v more_ops);
SET enable_seqscan = off;
SET enable_sort = off;
SELECT id FROM t ORDER BY v <-> '[1,1,1]' LIMIT 1;
SELECT id FROM t ORDER BY v <-> 5 LIMIT 1;
SELECT id FROM t ORDER BY v <=> '[1,1,1]' LIMIT 1;
SELECT id FROM t WHERE v = '[7,0,1]' ORDER BY v <-> '[1,1,1]' LIMIT 5;
DROP INDEX t_more;
RESET enable_seqscan;
RESET enable_sort;
CREATE OPERATOR CLASS sort_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY integer_ops,
    FUNCTION 1 hnsw_vector_l2_support(internal);
SELECT valid('sort_ops');
CREATE OPERATOR CLASS search_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 = (vector, vector), FUNCTION 1 hnsw_vector_l2_support(internal);
SELECT valid('search_ops');
CREATE INDEX ON t USING hnsw (v search_ops);
CREATE OPERATOR CLASS high_ops FOR TYPE vector USING hnsw AS FUNCTION 4 hnsw_vector_l2_support(internal);

-- One that has our members is one of ours, whoever made it.
CREATE OPERATOR CLASS own_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_l2_support(internal);
SELECT valid('own_ops');
CREATE INDEX t_own ON t USING hnsw (v own_ops);
SELECT * FROM hnsw_check('t_own', true);
-- Members that are added to a family go with it and not with the class.
ALTER OPERATOR FAMILY own_ops USING hnsw ADD
    OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops, FUNCTION 1 (halfvec, halfvec) hnsw_halfvec_l2_support(internal);
SELECT valid('own_ops');
ALTER OPERATOR FAMILY own_ops USING hnsw DROP OPERATOR 1 (halfvec, halfvec), FUNCTION 1 (halfvec, halfvec);
ALTER OPERATOR FAMILY own_ops USING hnsw DROP OPERATOR 1 (vector, vector);

-- Nobody calls a support function.
SELECT statement, error_of(statement) <> 'no error' AS refused FROM (VALUES ('SELECT hnsw_vector_l2_support(NULL)'),
    ('SELECT hnsw_vector_l2_support(''x'')'), ('SELECT hnswhandler(NULL)')) calls (statement);

-- Options as the catalog has them.
CREATE INDEX t_options ON t USING hnsw (v vector_l2_ops);
UPDATE pg_class SET reloptions = '{m=1000000,ef_construction=-7,ef_search=2000000000}' WHERE relname = 't_options';
REINDEX INDEX t_options;
SELECT * FROM hnsw_check('t_options', true);
SET enable_seqscan = off;
SELECT id FROM t ORDER BY v <-> '[3,3,1]' LIMIT 1;
UPDATE pg_class SET reloptions = '{m=-5,ef_construction=1,ef_search=-1,x=y}' WHERE relname = 't_options';
REINDEX INDEX t_options;
SELECT * FROM hnsw_check('t_options', true);
SELECT id FROM t ORDER BY v <-> '[3,3,1]' LIMIT 1;
