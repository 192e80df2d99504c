"""The figures of `run` as text, for people."""

PARTS = ["wire", "board", "fleet", "edge", "camera"]


def ms(value, digits=2):
    return "—" if value is None else f"{value:.{digits}f} ms"


def wire_text(rows):
    lines = ["**From the last byte of a question to the last byte of its verdict**, one node, one question at a time, hydraulic-pump. The node is the crate's",
             "uplink in a process of its own on a pty. A pty has no baud rate: the bytes were paced to 1,000,000 Bd (ten bits each, in packets of 64 as USB",
             "hands them over; a frame's end at once), both ways. A window is eight readings of 60 samples; a job is the same cycle as floats in one frame.",
             "The echo is a process that answers a frame of that size with 32 bytes on a pty of its own, asked in turn: what line, kernel and the measuring take.",
             "Picket's share is the rest.", "",
             "| store | question | on the line before | p50 | p99 | echo p50 | echo p99 | Picket's share, p50 | of it inferring (mean) | until decided (mean) |", "|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        echo, waited = row["echo"], row["waited"]
        own = waited["p50_ms"] - echo["p50_ms"]
        lines.append(f"| {row['store']} | {'window of readings' if row['kind'] == 'readings' else 'job'} | {ms(row['line']['p50_ms'], 1)} | {ms(waited['p50_ms'])} | {ms(waited['p99_ms'])} | "
                     f"{ms(echo['p50_ms'])} | {ms(echo['p99_ms'])} | {ms(own)} ({100 * own / waited['p50_ms']:.0f} %) | {ms(row['daemon_mean_ms']['infer'])} | {ms(row['daemon_mean_ms']['total'])} |")
    sizes = {row["kind"]: row["frame_bytes"] for row in rows}
    lines += ["", f"{rows[0]['waited']['count']} of each; a reading's frame has {sizes['readings']} bytes, a job's {sizes['job']:,}. Frames that were sent again: {max(row['repeated'] for row in rows)}. The last two are the daemon's own means",
              "over both kinds (`picket_job_seconds`), from when it had read the frame; a durable verdict leaves when the result is on the disk, which comes after."]
    return lines


def board_text(found):
    if "skipped" in found:
        return [f"With the node in QEMU: not measured here, {found['skipped']}."]
    of = lambda kind: f"p50 {ms(found[kind]['p50_ms'])}, p99 {ms(found[kind]['p99_ms'])} ({found[kind]['count']})"
    return ["**With the firmware in QEMU** (mps2-an386, durable; its UART is not paced, and QEMU's processor wants a whole core, which it had to share): where its wire meets",
            f"the pty, window → verdict {of('readings')}, job → verdict {of('job')}; on the node's own console, job handed over → verdict heard {of('console')}.",
            f"So few make the p99 the worst but one at most. Inferring took {ms(found['daemon_mean_ms']['infer'])} of it, and {ms(found['daemon_mean_ms']['total'])} passed until the decision (means)."]


def fleet_text(rows):
    lines = ["**Sixteen nodes at once**, each on a pty of its own, asking without pause (a window's eight readings, the same cycle as a job, at most 8 answers outstanding):", "",
             "| store | lines | frames/s taken | answers/s | CPU of the daemon | frames lost | answers lost | told twice | sent again | busy |", "|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row['store']} | {'paced to 1 MBd' if row['baud'] else 'as fast as a pty'} | {row['frames_per_s']:,.0f} | {row['answers_per_s']:,.0f} | {100 * row['cpu_share']:.0f} % of a core | "
                     f"{row['frames_lost']} | {row['unanswered']} of {row['asked']:,} | {row['told_twice']} | {row['repeated']} | {row['busy']} |")
    failed = sum(row["failed"] + row["refused"] for row in rows)
    codes = sorted({code for row in rows for code, count in row["link_failures"].items() if count})
    paced = next(row for row in rows if row["baud"])
    # Ten bits a byte.
    most = paced["nodes"] * paced["baud"] / 10 / (paced["bytes"] / paced["frames"])
    return lines + ["", f"Sixteen full lines of 1 MBd carry {most:,.0f} such frames a second beside their receipts. Failed or refused: {failed}. The daemon counted "
                    f"{'nothing else' if not codes else ', '.join(f'`{code}`' for code in codes)} on the lines."]


def edge_text(rows):
    lines = ["**From a job to the line that moves**: digits over HTTP on loopback, an `[[output]]` that makes a pulse for each answer. The line is a *file* with a time stamp",
             "for each change; a real GPIO chip, whose ioctl takes the write's place, was not measured.", "",
             "| store | job → edge p50 | p99 | job → result p50 | p99 | edge → result p50 | daemon: arrived → decided p50 |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        to_edge, to_result = row["job_to_edge"], row["job_to_result"]
        lines.append(f"| {row['store']} | {ms(to_edge['p50_ms'], 3)} | {ms(to_edge['p99_ms'], 3)} | {ms(to_result['p50_ms'], 3)} | {ms(to_result['p99_ms'], 3)} | "
                     f"{ms(row['edge_to_result']['p50_ms'], 3)} | {ms(row['daemon_total']['p50_ms'], 3)} |")
    return lines + ["", f"{rows[0]['job_to_edge']['count']} jobs each. With the durable store the edge waits until the job is on the disk, and the result until it is there itself, too."]


def camera_text(found):
    if "skipped" in found:
        return [f"A camera: not measured here, {found['skipped']}."]
    lines = [f"**A camera of {found['fps']} frames a second**, 224 × 224 JPEG ({found['jpeg_bytes'] / 1024:.0f} KiB) from an `exec` source, int8 MobileNetV2, `durable = false`, results to mosquitto:", "",
             "| what is done with the frames | CPU of the daemon | by thread | frames | answered | replaced | decode and prepare | infer |", "|---|---|---|---|---|---|---|---|"]
    for row in found["rows"]:
        threads = ", ".join(f"`{name}` {100 * share:.1f} %" for name, share in sorted(row["threads"].items(), key=lambda item: -item[1]))
        what = "all answered" if row["what"] == "answered" else "only split (`max_fps = 0.1`)"
        lines.append(f"| {what} | {100 * row['cpu_share']:.1f} % of a core | {threads} | {row['frames']:.0f} | {row['answered']:.0f} | {row['replaced']:.0f} | "
                     f"{ms(row['prepare_mean_ms'])} | {ms(row['infer_mean_ms'])} |")
    answered = found["rows"][0]
    thread = sum(share for name, share in answered["threads"].items() if name.startswith("infer"))
    part = answered["infer_mean_ms"] / (answered["infer_mean_ms"] + answered["prepare_mean_ms"])
    return lines + ["", f"The thread that infers decodes and prepares as well; divided as the daemon's clock divides its time, inference takes {100 * thread * part:.1f} % of a core, decoding and",
                    f"preparing {100 * thread * (1 - part):.1f} %, everything else in the daemon {100 * (answered['cpu_share'] - thread):.1f} %. (Times by a clock run on while other work has the core; shares of processor time do not.)"]


TEXT = {"wire": wire_text, "board": board_text, "fleet": fleet_text, "edge": edge_text, "camera": camera_text}


def markdown(report):
    on = report["machine"]
    before, after = report["load_average"]
    nice = f", priority {report['nice']}" if report["nice"] else ""
    lines = [f"`tests/bench/hands/run`, {on['date']}, {on['cpu']}, {on['cores']} cores; build `{report['build']}`{nice}; load average before {before}, after {after}",
             "(the nodes' own process never sleeps, which alone makes 1). Daemon and echo on core 0, nodes, clients and QEMU on the last one.", ""]
    for part in PARTS:
        if part in report:
            lines += [*TEXT[part](report[part]), ""]
    return "\n".join(lines[:-1])
