"""The running service's exposure, and that no device is open to it but by a documented drop-in."""

import re

from rig import want

EXPOSURE_LIMIT = 1.5


def check(rig):
    guest = rig.guest
    rig.restart()
    said = guest.sh("systemd-analyze security picket --no-pager", check=False)
    exposure = float(re.search(r"exposure level for picket.service: ([0-9.]+)", said)[1])
    want(exposure <= EXPOSURE_LIMIT, f"exposure {exposure}, at most {EXPOSURE_LIMIT} is promised")
    private, policy, allowed = rig.show("PrivateDevices", "DevicePolicy", "DeviceAllow")
    want(private == "yes" and policy == "closed", f"PrivateDevices={private}, DevicePolicy={policy}")
    # ProtectClock= itself lets the real-time clock be read.
    want(allowed in ("", "char-rtc r"), f"devices are open without a drop-in: {allowed}")
    # As the daemon itself sees it.
    seen = guest.sh(f"nsenter --target {rig.pid()} --mount ls /dev")
    want("gpiochip0" not in seen and "ttyAMA0" not in seen, f"the daemon sees devices: {seen}")
    capabilities = guest.sh(f"grep -E '^Cap(Eff|Bnd):' /proc/{rig.pid()}/status").split()
    want(set(capabilities[1::2]) == {"0" * 16}, f"capabilities: {capabilities}")
    return f"exposure {exposure}"
