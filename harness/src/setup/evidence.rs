//! Evidence that a run stores of a prepared cell: the facts for the journal, and the image's manifest next to it.

use super::{EnvironmentBase, PreparedCell, SetupError};
use crate::environments::vm::outer::{self, OuterQemu};
use crate::level;
use images::ImageOrigin;
use model::verified::Basis;
use reports::journal::{Accelerator, Candidate, CellFacts, CellId, ProbeAnswer};
use std::collections::BTreeMap;
use std::path::Path;
use suites::outcome::Component;

/// Returns where [`keep_manifest`] writes, below the output directory; `None` if there is no image.
pub fn kept_manifest(prepared: &PreparedCell, cell: &CellId) -> Option<String> {
    let manifest = prepared.manifest()?;
    // Each image has its own file: a release's tree and its machine's disk are two images.
    let key = manifest.key.get(..12).unwrap_or(&manifest.key);
    Some(format!("images/{}-{key}.json", cell.to_string().replace([':', '/'], "-")))
}

/// Writes the image's manifest below the output directory, for readers of the journal: every package, its source
/// package and version, and its origin.
///
/// # Errors
/// If the manifest cannot be written.
pub fn keep_manifest(prepared: &PreparedCell, out: &Path, cell: &CellId) -> Result<(), SetupError> {
    let Some((manifest, file)) = prepared.manifest().zip(kept_manifest(prepared, cell)) else { return Ok(()) };
    let path = out.join(file);
    let unwritten = |source| SetupError::Keep { path: path.clone(), source };
    let mut text = serde_json::to_string_pretty(manifest).map_err(|e| unwritten(e.into()))?;
    text.push('\n');
    std::fs::create_dir_all(out.join("images")).and_then(|()| std::fs::write(&path, text)).map_err(unwritten)
}

/// Returns the evidence of a cell: versions and their origin, and the features of the environment.
///
/// `runs_kvm` is true if its guests run under KVM.
pub fn evidence(
    prepared: &PreparedCell,
    environment: BTreeMap<String, ProbeAnswer>,
    candidates: BTreeMap<Component, Candidate>,
    runs_kvm: bool,
    outer: Option<&OuterQemu>,
) -> CellFacts {
    let manifest = prepared.manifest();
    let machine = match &prepared.base {
        EnvironmentBase::Vm { .. } => Some(match outer.map(|outer| &outer.accelerator) {
            Some(outer::MachineAccelerator::Kvm) => Accelerator::Kvm,
            Some(outer::MachineAccelerator::Tcg { .. }) | None => Accelerator::Tcg,
        }),
        EnvironmentBase::Container { .. } | EnvironmentBase::Host { .. } => None,
    };
    let (basis, accelerator) = rests_on(machine.as_ref(), runs_kvm, level::here().basis);
    let (image, made, cached) = match &prepared.base {
        EnvironmentBase::Container { image, docker_image } => {
            (docker_image.clone(), Some(image.made), image.origin != ImageOrigin::Built)
        }
        EnvironmentBase::Vm { disk } => {
            let key = disk.host.key();
            (
                format!("disk {}", key.get(..12).unwrap_or(key)),
                Some(disk.host.made),
                disk.host.origin != ImageOrigin::Built,
            )
        }
        EnvironmentBase::Host { .. } => ("this machine".to_owned(), None, false),
    };
    let versions = &prepared.claims.versions;
    let origins = manifest.iter().flat_map(|m| &m.origins).filter(|o| versions.get(&o.package) == Some(&o.version));
    CellFacts {
        basis,
        accelerator,
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
                    .filter(|m| m.source == images::BaseSource::OciImage)
                    .filter_map(|m| Some(format!("OCI image {}", m.oci_digest.as_ref()?))),
            )
            .collect(),
        environment,
        candidates,
        notes: Vec::new(),
    }
}

/// Returns the basis of guests, and their accelerator: `kvm in tcg`.
///
/// `machine` is the accelerator of the harness's virtual machine in which they run, if any; `level` is the basis of
/// this machine.
fn rests_on(machine: Option<&Accelerator>, runs_kvm: bool, level: Basis) -> (Basis, Accelerator) {
    match (machine, runs_kvm) {
        (_, false) => (Basis::Emulated, Accelerator::Tcg),
        (None, true) => (level, Accelerator::Kvm),
        (Some(Accelerator::Kvm), true) => (level, Accelerator::KvmInKvm),
        (Some(_), true) => (Basis::Emulated, Accelerator::KvmInTcg),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Content;
    use images::manifest::{FORMAT, PackageOrigin};
    use images::{BaseSource, Image, Manifest};
    use model::arch::Arch;
    use model::database::Database;
    use model::package::Package;
    use suites::environment::Claims;

    /// Builds a cell from an image with two packages, one of which the record names.
    fn prepared() -> PreparedCell {
        let release = Database::embedded().record("debian").unwrap().release("13", Arch::X86_64).unwrap();
        let [qemu, libc] = ["qemu-system-x86", "libc6"].map(|name| Package {
            name: name.parse().unwrap(),
            version: "1:10".parse().unwrap(),
            arch: "amd64".into(),
            source: format!("source-of-{name}").parse().unwrap(),
        });
        let origin = |package: &Package| PackageOrigin {
            package: package.name.as_str().parse().unwrap(),
            version: package.version.clone(),
            suites: vec!["trixie".to_owned()],
        };
        let manifest = Manifest {
            format: FORMAT,
            key: "0123456789abcdef".to_owned(),
            request: String::new(),
            distro: "debian".parse().unwrap(),
            version: "13".parse().unwrap(),
            arch: Arch::X86_64,
            source: BaseSource::Bootstrap,
            oci_digest: None,
            cloud_sha256: None,
            derived_from: None,
            made: jiff::Timestamp::UNIX_EPOCH,
            accepted_expired: Vec::new(),
            indexes: Vec::new(),
            requested: Vec::new(),
            origins: vec![origin(&qemu), origin(&libc)],
            packages: vec![qemu, libc],
            owners: Vec::new(),
            timings: Vec::new(),
        };
        let image = Image { dir: "/nowhere".into(), made: manifest.made, origin: ImageOrigin::Built, manifest };
        let claims = Claims {
            versions: [("qemu-system-x86".parse().unwrap(), "1:10".parse().unwrap())].into(),
            ..Claims::of(release, "6.12".parse().unwrap())
        };
        PreparedCell {
            base: EnvironmentBase::Container {
                image: Box::new(image),
                docker_image: "kata-qualify/debian:13".to_owned(),
            },
            holds: Vec::new(),
            claims,
            initramfs: Content::Static(b""),
            files: Vec::new(),
        }
    }

    #[test]
    fn the_whole_manifest_is_kept_with_the_journal() {
        let out = tempfile::tempdir().unwrap();
        let cell: CellId = "debian:13/x86_64/container".parse().unwrap();
        keep_manifest(&prepared(), out.path(), &cell).unwrap();
        let file = kept_manifest(&prepared(), &cell).unwrap();
        assert_eq!(file, "images/debian-13-x86_64-container-0123456789ab.json");
        let manifest: Manifest = serde_json::from_slice(&std::fs::read(out.path().join(file)).unwrap()).unwrap();
        assert_eq!(manifest.package("libc6").unwrap().source, "source-of-libc6");
        assert_eq!(manifest.origins[1].suites, ["trixie"]);
        let nowhere = keep_manifest(&prepared(), Path::new("/proc/nowhere"), &cell).unwrap_err();
        assert!(nowhere.to_string().starts_with("writing /proc/nowhere/images/"), "{nowhere}");
        // This machine has no manifest.
        let host = PreparedCell { base: EnvironmentBase::Host { dir: "/nowhere".into() }, ..prepared() };
        keep_manifest(&host, Path::new("/proc/nowhere"), &cell).unwrap();
        assert_eq!(kept_manifest(&host, &cell), None);
    }

    #[test]
    fn guests_run_on_hardware_only_if_all_levels_below_do() {
        use Accelerator::{Kvm, KvmInKvm, KvmInTcg, Tcg};
        use Basis::{Emulated, Hardware};
        for (machine, runs_kvm, level, basis, accelerator) in [
            (None, true, Hardware, Hardware, Kvm),
            (None, true, Emulated, Emulated, Kvm),
            (None, false, Hardware, Emulated, Tcg),
            (Some(Kvm), true, Hardware, Hardware, KvmInKvm),
            (Some(Kvm), true, Emulated, Emulated, KvmInKvm),
            (Some(Kvm), false, Hardware, Emulated, Tcg),
            (Some(Tcg), true, Hardware, Emulated, KvmInTcg),
            (Some(Tcg), false, Emulated, Emulated, Tcg),
        ] {
            let found = rests_on(machine.as_ref(), runs_kvm, level);
            assert_eq!(found, (basis, accelerator), "{machine:?} {runs_kvm}");
        }
    }

    #[test]
    fn evidence_has_only_the_packages_of_the_record() {
        let facts = evidence(&prepared(), BTreeMap::new(), BTreeMap::new(), false, None);
        assert_eq!(facts.suites.keys().map(|package| package.as_str()).collect::<Vec<_>>(), ["qemu-system-x86"]);
        assert_eq!(facts.versions.len(), 1);
    }
}
