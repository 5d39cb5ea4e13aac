//! A guest's state in files: saved, taken over by other guests, and dumped after a panic.

use super::BOOTS;
use super::guest_files::{list, load, read};
use super::hotplug::waits::{Wait, within};
use super::qmp::{go, reply};
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question, SMALL_MIB, Setting};
use crate::outcome::Component;
use crate::row::{Row, row};
use crate::scratch::Scratch;
use crate::test::Place;
use crate::under;
use model::profile::{ModuleUse, Runtime};
use qapi_qmp as qapi;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

const SOURCE: &str = include_str!("state.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(guests_are_cloned_from_a_template), &[Capability::VmmTemplate], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .seconds(300),
    row!(Environment(guest_that_panicked_is_dumped), &[Capability::VmmDump], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .under(&under::GO)
        .seconds(180),
];

/// How long the Go runtime waits until a state is saved or taken over (`qmpMigrationWaitTimeout` in
/// src/runtime/virtcontainers/qemu_amd64.go@4.1.0); runtime-rs gives up sooner.
const MIGRATED: Duration = Duration::from_secs(5);
/// The file with a guest's host name.
const NAME: &str = "/proc/sys/kernel/hostname";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Two guests take over the saved state of a third one, continue from there, and do not see each other's changes.
///
/// With `enable_template` pods start this way, without booting: memory in a shared file, `x-ignore-shared`, `migrate`
/// to a program (`SaveVM` in src/runtime/virtcontainers/qemu.go@4.1.0, `save_vm` in
/// src/runtime-rs/crates/hypervisor/src/qemu/inner.rs@4.1.0), then `-incoming defer` (`bootFromTemplate`,
/// `boot_from_template`). runtime-rs names no file for the memory, and saves it with the rest of the state.
fn guests_are_cloned_from_a_template(env: &dyn EnvironmentSide) -> Check {
    // The runtimes keep both files in a tmpfs.
    let memory = state_file("memory", "/dev/shm", u64::from(SMALL_MIB) << 20)?;
    let state = state_file("state", "/dev/shm", 0)?;
    let mut template = env.boot_with(Setting::Template(memory.0.clone()))?;
    rename(template.as_mut(), "template")?;
    let boot = read(template.as_mut(), BOOT_ID)?;
    template.qmp("stop", json!({}))?;
    ignore_shared(template.as_mut())?;
    template.qmp("migrate", json!({ "uri": format!("exec:cat >{}", state.0.display()) }))?;
    is_migrated(env, template.as_mut(), "the template's state was saved")?;
    let bytes = fs::metadata(&state.0).map_or(0, |meta| meta.len());
    ensure!(bytes > 0, "QEMU says that it has saved the guest's state, and the file is empty");
    if template.profile().runtime == Runtime::Go {
        is_without_memory(bytes)?;
    }
    drop(template);
    let mut first = clone_of(env, &memory, &state)?;
    let mut second = clone_of(env, &memory, &state)?;
    rename(first.as_mut(), "first")?;
    for (machine, expected) in [(first.as_mut(), "first"), (second.as_mut(), "template")] {
        let (name, id) = (read(machine, NAME)?, read(machine, BOOT_ID)?);
        ensure!(id == boot, "a clone's boot id is {}, the template's {}", id.trim(), boot.trim());
        ensure!(name.trim() == expected, "a clone's host name is {:?}, expected {expected:?}", name.trim());
    }
    Ok(())
}

fn rename(machine: &mut dyn Machine, name: &str) -> Check {
    let question = Question::Write { path: NAME.to_owned(), text: name.to_owned() };
    machine.ask(question)?.text("setting a host name in the guest").map(drop)
}

/// Boots a guest that takes over the state, and runs.
fn clone_of(env: &dyn EnvironmentSide, memory: &Scratch, state: &Scratch) -> Result<Box<dyn Machine>, Stop> {
    let mut machine = env.boot_with(Setting::Clone(memory.0.clone()))?;
    ignore_shared(machine.as_mut())?;
    machine.qmp("migrate-incoming", json!({ "uri": format!("exec:cat {}", state.0.display()) }))?;
    is_migrated(env, machine.as_mut(), "a guest took over the template's state")?;
    machine.qmp("cont", json!({}))?;
    Ok(machine)
}

fn ignore_shared(machine: &mut dyn Machine) -> Check {
    let capability = json!({ "capability": "x-ignore-shared", "state": true });
    machine.qmp("migrate-set-capabilities", json!({ "capabilities": [capability] })).map(drop)
}

/// Waits until `query-migrate`, in the form that the runtime parses, reports the end of the migration.
fn is_migrated(env: &dyn EnvironmentSide, machine: &mut dyn Machine, what: &str) -> Check {
    let wait = Wait::of_test(machine, MIGRATED, what);
    let state = |machine: &mut dyn Machine| {
        let reply = reply::<qapi::MigrationInfo, go::MigrationStatus>(machine, "query-migrate")?;
        Ok::<_, Stop>((reply.get("status").and_then(Value::as_str).unwrap_or("none").to_owned(), reply))
    };
    let done = |machine: &mut dyn Machine| {
        let (status, reply) = state(machine)?;
        match status.as_str() {
            "completed" => Ok(Some(())),
            "failed" | "cancelled" => Err(Stop::fail(format!("waiting until {what}: query-migrate says {reply}"))),
            _ => Ok(None),
        }
    };
    let progress = |machine: &mut dyn Machine| {
        let (status, reply) = state(machine)?;
        Ok((status == "active").then(|| format!("query-migrate says {reply}")))
    };
    within(env, machine, &wait, &[], done, progress)
}

/// Checks that the saved state does not contain the memory, which is shared with a file.
fn is_without_memory(bytes: u64) -> Check {
    let most = u64::from(SMALL_MIB) << 20 >> 3;
    ensure!(bytes < most, "the saved state has {} MiB: x-ignore-shared left the shared memory in", bytes >> 20);
    Ok(())
}

/// A guest's host name, by which its memory is recognised.
const MARK: &str = "kata-qualify-dumped-memory";
/// The guest kernel's paths of QEMU's pvpanic (`QEMU0001` in hw/misc/pvpanic-isa.c): its driver is a platform driver,
/// and was an ACPI driver before.
const PVPANIC: [&str; 2] = ["/sys/bus/platform/devices/QEMU0001:00", "/sys/bus/acpi/devices/QEMU0001:00"];

/// QEMU reports that a guest's kernel has panicked, keeps the guest unchanged, and writes its memory to a core file.
///
/// With `guest_memory_dump_path` the Go runtime waits for this event (`handleGuestPanic` in
/// src/runtime/virtcontainers/qemu.go@4.1.0) and makes QEMU dump the memory as ELF (`dumpGuestMemory`).
fn guest_that_panicked_is_dumped(env: &dyn EnvironmentSide) -> Check {
    has_room(Path::new(FOLDER))?;
    let core = state_file("vmcore", FOLDER, 0)?;
    let mut machine = env.boot_with(Setting::MemoryDump)?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::Settings)?;
    can_tell_of_its_panic(machine)?;
    rename(machine, MARK)?;
    machine.ask(Question::Write { path: "/proc/sysrq-trigger".into(), text: "c".into() })?;
    tells_of_its_panic(machine)?;
    let protocol = format!("file:{}", core.0.display());
    machine.qmp("dump-guest-memory", json!({ "protocol": protocol, "paging": false, "format": "elf" }))?;
    is_a_core(&core.0, u64::from(SMALL_MIB) << 20)
}

/// The directory for the dump.
const FOLDER: &str = "/var/tmp";

/// Skips unless there is room for twice the memory, the runtime's condition for a dump (`canDumpGuestMemory`).
fn has_room(folder: &Path) -> Check {
    let space = rustix::fs::statvfs(folder).doing(format!("looking at {}", folder.display()))?;
    let (free, wanted) = ((space.f_bavail * space.f_frsize) >> 20, u64::from(SMALL_MIB) * 2);
    match free >= wanted {
        true => Ok(()),
        false => Err(Stop::skip(format!("{} has {free} MiB free, expected {wanted} or more", folder.display()))),
    }
}

/// Checks that the guest has QEMU's pvpanic device and a driver for it. The kernel's configuration does not show
/// whether the release's packages have the module.
fn can_tell_of_its_panic(machine: &mut dyn Machine) -> Check {
    let mut has = |path: String| list(machine, &path).map(|names| !names.is_empty());
    let mut is_there = false;
    for device in PVPANIC {
        if has(format!("{device}/driver"))? {
            return Ok(());
        }
        is_there |= has(device.to_owned())?;
    }
    ensure!(is_there, "the guest was given a pvpanic device, and has none: {} is not there", PVPANIC[0]);
    let what = "the guest's kernel has no driver for QEMU's pvpanic device: PVPANIC, and from 5.13 on PVPANIC_MMIO";
    Err(Stop::blame(Component::Kernel, what))
}

/// Checks that the event arrives, and that QEMU reports the guest as panicked.
fn tells_of_its_panic(machine: &mut dyn Machine) -> Check {
    let deadline = Wait::of_test(machine, Duration::from_secs(10), "").scaled();
    let event = machine.wait_for_event("GUEST_PANICKED", deadline)?;
    ensure!(event.is_some(), "the guest's kernel was made to panic, and no GUEST_PANICKED came within {deadline:.1?}");
    let status = reply::<qapi::StatusInfo, go::StatusInfo>(machine, "query-status")?;
    ensure!(
        status.get("status") == Some(&json!("guest-panicked")),
        "after GUEST_PANICKED the guest is to stay as it is, and QMP says {status}"
    );
    Ok(())
}

/// Checks that the file is an ELF core of at least this size, and that the guest's mark is in it.
fn is_a_core(path: &Path, least: u64) -> Check {
    let mut file = File::open(path).doing("opening the dump")?;
    let bytes = file.metadata().doing("looking at the dump")?.len();
    ensure!(bytes >= least, "a guest of {} MiB was dumped, and the file has {} MiB", least >> 20, bytes >> 20);
    let mut header = [0; 18];
    file.read_exact(&mut header).doing("reading the dump")?;
    // The magic number, and the type 4 (ET_CORE of elf.h), little-endian.
    ensure!(
        header[..4] == *b"\x7fELF" && header[16..] == [4, 0],
        "the dump is no ELF core: it begins with {header:02x?}"
    );
    let mut buffer = vec![0; 1 << 20];
    // The mark may be split between two reads, so keep the end of the last one.
    let mut kept = 0;
    loop {
        let read = file.read(&mut buffer[kept..]).doing("reading the dump")?;
        let end = kept + read;
        if contains(&buffer[..end], MARK.as_bytes()) {
            return Ok(());
        }
        ensure!(read > 0, "the dump has {} MiB, and the guest's host name is not in it", bytes >> 20);
        let rest = end.min(MARK.len() - 1);
        buffer.copy_within(end - rest..end, 0);
        kept = rest;
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Creates a file for a guest's state: empty, or sparse with this size, as the runtimes create the memory's file before
/// QEMU opens it.
fn state_file(what: &str, folder: &str, bytes: u64) -> Result<Scratch, Stop> {
    let file = Scratch::within(folder, what);
    let made = File::create_new(&file.0).and_then(|made| made.set_len(bytes));
    made.map_err(|e| Stop::error(format!("making {}: {e}", file.0.display())))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fake_machine::{FakeEnvironment, FakeMachine};

    /// Judges a QEMU that reports these states of its migration, one after another.
    fn migrating(states: &[&str]) -> Check {
        let mut machine = FakeMachine::of("go-3.32");
        let mut states: Vec<String> = states.iter().rev().map(|state| (*state).to_owned()).collect();
        machine.qmp = Box::new(move |_, _| Ok(json!({ "status": states.pop().unwrap_or_default() })));
        is_migrated(&FakeEnvironment::of("go-3.32"), &mut machine, "it was saved")
    }

    #[test]
    fn a_migration_is_waited_for_until_it_is_done_or_has_failed() {
        assert_eq!(migrating(&["setup", "active", "completed"]), Ok(()));
        let failed = r#"waiting until it was saved: query-migrate says {"status":"failed"}"#;
        assert_eq!(migrating(&["active", "failed"]), Err(Stop::fail(failed)));
    }

    #[test]
    fn a_saved_state_that_contains_the_memory_is_found() {
        assert_eq!(is_without_memory(400 << 10), Ok(()));
        let message = "the saved state has 180 MiB: x-ignore-shared left the shared memory in";
        assert_eq!(is_without_memory(180 << 20), Err(Stop::fail(message)));
    }

    #[test]
    fn a_kernel_without_a_driver_for_pvpanic_is_blamed_and_not_qemu() {
        let judged = |files: &[(&str, &str)]| {
            let mut machine = FakeMachine::of("go-3.32");
            machine.files =
                files.iter().map(|(path, text)| (format!("{}{path}", PVPANIC[0]), (*text).to_owned())).collect();
            can_tell_of_its_panic(&mut machine)
        };
        assert_eq!(judged(&[("", "driver\nmodalias"), ("/driver", "bind\nunbind")]), Ok(()));
        // The packages lack the module, although the configuration has PVPANIC=y.
        assert!(matches!(judged(&[("", "modalias")]), Err(Stop::Fail { blames: Some(Component::Kernel), .. })));
        assert!(matches!(judged(&[]), Err(Stop::Fail { blames: None, .. })));
    }

    #[test]
    fn a_panic_that_qemu_does_not_report_is_a_failure() {
        let judged = |event: Option<Value>, status: &str| {
            let mut machine = FakeMachine::of("go-3.32");
            machine.events = [event].into();
            let reply = json!({ "status": status, "running": false });
            machine.qmp = Box::new(move |_, _| Ok(reply.clone()));
            tells_of_its_panic(&mut machine)
        };
        let event = || Some(json!({ "event": "GUEST_PANICKED", "data": { "action": "pause" } }));
        assert_eq!(judged(event(), "guest-panicked"), Ok(()));
        assert!(matches!(judged(event(), "running"), Err(Stop::Fail { blames: None, .. })));
        assert!(matches!(judged(None, "shutdown"), Err(Stop::Fail { blames: None, .. })));
    }

    #[test]
    fn a_dump_is_a_core_with_the_guests_memory_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmcore");
        let header = [&b"\x7fELF\x02\x01\x01"[..], &[0; 9], &[4, 0]].concat();
        let written = |content: Vec<u8>| {
            fs::write(&path, content).unwrap();
            is_a_core(&path, 3 << 20)
        };
        let memory = |at: usize| {
            let mut memory = [header.clone(), vec![0; 3 << 20]].concat();
            memory[at..at + MARK.len()].copy_from_slice(MARK.as_bytes());
            memory
        };
        assert_eq!(written(memory(100)), Ok(()));
        // The mark is split between two reads.
        assert_eq!(written(memory(18 + (1 << 20) - 5)), Ok(()));
        assert!(written([header.clone(), vec![0; 3 << 20]].concat()).is_err());
        assert!(written(vec![0; 4 << 20]).is_err());
        assert!(written(memory(100)[..2 << 20].to_vec()).is_err());
    }
}
