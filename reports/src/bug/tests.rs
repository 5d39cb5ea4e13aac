use super::*;
use crate::installed::InstalledPackage;
use crate::journal::Event;
use crate::matrix::Matrix;
use crate::sample::{Maker, cell, facts, strings};
use model::database::Database;
use model::profile::Profile;
use model::record::Record;
use model::verified::Basis;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use suites::catalogue;
use suites::outcome::{Component, Failure, FailureDetail, ListedName, Outcome};
use suites::reproducer::Reproducer;

static DATABASE: LazyLock<Database> = LazyLock::new(Database::embedded);

const FIFO: &str = "filesystem::virtio_9p::fifos_pass_bytes";
const ROOT_PORT: &str = "smoke::pci_disk_is_hotplugged_into_a_root_port";
const FLAGS: &str = "smoke::virtiofsd_accepts_the_profiles_flags";
const TDX: &str = "smoke::qemu_has_tdx";
const TIMES: &str = "filesystem::virtio_9p::times_keep_nanoseconds";
const BLK: &str = "filesystem::virtio_blk::mounts_in_the_guest";
const PCI: &str = "smoke::pci_disk_is_hotplugged";
const NVDIMM: &str = "smoke::image_is_read_as_an_nvdimm";
const CHECK: &str = "host::rules_of_kata_ctl_check_hold";
const HANDLES: &str = "filesystem::virtio_fs::files_that_the_guest_knows_hold_no_descriptors";
const IOMMUFD: &str = "smoke::kernel_has_iommufd";

/// A finding on a release of Debian, as its run has it.
struct Finding {
    release: &'static str,
    profile: &'static str,
    test: &'static str,
    component: Component,
    observed: &'static str,
    /// Package, version, source.
    packages: &'static [(&'static str, &'static str, &'static str)],
    kernel: &'static str,
}

const BOOKWORM: &[(&str, &str, &str)] = &[
    ("qemu-system-x86", "1:7.2+dfsg-7+deb12u18+b3", "qemu"),
    ("qemu-system-common", "1:7.2+dfsg-7+deb12u18+b3", "qemu"),
    ("linux-image-amd64", "6.1.192-2", "linux-signed-amd64"),
];
const TRIXIE: &[(&str, &str, &str)] = &[
    ("qemu-system-x86", "1:10.0.13+ds-0+deb13u1", "qemu"),
    ("virtiofsd", "1.13.2-1+deb13u1", "rust-virtiofsd"),
    ("linux-image-amd64", "6.12.118-1", "linux-signed-amd64"),
    ("linux-image-6.12.118+deb13-amd64", "6.12.118-1", "linux-signed-amd64"),
];
const LATER_DAEMON: &[(&str, &str, &str)] = &[("virtiofsd", "1.14.0-1", "rust-virtiofsd")];
const BULLSEYE: &[(&str, &str, &str)] = &[("qemu-system-x86", "1:5.2+dfsg-11+deb11u5", "qemu")];
const TESTING: &[(&str, &str, &str)] = &[("qemu-system-x86", "1:11.1.2+ds-3", "qemu")];

const fn bookworm(profile: &'static str, test: &'static str, component: Component, observed: &'static str) -> Finding {
    Finding { release: "12", profile, test, component, observed, packages: BOOKWORM, kernel: "6.1.0-56-amd64" }
}

const fn trixie(profile: &'static str, test: &'static str, component: Component, observed: &'static str) -> Finding {
    Finding { release: "13", profile, test, component, observed, packages: TRIXIE, kernel: "6.12.118+deb13-amd64" }
}

/// The finding as in `distros/records/verified/debian.yaml`, with the words that the tests use now.
const FIFO_OF_BOOKWORM: Finding = bookworm("go-3.24", FIFO, Component::Qemu, FIFO_MESSAGE);
const FIFO_MESSAGE: &str = "making a fifo: No such device or address (os error 6)";
const ROOT_PORT_OF_TRIXIE: Finding = trixie(
    "rs-4.1",
    ROOT_PORT,
    Component::Kata,
    "QMP device_add: device_add was refused (GenericError): Invalid parameter type for 'multifunction', expected: \
     boolean; Kata sends it as text, and this QEMU takes the same device with the right types",
);
const FLAGS_OF_BOOKWORM: Finding = bookworm(
    "go-3.32",
    FLAGS,
    Component::Virtiofsd,
    "virtiofsd ended at once (exit code 1): fuse: unknown option(s): ` | --cache=auto | --shared-dir=/kata-qualify/slot0 \
     | --announce-submounts | --sandbox=chroot'",
);
const TDX_OF_TRIXIE: Finding =
    trixie("go-3.32", TDX, Component::Qemu, "/usr/bin/qemu-system-x86_64 does not offer -object tdx-guest");
const TIMES_OF_TRIXIE: Finding = trixie(
    "go-3.24",
    TIMES,
    Component::Kernel,
    "mtime of /mnt/share/t1-0/file: expected (1600000000, 123456789), saw whole seconds",
);
const BLK_OF_TRIXIE: Finding = trixie(
    "go-2.2",
    BLK,
    Component::Qemu,
    "starting QEMU: QEMU exited with 1: qemu-system-x86_64: -device virtio-blk-pci,disable-modern=false,\
     drive=drive-baseline,scsi=off,config-wce=off,serial=drive-baseline: Property 'virtio-blk-pci.scsi' not found",
);
const PCI_OF_BULLSEYE: Finding = Finding {
    release: "11",
    profile: "go-3.32",
    test: PCI,
    component: Component::Qemu,
    observed: "QMP device_add: device_add was refused (GenericError): Bus 'pci-bridge-0' does not support hotplugging",
    packages: BULLSEYE,
    kernel: "5.10.0-46-amd64",
};
const NVDIMM_OF_BULLSEYE: Finding = Finding {
    test: NVDIMM,
    observed: "starting QEMU: QEMU exited with 1: qemu-system-x86_64: -object memory-backend-file,id=mem0,\
               mem-path=/var/tmp/kata-qualify-image-7-2,size=134217728,readonly=on: Property \
               'memory-backend-file.readonly' not found",
    ..PCI_OF_BULLSEYE
};
const CHECK_OF_TESTING: Finding = Finding {
    release: "testing",
    profile: "go-3.32",
    test: CHECK,
    component: Component::Kata,
    observed: "kata-ctl wants Y: kvm has no parameter kvmclock_periodic_sync",
    packages: TESTING,
    kernel: "7.2.12+deb14-amd64",
};
/// A hypothetical finding: a fault of the newest QEMU.
const FIFO_OF_TESTING: Finding =
    Finding { release: "testing", packages: TESTING, kernel: "7.2.12+deb14-amd64", ..FIFO_OF_BOOKWORM };
const IOMMUFD_OF_TRIXIE: Finding = trixie(
    "rs-4.1",
    IOMMUFD,
    Component::Kernel,
    "/boot/config-6.12.118+deb13-amd64 lacks, built in or as modules: IOMMUFD",
);
const HANDLES_OF_TRIXIE: Finding = trixie(
    "go-3.32",
    HANDLES,
    Component::Virtiofsd,
    "the guest looked at 200 files, and virtiofsd has 200 descriptors more than before (12, then 212): it keeps one for \
     each instead of a file handle",
);
const HANDLES_OF_BOOKWORM: Finding =
    Finding { release: "12", packages: BOOKWORM, kernel: "6.1.0-56-amd64", ..HANDLES_OF_TRIXIE };
const HANDLES_OF_A_LATER_DAEMON: Finding = Finding { packages: LATER_DAEMON, ..HANDLES_OF_TRIXIE };

/// Returns the run with a finding; `change` may alter its journal.
fn run(finding: &Finding, change: impl Fn(&mut Maker)) -> Matrix {
    let Finding { release, profile, test, component, observed, packages, kernel } = *finding;
    let mut maker = Maker::default();
    maker.start(&[profile], &[release]);
    let mut known = facts(Basis::Emulated);
    known.kernel = Some(kernel.parse().unwrap());
    known.versions = BTreeMap::new();
    known.suites = BTreeMap::new();
    for (package, version, _) in packages {
        known.versions.insert(package.parse().unwrap(), version.parse().unwrap());
    }
    known.suites.insert("qemu-system-x86".parse().unwrap(), "the release's security suite".to_owned());
    maker.push(Event::CellFacts { cell: cell(release), facts: known });
    for attempt in [1, 2] {
        let test = catalogue::find(test).unwrap();
        let failure = Failure { expected: test.property(), ..Failure::new(component, observed) };
        maker.attempt(release, &[profile], &test.id, attempt, Outcome::Fail(failure));
    }
    maker.push(Event::CellFinished { cell: cell(release) });
    maker.push(Event::RunFinished { interrupted: false });
    change(&mut maker);
    let mut matrix = crate::matrix::matrix(&maker.journal, catalogue::tests(), Profile::all());
    let installed = |(name, version, source): &(&str, &str, &str)| InstalledPackage {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        source: source.parse().unwrap(),
    };
    matrix.cells[0].packages = packages.iter().map(installed).collect();
    matrix
}

/// Returns the run with a finding, with these words and this detail instead of its own words.
fn run_with_detail(finding: &Finding, observed: &'static str, detail: &FailureDetail) -> Matrix {
    run(&Finding { observed, ..*finding }, |maker| {
        for entry in &mut maker.journal.entries {
            if let Event::TestFinished { outcome: Outcome::Fail(failure), .. } = &mut entry.event {
                failure.detail = detail.clone();
            }
        }
    })
}

/// Calls `then` with the failure of a finding.
fn with<T>(finding: &Finding, matrix: &Matrix, qemu: Option<&Path>, then: impl FnOnce(&FailedTest<'_>) -> T) -> T {
    let record: &Record = DATABASE.record("debian").unwrap();
    let mut release = record.release(finding.release, cell("13").arch).unwrap();
    if let Some(path) = qemu {
        release.vmms[0].path = path.try_into().unwrap();
    }
    let (profile, test) = (Profile::find(finding.profile).unwrap(), catalogue::find(finding.test).unwrap());
    let failed = FailedTest::of(matrix, &cell(finding.release), profile, test, (record, &release));
    then(&failed.expect("it failed"))
}

fn routed(finding: &Finding) -> Route {
    let matrix = run(finding, |_| {});
    with(finding, &matrix, None, |failed| Route::of(failed, newest()))
}

fn newest() -> Option<Series> {
    Series::newest(DATABASE.records())
}

/// Returns virtiofsd's arguments as the Go runtime passes them.
fn daemon(path: &str) -> Vec<String> {
    strings(&[path, "--syslog", "--cache=auto", "--shared-dir=$work/share", "--fd=3", "--announce-submounts"])
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the report of a finding, and its script.
fn reported(finding: &Finding, to: Option<Form>, reproduced: Reproduced) -> (WrittenReport, String, String) {
    reported_of(finding, &run(finding, |_| {}), to, reproduced)
}

/// Returns the report of a finding in this run, and its script.
fn reported_of(
    finding: &Finding,
    matrix: &Matrix,
    to: Option<Form>,
    reproduced: Reproduced,
) -> (WrittenReport, String, String) {
    with(finding, matrix, None, |failed| {
        let route = Route::of(failed, newest());
        let destination = destination(failed, &route, to).unwrap();
        let script = script::script(failed, &daemon("/usr/lib/qemu/virtiofsd")).unwrap();
        let guest_log = format!("the guest is up\n{FIFO_MESSAGE}\nthe last line of the guest\n");
        let report = BugReport {
            failed,
            route: &route,
            destination: &destination,
            script: Ok(script.clone()),
            reproduced,
            worked: failed.works_in(),
            swap: Some(format!(
                "{} in {} under {}\n  with nothing swapped: fails\n",
                failed.test.id, failed.cell.cell, failed.profile.name
            )),
            log: failed.log(|_| Some(guest_log.clone())),
            bundle: "kata-qualify-20260725-172000.tar.zst".to_owned(),
        };
        let written = report.written().unwrap();
        let to = report.where_to(&written);
        (written, to, script)
    })
}

#[test]
fn each_failure_is_attributed_to_its_owner() {
    let bug = Ruling::Bug;
    for (finding, expected, why) in [
        (&FIFO_OF_BOOKWORM, bug(Owner::Distro), "last two releases (11.1 and 11.0, as far as the records know)"),
        (&FIFO_OF_TESTING, bug(Owner::Upstream), "and the release has 11.1."),
        (&TIMES_OF_TRIXIE, bug(Owner::Distro), "the distro's kernel"),
        (&ROOT_PORT_OF_TRIXIE, bug(Owner::Kata), "the release is not at fault"),
        (&CHECK_OF_TESTING, bug(Owner::Kata), "Kata relies on something"),
        (&FLAGS_OF_BOOKWORM, Ruling::Wish(Owner::Distro), "it never had these options"),
        (&TDX_OF_TRIXIE, Ruling::Wish(Owner::Distro), "QEMU has the object tdx-guest from 10.1 on"),
        (&PCI_OF_BULLSEYE, Ruling::Wish(Owner::Distro), "from 6.1 on (pc_compat_6_0 in hw/i386/pc.c@v6.1.0)"),
        (&NVDIMM_OF_BULLSEYE, Ruling::Wish(Owner::Distro), "memory-backend-file.readonly from 6.0 on"),
        (
            &HANDLES_OF_TRIXIE,
            Ruling::Wish(Owner::Distro),
            "virtiofsd has file handles by default from 1.14 on (--inode-file-handles in src/main.rs@v1.14.0), and the \
             release has 1.13.",
        ),
        (&HANDLES_OF_BOOKWORM, Ruling::Wish(Owner::Distro), "and the release has the C version"),
        (&HANDLES_OF_A_LATER_DAEMON, bug(Owner::Distro), "the distro's virtiofsd"),
        (&IOMMUFD_OF_TRIXIE, Ruling::Wish(Owner::Distro), "vmm.vfio is optional"),
        (&BLK_OF_TRIXIE, Ruling::Nobody, "under go-3.32 the same test passes"),
    ] {
        let route = routed(finding);
        assert_eq!(route.ruling, expected, "{}: {}", finding.test, route.why);
        assert!(route.why.contains(why), "{}: {}", finding.test, route.why);
    }
    let of_the_record = Finding { component: Component::Record, ..FIFO_OF_BOOKWORM };
    assert_eq!(routed(&of_the_record).ruling, bug(Owner::Records));
    // Kata's agents up to 3.13 take it for granted that vsock supports the option.
    let observed = "the agent ended: setsockopt SO_REUSEPORT: Operation not supported (os error 95)";
    assert_eq!(routed(&Finding { observed, ..CHECK_OF_TESTING }).ruling, bug(Owner::Kata));
}

/// Returns findings in the current form: free words, and the details as data.
fn findings_with_details() -> Vec<(&'static Finding, &'static str, FailureDetail)> {
    let text = str::to_owned;
    let refusal = |description: &str| FailureDetail::QmpRefusal {
        command: text("device_add"),
        class: text("GenericError"),
        description: text(description),
    };
    let tdx = ListedName { flag: text("-object"), name: text("tdx-guest") };
    let output = "fuse: unknown option(s): ` | --cache=auto | --shared-dir=/kata-qualify/slot0 | --announce-submounts \
                | --sandbox=chroot'";
    let no_hotplug = "Bus 'pci-bridge-0' does not support hotplugging";
    let no_boolean = "Invalid parameter type for 'multifunction', expected: boolean";
    let options = vec![text("IOMMUFD")];
    let of_qemu = |finding: &Finding| FailureDetail::of_qemu(finding.observed).unwrap();
    vec![
        (&TDX_OF_TRIXIE, "reworded", FailureDetail::NotListed { names: vec![tdx] }),
        (&FLAGS_OF_BOOKWORM, "reworded", FailureDetail::DaemonLacksFlag { said: text(output) }),
        (&PCI_OF_BULLSEYE, "reworded", refusal(no_hotplug)),
        (&ROOT_PORT_OF_TRIXIE, "reworded", refusal(no_boolean)),
        (&IOMMUFD_OF_TRIXIE, "reworded", FailureDetail::LacksOptions { built_in: false, options }),
        (&HANDLES_OF_TRIXIE, "reworded", FailureDetail::NoFileHandles),
        (&HANDLES_OF_BOOKWORM, "reworded", FailureDetail::NoFileHandles),
        (&HANDLES_OF_A_LATER_DAEMON, "reworded", FailureDetail::NoFileHandles),
        (&BLK_OF_TRIXIE, "reworded", of_qemu(&BLK_OF_TRIXIE)),
        (&NVDIMM_OF_BULLSEYE, "reworded", of_qemu(&NVDIMM_OF_BULLSEYE)),
    ]
}

#[test]
fn failure_details_decide_regardless_of_the_message() {
    // The summary, which may contain these words, is on a script's second line.
    let script = |failed: &FailedTest<'_>| {
        let text = script::script(failed, &daemon("/usr/lib/qemu/virtiofsd"));
        text.map(|text| text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>())
    };
    let judged = |failed: &FailedTest<'_>| (Route::of(failed, newest()), script(failed));
    for (finding, observed, detail) in findings_with_details() {
        let expected = with(finding, &run(finding, |_| {}), None, judged);
        let matrix = run_with_detail(finding, observed, &detail);
        assert_eq!(with(finding, &matrix, None, judged), expected, "{}: {detail:?}", finding.test);
    }
}

#[test]
fn the_message_is_ignored_if_a_failure_detail_is_given() {
    let with_scripts = [&IOMMUFD_OF_TRIXIE, &ROOT_PORT_OF_TRIXIE, &FLAGS_OF_BOOKWORM, &TDX_OF_TRIXIE, &BLK_OF_TRIXIE];
    for finding in with_scripts {
        let matrix = run_with_detail(finding, finding.observed, &FailureDetail::Other);
        let script = with(finding, &matrix, None, |failed| script::script(failed, &daemon("/x")));
        assert!(script.is_err(), "{}", finding.test);
    }
    for finding in [&HANDLES_OF_TRIXIE, &FLAGS_OF_BOOKWORM, &PCI_OF_BULLSEYE, &NVDIMM_OF_BULLSEYE] {
        let matrix = run_with_detail(finding, finding.observed, &FailureDetail::Other);
        let ruling = with(finding, &matrix, None, |failed| Route::of(failed, newest()).ruling);
        assert_eq!(ruling, Ruling::Bug(Owner::Distro), "{}", finding.test);
    }
}

#[test]
fn failures_of_candidate_or_shaped_runs_belong_to_nobody() {
    let ruling = |change: &dyn Fn(&mut Maker)| {
        let matrix = run(&FIFO_OF_BOOKWORM, change);
        with(&FIFO_OF_BOOKWORM, &matrix, None, |failed| Route::of(failed, newest())).ruling
    };
    let change_start = |maker: &mut Maker, change: fn(&mut bool, &mut bool)| {
        if let Event::RunStarted { candidate, shaped, .. } = &mut maker.journal.entries[0].event {
            change(candidate, shaped);
        }
    };
    assert_eq!(ruling(&|maker| change_start(maker, |candidate, _| *candidate = true)), Ruling::Nobody);
    assert_eq!(ruling(&|maker| change_start(maker, |_, shaped| *shaped = true)), Ruling::Nobody);
    let add_candidate = |maker: &mut Maker| {
        if let Event::CellFacts { facts, .. } = &mut maker.journal.entries[1].event {
            facts.candidates.insert(Component::Qemu, "mine".to_owned().into());
        }
    };
    assert_eq!(ruling(&add_candidate), Ruling::Nobody);
    assert_eq!(ruling(&|_| {}), Ruling::Bug(Owner::Distro));
}

#[test]
fn a_report_is_addressed_only_to_a_tracker_that_accepts_it() {
    let to = |finding: &Finding, form: Option<Form>| {
        let matrix = run(finding, |_| {});
        with(finding, &matrix, None, |failed| destination(failed, &Route::of(failed, newest()), form))
    };
    let address = |finding, form| to(finding, form).map(|to| (to.form, to.address));
    let debian = || Ok((Form::Debian, "submit@bugs.debian.org".to_owned()));
    assert_eq!(address(&FIFO_OF_BOOKWORM, None), debian());
    assert_eq!(address(&FIFO_OF_TESTING, None).unwrap().1, "https://gitlab.com/qemu-project/qemu/-/issues");
    assert_eq!(address(&FIFO_OF_TESTING, Some(Form::Debian)), debian(), "the distro takes it, too");
    assert_eq!(address(&CHECK_OF_TESTING, None).unwrap().0, Form::Kata);
    assert_eq!(to(&FIFO_OF_BOOKWORM, None).unwrap().search.unwrap(), "https://bugs.debian.org/src:qemu");
    for (finding, form, why) in [
        (
            &FIFO_OF_BOOKWORM,
            Form::Gitlab,
            "--to gitlab cannot be used for this failure, which must be reported as debian. QEMU's developers",
        ),
        (&FIFO_OF_BOOKWORM, Form::Kata, "--to kata cannot be used"),
        (
            &CHECK_OF_TESTING,
            Form::Debian,
            "--to debian cannot be used for this failure, which must be reported as kata. Kata relies",
        ),
        (
            &FIFO_OF_TESTING,
            Form::Kata,
            "--to kata cannot be used for this failure, which must be reported as gitlab or debian. QEMU's",
        ),
        (&BLK_OF_TRIXIE, Form::Debian, "there is nothing to report. Only Kata "),
    ] {
        let refused = to(finding, Some(form)).unwrap_err();
        assert!(refused.to_string().starts_with(why), "{refused}");
    }
}

#[test]
fn a_bookworm_finding_becomes_a_debian_bug_mail() {
    let ran = Reproduced::Ran(vec![Some(0); 3]);
    let (written, to, script) = reported(&FIFO_OF_BOOKWORM, None, ran);
    insta::assert_snapshot!("fifo-of-bookworm.eml", written.text);
    insta::assert_snapshot!("fifo-of-bookworm-repro.sh", script);
    insta::assert_snapshot!("fifo-of-bookworm-where.txt", to);
}

#[test]
fn a_trixie_finding_in_kata_is_reported_to_kata() {
    let (written, to, script) = reported(&ROOT_PORT_OF_TRIXIE, None, Reproduced::NotRun);
    // Days and versions in the record change with each run that is written back.
    let steady = |line: &str| {
        let Some((place, versions)) = line.split_once(", by the record: ") else { return line.to_owned() };
        let (_, place) = place.trim_start().split_once("  ").unwrap();
        let names: Vec<&str> = versions.trim_end().split(", ").map(|one| one.split(' ').next().unwrap()).collect();
        format!("  [day]  {place}, by the record: {}\n", names.join(", "))
    };
    let text: String = written.text.split_inclusive('\n').map(steady).collect();
    insta::assert_snapshot!("root-port-of-trixie.md", text);
    insta::assert_snapshot!("root-port-of-trixie-repro.sh", script);
    insta::assert_snapshot!("root-port-of-trixie-where.txt", to);
}

#[test]
fn a_report_about_an_unsupported_release_warns_at_the_top() {
    let on = |day: &str, finding: &Finding| {
        let mut matrix = run(finding, |_| {});
        matrix.finished = Some(format!("{day}T12:00:00Z").parse().unwrap());
        let (written, to, _) = reported_of(finding, &matrix, None, Reproduced::NotRun);
        (one_line(&written.text), one_line(&to))
    };
    let words = "The support of debian 11 (bullseye) ended on 2026-08-31, before the run";
    let (text, to) = on("2026-09-01", &PCI_OF_BULLSEYE);
    assert!(text.contains(&format!("Read this first --------------- {words}")), "{text}");
    assert!(to.contains(words), "{to}");
    // Debian's own support ended in 2024, its LTS support has not.
    let (text, to) = on("2026-08-31", &PCI_OF_BULLSEYE);
    assert!(!text.contains("The support of") && !to.contains("The support of"), "{text}\n{to}");
    let (text, to) = on("2040-01-01", &ROOT_PORT_OF_TRIXIE);
    assert!(!text.contains("The support of") && !to.contains("The support of"), "Kata does not mind: {text}\n{to}");
}

#[test]
fn a_kata_report_cites_the_source_of_the_runtime_that_ran() {
    let (of_rs, go) =
        ("src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0\n", "src/runtime/virtcontainers/qemu.go@3.32.0\n");
    for (profile, cited, other) in [("rs-4.1", of_rs, go), ("go-3.32", go, of_rs)] {
        let (written, ..) = reported(&Finding { profile, ..ROOT_PORT_OF_TRIXIE }, None, Reproduced::NotRun);
        assert!(written.text.contains(&format!("\n  {cited}")), "{profile}: {}", written.text);
        assert!(!written.text.contains(&format!("\n  {other}")), "{profile}: {}", written.text);
    }
}

/// Kata's source asks for no fifo: it only gives containers their files by the share, which a report says once.
#[test]
fn a_report_does_not_say_that_kata_requires_what_is_of_its_share() {
    let (written, ..) = reported(&FIFO_OF_BOOKWORM, None, Reproduced::NotRun);
    assert!(!written.text.contains("asks for it"), "{}", written.text);
    let text = one_line(&written.text);
    let by_share = "With `shared_fs = \"virtio-9p\"` Kata Containers gives a container its files by such a share, where \
                    programs expect of it what they expect of any filesystem. It does so in (file@tag): \
                    src/agent/src/storage/fs_handler.rs@3.28.0 src/runtime/virtcontainers/fs_share_linux.go@3.28.0 \
                    src/runtime/virtcontainers/qemu_arch_base.go@3.24.0 ";
    assert!(text.contains(by_share), "{text}");
    assert_eq!(text.matches("gives a container its files").count(), 1, "{text}");
    let disk = catalogue::find("filesystem::virtio_blk::rename_is_atomic").unwrap();
    let blocks = shared::asked_for(disk, Profile::find("go-3.32").unwrap(), vec!["a.go@4.1.0".to_owned()]);
    let text = "Kata Containers also gives a container its files by such a disk, where programs expect of it what they \
                expect of any filesystem. It does so in (file@tag):";
    assert_eq!(blocks, [block::Block::Text(text.to_owned()), block::Block::Lines("  a.go@4.1.0".to_owned())]);
}

#[test]
fn a_report_marks_unreproduced_failures_and_wishes_at_the_top() {
    let ran = Reproduced::Ran(vec![Some(0), Some(1), Some(script::CANNOT_TELL)]);
    let (written, ..) = reported(&FLAGS_OF_BOOKWORM, None, ran);
    let body = written.text.split_once("\n\n").unwrap().1;
    assert!(
        body.starts_with("Package: qemu-system-common\nVersion: 1:7.2+dfsg-7+deb12u18+b3\nSeverity: wishlist\n"),
        "{body}"
    );
    let notice = one_line(body.split_once("\n\n").unwrap().1);
    let expected = "Read this first --------------- This could not be reproduced by the script below. The reproducer was \
                    run 3 times, each in a clean tree of the release: reproduced, not reproduced, could not tell. This is \
                    a wish, not a bug. The release's virtiofsd is the C version";
    assert!(notice.starts_with(expected), "{notice}");
    assert!(body.contains("\nTags: bookworm\n"), "it is known to work in later releases: {body}");
    let (of_a_kernel, ..) = reported(&TIMES_OF_TRIXIE, None, Reproduced::NotRun);
    let body = of_a_kernel.text.split_once("\n\nSource: ").unwrap().1;
    let notice = one_line(body.split_once("\n\n").unwrap().1);
    assert!(notice.starts_with("Read this first --------------- The reproducer was not run. Versions "), "{notice}");
    assert_eq!(of_a_kernel.text.matches("was not run").count(), 1, "{}", of_a_kernel.text);
    assert!(
        of_a_kernel.text.contains("\n\nSource: linux\nVersion: 6.12.118-1\nSeverity: normal\n"),
        "{}",
        of_a_kernel.text
    );
    let (of_options, to, _) = reported(&IOMMUFD_OF_TRIXIE, None, Reproduced::NotRun);
    assert!(of_options.text.contains("\nSubject: linux: CONFIG_IOMMUFD is not set\n"), "{}", of_options.text);
    assert!(to.contains("https://bugs.debian.org/src:linux\n"), "that of the signed one has no bugs: {to}");
    // Debian fixes bugs in unstable first: the report names the versions there.
    let unstable = of_options.text.lines().find(|line| line.starts_with("  debian unstable (container) under "));
    assert!(unstable.is_some_and(|line| line.contains(": linux-image-amd64 7.")), "{}", of_options.text);
}

#[test]
fn an_upstream_fix_is_named_for_releases_without_it() {
    let words = "QEMU's developers have fixed it with \"9pfs: fix regression regarding CVE-2023-2861\"";
    let (of_bookworm, ..) = reported(&FIFO_OF_BOOKWORM, None, Reproduced::NotRun);
    assert!(one_line(&of_bookworm.text).contains(words), "{}", of_bookworm.text);
    assert!(of_bookworm.text.contains("\nTags: fixed-upstream\n"), "{}", of_bookworm.text);
    let (of_testing, ..) = reported(&FIFO_OF_TESTING, Some(Form::Debian), Reproduced::NotRun);
    assert!(!one_line(&of_testing.text).contains("have fixed it"), "it has the change: {}", of_testing.text);
    let elsewhere = Finding { test: HANDLES, ..FIFO_OF_BOOKWORM };
    let matrix = run(&elsewhere, |_| {});
    assert_eq!(
        with(&elsewhere, &matrix, None, fixed_upstream::upstream_fix),
        None,
        "on another share it is another fault"
    );
    let has_fix = |observed, detail| {
        let matrix = run_with_detail(&FIFO_OF_BOOKWORM, observed, &detail);
        with(&FIFO_OF_BOOKWORM, &matrix, None, fixed_upstream::upstream_fix).is_some()
    };
    assert!(has_fix("reworded", FailureDetail::SystemCall { errno: 6 }));
    assert!(!has_fix(FIFO_MESSAGE, FailureDetail::Other), "the message decides nothing");
}

/// The forms of other distros; the release in them is Debian's, because no other has been run.
#[test]
fn each_report_form_has_the_fields_its_tracker_requires() {
    let matrix = run(&FIFO_OF_BOOKWORM, |_| {});
    let written = |distro: &str| {
        with(&FIFO_OF_BOOKWORM, &matrix, None, |failed| {
            let mut record = failed.record.clone();
            record.distro = distro.parse().unwrap();
            let mut release = failed.release.clone();
            release.distro = distro.parse().unwrap();
            let failed = FailedTest { record: &record, release: &release, ..failed.clone() };
            let route = Route::of(&failed, newest());
            let destination = destination(&failed, &route, None)?;
            let report = BugReport {
                failed: &failed,
                route: &route,
                destination: &destination,
                script: Err(BugError::NoReproducer),
                reproduced: Reproduced::NotRun,
                worked: Vec::new(),
                swap: None,
                log: None,
                bundle: "b.tar.zst".to_owned(),
            };
            let written = report.written().unwrap();
            let to = report.where_to(&written);
            Ok::<_, BugError>((written.file, written.text, to))
        })
    };
    let (file, text, to) = written("fedora").unwrap();
    let fields: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(file, "report.json");
    for (field, expected) in [
        ("product", "Fedora"),
        ("component", "qemu"),
        ("version", "12"),
        ("summary", "qemu-system-x86: virtio-9p: making a fifo: No such device or address"),
        ("op_sys", "Linux"),
        ("rep_platform", "x86_64"),
    ] {
        assert_eq!(fields[field], expected);
    }
    assert!(fields["description"].as_str().unwrap().contains("There is no reproducer apart from the test itself"));
    assert!(!to.contains("choose one"), "{to}");
    assert!(to.contains("There is no reproducer") && !to.contains("was not run"), "{to}");
    assert!(
        one_line(&written("opensuse").unwrap().2).contains("are unknown here: choose one."),
        "{}",
        written("opensuse").unwrap().2
    );
    let (_, mail, to) = written("ubuntu").unwrap();
    assert!(
        mail.starts_with("To: new@bugs.launchpad.net\nSubject: qemu-system-x86: virtio-9p: making a fifo"),
        "{mail}"
    );
    assert!(mail.contains("\n\n affects ubuntu/qemu\n done\n\nVersions\n"), "{mail}");
    let to = one_line(&to);
    assert!(to.contains("signed by an OpenPGP key") && to.contains("Signing is left to you"), "{to}");
    let refused = written("rhel").unwrap_err().to_string();
    assert!(refused.starts_with("the bug tracker of rhel is unknown"), "its tracker has none of the forms: {refused}");
    let mail = one_line(&written("debian").unwrap().1);
    assert!(mail.contains("No record and no kept run shows that it ever worked on this release"), "{mail}");
}

/// A healthy guest says nothing about options that the daemon refused, and the log of an earlier attempt nothing about
/// the last.
#[test]
fn a_report_quotes_only_the_log_that_concerns_the_failure() {
    let logs = |component: Component, texts: &[(&str, &str)]| {
        let finding = Finding { component, ..FIFO_OF_BOOKWORM };
        let mut matrix = run(&finding, |_| {});
        let attempts = &mut matrix.cells[0].instances[0].attempts;
        attempts[0].artifacts = strings(&["a/g1/qemu.log", "a/g1/virtiofsd.log"]);
        attempts[1].artifacts = texts.iter().map(|(file, _)| (*file).to_owned()).collect();
        let read = |file: &str| Some(texts.iter().find(|(name, _)| *name == file)?.1.to_owned());
        with(&finding, &matrix, None, |failed| failed.log(read)).map(|log| (log.file, log.lines, log.has_the_failure))
    };
    let (serial, qemu) = ("a/g2/serial.log", "a/g2/qemu.log");
    let of = |file: &str, lines: &str, has_it: bool| Some((file.to_owned(), lines.to_owned(), has_it));
    let both = [(serial, "Linux version\nup\n"), (qemu, "warning\n")];
    assert_eq!(logs(Component::Qemu, &both), of(qemu, "warning", false));
    assert_eq!(logs(Component::Kernel, &both), of(serial, "Linux version\nup", false));
    for component in [Component::Virtiofsd, Component::Kata, Component::Packages, Component::Record] {
        assert_eq!(logs(component, &both), None, "{component}");
    }
    let with_failure = format!("up\n{FIFO_MESSAGE}\n");
    let with_failure = [(serial, with_failure.as_str()), (qemu, "warning\n")];
    assert_eq!(
        logs(Component::Virtiofsd, &with_failure),
        of(serial, with_failure[0].1.trim_end(), true),
        "it has the failure's words"
    );
}

/// Returns the scripts of findings that have one.
fn scripts() -> Vec<(String, String)> {
    let findings = [
        &FIFO_OF_BOOKWORM,
        &ROOT_PORT_OF_TRIXIE,
        &FLAGS_OF_BOOKWORM,
        &TDX_OF_TRIXIE,
        &TIMES_OF_TRIXIE,
        &BLK_OF_TRIXIE,
        &PCI_OF_BULLSEYE,
        &NVDIMM_OF_BULLSEYE,
        &IOMMUFD_OF_TRIXIE,
    ];
    let mut all: Vec<(String, String)> =
        findings.iter().map(|finding| (finding.test.to_owned(), script_of(finding, None))).collect();
    let observed = "it fails";
    for test in catalogue::tests() {
        let is_made = matches!(test.reproducer, Some(Reproducer::Guest(_) | Reproducer::SystemCalls(_)));
        let profile = Profile::all().iter().find(|profile| test.applies_to(&profile.name)).unwrap();
        if is_made {
            let finding = Finding { test: &test.id, profile: &profile.name, observed, ..FIFO_OF_BOOKWORM };
            all.push((test.id.to_string(), script_of(&finding, None)));
        }
    }
    let machine =
        "starting QEMU: QEMU exited with 1: qemu-system-x86_64: -machine q35,accel=tcg,x=y: Invalid parameter 'x'";
    all.push(("-machine".to_owned(), script_of(&Finding { observed: machine, ..BLK_OF_TRIXIE }, None)));
    all
}

fn script_of(finding: &Finding, path: Option<&Path>) -> String {
    let matrix = run(finding, |_| {});
    let of = path.map_or("/usr/lib/qemu/virtiofsd".to_owned(), |path| path.display().to_string());
    with(finding, &matrix, path, |failed| script::script(failed, &daemon(&of)).unwrap())
}

#[test]
fn a_summary_names_the_share_once() {
    let summary = |finding: &Finding| script_of(finding, None).lines().nth(1).map(str::to_owned);
    let expected = [
        (&FIFO_OF_BOOKWORM, "# virtio-9p: making a fifo: No such device or address"),
        (&BLK_OF_TRIXIE, "# -device: Property 'virtio-blk-pci.scsi' not found"),
    ];
    for (finding, line) in expected {
        assert_eq!(summary(finding).as_deref(), Some(line));
    }
}

#[test]
fn scripts_have_valid_posix_shell_syntax() {
    let scripts = scripts();
    assert!(scripts.len() > 15, "{}", scripts.len());
    let dir = tempfile::tempdir().unwrap();
    for (test, text) in scripts {
        let output = sh(dir.path(), &text, &["-n"]);
        assert!(output.status.success(), "{test}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains("/home/"), "{test}");
    }
}

#[test]
#[cfg_attr(lacks = "shellcheck", ignore = "needs shellcheck")]
fn shellcheck_finds_nothing_in_scripts() {
    let dir = tempfile::tempdir().unwrap();
    for (test, text) in scripts() {
        let file = dir.path().join("repro.sh");
        std::fs::write(&file, text).unwrap();
        let output = Command::new("shellcheck").args(["--shell", "sh"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{test}:\n{}", String::from_utf8_lossy(&output.stdout));
    }
    // Shellcheck does look at the files.
    std::fs::write(dir.path().join("bad.sh"), "#!/bin/sh\nrm $1\n").unwrap();
    let output = Command::new("shellcheck").arg(dir.path().join("bad.sh")).output().unwrap();
    assert!(!output.status.success());
}

fn sh(folder: &Path, text: &str, options: &[&str]) -> std::process::Output {
    let file = folder.join("repro.sh");
    std::fs::write(&file, text).unwrap();
    Command::new("sh").args(options).arg(&file).output().unwrap()
}

/// Writes a program that stands in for QEMU or virtiofsd.
fn stand_in(folder: &Path, body: &str) -> PathBuf {
    let file = folder.join("program");
    let text = format!("#!/bin/sh\n[ \"$1\" = --version ] && echo version 0 && exit 0\n{body}");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    file
}

/// Each script runs with a program that has the fault, with one that does not, and with one that does not start.
#[test]
fn scripts_detect_whether_a_program_has_the_fault() {
    let list = "for name in a b c d e; do echo \"  $name\"; done\n";
    let quits = "while read -r line && [ \"$line\" != quit ]; do :; done\n";
    // The reply of QMP to a device whose switch is text.
    let strict = "while read -r line; do case $line in *multifunction\\\":\\\"off*|*pci-bridge-0*) \
                  echo \"{\\\"error\\\": {\\\"desc\\\": \\\"$WORDS\\\"}}\" ;; *) echo '{\"return\": {\"status\": 1}}' ;; esac; done\n";
    let refuses = |flag: &str, words: &str| {
        format!("case \"$*\" in *{flag}*) echo \"$0: {flag} x: {words}\" >&2; exit 1 ;; esac\n{quits}")
    };
    let replies = |words: &str| format!("WORDS=\"{words}\"\n{strict}");
    let property = "Property 'virtio-blk-pci.scsi' not found";
    let object = "Property 'memory-backend-file.readonly' not found";
    let flags = "echo \"fuse: unknown option(s): x\" >&2; exit 1\n";
    let table: Vec<(&Finding, String, i32)> = vec![
        (&TDX_OF_TRIXIE, list.to_owned(), 0),
        (&TDX_OF_TRIXIE, format!("{list}echo '  tdx-guest'\n"), 1),
        (&TDX_OF_TRIXIE, "exit 1\n".to_owned(), 77),
        (&BLK_OF_TRIXIE, refuses("scsi=off", property), 0),
        (&BLK_OF_TRIXIE, quits.to_owned(), 1),
        (&BLK_OF_TRIXIE, refuses("scsi=off", "no drive"), 77),
        (&BLK_OF_TRIXIE, format!("case \"$*\" in *scsi=off*) echo \"{property}\"; exit 124 ;; esac\n{quits}"), 77),
        (&BLK_OF_TRIXIE, format!("case \"$*\" in *scsi=off*) echo \"{property}\"; exit 127 ;; esac\n{quits}"), 77),
        (&BLK_OF_TRIXIE, "exit 1\n".to_owned(), 77),
        (&NVDIMM_OF_BULLSEYE, refuses("readonly=on", object), 0),
        (&NVDIMM_OF_BULLSEYE, quits.to_owned(), 1),
        (&PCI_OF_BULLSEYE, replies("Bus 'pci-bridge-0' does not support hotplugging"), 0),
        (&PCI_OF_BULLSEYE, "while read -r line; do echo '{\"return\": {\"status\": 1}}'; done\n".to_owned(), 1),
        (&PCI_OF_BULLSEYE, replies("no such bus"), 77),
        (&PCI_OF_BULLSEYE, "exit 1\n".to_owned(), 77),
        (&ROOT_PORT_OF_TRIXIE, replies("Invalid parameter type for 'multifunction', expected: boolean"), 0),
        (&ROOT_PORT_OF_TRIXIE, "while read -r line; do echo '{\"return\": {}}'; done\n".to_owned(), 1),
        (&ROOT_PORT_OF_TRIXIE, "while read -r line; do echo '{\"error\": {}}'; done\n".to_owned(), 77),
        (&FLAGS_OF_BOOKWORM, flags.to_owned(), 0),
        (&FLAGS_OF_BOOKWORM, "echo another fault >&2; exit 2\n".to_owned(), 77),
        (&FLAGS_OF_BOOKWORM, "exit 0\n".to_owned(), 77),
        (&FLAGS_OF_BOOKWORM, flags.replace("exit 1", "exit 127"), 77),
        (&FLAGS_OF_BOOKWORM, "exec sleep 60\n".to_owned(), 1),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (finding, body, expected) in table {
        let program = stand_in(dir.path(), &body);
        let output = sh(dir.path(), &script_of(finding, Some(&program)), &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(expected), "{}, with\n{body}\n{text}", finding.test);
        let word = match expected {
            0 => "\nreproduced: ",
            1 => "\nnot reproduced: ",
            _ => "\ncannot tell: ",
        };
        assert!(text.contains("== versions\n") && text.contains("== control: ") && text.contains(word), "{text}");
    }
    let nowhere = sh(dir.path(), &script_of(&TDX_OF_TRIXIE, Some(Path::new("/nowhere"))), &[]);
    assert_eq!(nowhere.status.code(), Some(script::CANNOT_TELL));
}

/// A guest is booted by programs that only pretend: what matters is which of them failed.
#[test]
fn a_guest_script_blames_the_guest_only_if_qemu_and_busybox_work() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for folder in ["modules/1.2", "boot", "bin"] {
        std::fs::create_dir_all(path(folder)).unwrap();
    }
    std::fs::write(path("boot/vmlinuz-1.2"), "").unwrap();
    let program = |name: &str, body: &str| {
        let file = path("bin").join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    let test = "smoke::kernel_boots_to_userspace";
    let finding = Finding { test, observed: "it fails", ..BLK_OF_TRIXIE };
    // Columns: what the guest's console has, QEMU's exit code, those of chroot and cpio, and the script's.
    for (console, code, alone, packed, expected) in [
        ("guest: up\nguest: ends with 0", 0, 0, 0, 1),
        ("guest: up\nguest: ends with 3", 0, 0, 0, 0),
        ("guest: up\nguest: ends with 127", 0, 0, 0, 77),
        ("guest: up", 0, 0, 0, 77),
        ("Kernel panic", 0, 0, 0, 0),
        ("Kernel panic", 1, 0, 0, 77),
        ("", 124, 0, 0, 77),
        ("", 127, 0, 0, 77),
        ("guest: up\nguest: ends with 3", 0, 1, 0, 77),
        ("Kernel panic", 0, 0, 1, 77),
    ] {
        program("busybox", &format!("cat >/dev/null; exit {packed}"));
        program("chroot", &format!("exit {alone}"));
        let qemu = stand_in(
            dir.path(),
            &format!(
                "case \"$*\" in *\"-S -monitor\"*) exit 0 ;; esac\n\
                 for word; do case $word in file:*) echo '{console}' >\"${{word#file:}}\" ;; esac; done\nexit {code}\n"
            ),
        );
        let script = script_of(&finding, Some(&qemu))
            .replace("/lib/modules/", &format!("{}/", path("modules").display()))
            .replace("/boot/vmlinuz-", &path("boot/vmlinuz-").display().to_string());
        std::fs::write(path("repro.sh"), script).unwrap();
        let programs = format!("{}:{}", path("bin").display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").arg(path("repro.sh")).env("PATH", programs).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(expected), "{console}, {code}, {alone}, {packed}: {text}");
    }
}

#[test]
fn a_failure_without_a_reproducer_script_gives_the_reason() {
    let none = |finding: &Finding| {
        let matrix = run(finding, |_| {});
        with(finding, &matrix, None, |failed| script::script(failed, &daemon("/x"))).unwrap_err().to_string()
    };
    let slow = Finding { observed: "the guest was not heard of for 20 s", ..BLK_OF_TRIXIE };
    assert_eq!(none(&slow), "the failure is not that QEMU refuses an argument");
    let unread = Finding { observed: "slot 1 of pci-bridge-0 stayed empty", ..PCI_OF_BULLSEYE };
    assert_eq!(none(&unread), "the failure is not a device that QEMU refuses");
    assert!(none(&CHECK_OF_TESTING).ends_with("cannot be shown by a script alone"));
}

/// A journal may be a stranger's, and the recipient of the report runs the script.
#[test]
fn text_from_a_journal_is_never_executed() {
    let dir = tempfile::tempdir().unwrap();
    let touch = format!("touch {}", dir.path().join("run").display());
    let hostile = |text: &str| -> &'static str { text.replace("CALL", &touch).leak() };
    let findings = [
        Finding { observed: hostile("x does not offer -object $(CALL);CALL, -device `CALL`'CALL'"), ..TDX_OF_TRIXIE },
        Finding {
            observed: hostile(
                "x: -object memory-backend-file,id=$(CALL)`CALL`,mem-path=/x\"$(CALL),readonly=on: Property \
                 'memory-backend-file.readonly' not found",
            ),
            ..NVDIMM_OF_BULLSEYE
        },
        Finding { observed: hostile("x: -machine $(CALL)';CALL: no '$(CALL)`CALL`"), ..BLK_OF_TRIXIE },
        Finding {
            observed: hostile("device_add was refused (GenericError): it's $(CALL)`CALL`\nCALL"),
            ..PCI_OF_BULLSEYE
        },
        Finding { observed: hostile("virtiofsd ended (code 1): please $(CALL); '`CALL`"), ..FLAGS_OF_BOOKWORM },
    ];
    let program = stand_in(dir.path(), "echo a; echo b; echo c; echo d; echo e; echo '{\"status\": 1}'\n");
    for finding in &findings {
        let output = sh(dir.path(), &script_of(finding, Some(&program)), &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(matches!(output.status.code(), Some(0 | 1 | 77)), "{}: {text}", finding.test);
        assert!(!dir.path().join("run").exists(), "{}: {text}", finding.test);
    }
    let text = |text: &str| hostile(text).to_owned();
    let evil = "$(CALL)`CALL`';CALL";
    let name = |flag: &str| ListedName { flag: text(flag), name: text(evil) };
    let refusal = FailureDetail::QmpRefusal {
        command: "device_add".to_owned(),
        class: text(evil),
        description: text("it's $(CALL)`CALL`\nCALL"),
    };
    let of_qemu = FailureDetail::QemuRefusal {
        flag: text("-object"),
        value: text("memory-backend-file,id=$(CALL)`CALL`,mem-path=/x\"$(CALL),readonly=on"),
        words: text("Property 'memory-backend-file.readonly' not found"),
    };
    let cases = [
        (&NVDIMM_OF_BULLSEYE, of_qemu),
        (&TDX_OF_TRIXIE, FailureDetail::NotListed { names: vec![name("-object")] }),
        (&TDX_OF_TRIXIE, FailureDetail::NotListed { names: vec![name("-x;CALL")] }),
        (&IOMMUFD_OF_TRIXIE, FailureDetail::LacksOptions { built_in: true, options: vec![text(evil)] }),
        (&FLAGS_OF_BOOKWORM, FailureDetail::DaemonEnded { said: text("please $(CALL)`CALL`; '`CALL`") }),
        (&PCI_OF_BULLSEYE, refusal),
    ];
    let mut made = 0;
    for (finding, detail) in cases {
        let matrix = run_with_detail(finding, "reworded", &detail);
        let path = program.display().to_string();
        let script = with(finding, &matrix, Some(&program), |failed| script::script(failed, &daemon(&path)));
        let Ok(script) = script else { continue };
        made += 1;
        let output = sh(dir.path(), &script, &[]);
        assert!(matches!(output.status.code(), Some(0 | 1 | 77)), "{detail:?}");
        assert!(!dir.path().join("run").exists(), "{detail:?}");
    }
    assert_eq!(made, 4, "a flag and an option that are none make no script");
    let flag = Finding { observed: hostile("x does not offer -x;CALL y"), ..TDX_OF_TRIXIE };
    let matrix = run(&flag, |_| {});
    let none = with(&flag, &matrix, None, |failed| script::script(failed, &[])).unwrap_err();
    assert_eq!(none.to_string(), "the failure does not name what is missing");
}
