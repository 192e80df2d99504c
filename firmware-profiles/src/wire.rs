//! The wire between nodes and gateway: its version. Frames come with the serial transport.

/// Version that frames of this crate will carry in their first byte. No frame is defined yet.
pub const VERSION: u8 = 0;
