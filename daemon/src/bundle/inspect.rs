//! Everything that is wrong with a bundle, for who writes one. Whoever serves one needs to know the first thing only.

use std::path::Path;

use picket_core::limits;

use super::{Bundle, BundleError, check, files, files::Folder, golden, manifest, manifest::Manifest};

/// All faults that can be seen without running the model, in the order of the manifest as far as they have one; none if
/// [`Bundle::read`] reads it.
pub fn faults(path: &Path) -> Vec<BundleError> {
    let Err(first) = Bundle::read(path) else { return Vec::new() };
    let mut found = Vec::new();
    if let Ok(folder) = Folder::open(path)
        && let Ok(manifest) = manifest::read(&folder)
    {
        found = of_manifest(&folder, &manifest);
    }
    if !found.contains(&first) {
        found.insert(0, first);
    }
    found
}

fn of_manifest(folder: &Folder, manifest: &Manifest) -> Vec<BundleError> {
    let mut found = check::faults(manifest);
    found.extend(of_model(folder, manifest));
    let declared = check::check(manifest).ok();
    found.extend(golden::faults(folder, manifest, declared.as_ref()));
    if manifest.raw.golden.is_empty()
        && let Some(declared) = &declared
    {
        found.extend(golden::read_all(folder, manifest, declared).err());
    }
    found
}

/// Is the model's file there, and is it the one that the manifest describes?
fn of_model(folder: &Folder, manifest: &Manifest) -> Option<BundleError> {
    let file = check::model_file(manifest).ok()?;
    let model = match folder.read_model(&file, limits::MAX_MODEL_BYTES) {
        Ok(model) => model,
        Err(error) => return Some(error),
    };
    files::expect_sha256(&folder.show(file.name()), &model, manifest.raw.model.sha256.get_ref()).err()
}
