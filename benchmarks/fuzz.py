"""Damaged and hostile files by the hundred thousand: each is read or refused by our own error, runs no code.

A case is a reader with a few valid files. Each try changes one of these, at random but the same each time, in
a process of its own that a crash would end and that is ended after a minute of silence. --samples: tries of
each kind: pickles, JSON, CSV, zips, pictures. `crashes`: other errors than ours, ends of the process,
silences. `executions`: programs, connections, libraries, changed files or Python code that a read asked the
interpreter for (its audit events). Files that did either stay in the folder --runs.
"""

import multiprocessing
import pathlib
import resource
import shutil
import sys
import time

import numpy as np

from amvur_jax.errors import UserError
from benchmarks.fuzz_cases import KINDS
from benchmarks.fuzz_changes import CANARY
from mano_jax.errors import FileFormatError

SILENCE = 60  # seconds
CHUNK = 2000  # tries of one process
EVENTS = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "os.spawn",
    "subprocess.Popen",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "shutil.rmtree",
    "socket.connect",
    "ctypes.dlopen",
}


def run(quick, samples=100_000, runs="runs/fuzz"):
    """Yield a row for each case; `samples`: tries of each kind."""
    folder = pathlib.Path(runs)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, cases in KINDS.items():
        for name in cases:
            yield _row(kind, name, folder, max(1, (20 if quick else samples) // len(cases)))


def _row(kind, name, folder, count):
    shutil.rmtree(
        folder / "tree", ignore_errors=True
    )  # another case's file may be read in its place
    total = {"tried": 0, "read": 0, "refused": 0, "crashes": 0, "executions": 0}
    slowest, peak, first = 0.0, 0, 0
    while first < count:
        mine, theirs = multiprocessing.Pipe()
        last = min(count, first + CHUNK)
        process = multiprocessing.get_context("spawn").Process(
            target=_tries, args=(kind, name, folder, first, last, theirs), daemon=True
        )
        process.start()
        theirs.close()
        if not mine.poll(600):
            raise RuntimeError(f"{kind}, {name}: no process begins")
        mine.recv()
        while first < last:
            try:
                outcome = mine.recv() if mine.poll(SILENCE) else None
            except EOFError:
                outcome = None
            total["tried"] += 1
            first += 1
            if outcome is None:  # it is dead, or silent
                process.kill()
                process.join()
                total["crashes"] += 1
                _keep(folder, kind, name, first - 1)
                break
            what, executions, seconds, peak_now = outcome
            total[what] += 1
            total["executions"] += executions
            slowest, peak = max(slowest, seconds), max(peak, peak_now)
        process.join()
    case = {"case": f"{kind}: {name}", **total}
    return case | {"slowest_ms": round(1000 * slowest, 1), "peak_mib": peak >> 10}


def _keep(folder, kind, name, number):
    case = KINDS[kind][name]()
    kept = (
        folder / f"{kind}_{name.replace(' ', '_')}_{number}{pathlib.Path('x' + case.name).suffix}"
    )
    shutil.copyfile(_path(folder, case), kept)
    return kept


def _path(folder, case):
    """The file that is read; some readers take their folder and know its name."""
    (folder / "tree").mkdir(exist_ok=True)
    return folder / "tree" / (f"input{case.name}" if case.name.startswith(".") else case.name)


def _tries(kind, name, folder, first, last, connection):
    """In a process of its own: send (outcome, executions, seconds, peak KiB) of each try."""
    case, events, armed = KINDS[kind][name](), [], [False]
    path, canary = _path(folder, case), pathlib.Path(CANARY)

    def heard(event, arguments):
        if armed[0] and _runs(event, arguments):
            events.append(event)

    def tried(data):
        path.write_bytes(data)
        events.clear()
        armed[0] = True
        try:
            case.read(path)
            return "read", None
        except (UserError, FileFormatError) as error:
            return "refused", error
        except BaseException as error:
            return "crashes", error
        finally:
            armed[0] = False

    for data in case.seeds:
        outcome, error = tried(data)
        assert outcome == "read", error
        tried(data[: len(data) // 2])  # imports what refusing needs, before anybody listens
    sys.addaudithook(heard)
    connection.send("begins")
    for number in range(first, last):
        rng = np.random.default_rng([number, *kind.encode(), *name.encode()])
        data = case.change(rng, case.seeds[int(rng.integers(len(case.seeds)))])
        start = time.perf_counter()
        outcome, error = tried(data)
        seconds, executions = time.perf_counter() - start, len(events) + canary.exists()
        if outcome == "crashes" or executions:
            print(f"{_keep(folder, kind, name, number)}: {error!r} {events}"[:300], file=sys.stderr)
        canary.unlink(missing_ok=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        connection.send((outcome, executions, seconds, peak))


def _runs(event, arguments):
    """Whether an audit event is one of something done that no reader does."""
    if event == "exec":  # of code that is from no file
        return arguments[0].co_filename.startswith("<") and "frozen" not in arguments[0].co_filename
    if event == "open":
        return isinstance(arguments[1], str) and any(c in arguments[1] for c in "wax+")
    return event in EVENTS
