"""A microcontroller (the MPS2+ firmware, in a QEMU of its own) on the guest's USB serial adapter: each verdict is the model's own."""

import contextlib
import os
import pathlib
import subprocess
import threading

from load import ROOT, infer
from rig import want

MODEL = "hydraulic-pump"
CYCLES = ROOT / "firmware-profiles/firmware/mps2-an386/cycles/cycles.bin"
CYCLE_BYTES = 8 * 60 * 4
BUNDLE = f"/opt/picket-vm/{MODEL}"


def firmware():
    build = ROOT / "firmware-profiles/firmware/build"
    folder = pathlib.Path(subprocess.run([build, "--path"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    elf = folder / "thumbv7em-none-eabihf/release/mps2-an386"
    if not elf.exists():
        subprocess.run([build, "mps2-an386"], check=True, stdout=subprocess.DEVNULL)
    return elf


def own_answers(picket):
    """What the model says of each cycle on this machine, as the node's console says it; the firmware's handlers.rs."""
    cycles = CYCLES.read_bytes()
    inputs = [cycles[at : at + CYCLE_BYTES] for at in range(0, len(cycles), CYCLE_BYTES)]
    own = []
    for document in infer(picket, MODEL, inputs):
        permille = int(document["answer"]["confidence"] * 1000 + 0.5)
        own.append((document["answer"]["index"], permille, str(document["certified"]).lower()))
    return own


@contextlib.contextmanager
def node(guest, logs):
    """The microcontroller, its UART on the guest's adapter; gives its console's lines."""
    command = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none"]
    command += ["-chardev", f"socket,id=wire,path={guest.uart}", "-serial", "chardev:wire", "-serial", "stdio"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", firmware()]
    with open(logs / "node.log", "w") as errors:
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
    # It says nothing where it is not heard: then it is ended, and with it the wait for its next line.
    limit = threading.Timer(600, qemu.kill)
    limit.start()
    try:
        yield qemu.stdout
    finally:
        limit.cancel()
        qemu.kill()
        qemu.wait()


def check(rig):
    guest, own, wanted = rig.guest, own_answers(rig.picket), 6 if rig.quick else 18
    archive = subprocess.run(["tar", "-C", ROOT / "models", "-c", MODEL], check=True, stdout=subprocess.PIPE).stdout
    guest.sh("mkdir -p /opt/picket-vm && tar -C /opt/picket-vm --no-same-owner -x", stdin=archive)
    with node(guest, rig.logs) as console, rig.drop_in("serial.conf"):
        guest.until("ls /dev/serial/by-id/*", "the adapter is there", 120)
        port = guest.sh("ls /dev/serial/by-id/*")
        section = f'[serial]\n[[serial.port]]\npath = "{port}"\nbaud = 1_000_000\n'
        rig.configure(1883, f'{section}[[model]]\nname = "{MODEL}"\nbundle = "{BUNDLE}"\n', host="127.0.0.1")
        asked, verdicts, killed = {}, {}, False
        while len(verdicts) < wanted:
            line = console.readline()
            want(line, f"the node said nothing more after {len(verdicts)} of {wanted} verdicts")
            words = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if line.startswith("job "):
                asked[words["seq"]] = int(words["cycle"])
            elif line.startswith("verdict "):
                judge(words, asked, verdicts, own)
            if len(verdicts) == wanted // 2 and not killed:
                # In the middle of it; what the node has asked and not heard comes from the store.
                guest.sh(f"kill -9 {rig.pid()}")
                killed = True
    return f"{len(verdicts)} verdicts of {len(own)} cycles over {os.path.basename(port)}, the daemon killed once"


def judge(words, asked, verdicts, own):
    seq = words["seq"]
    want(seq in asked, f"a verdict for job {seq}, which was not asked")
    want(seq not in verdicts, f"job {seq} was told twice")
    want("class" in words, f"job {seq} failed: {words}")
    index, permille, certified = own[asked[seq]]
    told = (int(words["class"]), int(words["confidence_permille"]), words["certified"])
    # One in a thousand more or less: another processor rounds its last bit differently.
    right = told[0] == index and abs(told[1] - permille) <= 1 and told[2] == certified
    want(right, f"job {seq} was told {told}, the model says {own[asked[seq]]}")
    verdicts[seq] = told
