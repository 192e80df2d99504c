//! Stores: where jobs and results stay while they must.
//!
//! [`redb`] keeps them on the disk, [`memory`] as long as the process lives. [`desk`] stands between the run loop, which
//! never waits, and a store that does; [`volatile`] holds what no disk is to see.

pub mod attempts;
mod blobs;
pub mod desk;
pub mod memory;
mod records;
pub mod redb;
mod reserve;
mod volatile;

use std::sync::Arc;

use picket_core::job::{ModelId, TransportId};

/// Models and transports by name, which survive a change of the configuration, and by index, which does not.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub models: Vec<Arc<str>>,
    pub transports: Vec<Arc<str>>,
}

impl Names {
    fn model(&self, name: &str) -> Option<ModelId> {
        self.models.iter().position(|known| **known == *name).map(ModelId)
    }

    /// A transport that is configured no more gets an index of its own: its rows wait for its return.
    fn transport(&self, name: &str) -> TransportId {
        TransportId(self.transports.iter().position(|known| **known == *name).unwrap_or(usize::MAX))
    }

    fn transport_name(&self, id: TransportId) -> &str {
        self.transports.get(id.0).map_or("", |name| name)
    }
}
