//! The options of Kata's own guest kernel, as a list or compared with a kernel configuration.

use model::arch::Arch;
use model::kernel::{Condition, Fragments, Judged, KernelConfig, KernelOption, KernelUse, OptionState, Weight};
use model::profile::Profile;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Maximum length of a line of names, without its indentation.
const WIDTH: usize = 100;

/// The options for an architecture, grouped by use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KernelOptions {
    /// The Kata release whose guest kernel has these options.
    pub tag: &'static str,
    /// The architecture.
    pub arch: Arch,
    /// Linux version of the compared configuration; `None` if it does not say so, or no configuration is compared.
    pub linux: Option<String>,
    /// The uses of the options, in the order of their weight.
    pub uses: Vec<UseRow>,
}

/// One use of options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UseRow {
    /// Name of the use, in a word.
    pub name: &'static str,
    /// Its weight for the profile.
    pub weight: Weight,
    /// The capability that it serves, if any.
    pub serves: Option<String>,
    /// Whether the options must be built in, as a module is not enough.
    pub built_in: bool,
    /// The consequence of a missing option, as the rest of a sentence.
    pub without: &'static str,
    /// Whether an option is missing; `None` if no configuration is compared.
    pub missing: Option<bool>,
    /// Modules that an initrd must contain, according to the compared configuration.
    pub modules: Vec<String>,
    /// The options.
    pub options: Vec<OptionRow>,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OptionRow {
    /// With its prefix: `CONFIG_VIRTIO_FS`.
    pub name: String,
    /// The value in Kata's configuration: `y`, `240`.
    pub wanted: &'static str,
    /// The kinds of Kata kernels that set the option, if not all do.
    pub when: Option<Condition>,
    /// File and tag of Kata.
    pub source: String,
    /// Its state in the configuration that is compared, for programs.
    pub state: Option<&'static str>,
    /// The state in words.
    pub found: Option<String>,
    /// Whether the option counts as missing for its use.
    #[serde(skip)]
    is_missing: bool,
}

impl KernelOptions {
    /// Lists the options.
    pub fn listed(arch: Arch, profile: &Profile) -> KernelOptions {
        let rows = KernelUse::all(arch, profile).into_iter().map(|one| {
            let options = one.options.iter().map(|option| option_row(option, None)).collect();
            row(&one, options, None, Vec::new())
        });
        KernelOptions::of(arch, None, rows.collect())
    }

    /// Compares the options with a configuration.
    pub fn held(config: &KernelConfig, arch: Arch, profile: &Profile) -> KernelOptions {
        let rows = KernelUse::all(arch, profile).into_iter().map(|one| {
            let judged = Judged::of(config, one);
            let options = judged.options().map(|(option, state)| option_row(option, Some(state))).collect();
            let modules = judged.modules().into_iter().map(str::to_owned).collect();
            row(&judged.kernel_use, options, Some(!judged.missing().is_empty()), modules)
        });
        KernelOptions::of(arch, config.version.map(|version| version.to_string()), rows.collect())
    }

    fn of(arch: Arch, linux: Option<String>, mut uses: Vec<UseRow>) -> KernelOptions {
        uses.sort_by_key(|one| one.weight);
        KernelOptions { tag: &Fragments::kata().tag, arch, linux, uses }
    }

    /// Returns the missing options that Kata's default path needs, with the consequence of each.
    pub fn problems(&self) -> Vec<String> {
        let lacking = |one: &UseRow| one.lacking().collect::<Vec<_>>().join(", ");
        let missing = self.missing(Weight::Required);
        missing.map(|one| format!("{}: {}; without it, {}", one.name, lacking(one), one.without)).collect()
    }

    fn missing(&self, weight: Weight) -> impl Iterator<Item = &UseRow> {
        self.uses.iter().filter(move |one| one.weight == weight && one.missing == Some(true))
    }

    /// Formats the list for people.
    pub fn human(&self) -> String {
        let mut out = format!(
            "options of Kata's own guest kernel for {} (Kata {}, {}), without their CONFIG_\n",
            self.arch,
            self.tag,
            model::kernel::FOLDER
        );
        for one in &self.uses {
            let form = if one.built_in { "built in" } else { "built in or a module" };
            let _ = writeln!(out, "  {}  {}{}, {form}", one.weight.name(), one.name, one.capability());
            let _ = writeln!(out, "    without it, {}", one.without);
            let names = one.options.iter().map(|option| match (option.wanted, option.when) {
                ("y", None | Some(Condition::NotConfidential)) => option.short().to_owned(),
                ("y", Some(_)) => format!("{}*", option.short()),
                (value, _) => format!("{}={value}", option.short()),
            });
            wrapped(&mut out, "    ", names);
        }
        out + "  * Kata sets it in kernels for measured root filesystems, confidential guests or signed modules only\n"
    }

    /// Formats the options that the configuration called `name` lacks, for people.
    pub fn human_held(&self, name: &str, profile: &Profile) -> String {
        let linux = self.linux.as_ref().map_or("an unknown Linux".to_owned(), |version| format!("Linux {version}"));
        let mut out =
            format!("{name}: {linux} for {}, compared with Kata's own guest kernel (Kata {})\n", self.arch, self.tag);
        for (weight, for_whom) in
            [(Weight::Required, format!(" for {}", profile.name)), (Weight::Wanted, String::new())]
        {
            let missing: Vec<&UseRow> = self.missing(weight).collect();
            let word = weight.name();
            let _ = match missing.is_empty() {
                true => writeln!(out, "{word}{for_whom}: nothing is missing"),
                false => writeln!(out, "{word}{for_whom}, and missing:"),
            };
            for one in missing {
                let _ = writeln!(out, "  {}{}: without it, {}", one.name, one.capability(), one.without);
                wrapped(&mut out, "    ", one.lacking());
            }
        }
        self.listed_with(&mut out, "incidental, and missing", |one| match one.weight {
            Weight::Incidental => one.lacking().collect(),
            Weight::Required | Weight::Wanted => Vec::new(),
        });
        self.listed_with(&mut out, "an initrd must contain", |one| one.modules.clone());
        let not_here = OptionState::NotHere(String::new()).name();
        self.listed_with(&mut out, "not in every Linux", |one| {
            let absent = one.options.iter().filter(|option| option.state == Some(not_here));
            absent.map(|option| format!("{} {}", option.short(), option.found.as_deref().unwrap_or_default())).collect()
        });
        out + &self.counts() + "\n"
    }

    /// Writes a heading and the names from all uses, each once; writes nothing if there are no names.
    fn listed_with(&self, out: &mut String, head: &str, names: impl Fn(&UseRow) -> Vec<String>) {
        let mut all: Vec<String> = self.uses.iter().flat_map(names).collect();
        all.sort();
        all.dedup();
        if !all.is_empty() {
            let _ = writeln!(out, "{head}:");
            wrapped(out, "  ", all.into_iter());
        }
    }

    /// Counts the options by state, each once: an option with several uses counts with its best state.
    fn counts(&self) -> String {
        const KINDS: [&str; 4] = ["built in or as wanted", "modules", "not in this Linux", "missing"];
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for option in self.uses.iter().flat_map(|one| &one.options) {
            let kind = match option.state.unwrap_or_default() {
                "met" => 0,
                "module" | "only-module" => 1,
                "not-in-this-kernel" => 2,
                _ => 3,
            };
            let best = kinds.entry(&option.name).or_insert(kind);
            *best = kind.min(*best);
        }
        let count = |kind: usize| kinds.values().filter(|one| **one == kind).count();
        let parts: Vec<String> =
            KINDS.iter().enumerate().map(|(kind, word)| format!("{} {word}", count(kind))).collect();
        format!("{} options: {}", kinds.len(), parts.join(", "))
    }
}

impl UseRow {
    fn capability(&self) -> String {
        self.serves.as_ref().map(|name| format!(" ({name})")).unwrap_or_default()
    }

    /// Returns the missing options with their states, in words.
    fn lacking(&self) -> impl Iterator<Item = String> {
        let missing = self.options.iter().filter(|option| option.is_missing);
        missing.map(|option| format!("{} {}", option.short(), option.found.as_deref().unwrap_or_default()))
    }
}

impl OptionRow {
    fn short(&self) -> &str {
        self.name.strip_prefix("CONFIG_").unwrap_or(&self.name)
    }
}

fn row(one: &KernelUse<'static>, options: Vec<OptionRow>, missing: Option<bool>, modules: Vec<String>) -> UseRow {
    UseRow {
        name: &one.of.name,
        weight: one.weight,
        serves: one.of.serves.map(|capability| capability.to_string()),
        built_in: one.of.built_in,
        without: &one.of.without,
        missing,
        modules,
        options,
    }
}

fn option_row(option: &KernelOption<'static>, state: Option<&OptionState>) -> OptionRow {
    OptionRow {
        name: format!("CONFIG_{}", option.name),
        wanted: option.kata_value.value(),
        when: option.fragment.when,
        source: Fragments::kata().source(option.fragment),
        state: state.map(OptionState::name),
        found: state.map(OptionState::to_string),
        is_missing: state.is_some_and(OptionState::is_missing),
    }
}

/// Writes words separated by commas, in lines of at most [`WIDTH`] characters.
fn wrapped(out: &mut String, indent: &str, words: impl Iterator<Item = String>) {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(',');
            if line.len() + 1 + word.len() > WIDTH {
                let _ = writeln!(out, "{indent}{line}");
                line.clear();
            } else {
                line.push(' ');
            }
        }
        line += &word;
    }
    if !line.is_empty() {
        let _ = writeln!(out, "{indent}{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> &'static Profile {
        Profile::find("rs-4.1").unwrap()
    }

    /// A configuration with all of Kata's settings for x86_64, with changes applied.
    fn config(change: impl Fn(&str) -> Option<&'static str>) -> KernelConfig {
        let mut text = "# Linux/x86 6.18.35 Kernel Configuration\n".to_owned();
        for option in Fragments::kata().options(Arch::X86_64) {
            let value = change(option.name).unwrap_or(option.kata_value.value());
            let _ = match value {
                "n" => writeln!(text, "# CONFIG_{} is not set", option.name),
                value => writeln!(text, "CONFIG_{}={value}", option.name),
            };
        }
        KernelConfig::parse(&text).unwrap()
    }

    #[test]
    fn katas_own_kernel_lacks_nothing() {
        for profile in Profile::all() {
            let options = KernelOptions::held(&config(|_| None), Arch::X86_64, profile);
            assert!(
                options.problems().is_empty() && options.uses.iter().all(|one| one.missing == Some(false)),
                "{}",
                profile.name
            );
        }
    }

    #[test]
    fn missing_options_are_reported_with_what_does_not_work() {
        let distro = config(|name| match name {
            "SECCOMP_FILTER" | "DM_INIT" | "DEFAULT_BBR" | "PRINTK_TIME" => Some("n"),
            "VIRTIO_PCI" | "VIRTIO_FS" | "NF_TABLES" | "XFS_FS" => Some("m"),
            "NR_CPUS" => Some("64"),
            _ => None,
        });
        let options = KernelOptions::held(&distro, Arch::X86_64, profile());
        let problem = "seccomp: SECCOMP_FILTER is not set; without it, no container with a seccomp profile starts";
        assert!(
            options.problems().len() == 1 && options.problems()[0].starts_with(problem),
            "{:?}",
            options.problems()
        );
        insta::assert_snapshot!(options.human_held("config", profile()));
        let other = config(|name| (name == "RETPOLINE").then_some("n"));
        assert!(KernelOptions::held(&other, Arch::X86_64, profile()).problems().is_empty());
    }

    #[test]
    fn the_list_names_every_option_and_its_use() {
        let listed = KernelOptions::listed(Arch::X86_64, profile());
        let text = listed.human();
        for option in Fragments::kata().options(Arch::X86_64) {
            assert!(text.contains(option.name), "{}", option.name);
        }
        let mut weights = listed.uses.iter().map(|one| one.weight).collect::<Vec<_>>();
        weights.dedup();
        assert_eq!(weights, [Weight::Required, Weight::Wanted, Weight::Incidental]);
        assert!(text.lines().all(|line| line.len() <= 130), "{text}");
        let head: Vec<&str> = text.lines().take(8).collect();
        insta::assert_snapshot!(head.join("\n"));
    }
}
