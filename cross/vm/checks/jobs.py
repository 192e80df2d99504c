"""Jobs through the guest's own broker, from outside: each answer is what the model says on this machine."""

import contextlib

from load import Load
from rig import want


def check(rig):
    guest = rig.guest
    guest.sh("systemctl restart mosquitto")
    with contextlib.closing(Load(rig.digits, guest.broker_port, "jobs")) as load:
        rig.configure(1883, host="127.0.0.1")
        rig.until_online(load)
        count = 40 if rig.quick else 300
        for _ in range(count):
            load.send()
        load.settle()
        sources = {document["source"] for answers in load.answers.values() for document, _ in answers.values()}
        want(sources == {"local"}, f"answers from {sources}, with nobody to ask")
    return f"{count} jobs, all as on this machine, median {load.median_ms():.0f} ms under this burst"
