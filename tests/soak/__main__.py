"""All soaks at full size, one after the other: `make soak`, or `python -m tests.soak [--seed N] [--share X]`.

Each runs in a process of its own and prints its progress; the table at the end has the last line of each. One that
finds harm ends with the command that repeats it, and the others still run. `--share 0.01` makes all of them smaller.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Sequence

SOAKS = {
    # name: module, the option for its size, and its full size; None for everything
    "faults": ("tests.soak.faults", "--count", None),
    "flips": ("tests.soak.flips", "--flips", 1_000),
    "damage": ("tests.soak.damage", "--count", 1_000),
    "kills": ("tests.soak.kills", "--kills", 1_000),
    "fuzz": ("tests.soak.fuzz", "--inputs", 100_000),
}
_MOST_FAULTS = 7_800  # about as many as there are


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--share", type=float, default=1.0, help="of the full size")
    parser.add_argument("--only", nargs="+", choices=[*SOAKS], default=[*SOAKS], help="the soaks to run")
    options = parser.parse_args(arguments)
    lines, wrong = [], False
    for name in options.only:
        module, option, size = SOAKS[name]
        command = [sys.executable, "-u", "-m", module, "--seed", str(options.seed)]
        if size or options.share < 1:
            command += [option, str(max(1, round((size or _MOST_FAULTS) * options.share)))]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        code, last = _run(name, command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        lines.append(f"{name:<8}{'wrong' if code else 'right':<8}{seconds:>8,.0f} CPU s  {last}")
        wrong |= bool(code)
    print("\n".join(("", *lines)))
    return int(wrong)


def _run(name: str, command: list[str]) -> tuple[int, str]:
    """Run a soak, print its lines under its name, and return its exit code and last line."""
    last = "printed nothing"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as soak:
        assert soak.stdout
        for line in soak.stdout:
            if last := line.strip() or last:
                print(f"{name}: {last}", flush=True)
    return soak.returncode, last


if __name__ == "__main__":
    sys.exit(main())
