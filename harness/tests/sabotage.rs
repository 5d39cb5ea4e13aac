//! Known-bad components under the public command: each fault turns exactly the expected capabilities.
//!
//! The whole matrix of the sabotaged release is compared with that of the release as Debian ships it. The faults are in
//! the corpus of seeded faults; `faults.rs` tries every fault of the corpus under its own test only.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

mod command;
mod seeded;

use command::{cell, kata_qualify, outcomes, results, run_to_end, verdicts};
use seeded::corpus::{Means, Program, fault};
use seeded::overlay::{self, Overlay};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// A release under one profile.
struct Subject {
    target: &'static str,
    profile: &'static str,
    /// Results of the unmodified release.
    before: OnceLock<Value>,
}

static TRIXIE: Subject = Subject { target: "debian:13", profile: "go-3.29", before: OnceLock::new() };
static TRIXIE_UNDER_RUST: Subject = Subject { target: "debian:13", profile: "rs-4.1", before: OnceLock::new() };
static BOOKWORM: Subject = Subject { target: "debian:12", profile: "go-3.1", before: OnceLock::new() };

impl Subject {
    fn run(&self, arguments: &[&str]) -> Value {
        let dir = tempfile::tempdir().unwrap();
        let mut command = kata_qualify(dir.path());
        command.args(["run", self.target, "--profile", self.profile, "--out", "out"]).args(arguments);
        let output = run_to_end(&mut command);
        assert_ne!(output.code, Some(2), "{}", output.stderr);
        let results = results(&dir.path().join("out"));
        let cell = cell(&results, self.target);
        assert_eq!(cell["errors"], Value::Array(Vec::new()), "{}", output.stderr);
        cell.clone()
    }

    fn before(&self) -> &Value {
        self.before.get_or_init(|| {
            let before = self.run(&[]);
            let verdicts = verdicts(&before);
            assert_eq!(verdicts[self.profile]["fs.virtio-fs"], "supported", "nothing to be lost: {verdicts:?}");
            before
        })
    }

    /// Returns the changes from the unmodified release: capability → verdict.
    fn changed_verdicts(&self, after: &Value) -> BTreeMap<String, String> {
        let (before, after) = (verdicts(self.before()), verdicts(after));
        let (before, after) = (&before[self.profile], &after[self.profile]);
        assert!(before.keys().eq(after.keys()), "the matrices have different columns");
        after.iter().filter(|(c, v)| before[*c] != **v).map(|(c, v)| (c.clone(), v.clone())).collect()
    }

    /// Asserts that exactly these capabilities became unsupported, that each cause blames the component, and that one
    /// of the causes contains the word.
    fn assert_unsupported(&self, after: &Value, lost: &[&str], component: &str, word: &str) {
        let expected: BTreeMap<String, String> =
            lost.iter().map(|c| ((*c).to_owned(), "unsupported".to_owned())).collect();
        assert_eq!(self.changed_verdicts(after), expected);
        let mut messages = String::new();
        for capability in lost {
            let causes = after["verdicts"][self.profile][*capability]["causes"].as_array().unwrap();
            assert!(!causes.is_empty(), "{capability} is unsupported without a cause");
            for cause in causes {
                assert_eq!(cause["component"], component, "{capability}: {cause}");
                messages.push_str(cause["message"].as_str().unwrap());
                messages.push('\n');
            }
        }
        assert!(messages.contains(word), "no cause says {word}:\n{messages}");
    }

    /// Returns the capabilities that are unsupported in a run of some tests.
    fn unsupported(&self, after: &Value) -> BTreeSet<String> {
        let verdicts = verdicts(after);
        let unsupported = verdicts[self.profile].iter().filter(|(_, verdict)| *verdict == "unsupported");
        unsupported.map(|(capability, _)| capability.clone()).collect()
    }

    /// Runs with a component broken by these means.
    fn run_with(&self, means: &Means, arguments: &[&str]) -> Value {
        let overlay = Overlay::of(means, &overlay::Subject::new(self.target)).unwrap();
        let options = overlay.options();
        let options: Vec<&str> = options.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        self.run(&options)
    }
}

#[test]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn a_virtiofsd_that_exits_at_once_makes_only_the_share_unsupported() {
    let mounts = "virtio_fs::mounts_in_the_guest";
    let after = TRIXIE.run_with(&fault("virtiofsd-ends-at-once").by, &["--test", mounts]);
    let outcomes = outcomes(&after);
    let outcome = |test: &str| outcomes.get(&format!("go-3.29 {test}")).map(String::as_str);
    assert_eq!(outcome("smoke::kernel_boots_to_userspace"), Some("pass"), "{outcomes:?}");
    assert_eq!(outcome("smoke::qemu_has_the_devices_of_virtio_fs"), Some("pass"), "{outcomes:?}");
    assert_eq!(outcome("filesystem::virtio_fs::mounts_in_the_guest"), Some("blocked"), "{outcomes:?}");
    let judged = &after["verdicts"]["go-3.29"];
    assert_eq!(judged["fs.virtio-fs"]["verdict"], "unsupported");
    for cause in judged["fs.virtio-fs"]["causes"].as_array().unwrap() {
        assert_eq!(cause["component"], "virtiofsd", "{cause}");
    }
    let unsupported = TRIXIE.unsupported(&after);
    assert!(unsupported.iter().all(|capability| VIRTIO_FS.contains(&capability.as_str())), "{unsupported:?}");
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_virtiofsd_that_exits_at_once_makes_virtio_fs_unsupported() {
    let after = TRIXIE.run_with(&fault("virtiofsd-ends-at-once").by, &[]);
    TRIXIE.assert_unsupported(&after, VIRTIO_FS, "virtiofsd", "virtiofsd");
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_virtiofsd_with_false_renames_makes_virtio_fs_unsupported() {
    let after = TRIXIE.run_with(&fault("virtiofsd-lies-about-renames").by, &[]);
    TRIXIE.assert_unsupported(&after, &["fs.virtio-fs", "fs.virtio-fs.posix"], "virtiofsd", "rename");
    let failed = outcomes(&after).into_iter().filter(|(_, outcome)| outcome == "fail").map(|(test, _)| test);
    assert!(failed.into_iter().any(|test| test == "go-3.29 filesystem::virtio_fs::rename_is_atomic"));
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_without_vhost_user_fs_makes_virtio_fs_unsupported() {
    let after = TRIXIE.run_with(&fault("qemu-without-vhost-user-fs").by, &[]);
    TRIXIE.assert_unsupported(&after, VIRTIO_FS, "qemu", "vhost-user-fs-pci");
}

/// A test that did not pass: its id, outcome, blamed component and message.
struct FailedTest {
    test: String,
    outcome: String,
    blames: String,
    message: String,
}

impl Subject {
    /// Runs each test once and sends QEMU a signal eight seconds after each guest's start; returns the tests that
    /// failed or ended in error.
    fn failures_under_signal(&self, signal: &str, filter: &str) -> Vec<FailedTest> {
        let means = Means::Signal { program: Program::Qemu, signal: signal.to_owned(), seconds: 8 };
        let after = self.run_with(&means, &["--retries", "0", "--test", filter]);
        let tests = after["tests"].as_array().unwrap().iter();
        // Tests of lists fail without the signal, too: Debian 13's QEMU cannot make TDX guests.
        let uses = |t: &&Value| {
            !["::qemu_has_", "::kernel_has_"].iter().any(|list| t["test"].as_str().unwrap().contains(list))
        };
        let failed =
            tests.filter(uses).filter(|t| matches!(t["outcome"].as_str(), Some("fail" | "error"))).map(|test| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let last = &test["attempts"].as_array().unwrap().last().unwrap()["outcome"];
                FailedTest {
                    test: text(&test["test"]),
                    outcome: text(&test["outcome"]),
                    blames: text(&last["component"]),
                    // An outcome of "error" has a message instead of an observation.
                    message: text(last.get("observed").unwrap_or(&last["message"])),
                }
            });
        let failed: Vec<FailedTest> = failed.collect();
        assert!(!failed.is_empty(), "everything passed: {after}");
        failed
    }
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_that_cannot_hotplug_makes_only_hotplug_unsupported() {
    for release in [&TRIXIE, &TRIXIE_UNDER_RUST] {
        let only = ["--retries", "0", "--test", "is_hotplugged"];
        let after = release.run_with(&fault("qemu-cannot-hotplug").by, &only);
        let judged = &after["verdicts"][release.profile];
        let lost = "vmm.hotplug.memory vmm.hotplug.cpu vmm.hotplug.blk vmm.hotplug.net vmm.hotplug.pci-disk";
        for lost in lost.split(' ') {
            assert_eq!(judged[lost]["verdict"], "unsupported", "{} {lost}: {}", release.profile, judged[lost]);
            for cause in judged[lost]["causes"].as_array().unwrap() {
                assert_eq!(cause["component"], "qemu", "{} {lost}: {cause}", release.profile);
            }
        }
        // A disk of io_uring is plugged, too.
        let is_of_hotplug = |capability: &str| capability.starts_with("vmm.hotplug.") || capability == "host.io-uring";
        let unsupported = release.unsupported(&after);
        assert!(unsupported.iter().all(|capability| is_of_hotplug(capability)), "{unsupported:?}");
    }
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_without_read_only_memory_supports_blk_but_no_nvdimm_images() {
    let means = fault("qemu-without-read-only-memory").by;
    let after = TRIXIE.run_with(&means, &["--retries", "0", "--test", "image_is_read"]);
    let judged = &after["verdicts"][TRIXIE.profile];
    assert_eq!(judged["vmm.image.nvdimm"]["verdict"], "unsupported", "{}", judged["vmm.image.nvdimm"]);
    for cause in judged["vmm.image.nvdimm"]["causes"].as_array().unwrap() {
        assert_eq!(cause["component"], "qemu", "{cause}");
        assert!(cause["message"].as_str().unwrap().contains("readonly"), "{cause}");
    }
    assert_eq!(judged["vmm.image.blk"]["verdict"], "supported", "{}", judged["vmm.image.blk"]);
    assert_eq!(TRIXIE.unsupported(&after), ["vmm.image.nvdimm".to_owned()].into());
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn every_test_that_fails_by_a_qemu_crash_blames_qemu() {
    for failed in TRIXIE.failures_under_signal("SEGV", "smoke::") {
        assert_eq!(
            (failed.outcome.as_str(), failed.blames.as_str()),
            ("fail", "qemu"),
            "{}: {}",
            failed.test,
            failed.message
        );
        assert!(
            failed.message.contains("signal 11") || failed.message.contains("signal: 11"),
            "{}: {}",
            failed.test,
            failed.message
        );
    }
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_that_is_killed_from_outside_blames_nobody() {
    for failed in TRIXIE.failures_under_signal("KILL", "smoke::q") {
        assert_eq!(failed.outcome, "error", "{}: {}", failed.test, failed.message);
        assert!(failed.message.contains("killed from outside with signal 9"), "{}: {}", failed.test, failed.message);
    }
}

const VIRTIO_FS: &[&str] = &["fs.virtio-fs", "fs.virtio-fs.xattr", "fs.virtio-fs.acl", "fs.virtio-fs.posix"];

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_kernel_without_the_virtiofs_module_makes_virtio_fs_unsupported() {
    let after = BOOKWORM.run_with(&fault("kernel-without-virtiofs").by, &[]);
    BOOKWORM.assert_unsupported(&after, VIRTIO_FS, "kernel", "virtiofs");
}
