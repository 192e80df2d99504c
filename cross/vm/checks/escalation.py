"""Doubtful jobs are asked about at a Picket on this side; while that is away they are answered locally, and corrected later."""

from guest import free_port
from rig import HOST, want


def check(rig):
    port = free_port()
    more = (
        '[escalation]\nproviders = ["hq"]\nprivacy = "ok"\naudit_rate = 0.0\n'
        f'[[provider]]\nname = "hq"\nkind = "oip"\nurl = "http://{HOST}:{port}"\nmodel = "digits-large"\ntimeout_ms = 60000\n'
    )
    # Half of them are digits about which the two models differ.
    own, bigger = rig.digits.own, rig.digits.large
    same = [number for number in rig.digits.doubtful if label(own, number) == label(bigger, number)]
    other = [number for number in rig.digits.doubtful if label(own, number) != label(bigger, number)]
    half = 3 if rig.quick else 10
    doubtful = same[:half] + other[:half]
    with rig.work("escalation", more) as (_, load):
        with rig.upstream(port):
            asked = []
            for begin in range(0, len(doubtful), PROVIDER_CALLS):
                asked += [load.send(number) for number in doubtful[begin : begin + PROVIDER_CALLS]]
                load.settle()
            for job in asked:
                document = load.answers[job][1][0]
                want(document["source"] == "hq", f"{job} is doubtful, and {document['source']} answered: {document['reason']}")
                want(document["answer"]["label"] == large(rig.digits, load, job), f"{job} is not what digits-large says")
        # Away: the answer comes all the same, says why, and is not the last word.
        away = [load.send(number) for number in doubtful]
        load.settle()
        for job in away:
            document = load.answers[job][1][0]
            want(document["source"] == "local", f"{job} was answered by {document['source']}, which is away")
            want(document["reason"] in REASONS and not document["final"], f"{job}: {document['reason']}, final {document['final']}")
        # Back: what it says differently is told as a second revision, and nothing else is.
        wrong = [job for job in away if differs(rig.digits, load, job)]
        want(wrong, "the two models say the same of all these digits: this proves nothing")
        with rig.upstream(port):
            load.wait(lambda: all(2 in load.answers[job] for job in wrong), "corrections", 300)
            for job in wrong:
                want(load.answers[job][2][0]["answer"]["label"] == large(rig.digits, load, job), f"{job} was corrected wrongly")
        load.settle()
    return f"{len(asked)} answered upstream, {len(away)} locally while it was away, {len(wrong)} of these corrected later"


# As in daemon/core/src/limits.rs: who comes while so many questions are under way is answered here, and asked about later.
PROVIDER_CALLS = 8
REASONS = ("LOCAL_UNCERTIFIED_LINK", "LOCAL_UNCERTIFIED_DEADLINE")


def label(answers, number):
    return answers[number]["label"]


def large(digits, load, job):
    return label(digits.large, load.asked[job][0])


def differs(digits, load, job):
    return label(digits.own, load.asked[job][0]) != large(digits, load, job)
