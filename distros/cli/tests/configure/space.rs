//! `configure` and `unconfigure` on a disk that is full, or nearly.

use crate::machine::{BASE, Machine, Output, Small};

const MAIN: &str = "m/etc/containerd/config.toml";
const STATE: &str = "m/var/lib/kata-osinfo/configured.json";
const CALLS: [&[&str]; 3] = [
    &["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", "1.7"],
    &["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", "2.1"],
    &["configure", "--profile", "go-2.4", "--kata-version", "2.4.0"],
];

fn machine() -> Machine {
    let machine = Machine::new();
    machine.file(MAIN, "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"p:1\"\n");
    std::fs::create_dir_all(machine.path("m/var/lib")).expect("made");
    machine
}

/// Takes everything back from a full disk; calls that exit with 13 are repeated once there is space.
fn back(machine: &Machine, small: &Small, call: &[&str]) -> Output {
    small.fill(0);
    let output = machine.run(call);
    if output.code != 13 {
        return output;
    }
    assert!(output.stderr.contains("No space left"), "{}", output.stderr);
    assert!(!machine.path(&format!("m/{BASE}/config.d/50-kata-osinfo.toml")).exists(), "nothing of ours is left");
    assert!(!machine.read(MAIN).contains("kata"), "{}", machine.read(MAIN));
    small.fill(8);
    machine.run(call)
}

/// A mount that is not undone is what a killed test leaves.
#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn a_small_disk_vanishes_with_its_test() {
    let machine = machine();
    std::thread::scope(|scope| {
        let killed = scope.spawn(|| {
            std::mem::forget(machine.shrunk(1024));
            assert!(machine.path(MAIN).exists(), "the machine is on the disk");
        });
        killed.join().expect("it is mounted");
    });
    assert!(!machine.path(MAIN).exists(), "the disk is still mounted");
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn unconfigure_works_on_a_full_disk() {
    for call in CALLS {
        for force in [&["unconfigure"][..], &["unconfigure", "--force"]] {
            for edited in [false, true] {
                let machine = machine();
                let small = machine.shrunk(1024);
                let before = machine.everything_in("small/m");
                let configured = machine.run(call);
                assert_eq!(configured.code, 0, "{}", configured.stderr);
                // Edits by others require more data to be recorded.
                let more = if edited { "\n[theirs]\nx = 1\n" } else { "" };
                machine.file(MAIN, &(machine.read(MAIN) + more));
                let output = back(&machine, &small, force);
                assert_eq!(output.code, 0, "{call:?}: {}", output.stderr);
                let now = machine.read(MAIN);
                assert!(!now.contains("kata") && now.ends_with(more), "{now}");
                machine.file(MAIN, now.strip_suffix(more).expect("theirs"));
                assert_eq!(machine.everything_in("small/m"), before, "{call:?}");
            }
        }
    }
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn configure_on_a_nearly_full_disk_can_be_reverted() {
    let mut whole = 0;
    for call in CALLS {
        for pages in 0..12 {
            let machine = machine();
            let small = machine.shrunk(1024);
            let before = machine.everything_in("small/m");
            small.fill(pages);
            let configured = machine.run(call);
            whole += usize::from(configured.code == 0);
            let output = back(&machine, &small, &["unconfigure"]);
            assert_eq!(output.code, 0, "{call:?} with {pages} pages: {}{}", configured.stderr, output.stderr);
            assert_eq!(machine.everything_in("small/m"), before, "{call:?} with {pages} pages");
        }
    }
    assert!(whole > 0, "some are enough");
}

/// The file is written in place: a partial write would be neither the old text nor the new one.
#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn a_hard_linked_file_is_never_partly_written_on_a_full_disk() {
    let (mut whole, mut refused) = (0, 0);
    let large = machine();
    // The text ends just before a page boundary: the addition needs a third page.
    let text = large.read(MAIN);
    let text = format!("{text}# {}\n", "x".repeat(8192 - 20 - text.len()));
    large.file(MAIN, &text);
    let configured = large.run(CALLS[0]);
    assert_eq!(configured.code, 0, "{}", configured.stderr);
    let new = large.read(MAIN);
    assert!(new.len() > 8192, "{} bytes", new.len());
    for pages in 0..40 {
        let machine = machine();
        machine.file(MAIN, &text);
        let small = machine.shrunk(1024);
        std::fs::hard_link(machine.path(MAIN), machine.path("m/etc/hard")).expect("linked");
        let before = machine.everything_in("small/m");
        small.fill(pages);
        let configured = machine.run(CALLS[0]);
        let now = machine.read(MAIN);
        if configured.code == 0 {
            whole += 1;
            assert_eq!(now, new, "{pages} pages");
            small.fill(80);
        } else {
            assert!(now == text || now == new, "{pages} pages: {}{now}", configured.stderr);
            refused += usize::from(now == text);
            // A partial write is reverted; if there is no space even for that, the state stays.
            if machine.path(STATE).exists() {
                // Simulates a kill in the middle.
                machine.file(MAIN, &new[..8192]);
            }
            small.fill(0);
        }
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{pages} pages: {}{}", configured.stderr, output.stderr);
        assert_eq!(machine.everything_in("small/m"), before, "{pages} pages");
    }
    assert!(whole > 0 && refused > 0, "{whole} were enough, {refused} were too few");
}
