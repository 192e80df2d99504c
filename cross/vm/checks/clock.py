"""The clock is set to 1970 and to 2050 while jobs wait in the store, and the board starts in 1970: nothing expires."""

import time

from load import AT_RISK, Stream
from rig import want

A_DAY_S = 86_400
JUMPS = ("1970-01-02 00:00:00", "2050-01-01 00:00:00")


def check(rig):
    guest, at_risk = rig.guest, []
    try:
        with rig.work("clock") as (broker, load):
            for jump in JUMPS:
                with Stream(load, window=200):
                    goal = len(load.answers) + 20
                    load.wait(lambda: len(load.answers) >= goal and len(load.at_risk(broker)) >= AT_RISK, "jobs that only the store has", 300)
                    # One goes on with another clock, the next one finds it so.
                    restarts = int(rig.show("NRestarts"))
                    guest.sh(f"date -s '{jump}' && kill -9 {rig.pid()}")
                    at_risk.append(len(load.at_risk(broker)))
                    guest.until(f'[ "$(systemctl show picket -P NRestarts)" -gt {restarts} ]', "a restart")
                    rig.until_active()
                load.settle()
            want(sum(at_risk) > 0, "no job waited in the store when the clock jumped: this proves nothing")
            if not rig.quick:
                with Stream(load, window=200):
                    load.wait(lambda: len(load.at_risk(broker)) >= AT_RISK, "jobs that only the store has", 300)
                    guest.power_cut()
                at_risk.append(len(load.at_risk(broker)))
                guest.clock = "1970-01-02T00:00:00"
                guest.boot()
                # systemd takes the day of its own making for 1970.
                behind_s = time.time() - int(guest.sh("date +%s"))
                want(behind_s > A_DAY_S, f"the board's clock is {behind_s:.0f} s behind, which is not the past")
                rig.until_active()
            count = load.settle()
    finally:
        guest.clock = "utc"
        guest.sh(f"date -s @{int(time.time())}")
    return f"{count} jobs, {at_risk} waited in the store at the jumps"
