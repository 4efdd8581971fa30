/*
 * The type sparsevec of pg_alopex, for extensions in C: as vector.h says.
 */
#ifndef SPARSEVEC_H
#define SPARSEVEC_H

#include "postgres.h"
#include "fmgr.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#define SPARSEVEC_MAX_DIM 1000000000
#define SPARSEVEC_MAX_NNZ 16000

/*
 * nnz indices, from 0 and rising, and after them as many values, which are finite and not zero: functions of the type rely on
 * that. unused is 0.
 */
typedef struct SparseVector
{
	int32		vl_len_;		/* SET_VARSIZE */
	int32		dim;
	int32		nnz;
	int32		unused;
	int32		indices[FLEXIBLE_ARRAY_MEMBER];
} SparseVector;

#define DatumGetSparseVector(_datum)	((SparseVector *) PG_DETOAST_DATUM(_datum))
#define PG_GETARG_SPARSEVEC_P(_n)		DatumGetSparseVector(PG_GETARG_DATUM(_n))
#define PG_RETURN_SPARSEVEC_P(_p)		PG_RETURN_POINTER(_p)

static inline Size
SPARSEVEC_SIZE(int nnz)
{
	return offsetof(SparseVector, indices) + nnz * (sizeof(int32) + sizeof(float));
}

static inline float *
SPARSEVEC_VALUES(SparseVector *vector)
{
	return (float *) (vector->indices + vector->nnz);
}

/* Room for nnz elements, all zero: the caller sets indices and values. */
static inline SparseVector *
InitSparseVector(int dim, int nnz)
{
	Size		size = SPARSEVEC_SIZE(nnz);
	SparseVector *result = (SparseVector *) palloc0(size);

	SET_VARSIZE(result, size);
	result->dim = dim;
	result->nnz = nnz;
	return result;
}

#endif
