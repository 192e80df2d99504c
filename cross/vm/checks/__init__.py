"""The checks, in the order in which they run. A check is a module with a docstring and `check(rig)`, which raises where a
promise does not hold and returns its figure."""

from . import clock, demo, escalation, full_disk, gpio, install, jobs, journal, kill, memory, netem
from . import power_cuts, readme, ready, security, serial, soak, trigger, upgrade, watchdog

CHECKS = {
    "install": install,
    "ready": ready,
    "readme": readme,
    "demo": demo,
    "jobs": jobs,
    "journal": journal,
    "escalation": escalation,
    "netem": netem,
    "kill": kill,
    "watchdog": watchdog,
    "full-disk": full_disk,
    "power-cuts": power_cuts,
    "clock": clock,
    "gpio": gpio,
    "trigger": trigger,
    "serial": serial,
    "memory": memory,
    "security": security,
    "upgrade": upgrade,
    "soak": soak,
}
