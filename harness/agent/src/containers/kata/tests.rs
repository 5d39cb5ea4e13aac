use super::*;
use model::arch::Arch;
use model::database::Database;
use model::profile::Runtime;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A root with the paths of Debian 13's record, and a Kata's shipped configuration.
struct Machine {
    dir: tempfile::TempDir,
    root: Root,
    claims: Claims,
}

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let release = Database::embedded().record("debian").unwrap().release("13", Arch::X86_64).unwrap();
        let shipped = "[hypervisor.qemu]\npath = \"/opt/q\"\nimage = \"/opt/i\"\ninitrd = \"\"\nkernel = \"/opt/k\"\n\
                       shared_fs = \"virtio-fs\"\n[agent.kata]\n[runtime]\n";
        let machine = Machine {
            root: Root::new(dir.path()).unwrap(),
            claims: Claims { vmlinuz: "/boot/vmlinuz-6.12".to_owned(), ..Claims::of(release, "6.12".parse().unwrap()) },
            dir,
        };
        for (path, text) in [
            ("usr/bin/qemu-system-x86_64", "virtio-blk vhost-user-fs- libc.so.6 liburing.so.2"),
            ("usr/libexec/virtiofsd", "fuse: unknown option(s)"),
            ("boot/vmlinuz-6.12", "k"),
            ("k/initrd", "i"),
            ("k/shipped.toml", shipped),
        ] {
            machine.put(path, text);
        }
        machine
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        // A file that cannot be executed is no program.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn configure(&self, kata: &Kata) -> Result<ConfiguredKata, Stop> {
        let profile = Profile::find(&kata.profile).unwrap();
        configure(&self.root, &self.claims, profile, kata).map(|configured| configured.unwrap())
    }
}

pub(crate) fn kata(kind: Runtime) -> Kata {
    let (profile, version, configuration) = match kind {
        Runtime::Go => ("go-3.29", "3.30.0", "/etc/kata-containers/configuration.toml"),
        Runtime::Rs => ("rs-4.0", "4.0.0", "/etc/kata-containers/runtime-rs/configuration.toml"),
    };
    Kata {
        version: version.parse().unwrap(),
        kind,
        profile: profile.parse().unwrap(),
        shim: String::new(),
        shipped: Some("/k/shipped.toml".to_owned()),
        configuration: configuration.to_owned(),
        initrd: "/k/initrd".to_owned(),
        agent: None,
        checker: None,
        own: None,
        own_image: None,
        emulated: true,
    }
}

#[test]
fn each_runtime_gets_a_drop_in_beside_its_configuration() {
    let machine = Machine::new();
    let go = machine.configure(&kata(Runtime::Go)).unwrap();
    assert_eq!(go.file, Path::new("/etc/kata-containers/config.d/50-kata-osinfo.toml"));
    assert!(
        go.text.contains("kernel = \"/boot/vmlinuz-6.12\"") && go.text.contains("dial_timeout = 300"),
        "{}",
        go.text
    );
    let rs = machine.configure(&kata(Runtime::Rs)).unwrap();
    assert_eq!(rs.file, Path::new("/etc/kata-containers/runtime-rs/config.d/50-kata-osinfo.toml"));
    assert!(rs.text.contains("reconnect_timeout_ms = 300000"), "{}", rs.text);
    assert!(rs.notes.iter().any(|note| note.starts_with("deviation: ")), "{:?}", rs.notes);
}

#[test]
fn an_unsuitable_virtiofsd_is_configured_anyway() {
    // The daemon in this root is the C one, which `kata-osinfo configure` skips.
    let go = Machine::new().configure(&kata(Runtime::Go)).unwrap();
    assert!(go.text.contains("virtio_fs_daemon = \"/usr/libexec/virtiofsd\""), "{}", go.text);
}

#[test]
fn the_configuration_names_a_candidate_component() {
    let mut machine = Machine::new();
    machine.put("k/virtiofsd", "shared-dir");
    machine.claims.candidates.insert(Component::Virtiofsd, "/k/virtiofsd".parse().unwrap());
    let go = machine.configure(&kata(Runtime::Go)).unwrap();
    assert!(go.text.contains("virtio_fs_daemon = \"/k/virtiofsd\""), "{}", go.text);
}

#[test]
fn a_missing_path_blames_the_record_and_a_lost_setting_is_an_error() {
    let machine = Machine::new();
    fs::remove_file(machine.dir.path().join("usr/libexec/virtiofsd")).unwrap();
    match machine.configure(&kata(Runtime::Go)) {
        Err(Stop::Fail { message, blames, record, .. }) => {
            assert_eq!(blames, Some(Component::Record), "{message}");
            assert!(record.contains(&"/usr/libexec/virtiofsd".to_owned()), "{record:?}");
            assert!(message.contains("/usr/libexec/virtiofsd"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let machine = Machine::new();
    machine.put("etc/kata-containers/config.d/90-admin.toml", "[hypervisor.qemu]\nkernel = \"/k/initrd\"\n");
    match machine.configure(&kata(Runtime::Go)) {
        Err(Stop::Error { message }) => assert!(message.contains("90-admin.toml"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_last_file_that_sets_a_key_decides() {
    let machine = Machine::new();
    let go = kata(Runtime::Go);
    machine.configure(&go).unwrap();
    let is_on = || is_set(&machine.root, &go, "sandbox_cgroup_only").unwrap();
    assert!(!is_on());
    machine.put("etc/kata-containers/config.d/60-admin.toml", "[runtime]\nsandbox_cgroup_only = true\n");
    assert!(is_on());
    machine.put("etc/kata-containers/config.d/70-admin.toml", "[runtime]\nsandbox_cgroup_only = false\n");
    assert!(!is_on());
}

#[test]
fn katas_own_guest_has_an_image_and_no_initrd() {
    for kind in [Runtime::Go, Runtime::Rs] {
        let machine = Machine::new();
        machine.put("k/own-kernel", "k");
        machine.put("k/own-image", "i");
        let kata = kata(kind);
        let profile = Profile::find(&kata.profile).unwrap();
        let own = configure_image(&machine.root, &machine.claims, profile, &kata, "/k/own-kernel", "/k/own-image");
        let text = own.unwrap().unwrap().text;
        for line in ["kernel = \"/k/own-kernel\"\n", "image = \"/k/own-image\"\n", "initrd = \"\"\n"] {
            assert_eq!(text.matches(line).count(), 1, "{line}: {text}");
        }
        // The next container's guest has the distro's kernel again.
        let again = machine.configure(&kata).unwrap().text;
        assert!(again.contains("initrd = \"/k/initrd\"\n") && again.contains("image = \"\"\n"), "{again}");
    }
}
