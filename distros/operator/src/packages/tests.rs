use super::*;
use std::collections::BTreeSet;

fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let root = Root::new(dir.path()).unwrap();
    (dir, root)
}

fn only_package(packages: &[Installed]) -> (&str, &str) {
    let [one] = packages else { panic!("{packages:?}") };
    (one.package.as_str(), one.version.as_str())
}

#[test]
fn pacmans_database_is_read() {
    let (_dir, root) = root(&[
        ("var/lib/pacman/local/ALPM_DB_VERSION", "9\n"),
        (
            "var/lib/pacman/local/qemu-base-9.1-1/desc",
            "%NAME%\nqemu-base\n\n%VERSION%\n9.1-1\n\n%PROVIDES%\nqemu-headless=9.1\nqemu\n\n",
        ),
        ("var/lib/pacman/local/qemu-base-9.1-1/files", "%FILES%\nusr/\nusr/bin/qemu-system-x86_64\n\n%BACKUP%\n"),
    ]);
    let packages = Packages::read(&root, None).unwrap();
    assert_eq!(packages.format(), Format::Pacman);
    for name in ["qemu-base", "qemu", "qemu-headless"] {
        assert_eq!(only_package(&packages.installed(name).unwrap()), ("qemu-base", "9.1-1"));
    }
    assert!(packages.installed("qemu-full").unwrap().is_empty());
    let owner = packages.owner(Path::new("/usr/bin/qemu-system-x86_64")).unwrap().unwrap();
    assert_eq!(owner.package, "qemu-base");
    assert_eq!(packages.owner(Path::new("/usr/bin/none")).unwrap(), None);
}

#[test]
fn apks_and_portages_databases_are_read() {
    let (_dir, root_apk) = root(&[(
        "lib/apk/db/installed",
        "C:Q1x=\nP:qemu-system-x86_64\nV:9.1.2-r1\np:cmd:qemu-system-x86_64=9.1 so:x=1\nF:usr\nF:usr/bin\nR:qemu-system-x86_64\n\nP:b\nV:1\n",
    )]);
    let packages = Packages::read(&root_apk, None).unwrap();
    assert_eq!(packages.format(), Format::Apk);
    assert_eq!(only_package(&packages.installed("qemu-system-x86_64").unwrap()).1, "9.1.2-r1");
    let owner = packages.owner(Path::new("/usr/bin/qemu-system-x86_64")).unwrap().unwrap();
    assert_eq!(owner.package, "qemu-system-x86_64");

    let (_dir, root_portage) = root(&[(
        "var/db/pkg/app-emulation/qemu-9.1.2-r1/CONTENTS",
        "dir /usr/bin\nobj /usr/bin/qemu-system-x86_64 0123 1700000000\nsym /usr/bin/qemu-kvm -> qemu-system-x86_64 1700000000\n",
    )]);
    let packages = Packages::read(&root_portage, None).unwrap();
    for name in ["qemu", "app-emulation/qemu"] {
        assert_eq!(only_package(&packages.installed(name).unwrap()), ("app-emulation/qemu", "9.1.2-r1"));
    }
    for path in ["/usr/bin/qemu-system-x86_64", "/usr/bin/qemu-kvm"] {
        assert_eq!(packages.owner(Path::new(path)).unwrap().unwrap().package, "app-emulation/qemu");
    }
}

#[test]
#[cfg_attr(lacks = "dpkg-query", ignore = "needs dpkg-query")]
fn dpkg_answers_match_those_of_dpkg_query() {
    let query = Path::new("/usr/bin/dpkg-query");
    let root = Root::default();
    let packages = Packages::read(&root, None).unwrap();
    let dpkg_query = |arguments: &[&str]| {
        let finished = crate::process::Invocation::new(query, arguments).run(std::time::Duration::from_secs(60), None);
        finished.unwrap().stdout
    };
    for name in ["dpkg", "bash", "libc6"] {
        assert_eq!(only_package(&packages.installed(name).unwrap()).1, dpkg_query(&["-W", "-f=${Version}", name]));
    }
    // A virtual package, and files with paths before and after the /usr merge.
    assert!(packages.installed("awk").unwrap().iter().any(|p| p.package.as_str().ends_with("awk")));
    for path in ["/bin/bash", "/usr/bin/bash"] {
        assert_eq!(packages.owner(Path::new(path)).unwrap().unwrap().package, "bash", "{path}");
    }
    let all = dpkg_query(&["-W", "-f=${db:Status-Status}\n"]).lines().filter(|l| *l == "installed").count();
    assert_eq!(dpkg::entries(&root).unwrap().len(), all);
}

/// A Fedora with a dpkg directory for its tools, or leftovers of a container: the record decides which database counts.
#[test]
fn the_records_package_manager_decides_which_database_is_read() {
    let (dir, root) = root(&[
        ("var/lib/dpkg/status", ""),
        ("lib/apk/db/installed", "P:qemu\nV:9\n"),
        ("var/lib/pacman/local/qemu-1-1/desc", "%NAME%\nqemu\n\n%VERSION%\n1-1\n\n"),
    ]);
    let read = |manager| Packages::read(&root, manager);
    for (manager, format, version) in [
        (Some(PackageManager::Apk), Format::Apk, Some("9")),
        (Some(PackageManager::Pacman), Format::Pacman, Some("1-1")),
        (Some(PackageManager::Apt), Format::Dpkg, None),
        (None, Format::Dpkg, None),
    ] {
        let packages = read(manager).unwrap();
        assert_eq!(packages.format(), format, "{manager:?}");
        let found = packages.installed("qemu").unwrap();
        assert_eq!(found.first().map(|i| i.version.as_str()), version, "{manager:?}");
    }
    let none = [PackageManager::Dnf, PackageManager::Yum, PackageManager::Zypper, PackageManager::Nix];
    for manager in none.into_iter().chain([PackageManager::Emerge]) {
        assert!(matches!(read(Some(manager)), Err(QueryError::NoDatabase(_))), "{manager:?}");
    }
    // The system's own database, which nothing here can read, counts, and not another one that can be read.
    std::fs::create_dir_all(dir.path().join("usr/lib/sysimage/rpm")).unwrap();
    std::fs::write(dir.path().join("usr/lib/sysimage/rpm/rpmdb.sqlite"), "damaged").unwrap();
    match read(Some(PackageManager::Dnf)) {
        Ok(packages) => assert_eq!(packages.format(), Format::Rpm),
        Err(error) => assert!(matches!(error, QueryError::NoRpm(_)), "{error}"),
    }
}

#[test]
fn damage_is_reported_with_file_and_line() {
    let sound = "Package: a\nStatus: install ok installed\nVersion: 1\n\n";
    let (dir, root) = root(&[("var/lib/dpkg/status", sound)]);
    let found = |p: Packages<'_>| ["a", "b", "c"].iter().filter(|n| !p.installed(n).unwrap().is_empty()).count();
    let count = || Packages::read(&root, None).map(found).map_err(|e| e.to_string());
    assert_eq!(count(), Ok(1));
    let write = |path: &str, text: &str| {
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    };
    // As dpkg leaves it while it runs: the next file is not complete yet.
    write("var/lib/dpkg/updates/0000", &sound.replace("Package: a", "Package: b"));
    write("var/lib/dpkg/updates/tmp.i", "#padding\n#padd");
    assert_eq!(count(), Ok(2));
    // A distroless package's own file, which need not end with a newline.
    write("var/lib/dpkg/status.d/c", "Package: c\nVersion: 3\nDescription: c");
    write("var/lib/dpkg/status.d/c.md5sums", "0123  usr/bin/c\n");
    assert_eq!(count(), Ok(3));
    for (file, text, line) in [
        ("var/lib/dpkg/updates/0000", "Package: b\nVersi", 2),
        ("var/lib/dpkg/status.d/c", "c is here\n", 1),
        ("var/lib/dpkg/status", "Package: a\nVersion: 1\n\n<html>\n", 4),
    ] {
        write(file, text);
        let expected = format!("{}:{line}: the package database is damaged: ", root.path().join(file).display());
        let error = count().unwrap_err();
        assert!(error.starts_with(&expected), "{error}");
        std::fs::remove_file(dir.path().join(file)).unwrap();
    }
}

#[test]
fn each_format_maps_to_a_package_manager_that_uses_it() {
    for format in Format::ALL {
        assert_eq!(Format::of_manager(format.manager()), Some(*format));
    }
    assert_eq!(Format::Rpm.manager(), PackageManager::Dnf, "where nothing tells more");
}

/// An unlisted format would never be detected in an unknown system.
#[test]
fn every_format_is_listed() {
    let error = serde_json::from_str::<Format>("\"?\"").unwrap_err().to_string();
    let known: BTreeSet<String> = error.split('`').skip(3).step_by(2).map(|name| format!("\"{name}\"")).collect();
    let listed: BTreeSet<String> = Format::ALL.iter().map(|format| serde_json::to_string(format).unwrap()).collect();
    assert_eq!(listed, known, "{error}");
}

#[test]
fn a_root_without_a_package_database_is_an_error() {
    let (_dir, root) = root(&[("etc/hostname", "x")]);
    assert!(Packages::read(&root, None).unwrap_err().to_string().contains("no package database"));
}
