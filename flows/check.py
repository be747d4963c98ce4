"""The preflight: check that this host is ready for a night. Each check is one small function; none needs the server.

`e2emern check` runs all of them and those of `flows.check_server`; a worker runs them when it starts.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from e2emern.defaults import MESH
from e2emern.flows.check_results import Result, error, ok, run_checks, warning
from e2emern.flows.settings import Settings, read_settings
from e2emern.tasks.chunks import cores
from e2emern.tasks.errors import InputError
from e2emern.tasks.ingest.addresses import without_secrets
from e2emern.tasks.models import read_versions
from e2emern.tasks.processes import MEMORY, available_memory, count_processes
from e2emern.tasks.resolve import find_mesh, find_model, require_snapshot_model, snapshot_mesh
from e2emern.warehouse.errors import WarehouseError
from e2emern.warehouse.home_format import check_format
from e2emern.warehouse.layout import CHECKSUMS, Home
from e2emern.warehouse.queries.status import backlog
from e2emern.warehouse.snapshots.reader import current_snapshot
from e2emern.warehouse.sources.history import read_history
from e2emern.warehouse.sources.runs import FLOW_RUN
from e2emern.warehouse.wording import examples, one_line, plural

_ROOM = 1e9  # bytes that a night needs, however little it fetches
_PER_DUMP = 4  # bytes of tables for each byte of a compressed dump file, including merged files
_ROOM_FOR_RUNS = 2e8  # bytes for the folders of flow runs and for Prefect's own files
_CLOCK = 60.0  # seconds that two clocks may differ
_NIGHT = timedelta(hours=36)
_WAIT = 10.0  # seconds for the answer of a source


@dataclass(frozen=True, slots=True)
class Host:
    """This host, with the settings of the installation on it."""

    settings: Settings

    @property
    def home(self) -> Home:
        """The folder of the tables."""
        return Home(self.settings.home)

    @property
    def folder(self) -> Path:
        """The home, or before the first night the nearest folder above it that exists."""
        return next(path for path in (self.settings.home, *self.settings.home.parents) if path.exists())


def check_host(home: Path | None = None, *, online: bool = True) -> list[Result]:
    """Return the result of each check of this host.

    Args:
        home: folder of the tables; by default that of the settings.
        online: also check that the sources of dump files answer.
    """
    try:
        host = Host(read_settings(home=home))
        Home(host.settings.home)
    except (InputError, WarehouseError) as failure:
        return [replace(error(one_line(failure), "docs/settings.md lists the settings"), check="settings")]
    checks = {name: check for name, check in CHECKS.items() if online or name != "sources"}
    return run_checks(checks, host)


def settings(host: Host) -> Result:
    """Check that the settings can be read, and report where they come from."""
    return ok(f"from {os.environ.get('E2EMERN_CONFIG') or 'the environment'}; home {host.settings.home}")


def home(host: Host) -> Result:
    """Check that the home is a folder of this release's format in which this user can write."""
    place, folder = host.home, host.folder
    advice = f"give the user of the worker this folder: chown -R USER {folder}, or set home"
    if not folder.is_dir():
        return error(f"{folder} is a file, expected a folder", "move it aside, or set home")
    check_format(place)
    try:
        with _scratch(folder) as scratch:
            written = Path(scratch) / "written"
            with written.open("xb") as file:
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
    except OSError as failure:
        return error(f"{folder}: cannot be written ({failure.strerror})", advice)
    kind, _ = _file_system(folder)
    new = "" if place.root.exists() else ", created by the first night"
    return ok(f"{place.root}: writable, {kind or 'unknown file system'}{new}")


def locks(host: Host) -> Result:
    """Check that a lock keeps another process out: two publishers, or two workers of a file, exclude each other."""
    import fcntl

    kind, options = _file_system(host.folder)
    with _scratch(host.folder) as scratch, (Path(scratch) / "lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as failure:
            return error(
                f"{kind or 'the file system'} has no locks ({failure.strerror})",
                "put home on a file system with flock: local, NFSv4, CephFS, or Lustre mounted with -o flock",
            )
        code = [
            "import fcntl, sys",
            "try: fcntl.flock(open(sys.argv[1], 'ab'), fcntl.LOCK_EX | fcntl.LOCK_NB)",
            "except OSError: sys.exit(3)",
        ]
        child = [sys.executable, "-I", "-S", "-c", "\n".join(code), file.name]
        if subprocess.run(child, check=False).returncode != 3:
            return error(
                "two processes held the same lock",
                "use a file system with working locks; two publishers would overwrite each other",
            )
    alone = {"nolock", "local_lock=all", "local_lock=flock", "localflock"} & options
    if alone:
        return warning(
            f"{kind} is mounted with {min(alone)}: its locks are local to each host",
            "mount it without that option; otherwise a batch whose worker dies is not sent again automatically",
        )
    return ok("a lock keeps another process out")


def rename(host: Host) -> Result:
    """Check that a file and a symbolic link can be replaced atomically while a reader has the old one open."""
    with _scratch(host.folder) as scratch:
        folder = Path(scratch)
        for name in ("old", "new"):
            (folder / name).write_text(name)
        with (folder / "old").open() as reader:
            (folder / "new").replace(folder / "old")
            if (reader.read(), (folder / "old").read_text()) != ("old", "new"):
                return error("a renamed file changed under its reader", "use another file system for home")
        try:
            for target in ("one", "two"):
                (folder / "next").symlink_to(target)
                (folder / "next").replace(folder / "current")
        except OSError as failure:
            return error(
                f"symbolic links cannot be made ({failure.strerror})",
                "the current snapshot is one; put home on a file system with symbolic links",
            )
        if (folder / "current").readlink() != Path("two"):
            return error("a replaced link still points to its old target", "use another file system for home")
    return ok("files and links are replaced atomically")


def disk(host: Host) -> Result:
    """Check that there is room for a night, in the home and for the folders of flow runs."""
    waiting = backlog(host.home, current_snapshot(host.home), withdrawn=())
    needed = _ROOM + _PER_DUMP * sum((host.home.dumps / name).stat().st_size for name in waiting)
    places = {host.folder: needed, Path(tempfile.gettempdir()): _ROOM_FOR_RUNS}
    for folder, least in places.items():
        found = os.statvfs(folder)
        free = found.f_bavail * found.f_frsize
        if free < least:
            return error(
                f"{folder}: {free / 1e9:,.1f} GB free, expected {least / 1e9:,.1f} GB for a night",
                "free space: e2emern prune, or delete dump files that can be fetched again",
            )
        if found.f_files and found.f_favail < 10_000:
            return error(f"{folder}: {found.f_favail:,} inodes free", "delete small files, or use another file system")
    free = shutil.disk_usage(host.folder).free
    if free < 3 * needed:
        return warning(f"{host.folder}: room for fewer than three nights ({free / 1e9:,.1f} GB free)", "free space")
    return ok(f"{host.folder}: {free / 1e9:,.0f} GB free, {plural(len(waiting), 'dump file')} to read")


def memory(host: Host) -> Result:
    """Check that the processes of a worker fit in memory."""
    number = count_processes(host.settings.processes, device="cpu")
    wanted, available = number * MEMORY, available_memory()
    if available is None:
        return ok("cannot be measured on this system")
    shown = f"{available / 1e9:,.1f} GB available, {wanted / 1e9:,.1f} GB wanted by processes = {number}"
    if available < wanted:
        return warning(shown, "set processes lower, or stop other programs")
    return ok(shown)


def clock(host: Host) -> Result:
    """Check the clock of this host against that of the storage and against the newest run."""
    with _scratch(host.folder) as scratch:
        before = time.time()
        (Path(scratch) / "now").touch()
        behind = (Path(scratch) / "now").stat().st_mtime - before
    if abs(behind) > _CLOCK:
        return error(
            _off(behind, f"the storage of {host.folder}"), "synchronise both clocks (chrony, systemd-timesyncd)"
        )
    newest = max(read_history(host.home).runs, key=lambda run: run.started, default=None)
    if newest:
        behind = (datetime.fromisoformat(newest.started) - datetime.now(UTC)).total_seconds()
        if behind > _CLOCK:
            return error(_off(behind, f"run {newest.run_id} of {newest.host}"), "correct the clock that is wrong")
    return ok(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, the same as the storage")


def _off(behind: float, whose: str) -> str:
    return f"this clock is {timedelta(seconds=round(abs(behind)))} {'behind' if behind > 0 else 'ahead of'} {whose}"


def model(host: Host) -> Result:
    """Check that this host has the model that nights use, unchanged since it was added."""
    folder = find_model(host.settings.model or require_snapshot_model(host.home), home=host.home)
    versions = read_versions(folder, _mesh(host))
    return ok(f"{versions.model} in {folder}")


def mesh(host: Host) -> Result:
    """Check that this host has the vocabulary that nights use."""
    table = _mesh(host)
    version = read_versions(find_model(None, home=host.home), table).mesh
    return ok(f"{version} in {table}")


def _mesh(host: Host) -> Path:
    return find_mesh(Path(host.settings.mesh or snapshot_mesh(host.home) or MESH), home=host.home)


def device(host: Host) -> Result:
    """Check that the model can run on the device of the settings; in a separate process, since torch takes memory."""
    wanted = host.settings.device
    if wanted == "cpu":
        return ok(f"cpu, {plural(cores(), 'core')}")
    command = [sys.executable, "-m", "e2emern.tasks.devices", wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line.removeprefix("e2emern: ") for line in done.stderr.splitlines() if line.strip()]
    if done.returncode:
        return error(f"device is {wanted}: {lines[-1] if lines else done.returncode}", 'or set device = "cpu"')
    if lines:
        return warning(lines[-1], 'or set device = "cpu"')
    return ok(f"{done.stdout.strip()}, {plural(cores(), 'core')}")


def sources(host: Host) -> Result:
    """Check that the sources of dump files exist and answer."""
    for source in host.settings.sources:
        if "://" not in source:
            if not Path(source).is_dir():
                return error(f"{source}: no such folder", "mount it, or set sources")
            continue
        shown = without_secrets(source)
        try:
            with httpx.stream("GET", source, timeout=_WAIT, headers={"User-Agent": "e2emern"}) as answer:
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            return warning(
                f"{shown} does not answer ({one_line(failure)})", "check the network, a proxy, or the setting sources"
            )
        if status != httpx.codes.OK:
            return warning(f"{shown} answers {status}", "correct sources; a night cannot fetch from it")
    return ok(
        f"{plural(len(host.settings.sources), 'source')}: {examples(host.settings.sources, separator=', ', most=2)}"
    )


def checksums(host: Host) -> Result:
    """Check that the dump files came with an MD5, so that a damaged download is noticed."""
    dumps = list(_dumps(host.home))
    bare = [path.name for path in dumps if not path.with_name(path.name + ".md5").is_file()]
    if bare:
        return warning(f"{plural(len(bare), 'dump file')} without MD5: {examples(bare, separator=', ', most=3)}",
                       "fetch from a listing that has them, or ignore this for files of your own")  # fmt: skip
    return ok(plural(len(dumps), "dump file"))


def last_run(host: Host) -> Result:
    """Check that the last run ended well, and not long ago."""
    runs = [run for run in read_history(host.home).runs if FLOW_RUN not in run.options]
    if not runs:
        return ok("no run yet")
    last, now = runs[-1], datetime.now(UTC)
    when = f"run {last.run_id} on {last.host}"
    if last.error:
        return error(f"{when} stopped: {last.error}", "fix the cause, and start a night: e2emern night")
    began = datetime.fromisoformat(last.started)
    if last.finished is None and now - began > timedelta(days=1):
        return warning(
            f"{when} began {began:%Y-%m-%d %H:%M} UTC and has not ended", "e2emern doctor --repair if it is dead"
        )
    if now - (datetime.fromisoformat(last.finished) if last.finished else began) > _NIGHT:
        return warning(f"{when} was the last one", "check that server, worker and the schedule of nightly are active")
    return ok(f"{when}, {'ended' if last.finished else 'under way'}")


CHECKS: dict[str, Callable[[Host], Result]] = {
    "settings": settings,
    "home": home,
    "locks": locks,
    "rename": rename,
    "disk": disk,
    "memory": memory,
    "clock": clock,
    "model": model,
    "mesh": mesh,
    "device": device,
    "sources": sources,
    "checksums": checksums,
    "last run": last_run,
}
"""The checks of this host by name."""

NEEDED_TO_START = frozenset({"home", "locks", "rename", "device"})
"""If one of these checks fails, no run on this host can succeed, so a worker does not start. Others may pass later."""


def _scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=".check-", dir=folder)


def _file_system(folder: Path) -> tuple[str, set[str]]:
    """Return the type of a file system and its mount options; nothing if the system does not list them."""
    found: tuple[str, set[str]] = ("", set())
    with suppress(OSError):
        longest = -1
        for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
            before, _, after = line.partition(" - ")
            point, options = before.split()[4].replace("\\040", " "), before.split()[5]
            if folder.absolute().is_relative_to(point) and len(point) >= longest:
                kind, _, super_options = after.split(" ", 2)
                longest, found = len(point), (kind, {*options.split(","), *super_options.split(",")})
    return found


def _dumps(place: Home) -> list[Path]:
    found = place.dumps.glob("[!.]*") if place.dumps.is_dir() else ()
    return [path for path in found if stat.S_ISREG(path.stat().st_mode) and path.suffix not in CHECKSUMS]
