//! Debian 13's binaries in the shape of Fedora 44: its names, splits, paths and scripts.
//!
//! The shape is read from Fedora's own spec files, as they were in August 2026, and not from our record:
//!
//! - `filesystem.spec`: the links of the merged `/usr`, `/usr/sbin` a link to `bin` among them; `%pretrans` makes them;
//!   `/proc` and `/sys` are `%ghost`.
//! - `qemu.spec`: epoch 2; `qemu-system-x86-core` has the emulator, `/usr/bin/qemu-kvm` and the boot ROMs,
//!   `qemu-common` key maps and the bridge helper in `/usr/libexec`, and each module is a package:
//!   `hw-display-virtio-gpu.so` is `qemu-device-display-virtio-gpu`, `chardev-baum.so` is `qemu-char-baum`.
//!   `seabios-bin`, `seavgabios-bin` and `ipxe-roms-qemu` are needed.
//! - `virtiofsd.spec`: `/usr/libexec/virtiofsd`; needs `qemu-common`.
//! - `kernel.spec`: `/lib/modules/V` has `vmlinuz`, `config`, `System.map` and `modules.builtin*` of `kernel-core`;
//!   `kernel-core` and `kernel-modules-core` need each other by `kernel-uname-r` and `kernel-modules-core-uname-r`;
//!   `%posttrans` runs `/sbin/depmod -a V` and `/bin/kernel-install add V /lib/modules/V/vmlinuz || exit 0`.
//! - `def_variants.yaml.fedora` of the kernel: which modules are in `kernel-modules-core`; the others are in
//!   `kernel-modules` and `kernel-modules-extra`, which `kernel-core` does not need.
//! - `rpm.spec`: the database is in `/usr/lib/sysimage/rpm`; `rpmbuild` is not in `rpm`, the libraries are `rpm-libs`.
//! - `glibc.spec`: `%transfiletriggerin` of `glibc-common` runs `ldconfig`; `basesystem` comes before `glibc`.
//! - `fedora-release.spec`: `/usr/lib/os-release`; stands for `system-release`.
//!
//! What is not Fedora's: versions and options of the programs, libraries in `/usr/lib/x86_64-linux-gnu` and under
//! Debian's names, no dracut, no firmware for UEFI, no languages and no manuals.

use crate::debian::Packages;
use crate::rpms::{Content, Rpm};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the base, the record and the tests need; the kernel comes to it.
const ROOTS: &[&str] = &[
    "bash",
    "coreutils",
    "e2fsprogs",
    "kmod",
    "libc-bin",
    "qemu-system-x86",
    "rpm",
    "systemd",
    "util-linux",
    "virtiofsd",
];

/// What Fedora does without, or has in another way.
const WITHOUT: &[&str] = &[
    "adduser",
    "base-files",
    "base-passwd",
    "dash",
    "debconf",
    "debianutils",
    "debugedit",
    "dpkg",
    "init-system-helpers",
    "initramfs-tools",
    "linux-base",
    "perl-base",
];

/// Debian's package, and Fedora's: by the source package, and by name. All others keep theirs.
const NAMES: &[(&str, &str, &str)] = &[
    ("ipxe-qemu", "ipxe", "ipxe-roms-qemu"),
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
    ("uidmap", "shadow-utils", "shadow-utils"),
];

/// QEMU's modules: how the file's name begins, and how its package's name goes on after `qemu-`.
const QEMU_MODULES: &[(&str, &str)] = &[
    ("audio-", "audio-"),
    ("chardev-", "char-"),
    ("hw-display-", "device-display-"),
    ("hw-s390x-", "device-display-"),
    ("hw-", "device-"),
    ("ui-", "ui-"),
];

/// The programs of `rpm`.
const RPM_PROGRAMS: &[&str] = &["rpm", "rpm2archive", "rpm2cpio", "rpmdb", "rpmkeys", "rpmquery", "rpmverify"];

/// Modules of `kernel-modules-core`: of many more the folders and files that virtual machines have use for. ext4 and
/// SCSI's disks are built in there, and so they are always to be had.
const CORE_MODULES: &[&str] = &[
    "arch/",
    "crypto/",
    "drivers/acpi/",
    "drivers/block/",
    "drivers/char/",
    "drivers/dax/",
    "drivers/net/macvlan",
    "drivers/net/macvtap",
    "drivers/net/net_failover",
    "drivers/net/tap",
    "drivers/net/tun",
    "drivers/net/veth",
    "drivers/net/virtio_net",
    "drivers/net/vsockmon",
    "drivers/nvdimm/",
    "drivers/scsi/sd_mod",
    "drivers/scsi/virtio_scsi",
    "drivers/vfio/",
    "drivers/vhost/",
    "drivers/virtio/",
    "fs/9p/",
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
    "net/vmw_vsock/",
    "virt/",
];

/// What is left out everywhere.
pub(crate) const LEFT_OUT: &[&str] = &[
    "/usr/share/bug/",
    "/usr/share/doc/",
    "/usr/share/info/",
    "/usr/share/lintian/",
    "/usr/share/locale/",
    "/usr/share/man/",
];

/// The folders of `filesystem`, and their modes.
const FOLDERS: &[(&str, u32)] = &[
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

/// Its folders that rpm leaves alone, because something is mounted there.
const GHOSTS: &[(&str, u32)] = &[("/proc", 0o555), ("/sys", 0o555)];

/// Its links.
const LINKS: &[(&str, &str)] = &[
    ("/bin", "usr/bin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/sbin", "usr/sbin"),
    ("/usr/sbin", "bin"),
    ("/var/lock", "../run/lock"),
    ("/var/run", "../run"),
];

/// What Fedora's packages say besides: name, source package, version (or Debian's package that has it), and tags.
const BESIDES: &[(&str, &str, &str, &[&str])] = &[
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

const OS_RELEASE: &str = "NAME=\"Fedora Linux\"\nVERSION=\"44 (Container Image)\"\nID=fedora\nVERSION_ID=44\n\
    PLATFORM_ID=\"platform:f44\"\nPRETTY_NAME=\"Fedora Linux 44 (shaped of Debian 13)\"\n";

/// The name of Debian's kernel package.
const KERNEL: &str = "linux-image-amd64";

/// The packages, made of a tree of Debian 13 that has rpm besides what the record of Debian names.
pub(crate) fn packages(tree: &Path) -> BTreeMap<String, Rpm> {
    let debian = Packages::of(tree);
    let kernel = debian.needs(KERNEL, &[])[0];
    let version = kernel.trim_start_matches("linux-image-");
    let shape = Shape { tree, kernel, version, modules: modules(tree, version, CORE_MODULES) };
    let mut rpms = BTreeMap::new();
    let roots: Vec<&str> = ROOTS.iter().copied().chain([kernel]).collect();
    for name in debian.closure(&roots, WITHOUT) {
        shape.of(name, &debian, &mut rpms);
    }
    shape.complete(&mut rpms, &debian);
    rpms
}

/// A kernel's modules whose paths below `kernel/` begin so, and those that they need.
pub(crate) fn modules(tree: &Path, version: &str, begins: &[&str]) -> BTreeSet<String> {
    let dependencies = tree.join("usr/lib/modules").join(version).join("modules.dep");
    let text = std::fs::read_to_string(dependencies).unwrap();
    let needs: BTreeMap<&str, Vec<&str>> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(module, needs)| (module, needs.split_whitespace().collect()))
        .collect();
    let is_wanted = |module: &str| {
        let path = module.trim_start_matches("kernel/");
        begins.iter().any(|begin| path.starts_with(begin))
    };
    // depmod lists all that a module needs, also by way of others.
    let wanted = needs.iter().filter(|(module, _)| is_wanted(module));
    wanted.flat_map(|(module, needs)| needs.iter().chain([module])).map(|module| (*module).to_owned()).collect()
}

/// How Fedora calls a package of Debian's: its source package and its name.
fn called<'a>(name: &'a str, kernel: &str) -> (&'a str, &'a str) {
    if name == kernel {
        return ("kernel", "kernel-core");
    }
    let found = NAMES.iter().find(|(debian, _, _)| *debian == name);
    found.map_or((name, name), |(_, source, fedora)| (*source, *fedora))
}

/// `Version` and `Release` of a version of Debian's: `1:10.0.13+ds-0+deb13u1` is `10.0.13` and `0+deb13u1.fc44`.
fn version_of(debian: &str) -> [String; 2] {
    let whole = debian.split_once(':').map_or(debian, |(_, whole)| whole);
    let (upstream, revision) = whole.rsplit_once('-').unwrap_or((whole, "0"));
    let version = upstream.split_once('+').map_or(upstream, |(version, _)| version).replace('-', ".");
    [version, format!("{revision}.fc44")]
}

struct Shape<'a> {
    tree: &'a Path,
    /// The name of the kernel's package in Debian.
    kernel: &'a str,
    /// What it calls itself.
    version: &'a str,
    modules: BTreeSet<String>,
}

impl Shape<'_> {
    /// Adds what a package of Debian's becomes.
    fn of(&self, name: &str, debian: &Packages, rpms: &mut BTreeMap<String, Rpm>) {
        let (source, main) = called(name, self.kernel);
        let package = debian.get(name);
        let rpm = entry(rpms, source, main, &package.version);
        for needed in debian.needs(name, WITHOUT) {
            let needed = called(needed, self.kernel).1;
            let tag = format!("Requires: {needed}");
            if needed != main && !rpm.tags.contains(&tag) {
                rpm.tags.push(tag);
            }
        }
        if main == name {
            rpm.tags.extend(package.provides.iter().map(|provided| format!("Provides: {provided}")));
        }
        for path in &package.paths {
            let from = self.tree.join(path.trim_start_matches('/'));
            if LEFT_OUT.iter().any(|out| format!("{path}/").starts_with(out)) || from.symlink_metadata().is_err() {
                continue;
            }
            let to = self.moved(path);
            let is_of_filesystem =
                FOLDERS.iter().any(|(folder, _)| *folder == to) || LINKS.iter().any(|(link, _)| *link == to);
            let Some(part) = self.part(name, main, &to).filter(|_| !is_of_filesystem) else { continue };
            let is_new_module = is_qemu_module(&part) && !rpms.contains_key(&part);
            let rpm = entry(rpms, source, &part, &package.version);
            if is_new_module {
                rpm.tags.push(format!("Requires: {main}"));
            }
            rpm.files.entry(to).or_insert(Content::Of(from));
        }
    }

    /// Where Fedora has a file of Debian's.
    fn moved(&self, path: &str) -> String {
        for (debian, fedora) in [
            ("/usr/sbin/", "/usr/bin/"),
            ("/usr/lib/modules/", "/lib/modules/"),
            ("/usr/lib/qemu/qemu-bridge-helper", "/usr/libexec/qemu-bridge-helper"),
        ] {
            if let Some(rest) = path.strip_prefix(debian) {
                return format!("{fedora}{rest}");
            }
        }
        let of_boot = |name: &str| path == format!("/boot/{name}-{}", self.version);
        let file = ["vmlinuz", "config", "System.map"].into_iter().find(|name| of_boot(name));
        file.map_or_else(|| path.to_owned(), |name| format!("/lib/modules/{}/{name}", self.version))
    }

    /// Fedora's package of a file that is at a path there; none if nothing here needs that one.
    fn part(&self, name: &str, main: &str, path: &str) -> Option<String> {
        let file = path.rsplit('/').next().unwrap_or_default();
        let found = match name {
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
                // The others boot other machines.
                !path.starts_with("/usr/share/qemu/") || path.starts_with("/usr/share/qemu/keymaps")
            }
            "seabios" if file.starts_with("vgabios") => return Some("seavgabios-bin".to_owned()),
            "rpm" | "rpm-common" | "rpm2cpio" => {
                let is_for_building = ["brp-", "check-", "find-", "fileattrs/"];
                match (path.strip_prefix("/usr/bin/"), path.strip_prefix("/usr/lib/rpm/")) {
                    (Some(program), _) => RPM_PROGRAMS.contains(&program),
                    (_, Some(below)) => !is_for_building.iter().any(|part| below.starts_with(part)),
                    _ => !path.starts_with("/usr/lib/x86_64-linux-gnu/rpm-plugins") && path != "/var/lib/rpm",
                }
            }
            kernel if kernel == self.kernel => {
                let Some(below) = path.strip_prefix(&format!("/lib/modules/{}/", self.version)) else {
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

    /// Adds what Debian does not have, and what Fedora's packages say and do besides.
    fn complete(&self, rpms: &mut BTreeMap<String, Rpm>, debian: &Packages) {
        let kernel = self.version;
        for (name, source, version, tags) in BESIDES {
            let is_number = version.starts_with(|c: char| c.is_ascii_digit());
            let version = if is_number { version } else { debian.get(version).version.as_str() };
            let rpm = entry(rpms, source, name, version);
            rpm.tags.extend(tags.iter().map(|tag| (*tag).to_owned()));
        }
        let modules: Vec<String> = rpms.keys().filter(|name| is_qemu_module(name)).cloned().collect();
        let mut tag = |name: &str, tags: Vec<String>| rpms.get_mut(name).unwrap().tags.extend(tags);
        tag("qemu-system-x86", modules.iter().map(|name| format!("Requires: {name}")).collect());
        for (name, is, needs) in [
            ("kernel-core", ["kernel-uname-r", "kernel-core-uname-r"].as_slice(), "kernel-modules-core-uname-r"),
            ("kernel-modules-core", ["kernel-modules-core-uname-r"].as_slice(), "kernel-uname-r"),
        ] {
            tag(name, is.iter().map(|what| format!("Provides: {what} = {kernel}")).collect());
            tag(name, vec![format!("Requires: {needs} = {kernel}")]);
        }
        let mut script =
            |name: &str, section, lines: String| rpms.get_mut(name).unwrap().scripts.push((section, lines));
        script("filesystem", "%pretrans -p <lua>", pretrans());
        script("glibc-common", "%transfiletriggerin -- /lib /usr/lib /lib64 /usr/lib64", "/sbin/ldconfig".to_owned());
        script("kernel-modules-core", "%posttrans", format!("/sbin/depmod -a {kernel}"));
        let install = format!("/bin/kernel-install add {kernel} /lib/modules/{kernel}/vmlinuz || exit 0");
        script("kernel-core", "%posttrans", install);

        let mut put =
            |name: &str, path: &str, content| rpms.get_mut(name).unwrap().files.insert(path.to_owned(), content);
        for (path, mode) in FOLDERS {
            put("filesystem", path, Content::Folder(*mode));
        }
        for (path, mode) in GHOSTS {
            put("filesystem", path, Content::Ghost(*mode));
        }
        for (path, target) in LINKS {
            put("filesystem", path, Content::Link(target));
        }
        let text = |text: &str| Content::File(0o644, text.to_owned());
        put(
            "setup",
            "/etc/passwd",
            text(
                "root:x:0:0:root:/root:/bin/bash\ndaemon:x:2:2:daemon:/sbin:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
            ),
        );
        put("setup", "/etc/group", text("root:x:0:\ndaemon:x:2:\ntty:x:5:\nkvm:x:36:\nnobody:x:65534:\n"));
        put("setup", "/etc/shadow", Content::File(0o000, "root:!locked::0:99999:7:::\n".to_owned()));
        put("fedora-release", "/usr/lib/os-release", text(OS_RELEASE));
        put("fedora-release", "/etc/os-release", Content::Link("../usr/lib/os-release"));
        put("fedora-release", "/etc/fedora-release", text("Fedora release 44 (shaped of Debian 13)\n"));
        put("bash", "/usr/bin/sh", Content::Link("bash"));
        put("qemu-system-x86-core", "/usr/bin/qemu-kvm", Content::Link("qemu-system-x86_64"));
        put("rpm", "/usr/lib/rpm/macros.d/macros.dbpath", text("%_dbpath %{_prefix}/lib/sysimage/rpm\n"));
        put("rpm", "/usr/lib/sysimage/rpm", Content::Folder(0o755));
    }
}

/// Whether a package has one of QEMU's modules.
pub(crate) fn is_qemu_module(name: &str) -> bool {
    let of = |part: &str| name.strip_prefix("qemu-").is_some_and(|rest| rest.starts_with(part));
    QEMU_MODULES.iter().any(|(_, part)| of(part))
}

/// The package of that name; the version is Debian's, for one that is not there yet.
fn entry<'r>(rpms: &'r mut BTreeMap<String, Rpm>, source: &str, name: &str, debian: &str) -> &'r mut Rpm {
    rpms.entry(name.to_owned()).or_insert_with(|| {
        let [version, release] = version_of(debian);
        let mut tags = vec![format!("Version: {version}"), format!("Release: {release}")];
        if source == "qemu" {
            tags.push("Epoch: 2".to_owned());
        }
        Rpm { source: source.to_owned(), tags, ..Rpm::default() }
    })
}

/// Makes the folders and links that other packages' files go through, whichever comes first.
fn pretrans() -> String {
    let folders = ["/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/run", "/proc", "/sys", "/var"];
    let folders = folders.iter().map(|folder| format!("posix.mkdir(\"{folder}\")\n"));
    let links = LINKS.iter().map(|(link, target)| format!("posix.symlink(\"{target}\", \"{link}\")\n"));
    folders.chain(links).collect()
}
