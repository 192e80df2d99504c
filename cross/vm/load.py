"""Work for the guest's Picket and a ledger of it: what was asked, what the broker saw acknowledged, what was answered."""

import collections
import json
import pathlib
import re
import struct
import subprocess
import tempfile
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from guest import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEVICE = "arm-1"
# How far another processor's confidence may lie from this one's.
CONFIDENCE_TOLERANCE = 1e-3
# Well below the threshold of models/digits/calibration.json, 0.714: such answers are escalated on any processor.
DOUBTFUL_BELOW = 0.65

# Jobs that have to be acknowledged and unanswered at the moment of a kill or a cut, or it would prove nothing.
AT_RISK = 5


class LoadError(Exception):
    """Something was lost, answered twice or wrong; the message says what."""


class Broker:
    """A mosquitto on this side, which stays when the guest goes. Its log says what Picket has acknowledged."""

    def __init__(self, logs, name="broker"):
        self.port = free_port()
        self.log = logs / f"{name}.log"
        config = logs / f"{name}.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\nuser root\n"
            "max_queued_messages 100000\nmax_queued_bytes 134217728\nmax_inflight_messages 1000\n"
            f"log_dest file {self.log}\nlog_type all\nlog_timestamp false\n"
        )
        self.log.write_text("")
        self.process = subprocess.Popen(["mosquitto", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while b" running" not in self.log.read_bytes():
            if self.process.poll() is not None or time.monotonic() > end:
                raise LoadError(f"mosquitto does not run: {self.log}")
            time.sleep(0.05)
        self.position, self.rest = 0, ""
        self.sent, self.job_of, self.acknowledged = 0, {}, set()

    def close(self):
        self.process.terminate()
        self.process.wait()

    def read_log(self):
        """Which jobs, by their number in the order of publishing, Picket has acknowledged. A first delivery (d0) is in that
        order; a repeated one has its old packet id."""
        with open(self.log, errors="replace") as log:
            log.seek(self.position)
            lines = (self.rest + log.read()).split("\n")
            self.position = log.tell()
        self.rest = lines.pop()
        for line in lines:
            if found := re.match(r"Sending PUBLISH to picket-\S+ \(d0, q1, r\d, m(\d+), '[^']*/job/", line):
                self.job_of[found[1]] = self.sent
                self.sent += 1
            elif (found := re.match(r"Received PUBACK from picket-\S+ \(Mid: (\d+)", line)) and found[1] in self.job_of:
                self.acknowledged.add(self.job_of.pop(found[1]))
        return self.acknowledged


def infer(picket, bundle, inputs):
    """What `picket infer` of this machine says of each input (bytes): its documents."""
    with tempfile.TemporaryDirectory() as folder:
        files = [pathlib.Path(folder, f"{number}.bin") for number in range(len(inputs))]
        for file, values in zip(files, inputs):
            file.write_bytes(values)
        command = [picket, "infer", ROOT / "models" / bundle, *files, "--json"]
        lines = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    if len(lines) != len(inputs):
        raise LoadError(f"{picket} infer answered {len(lines)} of {len(inputs)} inputs")
    return [json.loads(line) for line in lines]


class Digits:
    """The test split of models/digits, and what the models themselves say of each: this machine's Picket is asked."""

    def __init__(self, picket):
        rows = [line.split(",") for line in (ROOT / "models/digits/test.csv").read_text().splitlines() if line[0].isdigit()]
        self.inputs = [struct.pack("<64f", *map(float, row[1:])) for row in rows]
        self.own = [document["answer"] for document in infer(picket, "digits", self.inputs)]
        self.large = [document["answer"] for document in infer(picket, "digits-large", self.inputs)]
        self.doubtful = [number for number, answer in enumerate(self.own) if answer["confidence"] < DOUBTFUL_BELOW]


class Load:
    """Sends jobs to one broker, and keeps the ledger. Its own session stays with the broker, too."""

    def __init__(self, digits, port, name="load", device=DEVICE):
        self.digits, self.device, self.name = digits, device, name
        self.lock = threading.Condition()
        self.asked, self.answers, self.events = {}, collections.defaultdict(dict), []
        self.problems, self.repeated, self.latencies = [], 0, []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self.client.max_inflight_messages_set(1000)
        self.client.on_message = self.heard
        ready = threading.Event()
        self.client.on_connect = lambda client, *_: client.subscribe([(f"picket/v1/{device}/{topic}", 1) for topic in (
            "result/+", "amend/+", "dead", "event", "loss", "state")])  # fmt: skip
        self.client.on_subscribe = lambda *_: ready.set()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 86_400
        self.client.connect("127.0.0.1", port, keepalive=600, clean_start=False, properties=properties)
        self.client.loop_start()
        if not ready.wait(120):
            raise LoadError(f"no broker on port {port} within 120 s")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()

    def heard(self, _client, _userdata, message):
        kind = message.topic.split("/")[3]
        document = json.loads(message.payload or b"null")
        with self.lock:
            if kind not in ("result", "amend"):
                self.events.append((kind, document))
            elif document.get("id") in self.asked:
                self.enter(document, message.payload)
            self.lock.notify_all()

    def enter(self, document, payload):
        """One answer, into the ledger: the same id and revision has the same bytes, always."""
        job, revision = document["id"], document.get("revision", 1)
        before = self.answers[job].get(revision)
        if before is not None:
            self.repeated += 1
            if before[1] != payload:
                self.problems.append(f"{job} has two different results of revision {revision}")
            return
        self.answers[job][revision] = (document, payload)
        number, sent_at = self.asked[job]
        if revision == 1:
            self.latencies.append(time.monotonic() - sent_at)
        if "error" in document and document["error"]:
            self.problems.append(f"{job} got an error: {document['error']}")
        elif document["source"] == "local":
            own, told = self.digits.own[number], document["answer"]
            if own["label"] != told["label"] or abs(own["confidence"] - told["confidence"]) > CONFIDENCE_TOLERANCE:
                self.problems.append(f"{job}: the model says {own['label']} ({own['confidence']}), told was {told}")

    def send(self, number=None, **properties):
        """One digit as a job; returns its id. `properties` are the job's user properties."""
        with self.lock:
            count = len(self.asked)
            job, number = f"{self.name}-{count}", count % len(self.digits.inputs) if number is None else number
            self.asked[job] = (number, time.monotonic())
        self.publish(job, "application/octet-stream", self.digits.inputs[number], **properties)
        return job

    def publish(self, job, content_type, payload, **properties):
        """A job that is not in the ledger, unless the caller has put it there."""
        about = Properties(PacketTypes.PUBLISH)
        about.ContentType = content_type
        about.UserProperty = [("id", job), *((key.replace("_", "-"), str(value)) for key, value in properties.items())]
        self.client.publish(f"picket/v1/{self.device}/job/digits", payload, qos=1, properties=about)

    def open(self):
        """Jobs without an answer."""
        with self.lock:
            return [job for job in self.asked if job not in self.answers]

    def at_risk(self, broker):
        """Jobs that Picket has acknowledged and not answered: nobody but its store has them."""
        acknowledged = broker.read_log()
        with self.lock:
            return [job for number, job in enumerate(self.asked) if number in acknowledged and job not in self.answers]

    def wait(self, condition, what, limit_s):
        """Waits until `condition()` is true; it is asked after each message, and once a second."""
        end = time.monotonic() + limit_s
        with self.lock:
            while not condition():
                if time.monotonic() > end:
                    raise LoadError(f"{what}: not within {limit_s} s")
                self.lock.wait(1)

    def settle(self, limit_s=600):
        """All that was asked is answered, rightly, and nothing twice differently. Returns the number of jobs."""
        try:
            self.wait(lambda: len(self.answers) == len(self.asked), "all answers", limit_s)
        except LoadError:
            lost = self.open()
            raise LoadError(f"{len(lost)} of {len(self.asked)} jobs lost: {', '.join(lost[:5])} …") from None
        with self.lock:
            if self.problems:
                raise LoadError(f"{len(self.problems)} wrong, the first: {self.problems[0]}")
            return len(self.asked)

    def median_ms(self):
        return sorted(self.latencies)[len(self.latencies) // 2] * 1000 if self.latencies else 0.0


class Stream:
    """`with Stream(load, window=40):` keeps so many jobs asked and unanswered, or sends so many a second."""

    def __init__(self, load, window=40, per_second=None):
        self.load, self.window, self.per_second = load, window, per_second
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.over.is_set():
            if self.per_second:
                self.load.send()
                self.over.wait(1 / self.per_second)
            elif len(self.load.asked) - len(self.load.answers) < self.window:
                self.load.send()
            else:
                self.over.wait(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
