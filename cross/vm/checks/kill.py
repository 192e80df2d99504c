"""`kill -9` of the daemon under load: systemd brings it back, and what was acknowledged is answered."""

import random

from load import AT_RISK, Stream
from rig import want


def check(rig):
    guest, dice, kills = rig.guest, random.Random(rig.options.seed), 2 if rig.quick else 8
    at_risk = 0
    with rig.work("kill") as (broker, load):
        with Stream(load, window=200):
            for kill in range(kills):
                goal = len(load.answers) + dice.randint(10, 60)
                load.wait(lambda: len(load.answers) >= goal and len(load.at_risk(broker)) >= AT_RISK, "work in the store", 300)
                before, restarts = rig.pid(), int(rig.show("NRestarts"))
                guest.sh(f"kill -9 {before}")
                at_risk += len(load.at_risk(broker))
                guest.until(f'[ "$(systemctl show picket -P NRestarts)" -gt {restarts} ]', f"restart {kill + 1}")
                rig.until_active()
                want(rig.pid() != before, "the daemon was not killed")
        count = load.settle()
    want(at_risk > 0, "no job was acknowledged and unanswered at any kill: this proves nothing")
    return f"{kills} kills, {count} jobs, {at_risk} acknowledged and unanswered at a kill, {load.repeated} results came again"
