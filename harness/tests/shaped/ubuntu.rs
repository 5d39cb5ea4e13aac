//! Debian 13's binaries in the shape of Ubuntu 24.04: its archive, the split of its kernel, and its paths.
//!
//! Most of Debian's packages have the same names, splits and paths in Ubuntu, and are taken with their scripts: both
//! build QEMU's packages from the same `debian/control-in`, and both have virtiofsd at `/usr/libexec/virtiofsd`.
//! Differences are taken from Ubuntu's own packaging, as of 2026, and not from this project's record:
//!
//! - `debian/rules.d/2-binary-arch.mk` of the kernel: `linux-image-V` has `/boot/vmlinuz-V`, with mode 0600;
//!   `linux-modules-V` has `/boot/config-V`, `/boot/System.map-V` with mode 0600, `/lib/modules/V`, a list of modules
//!   not to load in `/lib/modprobe.d`, and from depmod's index only `modules.order` and `modules.builtin*`.
//! - `debian/rules.d/0-common-vars.mk`: modules are compressed by zstd, after 22.04.
//! - `debian.master/control.d/generic.inclusion-list`: the modules in `linux-modules-V`, with their dependencies; all
//!   others are in `linux-modules-extra-V`. `drivers/nvdimm` is not in the list, and `CONFIG_BLK_DEV_PMEM` is `m`:
//!   without the extra modules no guest of Kata boots an image as an NVDIMM.
//! - `debian.master/control.d/flavour-control.stub`: `linux-image-V` needs kmod, linux-base and `linux-modules-V`, and
//!   only recommends initramfs-tools; `linux-modules-extra-V` needs `linux-image-V` and wireless-regdb.
//! - `debian/templates/image.postinst.in`, `extra.postinst.in`: `depmod`, `linux-update-symlinks`, and a trigger of
//!   `linux-image-V` that runs the hooks of `/etc/kernel/postinst.d` once for all these packages.
//! - `control.d/generic`, `control.d/virtual` of the kernel's meta packages: `linux-image-generic` needs the extra
//!   modules, firmware and microcode; `linux-image-virtual` needs `linux-image-V` alone.
//! - `debian/control-in` of QEMU: `qemu-system-common` needs acl; the modules of displays and of disks, ovmf and
//!   qemu-utils are recommended.
//! - The archive: pockets are suites, a security update is in two of them, indexes are fetched by their hashes and
//!   never expire, and virtiofsd is in `universe`.
//!
//! Not as in Ubuntu: versions and options of the programs; the flavour in the kernel's name, which is in its image;
//! which of its modules are built in; no languages and no manuals.

use crate::debian::{Package, Packages};
use crate::debs::Deb;
use crate::shape::{Content, KERNEL, Kernel, LEFT_OUT};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The components of the archive.
pub(crate) const COMPONENTS: &[&str] = &["main", "universe"];
/// Pockets of the original release, and pockets of later updates.
const RELEASE: &[&str] = &["noble"];
const UPDATES: &[&str] = &["noble-security", "noble-updates"];

/// Path of the archive's keyring.
const KEYRING: &str = "/usr/share/keyrings/ubuntu-archive-keyring.gpg";

/// Modules of `linux-modules-V`: only those directories and files, out of many more, that virtual machines use. `tun`
/// is built into Ubuntu's kernel and so is always available.
const MODULES: &[&str] = &[
    "arch/x86/crypto/",
    "arch/x86/kvm/",
    "crypto/",
    "drivers/acpi/",
    "drivers/block/loop",
    "drivers/block/virtio_blk",
    "drivers/char/hw_random/virtio-rng",
    "drivers/char/virtio_console",
    "drivers/md/",
    "drivers/net/macvlan",
    "drivers/net/macvtap",
    "drivers/net/tun",
    "drivers/net/veth",
    "drivers/net/virtio_net",
    "drivers/scsi/sd_mod",
    "drivers/scsi/sr_mod",
    "drivers/scsi/virtio_scsi",
    "drivers/vfio/",
    "drivers/vhost/",
    "drivers/virtio/",
    "fs/9p/",
    "fs/btrfs/",
    "fs/ext4/",
    "fs/fat/",
    "fs/fuse/",
    "fs/isofs/",
    "fs/overlayfs/",
    "fs/squashfs/",
    "fs/xfs/",
    "lib/",
    "net/9p/",
    "net/bridge/",
    "net/core/",
    "net/ipv4/",
    "net/ipv6/",
    "net/netfilter/",
    "net/sched/",
    "net/vmw_vsock/",
];

/// Dependencies of the kernel's packages that no guest uses.
const EMPTY: &[&str] = &["amd64-microcode", "intel-microcode", "linux-firmware", "wireless-regdb"];

/// Fields of dpkg's database that a control file does not have.
const OF_DATABASE: &[&str] = &["Conffiles", "Config-Version", "Status", "Triggers-Awaited", "Triggers-Pending"];

const OS_RELEASE: &str = "PRETTY_NAME=\"Ubuntu 24.04 LTS (shaped of Debian 13)\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\n\
    VERSION=\"24.04 LTS (Noble Numbat)\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\nUBUNTU_CODENAME=noble\n";
const LSB_RELEASE: &str = "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\nDISTRIB_CODENAME=noble\n\
    DISTRIB_DESCRIPTION=\"Ubuntu 24.04 LTS\"\n";

/// Returns the archive's suites and the first lines of their `Release`.
pub(crate) fn suites() -> Vec<(&'static str, String)> {
    let head =
        |suite: &str| format!("Origin: Ubuntu\nLabel: Ubuntu\nSuite: {suite}\nVersion: 24.04\nCodename: noble\n");
    RELEASE.iter().chain(UPDATES).map(|suite| (*suite, head(suite))).collect()
}

/// Builds the packages from a tree of Debian 13 that has acl in addition to the packages of Debian's record.
///
/// `work` is the directory for generated files, `key` is the public key of the archive.
pub(crate) fn packages(tree: &Path, work: &Path, key: &Path) -> Vec<Deb> {
    let debian = Packages::of(tree);
    let kernel = Kernel::of(&debian);
    let without = [KERNEL, kernel.package.as_str(), "debian-archive-keyring"];
    let others = debian.all().filter(|(name, _)| !without.contains(name));
    let mut debs: Vec<Deb> = others.map(|(name, package)| shaped_deb(tree, name, package)).collect();
    let mut keyring = empty_deb("ubuntu-keyring", "ubuntu-keyring", "2023.11.28.1", RELEASE);
    for path in [KEYRING, "/etc/apt/trusted.gpg.d/ubuntu-keyring-2018-archive.gpg"] {
        keyring.files.insert(path.to_owned(), Content::Of(key.to_owned()));
    }
    debs.push(keyring);
    debs.extend(EMPTY.iter().map(|name| empty_deb(name, name, "1", RELEASE)));
    debs.extend(kernels(tree, work, &kernel, debian.get(&kernel.package)));
    // dpkg considers a package without files of its own to be replaced by any package with the same directories.
    for deb in &mut debs {
        let copyright = format!("/usr/share/doc/{}/copyright", deb.field("Package"));
        deb.files.entry(copyright).or_insert_with(|| Content::File(0o644, "See Debian's.\n".to_owned()));
    }
    debs
}

/// Returns Debian's package with Ubuntu's differences.
fn shaped_deb(tree: &Path, name: &str, package: &Package) -> Deb {
    let from = |path: &String| tree.join(path.trim_start_matches('/'));
    let is_left_out = |path: &String| LEFT_OUT.iter().any(|out| format!("{path}/").starts_with(out));
    let paths = package.paths.iter().filter(|path| !is_left_out(path) && from(path).symlink_metadata().is_ok());
    let mut deb = Deb {
        fields: fields(&package.stanza),
        control: control(tree, name),
        files: paths.map(|path| (path.clone(), Content::Of(from(path)))).collect(),
        component: "main",
        suites: RELEASE,
    };
    match name {
        "apt" => {
            let needs = deb.field("Depends");
            *needs = needs.replace("debian-archive-keyring", "ubuntu-keyring");
        }
        "base-files" => {
            for (path, text) in [
                ("/etc/dpkg/origins/ubuntu", "Vendor: Ubuntu\nParent: Debian\n"),
                ("/etc/issue", "Ubuntu 24.04 LTS \\n \\l\n\n"),
                ("/etc/lsb-release", LSB_RELEASE),
                ("/usr/lib/os-release", OS_RELEASE),
            ] {
                deb.files.insert(path.to_owned(), Content::File(0o644, text.to_owned()));
            }
            let script = deb.control.get_mut("postinst").unwrap();
            *script = script.replace("origins/debian", "origins/ubuntu").replace("ln -sf debian", "ln -sf ubuntu");
        }
        "qemu-system-common" => deb.field("Depends").push_str(", acl"),
        "virtiofsd" => deb.component = "universe",
        _ => {}
    }
    deb
}

/// Parses a stanza of dpkg's database.
fn fields(stanza: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut last = "";
    for line in stanza.lines() {
        match line.split_once(':').filter(|_| !line.starts_with(' ')) {
            Some((key, value)) => {
                last = key;
                fields.insert(key.to_owned(), value.trim_start().to_owned());
            }
            // A continuation line of the field.
            None => {
                let value: &mut String = fields.get_mut(last).unwrap();
                value.push('\n');
                value.push_str(line);
            }
        }
    }
    fields.retain(|key, _| !OF_DATABASE.contains(&key.as_str()));
    fields
}

/// Returns the maintainer scripts of an installed package, and the other files of its control archive.
fn control(tree: &Path, name: &str) -> BTreeMap<String, String> {
    let folder = tree.join("var/lib/dpkg/info");
    let mut control = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap();
        let whole = file.file_name().into_string().unwrap();
        // Matches `libc6:amd64.postinst`; `login.defs.list` does not belong to the package login.
        let kind = whole.strip_prefix(name).map(|rest| rest.trim_start_matches(":amd64"));
        let Some(kind) = kind.and_then(|rest| rest.strip_prefix('.')) else { continue };
        if !kind.contains('.') && !["list", "md5sums"].contains(&kind) {
            control.insert(kind.to_owned(), std::fs::read_to_string(file.path()).unwrap());
        }
    }
    control
}

/// Returns Ubuntu's kernel packages, made from Debian's single one.
fn kernels(tree: &Path, work: &Path, kernel: &Kernel, package: &Package) -> Vec<Deb> {
    let version = kernel.version.as_str();
    let (selected, compressed) = (kernel.select_modules(tree, MODULES), work.join("modules"));
    kernel.compress(tree, &compressed);
    let deb = |name: &str, source: &str, needs: &str| {
        let mut deb = empty_deb(name, source, &package.version, UPDATES);
        deb.fields.extend((!needs.is_empty()).then(|| ("Depends".to_owned(), needs.to_owned())));
        deb
    };
    let of = |part: &str| format!("linux-{part}-{version}");
    let [image_name, modules_name, extra_name] = ["image", "modules", "modules-extra"].map(of);
    let needs = format!("kmod, linux-base (>= 4.5ubuntu1~16.04.1), {modules_name}");
    let mut image = deb(&image_name, "linux-signed", &needs);
    image.fields.insert("Recommends".to_owned(), "initramfs-tools | linux-initramfs-tool".to_owned());
    let mut modules = deb(&modules_name, "linux", "");
    let mut extra = deb(&extra_name, "linux", &format!("{image_name}, wireless-regdb"));

    for path in &package.paths {
        let from = tree.join(path.trim_start_matches('/'));
        if from.is_dir() {
            continue;
        }
        if let Some(below) = path.strip_prefix(&format!("{}/", kernel.modules())) {
            let is_module = below.ends_with(".ko.xz");
            let to = if is_module { below.replace(".ko.xz", ".ko.zst") } else { below.to_owned() };
            let from = if is_module { compressed.join(&to) } else { from };
            let deb = if is_module && !selected.contains(below) { &mut extra } else { &mut modules };
            deb.files.insert(format!("/lib/modules/{version}/{to}"), Content::Of(from));
        } else if let Some(file) = path.strip_prefix("/boot/") {
            let (deb, mode) = match file.split('-').next() {
                Some("vmlinuz") => (&mut image, 0o600),
                Some("System.map") => (&mut modules, 0o600),
                _ => (&mut modules, 0o644),
            };
            let copy = work.join(file);
            std::fs::copy(from, &copy).unwrap();
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(mode)).unwrap();
            deb.files.insert(path.clone(), Content::Of(copy));
        }
    }
    modules.files.insert(format!("/lib/modules/{version}/initrd"), Content::Folder(0o755));
    let list = "# What this kernel's package does not want to be loaded.\nblacklist softdog\n".to_owned();
    modules.files.insert(format!("/lib/modprobe.d/blacklist_linux_{version}.conf"), Content::File(0o644, list));
    for deb in [&mut image, &mut modules, &mut extra] {
        deb.files.insert("/usr/lib/linux/triggers".to_owned(), Content::Folder(0o755));
    }
    image.control.insert("triggers".to_owned(), format!("interest linux-update-{version}\n"));
    image.control.insert("postinst".to_owned(), image_script(version));
    for deb in [&mut modules, &mut extra] {
        let index = format!("depmod -a -F /boot/System.map-{version} {version} || true");
        deb.control.insert("postinst".to_owned(), script(&index, version));
    }
    let all = format!("{image_name}, {extra_name}, linux-firmware, intel-microcode, amd64-microcode");
    let generic = deb("linux-image-generic", "linux-meta", &all);
    vec![image, modules, extra, generic, deb("linux-image-virtual", "linux-meta", &image_name)]
}

/// Returns the configure script of packages with a kernel's modules.
fn script(before: &str, version: &str) -> String {
    format!(
        "#!/bin/sh\nset -e\n[ \"$1\" = configure ] || exit 0\n{before}\n[ -d /etc/kernel/postinst.d ] || exit 0\n\
        echo 'DEB_MAINT_PARAMS=configure run-parts --report --exit-on-error --arg={version} \
        --arg=/boot/vmlinuz-{version} /etc/kernel/postinst.d' >/usr/lib/linux/triggers/{version}\n\
        dpkg-trigger --no-await linux-update-{version}\n"
    )
}

/// Returns the configure script of the kernel, whose trigger runs the hooks.
fn image_script(version: &str) -> String {
    let place = format!("/usr/lib/linux/triggers/{version}");
    let triggered =
        format!("if [ \"$1\" = triggered ]; then\n    [ ! -f {place} ] || sh {place}\n    rm -f {place}\nfi\n");
    let configure = format!("depmod {version}\nlinux-update-symlinks install {version} /boot/vmlinuz-{version}");
    script(&configure, version).replacen("set -e\n", &format!("set -e\n{triggered}"), 1)
}

/// Creates an empty package.
fn empty_deb(name: &str, source: &str, version: &str, suites: &'static [&'static str]) -> Deb {
    let fields = [
        ("Package", name),
        ("Source", source),
        ("Version", version),
        ("Architecture", "amd64"),
        ("Maintainer", "shaped <shaped@b.example>"),
        ("Priority", "optional"),
        ("Description", name),
    ];
    Deb {
        fields: fields.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        control: BTreeMap::new(),
        files: BTreeMap::new(),
        component: "main",
        suites,
    }
}
