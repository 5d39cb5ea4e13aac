use super::*;
use model::package_manager::PackageManager;

#[test]
fn each_architecture_has_the_name_that_qemu_gives_it() {
    let names: Vec<&str> = Arch::ALL.iter().map(|arch| target(*arch)).collect();
    assert_eq!(names, ["x86_64", "aarch64", "ppc64", "s390x"]);
}

/// Whatever reaches it, the script is commands of ours, comments, and a record between its marks.
#[test]
fn nothing_of_a_record_becomes_a_command() {
    let release = Release {
        version: "x\ntouch /pwned\nRECORD\n$(touch /pwned)".to_owned(),
        distro: "d'; touch /pwned; '".to_owned(),
        codename: None,
        aliases: Vec::new(),
        arch: Arch::X86_64,
        package_manager: PackageManager::Apt,
        suites: Vec::new(),
        repositories: Vec::new(),
        modules: Vec::new(),
        oci_image: None,
        vmms: Vec::new(),
        filesystems: Vec::new(),
        kernel: None,
        container_manager: None,
    };
    for component in [Buildable::Qemu, Buildable::Virtiofsd] {
        let profile = Profile::all().first().unwrap();
        let script =
            instructions(component, &release, profile).script(&format!("{} {}", release.distro, release.version));
        let mut record = false;
        for line in script.lines() {
            record = (record || line.starts_with("cat > ")) && line != "RECORD";
            let command = !record && !line.starts_with('#');
            assert!(
                !command
                    || !line.contains("pwned")
                    || line.contains("'/etc/kata-osinfo/d'\\''; touch /pwned; '\\''.yaml'"),
                "{line}"
            );
        }
        // The shell agrees about where words end.
        let parsed = std::process::Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
        assert!(parsed.status.success(), "{script}");
    }
}
