//! Known-bad components under the public command: each fault turns exactly the capabilities that it should.
//!
//! The whole matrix of the sabotaged release is compared with that of the release as Debian ships it.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

mod command;

use command::{cell, end, kata_qualify, outcomes, results, verdicts};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};
use tempfile::TempDir;

/// Ends at once, whatever it is asked.
const DEAD_DAEMON: &str = "#!/bin/sh\nexit 1\n";

/// The real daemon, whose renames succeed without being done.
///
/// strace replaces the call by one that does not exist, for which the daemon's own filter would kill it.
const LYING_DAEMON: &str = "\
#!/bin/sh
exec strace -f -qq -o /dev/null -e trace=rename,renameat,renameat2 \\
    -e inject=rename,renameat,renameat2:retval=0 /usr/libexec/virtiofsd.real \"$@\" --seccomp none
";

/// The real QEMU, built without vhost-user-fs-pci as far as one can tell from outside.
const QEMU_WITHOUT_VIRTIO_FS: &str = r#"#!/bin/sh
real=/usr/bin/qemu-system-x86_64.real
for argument in "$@"; do
    case $argument in
    help)
        "$real" "$@" >/tmp/qemu-help.$$ || exit
        grep -v vhost-user-fs /tmp/qemu-help.$$
        exec rm /tmp/qemu-help.$$
        ;;
    vhost-user-fs-pci*)
        echo "qemu-system-x86_64: -device $argument: 'vhost-user-fs-pci' is not a valid device model name" >&2
        exit 1
        ;;
    esac
done
exec "$real" "$@"
"#;

/// A release under one profile.
struct Subject {
    target: &'static str,
    profile: &'static str,
    /// The results of the release as it is.
    before: OnceLock<Value>,
}

static TRIXIE: Subject = Subject { target: "debian:13", profile: "go-3.29", before: OnceLock::new() };
static BOOKWORM: Subject = Subject { target: "debian:12", profile: "go-3.1", before: OnceLock::new() };

impl Subject {
    fn run(&self, arguments: &[&str]) -> Value {
        let dir = tempfile::tempdir().unwrap();
        let mut command = kata_qualify(dir.path());
        command.args(["run", self.target, "--profile", self.profile, "--out", "out"]).args(arguments);
        let ended = end(&mut command);
        assert_ne!(ended.code, Some(2), "{}", ended.stderr);
        let results = results(&dir.path().join("out"));
        let cell = cell(&results, self.target);
        assert_eq!(cell["errors"], Value::Array(Vec::new()), "{}", ended.stderr);
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

    /// What changed against the release as it is: capability → verdict.
    fn turned(&self, after: &Value) -> BTreeMap<String, String> {
        let (before, after) = (verdicts(self.before()), verdicts(after));
        let (before, after) = (&before[self.profile], &after[self.profile]);
        assert!(before.keys().eq(after.keys()), "the matrices have different columns");
        after.iter().filter(|(c, v)| before[*c] != **v).map(|(c, v)| (c.clone(), v.clone())).collect()
    }

    /// Asserts that exactly these capabilities turned to unsupported, each with a cause that blames the component and,
    /// in one of them, says the word.
    fn assert_lost(&self, after: &Value, lost: &[&str], component: &str, word: &str) {
        let expected: BTreeMap<String, String> =
            lost.iter().map(|c| ((*c).to_owned(), "unsupported".to_owned())).collect();
        assert_eq!(self.turned(after), expected);
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

    /// The tree of the release's cached image, which a run that does little has made.
    fn tree(&self) -> PathBuf {
        static MADE: Once = Once::new();
        MADE.call_once(|| drop(self.run(&["--test", "packages_are_installed"])));
        let images = command::cache().join("images");
        let version = self.target.split(':').nth(1).unwrap();
        let plain = |dir: &Path| {
            let manifest: Value = serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).ok()?).unwrap();
            let ours = manifest["version"] == version && manifest["derived-from"].is_null();
            ours.then(|| (manifest["made"].as_str().unwrap().to_owned(), dir.join("rootfs")))
        };
        let found = std::fs::read_dir(images).unwrap().filter_map(|e| plain(&e.unwrap().path())).max();
        found.unwrap().1
    }
}

#[test]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn a_daemon_that_ends_at_once_keeps_the_share_from_mounting_and_nothing_else() {
    let overlay = Overlay::new();
    overlay.program("usr/libexec/virtiofsd", DEAD_DAEMON);
    let mounts = "virtio_fs::mounts_in_the_guest";
    let after = TRIXIE.run(&["--overlay", overlay.path(), "--test", mounts]);
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
    for untouched in ["vmm.boot", "kernel.guest", "fs.virtio-blk"] {
        assert_ne!(judged[untouched]["verdict"], "unsupported", "{untouched}: {}", judged[untouched]);
    }
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_daemon_that_ends_at_once_loses_virtio_fs() {
    let overlay = Overlay::new();
    overlay.program("usr/libexec/virtiofsd", DEAD_DAEMON);
    let after = TRIXIE.run(&["--overlay", overlay.path()]);
    TRIXIE.assert_lost(&after, VIRTIO_FS, "virtiofsd", "virtiofsd");
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_daemon_that_lies_about_renames_loses_virtio_fs() {
    let overlay = Overlay::new();
    overlay.copy(&TRIXIE.tree().join("usr/libexec/virtiofsd"), "usr/libexec/virtiofsd.real");
    overlay.program("usr/libexec/virtiofsd", LYING_DAEMON);
    let after = TRIXIE.run(&["--overlay", overlay.path(), "--install", "strace"]);
    TRIXIE.assert_lost(&after, &["fs.virtio-fs", "fs.virtio-fs.posix"], "virtiofsd", "rename");
    let failed = outcomes(&after).into_iter().filter(|(_, outcome)| outcome == "fail").map(|(test, _)| test);
    assert!(failed.into_iter().any(|test| test == "go-3.29 filesystem::virtio_fs::rename_is_atomic"));
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_without_vhost_user_fs_loses_virtio_fs() {
    let overlay = Overlay::new();
    overlay.copy(&TRIXIE.tree().join("usr/bin/qemu-system-x86_64"), "usr/bin/qemu-system-x86_64.real");
    overlay.program("usr/bin/qemu-system-x86_64", QEMU_WITHOUT_VIRTIO_FS);
    let after = TRIXIE.run(&["--overlay", overlay.path()]);
    TRIXIE.assert_lost(&after, VIRTIO_FS, "qemu", "vhost-user-fs-pci");
}

/// The real QEMU, which gets a signal some seconds after a guest's start. The shell's number is QEMU's after exec.
fn qemu_that_is_sent(signal: &str, seconds: u32) -> String {
    format!(
        "#!/bin/sh\n\
         case \"$*\" in *-append*) (sleep {seconds}; kill -{signal} $$) </dev/null >/dev/null 2>&1 & ;; esac\n\
         exec /usr/bin/qemu-system-x86_64.real \"$@\"\n"
    )
}

/// The real QEMU, with its arguments changed by bash: `a` is each of them.
fn qemu_with(change: &str) -> String {
    format!(
        "#!/bin/bash\n\
         new=()\n\
         for a in \"$@\"; do {change}; new+=(\"$a\"); done\n\
         exec /usr/bin/qemu-system-x86_64.real \"${{new[@]}}\"\n"
    )
}

/// The real daemon, which is sent a signal as soon as it has served for some seconds.
fn daemon_that_is_sent(signal: &str, seconds: u32) -> String {
    format!(
        "#!/bin/sh\n\
         (sleep {seconds}; kill -{signal} $$) </dev/null >/dev/null 2>&1 &\n\
         exec /usr/libexec/virtiofsd.real \"$@\"\n"
    )
}

/// A test that did not pass: its id, its outcome, whom it blames, what it says.
struct Bad {
    test: String,
    outcome: String,
    blames: String,
    message: String,
}

impl Subject {
    /// Runs with a wrapper in a program's place, each test once; what neither passed nor was blocked by it.
    fn bad_with(&self, program: &str, wrapper: &str, filter: &str) -> Vec<Bad> {
        let overlay = Overlay::new();
        overlay.copy(&self.tree().join(program), &format!("{program}.real"));
        overlay.program(program, wrapper);
        let after = self.run(&["--overlay", overlay.path(), "--retries", "0", "--test", filter]);
        let tests = after["tests"].as_array().unwrap().iter();
        // What a list lacks it lacks without the wrapper, too: Debian 13's QEMU makes no TDX guests.
        let uses = |t: &&Value| {
            !["::qemu_has_", "::kernel_has_"].iter().any(|list| t["test"].as_str().unwrap().contains(list))
        };
        let bad = tests.filter(uses).filter(|t| matches!(t["outcome"].as_str(), Some("fail" | "error"))).map(|test| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let last = &test["attempts"].as_array().unwrap().last().unwrap()["outcome"];
            Bad {
                test: text(&test["test"]),
                outcome: text(&test["outcome"]),
                blames: text(&last["component"]),
                // An error has a message.
                message: text(last.get("observed").unwrap_or(&last["message"])),
            }
        });
        let bad: Vec<Bad> = bad.collect();
        assert!(!bad.is_empty(), "everything passed: {after}");
        bad
    }
}

const QEMU: &str = "usr/bin/qemu-system-x86_64";

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_that_cannot_hotplug_loses_hotplug_and_nothing_else() {
    // No memory slots, as many CPU slots as CPUs, no bridge, no SCSI controller.
    let wrapper = qemu_with(
        "case $a in \
         *,slots=*,maxmem=*) a=${a%%,slots=*};; \
         *,maxcpus=*) a=1;; \
         pci-bridge,*|virtio-scsi-pci,*) unset 'new[-1]'; continue;; \
         esac",
    );
    let overlay = Overlay::new();
    overlay.copy(&TRIXIE.tree().join(QEMU), &format!("{QEMU}.real"));
    overlay.program(QEMU, &wrapper);
    let after = TRIXIE.run(&["--overlay", overlay.path(), "--retries", "0", "--test", "is_hotplugged"]);
    let judged = &after["verdicts"][TRIXIE.profile];
    for lost in ["vmm.hotplug.memory", "vmm.hotplug.cpu", "vmm.hotplug.blk", "vmm.hotplug.net"] {
        assert_eq!(judged[lost]["verdict"], "unsupported", "{lost}: {}", judged[lost]);
        for cause in judged[lost]["causes"].as_array().unwrap() {
            assert_eq!(cause["component"], "qemu", "{lost}: {cause}");
        }
    }
    assert_ne!(judged["vmm.boot"]["verdict"], "unsupported", "{}", judged["vmm.boot"]);
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_without_read_only_memory_loses_the_image_as_an_nvdimm_and_nothing_else() {
    // As QEMU 5.2 says it, which has the device.
    let wrapper = qemu_with(
        "case $a in memory-backend-file,*readonly=on*) \
         echo \"qemu-system-x86_64: Property 'memory-backend-file.readonly' not found\" >&2; exit 1;; esac",
    );
    let overlay = Overlay::new();
    overlay.copy(&TRIXIE.tree().join(QEMU), &format!("{QEMU}.real"));
    overlay.program(QEMU, &wrapper);
    let after = TRIXIE.run(&["--overlay", overlay.path(), "--retries", "0", "--test", "image_is_read"]);
    let judged = &after["verdicts"][TRIXIE.profile];
    assert_eq!(judged["vmm.image.nvdimm"]["verdict"], "unsupported", "{}", judged["vmm.image.nvdimm"]);
    for cause in judged["vmm.image.nvdimm"]["causes"].as_array().unwrap() {
        assert_eq!(cause["component"], "qemu", "{cause}");
        assert!(cause["message"].as_str().unwrap().contains("readonly"), "{cause}");
    }
    assert_eq!(judged["vmm.image.blk"]["verdict"], "supported", "{}", judged["vmm.image.blk"]);
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_that_hands_over_another_image_is_found() {
    // The disk's bytes from 4 MiB on are as they were, but 64 KiB further on.
    let wrapper = qemu_with(
        "case $a in id=image-*,file=*) f=${a#*,file=}; f=${f%%,*}; \
         { head -c 4194304 $f; head -c 65536 /dev/zero; tail -c +4194305 $f; } | head -c 134217728 >$f.moved; \
         a=${a/file=$f/file=$f.moved};; esac",
    );
    let bad = TRIXIE.bad_with(QEMU, &wrapper, "image_is_read_as_a_disk");
    for bad in &bad {
        assert_eq!((bad.outcome.as_str(), bad.blames.as_str()), ("fail", "qemu"), "{}: {}", bad.test, bad.message);
    }
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_that_crashes_is_named_by_every_test_that_it_fails() {
    for bad in TRIXIE.bad_with(QEMU, &qemu_that_is_sent("SEGV", 8), "smoke::") {
        assert_eq!((bad.outcome.as_str(), bad.blames.as_str()), ("fail", "qemu"), "{}: {}", bad.test, bad.message);
        assert!(
            bad.message.contains("signal 11") || bad.message.contains("signal: 11"),
            "{}: {}",
            bad.test,
            bad.message
        );
    }
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_that_is_killed_from_outside_blames_nobody() {
    for bad in TRIXIE.bad_with(QEMU, &qemu_that_is_sent("KILL", 8), "smoke::q") {
        assert_eq!(bad.outcome, "error", "{}: {}", bad.test, bad.message);
        assert!(bad.message.contains("killed from outside with signal 9"), "{}: {}", bad.test, bad.message);
    }
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_that_keeps_the_guests_memory_to_itself_is_blamed_and_not_the_daemon() {
    let wrapper = qemu_with("a=${a/,share=on/}");
    let bad = TRIXIE.bad_with(QEMU, &wrapper, "virtio_fs::mounts_in_the_guest");
    for bad in &bad {
        assert_eq!((bad.outcome.as_str(), bad.blames.as_str()), ("fail", "qemu"), "{}: {}", bad.test, bad.message);
    }
    let mount = bad.iter().find(|bad| bad.test == "filesystem::virtio_fs::mounts_in_the_guest").unwrap();
    assert!(mount.message.contains("share=on"), "{}", mount.message);
    assert!(mount.message.contains("memory: QEMU's alone"), "{}", mount.message);
}

/// The daemon waits for a QEMU that connects to its socket, and is asked for nothing.
#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_qemu_that_leaves_its_virtio_fs_device_out_is_blamed_and_not_the_daemon() {
    let wrapper = qemu_with("case $a in vhost-user-fs-pci,*) unset 'new[-1]'; continue;; esac");
    let bad = TRIXIE.bad_with(QEMU, &wrapper, "virtio_fs::mounts_in_the_guest");
    for bad in &bad {
        assert_eq!((bad.outcome.as_str(), bad.blames.as_str()), ("fail", "qemu"), "{}: {}", bad.test, bad.message);
    }
    let mount = bad.iter().find(|bad| bad.test == "filesystem::virtio_fs::mounts_in_the_guest").unwrap();
    assert!(mount.message.contains("device: absent"), "{}", mount.message);
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_guest_that_panics_is_the_kernels_though_qemu_goes_with_it() {
    // Without a first program the kernel panics at the end of its boot.
    let wrapper = qemu_with(r#"[[ $a == *panic=1* ]] && a="$a rdinit=/none root=/none""#);
    for bad in TRIXIE.bad_with(QEMU, &wrapper, "kernel_boots_to_userspace") {
        assert_eq!((bad.outcome.as_str(), bad.blames.as_str()), ("fail", "kernel"), "{}: {}", bad.test, bad.message);
        assert!(bad.message.contains("Kernel panic"), "{}: {}", bad.test, bad.message);
    }
}

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_daemon_that_crashes_is_blamed_and_one_that_is_stopped_is_not() {
    let daemon = "usr/libexec/virtiofsd";
    let bad = TRIXIE.bad_with(daemon, &daemon_that_is_sent("SEGV", 10), "virtio_fs::rename_is_atomic");
    for bad in bad {
        assert_eq!((bad.outcome.as_str(), bad.blames.as_str()), ("fail", "virtiofsd"), "{}: {}", bad.test, bad.message);
    }
    for bad in TRIXIE.bad_with(daemon, &daemon_that_is_sent("STOP", 10), "virtio_fs::rename_is_atomic") {
        assert_eq!(bad.outcome, "error", "{}: {}", bad.test, bad.message);
        assert!(bad.message.contains("stopped from outside"), "{}: {}", bad.test, bad.message);
    }
}

const VIRTIO_FS: &[&str] = &["fs.virtio-fs", "fs.virtio-fs.xattr", "fs.virtio-fs.acl", "fs.virtio-fs.posix"];

#[test]
#[ignore = "minutes each; the nightly workflow runs them with --ignored"]
fn a_kernel_without_its_virtiofs_module_loses_virtio_fs() {
    let modules = BOOKWORM.tree().join("usr/lib/modules");
    let kernels: Vec<_> = std::fs::read_dir(&modules).unwrap().map(|e| e.unwrap().file_name()).collect();
    let overlay = Overlay::new();
    for kernel in kernels {
        let folder = format!("lib/modules/{}/kernel/fs/fuse", kernel.to_str().unwrap());
        assert!(BOOKWORM.tree().join(format!("usr/{folder}/virtiofs.ko")).is_file(), "no module to remove in {folder}");
        overlay.write(&format!("{folder}/.wh.virtiofs.ko"), "", 0o644);
    }
    let after = BOOKWORM.run(&["--overlay", overlay.path()]);
    BOOKWORM.assert_lost(&after, VIRTIO_FS, "kernel", "virtiofs");
}

/// A folder to be laid over a release.
struct Overlay(TempDir);

impl Overlay {
    fn new() -> Overlay {
        Overlay(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn program(&self, path: &str, text: &str) {
        self.write(path, text, 0o755);
    }

    fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.inside(path);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Copies with the mode.
    fn copy(&self, from: &Path, to: &str) {
        std::fs::copy(from, self.inside(to)).unwrap();
    }

    fn inside(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}
