//! The command line without Docker: bad input, lists, explanations, reports; each test compares the whole output.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

mod cached;

use assert_cmd::Command;
use insta::assert_snapshot;
use jiff::Timestamp;
use model::database::Database;
use reports::journal::{CellId, Environment, Event, FILE, Phase, SCHEMA, Writer};
use std::path::Path;
use suites::outcome::{Component, Failure, Outcome};
use tempfile::TempDir;

/// Runs the command in an empty directory and returns both outputs and the exit code, with the directory as `<DIR>`.
fn run_command(arguments: &[&str]) -> String {
    run_command_in(&tempfile::tempdir().unwrap(), arguments)
}

fn run_command_in(dir: &TempDir, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
    command.env_clear().current_dir(dir.path()).env("HOME", dir.path());
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = command.args(arguments).output().unwrap();
    let redacted = |bytes: Vec<u8>| {
        let dir = dir.path().to_str().unwrap();
        String::from_utf8(bytes).unwrap().replace(dir, "<DIR>").replace(env!("CARGO_PKG_VERSION"), "<VERSION>")
    };
    let code = output.status.code().unwrap();
    format!("{}{}exit {code}\n", redacted(output.stdout), redacted(output.stderr))
}

/// Creates a directory with a cache whose image is empty: an offline run with it is short, and ends with 3.
fn folder_with_an_image() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    cached::empty_images(&dir.path().join("cache"), &["debian:13"]).unwrap();
    dir
}

/// Such an address could leak its password into the arguments of the fetching program.
#[test]
fn an_ambiguous_mirror_address_is_refused_without_showing_the_password() {
    for option in ["--mirror", "--security-mirror"] {
        for mirror in
            ["user:SECRET@mirror.example/debian", "http://user:SEC/RET@mirror.example/debian", "mirror.example/debian"]
        {
            let output = run_command(&["run", "debian:13", "--in", "vm", option, mirror]);
            let expected = format!("error: {option}: expected SCHEME://");
            assert!(output.contains(&expected) && output.ends_with("exit 2\n"), "{output}");
            assert!(!output.contains("SEC"), "{output}");
        }
    }
}

/// Programs that fetch have a private `/tmp`, in which the mirror would be missing.
#[test]
fn a_mirror_below_tmp_is_refused() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let link = dir.path().join("mirror");
    std::os::unix::fs::symlink("/tmp", &link).unwrap();
    let linked = format!("file://{}", link.display());
    for option in ["--mirror", "--security-mirror"] {
        for mirror in ["file:///tmp/mirror", "file:/tmp/mirror", "file://localhost/%74mp/mirror", linked.as_str()] {
            let output = run_command(&["run", "debian:13", "--in", "vm", option, mirror]);
            let expected = format!("error: {option}: the programs that fetch packages have a /tmp of their own");
            assert!(output.contains(&expected) && output.ends_with("exit 2\n"), "{mirror}: {output}");
        }
    }
}

#[test]
fn an_unknown_distro_is_reported_with_the_known_ones() {
    // The list of distros in the records changes.
    let distros: Vec<_> = Database::embedded().records().map(|record| record.distro.clone()).collect();
    assert_snapshot!(run_command(&["run", "debain:13"]).replace(&distros.join(", "), "[DISTROS]"), @r"
    error: unknown distro `debain`: known are [DISTROS]; did you mean `debian`?
    exit 2
    ");
}

#[test]
fn an_unknown_release_is_reported_with_the_known_ones() {
    assert_snapshot!(run_command(&["run", "debian:14"]), @r"
    error: unknown release `14` of debian: known are 11 (bullseye), 12 (bookworm), 13 (trixie), testing (forky), unstable (sid); did you mean `13`?
    exit 2
    ");
}

#[test]
fn a_release_without_a_supported_package_manager_is_refused() {
    assert_snapshot!(run_command(&["run", "gentoo:rolling", "nixos:unstable"]), @r"
    error: gentoo:rolling: the package manager `emerge` is not supported
    nixos:unstable: the package manager `nix` is not supported
    hint: images can be made only for releases with apt, dnf, yum, tdnf, zypper, pacman, apk; use `kata-qualify run --in host` on a machine that runs this release
    exit 2
    ");
}

/// `kata-qualify list | head` and similar pipelines print no error when the reader stops.
#[test]
fn a_closed_standard_output_causes_no_error_message() {
    let dir = tempfile::tempdir().unwrap();
    killed_run(dir.path());
    let run = dir.path().to_str().unwrap();
    for (arguments, codes) in [
        (&["list"][..], &[0][..]),
        (&["list", "capabilities", "--format", "json"], &[0]),
        (&["explain", "vmm.boot"], &[0]),
        (&["explain", "rename_is_atomic"], &[0]),
        (&["report", run], &[1]),
        (&["report", run, "--format", "json"], &[1]),
        (&["diff", run, run], &[3]),
        (&["diff", run, run, "--format", "json"], &[3]),
        (&["history", "debian:13", "--runs", run], &[0]),
        (&["history", "debian:13", "--runs", run, "--format", "json"], &[0]),
        (&["stale", "debian:13", "--offline", "--cache", run], &[0, 1]),
        (&["stale", "debian:13", "--offline", "--cache", run, "--format", "json"], &[0, 1]),
        (&["doctor"], &[0, 3]),
        (&["clean", "--cache", run], &[0]),
        (&["--help"], &[0]),
    ] {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
        command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock").stdout(writer);
        let output = command.args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(codes.contains(&output.status.code().unwrap()), "{arguments:?}: {:?} {stderr}", output.status);
        assert!(!stderr.contains("ipe") && !stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
}

/// A user who qualifies only Debian needs none of these programs.
#[test]
fn doctor_lists_programs_of_other_distro_families_as_optional() {
    let output = run_command(&["doctor"]);
    for (program, package) in [
        ("dnf", "`dnf`"),
        ("rpmkeys", "`rpm`"),
        ("pacman", "`pacman-package-manager`"),
        ("curl", "`curl`"),
        ("gpg", "`gpg`"),
        ("apk", "OCI and cloud images work without it"),
    ] {
        let line = output.lines().find(|line| line.split_whitespace().nth(1) == Some(program));
        let line = line.unwrap_or_else(|| panic!("{program}: {output}"));
        let is_there = line.starts_with("ok ");
        assert!(is_there || line.starts_with("without ") && line.contains(package), "{line}");
    }
}

#[test]
fn an_unknown_test_is_reported_with_the_nearest_one() {
    assert_snapshot!(run_command(&["run", "debian:13", "--test", "rename_is_atomik"]), @r"
    error: no test id contains `rename_is_atomik`, and no capability has that name; the nearest is filesystem::virtio_fs::rename_is_atomic (`kata-qualify list` shows all)
    exit 2
    ");
    let alone = run_command(&["run", "debian:13", "--test", "rename_is_atomik"]);
    let repeated = ["--test", "vmm.vsock", "--test", "rename_is_atomik"];
    for several in [&["--test", "smoke::,rename_is_atomik"][..], &repeated] {
        assert_eq!(run_command(&[&["run", "debian:13"], several].concat()), alone, "{several:?}");
    }
    let why = run_command(&["run", "debian:13", "--test", "smoke::,"]);
    assert!(why.contains("a value is required for '--test <FILTER>'") && why.ends_with("exit 2\n"), "{why}");
}

#[test]
fn an_unusable_kata_or_component_option_is_refused() {
    for (arguments, expected) in [
        (&["--kata", "/nonexistent/kata"][..], "--kata: Kata runs only in virtual machines here: add --in vm"),
        (&["--in", "vm", "--kata", "/nonexistent/kata"], "--kata: /nonexistent/kata does not exist"),
        (&["--in", "vm", "--kata", "kata.tar.xz#123"], "`123` is not a checksum: expected 64 hexadecimal digits"),
        (&["--component", "virtiofsd=/nonexistent/x"], "--component /nonexistent/x does not exist"),
        (&["--component", "runc=x"], "--component `runc=x`: expected NAME=PATH"),
        (&["--in", "vm", "--kata", "."], "no part of Kata in"),
    ] {
        let output = run_command(&[&["run", "debian:13"], arguments].concat());
        assert!(output.contains(expected) && output.ends_with("exit 2\n"), "{arguments:?}: {output}");
    }
}

#[test]
fn an_unusable_cloud_image_option_is_refused() {
    let sum = "0".repeat(64);
    let address = format!("https://images.example/debian-13.qcow2#{sum}");
    for (arguments, expected) in [
        (&["debian:12,13", "--cloud-image", &address][..], "the image is for one release, but 2 were given"),
        (
            &["debian:13", "--cloud-image", "https://images.example/x.qcow2"],
            "x.qcow2 has no checksum: append the vendor's",
        ),
        (&["debian:13", "--cloud-image", "x.qcow2#12"], "`12` is not a checksum: expected 64 hexadecimal digits"),
        (&["debian:13", "--cloud-image", "x.qcow2"], "x.qcow2 is not a file: expected a qcow2 image"),
        (
            &["debian:13", "--cloud-image", &address, "--source", "oci"],
            "'--cloud-image <PATH|URL#CHECKSUM>' cannot be used",
        ),
        (&["--in", "host", "--cloud-image", &address], "--in host tests this machine as it is"),
    ] {
        let output = run_command(&[&["run"], arguments].concat());
        assert!(output.contains(expected) && output.ends_with("exit 2\n"), "{arguments:?}: {output}");
    }
}

#[test]
fn an_unusable_oci_image_option_is_refused() {
    let sum = "0".repeat(64);
    let address = format!("https://images.example/debian.tar#{sum}");
    for (arguments, expected) in [
        (&["debian:12,13", "--oci-image", &address][..], "--oci-image: the image is for one release, but 2 were given"),
        (&["debian:13", "--oci-image", "https://images.example/x.tar"], "has no checksum: append #SHA256"),
        (&["debian:13", "--oci-image", "x.tar#12"], "`12` is not a checksum: expected 64 hexadecimal digits"),
        (
            &["debian:13", "--oci-image", "x.tar"],
            "--oci-image: x.tar does not exist: expected an archive written by `docker save`",
        ),
        (&["debian:13", "--oci-image", "."], "it has neither index.json nor manifest.json"),
        (
            &["debian:13", "--oci-image", &address, "--source", "oci"],
            "'--oci-image <PATH|URL[#CHECKSUM]>' cannot be used",
        ),
        (
            &["debian:13", "--oci-image", &address, "--cloud-image", &address],
            "'--oci-image <PATH|URL[#CHECKSUM]>' cannot be used",
        ),
        (&["--in", "host", "--oci-image", &address], "--in host tests this machine as it is"),
    ] {
        let output = run_command(&[&["run"], arguments].concat());
        assert!(output.contains(expected) && output.ends_with("exit 2\n"), "{arguments:?}: {output}");
    }
}

/// Returns the releases of a plan by name, each with the reason why it cannot be brought up.
fn plan_rows(arguments: &[&str]) -> Vec<(String, Option<String>)> {
    let output = run_command(&[&["plan", "--format", "json"], arguments].concat());
    let (document, rest) = output.split_once("\n}\n").unwrap();
    assert!(rest.ends_with("exit 0\n"), "{output}");
    let document: serde_json::Value = serde_json::from_str(&format!("{document}\n}}")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let row = |row: &serde_json::Value| (text(&row["release"]).unwrap(), text(&row["cannot"]));
    document["releases"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn plan_and_run_give_the_same_reason_for_each_release() {
    let rows = plan_rows(&[]);
    let database = Database::embedded();
    let listed = database.records().flat_map(|record| record.releases.iter().map(move |release| (record, release)));
    let listed: Vec<String> =
        listed.map(|(record, release)| format!("{}:{}", record.distro, release.version)).collect();
    assert_eq!(rows.iter().map(|(release, _)| release.clone()).collect::<Vec<_>>(), listed);
    // Some package managers are not supported, so nothing starts.
    let all = run_command(&["run", "all"]);
    assert!(all.ends_with("exit 2\n"), "{all}");
    let refused: Vec<&str> =
        all.trim_start_matches("error: ").lines().take_while(|l| !l.starts_with("hint: ")).collect();
    let cannot = rows.iter().filter_map(|(release, why)| Some(format!("{release}: {}", why.as_ref()?)));
    assert_eq!(refused, cannot.collect::<Vec<_>>());
    // Each release has its own reason if containers are asked for and there is no engine.
    let rows = plan_rows(&["debian", "gentoo", "talos", "--in", "container"]);
    assert!(rows.len() >= 7, "{rows:?}");
    for (release, why) in rows {
        let why = why.unwrap();
        let output = run_command(&["run", &release, "--in", "container"]);
        let is_refused = [format!("error: {release}: {why}\n"), format!("error: {why}\n")];
        assert!(
            is_refused.iter().any(|line| output.starts_with(line)) && output.ends_with("exit 2\n"),
            "{why}: {output}"
        );
    }
}

/// A run would find this out only after its start, and end with an empty matrix.
#[test]
fn a_bootstrap_without_a_known_mirror_is_refused_by_run_and_plan() {
    // A machine that runs Fedora itself knows a mirror of Fedora.
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is_fedora = system.lines().any(|line| line == "ID=fedora");
    let release = if is_fedora { "almalinux:9" } else { "fedora:43" };
    let dir = tempfile::tempdir().unwrap();
    let options = [release, "--in", "container", "--source", "bootstrap", "--cache", "cache"];
    let run = run_command_in(&dir, &[&["run"], &options[..], &["--out", "out"]].concat());
    let expected = format!("error: {release}: no mirror of {release} is known\nhint: name one with --mirror\nexit 2\n");
    assert_eq!(run, expected);
    assert_eq!(names(dir.path()), [""; 0], "nothing is written");
    let plan = run_command_in(&dir, &[&["plan"], &options[..]].concat());
    assert!(plan.starts_with(&format!("{release}  cannot: no mirror of {release} is known\n")), "{plan}");
    assert!(plan.contains("hint: name one with --mirror\n"), "{plan}");
}

#[test]
fn offline_with_an_empty_cache_is_refused_by_run_and_plan() {
    let dir = tempfile::tempdir().unwrap();
    let options = ["debian:13", "--in", "vm", "--offline", "--cache", "cache"];
    let run = run_command_in(&dir, &[&["run"], &options[..], &["--out", "out"]].concat());
    let why = "the image is not in the cache, and --offline forbids downloads";
    assert_eq!(run, format!("error: debian:13: {why}\nhint: run once without --offline\nexit 2\n"));
    assert_eq!(names(dir.path()), [""; 0], "nothing is written");
    let plan = run_command_in(&dir, &[&["plan"], &options[..]].concat());
    assert!(plan.starts_with(&format!("debian:13  cannot: {why}\n")), "{plan}");
}

/// In every environment and from every source: all releases together, and a single release for each reason.
#[test]
fn run_refuses_what_plan_reports_as_impossible_and_writes_nothing() {
    let mut reasons = std::collections::BTreeSet::new();
    for options in [
        &["--in", "container"][..],
        &["--in", "vm"],
        &["--in", "container,vm"],
        &["--in", "vm", "--source", "oci"],
        &["--in", "vm", "--source", "bootstrap"],
    ] {
        let rows = plan_rows(options);
        let refused = rows.iter().filter_map(|(release, why)| Some((release, why.as_ref()?)));
        // The missing container engine is reported once for all releases that could be brought up otherwise.
        let (alike, own): (Vec<_>, Vec<_>) =
            refused.partition(|(_, why)| why.contains("--in container needs a Docker engine"));
        let all = run_command(&[&["run", "all"], options].concat());
        let reported: Vec<&str> =
            all.trim_start_matches("error: ").lines().take_while(|l| !l.starts_with("hint: ")).collect();
        let expected: Vec<String> = own.iter().map(|(release, why)| format!("{release}: {why}")).collect();
        assert_eq!(reported, expected, "{options:?}");
        assert!(all.ends_with("exit 2\n"), "{options:?}: {all}");
        let one_by_one = own.iter().map(|row| (row, true)).chain(alike.iter().map(|row| (row, false)));
        for ((release, why), names_it) in one_by_one {
            if !reasons.insert((*why).clone()) {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let output = run_command_in(&dir, &[&["run", release.as_str(), "--out", "out"], options].concat());
            let expected = if names_it { format!("error: {release}: {why}\n") } else { format!("error: {why}\n") };
            assert!(output.starts_with(&expected) && output.ends_with("exit 2\n"), "{release} {options:?}: {output}");
            assert_eq!(names(dir.path()), Vec::<String>::new(), "{release} {options:?}: {why}");
        }
    }
    assert!(reasons.len() >= 3, "{reasons:?}");
}

#[test]
fn plan_reports_unsupported_releases_and_options() {
    assert_snapshot!(run_command(&["plan", "gentoo:rolling", "--in", "vm"]), @r"
    gentoo:rolling  cannot: the package manager `emerge` is not supported
    hint: images can be made only for releases with apt, dnf, yum, tdnf, zypper, pacman, apk; use `kata-qualify run --in host` on a machine that runs this release
    exit 0
    ");
    let why = run_command(&["plan", "--in", "host"]);
    assert!(why.starts_with("error: --in host tests this machine as it is") && why.ends_with("exit 2\n"), "{why}");
    let why = run_command(&["plan", "--mirror", "http://mirror.example/debian"]);
    assert!(why.starts_with("error: --mirror names the archive of one distro") && why.ends_with("exit 2\n"), "{why}");
}

#[test]
fn a_test_filter_without_tests_for_the_profile_is_refused() {
    assert_snapshot!(run_command(&["run", "debian:13", "--test", "virtio_9p", "--profile", "go-3.29"]), @r"
    error: no test that matches `virtio_9p` applies to go-3.29
    exit 2
    ");
    let several = ["run", "debian:13", "--test", "smoke::,virtio_9p", "--profile", "go-3.29"];
    assert!(run_command(&several).starts_with("error: no test that matches `virtio_9p` applies to go-3.29\n"));
}

#[test]
fn an_unknown_profile_is_reported_with_the_known_ones() {
    assert_snapshot!(run_command(&["run", "debian:13", "--profile", "go-3.92"]), @r#"
    error: unknown profile "go-3.92", known are go-2.2, go-2.3, go-2.4, go-2.5, go-3.0.2, go-3.1, go-3.2, go-3.8, go-3.13, go-3.14, go-3.20, go-3.22, go-3.24, go-3.29, go-3.32, rs-4.0, rs-4.1, rs-main; did you mean "go-3.29"?
    exit 2
    "#);
}

#[test]
fn an_unknown_option_is_reported_with_the_nearest_one() {
    assert_snapshot!(run_command(&["run", "debian:13", "--profil", "all"]), @r"
    error: unexpected argument '--profil' found

      tip: a similar argument exists: '--profile'

    Usage: kata-qualify run --profile <PROFILE> <TARGET>...

    For more information, try '--help'.
    exit 2
    ");
}

#[test]
fn run_without_a_target_is_refused() {
    assert_snapshot!(run_command(&["run"]), @r"
    error: name what to qualify, for example debian:13
    exit 2
    ");
}

#[test]
fn with_packages_without_a_package_to_test_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (changes, symbols) = (file("x.changes", "Source: x\n"), file("x-dbgsym_1_all.deb", ""));
    for (more, expected) in [
        (&["--with-packages", changes.as_str()][..], "expected the field Checksums-Sha256"),
        (&["--with-packages", "/nonexistent/x.deb"], "--with-packages: /nonexistent/x.deb"),
        (&["--with-packages", symbols.as_str()], "these files contain no package to test"),
        (&["--no-base"], "--with-packages"),
    ] {
        let refused = run_command(&[&["run", "debian:13"], more].concat());
        assert!(refused.contains(expected) && refused.contains("exit 2"), "{refused}");
    }
}

#[test]
fn write_back_cannot_be_combined_with_candidates() {
    assert_snapshot!(run_command(&["run", "debian:13", "--write-back", "--overlay", "."]), @r"
    error: --write-back cannot be used with --install, --with-packages or --overlay: a record says what the distro ships
    exit 2
    ");
    assert_snapshot!(run_command(&["run", "debian:13", "--write-back", "--install", "strace"]), @r"
    error: --write-back cannot be used with --install, --with-packages or --overlay: a record says what the distro ships
    exit 2
    ");
    assert_snapshot!(run_command(&["run", "debian:13", "--write-back", "--component", "virtiofsd=x"]), @r"
    error: --write-back can be used with --component only if --kata is given, too: a record says what the distro ships, and a run with other components can only add results of Kata itself
    exit 2
    ");
}

#[test]
fn results_under_a_callers_key_are_not_written_to_the_shipped_records() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key.asc"), "a key").unwrap();
    let run = "run fedora:44 --write-back --mirror file:///nowhere --mirror-key key.asc --cache cache";
    let run: Vec<&str> = run.split(' ').collect();
    assert_snapshot!(run_command_in(&dir, &run), @r"
    error: --write-back: the packages are vouched for by keys given with --mirror-key, but the shipped records are about each distro's own packages; name a folder of your own with --records
    exit 2
    ");
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../distros/records");
    let output = run_command_in(&dir, &[run.as_slice(), &["--records", checkout.to_str().unwrap()]].concat());
    assert!(
        output.contains("contains the shipped records, name another folder with --records")
            && output.contains("exit 2"),
        "{output}"
    );
    // The next error in the arguments is reported, because nothing may start here.
    std::fs::create_dir(dir.path().join("mine")).unwrap();
    let output = run_command_in(&dir, &[run.as_slice(), &["--records", "mine", "--out", "."]].concat());
    assert!(output.contains("--out") && output.contains("exit 2"), "{output}");
}

#[test]
fn results_of_a_given_image_are_not_written_to_the_shipped_records() {
    let dir = tempfile::tempdir().unwrap();
    let sum = "0".repeat(64);
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../distros/records").display().to_string();
    std::fs::create_dir(dir.path().join("mine")).unwrap();
    for (option, image) in [("--oci-image", "x.tar"), ("--cloud-image", "x.qcow2")] {
        let run = ["run", "debian:13", "--write-back", "--cache", "cache", option];
        let run_with = |more: &[&str]| run_command_in(&dir, &[run.as_slice(), more].concat());
        let expected = format!("error: --write-back: nobody but you vouches for the image given with {option}, ");
        // A checksum in the address proves nothing about the origin.
        let named = format!("{image}#{sum}");
        for more in [&[image][..], &[image, "--records", &checkout], &[&named], &[&named, "--records", &checkout]] {
            let output = run_with(more);
            assert!(output.starts_with(&expected) && output.ends_with("exit 2\n"), "{more:?}: {output}");
        }
        // With a private directory of records, the next error is reported.
        for more in [&[image, "--records", "mine"][..], &[&named, "--records", "mine"]] {
            let output = run_with(more);
            let next = ["does not exist", "is not a file"].map(|why| format!("error: {option}: {image} {why}"));
            assert!(next.iter().any(|next| output.starts_with(next)), "{more:?}: {output}");
        }
    }
}

#[test]
fn write_back_without_a_records_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_snapshot!(run_command_in(&dir, &["run", "debian:13", "--write-back"]), @r"
    error: --write-back: distros/records is not a folder; name the folder of records with --records
    exit 2
    ");
}

#[test]
fn an_overlay_must_be_a_folder() {
    assert_snapshot!(run_command(&["run", "debian:13", "--overlay", "nowhere"]), @r"
    error: --overlay nowhere: expected a folder
    exit 2
    ");
}

#[test]
fn invalid_jobs_and_retries_are_refused() {
    assert_snapshot!(run_command(&["run", "debian:13", "--jobs", "0"]), @r"
    error: invalid value '0' for '--jobs <N>': 0 is not in 1..=7

    For more information, try '--help'.
    exit 2
    ");
    assert_snapshot!(run_command(&["run", "debian:13", "--retries", "many"]), @r"
    error: invalid value 'many' for '--retries <N>': invalid digit found in string

    For more information, try '--help'.
    exit 2
    ");
}

/// A useless number is reported as such, and none overflows a clock or a byte count.
#[test]
fn numbers_out_of_range_are_refused_and_the_largest_accepted() {
    let most = "18446744073709551615";
    for (arguments, option) in [
        (&["profiles", "--against", ".", "--within", "0"][..], "--within"),
        (&["profiles", "--against", ".", "--within", "31536001"], "--within"),
        (&["profiles", "--against", ".", "--within", most], "--within"),
        (&["run", "debian:13", "--vm-memory", "0"], "--vm-memory"),
        (&["run", "debian:13", "--vm-memory", "4294967295"], "--vm-memory"),
        (&["run", "debian:13", "--retries", "11"], "--retries"),
        (&["run", "debian:13", "--repeat", "0"], "--repeat"),
        (&["run", "debian:13", "--repeat", "101"], "--repeat"),
        (&["run", "debian:13", "--cache-size", "18446744073709551616"], "--cache-size"),
    ] {
        let output = run_command(arguments);
        assert!(
            output.contains(&format!("for '{option} <")) && output.ends_with("exit 2\n"),
            "{arguments:?}: {output}"
        );
    }
    // The largest possible values are accepted.
    let output = run_command(&["profiles", "--against", "nowhere", "--within", "31536000"]);
    assert!(output.contains("nowhere is no git repository") && output.ends_with("exit 2\n"), "{output}");
    let dir = folder_with_an_image();
    let run = ["run", "debian:13", "--in", "vm", "--offline", "--cache", "cache", "--out", "out", "--cache-size", most];
    let output = run_command_in(&dir, &run);
    assert!(!output.contains("panicked") && output.ends_with("exit 3\n"), "{output}");
}

#[test]
fn a_nonempty_output_folder_is_refused_and_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("out")).unwrap();
    std::fs::write(dir.path().join("out/notes"), "mine").unwrap();
    assert_snapshot!(run_command_in(&dir, &["run", "debian:13", "--out", "out"]), @r"
    error: --out out: expected an empty folder
    exit 2
    ");
    assert_eq!(names(&dir.path().join("out")), ["notes"]);
}

#[test]
fn an_output_folder_that_cannot_be_created_is_reported_with_its_path() {
    let run =
        ["run", "debian:13", "--in", "vm", "--offline", "--test", "host::", "--cache", "cache", "--out", "/proc/x"];
    assert_snapshot!(run_command_in(&folder_with_an_image(), &run), @r"
    error: --out /proc/x: No such file or directory (os error 2)
    exit 2
    ");
}

#[test]
fn a_relative_home_is_refused_and_creates_no_cache() {
    for variable in ["HOME", "XDG_CACHE_HOME"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
        command.env_clear().current_dir(dir.path()).env(variable, "relative");
        command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        let output = command.arg("clean").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let why = "neither $XDG_CACHE_HOME nor $HOME is an absolute path: name the cache with --cache";
        assert_eq!((stderr, output.status.code()), (format!("error: {why}\n"), Some(2)), "{variable}");
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }
}

#[test]
fn an_invalid_record_is_reported_with_its_line_and_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    let record = "\
apiVersion: v1
distro: debian
package-manager: apt
arch: [x86_64]
releases:
  - version: 13
    codename: trixie
    released: yesterday
";
    std::fs::create_dir(dir.path().join("records")).unwrap();
    std::fs::write(dir.path().join("records/debian.yaml"), record).unwrap();
    assert_snapshot!(run_command_in(&dir, &["run", "debian:13", "--records", "records"]), @r"
    error[wrong-type]: released: expected a date like 2025-08-09, found `yesterday`
     --> records/debian.yaml:8:15
      |
    8 |     released: yesterday
      |               ^^^^^^^^^
      |
    hint: write `unknown` or leave the key out if the day is not known
    exit 2
    ");
    std::fs::write(dir.path().join("records/debian.yaml"), record.replace("apt\n", "atp\n")).unwrap();
    assert_snapshot!(run_command_in(&dir, &["list", "releases", "--records", "records"]), @r"
    error[unknown-package-manager]: unknown package manager `atp`
     --> records/debian.yaml:3:18
      |
    3 | package-manager: atp
      |                  ^^^
      |
    hint: did you mean `apt`?

    error[wrong-type]: released: expected a date like 2025-08-09, found `yesterday`
     --> records/debian.yaml:8:15
      |
    8 |     released: yesterday
      |               ^^^^^^^^^
      |
    hint: write `unknown` or leave the key out if the day is not known
    exit 2
    ");
}

#[test]
fn a_missing_records_folder_is_reported() {
    assert_snapshot!(run_command(&["run", "debian:13", "--records", "nowhere"]), @r"
    error: the records directory nowhere cannot be read: No such file or directory (os error 2)
    exit 2
    ");
}

#[test]
fn without_docker_one_error_line_is_printed_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let output = run_command_in(&dir, &["run", "debian:13", "--in", "container", "--out", "out"]);
    assert_snapshot!(output, @r"
    error: --in container needs a Docker engine, but none answers: connecting to Docker: Socket not found: /nonexistent/docker.sock (`--in vm` works without one; `kata-qualify doctor` shows more)
    exit 2
    ");
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
fn list_shows_each_test_of_the_catalogue_on_a_line() {
    let output = run_command(&["list"]);
    let lines: Vec<&str> = output.lines().collect();
    let (last, lines) = lines.split_last().unwrap();
    assert_eq!(*last, "exit 0");
    assert_eq!(lines.len(), suites::catalogue::tests().len());
    for (line, test) in lines.iter().zip(suites::catalogue::tests()) {
        let (id, meaning) = line.split_once("  ").unwrap();
        assert_eq!(test.id, id);
        assert!(!meaning.trim().is_empty(), "{id} is listed without a word");
    }
}

#[test]
fn list_can_be_filtered_by_test() {
    assert_snapshot!(run_command(&["list", "--test", "rename_is_atomic"]), @r"
    filesystem::virtio_fs::rename_is_atomic   While one thread renames new versions over a name, a reader never finds the name missing, empty, or a mix of two versions; afterwards the old name is gone.
    filesystem::virtio_9p::rename_is_atomic   While one thread renames new versions over a name, a reader never finds the name missing, empty, or a mix of two versions; afterwards the old name is gone.
    filesystem::virtio_blk::rename_is_atomic  While one thread renames new versions over a name, a reader never finds the name missing, empty, or a mix of two versions; afterwards the old name is gone.
    exit 0
    ");
    let rename = ["list", "--test", "rename_is_atomic"];
    let both = run_command(&[&rename[..], &["--test", "smoke::guest_boots"]].concat());
    assert_eq!(run_command(&["list", "--test", "rename_is_atomic,smoke::guest_boots"]), both);
    for test in suites::catalogue::tests() {
        let expected = test.id.contains("rename_is_atomic") || test.id.contains("smoke::guest_boots");
        let listed = both.lines().any(|line| line.split_whitespace().next() == Some(test.id.as_str()));
        assert_eq!(listed, expected, "{}", test.id);
    }
    let why = run_command(&["list", "profiles", "--test", "go-,go-9"]);
    assert!(why.starts_with("error: nothing has `go-9` in its name"), "{why}");
    assert_snapshot!(run_command(&["list", "--test", "rename_is_atomik"]), @r"
    error: no test id contains `rename_is_atomik`, and no capability has that name; the nearest is filesystem::virtio_fs::rename_is_atomic (`kata-qualify list` shows all)
    exit 2
    ");
}

#[test]
fn list_shows_releases_and_profiles() {
    // Other distros in the records change, and the width of the first column depends on them.
    let all = run_command(&["list", "releases"]);
    let debian = all.lines().filter(|l| l.starts_with("debian:") || l.starts_with("exit"));
    let debian: Vec<String> = debian.map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_snapshot!(debian.join("\n"), @r"
    debian:11 11, bullseye, oldoldstable
    debian:12 12, bookworm, oldstable
    debian:13 13, trixie, stable
    debian:testing testing, forky
    debian:unstable unstable, sid
    exit 0
    ");
    assert_snapshot!(run_command(&["list", "profiles"]), @r"
    go-2.2    Kata 2.2.0–2.2.3 (end of life), taken from 2.2.0
    go-2.3    Kata 2.3.0–2.3.3 (end of life), taken from 2.3.0
    go-2.4    Kata 2.4.0–2.4.3 (end of life), taken from 2.4.0
    go-2.5    Kata 2.5.0–3.0.1 (end of life), taken from 2.5.0
    go-3.0.2  Kata 3.0.2 (end of life), taken from 3.0.2
    go-3.1    Kata 3.1.0–3.1.2 (end of life), taken from 3.1.0
    go-3.2    Kata 3.1.3–3.7.0 (end of life), taken from 3.1.3
    go-3.8    Kata 3.8.0–3.12.0 (end of life), taken from 3.8.0
    go-3.13   Kata 3.13.0 (end of life), taken from 3.13.0
    go-3.14   Kata 3.14.0–3.19.1 (end of life), taken from 3.14.0
    go-3.20   Kata 3.20.0–3.21.0 (end of life), taken from 3.20.0
    go-3.22   Kata 3.22.0–3.23.0 (end of life), taken from 3.22.0
    go-3.24   Kata 3.24.0–3.28.0 (end of life), taken from 3.24.0
    go-3.29   Kata 3.29.0–3.31.0 (end of life), taken from 3.29.0
    go-3.32   Kata 3.32.0–4.1.0 (maintained), taken from 3.32.0
    rs-4.0    Kata 4.0.0 (end of life), taken from 4.0.0
    rs-4.1    Kata 4.1.0 (maintained), taken from 4.1.0
    rs-main   Kata main after 4.1.0 (not released), taken from main
    exit 0
    ");
}

#[test]
fn list_profiles_can_be_printed_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let output = run_command_in(&dir, &["list", "profiles", "--format", "json"]);
    let profiles: serde_json::Value = serde_json::from_str(output.strip_suffix("exit 0\n").unwrap()).unwrap();
    let names: Vec<&str> = profiles.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    let all: Vec<&str> = model::profile::Profile::all().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, all);
    assert!(profiles.as_array().unwrap().iter().all(|p| p["tag"].is_string() && p["range"].is_string()));
}

#[test]
fn explain_shows_what_a_capability_requires_by_profile() {
    let output = run_command(&["explain", "fs.virtio-fs"]);
    // The tests belong to the catalogue; their number in each suite does not matter here.
    let mut shown = String::new();
    for line in output.lines() {
        let line = match line.trim_start().split_once("::") {
            Some((suite, _)) => format!("    {suite}::<TESTS>"),
            None => line.replace(|c: char| c.is_ascii_digit() && line.contains("passed ("), "N"),
        };
        if shown.lines().next_back().is_none_or(|last| last != line) {
            shown.push_str(&line);
            shown.push('\n');
        }
    }
    assert_snapshot!(shown, @r"
    fs.virtio-fs

        virtio-fs works the way the profile uses it

    go-2.2, go-2.3
      supported when all of these have passed (NN):
        smoke::<TESTS>
        filesystem::<TESTS>
    go-2.4, go-2.5, go-3.0.2, go-3.1, go-3.2, go-3.8, go-3.13, go-3.14, go-3.20, go-3.22, go-3.24, go-3.29, go-3.32
      supported when all of these have passed (NN):
        smoke::<TESTS>
        filesystem::<TESTS>
    rs-4.0, rs-4.1, rs-main
      supported when all of these have passed (NN):
        smoke::<TESTS>
        filesystem::<TESTS>
    exit 0
    ");
    for required in
        ["virtio_fs::rename_is_atomic", "virtio_fs::mounts_in_the_guest", "smoke::virtiofsd_accepts_the_profiles_flags"]
    {
        assert!(output.contains(required), "{required} is not required for fs.virtio-fs");
    }
}

#[test]
fn explain_shows_what_a_test_proves_and_why() {
    assert_snapshot!(run_command(&["explain", "rename_is_atomic"]), @r"
    filesystem::virtio_fs::rename_is_atomic

        While one thread renames new versions over a name, a reader never finds the name missing, empty, or a mix of two
        versions; afterwards the old name is gone.

        POSIX rename; every configuration file, package and image layer in a container is replaced this way, and a share
        that unlinks first or only pretends loses it.

    proves      fs.virtio-fs
    blames      virtiofsd
    asked for   as of any filesystem; Kata gives containers their files by this share in docs/how-to/how-to-use-virtio-fs-with-kata.md@4.1.0, src/runtime/virtcontainers/fs_share_linux.go@4.1.0, src/runtime-rs/crates/resource/src/rootfs/share_fs_rootfs.rs@4.1.0
    profiles    all
    runs        inside a guest
    share       virtio-fs
    blocked by  filesystem::virtio_fs::mounts_in_the_guest
    needs       processes, memory
    deadline    60 s
    reproducer  none

    the same property elsewhere: filesystem::virtio_9p::rename_is_atomic, filesystem::virtio_blk::rename_is_atomic
    exit 0
    ");
}

#[test]
fn explain_suggests_the_nearest_name() {
    assert_snapshot!(run_command(&["explain", "fs.virtiofs"]), @r"
    error: `fs.virtiofs` is neither a test nor a capability; the nearest is fs.virtio-fs (`kata-qualify list` shows all)
    exit 2
    ");
    assert_snapshot!(run_command(&["explain", "virtio_fs::renames_are_atomic"]), @r"
    error: `virtio_fs::renames_are_atomic` is neither a test nor a capability; the nearest is filesystem::virtio_fs::rename_is_atomic (`kata-qualify list` shows all)
    exit 2
    ");
}

#[test]
fn report_of_a_folder_without_a_run_is_bad_input() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    assert_snapshot!(run_command_in(&dir, &["report", "empty"]), @r"
    error: reading the run: reading empty/journal.jsonl: No such file or directory (os error 2)
    exit 2
    ");
    assert_eq!(names(&dir.path().join("empty")), Vec::<String>::new());
}

#[test]
fn report_of_an_invalid_journal_is_bad_input() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), "{}\nnot a journal\n").unwrap();
    assert_snapshot!(run_command_in(&dir, &["report", "."]), @r"
    error: reading the run: ./journal.jsonl:1: expected an event of the journal: missing field `at` at line 1 column 2
    exit 2
    ");
}

#[test]
fn a_journal_cut_in_the_middle_reports_a_killed_run() {
    let dir = tempfile::tempdir().unwrap();
    killed_run(dir.path());
    let output = run_command_in(&dir, &["report", "."]);
    // The record has the failed capability as supported; this outweighs the missing end of the run.
    assert!(output.contains("vmm.boot was supported") && output.ends_with("exit 1\n"), "{output}");
    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("results.json")).unwrap()).unwrap();
    assert_eq!((&results["ending"], &results["exit-code"]), (&"killed".into(), &1.into()));
    let outcomes: Vec<(&str, &str)> = results["cells"][0]["tests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["test"].as_str().unwrap(), t["outcome"].as_str().unwrap()))
        .collect();
    let expected =
        [("smoke::packages_are_installed", "pass"), ("smoke::qemu_has_the_machine_type", "fail"), (CUT, "error")];
    assert_eq!(outcomes, expected);
}

/// The records have no verdicts on Fedora.
#[test]
fn report_of_a_cell_without_a_record_exits_1_only_under_strict() {
    let dir = tempfile::tempdir().unwrap();
    killed_run(dir.path());
    let path = dir.path().join(FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("debian:13/x86_64/container", "fedora:44/x86_64/container")).unwrap();
    let output = run_command_in(&dir, &["report", "."]);
    assert!(output.contains("None: ") || output.contains("had no record"), "{output}");
    assert!(output.ends_with("exit 3\n"), "it has no end: {output}");
    assert!(run_command_in(&dir, &["report", ".", "--strict"]).ends_with("exit 1\n"));
    let output = run_command_in(&dir, &["report", ".", "--records", "nowhere"]);
    assert!(output.ends_with("exit 2\n"), "{output}");
}

const CUT: &str = "smoke::qemu_has_the_devices_of_the_default_path";

/// Writes the journal of a run that was killed while it wrote the result of its third test.
fn killed_run(dir: &Path) {
    let cell = CellId {
        distro: "debian".parse().unwrap(),
        release: "13".parse().unwrap(),
        arch: model::arch::Arch::X86_64,
        environment: Environment::Container,
    };
    let profiles: Vec<model::profile::ProfileName> = vec!["go-3.29".parse().unwrap()];
    let mut journal = Writer::create(dir).unwrap();
    journal
        .append(Event::RunStarted {
            schema: SCHEMA,
            run: format!("r{}", Timestamp::now().as_second()),
            harness: env!("CARGO_PKG_VERSION").into(),
            commit: "unknown".into(),
            argv: vec!["kata-qualify".into(), "run".into()],
            records: "0123456789ab".into(),
            catalogue: "0123456789ab".into(),
            profiles: profiles.clone(),
            cells: vec![cell.clone()],
            planned: [(cell.clone(), 3)].into(),
            filter: None,
            candidate: false,
            shaped: false,
            options: Vec::new(),
            facts: None,
        })
        .unwrap();
    journal.append(Event::CellStarted { cell: cell.clone() }).unwrap();
    journal.append(Event::PhaseStarted { cell: cell.clone(), phase: Phase::Tests }).unwrap();
    let failed = Outcome::Fail(Failure::new(Component::Qemu, "no q35"));
    for (test, outcome) in [
        ("smoke::packages_are_installed", Outcome::Pass),
        ("smoke::qemu_has_the_machine_type", failed),
        (CUT, Outcome::Pass),
    ] {
        let (cell, profiles) = (cell.clone(), profiles.clone());
        let test: model::test_id::TestId = test.parse().unwrap();
        let started =
            Event::TestStarted { cell: cell.clone(), profiles: profiles.clone(), test: test.clone(), attempt: 1 };
        journal.append(started).unwrap();
        let (notes, artifacts) = (Vec::new(), Vec::new());
        journal
            .append(Event::TestFinished {
                cell,
                profiles,
                test,
                attempt: 1,
                machine: 0,
                guests: Vec::new(),
                outcome,
                millis: 7,
                notes,
                artifacts,
            })
            .unwrap();
    }
    drop(journal);
    let path = dir.join(FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 20]).unwrap();
}

/// Returns the names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn clean_reports_what_it_does_not_remove_and_why() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let (runs, images) = (dir.path().join("cache/runs"), dir.path().join("cache/images"));
    // An image whose manifest is empty after a power cut, and entries that kata-qualify did not make.
    let image = images.join("a".repeat(64));
    for folder in [&image, &images.join("stray"), &images.join(".tmp/x"), &runs.join("r1.host"), &runs.join("r2.kata")]
    {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(image.join("manifest.json"), "").unwrap();
    std::fs::write(runs.join("other.thing"), "").unwrap();
    for lock in [images.join(".tmp/x/lock"), runs.join("r1.lock")] {
        symlink("/dev/null", lock).unwrap();
    }
    assert_snapshot!(run_command_in(&dir, &["clean", "--images", "--cache", "cache"]), @r"
    removed folder r2.kata
    removed 1 cached images
    warning: connecting to Docker: Socket not found: /nonexistent/docker.sock: containers and volumes were not checked
    warning: not removed: <DIR>/cache/runs/r1.lock: is a link: expected a folder or file that belongs to you and that nobody else may write to
    note: <DIR>/cache/runs/other.thing was not removed: kata-qualify did not create it
    warning: not removed: <DIR>/cache/images/.tmp/x: cannot find out from its lock whether it is in use: <DIR>/cache/images/.tmp/x/lock is a link: expected a folder or file that belongs to you and that nobody else may write to
    note: <DIR>/cache/images/stray was not removed: kata-qualify did not create it
    exit 3
    ");
    assert_eq!(names(&runs), ["other.thing", "r1.host", "r1.lock"]);
    assert_eq!(names(&images), [".gate", ".locks", ".tmp", "stray"]);
    std::fs::remove_file(images.join(".tmp/x/lock")).unwrap();
    std::fs::remove_file(runs.join("r1.lock")).unwrap();
    assert_snapshot!(run_command_in(&dir, &["clean", "--cache", "cache"]), @r"
    removed folder r1.host
    removed 1 incomplete images
    warning: connecting to Docker: Socket not found: /nonexistent/docker.sock: containers and volumes were not checked
    note: <DIR>/cache/runs/other.thing was not removed: kata-qualify did not create it
    exit 0
    ");
}

#[test]
fn a_run_reports_the_leftovers_of_others_that_it_cannot_remove() {
    let dir = folder_with_an_image();
    std::fs::create_dir_all(dir.path().join("cache/runs")).unwrap();
    std::os::unix::fs::symlink("/dev/null", dir.path().join("cache/runs/r1.lock")).unwrap();
    let run = ["run", "debian:13", "--in", "vm", "--offline", "--test", "host::", "--cache", "cache", "--out", "out"];
    let output = run_command_in(&dir, &run);
    assert!(output.contains("warning: not removed: <DIR>/cache/runs/r1.lock: is a link"), "{output}");
    assert!(output.ends_with("exit 3\n"), "there is nothing in the image: {output}");
}

#[test]
fn the_version_has_the_commit() {
    let output = run_command(&["--version"]);
    let rest = output.strip_prefix("kata-qualify <VERSION> (").unwrap_or_else(|| panic!("{output}"));
    let commit = rest.strip_suffix(")\nexit 0\n").unwrap_or_else(|| panic!("{output}"));
    assert_eq!(commit, env!("KATA_QUALIFY_COMMIT"));
    // Git's, or that of packagers, or none in sources without either.
    let is_gits = commit.len() >= 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_packagers = std::env::var("KATA_QUALIFY_COMMIT").is_ok_and(|named| named.trim() == commit);
    assert!(is_gits || is_packagers || commit == "unknown", "{commit}");
}

/// The journal on standard output saves a watcher the search for the run's directory.
#[test]
fn ndjson_output_equals_the_journal_and_names_the_runs_inputs() {
    let dir = folder_with_an_image();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
    command.args(["run", "debian:13", "--in", "vm", "--offline", "--test", "host::", "--format", "ndjson"]);
    let output = command.args(["--cache", "cache", "--out", "out"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "there is nothing in the image");
    let journal = std::fs::read(dir.path().join("out").join(FILE)).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), String::from_utf8(journal.clone()).unwrap());
    assert!(String::from_utf8(output.stderr).unwrap().contains("journal and reports: "));
    let first = journal.split(|byte| *byte == b'\n').next().unwrap();
    let event = serde_json::from_slice::<serde_json::Value>(first).unwrap()["event"].clone();
    assert_eq!(event["event"], "run-started");
    assert!(event["argv"].as_array().unwrap().iter().any(|word| word == "--format"), "{event}");
    assert!(event["planned"].as_object().unwrap().values().any(|tests| tests.as_u64() > Some(0)), "{event}");
    for digest in ["records", "catalogue"] {
        assert_eq!(event[digest].as_str().unwrap().len(), 12, "{event}");
    }
}

/// Only a run that comes to its end removes everything that it has made.
#[test]
fn a_closed_standard_error_does_not_stop_a_run() {
    let dir = folder_with_an_image();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
    command.args([
        "run",
        "debian:13",
        "--in",
        "vm",
        "--offline",
        "--test",
        "host::",
        "--cache",
        "cache",
        "--out",
        "out",
    ]);
    let status = command.current_dir(dir.path()).stdout(std::process::Stdio::null()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(3), "there is nothing in the image");
    assert!(dir.path().join("out/junit/debian-13-x86_64-vm.xml").exists(), "the reports were made");
}
