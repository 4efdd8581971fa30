/* An extension in C that reads and makes values of the types, by the headers that are installed. */
#include "postgres.h"
#include "fmgr.h"
#include "extension/vector/halfvec.h"
#include "extension/vector/sparsevec.h"
#include "extension/vector/vector.h"

PG_MODULE_MAGIC;

/* The numbers in reverse. */
PG_FUNCTION_INFO_V1(reverse_vector);
Datum
reverse_vector(PG_FUNCTION_ARGS)
{
	Vector	   *vector = PG_GETARG_VECTOR_P(0);
	Vector	   *result = InitVector(vector->dim);

	Assert(VARSIZE_ANY(vector) == VECTOR_SIZE(vector->dim));
	for (int i = 0; i < vector->dim; i++)
		result->x[i] = vector->x[vector->dim - 1 - i];
	PG_RETURN_VECTOR_P(result);
}

/* The same. */
PG_FUNCTION_INFO_V1(reverse_halfvec);
Datum
reverse_halfvec(PG_FUNCTION_ARGS)
{
	HalfVector *vector = PG_GETARG_HALFVEC_P(0);
	HalfVector *result = InitHalfVector(vector->dim);

	for (int i = 0; i < vector->dim; i++)
		result->x[i] = vector->x[vector->dim - 1 - i];
	PG_RETURN_HALFVEC_P(result);
}

/* The same: indices from the other end, with their values. */
PG_FUNCTION_INFO_V1(reverse_sparsevec);
Datum
reverse_sparsevec(PG_FUNCTION_ARGS)
{
	SparseVector *vector = PG_GETARG_SPARSEVEC_P(0);
	SparseVector *result = InitSparseVector(vector->dim, vector->nnz);

	for (int i = 0; i < vector->nnz; i++)
	{
		int			from = vector->nnz - 1 - i;

		result->indices[i] = vector->dim - 1 - vector->indices[from];
		SPARSEVEC_VALUES(result)[i] = SPARSEVEC_VALUES(vector)[from];
	}
	PG_RETURN_SPARSEVEC_P(result);
}
