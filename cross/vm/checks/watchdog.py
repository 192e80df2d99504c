"""A daemon that is stopped (SIGSTOP) is brought back by systemd's watchdog."""

from load import Stream
from rig import want


def check(rig):
    guest = rig.guest
    with rig.work("watchdog") as (_, load):
        with Stream(load, per_second=2):
            load.wait(lambda: len(load.answers) >= 5, "answers before", 300)
            pid = rig.pid()
            stopped_s = float(guest.sh(f"kill -STOP {pid}; cut -d ' ' -f 1 /proc/uptime"))
            guest.until(
                f'[ "$(systemctl show picket -P MainPID)" != {pid} ] && systemctl is-active --quiet picket', "a new daemon", 300
            )
            back_s = int(rig.show("ActiveEnterTimestampMonotonic")) / 1e6 - stopped_s
            said = guest.sh("journalctl -u picket --no-pager -o cat -b | grep -c 'Watchdog timeout' || true")
            want(int(said) > 0, "the daemon came back, but not by the watchdog")
        count = load.settle()
    return f"ready again {back_s:.1f} s after SIGSTOP, {count} jobs"
