"""The power goes under load, again and again: the file system is clean, and every job is answered, rightly and once.

What has to hold is: what Picket has acknowledged is not lost. Its acknowledgement must therefore be what is seen from
here. Had the jobs gone to the guest's own broker, that one's PUBACK would be seen instead; it writes its sessions every
so many seconds, and what it acknowledged since goes with the power, whatever Picket does. So the broker is on this side,
never cut, with a persistent session for Picket. It keeps each job until Picket's PUBACK and delivers what has none
again, so a job that never gets an answer is one that Picket acknowledged and lost. The broker's log says which jobs were
acknowledged and unanswered when the power went: the check fails if there were none, because then it proves nothing.
"""

import random
import re

from load import AT_RISK, Stream
from rig import want


def check(rig):
    guest, dice, cuts = rig.guest, random.Random(rig.options.seed), 1 if rig.quick else 20
    at_risk, replays = [], 0
    guest.more_options = "picket.fsck"
    try:
        with rig.work("power-cuts") as (broker, load):
            for cut in range(cuts):
                with Stream(load, window=200):
                    goal = len(load.answers) + dice.randint(10, 80)
                    load.wait(lambda: len(load.answers) >= goal, f"answers before cut {cut + 1}", 600)
                    load.wait(lambda: len(load.at_risk(broker)) >= AT_RISK, "a job that only the store has", 120)
                    guest.power_cut()
                at_risk.append(len(load.at_risk(broker)))
                guest.boot()
                replays += replayed(guest)
                rig.until_active()
                load.settle()
    finally:
        guest.more_options = ""
    want(sum(at_risk) > 0, "no job was acknowledged and unanswered at any cut: this proves nothing")
    return (
        f"{cuts} cuts, {len(load.asked)} jobs, {sum(at_risk)} acknowledged and unanswered at a cut, "
        f"{load.repeated} results came again, {replays} journals replayed, the file system is clean"
    )


def replayed(guest):
    """What e2fsck said of the whole file system before the root was mounted: 0 clean, 1 its journal was replayed, as it should be
    after a cut. Anything else that it had to put right is damage."""
    said = guest.sh("dmesg | grep 'picket-vm: e2fsck'")
    code = int(re.search(r"e2fsck ended with (\d+)", said)[1])
    want(code <= 1 and "FIXED" not in said, f"the file system is damaged: {said}")
    return code
