//! The guest's clock, which runs independently of its host's.

use super::BOOTS;
use super::guest_files::{has_module, list, load, read};
use super::hotplug::waits::lacking;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question};
use crate::outcome::Component;
use crate::row::{Row, row};
use crate::test::{ExcludedArchitectures, Need, Place};
use model::profile::ModuleUse;
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOURCE: &str = include_str!("clock.rs");

pub(super) static ROWS: &[Row] = &[row!(Environment(guest_reads_its_hosts_clock), &[Capability::KernelClock], Kernel)
    .places(&[Place::OwnGuest])
    .blocked_by(BOOTS)
    .needs(&[Need::Kvm])
    .excluding(ExcludedArchitectures::Elsewhere)
    .seconds(120)];

/// How long the guest is paused.
const PAUSE: Duration = Duration::from_secs(3);
/// The most that a reading may differ from the host's clock, in addition to the time that the query takes.
const TOLERANCE: Duration = Duration::from_millis(200);
const CLOCKS: &str = "/sys/class/ptp";

/// A guest can read its host's clock through KVM, also after a pause; the lag of the guest's own clock is noted.
///
/// chrony sets the time in Kata's guests from /dev/ptp0 (`refclock PHC` in
/// tools/osbuilder/rootfs-builder/rootfs.sh@4.1.0); a guest that was paused, or cloned, has no other way to learn the
/// time.
fn guest_reads_its_hosts_clock(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    if !machine.has_kvm() {
        return Err(Stop::skip("the environment runs guests without KVM, whose clock it is"));
    }
    // The driver loads only if there is a clock for it.
    match load(machine, ModuleUse::Clock) {
        Err(Stop::Fail { .. }) => return Err(absent(env)),
        other => other?,
    }
    let Some(device) = clock(machine)? else { return Err(absent(env)) };
    agrees(machine, &device, "at first")?;
    machine.qmp("stop", json!({}))?;
    std::thread::sleep(PAUSE);
    machine.qmp("cont", json!({}))?;
    agrees(machine, &device, "after it was paused")?;
    let host = now();
    let own = time(machine, None)?;
    let lag = Duration::from_nanos(u64::try_from(host.saturating_sub(own)).unwrap_or(u64::MAX));
    env.note(format!("after a pause of {PAUSE:?} the guest's own clock was {lag:.1?} behind its host's"));
    Ok(())
}

/// Returns the device of KVM's clock.
fn clock(machine: &mut dyn Machine) -> Result<Option<String>, Stop> {
    for name in list(machine, CLOCKS)? {
        if read(machine, &format!("{CLOCKS}/{name}/clock_name"))?.trim() == "KVM virtual PTP" {
            return Ok(Some(format!("/dev/{name}")));
        }
    }
    Ok(None)
}

/// Returns the stop for a missing clock: the guest's kernel has no driver, or the host's KVM has no suitable clock.
fn absent(env: &dyn EnvironmentSide) -> Stop {
    if let Err(stop) = has_module(env, ModuleUse::Clock, "ptp_kvm") {
        return stop;
    }
    let what = format!("{CLOCKS} of the guest has no clock of KVM's");
    let config = super::kernel::configuration(env).ok().map(|(_, config)| config);
    if !lacking(config.as_ref(), &["PTP_1588_CLOCK_KVM"]).is_empty() {
        return Stop::blame(Component::Kernel, format!("{what}; its kernel has no PTP_1588_CLOCK_KVM"));
    }
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    match env.read(path) {
        Ok(source) if source.trim() == "tsc" => Stop::fail(what),
        Ok(source) => {
            Stop::skip(format!("{what}; KVM pairs clocks where the host's is tsc, and it is {}", source.trim()))
        }
        Err(_) => Stop::error(format!("{what}, and which clock the host has cannot be seen")),
    }
}

/// Checks that the clock's time is between the host's times before and after the query.
fn agrees(machine: &mut dyn Machine, device: &str, when: &str) -> Check {
    let before = now();
    let shown = time(machine, Some(device))?;
    is_between(shown, before, now(), when)
}

fn is_between(shown: i128, before: i128, after: i128, when: &str) -> Check {
    let tolerance = i128::try_from(TOLERANCE.as_nanos()).unwrap_or(0);
    let off = (before - shown).max(shown - after).max(0);
    ensure!(off <= tolerance, "{when} KVM's clock differs from the host's by {} ms in the guest", off / 1_000_000);
    Ok(())
}

/// Reads a clock: nanoseconds since 1970.
fn time(machine: &mut dyn Machine, device: Option<&str>) -> Result<i128, Stop> {
    let question = Question::Time { device: device.map(str::to_owned) };
    let text = machine.ask(question)?.text("reading a clock in the guest")?;
    text.parse().map_err(|_| Stop::error(format!("a clock of the guest shows {text:?}")))
}

fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fake_machine::{FakeEnvironment, FakeMachine};

    #[test]
    fn a_clock_may_show_any_time_between_request_and_reply() {
        let second = 1_000_000_000;
        let judged = |shown| is_between(shown, 100 * second, 101 * second, "at first");
        for shown in [100 * second, 100 * second + second / 2, 101 * second + second / 10, 100 * second - second / 10] {
            assert_eq!(judged(shown), Ok(()), "{shown}");
        }
        let message = "at first KVM's clock differs from the host's by 3000 ms in the guest";
        assert_eq!(judged(97 * second), Err(Stop::fail(message)));
        assert_eq!(judged(104 * second), Err(Stop::fail(message)));
    }

    #[test]
    fn a_missing_clock_blames_the_kernel_only_if_it_lacks_the_driver() {
        let env = |config: &str, source: &str| {
            let env = FakeEnvironment::of("go-3.32").with("/boot/config-6.12", &[config]);
            let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
            if source.is_empty() { env } else { env.with(path, &[source]) }
        };
        let judged = |config: &str, source: &str| absent(&env(config, source));
        let has = "CONFIG_PTP_1588_CLOCK_KVM=m\n";
        assert!(matches!(judged("CONFIG_SMP=y\n", "tsc\n"), Stop::Fail { blames: Some(Component::Kernel), .. }));
        assert!(matches!(judged(has, "tsc\n"), Stop::Fail { blames: None, .. }));
        assert!(matches!(judged(has, "acpi_pm\n"), Stop::Skip { .. }));
        assert!(matches!(judged(has, ""), Stop::Error { .. }));
        let lacks = Stop::blame(Component::Kernel, "kernel 6.12 has neither a module nor built-in code for ptp_kvm");
        assert_eq!(absent(&env(has, "acpi_pm\n").without(ModuleUse::Clock, "ptp_kvm")), lacks);
    }

    #[test]
    fn kvms_clock_is_found_by_its_name() {
        let mut machine = FakeMachine::of("go-3.32");
        machine.files.insert(CLOCKS.to_owned(), "ptp0\nptp1\n".to_owned());
        machine.files.insert(format!("{CLOCKS}/ptp0/clock_name"), "Intel NIC\n".to_owned());
        machine.files.insert(format!("{CLOCKS}/ptp1/clock_name"), "KVM virtual PTP\n".to_owned());
        assert_eq!(clock(&mut machine), Ok(Some("/dev/ptp1".to_owned())));
        machine.files.insert(CLOCKS.to_owned(), String::new());
        assert_eq!(clock(&mut machine), Ok(None));
    }
}
