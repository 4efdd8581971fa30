/*
 * The type halfvec of pg_alopex, for extensions in C: as vector.h says.
 */
#ifndef HALFVEC_H
#define HALFVEC_H

#include "postgres.h"
#include "fmgr.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#define HALFVEC_MAX_DIM 16000

/* A number of half precision (IEEE 754 binary16): its bits, but on ARM, where compilers compute with it. */
#ifndef half
#if defined(__aarch64__) && defined(__FLT16_MAX__)
#define half _Float16
#else
#define half uint16
#endif
#endif

/* dim is 1 to HALFVEC_MAX_DIM, unused is 0, and each number is finite: functions of the type rely on that. */
typedef struct HalfVector
{
	int32		vl_len_;		/* SET_VARSIZE */
	int16		dim;
	int16		unused;
	half		x[FLEXIBLE_ARRAY_MEMBER];
} HalfVector;

#define HALFVEC_SIZE(_dim)			(offsetof(HalfVector, x) + (_dim) * sizeof(half))
#define DatumGetHalfVector(_datum)	((HalfVector *) PG_DETOAST_DATUM(_datum))
#define PG_GETARG_HALFVEC_P(_n)		DatumGetHalfVector(PG_GETARG_DATUM(_n))
#define PG_RETURN_HALFVEC_P(_p)		PG_RETURN_POINTER(_p)

/* A vector of zeros. */
static inline HalfVector *
InitHalfVector(int dim)
{
	Size		size = HALFVEC_SIZE(dim);
	HalfVector *result = (HalfVector *) palloc0(size);

	SET_VARSIZE(result, size);
	result->dim = (int16) dim;
	return result;
}

#endif
