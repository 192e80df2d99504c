//! A file as the content of a job, by its extension.

use std::path::Path;

use bytes::Bytes;

use crate::{bundle::npz, media::Media, oip, ports::Content};

/// `.json` is an Open Inference Protocol request, `.npz` the arrays of all inputs (those named `out…` are left aside),
/// `.jpg`, `.jpeg`, `.png` and `.bmp` an image, anything else a raw tensor.
///
/// # Errors
/// `error[input/unreadable]` or `error[input/undecodable]`.
pub fn content(path: &Path) -> anyhow::Result<Content> {
    let bytes =
        std::fs::read(path).map_err(|why| anyhow::anyhow!("error[input/unreadable]: {}: {why}", path.display()))?;
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let extension = extension.unwrap_or_default();
    Ok(match extension.as_str() {
        "json" => Content::Oip { json: bytes.into(), binary: Bytes::new() },
        "npz" => {
            let arrays = npz::read(&bytes)
                .map_err(|why| anyhow::anyhow!("error[input/undecodable]: {}: {why}", path.display()))?;
            let inputs: Vec<_> =
                arrays.into_iter().filter(|(name, _)| !name.starts_with("out")).map(|(_, t)| t).collect();
            of_tensors(&inputs)
        }
        other => match Media::of_extension(other) {
            Some(media) => Content::Image { bytes: bytes.into(), media },
            None => Content::Raw { bytes: bytes.into(), dtype: None, shape: None },
        },
    })
}

/// These tensors as a request.
pub fn of_tensors(inputs: &[crate::tensor::Tensor]) -> Content {
    let (request, json_len) = oip::encode_request("", serde_json::Map::new(), inputs);
    let mut request = Bytes::from(request);
    let json = request.split_to(json_len);
    Content::Oip { json, binary: request }
}
