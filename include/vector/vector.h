/*
 * The type vector of pg_alopex, for extensions in C. Values on disk and in memory are pgvector's, and so are the names here:
 * code that includes "extension/vector/vector.h" compiles with either. All is inline, so that nothing is called in a library.
 */
#ifndef VECTOR_H
#define VECTOR_H

#include "postgres.h"
#include "fmgr.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#define VECTOR_MAX_DIM 16000

/* dim is 1 to VECTOR_MAX_DIM, unused is 0, and each number is finite: functions of the type rely on that. */
typedef struct Vector
{
	int32		vl_len_;		/* SET_VARSIZE */
	int16		dim;
	int16		unused;
	float		x[FLEXIBLE_ARRAY_MEMBER];
} Vector;

#define VECTOR_SIZE(_dim)		(offsetof(Vector, x) + (_dim) * sizeof(float))
#define DatumGetVector(_datum)	((Vector *) PG_DETOAST_DATUM(_datum))
#define PG_GETARG_VECTOR_P(_n)	DatumGetVector(PG_GETARG_DATUM(_n))
#define PG_RETURN_VECTOR_P(_p)	PG_RETURN_POINTER(_p)

/* A vector of zeros. */
static inline Vector *
InitVector(int dim)
{
	Size		size = VECTOR_SIZE(dim);
	Vector	   *result = (Vector *) palloc0(size);

	SET_VARSIZE(result, size);
	result->dim = (int16) dim;
	return result;
}

#endif
