//! Debian 13's binaries in the shape of Arch Linux: its names, splits, paths and hooks.
//!
//! The shape is taken from Arch's own PKGBUILDs, as of 2021 to 2024, and not from this project's record:
//!
//! - `filesystem`: `/bin`, `/sbin` and `/usr/sbin` are links to `/usr/bin`; `/lib`, `/lib64` and `/usr/lib64` are links
//!   to `/usr/lib`; the package has `/proc` and `/sys`, the accounts and `os-release`.
//! - `qemu`: `qemu-system-x86` has the emulators and needs `qemu-common`, `qemu-system-x86-firmware` and `seabios`; the
//!   firmware package has the boot ROMs and `qboot.rom`. Each module is a package named `qemu-` and the module's name,
//!   except for `accel-tcg-*`, which are in the emulator's package, and `accel-qtest-*`, which are in `qemu-tests`. The
//!   metapackage `qemu-base` needs modules, the emulator and `virtiofsd`.
//! - `virtiofsd`: `/usr/lib/virtiofsd`, because there is no libexec.
//! - `linux`: `/usr/lib/modules/V` has `vmlinuz`, `pkgbase` and the modules, which are compressed by zstd, and nothing
//!   is in `/boot`; the package's build does not run depmod; the package needs `coreutils`, `kmod` and `initramfs`.
//! - `kmod`: the hook `60-depmod.hook` calls depmod for each directory of modules that is installed.
//! - `mkinitcpio`: it provides `initramfs`, and its hook `90-mkinitcpio-install.hook` copies a kernel to
//!   `/boot/vmlinuz-linux` and makes its initramfs.
//! - `pacman`: the package includes libalpm.
//! - Packages have `.PKGINFO` and `.MTREE`, and are in `core` and `extra`. Arch signs only its packages; here the
//!   databases are signed, too, and pacman checks such signatures.
//!
//! Not as in Arch: versions and options of the programs, libraries in `/usr/lib/x86_64-linux-gnu` and under Debian's
//! names, QEMU's modules, which are where Debian's emulator looks for them, the kernel's configuration, which is a file
//! in the directory of modules instead of in the image, no mkinitcpio, no firmware for UEFI, no languages and no
//! manuals. Firecracker, which Debian does not have, is a program that does nothing.

use crate::debian::Packages;
use crate::shape::{All, Content, Folders, KERNEL, Kernel, Links, PackagesBuilder, Shape};
use std::collections::BTreeSet;
use std::path::Path;

/// Debian's package, and Arch's source package and name. All others keep their names.
const NAMES: &[(&str, &str, &str)] = &[
    ("ipxe-qemu", "qemu", "qemu-common"),
    ("libalpm15", "pacman", "pacman"),
    ("libc-bin", "glibc", "glibc"),
    ("libc6", "glibc", "glibc"),
    ("libsystemd-shared", "systemd", "systemd"),
    ("libsystemd0", "systemd", "systemd-libs"),
    ("libudev1", "systemd", "systemd-libs"),
    ("login.defs", "shadow", "shadow"),
    ("mount", "util-linux", "util-linux"),
    ("pacman-package-manager", "pacman", "pacman"),
    ("passwd", "shadow", "shadow"),
    ("qemu-system-common", "qemu", "qemu-common"),
    ("qemu-system-data", "qemu", "qemu-common"),
    ("qemu-system-x86", "qemu", "qemu-system-x86"),
    ("uidmap", "shadow", "shadow"),
];

/// Directories of `filesystem`, and their modes.
const FOLDERS: Folders = &[
    ("/boot", 0o755),
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/etc/ld.so.conf.d", 0o755),
    ("/etc/profile.d", 0o755),
    ("/etc/skel", 0o755),
    ("/home", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o750),
    ("/run", 0o755),
    ("/srv", 0o755),
    ("/srv/http", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/usr", 0o755),
    ("/usr/bin", 0o755),
    ("/usr/include", 0o755),
    ("/usr/lib", 0o755),
    ("/usr/local", 0o755),
    ("/usr/share", 0o755),
    ("/usr/share/misc", 0o755),
    ("/usr/src", 0o755),
    ("/var", 0o755),
    ("/var/cache", 0o755),
    ("/var/empty", 0o755),
    ("/var/lib", 0o755),
    ("/var/lib/misc", 0o755),
    ("/var/local", 0o755),
    ("/var/log", 0o755),
    ("/var/log/old", 0o755),
    ("/var/opt", 0o755),
    ("/var/spool", 0o755),
    ("/var/spool/mail", 0o1777),
    ("/var/tmp", 0o1777),
];

/// Links of `filesystem`.
const LINKS: Links = &[
    ("/bin", "usr/bin"),
    ("/etc/mtab", "../proc/self/mounts"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib"),
    ("/sbin", "usr/bin"),
    ("/usr/lib64", "lib"),
    ("/usr/sbin", "bin"),
    ("/var/lock", "../run/lock"),
    ("/var/mail", "spool/mail"),
    ("/var/run", "../run"),
];

/// Additional data of Arch's packages: name, source package, version (or Debian's package that has it), and lines.
const PACKAGE_DATA: &[(&str, &str, &str, &[&str])] = &[
    (
        "base",
        "base",
        "3-2",
        &[
            "Requires: bash",
            "Requires: coreutils",
            "Requires: filesystem",
            "Requires: glibc",
            "Requires: pacman",
            "Requires: shadow",
            "Requires: systemd",
            "Requires: systemd-sysvcompat",
            "Requires: util-linux",
        ],
    ),
    ("bash", "bash", "bash", &["Provides: sh"]),
    ("filesystem", "filesystem", "2025.05.03-1", &["backup = etc/group", "backup = etc/passwd", "backup = etc/shadow"]),
    ("firecracker", "firecracker", "1.14.1-1", &["Requires: glibc"]),
    ("glibc", "glibc", "libc6", &["Requires: filesystem"]),
    ("linux", "linux", KERNEL, &["Requires: coreutils", "Requires: initramfs", "Requires: kmod"]),
    ("mkinitcpio", "mkinitcpio", "39.2-3", &["Provides: initramfs", "Requires: bash", "Requires: coreutils"]),
    ("qemu-base", "qemu", "qemu-system-x86", &["Requires: qemu-system-x86", "Requires: virtiofsd"]),
    (
        "qemu-system-x86",
        "qemu",
        "qemu-system-x86",
        &["Requires: qemu-common", "Requires: qemu-system-x86-firmware", "Requires: seabios"],
    ),
    ("shadow", "shadow", "passwd", &[]),
    ("systemd-sysvcompat", "systemd", "systemd", &["Requires: systemd"]),
];

const OS_RELEASE: &str = "NAME=\"Arch Linux\"\nPRETTY_NAME=\"Arch Linux (shaped of Debian 13)\"\nID=arch\n\
    BUILD_ID=rolling\n";

/// kmod's hook, which is run after all packages, for each directory of modules.
const DEPMOD_HOOK: &str = "[Trigger]\nType = Path\nOperation = Install\nOperation = Upgrade\nOperation = Remove\n\
    Target = usr/lib/modules/*/\nTarget = !usr/lib/modules/*/?*\n\n[Action]\nWhen = PostTransaction\n\
    Exec = /usr/share/libalpm/scripts/depmod\nNeedsTargets\n";

/// Script of kmod's hook.
const DEPMOD: &str = "#!/bin/bash\nwhile read -r folder; do\n    version=${folder#usr/lib/modules/}\n    \
    depmod \"${version%%/*}\"\ndone\n";

/// mkinitcpio's hook.
const MKINITCPIO_HOOK: &str = "[Trigger]\nType = Path\nOperation = Install\nOperation = Upgrade\n\
    Target = usr/lib/modules/*/vmlinuz\n\n[Action]\nWhen = PostTransaction\n\
    Exec = /usr/share/libalpm/scripts/mkinitcpio\nNeedsTargets\n";

/// Script of mkinitcpio's hook, reduced to the copy of the kernel.
const MKINITCPIO: &str = "#!/bin/bash\nwhile read -r kernel; do\n    cp \"/$kernel\" /boot/vmlinuz-linux\ndone\n";

/// Builds the packages from a tree of Debian 13 that has pacman in addition to the packages of Debian's record.
pub(crate) fn packages(tree: &Path, work: &Path) -> All {
    let debian = Packages::of(tree);
    let kernel = Kernel::of(&debian);
    let shape = Arch { kernel: &kernel };
    let mut builder = PackagesBuilder::of(&shape, &debian, &kernel, tree, work);
    builder.add_data(PACKAGE_DATA);
    complete(&mut builder, &kernel);
    builder.all
}

/// Returns a function from a package to its repository: the base, the kernel and their dependencies are in `core`.
pub(crate) fn repository(all: &All) -> impl Fn(&str) -> &'static str {
    let mut core = BTreeSet::new();
    let mut remaining = vec!["base", "e2fsprogs", "linux"];
    while let Some(required) = remaining.pop() {
        let provider = || all.iter().find(|(_, new_package)| new_package.provides.contains(required));
        let found = all.get_key_value(required).or_else(provider);
        let (name, new_package) = found.unwrap_or_else(|| panic!("nothing stands for {required}"));
        if core.insert(name.clone()) {
            remaining.extend(new_package.needs.iter().map(String::as_str));
        }
    }
    move |name| if core.contains(name) { "core" } else { "extra" }
}

struct Arch<'a> {
    kernel: &'a Kernel,
}

impl Shape for Arch<'_> {
    fn manager(&self) -> &'static str {
        "pacman-package-manager"
    }

    fn names(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        NAMES
    }

    fn kernel(&self) -> (&'static str, &'static str) {
        ("linux", "linux")
    }

    fn filesystem(&self) -> (Folders, Links) {
        (FOLDERS, LINKS)
    }

    fn version(&self, source: &str, upstream: &str, revision: &str) -> String {
        // Arch's package revision is a number; Debian's may have more characters.
        let revision = if revision.bytes().all(|b| b.is_ascii_digit()) { revision } else { "1" };
        let patched = if source == "linux" { ".arch1" } else { "" };
        format!("{upstream}{patched}-{revision}")
    }

    fn new_path(&self, path: &str) -> String {
        for (debian, arch) in [
            ("/usr/sbin/", "/usr/bin/"),
            ("/lib64/", "/usr/lib/"),
            ("/usr/lib64/", "/usr/lib/"),
            ("/usr/libexec", "/usr/lib"),
        ] {
            if let Some(rest) = path.strip_prefix(debian) {
                return format!("{arch}{rest}");
            }
        }
        self.kernel.new_path(path).unwrap_or_else(|| path.to_owned())
    }

    fn package_of_file(&self, debian: &str, main: &str, path: &str) -> Option<String> {
        let file = path.rsplit('/').next().unwrap_or_default();
        let found = match debian {
            "qemu-system-x86" => path == "/usr/bin/qemu-system-i386" || path == "/usr/bin/qemu-system-x86_64",
            "qemu-system-common" if file.ends_with(".so") => return Some(module_package(file.trim_end_matches(".so"))),
            "qemu-system-data" => {
                let is_rom = |begins: &&str| file.starts_with(*begins);
                if ["kvmvapic.bin", "linuxboot", "multiboot", "pvh.bin", "qboot.rom"].iter().any(is_rom) {
                    return Some("qemu-system-x86-firmware".to_owned());
                }
                // The other firmware files boot other machines.
                !path.starts_with("/usr/share/qemu/") || path.starts_with("/usr/share/qemu/keymaps")
            }
            // Files of the kernel.
            _ if main == "linux" => path.starts_with("/usr/lib/modules/") && file != "System.map",
            _ => true,
        };
        found.then(|| main.to_owned())
    }
}

/// Returns the package of one of QEMU's modules.
fn module_package(module: &str) -> String {
    match module {
        tcg if tcg.starts_with("accel-tcg-") => "qemu-system-x86".to_owned(),
        qtest if qtest.starts_with("accel-qtest-") => "qemu-tests".to_owned(),
        module => format!("qemu-{module}"),
    }
}

/// Adds packages and files that Debian does not have, and additional scripts and hooks of Arch's packages.
fn complete(builder: &mut PackagesBuilder<'_>, kernel: &Kernel) {
    let modules: Vec<String> = builder.all.keys().filter(|name| is_qemu_module(name)).cloned().collect();
    for module in &modules {
        builder.get(module).needs.insert("qemu-common".to_owned());
    }
    builder.get("qemu-base").needs.extend(modules);

    builder.filesystem();
    let passwd = "root:x:0:0::/root:/usr/bin/bash\nnobody:x:65534:65534:Kernel Overflow User:/:/usr/bin/nologin\n";
    builder.write("filesystem", "/etc/passwd", 0o644, passwd);
    builder.write("filesystem", "/etc/group", 0o644, "root:x:0:root\ntty:x:5:\nkvm:x:992:\nnobody:x:65534:\n");
    builder.write("filesystem", "/etc/shadow", 0o600, "root:*:14871::::::\nnobody:!*:14871::::::\n");
    builder.write("filesystem", "/usr/lib/os-release", 0o644, OS_RELEASE);
    builder.put("filesystem", "/etc/os-release", Content::Link("../usr/lib/os-release"));
    builder.write("filesystem", "/etc/arch-release", 0o644, "");
    builder.put("bash", "/usr/bin/sh", Content::Link("bash"));
    builder.write("firecracker", "/usr/bin/firecracker", 0o755, "#!/bin/sh\nexit 1\n");
    builder.put("systemd-sysvcompat", "/usr/bin/init", Content::Link("../lib/systemd/systemd"));
    builder.write("linux", &format!("{}/pkgbase", kernel.modules()), 0o644, "linux\n");
    for (package, hook, text, script, lines) in [
        ("kmod", "60-depmod", DEPMOD_HOOK, "depmod", DEPMOD),
        ("mkinitcpio", "90-mkinitcpio-install", MKINITCPIO_HOOK, "mkinitcpio", MKINITCPIO),
    ] {
        builder.write(package, &format!("/usr/share/libalpm/hooks/{hook}.hook"), 0o644, text);
        builder.write(package, &format!("/usr/share/libalpm/scripts/{script}"), 0o755, lines);
    }
}

/// Returns whether a package has one of QEMU's modules.
pub(crate) fn is_qemu_module(name: &str) -> bool {
    let of = |part: &&str| name.strip_prefix("qemu-").is_some_and(|rest| rest.starts_with(*part));
    ["audio-", "block-", "chardev-", "hw-", "ui-"].iter().any(of)
}

#[test]
fn dependencies_of_base_and_kernel_are_in_the_core_repository() {
    use crate::shape::NewPackage;
    let new_package = |needs: &[&str], provides: &[&str]| NewPackage {
        needs: needs.iter().map(|name| (*name).to_owned()).collect(),
        provides: provides.iter().map(|name| (*name).to_owned()).collect(),
        ..NewPackage::default()
    };
    let all = All::from(
        [
            ("base", new_package(&["sh"], &[])),
            ("bash", new_package(&[], &["sh"])),
            ("e2fsprogs", new_package(&[], &[])),
            ("linux", new_package(&["initramfs"], &[])),
            ("mkinitcpio", new_package(&["bash"], &["initramfs"])),
            ("qemu-system-x86", new_package(&["bash"], &[])),
        ]
        .map(|(name, new_package)| (name.to_owned(), new_package)),
    );
    let repository = repository(&all);
    let core: Vec<&String> = all.keys().filter(|name| repository(name) == "core").collect();
    assert_eq!(core, ["base", "bash", "e2fsprogs", "linux", "mkinitcpio"]);
}
