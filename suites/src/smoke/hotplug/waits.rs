//! Waiting for the guest as long as Kata does, or under emulation longer by the factor by which this guest is slower.
//!
//! On hardware a body waits as long as Kata does, and a late result is a failure: Kata gives up at that point, whatever
//! comes afterwards.
//! Under emulation Kata's deadline is multiplied by the seconds that this guest's boot took, because hardware takes
//! about one; both numbers are in the evidence.
//! At the end of the longer deadline, progress is an `error`, because the machine was slow; no progress is a failure,
//! which names the missing kernel options and then blames the kernel.
//! If Kata has no deadline, a guest that still makes progress at the test's deadline has not failed, on hardware
//! either.

use crate::check::Stop;
use crate::environment::{EnvironmentSide, Machine};
use crate::outcome::Component;
use model::kernel::KernelConfig;
use std::time::{Duration, Instant};

/// The approximate time until the agent's hello of a guest with this initramfs on hardware.
const ON_HARDWARE: Duration = Duration::from_secs(1);

/// A condition with its two deadlines.
pub(in crate::smoke) struct Wait {
    what: String,
    /// Whose usual deadline this is: Kata's, or these tests' if Kata has none.
    who: &'static str,
    /// The usual deadline.
    usual: Duration,
    scaled: Duration,
    boot: Duration,
    /// Whether a guest that makes progress at the deadline has not failed.
    forgives: bool,
}

impl Wait {
    /// Creates a wait with Kata's own deadline, the only one on hardware.
    pub(in crate::smoke) fn new(machine: &dyn Machine, usual: Duration, what: &str) -> Wait {
        Wait { forgives: machine.is_emulated(), ..Wait::by("Kata waits", machine, usual, what) }
    }

    /// Creates a wait with a deadline of these tests, if Kata has none.
    pub(in crate::smoke) fn of_test(machine: &dyn Machine, usual: Duration, what: &str) -> Wait {
        Wait::by("on hardware this test waits", machine, usual, what)
    }

    fn by(who: &'static str, machine: &dyn Machine, usual: Duration, what: &str) -> Wait {
        let boot = machine.boot_time();
        let factor = if machine.is_emulated() { factor(boot) } else { 1.0 };
        Wait { what: what.to_owned(), who, usual, scaled: usual.mul_f64(factor), boot, forgives: true }
    }

    /// Returns the deadline that applies.
    pub(in crate::smoke) fn scaled(&self) -> Duration {
        self.scaled
    }

    /// Returns a note if the condition was met only after the usual deadline.
    fn note_of(&self, took: Duration) -> Option<String> {
        (took > self.usual).then(|| format!("{} after {:.1} s: {}", self.what, took.as_secs_f64(), self.numbers()))
    }

    /// Describes both deadlines, for the evidence.
    fn numbers(&self) -> String {
        format!(
            "{} {:.1} s, this guest was given {:.1} s, because it took {:.1} s to boot, where hardware takes about {:.1} s",
            self.who,
            self.usual.as_secs_f64(),
            self.scaled.as_secs_f64(),
            self.boot.as_secs_f64(),
            ON_HARDWARE.as_secs_f64()
        )
    }
}

/// Returns how many times slower than hardware a guest with this boot time is.
fn factor(boot: Duration) -> f64 {
    (boot.as_secs_f64() / ON_HARDWARE.as_secs_f64()).max(1.0)
}

/// Polls until there is a result, at most until the wait's deadline.
///
/// # Errors
/// At the deadline: an error if there is progress and the wait forgives, because the machine was slow; else a failure,
/// which blames the kernel if it lacks one of the `options`.
pub(in crate::smoke) fn within<T>(
    env: &dyn EnvironmentSide,
    machine: &mut dyn Machine,
    wait: &Wait,
    options: &[&str],
    mut look: impl FnMut(&mut dyn Machine) -> Result<Option<T>, Stop>,
    mut progress: impl FnMut(&mut dyn Machine) -> Result<Option<String>, Stop>,
) -> Result<T, Stop> {
    let began = Instant::now();
    loop {
        if let Some(found) = look(machine)? {
            wait.note_of(began.elapsed()).into_iter().for_each(|note| env.note(note));
            return Ok(found);
        }
        if began.elapsed() > wait.scaled {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let seen = progress(machine)?;
    let (path, config) = match crate::smoke::kernel::configuration(env) {
        Ok((path, config)) => (path, Some(config)),
        Err(_) => (format!("/boot/config-{}", env.claims().kernel), None),
    };
    Err(deadline_passed(wait, seen, options, &path, config.as_ref()))
}

/// Returns the stop at the longer deadline, according to the progress and the kernel's configuration, if it can be
/// read.
fn deadline_passed(
    wait: &Wait,
    progress: Option<String>,
    options: &[&str],
    path: &str,
    config: Option<&KernelConfig>,
) -> Stop {
    let mut late = format!("waited until {}, in vain: {}", wait.what, wait.numbers());
    if let Some(seen) = progress {
        late = format!("{late}; {seen}");
        if wait.forgives {
            return Stop::error(late);
        }
    }
    let lacking = lacking(config, options);
    match lacking.is_empty() {
        true if config.is_none() => Stop::fail(format!("{late}; {path} cannot be read")),
        true => Stop::fail(format!("{late}; the kernel has {}", options.join(", "))),
        false => Stop::blame(Component::Kernel, format!("{late}; {path} has no {}", lacking.join(", "))),
    }
}

/// Makes a failure that blames nobody blame the kernel if its configuration lacks one of these options; any other stop
/// is unchanged.
pub(in crate::smoke) fn blame_kernel_if_lacking(env: &dyn EnvironmentSide, options: &[&str], stop: Stop) -> Stop {
    let Stop::Fail { message, blames: None, .. } = &stop else { return stop };
    let config = crate::smoke::kernel::configuration(env).ok().map(|(_, config)| config);
    let lacking = lacking(config.as_ref(), options);
    match lacking.is_empty() {
        true => stop,
        false => Stop::blame(Component::Kernel, format!("{message}; the guest's kernel has no {}", lacking.join(", "))),
    }
}

/// Returns the options that a kernel's configuration has neither built in nor as modules; alternatives (`A or B`) are
/// missing if none is set. Empty without a configuration.
pub(in crate::smoke) fn lacking<'a>(config: Option<&KernelConfig>, options: &[&'a str]) -> Vec<&'a str> {
    let has_any = |config: &KernelConfig, option: &str| option.split(" or ").any(|one| config.has(one));
    options.iter().copied().filter(|option| config.is_some_and(|config| !has_any(config, option))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fake_machine::{FakeEnvironment, FakeMachine};

    #[test]
    fn an_unblamed_failure_blames_a_kernel_that_lacks_an_option() {
        let env = FakeEnvironment::of("go-3.32").with("/boot/config-6.12", &["CONFIG_NUMA=y\n"]);
        let judged = |stop: Stop| blame_kernel_if_lacking(&env, &["NUMA", "ACPI_NUMA"], stop);
        let lacks = Stop::blame(Component::Kernel, "no nodes; the guest's kernel has no ACPI_NUMA");
        assert_eq!(judged(Stop::fail("no nodes")), lacks);
        for other in [Stop::blame(Component::Qemu, "it died"), Stop::skip("none"), Stop::error("lost")] {
            assert_eq!(judged(other.clone()), other);
        }
        assert_eq!(blame_kernel_if_lacking(&env, &["NUMA"], Stop::fail("no nodes")), Stop::fail("no nodes"));
        // Without a configuration, it is not known what the kernel lacks.
        let unknown = FakeEnvironment::of("go-3.32");
        assert_eq!(blame_kernel_if_lacking(&unknown, &["NUMA"], Stop::fail("no nodes")), Stop::fail("no nodes"));
    }

    #[test]
    fn waits_are_scaled_by_boot_time_and_never_shortened() {
        assert!((factor(Duration::from_secs(4)) - 4.0).abs() < 1e-9);
        assert!((factor(Duration::from_millis(300)) - 1.0).abs() < 1e-9);
    }

    /// Returns a wait for a guest that is three times slower than hardware.
    fn wait() -> Wait {
        let seconds = Duration::from_secs;
        Wait {
            what: "the guest had it".to_owned(),
            who: "Kata waits",
            usual: seconds(3),
            scaled: seconds(9),
            boot: seconds(3),
            forgives: true,
        }
    }

    const NUMBERS: &str =
        "Kata waits 3.0 s, this guest was given 9.0 s, because it took 3.0 s to boot, where hardware takes about 1.0 s";

    #[test]
    fn a_wait_longer_than_katas_is_noted_with_both_numbers() {
        assert_eq!(wait().note_of(Duration::from_secs(3)), None);
        let noted = wait().note_of(Duration::from_secs(8)).unwrap();
        assert_eq!(noted, format!("the guest had it after 8.0 s: {NUMBERS}"));
    }

    /// A slow guest is treated no worse than a fast one: only a guest without any progress has failed.
    #[test]
    fn progress_at_the_longer_deadline_is_an_error_and_none_is_a_failure() {
        let config = "CONFIG_HOTPLUG_PCI=y\n";
        let stop = |progress: Option<&str>, options: &[&str], config: &str| {
            let config = KernelConfig::parse(config).ok();
            deadline_passed(&wait(), progress.map(str::to_owned), options, "/boot/config-6", config.as_ref())
        };
        let late = format!("waited until the guest had it, in vain: {NUMBERS}");
        assert_eq!(stop(Some("half of it"), &["EISA"], config), Stop::error(format!("{late}; half of it")));
        let none = |options: &[&str], config: &str| stop(None, options, config);
        assert_eq!(none(&["HOTPLUG_PCI"], config), Stop::fail(format!("{late}; the kernel has HOTPLUG_PCI")));
        assert_eq!(none(&["HOTPLUG_PCI"], ""), Stop::fail(format!("{late}; /boot/config-6 cannot be read")));
        let lacks = Stop::blame(Component::Kernel, format!("{late}; /boot/config-6 has no EISA"));
        assert_eq!(none(&["HOTPLUG_PCI", "EISA"], config), lacks);
    }

    /// On hardware Kata's own deadline decides; a deadline of these tests is no requirement.
    #[test]
    fn on_hardware_progress_beyond_katas_deadline_is_a_failure() {
        let env = FakeEnvironment::of("go-3.32").with("/boot/config-6.12", &["CONFIG_HOTPLUG_PCI=y\n"]);
        let late = |emulated: bool, wait: fn(&dyn Machine, Duration, &str) -> Wait, seen: Option<&str>| {
            let mut machine = FakeMachine::of("go-3.32");
            machine.emulated = emulated;
            let wait = wait(&machine, Duration::ZERO, "the guest had it");
            let progress = |_: &mut dyn Machine| Ok(seen.map(str::to_owned));
            within(&env, &mut machine, &wait, &["HOTPLUG_PCI"], |_| Ok(None::<()>), progress).unwrap_err()
        };
        let half = Some("half of it");
        let stop = late(false, Wait::new, half);
        let Stop::Fail { message, blames: None, .. } = &stop else { panic!("{stop:?}") };
        assert!(message.ends_with("; half of it; the kernel has HOTPLUG_PCI"), "{message}");
        assert!(matches!(late(true, Wait::new, half), Stop::Error { .. }));
        for emulated in [false, true] {
            assert!(matches!(late(emulated, Wait::of_test, half), Stop::Error { .. }), "emulated: {emulated}");
            for wait in [Wait::new as fn(&dyn Machine, Duration, &str) -> Wait, Wait::of_test] {
                assert!(matches!(late(emulated, wait, None), Stop::Fail { .. }), "emulated: {emulated}");
            }
        }
    }

    #[test]
    fn options_that_the_kernel_lacks_are_named() {
        let config = "CONFIG_MEMORY_HOTPLUG=y\n# CONFIG_ACPI_HOTPLUG_MEMORY is not set\nCONFIG_SCSI_VIRTIO=m\n";
        let config = KernelConfig::parse(config).ok();
        let config = config.as_ref();
        assert_eq!(lacking(config, &["MEMORY_HOTPLUG", "ACPI_HOTPLUG_MEMORY", "SCSI_VIRTIO"]), ["ACPI_HOTPLUG_MEMORY"]);
        assert!(lacking(None, &["MEMORY_HOTPLUG"]).is_empty());
        assert!(lacking(config, &["ACPI_HOTPLUG_MEMORY or SCSI_VIRTIO"]).is_empty());
        assert_eq!(lacking(config, &["ACPI_HOTPLUG_MEMORY or EISA"]), ["ACPI_HOTPLUG_MEMORY or EISA"]);
    }
}
