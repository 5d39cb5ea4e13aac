//! Comparison of a kernel's configuration with the options of Kata's own kernel, on text alone.

use super::uses::Symbol;
use super::{Fragments, KataValue, KernelConfig, KernelOption, KernelUse, OptionValue};

/// State of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionState {
    /// Built in, or with a sufficient value.
    Met,
    /// A module, which the initrd has to contain.
    Module,
    /// A module, although it must be built in.
    OnlyModule,
    /// `is not set`.
    Off,
    /// Not in the configuration: a dependency is off, or this kernel has no such option.
    Absent,
    /// An insufficient value.
    Value(String),
    /// Does not exist in this kernel version, with the reason.
    NotHere(String),
}

impl OptionState {
    /// Whether the use of the option does not work in this state.
    pub fn is_missing(&self) -> bool {
        match self {
            OptionState::OnlyModule | OptionState::Off | OptionState::Absent | OptionState::Value(_) => true,
            OptionState::Met | OptionState::Module | OptionState::NotHere(_) => false,
        }
    }

    /// Returns the state's word, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            OptionState::Met => "met",
            OptionState::Module => "module",
            OptionState::OnlyModule => "only-module",
            OptionState::Off => "off",
            OptionState::Absent => "absent",
            OptionState::Value(_) => "other-value",
            OptionState::NotHere(_) => "not-in-this-kernel",
        }
    }
}

/// Longest part of a value that a message repeats.
const MAX_SHOWN: usize = 60;

/// Words that follow an option's name: `SECCOMP is not set`.
impl std::fmt::Display for OptionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OptionState::Met => f.write_str("is there"),
            OptionState::Module => f.write_str("is a module"),
            OptionState::OnlyModule => f.write_str("is only a module"),
            OptionState::Off => f.write_str("is not set"),
            OptionState::Absent => f.write_str("is not named"),
            OptionState::Value(value) => write!(f, "is {}", value.chars().take(MAX_SHOWN).collect::<String>()),
            OptionState::NotHere(why) => write!(f, "does not exist in this kernel: {why}"),
        }
    }
}

/// A kernel use with the states of its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged<'a> {
    /// The use.
    pub kernel_use: KernelUse<'a>,
    /// States of the use's options, in the same order.
    pub states: Vec<OptionState>,
}

impl<'a> Judged<'a> {
    /// Compares a configuration with a use.
    pub fn of(config: &KernelConfig, kernel_use: KernelUse<'a>) -> Judged<'a> {
        let built_in = kernel_use.of.built_in;
        let states = kernel_use.options.iter().map(|option| state(config, option, built_in)).collect();
        Judged { kernel_use, states }
    }

    /// Returns the options with their states.
    pub fn options(&self) -> impl Iterator<Item = (&KernelOption<'a>, &OptionState)> {
        self.kernel_use.options.iter().zip(&self.states)
    }

    /// Returns the missing options, in words: `SECCOMP is not set`.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.options().filter(|(_, state)| state.is_missing());
        missing.map(|(option, state)| format!("{} {state}", option.name)).collect()
    }

    /// Returns the modules that the initrd has to contain, as far as their names are known.
    pub fn modules(&self) -> Vec<&str> {
        let modules = self.options().filter(|(_, state)| **state == OptionState::Module);
        modules.flat_map(|(option, _)| self.kernel_use.of.modules_of(option.name)).collect()
    }
}

fn state(config: &KernelConfig, option: &KernelOption<'_>, built_in: bool) -> OptionState {
    match (config.get(option.name), option.kata_value) {
        (Some(OptionValue::Off), _) => OptionState::Off,
        (Some(OptionValue::BuiltIn), KataValue::BuiltIn) => OptionState::Met,
        (Some(OptionValue::Module), KataValue::BuiltIn) if built_in => OptionState::OnlyModule,
        (Some(OptionValue::Module), KataValue::BuiltIn) => OptionState::Module,
        (Some(OptionValue::Value(found)), KataValue::Value(required)) if is_sufficient(found, required) => {
            OptionState::Met
        }
        (Some(OptionValue::Value(found)), _) => OptionState::Value(found.clone()),
        (Some(OptionValue::BuiltIn), KataValue::Value(_)) => OptionState::Value("y".to_owned()),
        (Some(OptionValue::Module), KataValue::Value(_)) => OptionState::Value("m".to_owned()),
        (None, _) => why_absent(config, option.name).map_or(OptionState::Absent, OptionState::NotHere),
    }
}

/// Whether a value is sufficient: the same text, or a number at least as large.
fn is_sufficient(found: &str, required: &str) -> bool {
    match (found.parse::<u64>(), required.parse::<u64>()) {
        (Ok(found), Ok(required)) => found >= required,
        _ => found == required,
    }
}

/// Returns why the kernel version does not have an option; `None` if it may have it, or the version is unknown.
fn why_absent(config: &KernelConfig, option: &str) -> Option<String> {
    let Some(symbol) = Symbol::of(option) else {
        let may_lack = Fragments::kata().may_lack.contains(option);
        return may_lack.then(|| "Kata's own build does not have it either".to_owned());
    };
    let range = match (symbol.from, symbol.until) {
        (Some(from), _) => format!("Linux has it from {from} on"),
        (None, Some(until)) => format!("Linux had it up to {until}"),
        (None, None) => return None,
    };
    let why = symbol.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    match config.version {
        None => Some(format!("{range}{why}, but the configuration does not state its Linux version")),
        Some(version) => {
            let has_option =
                symbol.from.is_none_or(|from| version >= from) && symbol.until.is_none_or(|until| version <= until);
            (!has_option).then(|| format!("{range}{why}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::kernel::Weight;
    use crate::profile::Profile;

    fn judged(config: &str, name: &str) -> Judged<'static> {
        let config = KernelConfig::parse(config).unwrap();
        let all = KernelUse::all(Arch::X86_64, Profile::find("rs-4.1").unwrap());
        Judged::of(&config, all.into_iter().find(|one| one.of.name == name).unwrap())
    }

    fn state_of(config: &str, name: &str, option: &str) -> OptionState {
        let judged = judged(config, name);
        let found = judged.options().find(|(one, _)| one.name == option).map(|(_, state)| state.clone());
        found.unwrap()
    }

    #[test]
    fn a_module_is_enough_only_if_an_initrd_can_load_it() {
        let config = "CONFIG_VIRTIO_PCI=m\nCONFIG_EPOLL=m\n";
        assert_eq!(state_of(config, "transport", "VIRTIO_PCI"), OptionState::Module);
        assert_eq!(judged(config, "transport").modules(), ["virtio_pci"]);
        // Without an initrd nothing can load a module.
        assert_eq!(state_of(config, "image", "VIRTIO_PCI"), OptionState::OnlyModule);
        assert_eq!(state_of(config, "agent", "EPOLL"), OptionState::OnlyModule);
        assert_eq!(state_of("CONFIG_VIRTIO_PCI=y\n", "image", "VIRTIO_PCI"), OptionState::Met);
    }

    #[test]
    fn missing_options_are_reported_with_their_current_setting() {
        let config = "CONFIG_SECCOMP=y\n# CONFIG_SECCOMP_FILTER is not set\n";
        assert_eq!(judged(config, "seccomp").missing(), ["SECCOMP_FILTER is not set"]);
        assert_eq!(
            judged("CONFIG_SMP=y\n", "seccomp").missing(),
            ["SECCOMP is not named", "SECCOMP_FILTER is not named"]
        );
        assert_eq!(judged(config, "seccomp").kernel_use.weight, Weight::Required);
    }

    #[test]
    fn a_larger_number_than_required_is_accepted() {
        for (config, state) in [
            ("CONFIG_NR_CPUS=8192\n", OptionState::Met),
            ("CONFIG_NR_CPUS=64\n", OptionState::Value("64".to_owned())),
            ("CONFIG_NR_CPUS=y\n", OptionState::Value("y".to_owned())),
        ] {
            assert_eq!(state_of(config, "linux", "NR_CPUS"), state, "{config}");
        }
    }

    /// A renamed option is looked up by the name in this kernel version.
    #[test]
    fn an_option_unknown_to_this_kernel_version_is_not_missing() {
        let of = |version: &str, option: &str| {
            let head = format!("# Linux/x86 {version} Kernel Configuration\nCONFIG_SMP=y\n");
            state_of(&head, "hardening", option)
        };
        let until_6_8 = "Linux had it up to 6.8 (MITIGATION_RETPOLINE since)";
        assert_eq!(of("6.12.48", "RETPOLINE"), OptionState::NotHere(until_6_8.to_owned()));
        assert_eq!(of("6.12.48", "MITIGATION_RETPOLINE"), OptionState::Absent);
        assert_eq!(of("6.1.0", "RETPOLINE"), OptionState::Absent);
        let since_6_9 = "Linux has it from 6.9 on (RETPOLINE before)";
        assert_eq!(of("6.1.0", "MITIGATION_RETPOLINE"), OptionState::NotHere(since_6_9.to_owned()));
        // An option that a distro backported to an older kernel counts as set.
        let backported = "# Linux/x86 5.14.0 Kernel Configuration\nCONFIG_MITIGATION_RETPOLINE=y\n";
        assert_eq!(state_of(backported, "hardening", "MITIGATION_RETPOLINE"), OptionState::Met);
        let OptionState::NotHere(why) = state_of("CONFIG_SMP=y\n", "hardening", "RETPOLINE") else {
            panic!("it is missing")
        };
        assert!(why.ends_with("but the configuration does not state its Linux version"), "{why}");
        let head = "# Linux/x86 6.12.48 Kernel Configuration\nCONFIG_SMP=y\n";
        let not_in_kata_build = "Kata's own build does not have it either";
        assert_eq!(state_of(head, "linux", "X86_PM_TIMER"), OptionState::NotHere(not_in_kata_build.to_owned()));
    }
}
