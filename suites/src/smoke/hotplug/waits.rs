//! Waiting for the guest as long as Kata does, or under emulation as much longer as this very guest is slower.
//!
//! On hardware a body waits as long as Kata does.
//! Under emulation Kata's deadline is multiplied by the seconds that this guest's boot took, because hardware takes
//! about one; both numbers stand in the evidence.
//! At the end of the longer deadline, progress is an `error`, because the machine was slow; no progress is a failure,
//! which names the kernel's options that are missing and then blames the kernel.

use crate::check::Stop;
use crate::environment::{EnvironmentSide, Machine};
use crate::outcome::Component;
use std::time::{Duration, Instant};

/// What a guest with this initramfs takes to its agent's hello on hardware, about.
const ON_HARDWARE: Duration = Duration::from_secs(1);

/// A condition with its two deadlines.
pub(in crate::smoke) struct Wait {
    what: String,
    kata: Duration,
    scaled: Duration,
    boot: Duration,
}

impl Wait {
    /// Kata's own deadline, which on hardware is the only one.
    pub(in crate::smoke) fn new(machine: &dyn Machine, kata: Duration, what: &str) -> Wait {
        let boot = machine.boot_time();
        let factor = if machine.is_emulated() { factor(boot) } else { 1.0 };
        Wait { what: what.to_owned(), kata, scaled: kata.mul_f64(factor), boot }
    }

    /// The deadline that counts.
    pub(in crate::smoke) fn scaled(&self) -> Duration {
        self.scaled
    }

    /// Both numbers, for the evidence.
    fn numbers(&self) -> String {
        format!(
            "Kata waits {:.1} s, this guest was given {:.1} s, because it took {:.1} s to boot, where hardware takes about {:.1} s",
            self.kata.as_secs_f64(),
            self.scaled.as_secs_f64(),
            self.boot.as_secs_f64(),
            ON_HARDWARE.as_secs_f64()
        )
    }
}

/// How many times slower than hardware a guest is that took so long to boot.
fn factor(boot: Duration) -> f64 {
    (boot.as_secs_f64() / ON_HARDWARE.as_secs_f64()).max(1.0)
}

/// Looks until there is something, at most as long as the wait says.
///
/// # Errors
/// At the deadline: an error if there is progress, because the machine was slow; else a failure, which blames the kernel
/// where it lacks one of the `options`.
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
            let took = began.elapsed();
            if took > wait.kata {
                env.note(format!("{} after {:.1} s: {}", wait.what, took.as_secs_f64(), wait.numbers()));
            }
            return Ok(found);
        }
        if began.elapsed() > wait.scaled {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let late = format!("waited until {}, in vain: {}", wait.what, wait.numbers());
    if let Some(seen) = progress(machine)? {
        return Err(Stop::error(format!("{late}; {seen}")));
    }
    let usual = || (format!("/boot/config-{}", env.claims().kernel), String::new());
    let (path, config) = crate::smoke::kernel::configuration(env).unwrap_or_else(|_| usual());
    let lacking = lacking(&config, options);
    Err(match lacking.is_empty() {
        true if config.is_empty() => Stop::fail(format!("{late}; {path} cannot be read")),
        true => Stop::fail(format!("{late}; the kernel has {}", options.join(", "))),
        false => Stop::blame(Component::Kernel, format!("{late}; {path} has no {}", lacking.join(", "))),
    })
}

/// The options that a kernel's configuration neither builds in nor has as modules, of alternatives (`A or B`) those of
/// which it has none; nothing where there is no configuration.
pub(in crate::smoke) fn lacking<'a>(config: &str, options: &[&'a str]) -> Vec<&'a str> {
    let has = |option: &str| {
        config.lines().any(|line| line == format!("CONFIG_{option}=y") || line == format!("CONFIG_{option}=m"))
    };
    let has_any = |option: &str| option.split(" or ").any(has);
    options.iter().copied().filter(|option| !config.is_empty() && !has_any(option)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_boots_slowly_is_given_as_much_more_and_never_less() {
        assert!((factor(Duration::from_secs(4)) - 4.0).abs() < 1e-9);
        assert!((factor(Duration::from_millis(300)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn options_that_the_kernel_lacks_are_named() {
        let config = "CONFIG_MEMORY_HOTPLUG=y\n# CONFIG_ACPI_HOTPLUG_MEMORY is not set\nCONFIG_SCSI_VIRTIO=m\n";
        assert_eq!(lacking(config, &["MEMORY_HOTPLUG", "ACPI_HOTPLUG_MEMORY", "SCSI_VIRTIO"]), ["ACPI_HOTPLUG_MEMORY"]);
        assert!(lacking("", &["MEMORY_HOTPLUG"]).is_empty());
        assert!(lacking(config, &["ACPI_HOTPLUG_MEMORY or SCSI_VIRTIO"]).is_empty());
        assert_eq!(lacking(config, &["ACPI_HOTPLUG_MEMORY or EISA"]), ["ACPI_HOTPLUG_MEMORY or EISA"]);
    }
}
