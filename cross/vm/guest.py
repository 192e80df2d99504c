"""The ARM guest: a virtual board with a disk of its own, started, watched and cut off from its power."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
# An emulated board on two cores that do something else as well is slow: these only end what hangs.
BOOT_LIMIT_S = 900
COMMAND_LIMIT_S = 300


class GuestError(Exception):
    """The guest did not do what it was told; the message says what."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Guest:
    """`with Guest(image, logs) as guest:` boots; the image itself is never written to."""

    def __init__(self, image, logs):
        self.image, self.logs = pathlib.Path(image), pathlib.Path(logs)
        # Sockets have short names, so not below the logs.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="picket-vm."))
        self.disk = self.folder / "disk.qcow2"
        self.ssh_port, self.broker_port = free_port(), free_port()
        self.uart = self.folder / "uart"
        self.qemu = None
        self.boots = 0
        self.clock, self.more_options = "utc", ""
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.image / "disk.raw", self.disk, "8G"],
            check=True,
        )

    def __enter__(self):
        try:
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.power_cut()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Power on. The disk's cache is a volatile one: what the guest has not flushed goes with a power cut, because QEMU
        keeps it, or the table that says where it lies, in its own memory."""
        self.boots += 1
        shell = f"hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22"
        command = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1024"]
        command += ["-accel", "tcg,thread=multi,tb-size=256", "-display", "none", "-rtc", f"base={self.clock}"]
        command += ["-serial", f"file:{self.logs}/console-{self.boots}.log", "-monitor", "none"]
        command += ["-kernel", self.image / "kernel", "-initrd", self.image / "initrd"]
        command += ["-append", "root=/dev/vda ro console=ttyAMA0 net.ifnames=0 quiet " + self.more_options]
        command += ["-drive", f"if=none,id=disk,format=qcow2,cache=writeback,file={self.disk}"]
        command += ["-device", "virtio-blk-pci,drive=disk,romfile="]
        command += ["-netdev", f"user,id=control,net=10.0.2.0/24,{shell}"]
        command += ["-device", "virtio-net-pci,netdev=control,mac=52:54:00:00:00:02,romfile="]
        command += ["-netdev", f"user,id=work,net=10.0.3.0/24,hostfwd=tcp:127.0.0.1:{self.broker_port}-10.0.3.15:1883"]
        command += ["-device", "virtio-net-pci,netdev=work,mac=52:54:00:00:00:03,romfile="]
        command += ["-device", "virtio-rng-pci", "-device", "qemu-xhci"]
        # A serial adapter that is plugged in while somebody holds the other end.
        command += ["-chardev", f"socket,id=uart,path={self.uart},server=on,wait=off"]
        command += ["-device", "usb-serial,chardev=uart"]
        command += ["-qmp", f"unix:{self.folder}/qmp,server=on,wait=off"]
        log = open(self.logs / "qemu.log", "ab")
        self.qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()

    def boot(self):
        """Power on, and wait for the shell. Returns the seconds until then."""
        begun = time.monotonic()
        self.start()
        self.wait_for_shell()
        return time.monotonic() - begun

    def wait_for_shell(self):
        end = time.monotonic() + BOOT_LIMIT_S
        while True:
            if self.qemu.poll() is not None:
                raise GuestError(f"QEMU ended with {self.qemu.returncode}; see qemu.log")
            try:
                # The port is open as soon as QEMU runs; the guest's shell greets first.
                with socket.create_connection(("127.0.0.1", self.ssh_port), timeout=20) as probe:
                    if probe.recv(4) == b"SSH-":
                        break
            except OSError:
                pass
            if time.monotonic() > end:
                raise GuestError(f"no shell within {BOOT_LIMIT_S} s; see console-{self.boots}.log")
            time.sleep(0.3)
        self.sh("true")

    def ssh(self, *more):
        options = {
            "ControlMaster": "auto", "ControlPath": self.folder / "control", "ControlPersist": "yes", "LogLevel": "ERROR",
            "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "BatchMode": "yes", "ConnectTimeout": 120,
        }  # fmt: skip
        command = ["ssh", "-F", "none", "-i", self.image / "key", "-p", str(self.ssh_port)]
        for key, value in options.items():
            command += ["-o", f"{key}={value}"]
        return [*command, *more]

    def sh(self, script, check=True, limit_s=COMMAND_LIMIT_S, stdin=b""):
        """Runs a shell script in the guest, as root; what it printed. With `check` a failure is an error."""
        try:
            done = subprocess.run(
                self.ssh("root@127.0.0.1", script), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                timeout=limit_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise GuestError(f"not done within {limit_s} s: {script}") from None
        said = done.stdout.decode(errors="replace")
        if check and done.returncode != 0:
            raise GuestError(f"`{script}` ended with {done.returncode}: {said}{done.stderr.decode(errors='replace')}".strip())
        return said.strip()

    def works(self, script):
        """Whether a shell script ends with 0."""
        return self.sh(f"({script}) >/dev/null 2>&1 && echo yes || echo no") == "yes"

    def put(self, path, content):
        """Writes a file in the guest."""
        content = content.encode() if isinstance(content, str) else content
        self.sh(f"cat > '{path}'", stdin=content)

    def until(self, script, what, limit_s=COMMAND_LIMIT_S):
        """Waits until a shell script ends with 0; looks twice a second, in the guest."""
        turns = limit_s * 2
        loop = f"for turn in $(seq {turns}); do if {script}; then exit 0; fi; sleep 0.5; done >/dev/null 2>&1; exit 9"
        try:
            self.sh(loop, limit_s=limit_s * 4)
        except GuestError as error:
            more = "" if " ended with 9:" in str(error) else f" ({error})"
            raise GuestError(f"{what}: not within {limit_s} s{more}") from None

    def qmp(self, command, **arguments):
        """One command to QEMU itself."""
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(f"{self.folder}/qmp")
            lines = wire.makefile("rw")
            lines.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(request) + "\n")
                lines.flush()
                while "return" not in (answer := json.loads(lines.readline())):
                    if "error" in answer:
                        raise GuestError(f"QEMU refuses {command}: {answer['error']}")
        return answer["return"]

    def forget_shell(self):
        subprocess.run(self.ssh("-O", "exit", "root@127.0.0.1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (self.folder / "control").unlink(missing_ok=True)

    def power_cut(self):
        """From one instruction to the next there is no guest."""
        if self.qemu and self.qemu.poll() is None:
            os.kill(self.qemu.pid, signal.SIGKILL)
            self.qemu.wait()
        self.forget_shell()

    def shut_down(self):
        """As its owner would do it."""
        self.sh("systemctl start --no-block --job-mode=replace-irreversibly poweroff.target", check=False)
        self.forget_shell()
        try:
            self.qemu.wait(BOOT_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise GuestError(f"still on {BOOT_LIMIT_S} s after poweroff") from None

    def keep_journal(self, name):
        """The guest's journal since its last copy, into the logs."""
        (self.logs / f"journal-{name}.log").write_text(
            self.sh("journalctl --no-pager -o short-monotonic --cursor-file=/var/tmp/cursor 2>&1", check=False, limit_s=600)
        )
