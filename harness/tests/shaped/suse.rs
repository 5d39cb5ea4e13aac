//! Debian 13's binaries in the shape of openSUSE Leap 16.0: its names, splits, paths and scripts.
//!
//! The shape is taken from openSUSE's own spec files, as of 2023 to 2025, and not from this project's record:
//!
//! - `filesystem.spec` and its lists: `/bin`, `/sbin`, `/lib` and `/lib64` are links, which `%pre` makes, and
//!   `/usr/sbin` is a separate directory; most of `/usr` is not writable; `/boot`, `/home`, `/mnt`, `/opt`, `/srv` and
//!   `/usr/local` are `%ghost` like `/proc` and `/sys`, and `%pretrans` makes them; `user(root)` and `group(root)` are
//!   required.
//! - `system-user-root.spec`, `system-users.spec`: no package has `/etc/passwd` and `/etc/group`. `%pre` of a package
//!   that provides `user(X)` and `group(X)` writes the account into them, for root in Lua.
//! - `qemu.spec`: no epoch; `qemu` and `qemu-x86` require each other. `qemu-x86` has the emulators and the boot ROMs
//!   and requires `qemu-accel-tcg-x86`, `qemu-ipxe`, `qemu-seabios` and `qemu-vgabios`, all of the same source; `qemu`
//!   has the key maps and requires `group(kvm)`, `group(qemu)` and `user(qemu)`; `qemu-tools` has the bridge helper in
//!   `/usr/libexec`, `qemu-microvm` has `qboot.rom` and `bios-microvm.bin`. Each module is a package named `qemu-` and
//!   the module's name. A module's OpenGL variant is in the module's package, and `ui-egl-headless.so` is in that of
//!   `ui-opengl.so`; `qemu` recommends some of them.
//! - `virtiofsd.spec`: `/usr/libexec/virtiofsd`, after code base 15.
//! - `kernel-default.spec`: `/usr/lib/modules/V` has `vmlinuz`, `config` and `System.map`, and `/boot` has links to
//!   them; modules are compressed by zstd; depmod makes `modules.dep` and similar files when the package is installed.
//! - `suse-module-tools`, which `%post` of the kernel calls: it makes these links and `/boot/vmlinuz`, and calls
//!   depmod; it makes no initrd if there is no `/etc/fstab`.
//! - `rpm.spec`: the database is in `/usr/lib/sysimage/rpm`, and `%post` makes `/var/lib/rpm` a link to it; the
//!   libraries are in `rpm`, except for the library that `rpmbuild` needs.
//! - Release packages provide `distribution-release`; `bash-sh` has `/bin/sh`.
//!
//! Not as in openSUSE: versions and options of the programs, libraries in `/usr/lib/x86_64-linux-gnu` and under
//! Debian's names, rpm's database in the sqlite format because Debian's rpm does not have ndb, the split of modules by
//! support, suse-module-tools itself, no dracut, no firmware for UEFI, no languages and no manuals.

use crate::debian::Packages;
use crate::rpms;
use crate::shape::{All, Content, Folders, KERNEL, Kernel, Links, PackagesBuilder, Shape};
use std::path::Path;

/// Debian's package, and openSUSE's source package and name. All others keep their names.
const NAMES: &[(&str, &str, &str)] = &[
    ("ipxe-qemu", "qemu", "qemu-ipxe"),
    ("libc-bin", "glibc", "glibc"),
    ("libc6", "glibc", "glibc"),
    ("librpm10", "rpm", "rpm"),
    ("librpmbuild10", "rpm", "librpmbuild10"),
    ("librpmio10", "rpm", "rpm"),
    ("librpmsign10", "rpm", "rpm"),
    ("login.defs", "shadow", "login_defs"),
    ("passwd", "shadow", "shadow"),
    ("qemu-system-common", "qemu", "qemu"),
    ("qemu-system-data", "qemu", "qemu"),
    ("qemu-system-x86", "qemu", "qemu-x86"),
    ("rpm", "rpm", "rpm"),
    ("rpm-common", "rpm", "rpm"),
    ("rpm2cpio", "rpm", "rpm"),
    ("seabios", "qemu", "qemu-seabios"),
    ("uidmap", "shadow", "shadow"),
];

/// Beginnings of the names of packages with QEMU's modules, after `qemu-`.
const QEMU_MODULES: &[&str] = &["audio-", "block-", "chardev-", "hw-", "ui-"];

/// Directories of `filesystem`, and their modes.
const FOLDERS: Folders = &[
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/etc/default", 0o755),
    ("/etc/ld.so.conf.d", 0o755),
    ("/etc/logrotate.d", 0o755),
    ("/etc/modprobe.d", 0o755),
    ("/etc/opt", 0o755),
    ("/etc/profile.d", 0o755),
    ("/etc/skel", 0o755),
    ("/etc/sysconfig", 0o755),
    ("/etc/sysctl.d", 0o755),
    ("/etc/tmpfiles.d", 0o755),
    ("/etc/xdg", 0o755),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/tmp", 0o1777),
    ("/usr", 0o755),
    ("/usr/bin", 0o555),
    ("/usr/etc", 0o755),
    ("/usr/include", 0o555),
    ("/usr/lib", 0o555),
    ("/usr/lib/environment.d", 0o755),
    ("/usr/lib/modprobe.d", 0o755),
    ("/usr/lib/modules", 0o755),
    ("/usr/lib/pkgconfig", 0o555),
    ("/usr/lib/sysctl.d", 0o755),
    ("/usr/lib/systemd", 0o755),
    ("/usr/lib/systemd/system", 0o755),
    ("/usr/lib/systemd/system-preset", 0o755),
    ("/usr/lib/systemd/user", 0o755),
    ("/usr/lib/systemd/user-preset", 0o755),
    ("/usr/lib/sysusers.d", 0o755),
    ("/usr/lib/tmpfiles.d", 0o755),
    ("/usr/lib/udev", 0o755),
    ("/usr/lib/udev/rules.d", 0o755),
    ("/usr/lib64", 0o555),
    ("/usr/libexec", 0o755),
    ("/usr/sbin", 0o555),
    ("/usr/share", 0o555),
    ("/usr/src", 0o755),
    ("/var", 0o755),
    ("/var/adm", 0o755),
    ("/var/cache", 0o755),
    ("/var/crash", 0o755),
    ("/var/lib", 0o755),
    ("/var/lib/empty", 0o555),
    ("/var/lib/misc", 0o755),
    ("/var/log", 0o755),
    ("/var/opt", 0o755),
    ("/var/spool", 0o755),
    ("/var/spool/mail", 0o1777),
    ("/var/tmp", 0o1777),
];

/// Directories of `filesystem` that rpm leaves alone, because something may be mounted there.
const GHOSTS: Folders = &[
    ("/boot", 0o555),
    ("/home", 0o555),
    ("/mnt", 0o555),
    ("/opt", 0o555),
    ("/proc", 0o555),
    ("/srv", 0o555),
    ("/sys", 0o555),
    ("/usr/local", 0o755),
];

/// Links of `filesystem`.
const LINKS: Links = &[
    ("/bin", "usr/bin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/sbin", "usr/sbin"),
    ("/var/mail", "spool/mail"),
    ("/var/run", "../run"),
];

/// Additional data of openSUSE's packages: name, source package, version (or Debian's package that has it), and tags.
const PACKAGE_DATA: &[(&str, &str, &str, &[&str])] = &[
    ("Leap-release", "Leap-release", "16.0-1", &["Provides: distribution-release", "Provides: suse-release = 16.0"]),
    ("bash", "bash", "bash", &["Provides: /bin/bash", "Requires: bash-sh"]),
    ("bash-sh", "bash", "bash", &["Provides: /bin/sh", "Requires: bash"]),
    ("filesystem", "filesystem", "16.0-1", &["Requires: group(root)", "Requires: user(root)"]),
    ("glibc", "glibc", "libc6", &["Requires(pre): filesystem"]),
    (
        "kernel-default",
        "kernel-default",
        KERNEL,
        &[
            "Requires(pre): coreutils",
            "Requires(post): kmod",
            "Provides: kernel-base",
            "Provides: multiversion(kernel)",
        ],
    ),
    (
        "qemu",
        "qemu",
        "qemu-system-common",
        &[
            "Requires: group(kvm)",
            "Requires: group(qemu)",
            "Requires: qemu-x86",
            "Requires: user(qemu)",
            "Recommends: qemu-hw-display-virtio-gpu",
            "Recommends: qemu-hw-display-virtio-gpu-pci",
            "Recommends: qemu-hw-display-virtio-vga",
            "Recommends: qemu-hw-usb-host",
            "Recommends: qemu-tools",
            "Recommends: qemu-ui-curses",
        ],
    ),
    ("qemu-accel-tcg-x86", "qemu", "qemu-system-x86", &[]),
    ("qemu-tools", "qemu", "qemu-system-common", &["Requires: group(kvm)"]),
    (
        "qemu-x86",
        "qemu",
        "qemu-system-x86",
        &[
            "Requires: qemu",
            "Requires: qemu-accel-tcg-x86",
            "Requires: qemu-ipxe",
            "Requires: qemu-seabios",
            "Requires: qemu-vgabios",
        ],
    ),
    ("rpm", "rpm", "rpm", &["Requires(post): coreutils"]),
    ("system-group-kvm", "system-users", "20170617-1", &["Provides: group(kvm)"]),
    (
        "system-user-qemu",
        "system-users",
        "20170617-1",
        &["Requires(pre): group(kvm)", "Provides: group(qemu)", "Provides: user(qemu)"],
    ),
    (
        "system-user-root",
        "system-user-root",
        "20190513-1",
        &["Provides: group(root)", "Provides: group(shadow)", "Provides: group(users)", "Provides: user(root)"],
    ),
];

const OS_RELEASE: &str = "NAME=\"openSUSE Leap\"\nVERSION=\"16.0\"\nID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n\
    VERSION_ID=\"16.0\"\nPRETTY_NAME=\"openSUSE Leap 16.0 (shaped of Debian 13)\"\n";

/// The accounts of packages: the package, the file, the account's name and its line.
const ACCOUNTS: &[(&str, &str, &str, &str)] = &[
    ("system-group-kvm", "/etc/group", "kvm", "kvm:x:36:qemu"),
    ("system-user-qemu", "/etc/group", "qemu", "qemu:x:107:"),
    ("system-user-qemu", "/etc/passwd", "qemu", "qemu:x:107:107:qemu user:/:/usr/sbin/nologin"),
    ("system-user-root", "/etc/group", "root", "root:x:0:"),
    ("system-user-root", "/etc/group", "shadow", "shadow:x:15:"),
    ("system-user-root", "/etc/group", "users", "users:x:100:"),
    ("system-user-root", "/etc/passwd", "root", "root:x:0:0:root:/root:/bin/bash"),
];

/// Builds the packages from a tree of Debian 13 that has rpm in addition to the packages of Debian's record.
pub(crate) fn packages(tree: &Path, work: &Path) -> All {
    let debian = Packages::of(tree);
    let kernel = Kernel::of(&debian);
    let shape = Suse { kernel: &kernel };
    let mut builder = PackagesBuilder::of(&shape, &debian, &kernel, tree, work);
    builder.add_data(PACKAGE_DATA);
    complete(&mut builder, &kernel.version);
    builder.all
}

struct Suse<'a> {
    kernel: &'a Kernel,
}

impl Shape for Suse<'_> {
    fn manager(&self) -> &'static str {
        "rpm"
    }

    fn names(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        NAMES
    }

    fn kernel(&self) -> (&'static str, &'static str) {
        ("kernel-default", "kernel-default")
    }

    fn filesystem(&self) -> (Folders, Links) {
        (FOLDERS, LINKS)
    }

    fn version(&self, _: &str, upstream: &str, _: &str) -> String {
        format!("{upstream}-160000.1.1")
    }

    fn new_path(&self, path: &str) -> String {
        if let Some(helper) = path.strip_prefix("/usr/lib/qemu/") {
            return format!("/usr/libexec/{helper}");
        }
        self.kernel.new_path(path).unwrap_or_else(|| path.to_owned())
    }

    fn package_of_file(&self, debian: &str, main: &str, path: &str) -> Option<String> {
        let file = path.rsplit('/').next().unwrap_or_default();
        let other = |name: &str| Some(name.to_owned());
        let found = match debian {
            "qemu-system-x86" => path == "/usr/bin/qemu-system-i386" || path == "/usr/bin/qemu-system-x86_64",
            "qemu-system-common" if path.starts_with("/usr/libexec/") => return other("qemu-tools"),
            "qemu-system-common" if file.ends_with(".so") => return Some(module_package(file.trim_end_matches(".so"))),
            "qemu-system-data" => {
                let is_rom = |begins: &&str| file.starts_with(*begins);
                if ["kvmvapic.bin", "linuxboot", "multiboot", "pvh.bin"].iter().any(is_rom) {
                    return other("qemu-x86");
                }
                if file == "qboot.rom" {
                    return other("qemu-microvm");
                }
                // The other firmware files boot other machines.
                !path.starts_with("/usr/share/qemu/") || path.starts_with("/usr/share/qemu/keymaps")
            }
            "seabios" if file.starts_with("vgabios") => return other("qemu-vgabios"),
            "seabios" if file == "bios-microvm.bin" => return other("qemu-microvm"),
            "rpm" | "rpm-common" | "rpm2cpio" => rpms::belongs_to_rpm(path),
            // Files of the kernel.
            _ if main == "kernel-default" => path.starts_with("/usr/lib/modules/"),
            _ => true,
        };
        found.then(|| main.to_owned())
    }
}

/// Returns the package of one of QEMU's modules.
fn module_package(module: &str) -> String {
    match module {
        "ui-egl-headless" => "qemu-ui-opengl".to_owned(),
        tcg if tcg.starts_with("accel-tcg-") => "qemu-accel-tcg-x86".to_owned(),
        qtest if qtest.starts_with("accel-qtest-") => "qemu-accel-qtest".to_owned(),
        dmg if dmg.starts_with("block-dmg-") => "qemu-block-dmg".to_owned(),
        module => format!("qemu-{}", module.trim_end_matches("-gl")),
    }
}

/// Adds packages and files that Debian does not have, and additional scripts of openSUSE's packages.
fn complete(builder: &mut PackagesBuilder<'_>, kernel: &str) {
    let ghosts: Vec<&str> = GHOSTS.iter().map(|(path, _)| *path).collect();
    builder.script("filesystem", "%pretrans -p <lua>", rpms::lua(&ghosts, &[]));
    builder.script("filesystem", "%pre -p <lua>", rpms::lua(&[], LINKS));
    for package in ["system-group-kvm", "system-user-qemu", "system-user-root"] {
        let accounts = ACCOUNTS.iter().filter(|(of, ..)| *of == package);
        let lua: String = accounts.map(|(_, file, name, line)| account(file, name, line)).collect();
        builder.script(package, "%pre -p <lua>", format!("posix.mkdir(\"/etc\")\n{lua}"));
    }
    let link = "test -e var/lib/rpm || ln -s ../../usr/lib/sysimage/rpm var/lib/rpm";
    builder.script("rpm", "%post", link.to_owned());
    let install = format!(
        "for file in vmlinuz System.map config; do\n    ln -sf ../usr/lib/modules/{kernel}/$file /boot/$file-{kernel}\ndone\n\
        ln -sf vmlinuz-{kernel} /boot/vmlinuz\n/sbin/depmod -a {kernel}"
    );
    builder.script("kernel-default", "%post", install);

    builder.filesystem();
    rpms::ghosts(builder.get("filesystem"), GHOSTS);
    builder.write("Leap-release", "/usr/lib/os-release", 0o644, OS_RELEASE);
    builder.put("Leap-release", "/etc/os-release", Content::Link("../usr/lib/os-release"));
    builder.put("bash-sh", "/usr/bin/sh", Content::Link("bash"));
    let database = "%_dbpath %{_prefix}/lib/sysimage/rpm\n";
    builder.write("rpm", "/usr/lib/rpm/macros.d/macros.dbpath", 0o644, database);
    builder.put("rpm", "/usr/lib/sysimage", Content::Folder(0o755));
    builder.put("rpm", "/usr/lib/sysimage/rpm", Content::Folder(0o755));
}

/// Returns Lua code that adds an account to a file that does not have it.
fn account(file: &str, name: &str, line: &str) -> String {
    format!(
        "local file = io.open(\"{file}\", \"a+\")\n\
        if not (\"\\n\" .. file:read(\"*a\")):find(\"\\n{name}:\", 1, true) then\n  file:write(\"{line}\\n\")\nend\n\
        file:close()\n"
    )
}

/// Returns whether a package has one of QEMU's modules, other than those that the emulator needs.
pub(crate) fn is_qemu_module(name: &str) -> bool {
    let of = |part: &&str| name.strip_prefix("qemu-").is_some_and(|rest| rest.starts_with(*part));
    QEMU_MODULES.iter().any(of)
}

#[test]
fn qemu_modules_map_to_the_package_names_of_the_spec_file() {
    for (module, package) in [
        ("accel-qtest-x86_64", "qemu-accel-qtest"),
        ("accel-tcg-x86_64", "qemu-accel-tcg-x86"),
        ("block-dmg-bz2", "qemu-block-dmg"),
        ("chardev-spice", "qemu-chardev-spice"),
        ("hw-display-virtio-gpu-pci-gl", "qemu-hw-display-virtio-gpu-pci"),
        ("hw-display-virtio-vga", "qemu-hw-display-virtio-vga"),
        ("ui-egl-headless", "qemu-ui-opengl"),
    ] {
        assert_eq!(module_package(module), package);
        assert_eq!(is_qemu_module(package), !package.starts_with("qemu-accel-"), "{package}");
    }
}
