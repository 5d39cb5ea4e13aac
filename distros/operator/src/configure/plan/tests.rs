use super::*;
use crate::configure::{FoundVirtiofsd, Initrd, Inventory, KeyValue, PackageDatabase, settings};
use model::kata_version::KataVersion;
use model::package::{PackageName, PackageVersion};
use model::record::Record;
use model::share::Share;
use model::verified::VerifiedFile;
use serde_json::json;
use std::path::Path;

const RECORD: &str = "\
distro: mini
package-manager: dnf
arch: [x86_64, s390x]
vmm: {name: qemu, packages: qemu-kvm, path: /usr/libexec/qemu-kvm}
fs:
  - {name: virtio-fs, packages: virtiofsd, path: /usr/libexec/virtiofsd}
  - {name: virtio-9p}
kernel: {packages: kernel, image: /boot/vmlinuz-*}
releases:
  - version: 1
";

/// Returns the head of an entry of `verified:`, to which the entry's capabilities are appended.
fn entry(profile: &str, environment: &str, capabilities: &str) -> String {
    format!(
        "  - release: \"1\"\n    arch: x86_64\n    profile: {profile}\n    environment: {environment}\n    basis: emulated\n    tested: 2026-11-21\n    harness: \"0.1.0\"\n    test-set: abc\n    versions: {{qemu-kvm: \"9\", virtiofsd: \"1.13\", kernel: \"6\"}}\n    capabilities:\n{capabilities}"
    )
}

/// Parses a record, and the verified entries that follow `verified:`.
fn record(text: &str) -> Record {
    let (text, verified) = text.split_once("verified:\n").unwrap_or((text, ""));
    let mut record = Record::parse(Path::new("mini.yaml"), text).unwrap();
    let file = format!("distro: mini\nverified:\n{verified}");
    record.verified = VerifiedFile::parse(Path::new("verified/mini.yaml"), &file).unwrap().entries;
    record
}

/// Returns an inventory with every component, and a QEMU with io_uring.
fn all() -> Inventory {
    Inventory {
        hypervisor: Some("/usr/libexec/qemu-kvm".parse().unwrap()),
        io_uring: Some(true),
        daemon: Some(FoundVirtiofsd { path: "/usr/libexec/virtiofsd".parse().unwrap(), flavour: Flavour::Rust }),
        kernel: Some("/boot/vmlinuz-6".into()),
        ..Inventory::default()
    }
}

fn installed(package: &str, version: &str) -> (PackageName, PackageVersion) {
    (package.parse().unwrap(), version.parse().unwrap())
}

fn own() -> GuestKernel {
    GuestKernel::Own { kernel: None, initrd: "/boot/kata.img".into() }
}

struct Case {
    record: Record,
    profile: &'static str,
    kata: KataVersion,
    found: Inventory,
    guest: GuestKernel,
    emulated: bool,
    force: bool,
    no_shared_fs: bool,
    arch: Arch,
}

impl Case {
    fn new(record_text: &str, profile: &'static str) -> Case {
        Case {
            record: record(record_text),
            profile,
            kata: Profile::find(profile).unwrap().version(),
            found: all(),
            guest: own(),
            emulated: false,
            force: false,
            no_shared_fs: false,
            arch: Arch::X86_64,
        }
    }

    fn plan(&self) -> Result<KataConfiguration, PlanError> {
        plan(&Inputs {
            release: &self.record.release("1", self.arch).unwrap(),
            verified: &self.record.verified,
            profile: Profile::find(self.profile).unwrap(),
            kata: self.kata,
            found: &self.found,
            guest: &self.guest,
            emulated: self.emulated,
            force: self.force,
            no_shared_fs: self.no_shared_fs,
        })
    }

    fn settings(&self) -> Vec<KeyValue> {
        settings(&self.plan().unwrap())
    }
}

fn shown(settings: &[KeyValue]) -> String {
    settings.iter().map(|s| format!("{} = {}\n", s.name(), s.value)).collect()
}

fn value(settings: &[KeyValue], name: &str) -> Option<serde_json::Value> {
    settings.iter().find(|s| s.name() == name).map(|s| s.value.clone())
}

#[test]
fn the_rust_runtime_gets_its_keys() {
    let mut case = Case::new(RECORD, "rs-4.0");
    case.emulated = true;
    insta::assert_snapshot!(shown(&case.settings()), @r#"
    hypervisor.qemu.path = "/usr/libexec/qemu-kvm"
    hypervisor.qemu.valid_hypervisor_paths = ["/usr/libexec/qemu-kvm"]
    hypervisor.qemu.machine_type = "q35"
    hypervisor.qemu.kernel = "/boot/vmlinuz-6"
    hypervisor.qemu.initrd = "/boot/kata.img"
    hypervisor.qemu.image = ""
    hypervisor.qemu.shared_fs = "virtio-fs"
    hypervisor.qemu.virtio_fs_daemon = "/usr/libexec/virtiofsd"
    hypervisor.qemu.valid_virtio_fs_daemon_paths = ["/usr/libexec/virtiofsd"]
    hypervisor.qemu.virtio_fs_cache = "auto"
    hypervisor.qemu.virtio_fs_extra_args = ["--thread-pool-size=1","-o","announce_submounts"]
    runtime.hypervisor_name = "qemu"
    agent.kata.reconnect_timeout_ms = 300000
    agent.kata.create_container_timeout = 300
    "#);
    assert!(case.plan().unwrap().production);
}

#[test]
fn keys_that_a_version_does_not_know_are_left_out() {
    let mut case = Case::new(RECORD, "go-3.1");
    case.emulated = true;
    case.found.io_uring = Some(false);
    let has = |case: &Case, name: &str| value(&case.settings(), name).is_some();
    assert!(has(&case, "hypervisor.qemu.block_device_aio"));
    assert!(has(&case, "agent.kata.dial_timeout"));
    assert!(!has(&case, "runtime.create_container_timeout"));
    case.kata = KataVersion::new(2, 5, 0);
    assert!(!has(&case, "hypervisor.qemu.block_device_aio"));
    case.kata = KataVersion::new(2, 0, 0);
    assert!(!has(&case, "agent.kata.dial_timeout"));
}

#[test]
fn io_uring_is_avoided_only_where_it_does_not_work() {
    let mut case = Case::new(RECORD, "go-3.29");
    let aio = |case: &Case| value(&case.settings(), "hypervisor.qemu.block_device_aio");
    assert_eq!(aio(&case), None);
    case.found.io_uring = None;
    assert_eq!(aio(&case), None);
    case.found.io_uring_forbidden = true;
    assert_eq!(aio(&case), Some(json!("threads")));
    case.found = Inventory { io_uring: Some(false), ..all() };
    assert_eq!(aio(&case), Some(json!("threads")));
}

#[test]
fn katas_own_kernel_is_left_alone_and_fit_for_production() {
    let mut case = Case::new(RECORD, "go-3.29");
    case.guest = GuestKernel::Kata;
    let configuration = case.plan().unwrap();
    assert!(configuration.production, "upstream ships it");
    assert!(configuration.notes.iter().any(|n| n.about == "kernel" && n.text.contains("not the distro")));
    for key in ["kernel", "initrd", "image"] {
        assert_eq!(value(&settings(&configuration), &format!("hypervisor.qemu.{key}")), None);
    }
}

#[test]
fn the_machine_type_follows_the_architecture() {
    let mut case = Case::new(RECORD, "go-3.29");
    case.arch = Arch::S390x;
    assert_eq!(value(&case.settings(), "hypervisor.qemu.machine_type"), Some(json!("s390-ccw-virtio")));
}

#[test]
fn a_filesystem_verified_as_unsupported_is_passed_over() {
    let no_fs = "      fs.virtio-fs: {verdict: unsupported, causes: [{component: virtiofsd, message: too old}]}\n      fs.virtio-9p: supported\n";
    let case = Case::new(&format!("{RECORD}verified:\n{}", entry("go-3.2", "container", no_fs)), "go-3.2");
    let configuration = case.plan().unwrap();
    assert_eq!(configuration.share, SharedFs::Virtio9p);
    assert_eq!(configuration.passed_over.len(), 1);
    assert!(configuration.passed_over[0].why[0].starts_with("virtiofsd: too old (fs.virtio-fs on emulated"));
    assert_eq!(value(&settings(&configuration), "hypervisor.qemu.virtio_fs_daemon"), None);
    // The opposite case: 9p is preferred, and this QEMU lacks it.
    let ninep_first = RECORD
        .replace("fs:\n", "fs:\n  preferred: virtio-9p\n  drivers:\n")
        .replace("  - {name: virtio", "    - {name: virtio");
    let no_9p = "      fs.virtio-9p: {verdict: unsupported, causes: [{component: qemu, message: no virtio-9p-pci}]}\n";
    let case = Case::new(&format!("{ninep_first}verified:\n{}", entry("go-3.2", "container", no_9p)), "go-3.2");
    let configuration = case.plan().unwrap();
    assert_eq!((configuration.share.name(), configuration.passed_over[0].name.as_str()), ("virtio-fs", "virtio-9p"));
    // A profile without 9p passes it over for this reason, whatever was verified.
    let configuration = Case::new(&ninep_first, "rs-4.0").plan().unwrap();
    assert!(configuration.passed_over[0].why[0].contains("does not support virtio-9p"), "{configuration:?}");
}

#[test]
fn a_filesystem_without_its_device_in_qemu_is_passed_over() {
    let mut case = Case::new(RECORD, "go-3.2");
    case.found.lacks = vec![Share::VirtioFs];
    let configuration = case.plan().unwrap();
    assert_eq!(configuration.share, SharedFs::Virtio9p);
    assert_eq!(configuration.passed_over[0].why, ["/usr/libexec/qemu-kvm was built without a device for virtio-fs"]);
    // Installing the daemon's packages would not help.
    case.found = Inventory { lacks: vec![Share::VirtioFs, Share::Virtio9p], daemon: None, ..all() };
    assert!(matches!(case.plan(), Err(PlanError::NothingWorks { .. })));
}

#[test]
fn the_c_daemon_serves_only_profiles_that_pass_its_options() {
    let mut case = Case::new(RECORD, "go-3.1");
    case.found.daemon = Some(FoundVirtiofsd { path: "/usr/libexec/virtiofsd".parse().unwrap(), flavour: Flavour::C });
    assert_eq!(case.plan().unwrap().share.name(), "virtio-fs");
    case.profile = "rs-4.0";
    let Err(PlanError::NothingWorks { passed_over }) = case.plan() else { panic!("a C daemon under rs-4.0") };
    assert!(passed_over[0].why[0].contains("C daemon"), "{passed_over:?}");
    // Force does not make a program understand options that it does not have.
    case.force = true;
    assert!(matches!(case.plan(), Err(PlanError::NothingWorks { .. })));
}

#[test]
fn verdicts_on_the_distros_daemon_do_not_apply_to_an_admins_own() {
    let own_daemon =
        RECORD.replace("packages: virtiofsd, path: /usr/libexec", "packages: [], path: /usr/local/libexec");
    let no_fs = "      fs.virtio-fs: {verdict: unsupported, causes: [{component: virtiofsd, message: too old}]}\n";
    let mut case = Case::new(&format!("{own_daemon}verified:\n{}", entry("rs-4.0", "vm", no_fs)), "rs-4.0");
    let path: InsidePath = "/usr/local/libexec/virtiofsd".parse().unwrap();
    case.found.daemon = Some(FoundVirtiofsd { path: path.clone(), flavour: Flavour::Rust });
    let configuration = case.plan().unwrap();
    assert_eq!(configuration.share, SharedFs::VirtioFs { daemon: path });
    assert!(configuration.notes.iter().any(|n| n.text.contains("never been verified")), "{configuration:?}");
}

#[test]
fn a_run_in_a_vm_outranks_one_in_a_container() {
    let no = "      fs.virtio-fs: {verdict: unsupported, causes: [{message: x}]}\n";
    let yes = "      fs.virtio-fs: supported\n";
    let plan_with = |container: &str, vm: &str| {
        let entries = entry("rs-4.0", "container", container) + &entry("rs-4.0", "vm", vm);
        Case::new(&format!("{RECORD}verified:\n{entries}"), "rs-4.0").plan()
    };
    assert!(plan_with(no, yes).is_ok());
    assert!(matches!(plan_with(yes, no), Err(PlanError::NothingWorks { .. })));
    // An undecided entry does not outrank a decided one.
    assert!(matches!(plan_with(no, "      fs.virtio-fs: untested\n"), Err(PlanError::NothingWorks { .. })));
}

#[test]
fn evidence_notes_when_another_version_is_installed() {
    let yes = "      fs.virtio-fs: supported\n";
    let mut case = Case::new(&format!("{RECORD}verified:\n{}", entry("rs-4.0", "container", yes)), "rs-4.0");
    let note = |case: &Case| case.plan().unwrap().notes.into_iter().find(|n| n.about == "shared_fs").unwrap().text;
    assert!(note(&case).ends_with("run of 2026-11-21"));
    case.found.packages = [installed("virtiofsd", "1.14"), installed("qemu-kvm", "9")].into();
    assert!(note(&case).ends_with("run of 2026-11-21 with virtiofsd 1.13, installed is 1.14"), "{}", note(&case));
}

#[test]
fn no_shared_fs_needs_no_daemon_and_is_noted() {
    let mut case = Case::new(RECORD, "go-3.29");
    case.found.daemon = None;
    assert!(case.plan().is_err());
    case.no_shared_fs = true;
    let configuration = case.plan().unwrap();
    assert_eq!((configuration.share.name(), configuration.passed_over.len()), ("none", 0));
    let notes: Vec<&str> =
        configuration.notes.iter().filter(|n| n.about == "shared_fs").map(|n| n.text.as_str()).collect();
    assert!(notes.len() == 1 && notes[0].contains("must be block devices"), "{notes:?}");
    let settings = settings(&configuration);
    assert_eq!(value(&settings, "hypervisor.qemu.shared_fs"), Some(json!("none")));
    assert!(settings.iter().all(|s| !s.key.starts_with("virtio_fs")), "{}", shown(&settings));
}

#[test]
fn an_unsupported_capability_is_refused_unless_forced() {
    let no_boot = "      vmm.boot: {verdict: unsupported, causes: [{component: qemu, message: exits}]}\n";
    let mut case = Case::new(&format!("{RECORD}verified:\n{}", entry("go-3.29", "container", no_boot)), "go-3.29");
    let error = case.plan().unwrap_err();
    assert!(error.to_string().starts_with("vmm.boot is known not to work: qemu: exits"), "{error}");
    // Another profile's verdict does not apply.
    case.profile = "rs-4.0";
    assert!(case.plan().is_ok());
    case.profile = "go-3.29";
    case.force = true;
    let configuration = case.plan().unwrap();
    assert!(!configuration.production);
    assert!(configuration.notes[0].text.starts_with("forced although"));
    // The same for the distro's kernel, but not for a named one.
    let no_kernel = "      kernel.guest: {verdict: unsupported, causes: [{component: kernel, message: panics}]}\n";
    let mut case = Case::new(&format!("{RECORD}verified:\n{}", entry("go-3.29", "container", no_kernel)), "go-3.29");
    assert!(matches!(case.plan(), Err(PlanError::Unsupported { what: Capability::KernelGuest, .. })));
    case.guest = GuestKernel::Own { kernel: Some("/k".into()), initrd: "/i".into() };
    assert!(case.plan().is_ok());
}

#[test]
fn a_missing_component_is_reported_with_its_packages_and_path() {
    let mut case = Case::new(RECORD, "rs-4.0");
    case.found.hypervisor = None;
    let Err(PlanError::Missing { missing }) = case.plan() else { panic!("no QEMU") };
    assert_eq!(missing.component, "qemu");
    assert_eq!(missing.packages, ["qemu-kvm"]);
    assert_eq!(missing.path, "/usr/libexec/qemu-kvm".parse().ok());
    case.found = Inventory { daemon: None, ..all() };
    let Err(PlanError::Missing { missing }) = case.plan() else { panic!("no virtiofsd") };
    assert_eq!(missing.packages, ["virtiofsd"]);
    assert_eq!(missing.path, "/usr/libexec/virtiofsd".parse().ok());
    case.found = Inventory { kernel: None, ..all() };
    let Err(PlanError::Missing { missing }) = case.plan() else { panic!("no kernel") };
    assert_eq!(missing.packages, ["kernel"]);
    assert_eq!(missing.path, "/boot/vmlinuz-*".parse().ok());
    let case = Case::new(&RECORD.replace("vmm: {name: qemu", "vmm: {name: firecracker"), "rs-4.0");
    assert!(matches!(case.plan(), Err(PlanError::NotPackaged { component: Component::Qemu, .. })));
}

#[test]
fn installing_packages_is_preferred_to_forcing_a_filesystem() {
    let no_9p = "      fs.virtio-9p: {verdict: unsupported, causes: [{component: qemu, message: mtime}]}\n";
    let mut case = Case::new(&format!("{RECORD}verified:\n{}", entry("go-3.2", "container", no_9p)), "go-3.2");
    case.found.daemon = None;
    case.force = true;
    assert!(matches!(case.plan(), Err(PlanError::Missing { .. })));
    // With nothing to install, force chooses the other filesystem.
    case.found.daemon = Some(FoundVirtiofsd { path: "/usr/libexec/virtiofsd".parse().unwrap(), flavour: Flavour::C });
    let configuration = case.plan().unwrap();
    assert_eq!((configuration.share, configuration.production), (SharedFs::Virtio9p, false));
}

#[test]
fn an_agent_that_new_kernels_do_not_let_listen_is_noted() {
    let is_noted = |kata: &str, guest: GuestKernel| {
        let mut case = Case::new(RECORD, "go-3.2");
        case.kata = kata.parse().unwrap();
        case.guest = guest;
        let configuration = case.plan().unwrap();
        configuration.notes.iter().any(|n| n.about == "kernel" && n.text.contains("SO_REUSEPORT"))
    };
    assert!(is_noted("3.13.0", own()));
    assert!(!is_noted("3.14.0", own()));
    assert!(!is_noted("3.13.0", GuestKernel::Kata), "Kata's own kernel is its own affair");
}

#[test]
fn an_initrd_named_for_another_kernel_or_the_host_is_not_for_production() {
    let note = |kernel: &str, initrd: &str| {
        let mut case = Case::new(RECORD, "go-3.29");
        case.guest = GuestKernel::Own { kernel: Some(kernel.into()), initrd: initrd.into() };
        let configuration = case.plan().unwrap();
        let note = configuration.notes.iter().find(|n| n.about == "initrd").map(|n| n.text.clone());
        assert_eq!(configuration.production, note.is_none(), "{note:?}");
        note.unwrap_or_default()
    };
    let debian = "/boot/vmlinuz-6.12.48+deb13-amd64";
    assert!(note(debian, "/boot/initrd.img-6.1.0-9-amd64").contains("another kernel than"));
    assert!(note(debian, "/boot/kata-6.1.0.img").contains("another kernel than"));
    assert!(note(debian, "/boot/initrd.img-6.12.48+deb13-amd64").contains("this machine's own initrd"));
    let fedora = "/lib/modules/6.11.4-301.fc41.x86_64/vmlinuz";
    assert!(note(fedora, "/boot/initramfs-6.11.4-301.fc41.x86_64.img").contains("this machine's own initrd"));
    for fine in [
        "/boot/kata-initrd",
        "/opt/kata/kata-3.29.img",
        "/var/kata/6.12.48+deb13-amd64/initrd",
        "/boot/kata-6.12.48+deb13-amd64.img",
        "/boot/kata-6.12.img",
    ] {
        assert_eq!(note(debian, fine), "", "{fine}");
    }
}

#[test]
fn an_initrd_is_judged_by_its_content_before_its_name() {
    let kernel = "/boot/vmlinuz-6.12.48+deb13-amd64";
    let case_with = |initrd: &str, found: Initrd| {
        let mut case = Case::new(RECORD, "go-3.29");
        case.guest = GuestKernel::Own { kernel: Some(kernel.into()), initrd: initrd.into() };
        case.found.initrd = Some(found);
        case
    };
    let judged = |initrd: &str, found: Initrd| {
        let mut case = case_with(initrd, found);
        case.force = true;
        let configuration = case.plan().unwrap();
        let notes: Vec<String> =
            configuration.notes.into_iter().filter(|n| n.about == "initrd").map(|n| n.text).collect();
        (configuration.production, notes.join("|"))
    };
    let has =
        |modules: &[&str], agent| Initrd::Has { modules: modules.iter().map(|m| (*m).to_owned()).collect(), agent };
    let of_host = "/boot/initrd.img-6.12.48+deb13-amd64";
    for cannot_boot in [has(&["6.1.0-9-amd64"], true), Initrd::Broken("it is empty".to_owned())] {
        let error = case_with("/boot/kata.img", cannot_boot).plan().unwrap_err();
        assert!(matches!(error, PlanError::WrongInitrd { .. }), "{error}");
    }
    assert!(case_with(of_host, has(&["6.12.48+deb13-amd64"], true)).plan().is_ok());
    assert_eq!(judged(of_host, has(&["6.12.48+deb13-amd64"], true)), (true, String::new()));
    assert_eq!(judged("/boot/kata-6.1.0.img", has(&["6.12.48+deb13-amd64", "6.1"], true)), (true, String::new()));
    let (production, notes) = judged("/boot/kata.img", has(&["6.1.0-9-amd64"], true));
    assert!(!production && notes.contains("modules are for 6.1.0-9-amd64, not 6.12.48+deb13-amd64"), "{notes}");
    let (production, notes) = judged(of_host, has(&["6.12.48+deb13-amd64"], false));
    assert!(!production && notes.contains("does not seem to contain Kata's agent"), "{notes}");
    let (production, notes) = judged("/boot/kata.img", has(&[], true));
    assert!(production && notes.contains("has no modules"), "{notes}");
    // Nothing in the initrd shows its kernel, but its name does; a version in the names of Kata's own initrds is a
    // distro's or Kata's.
    let (production, notes) = judged("/boot/kata-6.1.0-9-amd64.img", has(&[], true));
    assert!(!production && notes.contains("judging by its name, it is for another kernel"), "{notes}");
    for name in ["kata-6.12.48+deb13-amd64.img", "kata-6.12.48.img", "kata-3.29.0.img", "kata-alpine-3.22.initrd"] {
        let (production, notes) = judged(&format!("/boot/{name}"), has(&[], true));
        assert!(
            production && notes.ends_with("must be built into /boot/vmlinuz-6.12.48+deb13-amd64"),
            "{name}: {notes}"
        );
    }
    let (production, notes) = judged("/boot/kata.img", Initrd::Broken("it is empty".to_owned()));
    assert!(!production && notes.contains("cannot be unpacked by any kernel: it is empty"), "{notes}");
    // An initrd that cannot be examined is in doubt, whatever its name.
    let (production, notes) = judged("/boot/kata.img", Initrd::Unread("lz4".to_owned()));
    assert!(!production && notes.contains("could not be examined: lz4"), "{notes}");
    let (production, notes) = judged(of_host, Initrd::Unread("lz4".to_owned()));
    assert!(!production && notes.contains("this machine's own initrd"), "{notes}");
}

#[test]
fn a_kernel_among_other_flavours_is_not_for_production_until_it_is_named() {
    let mut case = Case::new(RECORD, "go-3.29");
    case.found.kernel_in_doubt = true;
    assert!(!case.plan().unwrap().production);
    case.guest = GuestKernel::Own { kernel: Some("/boot/vmlinuz-6".into()), initrd: "/boot/kata.img".into() };
    assert!(case.plan().unwrap().production);
}

#[test]
fn a_daemon_that_its_installed_package_lacks_is_not_installed_again() {
    let mut case = Case::new(RECORD, "rs-4.0");
    case.found.daemon = None;
    assert!(matches!(case.plan(), Err(PlanError::Missing { .. })));
    case.found.packages.extend([installed("virtiofsd", "2~bpo12+1")]);
    match case.plan() {
        Err(PlanError::NothingWorks { passed_over }) => {
            let why =
                "/usr/libexec/virtiofsd does not exist: virtiofsd 2~bpo12+1 is installed, but does not contain it";
            assert_eq!(passed_over[0].why, [why]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_image_is_a_disk_where_qemu_has_no_read_only_memory_backend() {
    let mut case = Case::new(RECORD, "go-2.2");
    case.guest = GuestKernel::Kata;
    let disk = |case: &Case| value(&case.settings(), "hypervisor.qemu.disable_image_nvdimm");
    for (version, kata, expected) in [
        ("1:5.2+dfsg-11+deb11u5", "2.5.0", Some(json!(true))),
        ("1:5.2+dfsg-11+deb11u5", "2.1.0", None),
        ("1:7.2+dfsg-7", "2.5.0", None),
        ("10.0.2", "2.5.0", None),
    ] {
        case.found.packages.extend([installed("qemu-kvm", version)]);
        case.kata = kata.parse().unwrap();
        assert_eq!(disk(&case), expected, "{version} {kata}");
    }
    // If installed versions are not known, verified versions are used.
    let verified =
        entry("go-2.2", "container", "      vmm.boot: supported\n").replace("qemu-kvm: \"9\"", "qemu-kvm: \"5.2\"");
    let mut case = Case::new(&format!("{RECORD}verified:\n{verified}"), "go-2.2");
    case.kata = "2.5.0".parse().unwrap();
    case.guest = GuestKernel::Kata;
    assert_eq!(disk(&case), Some(json!(true)));
    case.guest = own();
    assert_eq!(disk(&case), None);
}

#[test]
fn unknown_installed_versions_are_noted_beside_the_evidence() {
    let verified = entry("go-2.2", "container", "      vmm.boot: supported\n");
    let mut case = Case::new(&format!("{RECORD}verified:\n{verified}"), "go-2.2");
    let note = |case: &Case| {
        let notes = case.plan().unwrap().notes;
        notes.into_iter().find(|n| n.text.starts_with("supported: vmm.boot")).unwrap().text
    };
    assert!(!note(&case).contains("installed"), "nobody asked: {}", note(&case));
    case.found.database = PackageDatabase::Read;
    assert!(note(&case).contains("qemu-kvm 9, which is not installed"), "{}", note(&case));
    case.found.database = PackageDatabase::Unread("Permission denied".into());
    assert!(note(&case).contains("the installed versions are not known: Permission denied"), "{}", note(&case));
}

#[test]
fn an_image_counts_as_proven_only_with_its_verified_driver() {
    let case_with = |profile: &'static str, capabilities: &str| {
        let mut case = Case::new(&format!("{RECORD}verified:\n{}", entry(profile, "container", capabilities)), profile);
        case.guest = GuestKernel::Kata;
        case
    };
    let nvdimm = "      vmm.image.nvdimm: supported\n";
    let no_nvdimm = "      vmm.image.nvdimm: {verdict: unsupported, causes: [{component: qemu, message: exits}]}\n";
    let no_disk = "      vmm.image.blk: {verdict: unsupported, causes: [{component: qemu, message: no disk}]}\n";
    // An untested image is not known to boot.
    let untried = case_with("go-3.29", "      vmm.boot: supported\n").plan().unwrap();
    assert!(untried.unproven_image && !untried.image_as_disk, "{untried:?}");
    assert!(untried.notes.iter().any(|n| n.about == "image" && n.text.contains("not been verified")));
    assert!(case_with("go-3.29", "      vmm.image.nvdimm: untested\n").plan().unwrap().unproven_image);
    // A verdict on the other driver does not apply.
    assert!(case_with("go-3.29", "      vmm.image.blk: supported\n").plan().unwrap().unproven_image);
    let proven = case_with("go-3.29", nvdimm).plan().unwrap();
    assert!(!proven.unproven_image && !proven.image_as_disk, "{proven:?}");
    // A disk instead of an NVDIMM, with each runtime's key.
    for (profile, key, expected) in
        [("go-3.29", "disable_image_nvdimm", json!(true)), ("rs-4.0", "vm_rootfs_driver", json!("virtio-blk-pci"))]
    {
        let disk = case_with(profile, &format!("{no_nvdimm}      vmm.image.blk: supported\n"));
        assert_eq!(value(&disk.settings(), &format!("hypervisor.qemu.{key}")), Some(expected));
        assert!(!disk.plan().unwrap().unproven_image);
        assert!(case_with(profile, no_nvdimm).plan().unwrap().unproven_image);
    }
    // Neither driver works.
    let mut neither = case_with("go-3.29", &format!("{no_nvdimm}{no_disk}"));
    let error = neither.plan().unwrap_err().to_string();
    assert!(error.starts_with("vmm.image.nvdimm is known not to work: qemu: exits"), "{error}");
    assert!(error.contains("qemu: no disk"), "{error}");
    neither.force = true;
    assert!(neither.plan().unwrap().unproven_image);
    // With an initrd no image is needed.
    neither.force = false;
    neither.guest = own();
    assert!(!neither.plan().unwrap().unproven_image);
}

#[test]
fn a_qemu_without_disk_hotplug_is_refused_unless_forced() {
    let mut case = Case::new(
        &format!(
            "{RECORD}verified:\n{}",
            entry(
                "go-3.29",
                "container",
                "      vmm.hotplug.blk: {verdict: unsupported, causes: [{component: qemu, message: no bus}]}\n"
            )
        ),
        "go-3.29",
    );
    let error = case.plan().unwrap_err().to_string();
    assert!(error.starts_with("vmm.hotplug.blk is known not to work: qemu: no bus"), "{error}");
    case.force = true;
    let configuration = case.plan().unwrap();
    assert!(configuration.in_doubt && !configuration.production);
}

/// Kata's default setup has a pod's interfaces and disks from the start; hotplug for an engine or a setting is no
/// reason to refuse.
#[test]
fn failed_network_hotplug_raises_a_doubt_and_failed_pci_hotplug_does_not() {
    let plan_without = |name: &str| {
        let verdict =
            format!("      {name}: {{verdict: unsupported, causes: [{{component: qemu, message: no hotplug}}]}}\n");
        let record = format!("{RECORD}verified:\n{}", entry("go-3.29", "container", &verdict));
        Case::new(&record, "go-3.29").plan().unwrap()
    };
    let configuration = plan_without("vmm.hotplug.net");
    assert!(configuration.in_doubt && !configuration.production);
    let is_about_docker = |note: &Note| note.text.contains("as Docker does, is known not to work: qemu: no hotplug");
    assert!(configuration.notes.iter().any(is_about_docker), "{:?}", configuration.notes);
    let configuration = plan_without("vmm.hotplug.pci-disk");
    assert!(!configuration.in_doubt && configuration.production, "{:?}", configuration.notes);
}
