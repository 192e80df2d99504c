"""What the benches share."""
import json, os, pathlib, sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "picket"
# A release build without optimisation across crates: minutes less, and a little slower.
QUICK = {"CARGO_PROFILE_RELEASE_LTO": "false", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
# MLPerf Tiny's models that are there as int8 and as floats.
TWINS = ["ad", "ic", "kws", "vww"]


def log(text):
    print(text, file=sys.stderr, flush=True)


def golden_models(parts):
    """Models with a golden answer, by path below ../shared; all of them, or those with one of `parts` in the path."""
    if not (SHARED / "golden/spec.json").exists():
        raise SystemExit("../shared/golden is absent")
    spec = json.load(open(SHARED / "golden/spec.json"))
    return [e["model"] for e in spec if e.get("golden") and (not parts or any(part in e["model"] for part in parts))]


def short(model):
    return model.removeprefix("models/").removesuffix(".onnx").replace("model_repository/", "")


def put_into(path, mark, text):
    """Replaces what stands between the lines `<!-- mark -->` and `<!-- /mark -->`."""
    before, begin, rest = path.read_text().partition(f"<!-- {mark} -->\n")
    if not begin:
        raise SystemExit(f"{path} has no line <!-- {mark} -->")
    _, end, after = rest.partition(f"<!-- /{mark} -->")
    path.write_text(before + begin + text + "\n" + end + after)
