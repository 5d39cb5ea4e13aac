//! A kernel's configuration held against what Kata sets in its own: pure, of text alone.

use super::uses::Symbol;
use super::{Fragments, KernelConfig, KernelOption, KernelUse, OptionValue, Wanted};

/// The state of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Built in, or with a value that serves.
    Met,
    /// A module, which an initrd has to carry.
    Module,
    /// A module where that is not enough.
    OnlyModule,
    /// `is not set`.
    Off,
    /// The configuration does not name it: what it needs is off, or this kernel has no such option.
    Absent,
    /// Another value than one that serves.
    Value(String),
    /// No kernel of that version has it; why.
    NotHere(String),
}

impl State {
    /// Whether its use goes without it.
    pub fn is_missing(&self) -> bool {
        match self {
            State::OnlyModule | State::Off | State::Absent | State::Value(_) => true,
            State::Met | State::Module | State::NotHere(_) => false,
        }
    }

    /// Its word, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            State::Met => "met",
            State::Module => "module",
            State::OnlyModule => "only-module",
            State::Off => "off",
            State::Absent => "absent",
            State::Value(_) => "other-value",
            State::NotHere(_) => "not-in-this-kernel",
        }
    }
}

/// The longest piece of a value that a message repeats.
const MAX_SHOWN: usize = 60;

/// The words behind an option's name: `SECCOMP is not set`.
impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::Met => f.write_str("is there"),
            State::Module => f.write_str("is a module"),
            State::OnlyModule => f.write_str("is only a module"),
            State::Off => f.write_str("is not set"),
            State::Absent => f.write_str("is not named"),
            State::Value(value) => write!(f, "is {}", value.chars().take(MAX_SHOWN).collect::<String>()),
            State::NotHere(why) => write!(f, "is none of this kernel's: {why}"),
        }
    }
}

/// A use with what became of its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged<'a> {
    /// What they are for.
    pub kernel_use: KernelUse<'a>,
    /// Their states, in the same order.
    pub states: Vec<State>,
}

impl<'a> Judged<'a> {
    /// Holds a configuration against a use.
    pub fn of(config: &KernelConfig, kernel_use: KernelUse<'a>) -> Judged<'a> {
        let built_in = kernel_use.of.built_in;
        let states = kernel_use.options.iter().map(|option| state(config, option, built_in)).collect();
        Judged { kernel_use, states }
    }

    /// The options with what became of them.
    pub fn options(&self) -> impl Iterator<Item = (&KernelOption<'a>, &State)> {
        self.kernel_use.options.iter().zip(&self.states)
    }

    /// The options that the use goes without, in words: `SECCOMP is not set`.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.options().filter(|(_, state)| state.is_missing());
        missing.map(|(option, state)| format!("{} {state}", option.name)).collect()
    }

    /// The modules that an initrd has to carry, as far as their names are known.
    pub fn modules(&self) -> Vec<&str> {
        let modules = self.options().filter(|(_, state)| **state == State::Module);
        modules.flat_map(|(option, _)| self.kernel_use.of.modules_of(option.name)).collect()
    }
}

fn state(config: &KernelConfig, option: &KernelOption<'_>, built_in: bool) -> State {
    match (config.get(option.name), option.wanted) {
        (Some(OptionValue::Off), _) => State::Off,
        (Some(OptionValue::BuiltIn), Wanted::BuiltIn) => State::Met,
        (Some(OptionValue::Module), Wanted::BuiltIn) if built_in => State::OnlyModule,
        (Some(OptionValue::Module), Wanted::BuiltIn) => State::Module,
        (Some(OptionValue::Value(found)), Wanted::Value(wanted)) if serves(found, wanted) => State::Met,
        (Some(OptionValue::Value(found)), _) => State::Value(found.clone()),
        (Some(OptionValue::BuiltIn), Wanted::Value(_)) => State::Value("y".to_owned()),
        (Some(OptionValue::Module), Wanted::Value(_)) => State::Value("m".to_owned()),
        (None, _) => not_here(config, option.name).map_or(State::Absent, State::NotHere),
    }
}

/// Whether a value does what the wanted one does: the same text, or a number that is no less.
fn serves(found: &str, wanted: &str) -> bool {
    match (found.parse::<u64>(), wanted.parse::<u64>()) {
        (Ok(found), Ok(wanted)) => found >= wanted,
        _ => found == wanted,
    }
}

/// Why no kernel of that version has an option; none where it could have it, or nobody knows.
fn not_here(config: &KernelConfig, option: &str) -> Option<String> {
    let Some(symbol) = Symbol::of(option) else {
        let may_lack = Fragments::kata().may_lack.contains(option);
        return may_lack.then(|| "Kata's own build does without it, too".to_owned());
    };
    let range = match (symbol.from, symbol.until) {
        (Some(from), _) => format!("Linux has it from {from} on"),
        (None, Some(until)) => format!("Linux had it up to {until}"),
        (None, None) => return None,
    };
    let why = symbol.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    match config.version {
        None => Some(format!("{range}{why}, and the configuration does not say of which Linux it is")),
        Some(version) => {
            let has =
                symbol.from.is_none_or(|from| version >= from) && symbol.until.is_none_or(|until| version <= until);
            (!has).then(|| format!("{range}{why}"))
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

    fn state_of(config: &str, name: &str, option: &str) -> State {
        let judged = judged(config, name);
        let found = judged.options().find(|(one, _)| one.name == option).map(|(_, state)| state.clone());
        found.unwrap()
    }

    #[test]
    fn a_module_is_enough_where_an_initrd_can_carry_it() {
        let config = "CONFIG_VIRTIO_PCI=m\nCONFIG_EPOLL=m\n";
        assert_eq!(state_of(config, "transport", "VIRTIO_PCI"), State::Module);
        assert_eq!(judged(config, "transport").modules(), ["virtio_pci"]);
        // A guest without an initrd has nobody who loads it.
        assert_eq!(state_of(config, "image", "VIRTIO_PCI"), State::OnlyModule);
        assert_eq!(state_of(config, "agent", "EPOLL"), State::OnlyModule);
        assert_eq!(state_of("CONFIG_VIRTIO_PCI=y\n", "image", "VIRTIO_PCI"), State::Met);
    }

    #[test]
    fn what_is_missing_is_told_with_how_it_is_set() {
        let config = "CONFIG_SECCOMP=y\n# CONFIG_SECCOMP_FILTER is not set\n";
        assert_eq!(judged(config, "seccomp").missing(), ["SECCOMP_FILTER is not set"]);
        assert_eq!(
            judged("CONFIG_SMP=y\n", "seccomp").missing(),
            ["SECCOMP is not named", "SECCOMP_FILTER is not named"]
        );
        assert_eq!(judged(config, "seccomp").kernel_use.weight, Weight::Required);
    }

    #[test]
    fn of_a_number_more_serves_as_well() {
        for (config, state) in [
            ("CONFIG_NR_CPUS=8192\n", State::Met),
            ("CONFIG_NR_CPUS=64\n", State::Value("64".to_owned())),
            ("CONFIG_NR_CPUS=y\n", State::Value("y".to_owned())),
        ] {
            assert_eq!(state_of(config, "linux", "NR_CPUS"), state, "{config}");
        }
    }

    /// A renamed option is asked for by the name that this kernel has.
    #[test]
    fn an_option_that_the_version_does_not_have_is_not_missing() {
        let of = |version: &str, option: &str| {
            let head = format!("# Linux/x86 {version} Kernel Configuration\nCONFIG_SMP=y\n");
            state_of(&head, "hardening", option)
        };
        let gone = "Linux had it up to 6.8 (MITIGATION_RETPOLINE since)";
        assert_eq!(of("6.12.48", "RETPOLINE"), State::NotHere(gone.to_owned()));
        assert_eq!(of("6.12.48", "MITIGATION_RETPOLINE"), State::Absent);
        assert_eq!(of("6.1.0", "RETPOLINE"), State::Absent);
        let later = "Linux has it from 6.9 on (RETPOLINE before)";
        assert_eq!(of("6.1.0", "MITIGATION_RETPOLINE"), State::NotHere(later.to_owned()));
        // What a distro took over into an older kernel counts as it is set.
        let taken_over = "# Linux/x86 5.14.0 Kernel Configuration\nCONFIG_MITIGATION_RETPOLINE=y\n";
        assert_eq!(state_of(taken_over, "hardening", "MITIGATION_RETPOLINE"), State::Met);
        let State::NotHere(why) = state_of("CONFIG_SMP=y\n", "hardening", "RETPOLINE") else { panic!("it is missing") };
        assert!(why.ends_with("and the configuration does not say of which Linux it is"), "{why}");
        let head = "# Linux/x86 6.12.48 Kernel Configuration\nCONFIG_SMP=y\n";
        let lacks = "Kata's own build does without it, too";
        assert_eq!(state_of(head, "linux", "X86_PM_TIMER"), State::NotHere(lacks.to_owned()));
    }
}
