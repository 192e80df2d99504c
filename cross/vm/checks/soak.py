"""5 jobs a second for a long time: all answered, memory and open files stay flat. Not among the checks that run by default."""

import math
import re
import time

from load import Stream
from rig import want

JOBS_PER_SECOND = 5
SAMPLE_EVERY_S = 15
# Caches and pools fill at first; slopes are of what comes after.
WARM_UP_SHARE = 0.25
RSS_GROWTH_LIMIT_KIB_PER_HOUR = 1024


def slope(points):
    """Least squares, per hour."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def check(rig):
    guest, begun = rig.guest, time.monotonic()
    seconds = rig.options.minutes * 60
    rss, handles = [], []
    with rig.work("soak") as (_, load):
        pid = rig.pid()
        with Stream(load, per_second=JOBS_PER_SECOND):
            while (now := time.monotonic() - begun) < seconds:
                said = guest.sh(f"grep VmRSS /proc/{pid}/status; ls /proc/{pid}/fd | wc -l")
                if now > seconds * WARM_UP_SHARE:
                    rss.append((now, int(re.search(r"(\d+) kB", said)[1])))
                    handles.append((now, int(said.split()[-1])))
                time.sleep(SAMPLE_EVERY_S)
        count = load.settle()
        want(rig.pid() == pid, "the daemon did not live through it")
    want(len(rss) > 3, f"{len(rss)} samples are too few; more --minutes")
    grows, more_handles = slope(rss), slope(handles)
    figure = f"{count} jobs, RSS {rss[-1][1]} KiB, {grows:+.0f} KiB/h, open files {handles[-1][1]}, {more_handles:+.1f}/h"
    want(grows <= RSS_GROWTH_LIMIT_KIB_PER_HOUR, f"{figure}: memory grows")
    want(math.fabs(more_handles) < 1, f"{figure}: open files are not flat")
    return figure
