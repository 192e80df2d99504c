"""The daemon's memory (PSS), idle and under load, by the kernel."""

import re

from load import Stream
from rig import want

# Idle with models/digits; architecture.md, promise 5.
IDLE_LIMIT_MIB = 16


def pss_mib(rig):
    """All, and the part that is of no file."""
    said = rig.guest.sh(f"cat /proc/{rig.pid()}/smaps_rollup")
    return [int(re.search(rf"^{kind}: +(\d+) kB", said, re.M)[1]) / 1024 for kind in ("Pss", "Pss_Anon")]


def check(rig):
    with rig.work("memory") as (_, load):
        for _ in range(10):
            load.send()
        load.settle()
        rig.restart()
        idle, own = pss_mib(rig)
        with Stream(load, window=60):
            goal = len(load.answers) + (60 if rig.quick else 400)
            load.wait(lambda: len(load.answers) >= goal, "answers", 600)
            loaded, _ = pss_mib(rig)
        load.settle()
        after, _ = pss_mib(rig)
    figure = f"idle {idle:.1f} MiB ({own:.1f} of its own, the rest program), under load {loaded:.1f} MiB, after it {after:.1f} MiB"
    want(idle <= IDLE_LIMIT_MIB, f"{figure}; idle at most {IDLE_LIMIT_MIB} MiB is promised")
    return figure
