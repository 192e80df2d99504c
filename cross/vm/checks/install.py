"""The package installs with apt: user, unit, configuration and a model that proves itself.

The guest has no route to a mirror here, so everything that the package depends on is in its image or it does not install.
"""

from rig import CONFIG, want


def check(rig):
    guest = rig.guest
    version = rig.install()
    want(guest.works("getent passwd picket"), "there is no user picket")
    want(guest.sh("systemctl is-enabled picket", check=False) == "enabled", "the service is not enabled")
    rig.until_active()
    want(guest.sh(f"stat -c %U /proc/{rig.pid()}") == "picket", "the daemon does not run as picket")
    conffiles = guest.sh("dpkg-query -W -f='${Conffiles}' picket")
    want(CONFIG in conffiles, f"{CONFIG} is no conffile of the package: {conffiles}")
    guest.sh(f"cp -n {CONFIG} /opt/picket.toml.packaged")
    checked = guest.sh("picket check")
    want(guest.works("picket status"), "picket status does not reach the daemon")
    # As it comes out of the package, it serves jobs of the broker beside it.
    want("digits" in guest.sh("picket status --json"), f"the packaged configuration serves no digits: {checked}")
    return f"{version}, {guest.sh('stat -c %s /usr/bin/picket')} bytes"
