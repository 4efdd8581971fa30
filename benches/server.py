"""A private PostgreSQL cluster: unix socket only, started and stopped here, thrown away afterwards."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg

SETTINGS = """
listen_addresses = ''
max_connections = 20
shared_buffers = {shared_buffers}MB
maintenance_work_mem = {maintenance_work_mem}MB
dynamic_shared_memory_type = {shared_memory}
# One statement is measured at a time: nothing may run beside it, and the disk is not what is measured.
autovacuum = off
checkpoint_timeout = 1d
max_wal_size = 64GB
synchronous_commit = off
# WAL per row shall not depend on how long ago the last checkpoint was.
full_page_writes = off
max_worker_processes = 32
max_parallel_workers = 16
max_parallel_workers_per_gather = 0
jit = off
lc_messages = 'C'
timezone = 'UTC'
"""


class Server:
    """`home` is where the cluster lives, `sockets` where it listens; as root it runs as the user `user`."""

    def __init__(self, programs: Path, home: Path, sockets: Path, port: int, user: str):
        self.programs, self.home, self.sockets, self.port = programs, home, sockets, port
        self.data, self.log = home / "data", home / "server.log"
        self.user = user if os.geteuid() == 0 else None

    def __enter__(self) -> "Server":
        # As an interrupt does: leaving by an exception stops the server.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
        self.discard()
        for directory in (self.data, self.sockets):
            directory.mkdir(mode=0o700)
            self._give(directory)
        self.log.write_text("")
        self._give(self.log)
        self._run("initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=trust", "--no-sync")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(self._settings())
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.discard()

    def discard(self) -> None:
        """Stops the server, also one that an interrupted run left, and removes the cluster."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self.data, check=False)
        for directory in (self.data, self.sockets):
            shutil.rmtree(directory, ignore_errors=True)

    def restart(self) -> None:
        """Leaves shared_buffers empty."""
        self.stop()
        self.start()

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "fast", "-t", "600", "-D", self.data)

    def start(self, **settings: str) -> None:
        options = f"-p {self.port} -k '{self.sockets}'"
        options += "".join(f" -c {name}='{value}'" for name, value in settings.items())
        self._run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.log, "-o", options)

    def process(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def setting(self, name: str) -> str:
        with self.connect() as session:
            return session.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.sockets), port=self.port, user="postgres", dbname=database, autocommit=True
        )

    def library(self) -> str:
        """Version and commit that the server's library of pg_alopex tells, whatever the checkout is that measures it."""
        with self.connect() as session, session.transaction(force_rollback=True):
            session.execute("CREATE EXTENSION pg_alopex")
            return session.execute("SELECT alopex_version()").fetchone()[0]

    def pgbench(self, database: str, script: str, *arguments: str, settings: str = "") -> float:
        """Transactions per second of a script run with prepared statements."""
        file = self.home / "pgbench.sql"
        file.write_text(script)
        environment = os.environ | {"PGOPTIONS": settings}
        command = [self.programs / "pgbench", "-h", self.sockets, "-p", str(self.port), "-U", "postgres", "-n"]
        command += ["-M", "prepared", "-f", file, *arguments, database]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        rate = re.search(r"^tps = ([0-9.]+)", done.stdout, re.M)
        if done.returncode or not rate:
            raise RuntimeError(f"pgbench failed: {done.stderr.strip()}")
        return float(rate[1])

    def _give(self, path: Path) -> None:
        if self.user:
            shutil.chown(path, self.user)

    def _run(self, program: str, *arguments, check: bool = True) -> None:
        command = [self.programs / program, *arguments]
        if self.user:
            command = ["runuser", "-u", self.user, "--", *command]
        # Not captured through a pipe: the server would hold it open.
        with (self.home / "commands.log").open("w+") as output:
            done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            if check and done.returncode:
                output.seek(0)
                raise RuntimeError(f"{program} failed: {output.read().strip()} (see also {self.log})")

    @staticmethod
    def _settings() -> str:
        memory = memory_mb()
        maintenance = min(2048, memory // 4)
        # Parallel workers share a graph of up to maintenance_work_mem; containers often have a small /dev/shm.
        shm = os.statvfs("/dev/shm") if Path("/dev/shm").exists() else None
        roomy = shm and shm.f_bavail * shm.f_frsize >> 20 > 1.5 * maintenance
        return SETTINGS.format(
            shared_buffers=min(4096, memory // 4),
            maintenance_work_mem=maintenance,
            shared_memory="posix" if roomy else "mmap",
        )


def arguments(description: str) -> argparse.ArgumentParser:
    """What every benchmark is told: where the server is to be, the data, and where the results go."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--programs", type=Path, required=True, help="PostgreSQL's programs")
    parser.add_argument("--home", type=Path, required=True, help="directory of the private cluster")
    parser.add_argument("--sockets", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True, help="whom the server runs as when we are root")
    parser.add_argument("--out", type=Path, required=True, help="directory of the results")
    parser.add_argument("--data", type=Path, help="directory of NAME_base.npy and NAME_query.npy")
    parser.add_argument("--sets", default="", help="names of data sets (default: all, or one where one is measured)")
    parser.add_argument("--quick", action="store_true", help="few rows and rounds: shows that everything works")
    return parser


def memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
