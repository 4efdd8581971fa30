-- Text and binary form, type modifier, storage

-- Text in and out
SELECT '[1,2,3]'::vector;
SELECT '[+1,-1,.5,1.,-.5e-1,1e3,1E+2,007]'::vector;
SELECT E' \t[ 1\n, 2 ,\r3 ] '::vector;
SELECT '[0.1,1e-05,0.0001,123456.78,1234567,1e20,1.2345679e8,-0,3.4028235e38,1.1754944e-38,1e-45]'::vector;
-- What is too small for a float becomes the nearest one
SELECT '[1e-46,-1e-46,1e-400]'::vector;

-- Refused
SELECT '[1,2'::vector;
SELECT '[1,2] 3'::vector;
SELECT '[]'::vector;
SELECT text, error_of(format('SELECT %L::vector', text))
FROM unnest(ARRAY[
    '', ' ', '1,2', '{1,2}', '(1)', '[', '[1', '[1,', '[1,]', '[,]', '[1,,2]', '[1 2]', '[[1]]', '[a]', '[1a]', '[1e]',
    '[1.2.3]', '[- 1]', '[0x10]', '[1]]', '[1]x', '[ ]', '[nan]', '[1,NaN]', '[inf]', '[-Infinity,2]', '[1e39]',
    '[2,-1e39]', '[1e400]', '[3.4028236e38]']) AS text;
SELECT error_of(format('SELECT %L::vector', '[1' || repeat(',1', 16000) || ']'));
-- A long text is quoted in part
SELECT left(error, 70) AS start, length(error), right(error, 10) AS end
FROM error_of(format('SELECT %L::vector', '[1' || repeat(',1', 9000))) AS error;
SELECT vector_dims(('[1' || repeat(',1', 15999) || ']')::vector);

-- Soft errors, from PostgreSQL 16 on; before, the error itself says the same.
CREATE FUNCTION refusal(input text, type text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE message text; detail text; hint text; code text; valid boolean := true;
BEGIN
    IF current_setting('server_version_num')::int >= 160000 THEN
        EXECUTE 'SELECT pg_input_is_valid($1, $2)' INTO valid USING input, type;
        EXECUTE 'SELECT * FROM pg_input_error_info($1, $2)' INTO message, detail, hint, code USING input, type;
    ELSE
        BEGIN
            EXECUTE format('SELECT %L::%s', input, type);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, code = RETURNED_SQLSTATE;
            valid := false;
        END;
    END IF;
    RETURN concat_ws(' ', valid, code, message, nullif(detail, ''), hint);
END $$;
SELECT input, type, refusal(input, type) FROM (VALUES
    ('[1,2,3]', 'vector'), ('[1,2,3]', 'vector(3)'), ('[1,2]', 'vector(3)'), ('[1,x]', 'vector'), ('', 'vector'), ('[]', 'vector'),
    ('[1e99]', 'vector'), ('[NaN]', 'vector'), ('[-inf]', 'vector'), ('[1,2', 'halfvec'), ('[1,2]', 'halfvec(2)'), ('[1]', 'halfvec(2)'),
    ('[70000]', 'halfvec'), ('[nan]', 'halfvec'), ('{1:1}/5', 'sparsevec(5)'), ('{1:1}/4', 'sparsevec(5)'), ('{1:1}/0', 'sparsevec'),
    ('{9:1}/5', 'sparsevec'), ('{1:1,1:2}/5', 'sparsevec'), ('{1:1e-50}/5', 'sparsevec'), ('{1:inf}/5', 'sparsevec'), ('{1:1/5', 'sparsevec'),
    ('{}/2000000000', 'sparsevec'), ('{"[1,2]","[1,x]"}', 'vector[]'), ('{"[1,2]"}', 'vector(2)[]')) inputs (input, type);
SELECT length(refusal('[1' || repeat(',1', 16000) || ']', type)) FROM unnest(ARRAY['vector', 'halfvec']) type;
SELECT refusal('{' || string_agg(n || ':1', ',') || '}/20000', 'sparsevec') FROM generate_series(1, 16001) n;
-- COPY leaves such rows out, from PostgreSQL 17 on.
CREATE TABLE kept (id int, v vector(2), h halfvec, s sparsevec);
SELECT current_setting('server_version_num')::int >= 170000 AS can_ignore \gset
SET client_min_messages = warning;
\if :can_ignore
COPY kept FROM PROGRAM $$printf '1\t[1,2]\t[1]\t{1:1}/2\n2\t[1]\t[1]\t{}/2\n3\t[1,2]\t[x]\t{}/2\n4\t[1,2]\t[1]\t{3:1}/2\n5\t[5,6]\t[2]\t{}/2\n'$$ (ON_ERROR ignore);
\else
COPY kept FROM PROGRAM $$printf '1\t[1,2]\t[1]\t{1:1}/2\n5\t[5,6]\t[2]\t{}/2\n'$$;
\endif
RESET client_min_messages;
SELECT * FROM kept ORDER BY id;
COPY kept FROM PROGRAM $$printf '6\t[1,2]\t[1]\t{}/2\n7\t[1]\t[1]\t{}/2\n'$$;
SELECT count(*) FROM kept;
DROP TABLE kept;

-- Type modifier
SELECT '[1,2,3]'::vector(3);
SELECT '[1,2,3]'::vector(2);
SELECT error_of(format('SELECT ''[1]''::vector(%s)', typmod))
FROM unnest(ARRAY['0', '-1', '16001', '1, 2', '99999999999', '''a''']) AS typmod;
CREATE TABLE typmods (plain vector, one vector(1), most vector(16000), list vector(3)[]);
SELECT attname, atttypmod, format_type(atttypid, atttypmod)
FROM pg_attribute WHERE attrelid = 'typmods'::regclass AND attnum > 0 ORDER BY attnum;
INSERT INTO typmods (plain, list) VALUES ('[1,2]', ARRAY['[1,2,3]', '[4,5,6]']::vector[]);
INSERT INTO typmods (one) VALUES ('[1,2]');
INSERT INTO typmods (list) VALUES ('{"[1,2]"}');
SELECT plain, one, list, list[2] <-> '[4,5,7]' AS distance FROM typmods;
ALTER TABLE typmods ALTER COLUMN plain TYPE vector(3);
ALTER TABLE typmods ALTER COLUMN plain TYPE vector(2);
DROP TABLE typmods;

-- Binary
SELECT vector_send('[1,-2,0.5]'::vector);
SELECT octet_length(vector_send(('[1' || repeat(',1', 15999) || ']')::vector));

-- The catalog
SELECT typlen, typbyval, typcategory, typalign, typstorage, typinput, typoutput, typreceive, typsend, typmodin, typmodout
FROM pg_type WHERE typname = 'vector';
SELECT typname, typcategory FROM pg_type WHERE oid = to_regtype('_vector');

-- Rows: short (1-byte header), plain, and out of line
CREATE TABLE stored (id int, v vector);
INSERT INTO stored VALUES
    (1, '[1,2,3]'), (2, NULL), (3, array_fill(0.25::real, ARRAY[400])), (4, array_fill(-1e-7::real, ARRAY[16000]));
SELECT id, vector_dims(v), pg_column_size(v), v <-> v AS distance, left(v::text, 20) FROM stored ORDER BY id;
SELECT pg_relation_size(reltoastrelid) > 64000 AS out_of_line FROM pg_class WHERE oid = 'stored'::regclass;
-- Compressed, where a column asks for it
ALTER TABLE stored ALTER COLUMN v SET STORAGE extended;
INSERT INTO stored SELECT 5, v FROM stored WHERE id = 4;
INSERT INTO stored VALUES (6, ('[1' || repeat(',1', 15999) || ']')::vector);
SELECT pg_column_size(v) < 16000 AS compressed, vector_dims(v), vector_norm(v) FROM stored WHERE id = 6;

-- COPY, both forms both ways
CREATE TABLE copied (LIKE stored);

COPY (SELECT * FROM stored WHERE id <= 2 ORDER BY id) TO STDOUT;
COPY copied FROM STDIN;
11	[1, 2]
12	\N
\.
SELECT * FROM copied ORDER BY id;
COPY copied FROM STDIN;
13	[1,2
\.
COPY copied FROM STDIN (FORMAT csv);
14,"[1,2]"
\.
TRUNCATE copied;
SELECT current_setting('data_directory') || '/vector_io.copy' AS file \gset
SELECT format('cat %1$s; rm %1$s', quote_literal(:'file')) AS read_and_remove \gset
COPY stored TO :'file' (FORMAT binary);
COPY copied FROM PROGRAM :'read_and_remove' (FORMAT binary);
SELECT count(*), count(*) FILTER (WHERE s.v = c.v) AS equal FROM stored s JOIN copied c USING (id);
DROP TABLE stored, copied;
