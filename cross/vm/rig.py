"""What a check has to do with: the guest, Picket in it, Pickets and brokers on this side."""

import contextlib
import subprocess
import time

from load import DEVICE, ROOT, Broker, Digits, Load

# This side, as the guest's second network card sees it.
HOST = "10.0.3.2"
CONFIG = "/etc/picket/picket.toml"
BUNDLES = "/usr/share/picket/bundles"
DROP_INS = "/etc/systemd/system/picket.service.d"


class CheckFailed(Exception):
    """What was promised does not hold."""


def want(holds, message):
    """Ends the check unless `holds`."""
    if not holds:
        raise CheckFailed(message)


class Rig:
    def __init__(self, guest, package, picket, logs, options):
        self.guest, self.package, self.picket, self.logs, self.options = guest, package, picket, logs, options
        self.quick = options.quick
        self.digits = Digits(picket)

    # The package

    def install(self, package=None, options=""):
        """apt installs the package, as on any machine; returns its version."""
        self.guest.put("/opt/picket.deb", (package or self.package).read_bytes())
        # The guest reaches no mirror: what the package depends on is there, or it does not install.
        self.guest.sh(f"DEBIAN_FRONTEND=noninteractive apt-get install -y -q {options} /opt/picket.deb 2>&1", limit_s=900)
        return self.guest.sh("dpkg-query -W -f='${Version}' picket")

    @contextlib.contextmanager
    def drop_in(self, name):
        """One of the drop-ins that the package documents, in force."""
        sample = self.guest.sh(f"dpkg -L picket | grep '/picket.service.d/{name}$'", check=False)
        want(sample, f"the package has no sample {name}")
        self.guest.sh(f"install -D -m 644 {sample} {DROP_INS}/{name} && systemctl daemon-reload")
        try:
            yield
        finally:
            self.guest.sh(f"rm {DROP_INS}/{name} && systemctl daemon-reload")

    def tidy(self):
        """What a check that failed may have left behind."""
        self.guest.sh(
            f"tc qdisc del dev eth1 root; ip link set eth1 up; date -s @{int(time.time())}; rm -rf {DROP_INS}; "
            "systemctl daemon-reload; systemctl stop lamp-holder; while umount -l /var/lib/picket; do :; done",
            check=False,
        )

    # Picket in the guest

    def show(self, *names):
        """Properties of the unit, as systemd has them."""
        said = self.guest.sh(f"systemctl show picket {' '.join(f'-p {name}' for name in names)}")
        found = dict(line.split("=", 1) for line in said.splitlines())
        values = [found.get(name, "") for name in names]
        return values[0] if len(names) == 1 else values

    def page(self, path):
        """What the daemon says at a path of its HTTP face: as a script for the guest, which has no client for HTTP."""
        request = f"GET {path} HTTP/1.0\\r\\n\\r\\n"
        return f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/8470; printf \"{request}\" >&3; cat <&3'"

    def logged(self, text):
        """A script for the guest: has the running daemon logged this?"""
        invocation = "_SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID picket)"
        return f"journalctl --no-pager -o cat {invocation} | grep -q '{text}'"

    def pid(self):
        return int(self.show("MainPID"))

    def ready_s(self):
        """From the start of the process to its READY=1, by systemd's monotonic clock."""
        started, ready = self.show("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
        want(int(ready) > int(started) > 0, "the service is not ready")
        return (int(ready) - int(started)) / 1e6

    def until_active(self, limit_s=300):
        self.guest.until("systemctl is-active --quiet picket", "the service is active", limit_s)

    def configure(self, port, more="", host=HOST, model=""):
        """Writes the configuration, with a broker at this port, and starts Picket anew. `model` is of the model's section."""
        self.guest.put(
            CONFIG,
            f'[device]\nid = "{DEVICE}"\n[store]\npath = "/var/lib/picket"\n'
            f'[mqtt]\nurl = "mqtt://{host}:{port}"\nkeep_alive_s = 5\n[http]\nlisten = "127.0.0.1:8470"\n'
            f'[[model]]\nname = "digits"\nbundle = "{BUNDLES}/digits"\nqueue = 2000\ndeadline_ms = 3600000\n{model}{more}',
        )
        self.restart()

    def restart(self):
        # `restart` returns when READY=1 has come, or shows why it has not.
        self.guest.sh("systemctl restart picket || { journalctl -u picket -n 20 --no-pager -o cat; exit 1; }", limit_s=600)

    @contextlib.contextmanager
    def work(self, name, more="", model=""):
        """A broker on this side, the guest's Picket as its client, and a load with its ledger."""
        broker = Broker(self.logs, f"broker-{name}")
        load = None
        try:
            load = Load(self.digits, broker.port, name)
            self.configure(broker.port, more, model=model)
            self.until_online(load)
            yield broker, load
        finally:
            if load:
                load.close()
            broker.close()

    def until_online(self, load, limit_s=300):
        """Waits for the state that Picket publishes when it listens."""
        load.wait(lambda: any(said and said.get("state") == "online" for _, said in load.events), "Picket is online", limit_s)

    # Pickets on this side

    @contextlib.contextmanager
    def upstream(self, port):
        """A bigger Picket on this side: digits-large over HTTP."""
        folder = self.logs / f"upstream-{port}"
        folder.mkdir(exist_ok=True)
        (folder / "picket.toml").write_text(
            f'[device]\nid = "hq"\n[store]\npath = "store"\n[http]\nlisten = "127.0.0.1:{port}"\n'
            f'[[model]]\nname = "digits-large"\nbundle = "{ROOT}/models/digits-large"\n'
        )
        with open(folder / "log", "ab") as log:
            process = subprocess.Popen([self.picket, "run", "--config", folder / "picket.toml"], stdout=log, stderr=log)
        try:
            end = time.monotonic() + 120
            while subprocess.run(
                [self.picket, "status", "--url", f"http://127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ).returncode:
                want(process.poll() is None and time.monotonic() < end, f"the upstream Picket did not start: {folder}/log")
                time.sleep(0.2)
            yield process
        finally:
            process.terminate()
            process.wait()
