//! The Kata and the components that the user supplies: the choice of a runtime for each profile, and the files for a
//! virtual machine.
//!
//! All files of a profile are below `kata/PROFILE` in the agent's directory; the agent configures Kata there, with
//! access to the release's own files.
//!
//! This module decides which of the given runtimes serves which profile, and puts shim, shipped configuration and
//! initrd onto the disk from which a machine gets its agent.
//! A Go runtime and a Rust one can run at the same time, under containerd's names `io.containerd.kata.v2` and
//! `io.containerd.kata-rs.v2`. Supplied components replace the distro's in the configuration, and appear with their
//! checksums as candidates in the evidence; they turn `supported` into `partial`.

use crate::built_in;
use crate::replacement::Replacement;
use crate::seed::{Content, SeedFile};
use images::ImageError;
use images::artifacts::{self, Agent, Artifacts, ArtifactsError, OpenedFile};
use images::boot::{kernel, modules};
use images::external_file::ExternalFile;
use model::kata_version::KataVersion;
use model::profile::{ModuleUse, Profile, ProfileName, Runtime};
use model::release::Release;
use model::words::list_and;
use reports::journal::Candidate;
use root::NotAnInsidePath;
use std::collections::BTreeMap;
use std::iter;
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use suites::containers::{GuestRoot, Kata, OwnGuest};
use suites::environment::Claims;
use suites::outcome::Component;

/// Reason why a Kata that the user supplies cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum KataError {
    /// The source cannot be opened, or is not a part of a release.
    #[error("--kata {name}")]
    Source {
        /// The name that the user gave, without the directory.
        name: String,
        /// The cause.
        source: Box<ArtifactsError>,
    },
    /// The source is a part of a release whose runtime was not given.
    #[error("--kata {name}: no runtime of Kata {version} was given together with it")]
    NoRuntime {
        /// The name that the user gave, without the directory.
        name: String,
        /// The version of the part.
        version: KataVersion,
    },
    /// The source's runtimes serve only other profiles.
    #[error(
        "--kata {name}: Kata {version} belongs to {}, which is not one of the selected profiles: use --profile {}",
        list_and(.serves),
        .serves.join(",")
    )]
    OtherProfiles {
        /// The name that the user gave, without the directory.
        name: String,
        /// The version of the source.
        version: KataVersion,
        /// The profiles that the runtimes serve.
        serves: Vec<&'static str>,
    },
    /// A runtime has no configuration.
    #[error("--kata {name}: no configuration file for QEMU in share/defaults/kata-containers")]
    NoConfiguration {
        /// The name that the user gave, without the directory.
        name: String,
    },
    /// The file of a component cannot be read.
    #[error(transparent)]
    Replacement(Box<ArtifactsError>),
}

/// The opened sources of `--kata` and `--component`.
#[derive(Debug, Default)]
pub struct SuppliedKata {
    runtimes: Vec<SuppliedRuntime>,
    /// The replacements, each with its text for the evidence.
    replacements: Vec<(Replacement, String)>,
    /// The opened sources by name; archives are unpacked into directories that are removed with these values.
    opened: Vec<(String, Artifacts)>,
}

/// A runtime for one profile.
#[derive(Debug)]
struct SuppliedRuntime {
    kind: Runtime,
    profile: &'static ProfileName,
    version: KataVersion,
    sha256: Option<String>,
    shim: OpenedFile,
    configuration: OpenedFile,
    /// Kata's agent, for the guest's initrd.
    agent: Agent,
    /// The program that checks the host.
    checker: Option<OpenedFile>,
    /// Kata's own guest kernel and initrd.
    own: Option<(OpenedFile, OpenedFile)>,
    /// Kata's own guest kernel and image.
    own_image: Option<(OpenedFile, OpenedFile)>,
}

impl SuppliedKata {
    /// Opens every source; if two serve the same profile, the first one is used.
    ///
    /// # Errors
    /// If a source is unusable, or serves none of the profiles.
    pub fn open(
        sources: &[ExternalFile],
        replacements: &[Replacement],
        profiles: &[Profile],
        scratch: &Path,
    ) -> Result<SuppliedKata, KataError> {
        let mut supplied = SuppliedKata::default();
        for replacement in replacements {
            let evidence = replacement.evidence().map_err(|e| KataError::Replacement(Box::new(e)))?;
            supplied.replacements.push((replacement.clone(), evidence));
        }
        let failed = |name: &str| {
            let name = name.to_owned();
            move |e| KataError::Source { name, source: Box::new(e) }
        };
        for source in sources {
            let opened = Artifacts::open(source, scratch).map_err(failed(source.name()))?;
            supplied.opened.push((source.name().to_owned(), opened));
        }
        let is_selected = |shim: &&artifacts::Shim| profiles.iter().any(|p| p.name == *shim.profile);
        for (name, one) in &supplied.opened {
            // A release may consist of several archives: a part missing in one may be in another of the same version.
            let release = || {
                let others = supplied.opened.iter().map(|(_, other)| other);
                iter::once(one).chain(others.filter(|other| other.version == one.version && !ptr::eq(*other, one)))
            };
            if !release().any(|part| part.shims.iter().any(|shim| is_selected(&shim))) {
                let serves: Vec<&str> =
                    release().flat_map(|part| &part.shims).map(|shim| shim.profile.as_str()).collect();
                let (name, version) = (name.clone(), one.version);
                return Err(match serves.is_empty() {
                    true => KataError::NoRuntime { name, version },
                    false => KataError::OtherProfiles { name, version, serves },
                });
            }
            for shim in one.shims.iter().filter(is_selected) {
                if supplied.runtimes.iter().any(|known| known.profile == shim.profile) {
                    continue;
                }
                let agent = match release().find_map(|part| part.agent().ok()) {
                    Some(agent) => agent,
                    None => one.agent().map_err(failed(name))?,
                };
                let own = release().find_map(|part| part.kernel.clone().zip(part.initrd.clone()));
                let own_image = release().find_map(|part| part.kernel.clone().zip(part.image.clone()));
                let configuration = shim.configuration.clone();
                supplied.runtimes.push(SuppliedRuntime {
                    kind: shim.kind,
                    profile: shim.profile,
                    version: one.version,
                    sha256: one.sha256.clone(),
                    shim: shim.program.clone(),
                    configuration: configuration.ok_or_else(|| KataError::NoConfiguration { name: name.clone() })?,
                    agent,
                    checker: release().find_map(|part| part.checker(shim.kind)).cloned(),
                    own,
                    own_image,
                });
            }
        }
        Ok(supplied)
    }

    /// Checks whether no runtime was supplied.
    pub fn is_empty(&self) -> bool {
        self.runtimes.is_empty()
    }

    /// Returns the lines for the run's options in the journal, one for each runtime and each component.
    pub fn options(&self) -> Vec<String> {
        let runtime = |one: &SuppliedRuntime| {
            let sum = one.sha256.as_ref().map(|sum| format!(" sha256 {sum}")).unwrap_or_default();
            format!("--kata {} {} for {}{sum}", one.version, one.kind.language(), one.profile)
        };
        let replacements = self.replacements.iter().map(|(one, what)| format!("--component {} {what}", one.component));
        self.runtimes.iter().map(runtime).chain(replacements).collect()
    }

    /// Returns the evidence, by name, for a cell whose containers run under the supplied Kata.
    pub fn runtime_evidence(&self) -> impl Iterator<Item = (String, String)> {
        self.runtimes.iter().map(|one| {
            let sum = one.sha256.as_ref().map(|sum| format!(", sha256 {sum}")).unwrap_or_default();
            (format!("kata-{}", one.profile), format!("{} ({}{sum})", one.version, one.kind.language()))
        })
    }

    /// Returns the replaced components, for the evidence of every cell.
    pub fn candidates(&self) -> BTreeMap<Component, Candidate> {
        self.replacements.iter().map(|(one, evidence)| (one.component, Candidate::File(evidence.clone()))).collect()
    }

    /// Adds the replacements to the claims, and returns their files.
    ///
    /// # Errors
    /// If the folder's path cannot be written down.
    pub fn claim_replacements(&self, claims: &mut Claims, folder: &Path) -> Result<Vec<SeedFile>, NotAnInsidePath> {
        let mut files = Vec::new();
        for (replacement, _) in &self.replacements {
            let name = format!("candidate/{}", replacement.component);
            claims.candidates.insert(replacement.component, folder.join(&name).as_path().try_into()?);
            files.push(SeedFile { name, content: Content::File(replacement.path.clone()) });
        }
        Ok(files)
    }

    /// Prepares the supplied Kata for a virtual machine of a release: its files, and the claims about it for the tests.
    ///
    /// # Errors
    /// If the release's kernel is missing or a guest's initrd cannot be made.
    pub fn prepare(
        &self,
        tree: &Path,
        folder: &Path,
        release: &Release,
        profiles: &[Profile],
        emulated: bool,
    ) -> Result<(Vec<Kata>, Vec<SeedFile>), ImageError> {
        let (mut claims, mut files) = (Vec::new(), Vec::new());
        if self.is_empty() {
            return Ok((claims, files));
        }
        let agent = built_in::agent(release.arch).unwrap_or_default();
        let kernel = kernel::find(tree, release)?;
        for one in &self.runtimes {
            let Some(profile) = profiles.iter().find(|p| p.name == *one.profile) else { continue };
            // The guest mounts the root filesystems that containerd's EROFS snapshotter makes.
            let mut module_names = profile.modules.all();
            module_names.extend_from_slice(profile.modules.of(ModuleUse::Erofs));
            let found = modules::resolve(tree, &kernel.modules_dir, &module_names)?;
            let initrd = artifacts::guest_initrd(agent, &found, &one.agent)?;
            let mut add = |name: &str, content: Content| {
                let name = format!("kata/{}/{name}", one.profile);
                let path = folder.join(&name).to_string_lossy().into_owned();
                files.push(SeedFile { name, content });
                path
            };
            let own_kernel = one.own.as_ref().or(one.own_image.as_ref());
            let own_kernel = own_kernel.map(|(file, _)| add("own-kernel", Content::Opened(file.clone())));
            let mut own = |name: &str, files: &Option<(OpenedFile, OpenedFile)>, root: fn(String) -> GuestRoot| {
                let (_, file) = files.as_ref()?;
                Some(OwnGuest { kernel: own_kernel.clone()?, root: root(add(name, Content::Opened(file.clone()))) })
            };
            let own_initrd = own("own-initrd", &one.own, GuestRoot::Initrd);
            let own_image = own("own-image", &one.own_image, GuestRoot::Image);
            claims.push(Kata {
                version: one.version,
                kind: one.kind,
                profile: one.profile.clone(),
                shim: add("containerd-shim-kata-v2", Content::Opened(one.shim.clone())),
                shipped: Some(add("configuration.toml", Content::Opened(one.configuration.clone()))),
                configuration: configuration_path(one.kind).to_owned(),
                initrd: add("initrd", Content::Unnamed(Arc::new(initrd))),
                agent: one.agent.alone().map(|file| add("kata-agent", Content::Opened(file.clone()))),
                checker: one.checker.as_ref().map(|file| add("check", Content::Opened(file.clone()))),
                own: own_initrd,
                own_image,
                emulated,
            });
        }
        Ok((claims, files))
    }
}

/// Returns where each runtime looks first: `src/runtime/pkg/katautils/config.go@3.30.0`,
/// `src/libs/kata-types/src/config/default.rs@4.0.0`.
fn configuration_path(kind: Runtime) -> &'static str {
    match kind {
        Runtime::Go => "/etc/kata-containers/configuration.toml",
        Runtime::Rs => "/etc/kata-containers/runtime-rs/configuration.toml",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::diagnostic::error_chain;
    use model::share::Share;
    use std::fs;

    /// Makes a directory like a release's, with a Go runtime, a Rust one or both; the agent is not an ELF file, so it
    /// counts as static.
    fn release(version: &str, go: bool, rust: bool) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, content: &[u8]| {
            let path = dir.path().join("opt/kata").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put("VERSION", version.as_bytes());
        put("libexec/kata-agent", b"agent");
        if go {
            put("bin/containerd-shim-kata-v2", b"\xff Go buildinf:");
            put("share/defaults/kata-containers/configuration-qemu.toml", b"");
        }
        if rust {
            put("runtime-rs/bin/containerd-shim-kata-v2", b"rust");
            put("share/defaults/kata-containers/runtime-rs/configuration-qemu-runtime-rs.toml", b"");
        }
        dir
    }

    fn open(releases: &[&tempfile::TempDir], profiles: &[&str]) -> Result<SuppliedKata, String> {
        let source = |dir: &&tempfile::TempDir| ExternalFile::parse(&dir.path().to_string_lossy()).unwrap();
        let sources: Vec<ExternalFile> = releases.iter().map(source).collect();
        let profiles: Vec<Profile> = profiles.iter().map(|name| Profile::find(name).unwrap().clone()).collect();
        SuppliedKata::open(&sources, &[], &profiles, Path::new("/nonexistent")).map_err(|e| error_chain(&e))
    }

    #[test]
    fn each_runtime_serves_its_versions_profile_and_the_first_one_wins() {
        let (go, both) = (release("3.30.0", true, true), release("4.0.0", true, true));
        let supplied = open(&[&go, &both], &["go-3.29", "rs-4.0"]).unwrap();
        assert_eq!(supplied.options(), ["--kata 3.30.0 go for go-3.29", "--kata 4.0.0 rust for rs-4.0"]);
        let supplied = open(&[&both], &["go-3.32", "rs-4.0"]).unwrap();
        assert_eq!(supplied.options(), ["--kata 4.0.0 go for go-3.32", "--kata 4.0.0 rust for rs-4.0"]);
    }

    /// The nearest profile would judge a distro by arguments that this newer Kata does not use.
    #[test]
    fn a_release_that_is_newer_than_every_profile_is_refused() {
        for (go, rust) in [(true, false), (false, true), (true, true)] {
            let error = open(&[&release("4.1.1", go, rust)], &["go-3.32", "rs-4.1"]).unwrap_err();
            assert!(
                error.contains("kata 4.1.1 is newer than 4.1.0") && error.contains("profiles --against"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_release_that_serves_no_requested_profile_is_refused() {
        let error = open(&[&release("3.1.2", true, false)], &["go-3.29", "rs-4.0"]).unwrap_err();
        assert!(error.contains("Kata 3.1.2 belongs to go-3.1, which is not one of the selected profiles"), "{error}");
        let error = open(&[&release("3.30.0", false, true)], &["rs-4.0"]).unwrap_err();
        assert!(error.contains("older than 4.0.0, the oldest release of this runtime"), "{error}");
    }

    #[test]
    fn archives_of_the_same_version_complete_each_other() {
        let (go, rust) = (release("4.0.0", true, false), release("4.0.0", false, true));
        let without_agent = |dir: &tempfile::TempDir| fs::remove_file(dir.path().join("opt/kata/libexec/kata-agent"));
        without_agent(&go).unwrap();
        let tools = tempfile::tempdir().unwrap();
        fs::create_dir_all(tools.path().join("opt/kata/bin")).unwrap();
        fs::write(tools.path().join("opt/kata/VERSION"), "4.0.0").unwrap();
        fs::write(tools.path().join("opt/kata/bin/kata-ctl"), "").unwrap();
        let supplied = open(&[&tools, &go, &rust], &["go-3.32", "rs-4.0"]).unwrap();
        let found: Vec<(&str, bool)> =
            supplied.runtimes.iter().map(|r| (r.profile.as_str(), r.checker.is_some())).collect();
        assert_eq!(found, [("go-3.32", false), ("rs-4.0", true)]);
        let error = open(&[&go], &["go-3.32"]).unwrap_err();
        assert!(error.contains("no kata-agent"), "{error}");
        let error = open(&[&tools, &release("3.30.0", true, false)], &["go-3.29"]).unwrap_err();
        assert!(error.contains("no runtime of Kata 4.0.0 was given together with it"), "{error}");
    }

    #[test]
    fn a_candidate_replaces_the_releases_own_component() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my-virtiofsd");
        fs::write(&path, "daemon").unwrap();
        let replacement = Replacement::parse(&format!("virtiofsd={}", path.display())).unwrap();
        let supplied = SuppliedKata::open(&[], &[replacement], &[], Path::new("/nonexistent")).unwrap();
        let database = model::database::Database::embedded();
        let release = database.record("debian").unwrap().release("12", model::arch::Arch::X86_64).unwrap();
        let qemu = release.qemu().unwrap().path.clone();
        let mut claims = Claims::of(release, "6.1.0-56-amd64".parse().unwrap());
        let files = supplied.claim_replacements(&mut claims, Path::new("/agent")).unwrap();
        assert_eq!(files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["candidate/virtiofsd"]);
        let daemon = |release: &Release| release.filesystem(Share::VirtioFs).unwrap().path.clone().unwrap();
        assert_eq!(daemon(&claims.in_use()), "/agent/candidate/virtiofsd");
        assert_eq!(
            daemon(&claims.release),
            "/usr/lib/qemu/virtiofsd",
            "the packages' tests are about the distro's own"
        );
        assert_eq!(claims.in_use().qemu().unwrap().path, qemu, "what no candidate replaces is the release's");
        let evidence = Candidate::File("my-virtiofsd (sha256 f77b12a53ece5f6b)".to_owned());
        assert_eq!(supplied.candidates(), BTreeMap::from([(Component::Virtiofsd, evidence)]));
    }
}
