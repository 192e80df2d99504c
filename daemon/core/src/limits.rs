//! Every number that bounds a queue, a table or a wait. A queue that is not here does not exist (I8).

use crate::time::Span;

mod hands;

pub use hands::*;

/// Job ids that are remembered for deduplication; the oldest goes first.
pub const SEEN_IDS: usize = 65_536;
/// A job that was running when the daemon died, so many times, is poison: it is not run again.
pub const ATTEMPTS: u32 = 3;
/// Finished results that are kept for repetition, of those ids; the oldest goes first.
pub const KEPT_RESULTS: usize = 4_096;
/// Bytes of finished results that are kept for repetition.
pub const KEPT_RESULT_BYTES: usize = 32 << 20;
/// Kept results that go with each transaction where the disk was full.
pub const KEPT_RESULTS_FORGOTTEN: usize = 64;
/// One part in so many of what the store holds goes at once where the disk is full and the oldest go for the newest.
pub const EVICTED_PART: u64 = 16;
/// A store that does not answer for so long hangs: the watchdog is not fed any more.
pub const STORE_PATIENCE: Span = Span::from_millis(10_000);
/// Jobs that one transaction of the store takes: one sync for all of them.
pub const GROUP_COMMIT: usize = 64;
/// Confirmations that may wait for a transaction of their own …
pub const CONFIRMS: usize = 64;
/// … and how long they wait for one that is made anyway.
pub const CONFIRM_WAIT: Span = Span::from_millis(200);
/// Bytes of results that stay in memory for their delivery; what is beyond is read from the store when its turn comes.
pub const FRESH_RESULT_BYTES: usize = 2 << 20;
/// Payloads from this size on are files of their own beside the store's file.
pub const BLOB_BYTES: usize = 64 << 10;
/// The store's page cache.
pub const STORE_CACHE_BYTES: usize = 2 << 20;
/// Held back on the disk for the store, so that a full one can still drain.
pub const STORE_RESERVE_BYTES: u64 = 4 << 20;
/// Dead letters that are kept for `picket dead`; the oldest goes first, counted.
pub const DEAD_LETTERS: usize = 1_000;
/// A result whose consumer sends no receipt (`confirm = "receipt"`) is sent again after this, doubled each time …
pub const RECEIPT_WAIT: Span = Span::from_millis(30_000);
/// … up to this.
pub const RECEIPT_WAIT_MAX: Span = Span::from_millis(3_600_000);
/// Boxes of one answer: what has more is no usable output.
pub const BOXES: usize = 300;
/// Answered jobs about which a provider is still to be asked; the least valuable goes first, counted.
pub const INQUIRIES: usize = 10_000;
/// Bytes of their inputs.
pub const INQUIRY_BYTES: u64 = 64 << 20;
/// Those among them that the lottery has drawn; beyond it, one of them goes by lot.
pub const AUDITS: usize = 1_000;
/// Fresh cases of the lottery that a suspended certificate waits for before there is another, at least …
pub const RECERTIFY_CASES: u64 = 500;
/// … and how many are kept at most.
pub const FRESH_CASES: usize = 5_000;
/// An inquiry is worth half as much after so long …
pub const INQUIRY_HALF_LIFE: Span = Span::from_millis(3_600_000);
/// … and is dropped after this.
pub const INQUIRY_AGE: Span = Span::from_millis(7 * 24 * 3_600_000);
/// Least gain that an inquiry is ordered by.
pub const INQUIRY_GAIN_MIN: f64 = 1e-3;
/// Calls at one provider that inquiries may take while jobs wait for it: a fifth, so that live traffic has the rest …
pub const INQUIRY_CALLS_BESIDE: usize = PROVIDER_CALLS / 5;
/// … and while none does.
pub const INQUIRY_CALLS: usize = PROVIDER_CALLS / 2;
/// … and while the board is hot.
pub const INQUIRY_CALLS_HOT: usize = 1;
/// A provider that no job has asked for so long has no live traffic.
pub const LIVE_TRAFFIC: Span = Span::from_millis(10_000);
/// Result rows that may be at a transport without its confirmation.
pub const DELIVERY_WINDOW: usize = 256;
/// Inputs that may wait for the run loop.
pub const INBOX: usize = 4_096;
/// Inputs that the run loop takes in one go before it acts.
pub const INBOX_BURST: usize = 64;
/// Lines of the log about one thing …
pub const LOG_BURST: u32 = 10;
/// … in so long a time; the others are counted …
pub const LOG_WINDOW: Span = Span::from_millis(60_000);
/// … and so many things are told apart.
pub const LOG_COMPLAINTS: usize = 256;
/// Jobs handed to an inference pool ahead of a free worker, so that a worker never waits for the loop.
/// Models with `when_full = "newest-wins"` get none: a frame that is handed over can no longer be replaced.
pub const PREFETCH_PER_WORKER: usize = 8;
/// An inference that takes so many times its model's default deadline never ends …
pub const STUCK_FACTOR: u32 = 10;
/// … but none is given up sooner than after this.
pub const STUCK_MIN: Span = Span::from_millis(2_000);
/// Streams of one model whose samples or states are kept; the one that is silent longest goes first, counted …
pub const STREAMS: usize = 256;
/// … and their bytes.
pub const STREAM_BYTES: usize = 16 << 20;
/// A stream that brings nothing for so long begins anew, unless the bundle says otherwise.
pub const STREAM_AGE: Span = Span::from_millis(60_000);
/// Longest that a bundle may ask for.
pub const STREAM_AGE_MAX: Span = Span::from_millis(24 * 3_600_000);
/// Windows that one job may complete: the model runs for each.
pub const WINDOWS_PER_JOB: usize = 4_096;
/// Bytes of one window.
pub const WINDOW_BYTES: usize = 4 << 20;
/// Bytes of the outputs of one job's windows.
pub const WINDOW_OUTPUT_BYTES: usize = 64 << 20;
/// Points of a spectrum's transform.
pub const SPECTRUM_POINTS: usize = 1 << 16;
/// States of one model.
pub const STATES: usize = 64;
/// Threads given up, all models together; one more, and the process starts anew: each may burn a core.
pub const STUCK_THREADS: usize = 4;
/// Work that no inference thread takes for so long, beyond the longest that an inference may take: the threads are gone.
/// The watchdog is not fed any more.
pub const WORKERS_PATIENCE: Span = Span::from_millis(10_000);
/// How often inference threads are looked after while they work.
pub const STUCK_CHECK: Span = Span::from_millis(1_000);
/// Inference threads of one model.
pub const WORKERS_PER_MODEL: usize = 64;
/// Default number of jobs that wait for one model.
pub const MODEL_QUEUE: usize = 64;
/// Most jobs that a configuration may let wait for one model.
pub const MODEL_QUEUE_MAX: usize = 65_536;
/// Models of one daemon.
pub const MODELS: usize = 64;
/// Plans that one model keeps compiled, one per input shape.
pub const PLANS_PER_MODEL: usize = 4;
/// Lines that may wait for the egress ledger; one more request does not leave.
pub const LEDGER_QUEUE: usize = 256;
/// Lines that one sync of the ledger takes.
pub const LEDGER_GROUP: usize = 32;
/// Bytes of one line of the ledger.
pub const LEDGER_LINE_BYTES: usize = 16 << 10;
/// A file of the ledger of this size gets no more lines …
pub const LEDGER_FILE_BYTES: u64 = 4 << 20;
/// … and so many older ones are kept; the oldest goes first, counted.
pub const LEDGER_FILES: usize = 15;
/// Damaged ledgers that are kept aside; with one more nothing leaves until somebody has looked at them.
pub const LEDGERS_ASIDE: usize = 4;
/// Redaction steps of one model.
pub const REDACTION_STEPS: usize = 16;
/// Regions of one redaction step, and names of one.
pub const REDACTION_REGIONS: usize = 16;
/// Tensors that a line of the ledger names.
pub const LEDGER_TENSORS: usize = 16;
/// Requests under way at one provider.
pub const PROVIDER_CALLS: usize = 8;
/// Default deadline of a job that brings none, and that its model gives none.
pub const DEADLINE: Span = Span::from_millis(30_000);
/// Longest deadline that a job may ask for.
pub const DEADLINE_MAX: Span = Span::from_millis(24 * 3_600_000);
/// The provider is given up this long before the job's deadline, so that the local answer still arrives in time …
pub const ANSWER_MARGIN: Span = Span::from_millis(20);
/// … or this part of the whole deadline, whichever is smaller.
pub const ANSWER_MARGIN_DIVISOR: u64 = 10;
/// Wait before a store operation that failed is tried again.
pub const STORE_RETRY: Span = Span::from_millis(250);
/// Wait after a receiver refused a row; doubles with every further refusal …
pub const REFUSED_PAUSE: Span = Span::from_millis(1_000);
/// … up to this.
pub const REFUSED_PAUSE_MAX: Span = Span::from_millis(60_000);
/// Tries of a row that its receiver forbids, before it is given up.
pub const UNAUTHORISED_TRIES: u32 = 5;
/// A connection is given up after one patience without an answer; the next ones get twice as long, so often at most.
pub const PATIENCE_DOUBLINGS: u32 = 4;
/// Bytes of a job id.
pub const JOB_ID_BYTES: usize = 128;
/// Bytes of the input that a dead letter shows.
pub const DEAD_LETTER_BYTES: usize = 256;
/// Records that may wait for the log of decisions; one more is dropped, counted …
pub const DECISION_QUEUE: usize = 4_096;
/// … and so many are written together.
pub const DECISION_GROUP: usize = 256;
/// Bytes of one record of it; a larger one is dropped, counted.
pub const DECISION_BYTES: usize = 1 << 20;
/// A file of it of this size gets no more records.
pub const DECISION_FILE_BYTES: u64 = 8 << 20;
/// Least size of a log of decisions.
pub const DECISIONS_MIN_BYTES: u64 = 1 << 20;
/// Logs of other versions that are kept beside it.
pub const DECISION_LOGS_ASIDE: usize = 9;
/// Labelled cases that may wait to be kept; one more is dropped, counted.
pub const KEEP_QUEUE: usize = 64;
/// Default for the largest message in or out.
pub const MAX_PACKET_BYTES: usize = 1 << 20;
/// Largest HTTP body.
pub const MAX_BODY_BYTES: usize = 64 << 20;
/// Largest answer that a provider may give.
pub const MAX_PROVIDER_BYTES: usize = 1 << 20;
/// Largest model file.
pub const MAX_MODEL_BYTES: u64 = 512 << 20;
/// Memory of the process that proves a model, at least …
pub const PROOF_BYTES: u64 = 512 << 20;
/// … and so much more for each byte of the model's file: as read, decoded, and laid out for the processor.
pub const PROOF_BYTES_PER_MODEL_BYTE: u64 = 8;
/// A proof takes no longer than this …
pub const PROOF_WAIT: Span = Span::from_millis(30_000);
/// … and this for each MiB of the model's file.
pub const PROOF_WAIT_PER_MIB: Span = Span::from_millis(2_000);
/// Stack of a proof: an eighth less than the threads have that run the model later.
pub const PROOF_STACK_BYTES: usize = 7 << 18;
/// Files that the process has open which proves a model.
pub const PROOF_FILES: u64 = 16;
/// Bytes of what that process says, and of what it complains.
pub const PROOF_SAID_BYTES: u64 = 64 << 10;
/// Nodes of one ONNX file, all graphs together, and when its functions are written out.
pub const ONNX_NODES: usize = 65_536;
/// Tensors of one.
pub const ONNX_TENSORS: usize = 65_536;
/// Messages and texts of one.
pub const ONNX_PARTS: usize = 2 << 20;
/// Elements of its tensors, and again of what its operators make of constants.
pub const ONNX_ELEMENTS: usize = 512 << 20;
/// Graphs inside one another, types inside one another, functions that call one another.
pub const ONNX_DEPTH: usize = 16;
/// Bytes of a name in it; converters chain the names of layers that they fuse.
pub const ONNX_NAME_BYTES: usize = 16 << 10;
/// Bytes of a dimension that is written as an expression; who parses it goes as deep as it is nested.
pub const ONNX_DIM_BYTES: usize = 1 << 10;
/// Inputs and outputs of one.
pub const ONNX_FACES: usize = 1_024;
/// Bytes of one file of golden vectors, packed and unpacked.
pub const MAX_GOLDEN_BYTES: u64 = 64 << 20;
/// Arrays in one file of golden vectors.
pub const GOLDEN_ARRAYS: usize = 64;
/// Golden vectors of one bundle.
pub const GOLDEN_VECTORS: usize = 64;
/// Conditions of `If` nodes that are looked into when a plan is made of a model.
pub const FOLDED_IFS: usize = 1024;
/// Bytes of one file of labelled cases, packed and unpacked.
pub const MAX_LABELLED_BYTES: u64 = 1 << 30;
/// Labelled cases that a calibration takes.
pub const LABELLED_CASES: usize = 1_000_000;
/// Bytes of one file of a configuration, or of one `bundle.toml`.
pub const CONFIG_BYTES: u64 = 256 << 10;
/// Files in `conf.d`.
pub const CONFIG_FILES: usize = 64;
/// Most elements of one tensor.
pub const MAX_TENSOR_ELEMENTS: usize = 64 << 20;
/// Most dimensions of one tensor.
pub const MAX_TENSOR_RANK: usize = 16;
/// Bytes of the `parameters` of an inference request, and of its list of wanted outputs.
pub const OIP_PARAMETERS_BYTES: usize = 64 << 10;
/// Bytes of a job's `group-key`, and of other short texts that a job may bring.
pub const JOB_TEXT_BYTES: usize = 256;
/// Longest wait for a connection to a provider.
pub const PROVIDER_CONNECT: Span = Span::from_millis(1_000);
/// A provider's answer that does not grow for so long has stalled.
pub const PROVIDER_STALL: Span = Span::from_millis(5_000);
/// Tries of one question at one provider.
pub const PROVIDER_ATTEMPTS: u32 = 3;
/// Tokens that pay for a provider's retries, all questions together …
pub const RETRY_TOKENS: u32 = 500;
/// … what one retry costs; it comes back when the retry succeeds …
pub const RETRY_COST: u32 = 14;
/// … and what every question that needed none brings back.
pub const RETRY_REFILL: u32 = 1;
/// Wait before the first retry at most, of which chance takes a part; doubles with the next.
pub const RETRY_WAIT: Span = Span::from_millis(50);
/// How long a provider is left alone that wants fewer questions and does not say until when.
pub const PROVIDER_REST: Span = Span::from_millis(1_000);
/// Longest rest that a provider may ask for.
pub const PROVIDER_REST_MAX: Span = Span::from_millis(3_600_000);
/// Default for the tokens of one question's text, instructions and schema included. A token is at least a byte.
pub const QUESTION_TOKENS: u64 = 16_384;
/// Most tokens that a configuration may allow one question, or its answer.
pub const QUESTION_TOKENS_MAX: u64 = 1 << 20;
/// Pixels of a job's image, which are to fit into one tensor …
pub const JOB_IMAGE_PIXELS: u64 = 20 << 20;
/// … and of one side of it.
pub const JOB_IMAGE_SIDE: u32 = 16_384;
/// Scans of a job's JPEG, each of which may go over all its pixels: encoders make 10.
pub const JPEG_SCANS: usize = 64;
/// Boxes of an image, the surest first, among which those that are one thing are looked for.
pub const BOX_CANDIDATES: usize = 1_000;
/// Pixels of a side of an image that is shown to a provider.
pub const IMAGE_SIDE: usize = 2_048;
/// Bytes of a PNG that is shown to a provider: 5 MB in base64, which is the most that any of them takes.
pub const IMAGE_BYTES: usize = 3_750_000;
/// Bytes of an answer's text that are searched for a label.
pub const LABEL_TEXT_BYTES: usize = 16 << 10;
/// Acks that one connection may hold back at once; advertised to the broker as Receive Maximum.
pub const UNACKED_ARRIVALS: u16 = 1_024;
/// Requests queued in the MQTT client library: a delivery window, an ack for each held arrival, and state messages.
pub const LINK_REQUESTS: usize = DELIVERY_WINDOW + UNACKED_ARRIVALS as usize + 64;
/// Events of this daemon that wait for an MQTT connection; the oldest goes first. A start with everything missing has fewer; an hour of
/// a flapping line has more, and the newest tell enough.
pub const EARLY_EVENTS: usize = 64;
/// Serial ports of one daemon.
pub const SERIAL_PORTS: usize = 16;
/// Frames that may wait for one port; one more is dropped, and what it said is said again.
pub const SERIAL_QUEUE: usize = 64;
/// Nodes on all serial ports …
pub const NODES: usize = 16;
/// … jobs of one of them that are not answered yet, or whose answer has no receipt; one more is refused for now …
pub const NODE_JOBS: usize = 12;
/// … the last ones whose answer it confirmed, which are not taken again …
pub const NODE_CLOSED: usize = 32;
/// … and answers that wait for it, later revisions included: all nodes together fill a delivery window, and no more.
pub const NODE_ROWS: usize = DELIVERY_WINDOW / NODES;
/// Frames that a node may have under way without an acknowledgement.
pub const NODE_WINDOW: u8 = 4;
/// Blocks of a node's readings that wait to be complete, or for an earlier one; one more, and the oldest is given up.
pub const NODE_BLOCKS: usize = 8;
/// A verdict without a receipt is sent again after this, doubled each time …
pub const VERDICT_WAIT: Span = Span::from_millis(250);
/// … up to this.
pub const VERDICT_WAIT_MAX: Span = Span::from_millis(8_000);
/// A node that says nothing for so long is away: its id is free for another port. Three times what it greets by itself.
pub const NODE_SILENCE: Span = Span::from_millis(90_000);
/// A node that says nothing for so long is forgotten, and what is owed to it is dropped, counted.
pub const NODE_FORGOTTEN: Span = Span::from_millis(24 * 3_600_000);
/// A serial port that is away is tried again after this, doubled each time …
pub const SERIAL_REOPEN: Span = Span::from_millis(250);
/// … up to this.
pub const SERIAL_REOPEN_MAX: Span = Span::from_millis(5_000);
/// A port's task says so often that it is there …
pub const SERIAL_TICK: Span = Span::from_millis(5_000);
/// … and when it has not for so long, the watchdog is not fed any more.
pub const SERIAL_PATIENCE: Span = Span::from_millis(15_000);
/// Nodes get this long to send their receipts when the daemon stops.
pub const SERIAL_CLOSE_WAIT: Span = Span::from_millis(1_000);
/// HTTP requests waiting for their answer.
pub const HTTP_WAITERS: usize = 1_024;
/// Open HTTP connections; the next one waits in the kernel until one closes.
pub const HTTP_CONNECTIONS: usize = 1_024;
/// Bytes of all HTTP bodies that are in the house at once; what is beyond is shed.
pub const HTTP_BODIES_BYTES: usize = 2 * MAX_BODY_BYTES;
/// A connection that sends no complete request head for this long is closed, idle ones too.
pub const HTTP_HEAD_WAIT: Span = Span::from_millis(75_000);
/// A body that does not grow for this long is given up.
pub const HTTP_BODY_WAIT: Span = Span::from_millis(10_000);
/// The run loop answers a question about its state in this time, or it is not ready.
pub const HTTP_STATUS_WAIT: Span = Span::from_millis(2_000);
/// Answers get this long to leave when the daemon stops.
pub const HTTP_CLOSE_WAIT: Span = Span::from_millis(2_000);
/// Provider failures in a row that trip its breaker.
pub const BREAKER_FAILURES: u32 = 3;
/// First wait of a tripped breaker before it probes; doubles up to the maximum.
pub const BREAKER_COOLDOWN: Span = Span::from_millis(500);
/// Longest wait of a tripped breaker.
pub const BREAKER_COOLDOWN_MAX: Span = Span::from_millis(30_000);
/// Requests whose gain and cost the price of an escalation is found by, and as many reference values of the calibration.
pub const PRICE_SAMPLES: usize = 512;
/// So often the engine is told the time of day.
pub const WALL_CLOCK: Span = Span::from_millis(60_000);
/// So often the traffic that was seen is written down.
pub const TRAFFIC_SAVED: Span = Span::from_millis(3_600_000);
/// What was too dear is looked at again after so long.
pub const PRICE_AGAIN: Span = Span::from_millis(600_000);
/// New ones among them before the price is found anew.
pub const PRICE_NEWS: usize = 16;
/// Last scores that are compared with those of the calibration.
pub const SCORE_WINDOW: usize = 500;
/// Items that wait for a provider while none can be reached …
pub const BACKLOG_ITEMS: usize = 16_384;
/// … their bytes, which the store holds …
pub const BACKLOG_BYTES: u64 = 64 << 20;
/// … and audits that wait beside them.
pub const BACKLOG_AUDITS: usize = 2_048;
/// Calls that the backlog may save up while live traffic goes first …
pub const BACKLOG_CREDIT_CALLS: f64 = 16.0;
/// … and bytes.
pub const BACKLOG_CREDIT_BYTES: f64 = 4_194_304.0;
/// Groups of frames whose escalation is remembered, so that it is not repeated; the oldest goes first.
pub const DUPLICATE_GROUPS: usize = 1_024;
/// So long one answer about a part stands for its other frames.
pub const DUPLICATE_KEPT: Span = Span::from_millis(600_000);
/// Calls of a provider by which it is judged whether it answers in time …
pub const LATENCIES: usize = 128;
/// … as long as they are not older.
pub const LATENCY_AGE: Span = Span::from_millis(600_000);
/// So often the board's thermal zones are read, at most.
pub const HEAT_PERIOD: Span = Span::from_millis(2_000);
/// Thermal zones of a board that are looked at.
pub const HEAT_ZONES: usize = 32;
/// Least time in a stage of heat before it goes down, unless the configuration says otherwise …
pub const HEAT_DWELL: Span = Span::from_millis(120_000);
/// … the longest that it may ask for …
pub const HEAT_DWELL_MAX: Span = Span::from_millis(3_600_000);
/// … and least time before it goes up once more, below the hard limit.
pub const HEAT_SETTLE: Span = Span::from_millis(15_000);
/// A smaller model answers from this part of the way from the soft to the hard limit on.
pub const HEAT_SMALLER_AT: f64 = 0.5;
/// All is as usual below this part of that way: as far below the soft limit as the hard one is above it.
pub const HEAT_NORMAL_BELOW: f64 = -1.0;
/// A thermal zone that cannot be read for so long is forgotten.
pub const HEAT_BLIND: Span = Span::from_millis(600_000);
/// °C between two readings of a zone beyond which the next one must confirm the second.
pub const HEAT_LEAP_CELSIUS: f64 = 20.0;
/// Coldest reading that can be one, in °C …
pub const HEAT_CELSIUS_MIN: f64 = -40.0;
/// … and the hottest.
pub const HEAT_CELSIUS_MAX: f64 = 150.0;
