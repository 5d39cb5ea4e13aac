use super::*;
use model::database::Database;
use model::package_manager::PackageManager;

#[test]
fn each_architecture_has_the_name_that_qemu_gives_it() {
    let names: Vec<&str> = Arch::ALL.iter().map(|arch| arch.qemu_name()).collect();
    assert_eq!(names, ["x86_64", "aarch64", "ppc64", "s390x"]);
}

/// A derivative has Debian's packages and the same notes about them, but does not count as tested.
#[test]
fn derivatives_of_bookworm_also_build_with_rustc_web() {
    let dir = tempfile::tempdir().unwrap();
    let devuan = "distro: devuan\nderives-from: debian\nreleases: [{version: 5, derives-from: bookworm}]\n";
    std::fs::write(dir.path().join("devuan.yaml"), devuan).unwrap();
    // A record without releases inherits those of the distro that it derives from.
    std::fs::write(dir.path().join("star.yaml"), "distro: star\nderives-from: devuan\n").unwrap();
    let database = Database::load(&[dir.path().to_owned()]).unwrap();
    let dependencies_of = |distro: &str, version: &str| {
        let release = database.record(distro).unwrap().release(version, Arch::X86_64).unwrap();
        let instructions = instructions(Buildable::Virtiofsd, &release, Profile::find("rs-4.0").unwrap());
        let has = |name: &str| instructions.dependencies.iter().any(|package| package == name);
        let known = instructions.notes.iter().any(|note| note.starts_with("bookworm's rustc"));
        ((has("rustc-web"), has("rustc"), known), instructions.exercised.is_some())
    };
    let with_its_own = (false, true, false);
    assert_eq!(dependencies_of("debian", "12"), ((true, false, true), true));
    assert_eq!(dependencies_of("devuan", "5"), ((true, false, true), false));
    assert_eq!(dependencies_of("star", "5"), ((true, false, true), false));
    assert_eq!(dependencies_of("debian", "13"), (with_its_own, false));
}

/// Whatever the release's name, the record and its path contain, the script consists of kata-osinfo's commands,
/// comments, and the record between its delimiters.
#[test]
fn no_text_of_a_record_becomes_a_shell_command() {
    let release = Release {
        version: "x+~y".parse().unwrap(),
        distro: "d-._".parse().unwrap(),
        codename: None,
        aliases: Vec::new(),
        based_on: Vec::new(),
        arch: Arch::X86_64,
        package_manager: PackageManager::Apt,
        suites: Vec::new(),
        repositories: Vec::new(),
        modules: Vec::new(),
        module_platform: None,
        oci_image: None,
        image_lacks: None,
        vmms: Vec::new(),
        filesystems: Vec::new(),
        kernel: None,
        container_manager: None,
        docker: None,
        firmware: Vec::new(),
    };
    for component in [Buildable::Qemu, Buildable::Virtiofsd] {
        let profile = Profile::all().first().unwrap();
        let instructions = instructions(component, &release, profile);
        let record = format!("{}RECORD\ntouch /pwned\n", instructions.record);
        let instructions = Instructions { record, record_path: "/d'; touch /pwned; '.yaml".to_owned(), ..instructions };
        let script = instructions.script("d'; touch /pwned; '\nx\ntouch /pwned\nRECORD\n$(touch /pwned)");
        let mut record = false;
        for line in script.lines() {
            record = (record || line.starts_with("cat > ")) && line != "RECORD_";
            let command = !record && !line.starts_with('#');
            let is_quoted = || line.contains("'/d'\\''; touch /pwned; '\\''.yaml'");
            assert!(!command || !line.contains("pwned") || is_quoted(), "{line}");
        }
        // The shell agrees on where words end.
        let parsed = std::process::Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
        assert!(parsed.status.success(), "{script}");
    }
}
