//! What makes two arrivals the same job.

use picket_core::job::Digest;
use sha2::{Digest as _, Sha256};

use crate::ports::{Content, Face, InStream, Request};

/// What makes two arrivals the same job: model, form of the answer, and content.
pub(super) fn digest(request: &Request) -> Digest {
    let mut hash = Sha256::new();
    hash.update(request.model.as_bytes());
    hash.update([0, u8::from(matches!(request.reply.face, Face::Oip { .. }))]);
    if let Content::Raw { dtype, shape, .. } = &request.content {
        // The same bytes as another tensor are another job.
        hash.update(format!("{dtype:?} {shape:?}"));
    }
    if request.in_stream != InStream::default() {
        // Two chunks of silence are two jobs.
        hash.update(format!("{:?}", request.in_stream));
    }
    if matches!(request.content, Content::Image { .. }) {
        // A tensor of the same bytes is another job.
        hash.update("image");
    }
    let (first, second) = request.content.parts();
    hash.update((first.len() as u64).to_le_bytes());
    hash.update(first);
    if let Some(second) = second {
        hash.update(second);
    }
    hash.finalize().into()
}
