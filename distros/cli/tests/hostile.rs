//! Malicious input: a diagnostic each time, never a panic, a hang or unbounded memory.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Time limit per call; a debug build on a busy machine needs some seconds for a mebibyte.
const WITHIN: Duration = Duration::from_secs(90);

/// Runs the command with an address space of at most 1 GiB.
fn run(arguments: &[&str], folder: &Path) -> (i32, String, String) {
    let started = Instant::now();
    let output = Command::new("/bin/sh")
        .args(["-c", "ulimit -v 1048576; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_kata-osinfo")])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("it runs");
    assert!(started.elapsed() < WITHIN, "{arguments:?} took {:?}", started.elapsed());
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal ended it"), text(output.stdout), text(output.stderr))
}

const SOUND: &str = "distro: sound\npackage-manager: apt\narch: x86_64\nversion: 1\n";

/// Creates files in a directory, and returns their names with the expected exit codes.
fn hostile(folder: &Path) -> Vec<(&'static str, i32)> {
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("written");
    let noise: Vec<u8> = (0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    write("binary.yaml", &noise);
    let huge = std::fs::File::create(folder.join("huge.yaml")).expect("made");
    huge.set_len(100 << 20).expect("100 MiB");
    mknodat(CWD, folder.join("pipe.yaml"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    std::fs::create_dir(folder.join("folder.yaml")).expect("made");
    std::os::unix::fs::symlink("loop.yaml", folder.join("loop.yaml")).expect("a link");
    std::os::unix::fs::symlink("nowhere", folder.join("dangling.yaml")).expect("a link");
    let mut bomb = String::from("a0: &a0 x\n");
    for i in 1..40 {
        bomb += &format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}]\n", i - 1);
    }
    write("bomb.yaml", bomb.as_bytes());
    write("merge.yaml", b"distro: &d x\n<<: *d\n");
    write("deep.yaml", format!("a: {}", "[".repeat(900_000)).as_bytes());
    write("indented.yaml", (0..900).map(|i| format!("{}a:\n", " ".repeat(i))).collect::<String>().as_bytes());
    write("keys.yaml", (0..10_000).map(|i| format!("k{i}: v\n")).collect::<String>().as_bytes());
    write("tabs.yaml", b"distro:\tx\n\tarch: x86_64\n");
    write("mark.yaml", format!("\u{feff}{SOUND}").as_bytes());
    write("utf16.yaml", &SOUND.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    write("zeros.yaml", &[0; 1000]);
    write("empty.yaml", b"");
    vec![
        ("binary.yaml", 1),
        ("huge.yaml", 2),
        ("pipe.yaml", 2),
        ("folder.yaml", 2),
        ("loop.yaml", 2),
        ("dangling.yaml", 2),
        ("bomb.yaml", 1),
        ("merge.yaml", 1),
        ("deep.yaml", 1),
        ("indented.yaml", 1),
        ("keys.yaml", 1),
        ("tabs.yaml", 1),
        ("mark.yaml", 1),
        ("utf16.yaml", 1),
        ("zeros.yaml", 1),
        ("empty.yaml", 1),
    ]
}

#[test]
fn each_hostile_file_has_its_diagnostic() {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, expected) in hostile(dir.path()) {
        let (code, stdout, stderr) = run(&["lint", name], dir.path());
        assert_eq!(code, expected, "{name}: {stdout}{stderr}");
        // A directory is searched for records, and contains none.
        let is_reported = if name == "folder.yaml" {
            stderr.starts_with("error: no *.yaml file in folder.yaml")
        } else {
            stdout.starts_with("error[")
        };
        assert!(is_reported, "{name}: {stdout}{stderr}");
        assert!(stdout.len() < 200_000, "{name}: {} bytes", stdout.len());
        assert!(!stderr.contains("panicked"), "{name}: {stderr}");
        assert!(!stdout.contains('\u{1b}') && !stdout.contains('\0'), "{name}");
        for format in ["json", "github"] {
            let (code, out, _) = run(&["lint", "--format", format, name], dir.path());
            assert_eq!(code, expected, "{name} as {format}: {out}");
        }
    }
}

#[test]
fn crlf_line_endings_are_accepted() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("crlf.yaml"), SOUND.replace('\n', "\r\n")).expect("written");
    assert_eq!(run(&["lint", "crlf.yaml"], dir.path()), (0, String::new(), String::new()));
}

#[test]
fn bad_records_are_reported_and_the_others_still_work() {
    let dir = tempfile::tempdir().expect("a root");
    let etc = dir.path().join("etc/kata-osinfo");
    std::fs::create_dir_all(&etc).expect("made");
    let bad = hostile(&etc);
    std::fs::write(etc.join("sound.yaml"), SOUND).expect("written");
    std::fs::write(dir.path().join("etc/os-release"), "ID=sound\nVERSION_ID=1\n").expect("written");
    let (code, stdout, stderr) = run(&["--root", ".", "detect"], dir.path());
    assert_eq!((code, stdout.as_str()), (0, "sound:1 on an unknown architecture\n"), "{stderr}");
    let warnings = stderr.lines().filter(|l| l.starts_with("warning: ")).count();
    assert_eq!(warnings, bad.len(), "{stderr}");
    for (name, _) in bad {
        assert!(stderr.contains(name), "{name} is not reported: {stderr}");
    }
    assert!(run(&["--root", ".", "list"], dir.path()).1.contains("debian:13"));
}

/// Returns the program's exit code and its CPU time over all threads, which a busy machine does not stretch.
fn processor_time(arguments: &[&str], folder: &Path) -> (Option<i32>, Duration) {
    // `times` prints the children's CPU time on its second line.
    let output = Command::new("/bin/sh")
        .args(["-c", "\"$0\" \"$@\" >/dev/null 2>&1; code=$?; times; exit $code", env!("CARGO_BIN_EXE_kata-osinfo")])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("it runs");
    let times = String::from_utf8_lossy(&output.stdout).into_owned();
    let seconds = |word: &str| -> f64 {
        let (minutes, seconds) = word.trim_end_matches('s').split_once('m').expect("0m0.09s");
        minutes.parse::<f64>().expect("minutes") * 60.0 + seconds.parse::<f64>().expect("seconds")
    };
    let took = times.lines().nth(1).expect("two lines").split_whitespace().map(seconds).sum();
    (output.status.code(), Duration::from_secs_f64(took))
}

/// A record of four times the length takes about four times as long, not sixteen times, whatever it repeats.
#[test]
fn lint_time_is_proportional_to_the_record_length() {
    let dir = tempfile::tempdir().expect("a folder");
    let head = "distro: d\npackage-manager: apt\narch: x86_64\n";
    let (one, vmm) = ("version: 1\n", "vmm: {name: q, path: /q, packages: [");
    let many = |n: usize, each: &dyn Fn(usize) -> String| (0..n).map(each).collect::<String>();
    type Shape<'s> = (&'s str, &'s dyn Fn(usize) -> String);
    let shapes: [Shape<'_>; 10] = [
        ("unknown keys", &|n| format!("{head}{one}{}", many(n * 4, &|i| format!("k{i}: 1\n")))),
        ("the same key", &|n| format!("{head}{}", many(n * 4, &|_| one.to_owned()))),
        ("releases", &|n| format!("{head}releases:\n{}", many(n * 2, &|i| format!("  - version: {i}\n")))),
        ("versions", &|n| format!("{head}version: [{}]\n", many(n * 4, &|i| format!("{i}, ")))),
        ("the same version", &|n| format!("{head}version: [{}]\n", many(n * 4, &|_| "1, ".to_owned()))),
        ("packages", &|n| format!("{head}{one}{vmm}{}]}}\n", many(n * 4, &|i| format!("a/{i}, ")))),
        ("flow mapping", &|n| format!("{head}{one}vmm: {{{}}}\n", many(n * 4, &|i| format!("k{i}: 1, ")))),
        ("fixes", &|n| format!("distro: d\n{one}arch: [{}]\n", many(n * 4, &|_| "amd64, ".to_owned()))),
        ("drivers", &|n| format!("{head}{one}fs:\n{}", many(n * 2, &|i| format!("  name: a{i}\n  path: /p\n")))),
        ("components", &|n| format!("{head}{one}vmm:\n{}", many(n, &|_| "  - {name: q, packages: a/b}\n".to_owned()))),
    ];
    let files = [(1000, "short.yaml"), (4000, "long.yaml")];
    for (what, shape) in shapes {
        for (n, file) in files {
            std::fs::write(dir.path().join(file), shape(n)).expect("written");
        }
        let mut took = [Duration::MAX; 2];
        // CPU time is reported in hundredths of a second.
        let in_proportion = |[short, long]: [Duration; 2]| long < short.max(Duration::from_millis(20)) * 8;
        // Noise only increases a time, so the minimum of several is the best estimate.
        for _ in 0..8 {
            for (least, (_, file)) in took.iter_mut().zip(files) {
                *least = processor_time(&["lint", file], dir.path()).1.min(*least);
            }
            if in_proportion(took) {
                break;
            }
        }
        eprintln!("{what}: {took:?}");
        assert!(in_proportion(took), "{what}: {took:?}");
        // Only a hundred findings are reported for 100 kB: scanning all of it for each would take seconds.
        assert!(took[1] < Duration::from_millis(1500), "{what}: {took:?}");
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "release build only: .ci/nightly release")]
fn a_thousand_records_are_linted_in_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let names: Vec<String> = (0..1000).map(|i| format!("d{i}.yaml")).collect();
    for (i, name) in names.iter().enumerate() {
        let record = format!(
            "apiVersion: v1\ndistro: d{i}\npackage-manager: dnf\narch: [x86_64, aarch64]\nconfidence: packaging\nvmm:\n  name: qemu\n  packages: qemu-kvm-core\n  path: /usr/libexec/qemu-kvm\nfs:\n  - name: virtio-fs\n    packages: virtiofsd\n    path: /usr/libexec/virtiofsd\nkernel:\n  packages: kernel-core\n  image: /usr/lib/modules/*/vmlinuz\nreleases:\n  - version: 8\n    released: 2019-05-07\n    modules: virt:rhel\n  - version: 9\n    released: 2022-05-17\n"
        );
        std::fs::write(dir.path().join(name), record).expect("written");
    }
    let mut arguments = vec!["lint"];
    arguments.extend(names.iter().map(String::as_str));
    let (code, took) = processor_time(&arguments, dir.path());
    assert_eq!(code, Some(0));
    eprintln!("1,000 records: {} ms", took.as_millis());
    assert!(took < Duration::from_millis(200), "{took:?}");
    let (code, took) = processor_time(&["lint", "."], dir.path());
    eprintln!("their folder: {} ms", took.as_millis());
    assert!(code == Some(0) && took < Duration::from_millis(200), "{code:?} {took:?}");
}

/// Root can read everything, so the program runs as another user.
#[test]
fn show_refuses_to_answer_if_a_record_is_unreadable() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = tempfile::tempdir().expect("a root");
    let admins = dir.path().join("etc/kata-osinfo");
    std::fs::create_dir_all(&admins).expect("made");
    std::fs::write(dir.path().join("etc/os-release"), "ID=debian\nVERSION_ID=13\n").expect("written");
    let record = |name: &str| format!("distro: {name}\nkernel: {{image: /mine/*}}\n");
    for name in ["debian", "fedora"] {
        std::fs::write(admins.join(format!("{name}.yaml")), record(name)).expect("written");
    }
    let secret = admins.join("fedora.yaml");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).expect("set");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("set");
    let is_root = std::fs::metadata(&secret).expect("there").uid() == 0;
    let program = dir.path().join("kata-osinfo");
    // Copied by `cp`: a file that a child of this process may have open for writing cannot be executed.
    let mut cp = Command::new("cp");
    assert!(cp.arg(env!("CARGO_BIN_EXE_kata-osinfo")).arg(&program).status().expect("it runs").success());
    let run = |target: &str| {
        let mut command = match is_root {
            true => Command::new("setpriv"),
            false => Command::new("env"),
        };
        if is_root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]);
        }
        command.arg(&program).arg("--root").arg(dir.path()).args(["show", target, "--arch", "x86_64"]);
        let output = command.output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    // Nor does the built-in record replace the admin's unreadable one.
    for target in ["debian:13", "fedora"] {
        let (code, shown, stderr) = run(target);
        assert_eq!((code, shown.as_str()), (Some(3), ""), "{stderr}");
        let why = "fedora.yaml cannot be read: Permission denied (os error 13), and may override other";
        assert!(stderr.contains(why), "{stderr}");
    }
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).expect("set");
    assert!(run("debian:13").1.contains("/mine/*"));
}
