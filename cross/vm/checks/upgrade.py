"""Upgrade, downgrade, removal and purge with work in the store: nothing is lost, and what was edited stays."""

import contextlib
import pathlib
import re
import subprocess
import tempfile

from load import AT_RISK, Stream
from rig import CONFIG, want

STORE = "/var/lib/picket"


def as_version(package, version, folder):
    """The same package with another version."""
    tree = pathlib.Path(folder, "tree")
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {version}", control.read_text(), flags=re.M))
    made = pathlib.Path(folder, "other.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, made], check=True, stdout=subprocess.DEVNULL)
    return made


APT = "DEBIAN_FRONTEND=noninteractive apt-get {} -y -q picket 2>&1"


@contextlib.contextmanager
def work_in_store(rig, broker, load):
    """Jobs that only the store has, because the way out is cut for as long as this lasts; all are answered after it."""
    with Stream(load, window=200):
        while True:
            load.wait(lambda: len(load.at_risk(broker)) >= AT_RISK, "work in the store", 300)
            rig.guest.sh("tc qdisc add dev eth1 root netem loss 100%")
            if load.at_risk(broker):
                break
            # What was on its way has come; another moment.
            rig.guest.sh("tc qdisc del dev eth1 root")
    try:
        yield
        want(load.at_risk(broker), "there was no work in the store: this proves nothing")
    finally:
        rig.guest.sh("tc qdisc del dev eth1 root")
    rig.until_active()
    load.settle()


def check(rig):
    guest = rig.guest
    version = guest.sh("dpkg-query -W -f='${Version}' picket")
    higher = f"{version}+vm1"
    with tempfile.TemporaryDirectory() as folder, rig.work("upgrade") as (broker, load):
        edited = guest.sh(f"sha256sum {CONFIG}")
        other = as_version(rig.package, higher, folder)
        for package, options, becomes in ((other, "", higher), (None, "--allow-downgrades", version)):
            pid = rig.pid()
            with work_in_store(rig, broker, load):
                want(rig.install(package, options) == becomes, f"apt did not install {becomes}")
            want(rig.pid() != pid, f"{becomes} is installed, and the daemon of before still runs")
            want(guest.sh(f"sha256sum {CONFIG}") == edited, f"{becomes} has changed the configuration that was edited")
        figure = f"{version} → {higher} → {version}"
        if not rig.quick:
            with work_in_store(rig, broker, load):
                remove(guest)
                rig.install()
                guest.sh("systemctl start picket")
            figure += ", removed and back"
        count = load.settle()
    if not rig.quick:
        purge(guest)
        rig.install()
        figure += ", purged"
    return f"{figure}: {count} jobs, none lost"


def remove(guest):
    guest.sh(APT.format("remove"), limit_s=900)
    want(not guest.works("systemctl is-active picket || test -e /usr/bin/picket"), "it is not removed")
    want(guest.works(f"test -n \"$(ls -A {STORE})\" && test -e {CONFIG}"), "removal took the store or the configuration")


def purge(guest):
    guest.sh(APT.format("purge"), limit_s=900)
    want(not guest.works(f"test -e {CONFIG}"), "purge left the configuration")
    # It may hold jobs that were acknowledged: only who says so loses it.
    want(guest.works(f"test -n \"$(ls -A {STORE})\""), "purge took the store without being told to")
