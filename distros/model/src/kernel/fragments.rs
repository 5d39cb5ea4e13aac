//! Options that Kata sets in its own guest kernel, by configuration fragment.

use crate::arch::Arch;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

static KATA: LazyLock<Fragments> = LazyLock::new(embedded);

#[expect(clippy::expect_used, reason = "the file is part of the program and parsed by a test")]
fn embedded() -> Fragments {
    serde_yaml::from_str(include_str!("../../../profiles/kernel/fragments.yaml"))
        .expect("the fragments are well-formed")
}

/// Directory of the fragments in Kata's source.
pub const FOLDER: &str = "tools/packaging/kernel/configs/fragments";

/// All fragments of Kata that are recorded here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fragments {
    /// The tag that the fragments were taken from: `4.1.0`.
    pub tag: String,
    /// The fragments, in the order of the file.
    pub fragments: Vec<Fragment>,
    /// Options that Kata's build does without if a kernel does not have them.
    pub may_lack: BTreeSet<String>,
}

/// One file of options.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fragment {
    /// Path relative to [`FOLDER`]: `common/9p.conf`.
    pub file: String,
    /// Architectures that a common fragment does not apply to.
    #[serde(default)]
    pub except: Vec<Arch>,
    /// The kind of kernel that is built with the fragment; every kernel if `None`.
    pub when: Option<Condition>,
    /// Options that are built in.
    #[serde(default)]
    pub options: Vec<String>,
    /// Options with a value other than `y`.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
}

/// Kind of kernel that is built with a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// For a root filesystem whose hashes are passed on the command line.
    MeasuredRootfs,
    /// For guests that their host cannot look into.
    Confidential,
    /// For all other guests.
    NotConfidential,
    /// With signed modules.
    ModuleSigning,
}

/// Value to which Kata sets an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KataValue<'a> {
    /// Built in.
    BuiltIn,
    /// A text, or a number, for which a larger one is sufficient, too.
    Value(&'a str),
}

/// One option, with the fragment that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelOption<'a> {
    /// Name without prefix: `VIRTIO_FS`.
    pub name: &'a str,
    /// Kata's value.
    pub kata_value: KataValue<'a>,
    /// The fragment that sets the option.
    pub fragment: &'a Fragment,
}

impl Fragments {
    /// Returns the fragments of the newest Kata release that was read.
    pub fn kata() -> &'static Fragments {
        &KATA
    }

    /// Returns the options of an architecture's kernels, each once: if two fragments set an option, the fragment for
    /// every kernel counts.
    pub fn options(&self, arch: Arch) -> Vec<KernelOption<'_>> {
        let mut seen = BTreeSet::new();
        let of_all = |fragment: &&Fragment| matches!(fragment.when, None | Some(Condition::NotConfidential));
        let (always, sometimes): (Vec<&Fragment>, Vec<&Fragment>) =
            self.fragments.iter().filter(|fragment| fragment.is_of(arch)).partition(of_all);
        let fragments = always.into_iter().chain(sometimes);
        fragments.flat_map(Fragment::all).filter(|option| seen.insert(option.name)).collect()
    }

    /// Returns file and tag of a fragment, for a citation.
    pub fn source(&self, fragment: &Fragment) -> String {
        format!("{FOLDER}/{}@{}", fragment.file, self.tag)
    }
}

impl<'a> KataValue<'a> {
    /// Returns the value as written in a configuration: `y`, `240`.
    pub fn value(self) -> &'a str {
        match self {
            KataValue::BuiltIn => "y",
            KataValue::Value(value) => value,
        }
    }
}

impl Fragment {
    /// Whether kernels of an architecture are built with the fragment.
    pub fn is_of(&self, arch: Arch) -> bool {
        let folder = self.file.split('/').next().unwrap_or_default();
        (folder == "common" || folder == folder_of(arch)) && !self.except.contains(&arch)
    }

    /// Returns the fragment's options, those with a value last.
    pub fn all(&self) -> impl Iterator<Item = KernelOption<'_>> {
        let built_in = self.options.iter().map(|name| (name, KataValue::BuiltIn));
        let values = self.values.iter().map(|(name, value)| (name, KataValue::Value(value)));
        built_in.chain(values).map(|(name, kata_value)| KernelOption { name, kata_value, fragment: self })
    }
}

/// Returns Linux's name of an architecture, which Kata's directory has, too.
pub fn folder_of(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "x86_64",
        Arch::Aarch64 => "arm64",
        Arch::Ppc64le => "powerpc",
        Arch::S390x => "s390",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_names_are_valid_and_unique_within_a_fragment() {
        let mut files = BTreeSet::new();
        for fragment in &Fragments::kata().fragments {
            assert!(files.insert(&fragment.file), "{} stands there twice", fragment.file);
            assert!(Arch::ALL.iter().any(|arch| fragment.is_of(*arch)), "{} is no architecture's", fragment.file);
            let mut names = BTreeSet::new();
            for option in fragment.all() {
                let is_name = option.name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
                assert!(is_name && !option.name.starts_with("CONFIG_"), "{}", option.name);
                assert!(names.insert(option.name), "{} stands twice in {}", option.name, fragment.file);
            }
            assert!(!names.is_empty(), "{} is empty", fragment.file);
        }
    }

    /// On x86_64, every kernel of Kata 4.1.0 sets 643 options; the others are set in some kernels only.
    #[test]
    fn each_arch_has_the_common_and_its_own_options_once() {
        let kata = Fragments::kata();
        let always = |arch| {
            let options = kata.options(arch);
            options.iter().filter(|o| matches!(o.fragment.when, None | Some(Condition::NotConfidential))).count()
        };
        let counts: Vec<usize> = Arch::ALL.iter().map(|arch| always(*arch)).collect();
        assert_eq!(counts, [643, 644, 590, 585]);
        for arch in Arch::ALL {
            let options = kata.options(*arch);
            let names: BTreeSet<&str> = options.iter().map(|option| option.name).collect();
            assert_eq!(names.len(), options.len());
            assert_eq!(names.contains("ACPI_HOTPLUG_MEMORY"), matches!(arch, Arch::X86_64 | Arch::Aarch64), "{arch}");
        }
        let of = |name: &str| kata.options(Arch::X86_64).into_iter().find(|option| option.name == name).unwrap();
        assert_eq!(of("NR_CPUS").kata_value, KataValue::Value("240"));
        assert_eq!(of("MTRR").fragment.file, "x86_64/crypto.conf", "not that of SEV-SNP");
        assert_eq!(of("DM_VERITY").fragment.when, Some(Condition::MeasuredRootfs));
        let source = kata.source(of("SECCOMP").fragment);
        assert_eq!(source, "tools/packaging/kernel/configs/fragments/common/seccomp.conf@4.1.0");
    }
}
