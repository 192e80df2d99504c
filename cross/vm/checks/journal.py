"""What the real journal has of a job that failed: its id, model and code as fields, and ten lines of one code, not a flood."""

import json

from rig import want

BROKEN = 40
LINES_PER_CODE = 10


def entries(rig, match):
    """The journal's entries of the running daemon with these fields."""
    invocation = rig.show("InvocationID")
    said = rig.guest.sh(f"journalctl --no-pager -o json _SYSTEMD_INVOCATION_ID={invocation} {match}")
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def check(rig):
    with rig.work("journal") as (_, load):
        for number in range(BROKEN):
            load.publish(f"broken-{number}", "application/json", b"{")
        load.send()
        load.settle()
        first = entries(rig, "PICKET_JOB=broken-0")
        want(first, "the journal finds nothing by PICKET_JOB")
        entry = first[0]
        # What cannot be decoded has not said yet for which model it is.
        want("PICKET_MODEL" in entry, f"no model in {entry}")
        code = entry.get("PICKET_CODE", "")
        want("/" in code, f"no code in {entry}")
        want(entry["_SYSTEMD_UNIT"] == "picket.service" and int(entry["PRIORITY"]) <= 6, f"not of the unit: {entry}")
        lines = len(entries(rig, f"PICKET_CODE={code}"))
        want(lines <= LINES_PER_CODE, f"{lines} lines of {code} for {BROKEN} jobs")
    return f"{BROKEN} broken jobs, {lines} lines with PICKET_CODE={code}"
