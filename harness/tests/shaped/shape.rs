//! Conversion of Debian's packages to the shape of another distro, independent of the distro.

use crate::debian::Packages;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Packages that the base, the record and the tests need; the kernel and the package manager are added.
const ROOTS: &[&str] =
    &["bash", "coreutils", "e2fsprogs", "kmod", "libc-bin", "qemu-system-x86", "systemd", "util-linux", "virtiofsd"];

/// Packages that other distros do not have, or have in another form.
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

/// Paths that are left out of every shape.
pub(crate) const LEFT_OUT: &[&str] = &[
    "/usr/share/bug/",
    "/usr/share/doc/",
    "/usr/share/info/",
    "/usr/share/lintian/",
    "/usr/share/locale/",
    "/usr/share/man/",
];

/// Debian's package that depends on its newest kernel's package.
pub(crate) const KERNEL: &str = "linux-image-amd64";

/// Directory of modules in a tree.
const MODULES: &str = "/usr/lib/modules";

/// A package to build.
#[derive(Default)]
pub(crate) struct NewPackage {
    /// Name of the source package, from which other packages may be built, too.
    pub(crate) source: String,
    /// The complete version: `2:10.0.13-0+deb13u1.fc44`.
    pub(crate) version: String,
    pub(crate) needs: BTreeSet<String>,
    /// Names that the package provides in addition to its own.
    pub(crate) provides: BTreeSet<String>,
    /// Further lines of the package's description, in the syntax of its package manager.
    pub(crate) lines: Vec<String>,
    /// Scripts: when the package manager runs them, `%posttrans`, and their lines.
    pub(crate) scripts: Vec<(&'static str, String)>,
    /// Contents by path.
    pub(crate) files: BTreeMap<String, Content>,
}

/// All packages of a distro, by name.
pub(crate) type All = BTreeMap<String, NewPackage>;

/// Content of a path.
pub(crate) enum Content {
    /// A copy from this path of the machine: a directory without its contents, a file or a link.
    Of(PathBuf),
    Folder(u32),
    /// A directory that the package owns but does not contain.
    Ghost(u32),
    File(u32, String),
    Link(&'static str),
}

impl Content {
    /// Creates the content at a path of this machine.
    pub(crate) fn put(&self, destination: &Path) {
        std::fs::create_dir_all(destination.parent().unwrap()).unwrap();
        let mode = |mode: u32| std::fs::set_permissions(destination, std::fs::Permissions::from_mode(mode)).unwrap();
        match self {
            Content::Folder(_) | Content::Ghost(_) => std::fs::create_dir_all(destination).unwrap(),
            Content::Link(target) => symlink(target, destination).unwrap(),
            Content::File(_, text) => std::fs::write(destination, text).unwrap(),
            Content::Of(path) if path.is_symlink() => symlink(std::fs::read_link(path).unwrap(), destination).unwrap(),
            Content::Of(path) if path.is_dir() => std::fs::create_dir_all(destination).unwrap(),
            Content::Of(path) => assert!(std::fs::copy(path, destination).is_ok(), "copying {}", path.display()),
        }
        match self {
            Content::Folder(its_mode) | Content::Ghost(its_mode) | Content::File(its_mode, _) => mode(*its_mode),
            Content::Of(path) if !path.is_symlink() => mode(path.metadata().unwrap().permissions().mode() & 0o7777),
            Content::Of(_) | Content::Link(_) => {}
        }
    }
}

/// The kernel of a tree.
pub(crate) struct Kernel {
    /// Name of its package: `linux-image-6.12.57+deb13-amd64`.
    pub(crate) package: String,
    /// The kernel's release string.
    pub(crate) version: String,
}

impl Kernel {
    /// Returns Debian's newest kernel.
    pub(crate) fn of(debian: &Packages) -> Kernel {
        let package = debian.needs(KERNEL, &[])[0];
        Kernel { package: package.to_owned(), version: package.trim_start_matches("linux-image-").to_owned() }
    }

    /// Returns the directory of its modules.
    pub(crate) fn modules(&self) -> String {
        format!("{MODULES}/{}", self.version)
    }

    /// Returns the directory of its modules in a tree.
    fn folder(&self, tree: &Path) -> PathBuf {
        tree.join(self.modules().trim_start_matches('/'))
    }

    /// Returns the modules whose paths below `kernel/` have one of these prefixes, with their dependencies:
    /// `kernel/fs/fuse/fuse.ko.xz`.
    pub(crate) fn select_modules(&self, tree: &Path, begins: &[&str]) -> BTreeSet<String> {
        let text = std::fs::read_to_string(self.folder(tree).join("modules.dep")).unwrap();
        let needs: BTreeMap<&str, Vec<&str>> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(module, needs)| (module, needs.split_whitespace().collect()))
            .collect();
        let is_selected = |module: &str| {
            let path = module.trim_start_matches("kernel/");
            begins.iter().any(|begin| path.starts_with(begin))
        };
        // depmod also lists indirect dependencies.
        let selected = needs.iter().filter(|(module, _)| is_selected(module));
        selected.flat_map(|(module, needs)| needs.iter().chain([module])).map(|module| (*module).to_owned()).collect()
    }

    /// Copies the directory of its modules to a new one and compresses the modules by zstd.
    pub(crate) fn compress(&self, tree: &Path, to: &Path) {
        run(Command::new("cp").arg("-a").arg(self.folder(tree)).arg(to));
        let each = |name: &str, command: &[&str]| {
            run(Command::new("find").arg(to).args(["-name", name, "-exec"]).args(command).args(["{}", "+"]));
        };
        each("*.ko.xz", &["xz", "--decompress", "--threads=0"]);
        each("*.ko", &["zstd", "--quiet", "--rm", "--threads=0"]);
    }

    /// Returns the name of a /boot file in the directory of modules: `vmlinuz`.
    pub(crate) fn boot_file_name(&self, path: &str) -> Option<&'static str> {
        let is_it = |name: &&str| path == format!("/boot/{name}-{}", self.version);
        ["vmlinuz", "config", "System.map"].into_iter().find(is_it)
    }

    /// Returns the path of a file in distros that keep the kernel image with the modules and compress modules by zstd.
    pub(crate) fn new_path(&self, path: &str) -> Option<String> {
        if let Some(name) = self.boot_file_name(path) {
            return Some(format!("{}/{name}", self.modules()));
        }
        let module = path.strip_suffix(".ko.xz").or(path.strip_suffix(".ko"))?;
        path.starts_with(MODULES).then(|| format!("{module}.ko.zst"))
    }
}

/// Directories and their modes.
pub(crate) type Folders = &'static [(&'static str, u32)];

/// Links and their targets.
pub(crate) type Links = &'static [(&'static str, &'static str)];

/// Differences of a distro from Debian.
pub(crate) trait Shape {
    /// Returns Debian's package of the package manager.
    fn manager(&self) -> &'static str;

    /// Returns further packages of Debian, in addition to those of every shape.
    fn extra_packages(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns renamed packages: Debian's package, the distro's source package and the distro's name. All others keep
    /// their names.
    fn names(&self) -> &'static [(&'static str, &'static str, &'static str)];

    /// Returns the source package and the name of the kernel's package.
    fn kernel(&self) -> (&'static str, &'static str);

    /// Returns the contents of `filesystem`.
    fn filesystem(&self) -> (Folders, Links);

    /// Returns the complete version of a package; `upstream` and `revision` are the parts of Debian's version before
    /// and after its last hyphen.
    fn version(&self, source: &str, upstream: &str, revision: &str) -> String;

    /// Returns the distro's path of a Debian file.
    fn new_path(&self, path: &str) -> String;

    /// Returns the distro's package of a file at the distro's path; `None` if the file is not needed here.
    fn package_of_file(&self, debian: &str, main: &str, path: &str) -> Option<String>;
}

/// A distro's packages under construction.
pub(crate) struct PackagesBuilder<'a> {
    shape: &'a dyn Shape,
    debian: &'a Packages,
    kernel: &'a Kernel,
    tree: &'a Path,
    /// Directory of the modules that zstd has compressed.
    modules: PathBuf,
    pub(crate) all: All,
}

impl<'a> PackagesBuilder<'a> {
    /// Converts Debian's packages; `work` is a directory for generated files.
    pub(crate) fn of(
        shape: &'a dyn Shape,
        debian: &'a Packages,
        kernel: &'a Kernel,
        tree: &'a Path,
        work: &Path,
    ) -> PackagesBuilder<'a> {
        let (modules, all) = (work.join("modules"), All::new());
        let mut builder = PackagesBuilder { shape, debian, kernel, tree, modules, all };
        let of_all = ROOTS.iter().chain(shape.extra_packages()).copied();
        let roots: Vec<&str> = of_all.chain([kernel.package.as_str(), shape.manager()]).collect();
        for name in debian.closure(&roots, WITHOUT) {
            builder.add(name);
        }
        builder
    }

    /// Returns the distro's source package and name for a Debian package.
    fn renamed<'n>(&self, name: &'n str) -> (&'n str, &'n str) {
        if name == self.kernel.package {
            return self.shape.kernel();
        }
        let found = self.shape.names().iter().find(|(debian, _, _)| *debian == name);
        found.map_or((name, name), |(_, source, of_distro)| (*source, *of_distro))
    }

    /// Adds the distro's counterpart of a Debian package.
    fn add(&mut self, name: &str) {
        let (source, main) = self.renamed(name);
        let package = self.debian.get(name);
        let needs: Vec<&str> =
            self.debian.needs(name, WITHOUT).into_iter().map(|needed| self.renamed(needed).1).collect();
        let new_package = self.entry(source, main, &package.version);
        new_package.needs.extend(needs.into_iter().filter(|needed| *needed != main).map(str::to_owned));
        if main == name {
            new_package.provides.extend(package.provides.iter().cloned());
        }
        let (folders, links) = self.shape.filesystem();
        for path in &package.paths {
            let mut from = self.tree.join(path.trim_start_matches('/'));
            if LEFT_OUT.iter().any(|out| format!("{path}/").starts_with(out)) || from.symlink_metadata().is_err() {
                continue;
            }
            let to = self.shape.new_path(path);
            let is_of_filesystem =
                folders.iter().any(|(folder, _)| *folder == to) || links.iter().any(|(link, _)| *link == to);
            let Some(part) = self.shape.package_of_file(name, main, &to).filter(|_| !is_of_filesystem) else {
                continue;
            };
            if to.ends_with(".ko.zst") && !path.ends_with(".ko.zst") {
                from = self.module(&to);
            }
            self.entry(source, &part, &package.version).files.entry(to).or_insert(Content::Of(from));
        }
    }

    /// Returns the path of a compressed module; the first call compresses all modules.
    fn module(&self, path: &str) -> PathBuf {
        if !self.modules.exists() {
            self.kernel.compress(self.tree, &self.modules);
        }
        self.modules.join(path.strip_prefix(&self.kernel.modules()).unwrap().trim_start_matches('/'))
    }

    /// Returns the package with this name; a new one gets its version from Debian's.
    fn entry(&mut self, source: &str, name: &str, debian: &str) -> &mut NewPackage {
        let whole = debian.split_once(':').map_or(debian, |(_, whole)| whole);
        let (upstream, revision) = whole.rsplit_once('-').unwrap_or((whole, "0"));
        let upstream = upstream.split_once('+').map_or(upstream, |(version, _)| version).replace('-', ".");
        let version = self.shape.version(source, &upstream, revision);
        let new_package = || NewPackage { source: source.to_owned(), version, ..NewPackage::default() };
        self.all.entry(name.to_owned()).or_insert_with(new_package)
    }

    /// Adds data of the distro's packages: name, source package, version (or Debian's package that has it), and lines.
    pub(crate) fn add_data(&mut self, data: &[(&str, &str, &str, &[&str])]) {
        for (name, source, version, lines) in data {
            let is_number = version.starts_with(|c: char| c.is_ascii_digit());
            let version = if is_number { *version } else { self.debian.get(version).version.as_str() };
            let new_package = self.entry(source, name, version);
            for line in *lines {
                match line.split_once(": ") {
                    Some(("Requires", needed)) => _ = new_package.needs.insert(needed.to_owned()),
                    Some(("Provides", provided)) => _ = new_package.provides.insert(provided.to_owned()),
                    _ => new_package.lines.push((*line).to_owned()),
                }
            }
        }
    }

    /// Adds content to an existing package.
    pub(crate) fn put(&mut self, name: &str, path: &str, content: Content) {
        self.get(name).files.insert(path.to_owned(), content);
    }

    /// Adds a text file to an existing package.
    pub(crate) fn write(&mut self, name: &str, path: &str, mode: u32, text: &str) {
        self.put(name, path, Content::File(mode, text.to_owned()));
    }

    /// Adds a script to an existing package.
    pub(crate) fn script(&mut self, name: &str, when: &'static str, lines: String) {
        self.get(name).scripts.push((when, lines));
    }

    /// Returns an existing package.
    pub(crate) fn get(&mut self, name: &str) -> &mut NewPackage {
        self.all.get_mut(name).unwrap_or_else(|| panic!("there is no package {name}"))
    }

    /// Adds the directories and links of `filesystem`.
    pub(crate) fn filesystem(&mut self) {
        let (folders, links) = self.shape.filesystem();
        for (path, mode) in folders {
            self.put("filesystem", path, Content::Folder(*mode));
        }
        for (path, target) in links {
            self.put("filesystem", path, Content::Link(target));
        }
    }
}

/// Runs a program of this machine, which must succeed.
pub(crate) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn kernel_files_move_to_the_modules_folder_with_zstd_modules() {
    let kernel = Kernel { package: "linux-image-6.12-amd64".to_owned(), version: "6.12-amd64".to_owned() };
    for (debian, moved) in [
        ("/boot/vmlinuz-6.12-amd64", Some("/usr/lib/modules/6.12-amd64/vmlinuz")),
        ("/boot/System.map-6.12-amd64", Some("/usr/lib/modules/6.12-amd64/System.map")),
        ("/usr/lib/modules/6.12-amd64/kernel/a/b.ko.xz", Some("/usr/lib/modules/6.12-amd64/kernel/a/b.ko.zst")),
        ("/usr/lib/modules/6.12-amd64/modules.order", None),
        ("/boot/vmlinuz-6.13-amd64", None),
        ("/usr/share/x.ko", None),
    ] {
        assert_eq!(kernel.new_path(debian).as_deref(), moved, "{debian}");
    }
}
