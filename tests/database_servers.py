"""Real database servers for tests: on loopback, with a folder of their own, and gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

PASSWORD = "s3cret-pass"


def _unprivileged(*candidates: str) -> str | None:
    """Who runs the server: it refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in (*candidates, "nobody") if name in names)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _short_folder(user: str | None) -> Path:
    """Not in pytest's folder: a socket's path has 107 letters at most, and another user cannot enter it."""
    folder = Path(tempfile.mkdtemp(prefix="car-db-", dir="/tmp"))
    if user is not None:
        shutil.chown(folder, user)
    return folder


def _run(command: list[str | Path], user: str | None, seconds: float = 60) -> None:
    groups = [] if user else None
    done = subprocess.run(
        [str(word) for word in command],
        user=user,
        extra_groups=groups,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        text=True,
    )
    assert done.returncode == 0, done.stdout


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------


def postgres_binaries() -> Path | None:
    """The folder of initdb and pg_ctl: on the path, or where Debian puts them."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


@dataclass
class Postgres:
    """A PostgreSQL server; the user `car` owns all databases."""

    binaries: Path
    user: str | None = field(default_factory=lambda: _unprivileged("postgres"))
    port: int = field(default_factory=_free_port)

    def __post_init__(self) -> None:
        self.folder = _short_folder(self.user)
        self._databases = 0
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        if self.user:
            shutil.chown(secret, self.user)
        _run(
            [
                self.binaries / "initdb",
                *("-D", self.folder / "data", "-U", "car", "--pwfile", secret),
                *("-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            self.user,
        )
        self.start()

    def start(self) -> None:
        """Start it, and wait until it takes connections. A stopped process is no cut of the power: it need not sync."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=16MB"
        log = self.folder / "log"
        _run(self._pg_ctl("start", "-l", log, "-o", options), self.user)

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; `immediate` is what a crash is like."""
        _run(self._pg_ctl("stop", "-m", mode), self.user)

    def close(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder)

    def _pg_ctl(self, *words: str | Path) -> list[str | Path]:
        return [self.binaries / "pg_ctl", "-D", self.folder / "data", "-w", "-s", *words]

    def url(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql://car:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the owner; its rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


# ---- MariaDB --------------------------------------------------------------------------------------------------------


def mysql_binaries() -> tuple[Path, Path] | None:
    """What makes a data folder, and the server."""
    install, server = shutil.which("mariadb-install-db"), shutil.which("mariadbd") or "/usr/sbin/mariadbd"
    return (Path(install), Path(server)) if install and Path(server).exists() else None


@dataclass
class MariaDB:
    """A MariaDB server; the user `car` may do all."""

    binaries: tuple[Path, Path]
    user: str | None = field(default_factory=lambda: _unprivileged("mysql"))
    port: int = field(default_factory=_free_port)

    def __post_init__(self) -> None:
        self.folder = _short_folder(self.user)
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        install, _ = self.binaries
        make = [install, "--no-defaults", f"--datadir={self.folder}/data", "--skip-test-db"]
        _run([*make, "--auth-root-authentication-method=normal"], self.user)
        self.start()
        self._as_root(f"CREATE USER car@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
        self._as_root("GRANT ALL ON *.* TO car@'127.0.0.1'")

    def start(self) -> None:
        _, server = self.binaries
        command = [server, "--no-defaults", f"--datadir={self.folder}/data", f"--socket={self.folder}/socket"]
        command += [f"--port={self.port}", "--bind-address=127.0.0.1", f"--pid-file={self.folder}/pid"]
        command += ["--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=16M", "--skip-name-resolve"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(word) for word in command], user=self.user, extra_groups=[] if self.user else None, cwd="/",
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")
            time.sleep(0.05)
        raise AssertionError("MariaDB does not begin to listen")

    def stop(self) -> None:
        """Kill it, as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        if self._process is not None:
            self.stop()
        shutil.rmtree(self.folder)

    def url(self, database: str, password: str = PASSWORD) -> str:
        return f"mysql://car:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        self._databases += 1
        name = f"test_{self._databases}"
        self._as_root(f"CREATE DATABASE {name}")
        return self.url(name)

    def _as_root(self, statement: str) -> None:
        import pymysql

        with pymysql.connect(unix_socket=f"{self.folder}/socket", user="root") as connection:
            connection.cursor().execute(statement)
