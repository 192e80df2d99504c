"""Upgrade, downgrade, removal and purge with work in the store: nothing is lost, and what was edited stays."""

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


def check(rig):
    guest = rig.guest
    version = guest.sh("dpkg-query -W -f='${Version}' picket")
    higher = f"{version}+vm1"
    with tempfile.TemporaryDirectory() as folder, rig.work("upgrade") as (broker, load):
        edited = guest.sh(f"sha256sum {CONFIG}")
        other = as_version(rig.package, higher, folder)
        for package, options, becomes in ((other, "", higher), (None, "--allow-downgrades", version)):
            pid = rig.pid()
            with Stream(load, window=200):
                load.wait(lambda: len(load.at_risk(broker)) >= AT_RISK, "work in the store", 300)
                want(rig.install(package, options) == becomes, f"apt did not install {becomes}")
            rig.until_active()
            want(rig.pid() != pid, f"{becomes} is installed, and the daemon of before still runs")
            want(guest.sh(f"sha256sum {CONFIG}") == edited, f"{becomes} has changed the configuration that was edited")
            load.settle()
        # Removed with work in the store, which is there when it comes back.
        with Stream(load, window=200):
            load.wait(lambda: len(load.at_risk(broker)) >= AT_RISK, "work in the store", 300)
            guest.sh("DEBIAN_FRONTEND=noninteractive apt-get remove -y -q picket 2>&1", limit_s=900)
        want(not guest.works("systemctl is-active picket") and not guest.works("test -e /usr/bin/picket"), "it is not removed")
        want(guest.works(f"test -n \"$(ls -A {STORE})\" && test -e {CONFIG}"), "removal took the store or the configuration")
        rig.install()
        guest.sh("systemctl start picket")
        count = load.settle()
    guest.sh("DEBIAN_FRONTEND=noninteractive apt-get purge -y -q picket 2>&1", limit_s=900)
    want(not guest.works(f"test -e {CONFIG}"), "purge left the configuration")
    # It may hold jobs that were acknowledged: only who says so loses it (cross/README.md).
    want(guest.works(f"test -n \"$(ls -A {STORE})\""), "purge took the store without being told to")
    rig.install()
    return f"{version} → {higher} → {version}, removed, purged: {count} jobs, none lost"
