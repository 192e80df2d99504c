"""An answer moves a line of the board's GPIO chip, as the kernel sees it; a line that somebody else holds is said to be busy."""

import contextlib

from rig import want

LINE = 2
# Long enough to be seen from a slow guest.
PULSE_MS = 5000
OUTPUT = f"""
[[output]]
name = "lamp"
model = "digits"
chip = "gpiochip0"
line = {LINE}
label = "{{label}}"
pulse_ms = {PULSE_MS}
deadline_ms = 3600000
safe = "low"
"""
RULES = "dpkg -L picket | grep '/70-picket-devices.rules$'"


def kernel_says(level, line=LINE):
    """Not Picket, and not the library that it uses: the kernel's own list of lines, numbered from the chip's first one on."""
    first = "$(sed -nE 's/^gpiochip0: GPIOs ([0-9]+)-.*/\\1/p' /sys/kernel/debug/gpio)"
    return f'grep -qE "gpio-$(({first} + {line})) .*[|]picket *[)] {level}" /sys/kernel/debug/gpio'


@contextlib.contextmanager
def open_chip(rig):
    """The board's lines are Picket's, by the package's drop-in and rules."""
    rules = rig.guest.sh(RULES, check=False)
    want(rules, "the package has no rules for udev")
    rig.guest.sh(f"cp {rules} /etc/udev/rules.d/ && udevadm control --reload && udevadm trigger --settle --subsystem-match=gpio")
    with rig.drop_in("gpio.conf"):
        yield


def saw(load, code):
    return lambda: any(kind == "event" and code in str(said) for kind, said in load.events)


def check(rig):
    guest = rig.guest
    seven = next(number for number, answer in enumerate(rig.digits.own) if answer["label"] == "7")
    other = next(number for number, answer in enumerate(rig.digits.own) if answer["label"] == "3")
    output = OUTPUT.format(label="7")
    # Without the drop-in the chip is not there for it, and it serves all the same.
    with rig.work("gpio-closed", output) as (_, load):
        load.send(seven)
        load.settle()
        # In its log: at the start there is no link yet that could carry an event.
        guest.until(rig.logged("output/no-line"), "output/no-line without the drop-in", 120)
    with open_chip(rig):
        with rig.work("gpio", output) as (_, load):
            guest.until(kernel_says("out lo"), "the line is held, low", 60)
            load.send(other)
            load.settle()
            want(guest.works(kernel_says("out lo")), "a 3 has moved the line that waits for a 7")
            load.send(seven)
            guest.until(kernel_says("out hi"), "the line goes high", 60)
            guest.until(kernel_says("out lo"), "the line goes low again", 60)
            load.settle()
        guest.sh("systemctl stop picket")
        want(not guest.works(kernel_says("out lo")), "the line is still held by a daemon that has ended")
        guest.sh(f"systemd-run -q --unit lamp-holder gpioset --mode=signal gpiochip0 {LINE}=0")
        guest.until("grep -q gpioset /sys/kernel/debug/gpio", "somebody else holds the line", 60)
        with rig.work("gpio-busy", output) as (_, load):
            load.send(seven)
            load.settle()
            guest.until(rig.logged("output/busy"), "output/busy", 120)
            guest.sh("systemctl stop lamp-holder")
            load.wait(saw(load, "output/back"), "output/back", 120)
            load.send(seven)
            guest.until(kernel_says("out hi"), "the line goes high after it is back", 60)
            load.settle()
    return f"pulses of {PULSE_MS} ms on line {LINE} of gpiochip0 as the kernel sees it, no-line, busy and back"
