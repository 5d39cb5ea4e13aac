//! What Kata's options are for, and what does not work without them.

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

/// What some options are for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Use {
    /// In a word: `namespaces`.
    pub name: String,
    /// How much it weighs.
    weight: Weight,
    /// Whether a module is not enough.
    #[serde(default)]
    pub built_in: bool,
    /// The capability that it is about, if there is one.
    pub serves: Option<Capability>,
    /// Architectures on which the options are for something else, or nothing.
    #[serde(default)]
    except: Vec<Arch>,
    /// The architectures that have it; all have it where none is named.
    #[serde(default)]
    only: Vec<Arch>,
    /// What does not work without one of them, as the rest of a sentence.
    pub without: String,
    /// The options; a trailing `*` stands for the rest of a name.
    #[serde(default)]
    options: Vec<String>,
    /// Fragments whose options it has where no use names them, with the same `*`.
    #[serde(default)]
    fragments: Vec<String>,
    /// Which modules an option is, where that is known: several are told by spaces.
    #[serde(default)]
    modules: BTreeMap<String, String>,
}

/// How much a use of options weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Kata's default path does not work without it.
    Required,
    /// Something of Kata's, or of containers, does not.
    Wanted,
    /// Nothing asks for it by itself.
    Incidental,
}

impl Weight {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Weight::Required => "required",
            Weight::Wanted => "wanted",
            Weight::Incidental => "incidental",
        }
    }
}

/// A name that not every kernel has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Symbol {
    pub(super) name: String,
    /// The first version with it.
    pub(super) from: Option<KernelVersion>,
    /// The last.
    pub(super) until: Option<KernelVersion>,
    /// What it is called in the others, or why they do without.
    pub(super) why: Option<String>,
}

impl Symbol {
    /// What is known of a name.
    pub(super) fn of(name: &str) -> Option<&'static Symbol> {
        FILE.symbols.iter().find(|symbol| symbol.name == name)
    }
}

/// A kernel use with its options on an architecture, as it weighs for a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelUse<'a> {
    /// What they are for.
    pub of: &'a Use,
    /// How much it weighs: what is about something that this Kata does not do is incidental.
    pub weight: Weight,
    /// In the order of the fragments.
    pub options: Vec<KernelOption<'a>>,
}

impl KernelUse<'static> {
    /// All that Kata sets for an architecture by what it is for, in the order of the file; an option may be for several.
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
    /// The modules that an option is, as far as that is known.
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

/// Whether a name is among some, of which those that end in `*` stand for all that begin so.
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
    fn every_option_is_for_something() {
        for (profile, arch) in every_profile_and_arch() {
            let all = KernelUse::all(arch, profile);
            let used: BTreeSet<&str> = all.iter().flat_map(|one| &one.options).map(|option| option.name).collect();
            assert_eq!(used.len(), Fragments::kata().options(arch).len(), "{arch}");
        }
    }

    /// A name that hits nothing is a slip of the pen, or an option that Kata has dropped.
    #[test]
    fn whatever_a_use_names_is_there() {
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
    fn symbols_are_katas_in_their_order_and_have_an_end() {
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

    /// Modules of no option of Kata's: its kernel is not told to have pvpanic, which its runtimes give to a guest.
    const OF_NO_OPTION: [&str; 2] = ["pvpanic", "pvpanic_mmio"];

    /// The modules that a guest loads and the options that they are of must not drift apart.
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
    fn what_a_kata_does_not_do_is_incidental() {
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
    fn an_architecture_has_its_own_transport() {
        let names = |arch| {
            let all = KernelUse::all(arch, Profile::find("rs-4.1").unwrap());
            all.iter().map(|one| one.of.name.as_str()).collect::<Vec<_>>()
        };
        // Whatever is not IBM Z, also an architecture that is added, has PCI and nothing of IBM Z's.
        for arch in Arch::ALL.iter().copied() {
            let is_z = arch == Arch::S390x;
            assert_eq!(names(arch).contains(&"transport"), !is_z, "{arch}");
            assert_eq!(names(arch).contains(&"channel-subsystem"), is_z, "{arch}");
            assert_eq!(names(arch).contains(&"crypto-cards"), is_z, "{arch}");
        }
    }
}
