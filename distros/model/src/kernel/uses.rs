//! Purposes of Kata's kernel options, and what does not work without them.

use super::{Fragments, KernelOption, KernelVersion};
use crate::arch::Arch;
use crate::capability::Capability;
use crate::profile::Profile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;

static FILE: LazyLock<File> = LazyLock::new(embedded);

#[expect(clippy::expect_used, reason = "the file is part of the program and parsed by a test")]
fn embedded() -> File {
    serde_yaml::from_str(include_str!("../../../profiles/kernel/uses.yaml")).expect("the uses are well-formed")
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    uses: Vec<Use>,
    symbols: Vec<Symbol>,
}

/// Purpose of some options.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Use {
    /// A one-word name: `namespaces`.
    pub name: String,
    /// The importance.
    weight: Weight,
    /// Whether the options must be built in, because a module is not enough.
    #[serde(default)]
    pub built_in: bool,
    /// The capability that needs the options, if there is one.
    pub serves: Option<Capability>,
    /// Architectures on which the options have another purpose, or none.
    #[serde(default)]
    except: Vec<Arch>,
    /// Architectures that have the use; all if empty.
    #[serde(default)]
    only: Vec<Arch>,
    /// What does not work without one of the options, as the rest of a sentence.
    pub without: String,
    /// The options; a trailing `*` stands for the rest of a name.
    #[serde(default)]
    options: Vec<String>,
    /// Fragments whose options belong to this use unless another use names them, with the same `*`.
    #[serde(default)]
    fragments: Vec<String>,
    /// Module names of the options, if known; several are separated by spaces.
    #[serde(default)]
    modules: BTreeMap<String, String>,
}

/// Importance of a use of options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Kata's default path does not work without the options.
    Required,
    /// Some feature of Kata, or of containers, does not work without them.
    Wanted,
    /// Nothing needs the options by themselves.
    Incidental,
}

impl Weight {
    /// Returns the word of the weight.
    pub fn name(self) -> &'static str {
        match self {
            Weight::Required => "required",
            Weight::Wanted => "wanted",
            Weight::Incidental => "incidental",
        }
    }
}

/// An option that only some kernel versions have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Symbol {
    pub(super) name: String,
    /// The first version that has the option.
    pub(super) from: Option<KernelVersion>,
    /// The last version that has the option.
    pub(super) until: Option<KernelVersion>,
    /// The option's name in the other versions, or why they do without.
    pub(super) why: Option<String>,
}

impl Symbol {
    /// Returns the version range of an option that only some versions have.
    pub(super) fn of(name: &str) -> Option<&'static Symbol> {
        FILE.symbols.iter().find(|symbol| symbol.name == name)
    }
}

/// A kernel use with its options on an architecture, weighed for a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelUse<'a> {
    /// The use.
    pub of: &'a Use,
    /// The importance; incidental if the capability is one that the profile's Kata does not have.
    pub weight: Weight,
    /// The options, in the order of the fragments.
    pub options: Vec<KernelOption<'a>>,
}

impl KernelUse<'static> {
    /// Returns all options that Kata sets for an architecture by use, in the order of the file; an option may have
    /// several uses.
    pub fn all(arch: Arch, profile: &Profile) -> Vec<KernelUse<'static>> {
        let uses: Vec<&'static Use> = FILE.uses.iter().filter(|one| one.is_of(arch)).collect();
        let mut all: Vec<KernelUse<'static>> = uses
            .iter()
            .map(|one| {
                let has = one.serves.is_none_or(|capability| profile.has(capability));
                KernelUse { of: one, weight: if has { one.weight } else { Weight::Incidental }, options: Vec::new() }
            })
            .collect();
        for option in Fragments::kata().options(arch) {
            let mut named = false;
            for one in all.iter_mut().filter(|one| one.of.names(option.name)) {
                one.options.push(option);
                named = true;
            }
            let of_fragment = |one: &&mut KernelUse<'_>| any(&one.of.fragments, &option.fragment.file);
            if !named && let Some(one) = all.iter_mut().find(of_fragment) {
                one.options.push(option);
            }
        }
        all.retain(|one| !one.options.is_empty());
        all
    }
}

impl Use {
    /// Returns the module names of an option, if known.
    pub fn modules_of(&self, option: &str) -> impl Iterator<Item = &str> {
        self.modules.get(option).into_iter().flat_map(|names| names.split(' '))
    }

    fn is_of(&self, arch: Arch) -> bool {
        (self.only.is_empty() || self.only.contains(&arch)) && !self.except.contains(&arch)
    }

    fn names(&self, option: &str) -> bool {
        any(&self.options, option)
    }
}

/// Whether `name` matches one of `names`, in which a trailing `*` stands for any suffix.
fn any(names: &[String], name: &str) -> bool {
    names.iter().any(|one| match one.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => one == name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ModuleUse;
    use std::collections::BTreeSet;

    fn every_profile_and_arch() -> impl Iterator<Item = (&'static Profile, Arch)> {
        Profile::all().iter().flat_map(|profile| Arch::ALL.iter().map(move |arch| (profile, *arch)))
    }

    #[test]
    fn every_kata_option_belongs_to_a_use() {
        for (profile, arch) in every_profile_and_arch() {
            let all = KernelUse::all(arch, profile);
            let used: BTreeSet<&str> = all.iter().flat_map(|one| &one.options).map(|option| option.name).collect();
            assert_eq!(used.len(), Fragments::kata().options(arch).len(), "{arch}");
        }
    }

    /// A name that matches nothing is a typo, or an option that Kata has dropped.
    #[test]
    fn options_and_fragments_named_by_uses_exist() {
        let kata = Fragments::kata();
        let names: BTreeSet<&str> = kata.fragments.iter().flat_map(|f| f.all().map(|option| option.name)).collect();
        let files: BTreeSet<&str> = kata.fragments.iter().map(|fragment| fragment.file.as_str()).collect();
        let hits = |name: &String, all: &BTreeSet<&str>| all.iter().any(|one| any(std::slice::from_ref(name), one));
        for one in &FILE.uses {
            assert!(one.options.iter().all(|name| hits(name, &names)), "{}: {:?}", one.name, one.options);
            assert!(one.fragments.iter().all(|name| hits(name, &files)), "{}: {:?}", one.name, one.fragments);
            assert!(one.modules.keys().all(|name| one.names(name) && names.contains(name.as_str())), "{}", one.name);
            assert!(!one.without.is_empty() && !one.without.ends_with('.'), "{}", one.name);
            assert!(one.only.is_empty() || one.except.is_empty(), "{} says `only` and `except`", one.name);
        }
        let uses: BTreeSet<&str> = FILE.uses.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(uses.len(), FILE.uses.len(), "two uses have the same name");
    }

    #[test]
    fn symbols_are_sorted_kata_options_with_one_version_limit() {
        let names: BTreeSet<&str> =
            Fragments::kata().fragments.iter().flat_map(|f| f.all().map(|option| option.name)).collect();
        for pair in FILE.symbols.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} stands before {}", pair[0].name, pair[1].name);
        }
        for symbol in &FILE.symbols {
            assert!(names.contains(symbol.name.as_str()), "{} is no option of Kata's", symbol.name);
            assert!(symbol.from.is_some() != symbol.until.is_some(), "{}", symbol.name);
        }
    }

    /// Modules without an option in Kata's fragments: Kata's kernel does not enable pvpanic, although its runtimes add
    /// the device.
    const OF_NO_OPTION: [&str; 2] = ["pvpanic", "pvpanic_mmio"];

    /// The modules that a guest loads, and the options that provide them, must not drift apart.
    #[test]
    fn every_module_of_a_profile_is_an_option_of_a_use() {
        let modules = FILE.uses.iter().flat_map(|one| one.modules.keys().map(move |option| (one, option)));
        let known: BTreeSet<&str> = modules.flat_map(|(one, option)| one.modules_of(option)).collect();
        for profile in Profile::all() {
            for name in ModuleUse::ALL.iter().flat_map(|used_for| profile.modules.of(*used_for)) {
                let is_known = |name: &str| known.contains(name) || OF_NO_OPTION.contains(&name);
                assert!(name.split(" or ").any(is_known), "{name} of {}", profile.name);
            }
        }
    }

    #[test]
    fn uses_that_a_kata_version_does_not_need_are_incidental() {
        let weight = |profile: &str, name: &str| {
            let all = KernelUse::all(Arch::X86_64, Profile::find(profile).unwrap());
            all.into_iter().find(|one| one.of.name == name).unwrap().weight
        };
        assert_eq!(weight("go-3.24", "virtio-9p"), Weight::Required);
        assert_eq!(weight("rs-4.1", "virtio-9p"), Weight::Incidental);
        assert_eq!(weight("rs-4.1", "plugged-cpus"), Weight::Required);
        assert_eq!(weight("rs-4.1", "linux"), Weight::Incidental);
    }

    #[test]
    fn ibm_z_has_channels_and_crypto_cards_instead_of_pci() {
        let names = |arch| {
            let all = KernelUse::all(arch, Profile::find("rs-4.1").unwrap());
            all.iter().map(|one| one.of.name.as_str()).collect::<Vec<_>>()
        };
        // Every architecture but IBM Z, including any that is added later, has PCI and nothing specific to IBM Z.
        for arch in Arch::ALL.iter().copied() {
            let is_z = arch == Arch::S390x;
            assert_eq!(names(arch).contains(&"transport"), !is_z, "{arch}");
            assert_eq!(names(arch).contains(&"channel-subsystem"), is_z, "{arch}");
            assert_eq!(names(arch).contains(&"crypto-cards"), is_z, "{arch}");
        }
    }
}
