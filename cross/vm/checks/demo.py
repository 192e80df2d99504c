"""The demo of the packaged binary, with the mosquitto that the package recommends as its broker: no job lost."""

import json

from rig import want

SECONDS = 6


def check(rig):
    # Two Pickets and a broker on an emulated board: all it has is for them.
    rig.guest.sh("systemctl stop picket")
    summary = json.loads(rig.guest.sh(f"picket demo --seconds {SECONDS} --json"))
    rig.guest.sh("systemctl start picket")
    want(summary["lost"] == summary["duplicates"] == 0, f"lost, or answered twice: {summary}")
    # Some miss the second that they have: this board is slow, and that is an answer too.
    want(summary["answered"] == summary["jobs"] > 0, f"not all are answered: {summary}")
    return f"{summary['jobs']} jobs, {summary['amended']} amended, {summary['certified_share']:.0%} certified"
