//! ONNX files that nobody means well: the classes of public advisories (external data that leads elsewhere: CVE-2022-25882,
//! CVE-2024-27318, CVE-2026-27489; sizes that are not what the data is: tract#2390; dimensions, nesting and repetition beyond
//! all measure), and what a bad cable makes of a good file.

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::onnx::{
    FLOAT, Graph, INT64, Message, external, floats, graph_attribute, int_attribute, ints, ints_attribute, model,
    model_with, node, tensor, tensor_attribute, value,
};

/// One file.
#[derive(Clone, Debug)]
pub struct Hostile {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// The code that the look before decoding gives it; `None`: it looks well.
    pub seen: Option<&'static str>,
}

const BROKEN: Option<&str> = Some("model/broken");
const LARGE: Option<&str> = Some("model/too-large");
const EXTERNAL: Option<&str> = Some("model/external-data");

/// A power of two that no machine has as bytes.
const HUGE: i64 = 1 << 40;

/// Everything that can be told apart from a model, or dies trying.
pub fn all() -> Vec<Hostile> {
    let mut all = Vec::new();
    for group in [no_model(), elsewhere(), sizes(), bombs(), shapes_of_graphs(), functions(), types()] {
        all.extend(group.into_iter().map(|(name, bytes, seen)| Hostile { name, bytes, seen }));
    }
    all
}

type Files = Vec<(&'static str, Vec<u8>, Option<&'static str>)>;

fn no_model() -> Files {
    let graph = Graph::through(&[2], vec![node("Relu", &["x"], &["y"], &[])]).message();
    vec![
        ("empty", Vec::new(), BROKEN),
        ("text", b"This is not a model at all.\n".to_vec(), BROKEN),
        ("zeros", vec![0; 4_096], BROKEN),
        ("ones", vec![0xff; 4_096], BROKEN),
        ("no-graph", Message::default().int(1, 8).0, BROKEN),
        ("a-group", vec![0x0b, 0x0c], BROKEN),
        ("endless-number", vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], BROKEN),
        (
            "length-beyond-the-end",
            Message::default().bytes(2, "x").0.into_iter().chain([0x3a, 0xff, 0x7f]).collect(),
            BROKEN,
        ),
        ("two-graphs", Message::default().message(7, &graph).message(7, &graph).0, BROKEN),
        ("empty-graph", Message::default().int(1, 8).message(7, &Message::default()).0, BROKEN),
    ]
}

fn elsewhere() -> Files {
    let at =
        |tensor: Message| model(&Graph::through(&[2], vec![node("Add", &["x", "w"], &["y"], &[])]).with(vec![tensor]));
    let location = |path: &str| at(external("w", &[2], path));
    let inside = Graph {
        nodes: vec![node("Constant", &[], &["c"], &[tensor_attribute("value", &external("", &[2], "w.bin"))])],
        outputs: vec![value("c", FLOAT, &[2])],
        ..Graph::default()
    };
    let branch = node("If", &["b"], &["y"], &[graph_attribute("then_branch", &inside.message())]);
    let sparse =
        Message::default().message(1, &external("v", &[1], "../x")).message(2, &ints("i", &[1], &[0])).int(3, 2);
    let sparse = Graph::through(&[2], vec![node("Relu", &["x"], &["y"], &[])]).message().message(15, &sparse);
    vec![
        ("external-up", location("../../../../../../etc/passwd"), EXTERNAL),
        ("external-nested-up", location("sub/../../../etc/passwd"), EXTERNAL),
        ("external-absolute", location("/etc/passwd"), EXTERNAL),
        ("external-link", location("link.bin"), EXTERNAL),
        ("external-pipe", location("/dev/stdin"), EXTERNAL),
        ("external-no-location", at(tensor("w", FLOAT, &[2]).int(14, 1)), EXTERNAL),
        ("external-with-data", at(external("w", &[2], "w.bin").bytes(9, [0; 8])), EXTERNAL),
        ("external-in-a-branch", model(&Graph::through(&[2], vec![branch])), EXTERNAL),
        ("external-sparse", model_with(&sparse, &[]), EXTERNAL),
    ]
}

/// Tensors that are not what they say.
fn sizes() -> Files {
    let with =
        |tensor: Message| model(&Graph::through(&[2], vec![node("Add", &["x", "w"], &["y"], &[])]).with(vec![tensor]));
    let raw = |dims: &[i64], bytes: usize| with(tensor("w", FLOAT, dims).bytes(9, vec![0; bytes]));
    let face = |dims: &[i64]| model(&Graph::through(dims, vec![node("Relu", &["x"], &["y"], &[])]));
    vec![
        ("raw-data-short", raw(&[2], 4), BROKEN),
        ("raw-data-long", raw(&[2], 64), BROKEN),
        ("no-data", with(tensor("w", FLOAT, &[2])), BROKEN),
        ("huge-without-data", with(tensor("w", FLOAT, &[HUGE])), LARGE),
        ("huge-dimension", raw(&[HUGE], 8), LARGE),
        ("product-overflows", raw(&[1 << 33, 1 << 33, 1 << 33], 8), LARGE),
        ("product-wraps-to-zero", raw(&[1 << 32, 1 << 32], 0), LARGE),
        ("negative-dimension", raw(&[-2], 8), BROKEN),
        ("least-dimension", raw(&[i64::MIN], 8), BROKEN),
        ("two-negative-dimensions", raw(&[-1, -2], 8), BROKEN),
        ("seventeen-dimensions", raw(&[1; 17], 4), LARGE),
        (
            "a-million-dimensions",
            with(Message::default().bytes(1, vec![1; 1 << 20]).int(2, FLOAT).bytes(8, "w")),
            LARGE,
        ),
        ("huge-input", face(&[HUGE]), LARGE),
        ("huge-batch", face(&[1 << 20, 1 << 20]), LARGE),
        ("unknown-type", with(tensor("w", 99, &[2]).bytes(9, [0; 8])), BROKEN),
        ("long-name", with(floats(&"w".repeat(1 << 20), &[1], &[1.0])), LARGE),
    ]
}

/// Little that becomes much.
fn bombs() -> Files {
    let of = |node: Message, initializers: Vec<Message>| model(&Graph::through(&[2], vec![node]).with(initializers));
    let wide = || ints("s", &[2], &[1 << 20, 1 << 20]);
    let filled = || node("ConstantOfShape", &["s"], &["y"], &[]);
    let constant = node("Constant", &[], &["s"], &[tensor_attribute("value", &wide())]);
    let listed = node("Constant", &[], &["s"], &[ints_attribute("value_ints", &[1 << 20, 1 << 20])]);
    let two = |first: Message| model(&Graph::through(&[2], vec![first, filled()]));
    let number = |name: &str, value: i64| ints(name, &[], &[value]);
    let range = |delta| vec![number("a", 0), number("b", i64::MAX), number("c", delta)];
    let many: Vec<Message> = (0..64).map(|i| node("ConstantOfShape", &["s"], &[&format!("y{i}")], &[])).collect();
    let shape = || ints_attribute("shape", &[HUGE]);
    vec![
        ("fill", of(filled(), vec![wide()]), LARGE),
        ("fill-by-a-node", two(constant), LARGE),
        ("fill-by-a-list", two(listed), LARGE),
        ("fill-negative", of(filled(), vec![ints("s", &[1], &[-8])]), BROKEN),
        ("fill-often", model(&Graph::through(&[2], many).with(vec![ints("s", &[1], &[32 << 20])])), LARGE),
        ("expand", of(node("Expand", &["x", "s"], &["y"], &[]), vec![wide()]), LARGE),
        ("tile", of(node("Tile", &["x", "s"], &["y"], &[]), vec![ints("s", &[1], &[HUGE])]), LARGE),
        ("one-hot", of(node("OneHot", &["x", "s", "x"], &["y"], &[]), vec![number("s", HUGE)]), LARGE),
        ("range", of(node("Range", &["a", "b", "c"], &["y"], &[]), range(1)), LARGE),
        ("range-of-nothing", of(node("Range", &["a", "b", "c"], &["y"], &[]), range(0)), BROKEN),
        ("noise", of(node("RandomNormal", &[], &["y"], &[shape()]), vec![]), LARGE),
        ("pad", of(node("Pad", &["x", "s"], &["y"], &[]), vec![ints("s", &[2], &[HUGE, HUGE])]), LARGE),
        (
            "pad-by-attribute",
            of(node("MaxPool", &["x"], &["y"], &[ints_attribute("pads", &[HUGE, HUGE])]), vec![]),
            LARGE,
        ),
        ("resize", of(node("Resize", &["x", "", "", "s"], &["y"], &[]), vec![wide()]), LARGE),
        ("fill-computed", fill_computed(), None),
        ("kernel", kernel(), None),
        ("double-40-times", doubled(40), None),
    ]
}

/// The shape of the bomb is computed by the model, so nobody sees it who does not compute. An engine that folds constants
/// fills it while it loads, in spite of the small input.
fn fill_computed() -> Vec<u8> {
    let nodes = vec![
        node("Mul", &["a", "b"], &["s"], &[]),
        node("ConstantOfShape", &["s"], &["big"], &[]),
        node("ReduceSum", &["big"], &["sum"], &[int_attribute("keepdims", 0)]),
        node("Add", &["x", "sum"], &["y"], &[]),
    ];
    model(&Graph::through(&[2], nodes).with(vec![ints("a", &[1], &[1 << 20]), ints("b", &[1], &[1 << 20])]))
}

/// A window of 64 million elements over four: an engine that lists the elements of a window runs out of memory, and a process
/// that does so while it loads ends.
fn kernel() -> Vec<u8> {
    const SIDE: i64 = 8_192;
    let attributes = [ints_attribute("kernel_shape", &[SIDE, SIDE]), ints_attribute("pads", &[SIDE / 2; 4])];
    model(&Graph::through(&[1, 1, 2, 2], vec![node("MaxPool", &["x"], &["y"], &attributes)]))
}

/// One value beside itself, again and again.
fn doubled(times: usize) -> Vec<u8> {
    let concat = |i: usize| {
        let (from, to) = (format!("v{i}"), format!("v{}", i + 1));
        node("Concat", &[&from, &from], &[&to], &[int_attribute("axis", 0)])
    };
    let mut nodes: Vec<Message> = (0..times).map(concat).collect();
    nodes.push(node("ReduceSum", &[&format!("v{times}")], &["sum"], &[int_attribute("keepdims", 0)]));
    nodes.push(node("Add", &["x", "sum"], &["y"], &[]));
    model(&Graph::through(&[2], nodes).with(vec![floats("v0", &[2], &[1.0, 2.0])]))
}

fn shapes_of_graphs() -> Files {
    let chain = |nodes: Vec<Message>| model(&Graph::through(&[2], nodes));
    let relu = |from: &str, to: &str| node("Relu", &[from], &[to], &[]);
    let identities: Vec<Message> = (0..70_000).map(|i| relu(&format!("v{i}"), &format!("v{}", i + 1))).collect();
    let parts = model(&Graph::through(&[2], vec![relu("x", "y")]));
    let parts: Vec<u8> = parts.into_iter().chain([0x72, 0x00].into_iter().cycle().take(6 << 20)).collect();
    let twice = |tensor: Message| model(&Graph::through(&[2], vec![relu("x", "y")]).with(vec![tensor.clone(), tensor]));
    let inputs = Graph { inputs: vec![value("x", FLOAT, &[2]); 2], ..Graph::through(&[2], vec![relu("x", "y")]) };
    vec![
        ("waits-for-itself", chain(vec![relu("y", "y")]), BROKEN),
        ("cycle", chain(vec![relu("b", "a"), relu("a", "b"), relu("x", "y")]), BROKEN),
        ("two-initialisers", twice(floats("w", &[1], &[1.0])), BROKEN),
        ("two-inputs", model(&inputs), BROKEN),
        ("made-twice", chain(vec![relu("x", "y"), relu("x", "y")]), BROKEN),
        ("made-and-given", chain(vec![relu("x", "x")]), BROKEN),
        ("seventy-thousand-nodes", chain(identities), LARGE),
        ("millions-of-parts", parts, LARGE),
        ("nested-17", nested(17), LARGE),
        ("nested-100", nested(100), LARGE),
        ("nested-3000", nested(3_000), LARGE),
        ("nobody-makes-it", chain(vec![relu("nothing", "y")]), None),
        ("unknown-operator", chain(vec![node("Obliterate", &["x"], &["y"], &[])]), None),
        ("long-chain", chain(long_chain(10_000)), None),
    ]
}

/// Nothing but long: an engine that looks at all nodes for each of them takes its time.
pub fn tedious() -> Vec<u8> {
    model(&Graph::through(&[2], long_chain(60_000)))
}

fn long_chain(nodes: usize) -> Vec<Message> {
    let name = |i: usize| {
        if i == 0 {
            "x".to_owned()
        } else if i == nodes {
            "y".to_owned()
        } else {
            format!("v{i}")
        }
    };
    // Each a new tangent, so that nothing merges them; the types of the last one do not fit.
    let kind = |i: usize| if i + 1 == nodes { "Obliterate" } else { "Tan" };
    (0..nodes).map(|i| node(kind(i), &[&name(i)], &[&name(i + 1)], &[])).collect()
}

/// Branches in branches.
fn nested(depth: usize) -> Vec<u8> {
    let mut graph = Graph { outputs: vec![value("y", FLOAT, &[2])], ..Graph::default() };
    graph.nodes.push(node("Relu", &["x"], &["y"], &[]));
    let mut inner = graph.message();
    for _ in 0..depth {
        let branch = node("If", &["b"], &["y"], &[graph_attribute("then_branch", &inner)]);
        inner = Graph { nodes: vec![branch], outputs: vec![value("y", FLOAT, &[2])], ..Graph::default() }.message();
    }
    model_with(&inner, &[])
}

fn functions() -> Files {
    let call = |name: &str, from: &str, to: &str| node(name, &[from], &[to], &[]).bytes(7, "own");
    let function = |name: &str, body: Vec<Message>| {
        let head = Message::default().bytes(1, name).bytes(4, "x").bytes(5, "y");
        head.all(7, &body).bytes(10, "own")
    };
    let main = |name: &str| Graph::through(&[2], vec![call(name, "x", "y")]).message();
    let tenfold = |i: usize| {
        let steps = (0..10).map(|step| call(&format!("f{}", i + 1), &format!("v{step}"), &format!("v{}", step + 1)));
        function(&format!("f{i}"), steps.collect())
    };
    let laughs: Vec<Message> = (0..9).map(tenfold).collect();
    let both = [function("a", vec![call("b", "x", "y")]), function("b", vec![call("a", "x", "y")])];
    vec![
        ("function-calls-itself", model_with(&main("f"), &[function("f", vec![call("f", "x", "y")])]), BROKEN),
        ("functions-call-one-another", model_with(&main("a"), &both), BROKEN),
        ("a-billion-laughs", model_with(&main("f0"), &laughs), LARGE),
        ("two-functions", model_with(&main("f"), &[function("f", vec![]), function("f", vec![])]), BROKEN),
    ]
}

fn types() -> Files {
    let mut sequence = Message::default();
    for _ in 0..1_000 {
        sequence = Message::default().message(4, &Message::default().message(1, &sequence));
    }
    let deep = Message::default().bytes(1, "x").message(2, &sequence);
    let deep = Graph { inputs: vec![deep], ..Graph::through(&[2], vec![node("Relu", &["x"], &["y"], &[])]) };
    let add =
        |tensor: Message| model(&Graph::through(&[2], vec![node("Add", &["x", "w"], &["y"], &[])]).with(vec![tensor]));
    let words = tensor("w", 8, &[2]).bytes(6, "one").bytes(6, "two");
    let conv = node(
        "Conv",
        &["x", "w"],
        &["y"],
        &[ints_attribute("strides", &[0, 0]), ints_attribute("dilations", &[-1, -1])],
    );
    let conv = Graph::through(&[1, 1, 4, 4], vec![conv]).with(vec![floats("w", &[1, 1, 2, 2], &[1.0; 4])]);
    vec![
        ("types-in-types", model(&deep), LARGE),
        ("dimension-in-parentheses", parentheses(), LARGE),
        ("a-float-and-a-number", add(ints("w", &[2], &[1, 2])), None),
        ("words", add(words), None),
        ("shapes-do-not-fit", add(floats("w", &[3], &[1.0; 3])), None),
        ("no-strides", model(&conv), None),
        ("reshape-to-nothing", reshape(&[-1, -1, 0]), None),
        ("reshape-beyond", reshape(&[i64::MAX, 2]), LARGE),
        (
            "input-of-words",
            model(&Graph {
                inputs: vec![value("x", 8, &[2])],
                ..Graph::through(&[2], vec![node("Relu", &["x"], &["y"], &[])])
            }),
            None,
        ),
        (
            "gather-beyond",
            model(&Graph::through(&[2], vec![node("Gather", &["x", "w"], &["y"], &[])]).with(vec![ints(
                "w",
                &[2],
                &[1 << 40, -9],
            )])),
            None,
        ),
        (
            "split-of-a-number",
            model(&Graph {
                inputs: vec![value("x", INT64, &[])],
                ..Graph::through(&[], vec![node("Split", &["x"], &["y"], &[int_attribute("axis", 7)])])
            }),
            None,
        ),
    ]
}

/// Engines that know names for dimensions know formulas, too, and parse them by recursion.
pub fn parentheses() -> Vec<u8> {
    let dim = Message::default().bytes(2, "(".repeat(15_000));
    let tensor = Message::default().int(1, FLOAT).message(2, &Message::default().message(1, &dim));
    let input = Message::default().bytes(1, "x").message(2, &Message::default().message(1, &tensor));
    model(&Graph { inputs: vec![input], ..Graph::through(&[2], vec![node("Relu", &["x"], &["y"], &[])]) })
}

fn reshape(shape: &[i64]) -> Vec<u8> {
    let dims = [i64::try_from(shape.len()).unwrap()];
    model(&Graph::through(&[2], vec![node("Reshape", &["x", "s"], &["y"], &[])]).with(vec![ints("s", &dims, shape)]))
}

/// A file, cut off at every sixteenth.
pub fn cut(file: &[u8]) -> Vec<Vec<u8>> {
    (0..16).map(|part| file[..file.len() * part / 16].to_vec()).collect()
}

/// The same file with some bits the other way round, mostly among the first, where its structure is.
pub fn flipped(file: &[u8], seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut chance = StdRng::seed_from_u64(seed);
    let flip = |_| {
        let mut bytes = file.to_vec();
        for _ in 0..chance.random_range(1..=4) {
            let within = if chance.random_bool(0.7) { bytes.len().min(1_024) } else { bytes.len() };
            let at = chance.random_range(0..within);
            bytes[at] ^= 1 << chance.random_range(0..8);
        }
        bytes
    };
    (0..count).map(flip).collect()
}
