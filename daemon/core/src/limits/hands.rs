//! Of sources and outputs.

use super::DELIVERY_WINDOW;
use crate::time::Span;

/// Sources of one daemon.
pub const SOURCES: usize = 16;
/// Jobs of a source with a trigger that are in work at a time; without one it is one.
pub const SOURCE_TRIGGERED: usize = 8;
/// Edges of a trigger that nobody has looked at yet.
pub const SOURCE_EDGES: usize = 16;
/// Sensors of one source.
pub const SOURCE_SENSORS: usize = 8;
/// A sample that comes later than so many of its periods has left a gap.
pub const SAMPLE_PERIODS: u32 = 3;
/// Ends of jobs that may wait for one source: all rows that can be at a transport, and all jobs that can be refused.
pub const SOURCE_ENDS: usize = 2 * DELIVERY_WINDOW;
/// Bytes of a frame. A source holds one in work, one that waits, and one that is being read.
pub const SOURCE_FRAME_BYTES: usize = 32 << 20;
/// Outputs of one daemon.
pub const OUTPUTS: usize = 64;
/// The run loop says so often that it is there …
pub const OUTPUT_ATTEND: Span = Span::from_millis(1_000);
/// … and when it has not for so long, outputs go into their safe state.
pub const OUTPUT_PATIENCE: Span = Span::from_millis(10_000);
/// Longest pulse of one, and longest time that it holds what was set.
pub const OUTPUT_SPAN_MAX: Span = Span::from_millis(3_600_000);
/// Wait before a line that is not there, or taken, is tried again; doubles …
pub const OUTPUT_RETRY: Span = Span::from_millis(250);
/// … up to this.
pub const OUTPUT_RETRY_MAX: Span = Span::from_millis(10_000);
/// Files that a folder is looked at for at once; more wait until these are gone …
pub const SOURCE_FILES: usize = 4_096;
/// … and those of them that are jobs.
pub const SOURCE_FILES_UNDER_WAY: usize = 8;
/// Bytes that are read at once of what a command writes.
pub const SOURCE_READ_BYTES: usize = 64 << 10;
/// Bytes that are kept of a command's complaints.
pub const SOURCE_COMPLAINT_BYTES: usize = 1 << 10;
/// A command that is to end has so long before it is killed.
pub const SOURCE_END_WAIT: Span = Span::from_millis(1_000);
/// Wait before a source is tried again; doubles …
pub const SOURCE_RETRY: Span = Span::from_millis(500);
/// … up to this. Who has worked for so long begins with the shortest wait again.
pub const SOURCE_RETRY_MAX: Span = Span::from_millis(30_000);
