"""The service becomes ready after a start and after a reboot; the times are systemd's."""

from rig import want


def check(rig):
    guest = rig.guest
    rig.restart()
    started = rig.ready_s()
    boot_id = guest.sh("cat /proc/sys/kernel/random/boot_id")
    guest.shut_down()
    guest.boot()
    want(guest.sh("cat /proc/sys/kernel/random/boot_id") != boot_id, "the guest did not start anew")
    rig.until_active()
    return f"ready {started:.2f} s after a start, {rig.ready_s():.2f} s after its start at boot"
