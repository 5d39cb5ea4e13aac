//! Fallbacks if a distro lacks something that Kata needs: the next best choice, installation, the admin's own, or a
//! build.

mod build;
mod choice;
mod own_record;

pub use build::{Buildable, Instructions, instructions};
pub use choice::{Choice, ChoiceKind};

use crate::configure::{Blamed, Inputs, KataConfiguration, MissingComponent, PassedOver, PlanError, plan};
use model::capability::Capability;
use model::component::Component;
use model::share::Share;
use serde::Serialize;
use std::path::PathBuf;

/// The possible outcomes, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "outcome")]
pub enum Fallback {
    /// Kata can be configured with what is installed; preferred choices that were passed over are part of the
    /// configuration.
    Configure {
        /// The configuration.
        configuration: Box<KataConfiguration>,
    },
    /// Packages of the distro are missing.
    Install {
        /// The missing component, and the packages that contain it.
        missing: MissingComponent,
    },
    /// The distro does not package a component: an admin's own must be described.
    Describe {
        /// The component that must be described.
        component: Component,
        /// A record for `/etc/kata-osinfo`, to be completed.
        record: String,
    },
    /// A component is installed and known not to work; nothing here replaces it.
    Unsupported {
        /// The capability: `vmm.boot`.
        capability: Capability,
        /// Each independent cause.
        why: Vec<String>,
        /// The suggested alternative.
        instead: String,
    },
    /// The named initrd does not belong to the kernel that guests boot.
    WrongInitrd {
        /// Its path inside the root.
        initrd: PathBuf,
        /// The reason against it.
        why: String,
        /// The suggested alternative.
        instead: String,
    },
    /// No shared filesystem of the distro's works: one must be built, or done without.
    Build {
        /// All filesystems that were tried, with the evidence.
        passed_over: Vec<PassedOver>,
        /// Ways that need no build, the best first.
        choices: Vec<Choice>,
        /// Build instructions for whatever would work, for one component each.
        instructions: Vec<Instructions>,
    },
}

/// Tries the outcomes in order, and returns the first possible one.
pub fn fallback(inputs: &Inputs<'_>) -> Fallback {
    let release = inputs.release;
    match plan(inputs) {
        Ok(configuration) => Fallback::Configure { configuration: Box::new(configuration) },
        Err(PlanError::Missing { missing }) => Fallback::Install { missing },
        Err(PlanError::NotPackaged { component, .. }) => {
            Fallback::Describe { record: own_record::of_component(release, component), component }
        }
        Err(PlanError::Unsupported { what, why, instead }) => Fallback::Unsupported { capability: what, why, instead },
        Err(PlanError::WrongInitrd { initrd, why, instead }) => Fallback::WrongInitrd { initrd, why, instead },
        Err(PlanError::NothingWorks { passed_over }) => {
            let built = blamed(inputs, &passed_over);
            let choices = choice::choices(inputs, &built);
            let instructions = built.into_iter().map(|one| instructions(one, release, inputs.profile)).collect();
            Fallback::Build { passed_over, choices, instructions }
        }
    }
}

/// Returns the components to build for virtio-fs, which every profile has: the blamed ones, by default the daemon.
fn blamed(inputs: &Inputs<'_>, passed_over: &[PassedOver]) -> Vec<Buildable> {
    let of_it = |p: &&PassedOver| p.name == Share::VirtioFs;
    let mut blames = passed_over.iter().filter(of_it).flat_map(|p| &p.blames);
    let qemu = inputs.found.lacks.contains(&Share::VirtioFs) || blames.clone().any(|b| *b == Blamed::Vmm);
    let daemon = blames.any(|b| *b == Blamed::Server);
    match (qemu, daemon) {
        (true, true) => vec![Buildable::Qemu, Buildable::Virtiofsd],
        (true, false) => vec![Buildable::Qemu],
        (false, _) => vec![Buildable::Virtiofsd],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configure::{FoundVirtiofsd, GuestKernel, Inventory, SharedFs};
    use model::database::Database;
    use model::profile::Profile;
    use model::virtiofsd::Flavour;

    fn fallback_for(release: &str, profile: &str, found: &Inventory) -> Fallback {
        let database = Database::embedded();
        let record = database.record("debian").unwrap();
        let profile = Profile::find(profile).unwrap();
        fallback(&Inputs {
            release: &record.release(release, model::arch::Arch::X86_64).unwrap(),
            // No verified entries, so that the test does not depend on the record's content.
            verified: &[],
            profile,
            kata: profile.version(),
            found,
            guest: &GuestKernel::Kata,
            emulated: false,
            force: false,
            no_shared_fs: false,
        })
    }

    fn found(flavour: Flavour, lacks: &[Share]) -> Inventory {
        Inventory {
            hypervisor: Some("/usr/bin/qemu-system-x86_64".parse().unwrap()),
            daemon: Some(FoundVirtiofsd { path: "/usr/lib/qemu/virtiofsd".parse().unwrap(), flavour }),
            lacks: lacks.to_vec(),
            ..Inventory::default()
        }
    }

    fn built(result: &Fallback) -> Vec<Buildable> {
        let Fallback::Build { instructions, .. } = result else { panic!("{result:?}") };
        instructions.iter().map(|i| i.component).collect()
    }

    #[test]
    fn only_the_components_at_fault_are_built() {
        use Buildable::{Qemu, Virtiofsd};
        assert_eq!(built(&fallback_for("12", "rs-4.0", &found(Flavour::C, &[]))), [Virtiofsd]);
        assert_eq!(built(&fallback_for("12", "rs-4.0", &found(Flavour::C, &[Share::VirtioFs]))), [Qemu, Virtiofsd]);
        assert_eq!(built(&fallback_for("12", "rs-4.0", &found(Flavour::Rust, &[Share::VirtioFs]))), [Qemu]);
        // 9p still serves the profiles that have it.
        let ninep = fallback_for("12", "go-3.2", &found(Flavour::C, &[]));
        assert!(matches!(ninep, Fallback::Configure { configuration } if configuration.share == SharedFs::Virtio9p));
    }

    #[test]
    fn choices_simpler_than_a_build_are_offered() {
        let choices_for = |release: &str, profile: &str, found: &Inventory| {
            let Fallback::Build { choices, .. } = fallback_for(release, profile, found) else { panic!("no build") };
            choices
        };
        let kinds = |all: &[Choice]| all.iter().map(|choice| choice.what).collect::<Vec<_>>();
        let c = found(Flavour::C, &[]);
        let both = choices_for("12", "rs-4.0", &c);
        assert_eq!(kinds(&both), [ChoiceKind::KatasVirtiofsd, ChoiceKind::NoSharedFs]);
        assert!(both[1].text.contains("--profile rs-4.0 --no-shared-fs"), "{}", both[1].text);
        // The choice's record parses, and names the path of Kata's daemon.
        let record = model::record::Record::parse("debian.yaml".as_ref(), both[0].record.as_deref().unwrap()).unwrap();
        let release = record.release("12", model::arch::Arch::X86_64).unwrap();
        let driver = release.filesystem(Share::VirtioFs).unwrap();
        assert_eq!(driver.path, "/opt/kata/libexec/virtiofsd".parse().ok());
        assert_eq!(model::lint::lint("debian.yaml".as_ref(), both[0].record.as_deref().unwrap()), []);
        // If QEMU is at fault, no daemon helps.
        let no_device = choices_for("12", "rs-4.0", &found(Flavour::C, &[Share::VirtioFs]));
        assert_eq!(kinds(&no_device), [ChoiceKind::NoSharedFs]);
        // Kata before 3.2 must share something.
        let old = choices_for("12", "go-3.1", &found(Flavour::C, &[Share::VirtioFs, Share::Virtio9p]));
        assert_eq!(kinds(&old), []);
    }

    #[test]
    fn instructions_for_bookworm_are_those_that_were_run() {
        let Fallback::Build { instructions, .. } = fallback_for("12", "rs-4.0", &found(Flavour::C, &[])) else {
            panic!("no build")
        };
        insta::assert_snapshot!(instructions[0].script("debian:12"), @r#"
        #!/bin/sh
        # virtiofsd 1.13.3 for debian:12, as versions.yaml@4.0.0 has it.
        # These commands have been run: on Debian 12 with rustc 1.96.0 from rustc-web, in 4 to 9 minutes on two shared cores.
        # Kata builds it with Rust 1.85.1 (versions.yaml@4.0.0); the build fails with Rust 1.63 and works with 1.96.
        # bookworm's rustc (1.63) builds neither this version nor 1.10.1 or 1.8.0 with their lock files: use rustc-web, which the security archive keeps up to date; it cannot be installed beside rustc.
        set -e
        apt-get update && apt-get install -y --no-install-recommends rustc-web cargo-web gcc libc6-dev pkg-config libcap-ng-dev libseccomp-dev ca-certificates
        cargo install --locked --version 1.13.3 --root /usr/local/lib/kata-virtiofsd virtiofsd
        install -D -m 755 /usr/local/lib/kata-virtiofsd/bin/virtiofsd /usr/local/libexec/virtiofsd
        /usr/local/libexec/virtiofsd --version
        # An admin's own record is not overwritten: if there is one, add this to it by hand.
        mkdir -p /etc/kata-osinfo
        set -C
        cat > /etc/kata-osinfo/debian.yaml <<'RECORD'
        # What this machine's admin has built; it is laid over the shipped record of debian.
        apiVersion: v1
        distro: debian
        package-manager: apt
        arch: x86_64
        releases:
          - version: 12
            fs:
              - name: virtio-fs
                confidence: measured
                packages: []
                path: /usr/local/libexec/virtiofsd
        RECORD
        kata-osinfo lint /etc/kata-osinfo/debian.yaml
        "#);
    }

    #[test]
    fn every_distros_instructions_name_its_packages_and_a_record_that_parses() {
        use model::package_manager::PackageManager;
        let database = Database::embedded();
        let mut release = database.record("debian").unwrap().release("13", model::arch::Arch::X86_64).unwrap();
        for manager in PackageManager::ALL {
            release.package_manager = *manager;
            for profile in Profile::all() {
                for component in [Buildable::Qemu, Buildable::Virtiofsd] {
                    let built = instructions(component, &release, profile);
                    assert!(built.commands[0].ends_with(&built.dependencies.join(" ")), "{built:?}");
                    assert_eq!(built.exercised, None);
                    let record = model::record::Record::parse("own.yaml".as_ref(), &built.record);
                    assert!(record.is_ok(), "{record:?}");
                    assert_eq!(model::lint::lint("own.yaml".as_ref(), &built.record), []);
                }
            }
        }
    }
}
