"""What README says to do on a Raspberry Pi and on a Jetson, command by command, ends with an answer."""

import json
import subprocess

from rig import CONFIG, ROOT, want

HEADINGS = ("On a Raspberry Pi", "On a Jetson")


def check(rig):
    guest, answers = rig.guest, []
    for heading in HEADINGS:
        command = [ROOT / "cross/readme", heading, "--package", "/opt/picket.deb", "--root"]
        commands = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        # Who reads that has the configuration as the package brings it.
        guest.put("/opt/picket.deb", rig.package.read_bytes())
        guest.sh(f"dpkg-deb --fsys-tarfile /opt/picket.deb | tar -xO .{CONFIG} > {CONFIG}")
        said = guest.sh("DEBIAN_FRONTEND=noninteractive bash -eu", stdin=commands, limit_s=900)
        # curl ends its line with the document, and what comes next begins there.
        documents = [json.JSONDecoder().raw_decode(line)[0] for line in said.splitlines() if line.startswith("{")]
        want(len(documents) == 1, f"{heading}: no answer in {said}")
        # Over MQTT it stands in the answer, over HTTP in the parameters of the Open Inference Protocol.
        answer = documents[0].get("answer") or documents[0].get("parameters") or {}
        want(answer.get("label"), f"{heading}: no label in {documents[0]}")
        want("ready" in said, f"{heading}: not ready: {said}")
        answers.append(answer["label"])
    # One job, one digit.
    want(len(set(answers)) == 1, f"the answers are {answers}")
    return f"{len(answers)} sections, both say {answers[0]}"
