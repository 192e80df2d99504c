"""Edges on a line of the board's GPIO chip trigger a source: QEMU's power button, taken away from the kernel's driver."""

import re

from rig import want

from .gpio import kernel_says, open_chip

# Where the board `virt` has its power button.
LINE = 3
SOURCE = f"""
[[source]]
name = "cam"
kind = "exec"
model = "digits"
command = ["sh", "-c", "while :; do head -c 64 /dev/zero; sleep 1; done"]
format = "raw"
width = 8
height = 8
pixel = "gray8"
trigger = {{ chip = "gpiochip0", line = {LINE}, edge = "rising" }}
"""
DRIVER = "/sys/bus/platform/drivers/gpio-keys"


def count(rig, what):
    found = re.search(rf'picket_source_total{{source="cam",what="{what}"}} (\d+)', rig.guest.sh(rig.page("/metrics")))
    return int(found[1]) if found else 0


def check(rig):
    guest, presses, metrics = rig.guest, 3 if rig.quick else 10, rig.page("/metrics")
    guest.sh(f"echo gpio-keys > {DRIVER}/unbind")
    try:
        with open_chip(rig), rig.work("trigger", SOURCE):
            guest.until(kernel_says("in", LINE), "the line is watched", 120)
            guest.until(f"{metrics} | grep -q 'what=\"frames\"'", "frames", 120)
            for press in range(1, presses + 1):
                guest.qmp("system_powerdown")
                # Each is a rising and a falling edge; only the rising ones count.
                guest.until(f"{metrics} | grep -q 'what=\"edges\"}} {press}$'", f"edge {press}", 60)
                # Of two edges between two frames one is missed, as README says: so each has its frame before the next one.
                guest.until(f"{metrics} | grep -q 'what=\"jobs\"}} {press}$'", f"a job for edge {press}", 60)
            edges, jobs = count(rig, "edges"), count(rig, "jobs")
    finally:
        guest.sh(f"systemctl stop picket; echo gpio-keys > {DRIVER}/bind")
    want(edges == jobs == presses, f"{presses} presses, {edges} edges, {jobs} jobs")
    return f"{presses} presses, {edges} edges, {jobs} jobs"
