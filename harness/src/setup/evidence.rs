//! What a run keeps of a prepared cell: the facts for the journal, and the image's manifest beside it.

use super::{Base, Prepared, SetupError};
use crate::environments::vm::outer::{Accelerator, Outer};
use images::Origin;
use model::verified::Basis;
use reports::journal::{CellFacts, CellId};
use std::collections::BTreeMap;
use std::path::Path;
use suites::outcome::Component;

/// Copies what is known of the image below the output folder, for readers of the journal: every package, its source package
/// and version, and where it comes from. Gives the file's path there; `None` where there is no image.
///
/// # Errors
/// When it cannot be written.
pub fn keep_manifest(prepared: &Prepared, out: &Path, cell: &CellId) -> Result<Option<String>, SetupError> {
    let Some(manifest) = prepared.manifest() else { return Ok(None) };
    // One for each image: a release's tree and its machine's disk are two.
    let file = format!(
        "images/{}-{}.json",
        cell.to_string().replace([':', '/'], "-"),
        manifest.key.get(..12).unwrap_or(&manifest.key)
    );
    let path = out.join(&file);
    let unwritten = |source| SetupError::Keep { path: path.clone(), source };
    let mut text = serde_json::to_string_pretty(manifest).map_err(|e| unwritten(e.into()))?;
    text.push('\n');
    std::fs::create_dir_all(out.join("images")).and_then(|()| std::fs::write(&path, text)).map_err(unwritten)?;
    Ok(Some(file))
}

/// The evidence of a cell: versions and where they came from, and what the environment provides.
///
/// `runs_kvm` is whether guests run under KVM in it.
pub fn evidence(
    prepared: &Prepared,
    environment: BTreeMap<String, String>,
    candidates: BTreeMap<Component, String>,
    runs_kvm: bool,
    outer: Option<&Outer>,
) -> CellFacts {
    let manifest = prepared.manifest();
    let (basis, accelerator) = match (&prepared.base, outer.map(|o| &o.accelerator)) {
        (Base::Vm { .. }, Some(Accelerator::Kvm)) if runs_kvm => (Basis::Hardware, "kvm in kvm"),
        (Base::Vm { .. }, _) if runs_kvm => (Basis::Emulated, "kvm in tcg"),
        (Base::Host { .. }, _) if runs_kvm => (Basis::Hardware, "kvm"),
        _ => (Basis::Emulated, "tcg"),
    };
    let (image, made, cached) = match &prepared.base {
        Base::Container { image, docker_image } => {
            (docker_image.clone(), Some(image.made), image.origin != Origin::Built)
        }
        Base::Vm { disk } => {
            let key = disk.host.key();
            (format!("disk {}", key.get(..12).unwrap_or(key)), Some(disk.host.made), disk.host.origin != Origin::Built)
        }
        Base::Host { .. } => ("this machine".to_owned(), None, false),
    };
    let versions = &prepared.claims.versions;
    let origins = manifest.iter().flat_map(|m| &m.origins).filter(|o| versions.get(&o.package) == Some(&o.version));
    CellFacts {
        basis,
        accelerator: accelerator.to_owned(),
        versions: versions.clone(),
        suites: origins.map(|o| (o.package.clone(), o.suites.join(", "))).collect(),
        kernel: Some(prepared.claims.kernel.clone()),
        image,
        image_made: made,
        image_cached: cached,
        image_manifest: None,
        image_options: manifest
            .iter()
            .flat_map(|m| &m.accepted_expired)
            .map(|s| format!("accepted the expired Release of {s}"))
            .chain(manifest.iter().filter_map(|m| Some(format!("cloud image sha256:{}", m.cloud_sha256.as_ref()?))))
            .chain(
                manifest
                    .iter()
                    .filter(|m| m.source == images::Source::OciImage)
                    .filter_map(|m| Some(format!("OCI image {}", m.oci_digest.as_ref()?))),
            )
            .collect(),
        environment,
        candidates,
        notes: Vec::new(),
    }
}
