"""The store's file system is full: nothing that was acknowledged is lost, the rest waits at the broker, and drains later."""

from load import Stream
from rig import want

# A file system of its own, small, in the place of /var/lib/picket.
MOUNT = """
systemctl stop picket
truncate -s 64M /opt/store.img
mkfs.ext4 -q -F -m 0 /opt/store.img
mount -o loop /opt/store.img /var/lib/picket
chown picket:picket /var/lib/picket
chmod 700 /var/lib/picket
"""
UNMOUNT = """
systemctl stop picket
umount /var/lib/picket
rm -f /opt/store.img
"""
FULL = "journalctl -u picket --no-pager -o cat --since @{since} | grep -q store/full"


def check(rig):
    guest = rig.guest
    guest.sh(MOUNT)
    try:
        with rig.work("full-disk") as (broker, load):
            for _ in range(10):
                load.send()
            load.settle()
            since, restarts = guest.sh("date +%s"), rig.show("NRestarts")
            guest.sh("dd if=/dev/zero of=/var/lib/picket/filler bs=64k 2>/dev/null || true; sync")
            # What is free within the store's file still takes jobs, so more and more are sent.
            with Stream(load, window=200):
                guest.until(FULL.format(since=since), "store/full in the log", 300)
                load.wait(lambda: len(load.asked) - len(broker.read_log()) > 20, "jobs that are not acknowledged", 300)
            # What it took it answers, full disk or not; what it did not take it did not acknowledge.
            load.wait(lambda: not load.at_risk(broker), "answers to all that was acknowledged", 300)
            waiting = load.open()
            want(waiting, "the disk is full, and all jobs were answered")
            want(guest.works(rig.page("/status")), "the daemon does not answer on a full disk")
            want(rig.show("NRestarts") == restarts, "the daemon was started anew because the disk was full")
            guest.sh("rm /var/lib/picket/filler")
            count = load.settle()
    finally:
        guest.sh(UNMOUNT)
    return f"{len(waiting)} of {count} jobs waited at the broker while the disk was full, all answered after"
