"""The link is cut, half-open and lossy while jobs run: nothing is lost, and nothing is answered twice differently."""

from load import Stream
from rig import want

# What is done to the second network card, and how it is undone. Lost on the way out only, the peer still reaches the guest.
TROUBLES = (
    ("half-open", "tc qdisc add dev eth1 root netem loss 100%", "tc qdisc del dev eth1 root", True),
    ("down", "ip link set eth1 down", "ip link set eth1 up", True),
    ("lossy", "tc qdisc add dev eth1 root netem loss 10% delay 100ms 30ms", "tc qdisc del dev eth1 root", False),
)

LINK = """grep -q '"transport":"mqtt","up":false'"""


def check(rig):
    guest, more = rig.guest, 15 if rig.quick else 60
    figures = []
    with rig.work("netem") as (_, load):
        with Stream(load, window=20):
            load.wait(lambda: len(load.answers) >= more, "answers before", 300)
            for name, begin, end, is_cut in TROUBLES:
                # Through the first card, which stays.
                guest.sh(begin)
                try:
                    if is_cut:
                        # Noticed by itself, by silence: nobody tells a machine that its peer is unreachable.
                        guest.until(f"{rig.page('/status')} | {LINK}", f"{name}: the link is seen as down", 120)
                        before = len(load.answers)
                    else:
                        before = len(load.answers)
                        load.wait(lambda: len(load.answers) >= before + more, f"answers while {name}", 600)
                finally:
                    guest.sh(end)
                load.wait(lambda: len(load.answers) >= before + more, f"answers after {name}", 600)
                figures.append(f"{name} {len(load.asked)}")
        count = load.settle()
        want(count > 3 * more, "too few jobs to say anything")
    return f"{count} jobs ({', '.join(figures)} sent by then), {load.repeated} results came again"
