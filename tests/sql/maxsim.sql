-- MaxSim of lists of vectors.
SELECT maxsim(ARRAY['[1,0]', '[0,2]']::vector[], ARRAY['[1,1]', '[3,0]']::vector[]) AS both,
       ARRAY['[1,0]', '[0,2]']::vector[] @# ARRAY['[1,1]', '[3,0]']::vector[] AS negated,
       maxsim(ARRAY['[3,0]', '[1,1]']::vector[], ARRAY['[0,2]']::vector[]) AS one;
SELECT maxsim(ARRAY['[1,0]', '[0,2]']::halfvec[], ARRAY['[1,1]', '[3,0]']::halfvec[]) AS both,
       ARRAY['[1,0]', '[0,2]']::halfvec[] @# ARRAY['[1,1]', '[3,0]']::halfvec[] AS negated;
SELECT maxsim(ARRAY['[-1,-1]']::vector[], ARRAY['[1,1]']::vector[]) AS below_zero;
SELECT maxsim('{}'::vector[], ARRAY['[1,1]']::vector[]) AS no_document, maxsim(ARRAY['[1,1]']::vector[], '{}') AS no_query,
       maxsim(NULL, ARRAY['[1,1]']::vector[]) AS nothing;
SELECT error_of($$SELECT maxsim(ARRAY['[1,1]', NULL]::vector[], ARRAY['[1,1]']::vector[])$$);
SELECT error_of($$SELECT maxsim(ARRAY['[1,1]']::vector[], ARRAY['[1,1,1]']::vector[])$$);
SELECT error_of($$SELECT maxsim(ARRAY[ARRAY['[1,1]', '[1,2]']]::vector[], ARRAY['[1,1]']::vector[])$$);
SELECT maxsim(ARRAY['[1e30,0]']::vector[], ARRAY['[1e30,0]']::vector[]);

-- The same as by hand, for stored values, long ones out of line too.
CREATE TABLE d AS SELECT n AS id, (SELECT array_agg(ARRAY(SELECT sin(n * j * i) FROM generate_series(1, 200) i)::vector) FROM generate_series(1, n) j) AS v
    FROM generate_series(1, 20) n;
CREATE FUNCTION by_hand(document vector[], query vector[]) RETURNS double precision LANGUAGE sql AS $$
    SELECT sum(most) FROM (SELECT max(inner_product(d, q)) AS most FROM unnest(query) WITH ORDINALITY q (q, n), unnest(document) d GROUP BY n) m
$$;
SELECT count(*) FROM d a, d b WHERE abs(maxsim(a.v, b.v) - by_hand(a.v, b.v)) > 1e-6;
SELECT id FROM d ORDER BY v @# (SELECT v FROM d WHERE id = 7), id LIMIT 1;
SELECT id FROM d ORDER BY maxsim(v, (SELECT v FROM d WHERE id = 7)) DESC, id LIMIT 1;
