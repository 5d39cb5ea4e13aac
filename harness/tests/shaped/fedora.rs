//! Debian 13's binaries in the shape of Fedora 44: its names, splits, paths and scripts.
//!
//! The shape is taken from Fedora's own spec files, as of August 2026, and not from this project's record:
//!
//! - `filesystem.spec`: the links of the merged `/usr`, `/usr/sbin` a link to `bin` among them; `%pretrans` makes them;
//!   `/proc` and `/sys` are `%ghost`.
//! - `qemu.spec`: epoch 2; `qemu-system-x86-core` has the emulator, `/usr/bin/qemu-kvm` and the boot ROMs,
//!   `qemu-common` key maps and the bridge helper in `/usr/libexec`, and each module is a package:
//!   `hw-display-virtio-gpu.so` is `qemu-device-display-virtio-gpu`, `chardev-baum.so` is `qemu-char-baum`.
//!   `seabios-bin`, `seavgabios-bin` and `ipxe-roms-qemu` are required.
//! - `virtiofsd.spec`: `/usr/libexec/virtiofsd`; needs `qemu-common`.
//! - `kernel.spec`: in `kernel-core`, `/lib/modules/V` has `vmlinuz`, `config`, `System.map` and `modules.builtin*`;
//!   `kernel-core` and `kernel-modules-core` need each other by `kernel-uname-r` and `kernel-modules-core-uname-r`;
//!   `%posttrans` runs `/sbin/depmod -a V` and `/bin/kernel-install add V /lib/modules/V/vmlinuz || exit 0`.
//! - `def_variants.yaml.fedora` of the kernel: which modules are in `kernel-modules-core`; the others are in
//!   `kernel-modules` and `kernel-modules-extra`, which `kernel-core` does not need.
//! - `rpm.spec`: the database is in `/usr/lib/sysimage/rpm`; `rpmbuild` is not in `rpm`, the libraries are `rpm-libs`.
//! - `glibc.spec`: `%transfiletriggerin` of `glibc-common` runs `ldconfig`; `basesystem` comes before `glibc`.
//! - `fedora-release.spec`: `/usr/lib/os-release`; provides `system-release`.
//!
//! - `dracut.spec` and `systemd.spec`, for the variant that is booted: dracut's requirements, `systemd-udev`, and
//!   `/usr/sbin/init` in `systemd`.
//!
//! Not as in Fedora: versions and options of the programs, libraries in `/usr/lib/x86_64-linux-gnu` and under
//! Debian's names, D-Bus's daemon instead of its broker, no firmware for UEFI, no languages and no manuals.

use crate::debian::Packages;
use crate::rpms;
use crate::shape::{All, Content, Folders, KERNEL, Kernel, Links, PackagesBuilder, Shape};
use std::collections::BTreeSet;
use std::path::Path;

/// Debian's package, and Fedora's source package and name. All others keep their names.
const NAMES: &[(&str, &str, &str)] = &[
    ("dracut-core", "dracut", "dracut"),
    ("ipxe-qemu", "ipxe", "ipxe-roms-qemu"),
    ("iproute2", "iproute", "iproute"),
    ("libc-bin", "glibc", "glibc-common"),
    ("libc6", "glibc", "glibc"),
    ("librpm10", "rpm", "rpm-libs"),
    ("librpmbuild10", "rpm", "rpm-build-libs"),
    ("librpmio10", "rpm", "rpm-libs"),
    ("librpmsign10", "rpm", "rpm-sign-libs"),
    ("login.defs", "shadow-utils", "shadow-utils"),
    ("passwd", "shadow-utils", "shadow-utils"),
    ("qemu-system-common", "qemu", "qemu-common"),
    ("qemu-system-data", "qemu", "qemu-common"),
    ("qemu-system-x86", "qemu", "qemu-system-x86-core"),
    ("rpm", "rpm", "rpm"),
    ("rpm-common", "rpm", "rpm"),
    ("rpm2cpio", "rpm", "rpm"),
    ("seabios", "seabios", "seabios-bin"),
    ("systemd-sysv", "systemd", "systemd"),
    ("udev", "systemd", "systemd-udev"),
    ("uidmap", "shadow-utils", "shadow-utils"),
    ("xz-utils", "xz", "xz"),
];

/// Debian's packages in the tree of a shape that is booted, in addition to those that every Debian has.
pub(crate) const MACHINE: &[&str] =
    &["containerd", "dbus", "dracut-core", "iproute2", "rpm", "systemd-sysv", "udev", "xz-utils"];

/// Debian's packages from which a booted shape is made, in addition to those of every shape.
const OF_MACHINE: &[&str] = &[
    "containerd",
    "dbus",
    "dracut-core",
    "findutils",
    "grep",
    "gzip",
    "iproute2",
    "sed",
    "systemd-sysv",
    "tar",
    "udev",
    "xz-utils",
];

/// QEMU's modules: the beginning of the file's name, and the continuation of the package's name after `qemu-`.
const QEMU_MODULES: &[(&str, &str)] = &[
    ("audio-", "audio-"),
    ("chardev-", "char-"),
    ("hw-display-", "device-display-"),
    ("hw-s390x-", "device-display-"),
    ("hw-", "device-"),
    ("ui-", "ui-"),
];

/// Modules of `kernel-modules-core`: only those directories and files, out of many more, that virtual machines use.
/// ext4 and SCSI disks are built into Fedora's kernel and so are always available.
const CORE_MODULES: &[&str] = &[
    "arch/",
    "crypto/",
    "drivers/acpi/",
    "drivers/block/",
    "drivers/char/",
    "drivers/dax/",
    "drivers/md/",
    "drivers/misc/pvpanic/",
    "drivers/net/macvlan",
    "drivers/net/macvtap",
    "drivers/net/net_failover",
    "drivers/net/tap",
    "drivers/net/tun",
    "drivers/net/veth",
    "drivers/net/virtio_net",
    "drivers/net/vsockmon",
    "drivers/net/vxlan/",
    "drivers/nvdimm/",
    "drivers/ptp/",
    "drivers/scsi/sd_mod",
    "drivers/scsi/virtio_scsi",
    "drivers/vfio/",
    "drivers/vhost/",
    "drivers/virtio/",
    "fs/9p/",
    "fs/erofs/",
    "fs/ext4/",
    "fs/fat/",
    "fs/fuse/",
    "fs/isofs/",
    "fs/nls/",
    "fs/overlayfs/",
    "fs/squashfs/",
    "fs/xfs/",
    "kernel/",
    "lib/",
    "net/9p/",
    "net/bridge/",
    "net/core/",
    "net/ipv4/",
    "net/ipv6/",
    "net/netfilter/",
    "net/sched/",
    "net/vmw_vsock/",
    "virt/",
];

/// Directories of `filesystem`, and their modes.
const FOLDERS: Folders = &[
    ("/boot", 0o555),
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/etc/opt", 0o755),
    ("/etc/pki", 0o755),
    ("/etc/skel", 0o755),
    ("/etc/sysconfig", 0o755),
    ("/etc/xdg", 0o755),
    ("/home", 0o755),
    ("/media", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/root", 0o550),
    ("/run", 0o755),
    ("/srv", 0o755),
    ("/tmp", 0o1777),
    ("/usr", 0o755),
    ("/usr/bin", 0o555),
    ("/usr/include", 0o755),
    ("/usr/lib", 0o555),
    ("/usr/lib/modules", 0o755),
    ("/usr/lib/sysimage", 0o755),
    ("/usr/lib/systemd", 0o755),
    ("/usr/lib/systemd/system", 0o755),
    ("/usr/lib/systemd/user", 0o755),
    ("/usr/lib/sysusers.d", 0o755),
    ("/usr/lib/tmpfiles.d", 0o755),
    ("/usr/lib64", 0o555),
    ("/usr/libexec", 0o755),
    ("/usr/local", 0o755),
    ("/usr/share", 0o755),
    ("/usr/src", 0o755),
    ("/var", 0o755),
    ("/var/cache", 0o755),
    ("/var/lib", 0o755),
    ("/var/log", 0o755),
    ("/var/spool", 0o755),
    ("/var/tmp", 0o1777),
];

/// Directories of `filesystem` that rpm leaves alone, because something is mounted there.
const GHOSTS: Folders = &[("/proc", 0o555), ("/sys", 0o555)];

/// Links of `filesystem`.
const LINKS: Links = &[
    ("/bin", "usr/bin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/sbin", "usr/sbin"),
    ("/usr/sbin", "bin"),
    ("/var/lock", "../run/lock"),
    ("/var/run", "../run"),
];

/// Additional data of Fedora's packages: name, source package, version (or Debian's package that has it), and tags.
const PACKAGE_DATA: &[(&str, &str, &str, &[&str])] = &[
    ("basesystem", "basesystem", "11-1", &["Requires(pre): setup", "Requires(pre): filesystem"]),
    ("bash", "bash", "bash", &["Provides: /bin/sh", "Provides: /bin/bash", "Requires: filesystem"]),
    ("fedora-release", "fedora-release", "44-1", &["Provides: system-release", "Provides: system-release(44)"]),
    ("filesystem", "filesystem", "3.18-1", &["Requires(pre): setup", "Provides: filesystem(merged-sbin) = 1"]),
    ("glibc", "glibc", "libc6", &["Requires(pre): basesystem", "Requires: glibc-common"]),
    ("glibc-minimal-langpack", "glibc", "libc6", &["Requires: glibc"]),
    (
        "kernel-core",
        "kernel",
        KERNEL,
        &["Requires(pre): coreutils", "Requires(pre): systemd", "Requires(pre): /usr/bin/kernel-install"],
    ),
    ("kernel-modules-core", "kernel", KERNEL, &["Requires(pre): kmod"]),
    ("qemu-common", "qemu", "qemu-system-common", &["Requires: ipxe-roms-qemu"]),
    ("qemu-system-x86", "qemu", "qemu-system-x86", &["Requires: qemu-system-x86-core"]),
    ("qemu-system-x86-core", "qemu", "qemu-system-x86", &["Requires: seavgabios-bin"]),
    ("rpm", "rpm", "rpm", &["Requires: coreutils"]),
    ("setup", "setup", "2.15-1", &[]),
    ("virtiofsd", "virtiofsd", "virtiofsd", &["Requires: qemu-common"]),
];

/// Additional data of the packages of a machine.
const MACHINE_PACKAGE_DATA: &[(&str, &str, &str, &[&str])] = &[
    ("containerd", "containerd", "containerd", &["Requires: runc"]),
    (
        "dracut",
        "dracut",
        "dracut-core",
        &[
            "Requires: bash",
            "Requires: coreutils",
            "Requires: cpio",
            "Requires: filesystem",
            "Requires: findutils",
            "Requires: grep",
            "Requires: gzip",
            "Requires: kmod",
            "Requires: sed",
            "Requires: systemd",
            "Requires: systemd-udev",
            "Requires: util-linux",
            "Requires: xz",
        ],
    ),
];

const OS_RELEASE: &str = "NAME=\"Fedora Linux\"\nVERSION=\"44 (Container Image)\"\nID=fedora\nVERSION_ID=44\n\
    PLATFORM_ID=\"platform:f44\"\nPRETTY_NAME=\"Fedora Linux 44 (shaped of Debian 13)\"\n";

/// Builds the packages from a tree of Debian 13 that has rpm in addition to the packages of Debian's record, or all of
/// [`MACHINE`].
pub(crate) fn packages(tree: &Path, work: &Path) -> All {
    let debian = Packages::of(tree);
    let kernel = Kernel::of(&debian);
    let is_machine = MACHINE.iter().all(|package| debian.has(package));
    let shape = Fedora { modules: kernel.select_modules(tree, CORE_MODULES), kernel: &kernel, is_machine };
    let mut builder = PackagesBuilder::of(&shape, &debian, &kernel, tree, work);
    builder.add_data(PACKAGE_DATA);
    if is_machine {
        builder.add_data(MACHINE_PACKAGE_DATA);
    }
    complete(&mut builder, &kernel.version);
    builder.all
}

struct Fedora<'a> {
    kernel: &'a Kernel,
    /// Modules of `kernel-modules-core`.
    modules: BTreeSet<String>,
    /// Whether the shape is booted as a machine.
    is_machine: bool,
}

impl Shape for Fedora<'_> {
    fn manager(&self) -> &'static str {
        "rpm"
    }

    fn extra_packages(&self) -> &'static [&'static str] {
        if self.is_machine { OF_MACHINE } else { &[] }
    }

    fn names(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        NAMES
    }

    fn kernel(&self) -> (&'static str, &'static str) {
        ("kernel", "kernel-core")
    }

    fn filesystem(&self) -> (Folders, Links) {
        (FOLDERS, LINKS)
    }

    fn version(&self, source: &str, upstream: &str, revision: &str) -> String {
        let epoch = if source == "qemu" { "2:" } else { "" };
        format!("{epoch}{upstream}-{revision}.fc44")
    }

    fn new_path(&self, path: &str) -> String {
        for (debian, fedora) in [
            ("/usr/sbin/", "/usr/bin/"),
            ("/usr/lib/modules/", "/lib/modules/"),
            ("/usr/lib/qemu/qemu-bridge-helper", "/usr/libexec/qemu-bridge-helper"),
        ] {
            if let Some(rest) = path.strip_prefix(debian) {
                return format!("{fedora}{rest}");
            }
        }
        let of_boot = self.kernel.boot_file_name(path);
        of_boot.map_or_else(|| path.to_owned(), |name| format!("/lib/modules/{}/{name}", self.kernel.version))
    }

    fn package_of_file(&self, debian: &str, main: &str, path: &str) -> Option<String> {
        let file = path.rsplit('/').next().unwrap_or_default();
        let found = match debian {
            "qemu-system-x86" => path == "/usr/bin/qemu-system-i386" || path == "/usr/bin/qemu-system-x86_64",
            "qemu-system-common" if file.ends_with(".so") => {
                let (begins, part) = QEMU_MODULES.iter().find(|(begins, _)| file.starts_with(begins))?;
                return Some(format!("qemu-{part}{}", file.trim_start_matches(begins).trim_end_matches(".so")));
            }
            "qemu-system-data" => {
                let roms = ["kvmvapic.bin", "pvh.bin", "qboot.rom"];
                if roms.contains(&file) || file.starts_with("linuxboot") || file.starts_with("multiboot") {
                    return Some("qemu-system-x86-core".to_owned());
                }
                // The other firmware files boot other machines.
                !path.starts_with("/usr/share/qemu/") || path.starts_with("/usr/share/qemu/keymaps")
            }
            "seabios" if file.starts_with("vgabios") => return Some("seavgabios-bin".to_owned()),
            "rpm" | "rpm-common" | "rpm2cpio" => rpms::belongs_to_rpm(path),
            // Files of the kernel.
            _ if main == "kernel-core" => {
                let Some(below) = path.strip_prefix(&format!("/lib/modules/{}/", self.kernel.version)) else {
                    return path.starts_with("/lib/modules").then(|| main.to_owned());
                };
                let is_module = below.starts_with("kernel/");
                if is_module && file.contains(".ko") && !self.modules.contains(below) {
                    return None;
                }
                let is_core = is_module || below == "kernel" || below == "modules.order";
                return Some(if is_core { "kernel-modules-core" } else { main }.to_owned());
            }
            _ => true,
        };
        found.then(|| main.to_owned())
    }
}

/// Adds packages and files that Debian does not have, and additional scripts of Fedora's packages.
fn complete(builder: &mut PackagesBuilder<'_>, kernel: &str) {
    let modules: Vec<String> = builder.all.keys().filter(|name| is_qemu_module(name)).cloned().collect();
    for module in &modules {
        builder.get(module).needs.insert("qemu-common".to_owned());
    }
    builder.get("qemu-system-x86").needs.extend(modules);
    for (name, is, needs) in [
        ("kernel-core", ["kernel-uname-r", "kernel-core-uname-r"].as_slice(), "kernel-modules-core-uname-r"),
        ("kernel-modules-core", ["kernel-modules-core-uname-r"].as_slice(), "kernel-uname-r"),
    ] {
        let new_package = builder.get(name);
        new_package.provides.extend(is.iter().map(|what| format!("{what} = {kernel}")));
        new_package.needs.insert(format!("{needs} = {kernel}"));
    }
    // Directories and links on the paths of other packages' files, in whichever order these are installed.
    let through = ["/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/run", "/proc", "/sys", "/var"];
    builder.script("filesystem", "%pretrans -p <lua>", rpms::lua(&through, LINKS));
    let libraries = "%transfiletriggerin -- /lib /usr/lib /lib64 /usr/lib64";
    builder.script("glibc-common", libraries, "/sbin/ldconfig".to_owned());
    builder.script("kernel-modules-core", "%posttrans", format!("/sbin/depmod -a {kernel}"));
    let install = format!("/bin/kernel-install add {kernel} /lib/modules/{kernel}/vmlinuz || exit 0");
    builder.script("kernel-core", "%posttrans", install);

    builder.filesystem();
    rpms::ghosts(builder.get("filesystem"), GHOSTS);
    let passwd = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:2:2:daemon:/sbin:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
    builder.write("setup", "/etc/passwd", 0o644, passwd);
    builder.write("setup", "/etc/group", 0o644, "root:x:0:\ndaemon:x:2:\ntty:x:5:\nkvm:x:36:\nnobody:x:65534:\n");
    builder.write("setup", "/etc/shadow", 0o000, "root:!locked::0:99999:7:::\n");
    builder.write("fedora-release", "/usr/lib/os-release", 0o644, OS_RELEASE);
    builder.put("fedora-release", "/etc/os-release", Content::Link("../usr/lib/os-release"));
    builder.write("fedora-release", "/etc/fedora-release", 0o644, "Fedora release 44 (shaped of Debian 13)\n");
    builder.put("bash", "/usr/bin/sh", Content::Link("bash"));
    builder.put("qemu-system-x86-core", "/usr/bin/qemu-kvm", Content::Link("qemu-system-x86_64"));
    let database = "%_dbpath %{_prefix}/lib/sysimage/rpm\n";
    builder.write("rpm", "/usr/lib/rpm/macros.d/macros.dbpath", 0o644, database);
    builder.put("rpm", "/usr/lib/sysimage/rpm", Content::Folder(0o755));
}

/// Returns whether a package has one of QEMU's modules.
pub(crate) fn is_qemu_module(name: &str) -> bool {
    let of = |part: &str| name.strip_prefix("qemu-").is_some_and(|rest| rest.starts_with(part));
    QEMU_MODULES.iter().any(|(_, part)| of(part))
}
