//! Unplugging, and the component to blame if a device stays.
//!
//! The guest's kernel releases a device in a PCI slot, and a CPU: QEMU only requests it.
//! A device that stays therefore blames nobody until there is evidence: whether QEMU and the guest still have the
//! device, and whether QEMU's request reached the guest, according to the interrupts that the guest counts.
//!
//! A PCIe root port makes the request by its attention button, as it does when a device is plugged, and the kernel
//! waits five seconds after a press (`button_work` of Linux' pciehp): a second press within them cancels the first one.
//! A device that is unplugged right after it was plugged may therefore be kept, and a device that was plugged while the
//! slot was being switched on may be switched off again. So [`stays`] waits first, like pods, which use a device before
//! they release it; if that was too short, QEMU from 6.1 on accepts a second request, and an older QEMU refuses it.

use super::waits::Wait;
use crate::check::{Check, Stop};
use crate::environment::{EnvironmentSide, Machine};
use crate::outcome::Component;
use crate::smoke::guest_files::read;
use model::foreign::linux;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long runtime-rs waits for a device to be released; longer than the button's five seconds.
const LET_GO: Duration = model::profile::fixed::DEVICE_DELETED;

/// The time after plugging at which a device behind a button must still be there: the button's five seconds, and some
/// more, because a guest may notice the button late.
const AFTER_PLUG: Duration = Duration::from_secs(8);

/// Returns whether the guest has the device.
type GuestHas<'a> = &'a mut dyn FnMut(&mut dyn Machine) -> Result<bool, Stop>;

/// The component that releases a device.
pub(super) enum By<'a> {
    /// QEMU by itself; the guest is not asked.
    Qemu,
    /// The guest's kernel, once.
    Kernel(GuestHas<'a>),
    /// The guest's kernel, behind a button: asked twice if necessary.
    Button(GuestHas<'a>),
}

/// Unplugs a device and waits until QEMU reports that it is gone; returns a note for the reader of the report, if any.
///
/// Waits ten seconds, as runtime-rs does, or proportionally longer for a slower guest.
pub(super) fn delete(machine: &mut dyn Machine, id: &str, by: By<'_>) -> Result<Option<String>, Stop> {
    let (twice, guest_has) = match by {
        By::Qemu => (false, None),
        By::Kernel(has) => (false, Some(has)),
        By::Button(has) => (true, Some(has)),
    };
    let deadline = Wait::new(machine, LET_GO, "").scaled();
    let (logs, counted) = ((machine.serial(), machine.console()), interrupts(machine));
    machine.qmp("device_del", json!({ "id": id }))?;
    if is_deleted(machine, id, deadline)? {
        return Ok(None);
    }
    let mut what = format!("no DEVICE_DELETED for {id} within {deadline:.1?} of device_del");
    if twice {
        match machine.qmp("device_del", json!({ "id": id })) {
            Ok(_) if is_deleted(machine, id, deadline)? => {
                return Ok(Some(format!("{what}; the guest let it go at a second one, where Kata sends one alone")));
            }
            Ok(_) => what += ", nor of a second one",
            // QEMU is still busy with the first request, or no longer has the device; the facts below decide.
            Err(Stop::Fail { message, .. }) => what = format!("{what}; of a second one: {message}"),
            Err(other) => return Err(other),
        }
    }
    let qemu_has = qemu_has(machine, id)?;
    if !qemu_has && is_deleted(machine, id, Duration::from_secs(1))? {
        return Ok(Some(format!("{what}; it came a little later")));
    }
    let guest_has = match guest_has {
        Some(has) => Some(has(machine)?),
        None => None,
    };
    let asked = counted.map(|before| interrupts(machine).is_some_and(|now| now != before));
    let slow = machine.is_emulated() && (machine.serial(), machine.console()) != logs;
    Err(undeleted(&what, &Facts { qemu_has, guest_has, asked, slow }))
}

/// Returns the guest's serial log before a device is plugged, and adds a note about facts that may matter later.
pub(super) fn before_plug(env: &dyn EnvironmentSide, machine: &dyn Machine) -> String {
    let log = machine.serial();
    if linux::saw_a_link(&log) {
        env.note("QEMU's root port said, before the plug, that the link of its empty slot was up".to_owned());
    }
    log
}

/// Waits until the guest must have decided about a plugged device, and checks that the guest has kept it.
///
/// `before` is the result of [`before_plug`].
pub(super) fn stays(machine: &mut dyn Machine, id: &str, before: &str, guest_has: GuestHas<'_>) -> Check {
    std::thread::sleep(AFTER_PLUG);
    if guest_has(machine)? {
        return Ok(());
    }
    let log = machine.serial();
    let since = log.strip_prefix(before).unwrap_or(&log);
    let qemu_has = qemu_has(machine, id)?;
    // Before the plug, the slot was empty.
    Err(dropped(linux::saw_a_link(before), linux::switched_a_slot_off(since), qemu_has))
}

/// Returns the stop for a device that the guest no longer has, although nobody unplugged it.
///
/// QEMU before 6.0 reports an active link in an empty slot (`PCI_EXP_LNKSTA_DLLLA`, hw/pci/pcie.c). A guest then
/// switches the slot on while it boots; a device that is plugged meanwhile is found, and the button press that comes
/// with it means "off".
fn dropped(empty_link_was_up: bool, switched_off: bool, qemu_has: bool) -> Stop {
    let what =
        format!("the guest no longer has the device {AFTER_PLUG:.0?} after it was plugged, and nobody unplugged it");
    if empty_link_was_up && switched_off {
        let why = "QEMU's root port had said that the link of its empty slot was up, so the guest was switching the slot on \
                   when the device came, and took the press of the attention button for a removal";
        return Stop::blame(Component::Qemu, format!("{what}: {why}"));
    }
    let seen = [
        (switched_off, "the guest's kernel switched the slot off for a press of the attention button"),
        (empty_link_was_up, "the link of the empty slot was up"),
        (qemu_has, "QEMU still has the device"),
    ];
    let seen: Vec<&str> = seen.into_iter().filter_map(|(is_so, words)| is_so.then_some(words)).collect();
    let seen = if seen.is_empty() { "nothing was seen of it".to_owned() } else { seen.join("; ") };
    Stop::error(format!("{what}; whose fault that is is not known: {seen}"))
}

/// Waits for the event of this device.
fn is_deleted(machine: &mut dyn Machine, id: &str, deadline: Duration) -> Result<bool, Stop> {
    let end = Instant::now() + deadline;
    loop {
        let remaining = end.saturating_duration_since(Instant::now());
        match machine.wait_for_event("DEVICE_DELETED", remaining)? {
            Some(event) if event.pointer("/data/device") == Some(&json!(id)) => return Ok(true),
            Some(_) => {}
            None => return Ok(false),
        }
    }
}

/// Checks whether QEMU has a device with this id.
fn qemu_has(machine: &mut dyn Machine, id: &str) -> Result<bool, Stop> {
    let devices = machine.qmp("qom-list", json!({ "path": "/machine/peripheral" }))?;
    Ok(devices.as_array().into_iter().flatten().any(|device| device.get("name").and_then(Value::as_str) == Some(id)))
}

/// Returns the guest's counts of the interrupts with which QEMU requests a release; `None` if it has no such
/// interrupts.
fn interrupts(machine: &mut dyn Machine) -> Option<String> {
    let all = read(machine, "/proc/interrupts").ok()?;
    let asks = |line: &&str| ["acpi", "pciehp", "shpchp"].iter().any(|name| line.to_lowercase().contains(name));
    let lines: Vec<&str> = all.lines().filter(asks).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The evidence about a device that was not released.
struct Facts {
    qemu_has: bool,
    /// Whether the guest has the device; `None` if the guest is not involved.
    guest_has: Option<bool>,
    /// Whether the request reached the guest; `None` if its interrupts do not show that.
    asked: Option<bool>,
    /// Whether the guest is emulated and printed something meanwhile.
    slow: bool,
}

/// Returns the stop for a device that was not released: it blames the kernel if an interrupt asked the guest to release
/// the device and the guest still has it, nobody if that cannot be seen or the guest is slow, and otherwise QEMU.
fn undeleted(what: &str, facts: &Facts) -> Stop {
    let blame = |component: Component, why: &str| Stop::blame(component, format!("{what}; {why}"));
    match (facts.guest_has, facts.asked) {
        _ if !facts.qemu_has => blame(Component::Qemu, "QEMU has it no more, and did not say so"),
        (None, _) => blame(Component::Qemu, "QEMU still has it, and needs no guest to let it go"),
        (Some(false), _) => blame(Component::Qemu, "the guest has let it go, QEMU still has it"),
        _ if facts.slow => {
            Stop::error(format!("{what}; the guest is emulated and said something meanwhile: it is slow"))
        }
        (_, Some(true)) => blame(Component::Kernel, "the guest was asked by an interrupt, and still has it"),
        (_, Some(false)) => blame(Component::Qemu, "the guest still has it, and had no interrupt that asks for it"),
        (_, None) => Stop::error(format!("{what}; the guest still has it, and whether it was asked cannot be seen")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fake_machine::FakeMachine;

    const GONE: &str = "no DEVICE_DELETED for vfio-0 within 10.0s of device_del";

    /// Returns a guest with these events, whose QEMU still has the device or not.
    fn guest(events: Vec<Option<Value>>, qemu_has: bool) -> FakeMachine {
        let mut machine = FakeMachine::of("go-3.32");
        machine.events = events.into();
        let devices = if qemu_has { json!([{ "name": "vfio-0", "type": "child<x>" }]) } else { json!([]) };
        machine.qmp = Box::new(move |command, _| Ok(if command == "qom-list" { devices.clone() } else { json!({}) }));
        machine
    }

    fn deleted(id: &str) -> Option<Value> {
        Some(json!({ "event": "DEVICE_DELETED", "data": { "device": id, "path": "/machine/peripheral/x" } }))
    }

    #[test]
    fn a_device_unplugged_only_by_a_second_request_is_noted() {
        let has = &mut |_: &mut dyn Machine| -> Result<bool, Stop> { Ok(true) };
        let mut machine = guest(vec![deleted("other"), None, deleted("vfio-0")], true);
        let note = delete(&mut machine, "vfio-0", By::Button(has)).unwrap();
        let expected = format!("{GONE}; the guest let it go at a second one, where Kata sends one alone");
        assert_eq!((note, machine.count("device_del")), (Some(expected), 2));
        let mut machine = guest(vec![deleted("vfio-0")], true);
        assert_eq!(delete(&mut machine, "vfio-0", By::Button(has)), Ok(None));
        assert_eq!(machine.count("device_del"), 1, "who lets go is asked once");
        // Only a button cancels a request, so the kernel is asked once.
        let mut machine = guest(vec![None, deleted("vfio-0")], true);
        assert!(delete(&mut machine, "vfio-0", By::Kernel(has)).is_err());
        assert_eq!(machine.count("device_del"), 1);
    }

    #[test]
    fn a_failed_unplug_reports_who_still_has_the_device() {
        let stop = |guest_has: bool, qemu_has: bool| {
            let mut machine = guest(vec![], qemu_has);
            machine
                .files
                .insert("/proc/interrupts".to_owned(), " 24: 2 PCI-MSI 65536-edge PCIe PME, pciehp\n".to_owned());
            delete(&mut machine, "vfio-0", By::Button(&mut |_: &mut dyn Machine| Ok(guest_has))).unwrap_err()
        };
        let blamed = |why: &str| Stop::blame(Component::Qemu, format!("{GONE}, nor of a second one; {why}"));
        assert_eq!(stop(false, true), blamed("the guest has let it go, QEMU still has it"));
        assert_eq!(stop(false, false), blamed("QEMU has it no more, and did not say so"));
        assert_eq!(stop(true, true), blamed("the guest still has it, and had no interrupt that asks for it"));
        let mut machine = guest(vec![], true);
        let nobody = delete(&mut machine, "vfio-0", By::Kernel(&mut |_: &mut dyn Machine| Ok(true))).unwrap_err();
        assert!(matches!(nobody, Stop::Error { .. }), "without a count of interrupts nothing shows whose fault it is");
        let mut machine = guest(vec![], true);
        let alone = Stop::blame(Component::Qemu, format!("{GONE}; QEMU still has it, and needs no guest to let it go"));
        assert_eq!(delete(&mut machine, "vfio-0", By::Qemu), Err(alone));
    }

    #[test]
    fn a_dropped_device_blames_qemu_if_its_empty_slot_had_a_link() {
        let stop = dropped(true, true, false);
        assert!(matches!(&stop, Stop::Fail { blames: Some(Component::Qemu), .. }), "{stop:?}");
        for (up, off) in [(false, true), (true, false), (false, false)] {
            assert!(matches!(dropped(up, off, false), Stop::Error { .. }), "{up} {off}");
        }
    }

    #[test]
    fn a_kernel_that_ignores_an_unplug_is_blamed_unless_it_is_slow() {
        let stop = |slow| {
            let facts = Facts { qemu_has: true, guest_has: Some(true), asked: Some(true), slow };
            undeleted(GONE, &facts)
        };
        let why = format!("{GONE}; the guest was asked by an interrupt, and still has it");
        assert_eq!(stop(false), Stop::blame(Component::Kernel, why));
        assert!(matches!(stop(true), Stop::Error { message } if message.starts_with(GONE)));
    }

    #[test]
    fn a_refused_second_request_is_reported_with_its_reason() {
        let mut machine = guest(vec![], true);
        let mut requests = 0;
        let devices = json!([{ "name": "vfio-0", "type": "child<x>" }]);
        machine.qmp = Box::new(move |command, _| {
            requests += usize::from(command == "device_del");
            match command {
                "qom-list" => Ok(devices.clone()),
                _ if requests > 1 => Err(Stop::blame(Component::Qemu, "already in the process of unplug")),
                _ => Ok(json!({})),
            }
        });
        let stop = delete(&mut machine, "vfio-0", By::Button(&mut |_: &mut dyn Machine| Ok(false))).unwrap_err();
        let why = "of a second one: already in the process of unplug; the guest has let it go, QEMU still has it";
        assert_eq!(stop, Stop::blame(Component::Qemu, format!("{GONE}; {why}")));
    }
}
