use crate::generated_run::{GeneratedRun, PROFILE, artifacts, run_command, write_run};
use crate::trackers::Tracker;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use suites::outcome::Component;

/// Findings in Debian 13: one that is no bug, one of Kata, and one of the distro.
const TDX: (&str, Component, &str) =
    ("smoke::qemu_has_tdx", Component::Qemu, "/usr/bin/qemu-system-x86_64 does not offer -object tdx-guest");
const ROOT_PORT: (&str, Component, &str) = (
    "smoke::pci_disk_is_hotplugged_into_a_root_port",
    Component::Kata,
    "QMP device_add: device_add was refused (GenericError): Invalid parameter type for 'mq', expected: boolean",
);
const LINE: (&str, Component, &str) = (
    "smoke::virtiofsd_prints_what_runtime_rs_waits_for",
    Component::Virtiofsd,
    "nothing came of /home/alice/src at forge.lab.example",
);

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn bug_writes_a_complete_report_without_local_data() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    write_run(&run, &GeneratedRun { fails: LINE, log: "g1/virtiofsd.log", ..GeneratedRun::default() });
    let log = run.join(artifacts(GeneratedRun::default().cell)).join("g1/virtiofsd.log");
    std::fs::write(&log, "http://someone:hunter22@mirror.example/x\nalice looks at /home/bob\n").unwrap();
    let blame = run.join("blame/002-x");
    std::fs::create_dir_all(&blame).unwrap();
    let head = format!("{} in {} under {PROFILE}", LINE.0, GeneratedRun::default().cell);
    std::fs::write(blame.join("blame.txt"), format!("{head}\nrun --kata /srv/alice/kata.tar\nit passes\n")).unwrap();
    let arguments = ["bug", "run", "virtiofsd_prints", "--out", "bug"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
    let output = command.args(arguments).current_dir(dir.path()).env("USER", "alice").output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let bug = dir.path().join("bug");
    assert_eq!(names(&bug), ["kata-qualify-r1.tar.zst", "report.eml", "where.txt"], "this test has no script");
    let (mail, to) = (read(&bug.join("report.eml")), read(&bug.join("where.txt")));
    assert_eq!(stdout, to);
    assert!(stderr.contains("bug report: bug\n"), "{stderr}");
    for words in [
        "To: submit@bugs.debian.org\nSubject: virtiofsd: nothing came of /home/<user>/src",
        "\n\nPackage: virtiofsd\nVersion: 1.13.2-1\nSeverity: normal\n",
        "There is no reproducer apart from the test itself",
        "run --kata <folder>/kata.tar\nit passes\n",
        "g1/virtiofsd.log, which is\nin the bundle:",
        "<user> looks at /home/<user>",
        "Release:      debian 13 (trixie)",
    ] {
        assert!(mail.contains(words), "{words}\n{mail}");
    }
    for words in ["https://bugs.debian.org/virtiofsd", "Nothing was sent.", "reportbug --resume-saved report.eml"] {
        assert!(to.contains(words), "{words}\n{to}");
    }
    let unpacked = tempfile::tempdir().unwrap();
    harness::bundle::open(&bug.join("kata-qualify-r1.tar.zst"), unpacked.path()).unwrap();
    let packed = images::packed::files(unpacked.path(), harness::bundle::LIMITS).unwrap();
    let all = packed.values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).chain([mail, to]);
    for text in all {
        for secret in ["alice", "bob", "hunter22", "mirror.example", "/srv/"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    // Without the run's directory, the bundle is enough.
    let again = run_command(dir.path(), &["bug", "bug/kata-qualify-r1.tar.zst", "virtiofsd_prints", "--out", "again"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(names(&dir.path().join("again")), names(&bug));
    let refused = run_command(dir.path(), &["bug", "bug/report.eml", "virtiofsd_prints", "--out", "of-a-mail"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("bug/report.eml: "), "{}", refused.stderr);
    let refused = run_command(dir.path(), &["bug", "run", "virtiofsd_prints", "--out", "bug"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("expected an empty folder"), "{}", refused.stderr);
}

#[test]
fn bug_refuses_failures_that_are_not_bugs_of_the_requested_tracker() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("tdx"), &GeneratedRun { fails: TDX, ..GeneratedRun::default() });
    write_run(&dir.path().join("port"), &GeneratedRun { fails: ROOT_PORT, ..GeneratedRun::default() });
    write_run(&dir.path().join("shaped"), &GeneratedRun { fails: LINE, shaped: true, ..GeneratedRun::default() });
    for (arguments, why) in [
        (
            &["tdx", "qemu_has_tdx"][..],
            "no report was written, because this is not a bug: Kata runs without it: vmm.tdx is optional",
        ),
        (
            &["port", "root_port", "--to", "debian"],
            "--to debian cannot be used for this failure, which must be reported as kata.",
        ),
        (
            &["tdx", "qemu_has_tdx", "--wishlist", "--to", "kata"],
            "which must be reported as debian. Kata runs without it",
        ),
        (&["shaped", "virtiofsd_prints"], "there is nothing to report. The run is shaped"),
        (&["tdx", "nothing_like_it"], "no failed test there has `nothing_like_it` in its name"),
        (&["nowhere", "x"], "nowhere: reading the run"),
    ] {
        let refused = run_command(dir.path(), &[&["bug", "--out", "out"], arguments].concat());
        assert!(refused.code == Some(2) && refused.stderr.contains(why), "{why}: {}", refused.stderr);
        assert!(!dir.path().join("out").exists(), "nothing is written");
    }
    let wish = run_command(dir.path(), &["bug", "tdx", "qemu_has_tdx", "--wishlist", "--out", "wish"]);
    assert_eq!(wish.code, Some(0), "{}", wish.stderr);
    let mail = read(&dir.path().join("wish/report.eml"));
    assert!(mail.contains("\nSeverity: wishlist\n") && mail.contains("This is a wish, not a bug."), "{mail}");
    let script = dir.path().join("wish/repro.sh");
    assert!(read(&script).contains("\nwants -object tdx-guest\n"), "{}", read(&script));
    let mode = std::os::unix::fs::PermissionsExt::mode(&script.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o755);
    // A run from somebody else says what is hidden of it, which may be a part of a script's quoting or of its commands.
    std::fs::write(dir.path().join("tdx/private.json"), r#"{"users": ["cannot_tell"]}"#).unwrap();
    let other = run_command(dir.path(), &["bug", "tdx", "qemu_has_tdx", "--wishlist", "--out", "other"]);
    assert_eq!(other.code, Some(0), "{}", other.stderr);
    assert!(!dir.path().join("other/repro.sh").exists());
    let mail = read(&dir.path().join("other/report.eml"));
    assert!(mail.contains("There is no reproducer apart from the test itself") && !mail.contains("<user>"), "{mail}");
    let kata = run_command(dir.path(), &["bug", "port", "root_port", "--out", "kata"]);
    assert!(kata.code == Some(0) && kata.stdout.contains("kata-containers/issues"), "{}{}", kata.stdout, kata.stderr);
    assert!(read(&dir.path().join("kata/report.md")).contains("\n## Expected result\n"));
}

#[test]
fn bug_refuses_a_known_issue() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("run"), &GeneratedRun { fails: LINE, ..GeneratedRun::default() });
    let folder = dir.path().join("records/known-issues");
    std::fs::create_dir_all(&folder).unwrap();
    let entry = format!(
        "  - {{id: the-line, test: '{}', package: virtiofsd, versions: all, url: 'https://bugs.debian.org/1', owner: o, \
         expires: 2100-01-01}}\n",
        LINE.0
    );
    std::fs::write(folder.join("debian.yaml"), format!("distro: debian\nknown-issues:\n{entry}")).unwrap();
    let known = run_command(dir.path(), &["bug", "run", "virtiofsd_prints", "--out", "out", "--records", "records"]);
    let why = "this is the known issue the-line (owner o, until 2100-01-01): add new information to \
               https://bugs.debian.org/1";
    assert!(known.code == Some(2) && known.stderr.contains(why), "{}", known.stderr);
    assert!(!dir.path().join("out").exists());
}

/// Debian's own program sends the mail unchanged to a server of this test.
#[test]
#[cfg_attr(lacks = "reportbug", ignore = "needs reportbug")]
fn reportbug_sends_the_mail_and_adds_nothing_of_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("run"), &GeneratedRun { fails: TDX, ..GeneratedRun::default() });
    assert_eq!(run_command(dir.path(), &["bug", "run", "tdx", "--wishlist", "--out", "bug"]).code, Some(0));
    // reportbug refuses to run as root, and asks an unknown user more questions.
    let home = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join(".reportbugrc"), "").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let tracker = Tracker::of_mail();
    let mut reportbug = Command::new("reportbug");
    reportbug
        .args(["--resume-saved"])
        .arg(dir.path().join("bug/report.eml"))
        .args(["--smtphost", &tracker.address, "--email", "somebody@mail.lab.internal", "--realname", "Somebody"])
        .args(["--ui", "text", "--offline", "--mode", "expert", "--no-cc-menu", "--editor", "/bin/true"])
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C.UTF-8"), ("TERM", "dumb")])
        .env("HOME", &home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).unwrap();
        reportbug.uid(65_534).gid(65_534);
    }
    let mut child = reportbug.spawn().unwrap();
    // The answer to "Submit this report?"
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"y\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mail = tracker.received();
    let (headers, body) = mail.split_once("\n\n").unwrap();
    assert!(headers.contains("\nTo: submit@bugs.debian.org"), "{headers}");
    assert!(headers.contains("\nSubject: qemu-system-x86: ") && headers.contains("X-Mailer: reportbug"), "{headers}");
    let written = read(&dir.path().join("bug/report.eml"));
    assert_eq!(body.trim_end(), written.split_once("\n\n").unwrap().1.trim_end());
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    assert!(body.starts_with("Package: qemu-system-x86\n") && !body.contains(&kernel), "{body}");
}

/// `TRACKERS` is the directory of programs of a Python environment that has python-bugzilla.
#[test]
#[ignore = "takes programs of PyPI: .ci/run"]
fn python_bugzilla_accepts_the_fields() {
    const NEW: &str = "
import json, sys, bugzilla
tracker = bugzilla.Bugzilla(sys.argv[1], use_creds=False, api_key='key', force_rest=True)
print(tracker.createbug(json.load(open(sys.argv[2]))).id)
";
    let programs = std::env::var_os("TRACKERS").expect("TRACKERS names the folder of the programs");
    let dir = tempfile::tempdir().unwrap();
    let cell = "fedora:44/x86_64/container";
    write_run(&dir.path().join("run"), &GeneratedRun { cell, fails: LINE, ..GeneratedRun::default() });
    let made = run_command(dir.path(), &["bug", "run", "virtiofsd_prints", "--out", "bug"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let tracker = Tracker::of_bugs();
    let mut python = Command::new(Path::new(&programs).join("python3"));
    let output = python
        .args(["-c", NEW, &format!("http://{}", tracker.address)])
        .arg(dir.path().join("bug/report.json"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "7");
    let fields: serde_json::Value = serde_json::from_str(&tracker.received()).unwrap();
    let written: serde_json::Value = serde_json::from_str(&read(&dir.path().join("bug/report.json"))).unwrap();
    assert_eq!(fields, written);
    assert_eq!((&fields["product"], &fields["version"]), (&"Fedora".into(), &"44".into()));
}
