# Everything here is a thin name for a script; `make help` says what there is.
# Settings: PG=15|16|18|cassert (PostgreSQL; see pgrx-config/postgresql.sh), PORT=54329 (of the private clusters),
# PG_CONFIG=... (make install, install-vector-name, restore-pgvector, packages), REPLACE=1 (install-vector-name), DATA=.. SETS=..
# PG=16|18 WORKERS=.. WAYS=.. CAP=.. QUICK=1 OUT=.. (make bench and its parts; see pgrx-config/bench.sh).
bench_parts = bench-filter bench-vacuum bench-sizes bench-memory bench-builds bench-clients bench-targets
.PHONY: help demo psql test soak check bench $(bench_parts) install install-vector-name restore-pgvector packages
.PHONY: test-clients test-packages stop clean
.DEFAULT_GOAL := help
export PG PORT PG_CONFIG REPLACE DATA SETS QUICK WORKERS WAYS CAP OUT

help:
	@echo 'make demo                      set up, build, start a private cluster, and show the extension on 20,000 words'
	@echo 'make psql                      psql in the database of the demo'
	@echo 'make test [PG=18]              format, lints, unit tests, SQL regression, documents, clients, crash, standby, corruption tests'
	@echo 'make test-clients [PG=18]      the client libraries alone; test-packages: packages, installed and removed'
	@echo 'make soak                      the long form of the crash, standby, corruption and load tests, fuzzing (20 minutes)'
	@echo 'make check [PG="16 17"]        compile and lint for each version of PostgreSQL, or those named'
	@echo 'make bench [DATA=...]          measure against pgvector in one server (QUICK=1: a short trial; see docs/bench)'
	@echo 'make bench-filter [DATA=...]   measure searches under conditions on other columns against pgvector'
	@echo 'make bench-vacuum [DATA=...]   measure VACUUM, and searches and inserts beside it and after it, against pgvector'
	@echo 'make bench-sizes [DATA=...]    measure size and recall of indexes from 3 to 4,096 dimensions against pgvector'
	@echo 'make bench-memory [DATA=...]   measure searches of an index that memory does not hold against pgvector'
	@echo 'make bench-builds [DATA=...]   measure builds within maintenance_work_mem and beyond it against pgvector'
	@echo 'make bench-clients [DATA=...]  measure queries a second of 1 to 8 clients against pgvector'
	@echo 'make bench-targets [DATA=...]  measure recall at the widths that targets of recall give'
	@echo 'make install [PG_CONFIG=...]   build for release and install into your own PostgreSQL'
	@echo 'make install-vector-name [..]  the same, and under the name of pgvector too: CREATE EXTENSION vector'
	@echo '                               (REPLACE=1: in place of pgvector, whose files are kept aside; see docs/migration.md)'
	@echo 'make restore-pgvector [..]     put the files of pgvector back'
	@echo 'make packages [PG="15 18"]     Debian packages, contents of an image, SBOM, in build/packages'
	@echo 'make stop                      stop the private clusters'
	@echo 'make clean                     stop them and remove the build directory'

demo:
	@examples/demo.sh

psql:
	@pgrx-config/cluster.sh demo start
	@pgrx-config/cluster.sh demo psql -d demo

test:
	@pgrx-config/test.sh

test-clients:
	@tests/clients.sh

test-packages:
	@tests/packages.sh

soak:
	@pgrx-config/soak.sh

check:
	@pgrx-config/check.sh

bench:
	@pgrx-config/bench.sh

$(bench_parts):
	@pgrx-config/bench.sh $(@:bench-%=%)

install:
	@pgrx-config/install.sh

install-vector-name:
	@pgrx-config/install.sh vector-name

restore-pgvector:
	@pgrx-config/install.sh pgvector

packages:
	@pgrx-config/packages.sh

stop:
	@pgrx-config/clean.sh stop

clean:
	@pgrx-config/clean.sh
