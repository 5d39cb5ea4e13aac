//! CPU hotplug: QEMU has the requested slots, and a CPU is plugged into one, put to work, and unplugged.

use super::forms;
use super::is_numbered;
use super::online::Online;
use super::unplug::{By, delete};
use super::waits::{Wait, within};
use super::{BOOTS, ONLINE};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question, Setting};
use crate::row::{Row, row};
use crate::smoke::guest_files::list;
use crate::test::{Need, Place};
use serde_json::{Value, json};

const SOURCE: &str = include_str!("cpus.rs");

pub(in crate::smoke) static ROWS: &[Row] = &[row!(Environment(cpu_is_hotplugged), &[Capability::VmmHotplugCpu], Qemu)
    .places(&[Place::OwnGuest])
    .blocked_by(BOOTS)
    .needs(&[Need::Cpus])
    .seconds(180)];

/// The guest's kernel options for plugged CPUs.
const FOR_CPUS: &[&str] = &["HOTPLUG_CPU", "ACPI_HOTPLUG_CPU"];

/// A CPU from `query-hotpluggable-cpus` that is plugged as the runtime does comes online, does work, and can be
/// unplugged.
///
/// If sandboxes are not sized once, both runtimes ask QEMU for as many slots as the host has CPUs, plug the CPUs of a
/// pod's limits and unplug them again (`hotplugAddCPUs` in src/runtime/virtcontainers/qemu.go@3.30.0, `hotplug_vcpus`
/// and `hotunplug_vcpus` in src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0). The Go runtime ships this way.
/// runtime-rs's shipped configuration sizes a sandbox once, and then asks for no slot (`setup_config` in
/// src/runtime-rs/crates/resource/src/cpu_mem/initial_size.rs@4.1.0); here its guest is started with
/// `static_sandbox_resource_mgmt = false`, without which no memory is plugged either. Under plain TCG a guest's kernel
/// counts only the CPUs that are present, so only the slots can be checked.
fn cpu_is_hotplugged(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::SizedLater)?;
    let machine = machine.as_mut();
    let (present, most) = (machine.profile().qemu.vcpus, machine.max_vcpus());
    if most <= present {
        return Err(Stop::skip(format!("the environment has {most} CPU, for which Kata asks for no slot")));
    }
    let slot = free_slot(machine, present, most)?;
    if !machine.has_kvm() {
        return Err(Stop::skip(
            "the environment runs guests under plain TCG, where the kernel allows no CPU besides those present; \
             QEMU has the slots",
        ));
    }
    let id = forms::plug_cpu(machine, &slot)?;
    let wait = Wait::new(machine, ONLINE, "the guest did work on a plugged CPU");
    let mut online = Online::default();
    let works = |machine: &mut dyn Machine| {
        online.bring(machine, "/sys/devices/system/cpu", "cpu")?;
        let worked = machine.ask(Question::WorkOnEachCpu)?.cpus("working on each CPU of the guest")?;
        Ok((worked.len() > usize::try_from(present).unwrap_or(0)).then_some(()))
    };
    let more = |machine: &mut dyn Machine| -> Result<Option<usize>, Stop> {
        let there = list(machine, "/sys/devices/system/cpu")?;
        let count = there.iter().filter(|name| is_numbered(name, "cpu")).count();
        Ok((count > usize::try_from(present).unwrap_or(0)).then_some(count))
    };
    let progress = |machine: &mut dyn Machine| {
        more(machine).map(|more| more.map(|count| format!("the guest has {count} CPUs, not online")))
    };
    let waited = within(env, machine, &wait, FOR_CPUS, works, progress);
    if let Some(why) = online.refused {
        env.note(why);
    }
    waited?;
    let mut has = |machine: &mut dyn Machine| more(machine).map(|more| more.is_some());
    delete(machine, &id, By::Kernel(&mut has)).map(drop)
}

/// Returns the slot that the runtime fills first, and checks that QEMU has as many slots as requested.
fn free_slot(machine: &mut dyn Machine, present: u32, most: u32) -> Result<Value, Stop> {
    let slots = machine.qmp("query-hotpluggable-cpus", json!({}))?;
    let slots = slots.as_array().cloned().unwrap_or_default();
    let free: Vec<&Value> = slots.iter().filter(|slot| slot.get("qom-path").is_none()).collect();
    ensure!(
        slots.len() == usize::try_from(most).unwrap_or(0) && free.len() == usize::try_from(most - present).unwrap_or(0),
        "QEMU was asked for {most} CPUs, {present} of them at start, and has {} slots, {} of them free",
        slots.len(),
        free.len()
    );
    // The list is in descending order.
    let first = free.into_iter().find(|slot| forms::fills_slot(machine.profile(), slot)).cloned();
    first.ok_or_else(|| {
        Stop::fail("the runtime fills only slots with a core, a socket and a thread, and QEMU has no such slot")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fake_machine::FakeMachine;

    /// Returns a QEMU whose slots have these properties; the last one is taken.
    fn with_slots(profile: &str, props: &[Value]) -> FakeMachine {
        let taken = props.len() - 1;
        let slot = |(at, props): (usize, &Value)| {
            let mut slot = json!({ "type": "host-x86_64-cpu", "vcpus-count": 1, "props": props });
            if at == taken {
                slot["qom-path"] = json!("/machine/unattached/device[0]");
            }
            slot
        };
        let slots: Vec<Value> = props.iter().enumerate().map(slot).collect();
        let mut machine = FakeMachine::of(profile);
        machine.qmp = Box::new(move |_, _| Ok(json!(slots)));
        machine
    }

    fn core(number: u32) -> Value {
        json!({ "core-id": number, "thread-id": 0, "die-id": 0, "socket-id": 0 })
    }

    #[test]
    fn missing_cpu_slots_are_found_under_both_runtimes() {
        for profile in ["go-3.32", "rs-4.0", "rs-4.1"] {
            let slot = free_slot(&mut with_slots(profile, &[core(1), core(0)]), 1, 2).unwrap();
            assert_eq!(slot["props"], core(1), "{profile}");
            let lacking = free_slot(&mut with_slots(profile, &[core(0)]), 1, 4).unwrap_err();
            let message = "QEMU was asked for 4 CPUs, 1 of them at start, and has 1 slots, 0 of them free";
            assert_eq!(lacking, Stop::fail(message), "{profile}");
        }
    }

    /// `hotplug_vcpus` skips slots without a core, socket or thread.
    #[test]
    fn runtime_rs_skips_slots_without_all_ids() {
        let partly = [json!({ "core-id": 1, "socket-id": 0 }), core(0)];
        assert!(free_slot(&mut with_slots("rs-4.1", &partly), 1, 2).is_err());
        assert!(free_slot(&mut with_slots("go-3.32", &partly), 1, 2).is_ok());
        let second = [partly[0].clone(), core(2), core(0)];
        assert_eq!(free_slot(&mut with_slots("rs-4.1", &second), 1, 3).unwrap()["props"], core(2));
    }
}
