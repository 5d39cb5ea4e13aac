//! Contradictions in a journal.
//!
//! A journal is whatever its maker wrote. If two statements cannot both be true, the lesser claim counts: emulated
//! instead of hardware, candidates instead of the distro's own packages, shaped instead of the distro's keys.

use crate::journal::{Accelerator, Candidate, CellFacts, CellId, ProbeAnswer};
use crate::redact::one_line;
use model::database::Database;
use std::sync::LazyLock;
use suites::outcome::Component;

/// Maximum size of a quotation from a journal, in bytes.
const QUOTED: usize = 200;

/// The starts of a machine's words about its processor if guests under KVM rest on hardware. For a virtual processor
/// the hypervisor is named; for a processor of unknown make it is not.
const OF_HARDWARE: [&str; 2] = ["the processor is no virtual one", "the processor is a virtual one of `"];

/// Checks whether these words of the evidence about the processor describe hardware.
pub fn is_said_of_hardware(words: &str) -> bool {
    OF_HARDWARE.iter().any(|beginning| words.starts_with(beginning))
}

/// The shipped records, read once: a merge judges a thousand runs.
static SHIPPED: LazyLock<Database> = LazyLock::new(Database::embedded);

/// Returns why facts that claim hardware cannot be from hardware.
///
/// A missing statement counts as emulated, because `hardware` is the claim that needs proof.
pub(super) fn hardware_contradicted(facts: &CellFacts, emulated_guest: bool) -> Option<String> {
    let quoted = |answer: &ProbeAnswer| one_line(answer.words(), QUOTED);
    let answer_to = |name: &str| facts.environment.get(name);
    match &facts.accelerator {
        Accelerator::Kvm | Accelerator::KvmInKvm => {}
        other @ (Accelerator::KvmInTcg | Accelerator::Tcg | Accelerator::Other(_)) => {
            let accelerator = one_line(other.name(), QUOTED);
            let accelerator = if accelerator.is_empty() { "none" } else { &accelerator };
            return Some(format!("it says hardware, and of the accelerator: {accelerator}"));
        }
    }
    match answer_to("kvm") {
        Some(ProbeAnswer::Yes) => {}
        Some(other) => return Some(format!("it says hardware, and of KVM: {}", quoted(other))),
        None => return Some("it says hardware, and not whether a vCPU runs under KVM".to_owned()),
    }
    if let Some(why) = answer_to("machine-without-kvm").map(quoted) {
        return Some(format!("it says hardware, and of its machine that it has no KVM: {why}"));
    }
    match answer_to("processor").map(quoted) {
        Some(words) if is_said_of_hardware(&words) => {}
        Some(words) => return Some(format!("it says hardware, and of the processor: {words}")),
        None => return Some("it says hardware, and nothing of the processor".to_owned()),
    }
    if emulated_guest {
        return Some("it says hardware, and a guest was started with accel=tcg".to_owned());
    }
    facts.kernel.is_none().then(|| "it says hardware, and names no kernel that guests boot".to_owned())
}

/// Checks whether a guest with these arguments is emulated.
pub(super) fn is_emulated_guest(argv: &[String]) -> bool {
    argv.iter().flat_map(|word| word.split(',')).any(|part| part == "accel=tcg")
}

/// Statements in a run's options and command line, regardless of its flags in the journal.
#[derive(Debug, Default)]
pub(super) struct Stated {
    /// Whether the distro was overlaid.
    pub(super) candidate: bool,
    /// Whether anybody but the distro vouches for the packages.
    pub(super) shaped: bool,
    /// The components that replaced the distro's own.
    pub(super) candidates: Vec<(Component, Candidate)>,
}

impl Stated {
    /// Collects the statements from the options as the journal keeps them, `--oci-image image.tar`, and from the words
    /// of the command line, for a run of `cells`.
    ///
    /// A base run has the command line of its candidates, although it does not use them: candidates are taken from the
    /// options only.
    pub(super) fn of(options: &[String], argv: &[String], cells: &[CellId]) -> Stated {
        let mut stated = Stated::default();
        let mut by_mirror = false;
        for option in options {
            let (name, value) = option.split_once(' ').unwrap_or((option.as_str(), ""));
            stated.candidate |= matches!(name, "--install" | "--with-packages" | "--overlay");
            stated.shaped |= shapes(name);
            by_mirror |= names_mirror(name);
            if name == "--component" {
                let (component, what) = value.split_once(' ').unwrap_or((value, ""));
                stated.candidates.extend(
                    Component::of_name(component).map(|component| (component, Candidate::from(what.to_owned()))),
                );
            }
        }
        // Words after `--` are not options of the harness.
        let words = argv.iter().map(String::as_str).take_while(|word| *word != "--");
        for word in words {
            let name = word.split_once('=').map_or(word, |(name, _)| name);
            stated.shaped |= shapes(name);
            by_mirror |= names_mirror(name);
        }
        stated.shaped |= by_mirror && !are_of_one_release(cells);
        stated
    }
}

/// Checks whether an option makes anybody but the distro vouch for the packages: a key, or an image.
fn shapes(name: &str) -> bool {
    matches!(name, "--mirror-key" | "--cloud-image" | "--oci-image")
}

/// Checks whether an option names a mirror.
fn names_mirror(name: &str) -> bool {
    matches!(name, "--mirror" | "--security-mirror")
}

/// Checks whether the signed indexes of all these releases are of one release, so that a mirror cannot have others
/// instead; that is not believed of a distro without a shipped record.
fn are_of_one_release(cells: &[CellId]) -> bool {
    cells.iter().all(|cell| {
        let Ok(record) = SHIPPED.record(&cell.distro) else { return false };
        let release = record.release(&cell.release, cell.arch);
        let manager = release.map_or(record.package_manager, |release| release.package_manager);
        manager.has_index_of_one_release()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{cell, facts, strings};
    use model::verified::Basis;

    #[test]
    fn a_hardware_claim_with_its_answers_is_believed_unless_contradicted() {
        let hardware = facts(Basis::Hardware);
        assert_eq!(hardware_contradicted(&hardware, false), None);
        let nested = CellFacts { accelerator: Accelerator::KvmInKvm, ..hardware.clone() };
        assert_eq!(hardware_contradicted(&nested, false), None);
        for accelerator in ["tcg", "kvm in tcg", "", "KVM", "kvm,tcg"] {
            let facts = CellFacts { accelerator: accelerator.to_owned().into(), ..hardware.clone() };
            let why = hardware_contradicted(&facts, false).unwrap();
            assert!(why.starts_with("it says hardware, and of the accelerator: "), "{why}");
        }
        assert!(hardware_contradicted(&hardware, true).unwrap().ends_with("accel=tcg"));
        let unnamed = CellFacts { kernel: None, ..hardware.clone() };
        assert!(hardware_contradicted(&unnamed, false).unwrap().contains("names no kernel"));
    }

    #[test]
    fn environment_probes_can_contradict_a_hardware_claim() {
        for (name, words, is_believed) in [
            ("kvm", "yes", true),
            ("kvm", "there is no /dev/kvm", false),
            ("machine-without-kvm", "no guest boots under it", false),
            ("processor", "the processor is no virtual one", true),
            ("processor", "the processor is a virtual one of `KVMKVMKVM`", true),
            ("processor", "the processor is a virtual one of unknown make: `SomethingNew`", false),
            ("processor", "the processor is emulated by QEMU", false),
            ("processor", "nothing tells whether the processor is emulated", false),
        ] {
            let mut facts = facts(Basis::Hardware);
            facts.environment.insert(name.to_owned(), words.to_owned().into());
            assert_eq!(hardware_contradicted(&facts, false).is_none(), is_believed, "{name}: {words}");
        }
    }

    /// `hardware` is the claim that needs proof: whoever leaves out an answer is not believed.
    #[test]
    fn a_hardware_claim_without_an_answer_is_not_believed() {
        for (name, words) in [("kvm", "not whether a vCPU runs"), ("processor", "nothing of the processor")] {
            let mut facts = facts(Basis::Hardware);
            assert!(facts.environment.remove(name).is_some());
            let why = hardware_contradicted(&facts, false).unwrap();
            assert!(why.contains(words), "{name}: {why}");
        }
        let silent = CellFacts { environment: std::collections::BTreeMap::new(), ..facts(Basis::Hardware) };
        assert!(hardware_contradicted(&silent, false).is_some());
    }

    #[test]
    fn candidate_and_shaped_are_read_from_options_and_command_line() {
        for (options, argv, candidate, shaped) in [
            (&[][..], &["kata-qualify", "run", "debian:13", "--mirror", "x"][..], false, false),
            (&["--install hello"], &[], true, false),
            (&["--with-packages qemu.deb"], &[], true, false),
            (&["--overlay"], &[], true, false),
            (&["--mirror-key"], &[], false, true),
            (&["--oci-image image.tar"], &[], false, true),
            (&["--oci-image image.tar#sha256:00"], &[], false, true),
            // These are base runs.
            (&[], &["kata-qualify", "run", "--with-packages", "qemu.deb"], false, false),
            (&[], &["kata-qualify", "run", "--mirror-key", "mine.asc"], false, true),
            (&[], &["kata-qualify", "run", "--cloud-image", "image.qcow2"], false, true),
            (&[], &["kata-qualify", "run", "--cloud-image=image.qcow2#sha256:00"], false, true),
            (&[], &["kata-qualify", "shell", "r", "t", "--", "x", "--mirror-key"], false, false),
        ] {
            let stated = Stated::of(&strings(options), &strings(argv), &[cell("13")]);
            assert_eq!((stated.candidate, stated.shaped), (candidate, shaped), "{options:?} {argv:?}");
        }
        let options = strings(&["--component qemu of debian:12 (sha256 0123)", "--component what x"]);
        let stated = Stated::of(&options, &[], &[]);
        assert_eq!(stated.candidates, [(Component::Qemu, Candidate::OfRelease("debian:12 (sha256 0123)".to_owned()))]);
    }

    /// The key of such a distro also signs other releases, and updates that are still tested.
    #[test]
    fn a_mirror_shapes_a_run_unless_its_index_is_of_one_release() {
        let of = |cell: &str| cell.parse::<CellId>().unwrap();
        let shaped = |options: &[&str], argv: &[&str], cells: &[CellId]| {
            Stated::of(&strings(options), &strings(argv), cells).shaped
        };
        let (debian, fedora) = (of("debian:13/x86_64/container"), of("fedora:44/x86_64/container"));
        for option in ["--mirror", "--security-mirror"] {
            let word = format!("{option}=http://mirror.example/testing");
            for (options, argv) in [(&[option][..], &[][..]), (&[], &["run", option, "x"]), (&[], &["run", &word])] {
                assert!(shaped(options, argv, std::slice::from_ref(&fedora)), "{options:?} {argv:?}");
                assert!(shaped(options, argv, &[debian.clone(), fedora.clone()]), "{options:?} {argv:?}");
                assert!(!shaped(options, argv, std::slice::from_ref(&debian)), "{options:?} {argv:?}");
                assert!(shaped(options, argv, &[of("theirs:1/x86_64/container")]), "{options:?} {argv:?}");
            }
        }
        assert!(!shaped(&["--offline"], &["run", "fedora:44"], &[fedora]));
    }

    #[test]
    fn an_emulated_guest_is_recognised_by_its_arguments() {
        for (word, is_emulated) in
            [("q35,accel=tcg", true), ("accel=tcg", true), ("q35,accel=kvm", false), ("-name=accel=tcg2", false)]
        {
            assert_eq!(is_emulated_guest(&strings(&["-machine", word])), is_emulated, "{word}");
        }
    }
}
