//! What becomes of Debian's packages in the shape of another distro, whichever it is.

use crate::debian::Packages;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the base, the record and the tests need; the kernel and the package manager come to it.
const ROOTS: &[&str] =
    &["bash", "coreutils", "e2fsprogs", "kmod", "libc-bin", "qemu-system-x86", "systemd", "util-linux", "virtiofsd"];

/// What no other distro has, or has in another way.
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

/// What is left out everywhere.
pub(crate) const LEFT_OUT: &[&str] = &[
    "/usr/share/bug/",
    "/usr/share/doc/",
    "/usr/share/info/",
    "/usr/share/lintian/",
    "/usr/share/locale/",
    "/usr/share/man/",
];

/// Debian's package that needs its newest kernel's.
pub(crate) const KERNEL: &str = "linux-image-amd64";

/// Where modules are in a tree.
const MODULES: &str = "/usr/lib/modules";

/// A package that is to be made.
#[derive(Default)]
pub(crate) struct Made {
    /// The name of its source package, whose other packages may be made with it.
    pub(crate) source: String,
    /// Whole: `2:10.0.13-0+deb13u1.fc44`.
    pub(crate) version: String,
    pub(crate) needs: BTreeSet<String>,
    /// What it stands for besides its name.
    pub(crate) provides: BTreeSet<String>,
    /// What else its description says, in the words of its package manager.
    pub(crate) lines: Vec<String>,
    /// When it is run, in these words, too, and its lines: `%posttrans`.
    pub(crate) scripts: Vec<(&'static str, String)>,
    /// By path.
    pub(crate) files: BTreeMap<String, Content>,
}

/// All packages of a distro, by name.
pub(crate) type All = BTreeMap<String, Made>;

/// What is at a path.
pub(crate) enum Content {
    /// What is at a path of this machine: a folder without its content, a file or a link.
    Of(PathBuf),
    Folder(u32),
    /// A folder that is the package's and not in it.
    Ghost(u32),
    File(u32, String),
    Link(&'static str),
}

impl Content {
    /// Puts it at a path of this machine.
    pub(crate) fn put(&self, at: &Path) {
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        let mode = |mode: u32| std::fs::set_permissions(at, std::fs::Permissions::from_mode(mode)).unwrap();
        match self {
            Content::Folder(_) | Content::Ghost(_) => std::fs::create_dir_all(at).unwrap(),
            Content::Link(target) => symlink(target, at).unwrap(),
            Content::File(_, text) => std::fs::write(at, text).unwrap(),
            Content::Of(path) if path.is_symlink() => symlink(std::fs::read_link(path).unwrap(), at).unwrap(),
            Content::Of(path) if path.is_dir() => std::fs::create_dir_all(at).unwrap(),
            Content::Of(path) => assert!(std::fs::copy(path, at).is_ok(), "copying {}", path.display()),
        }
        match self {
            Content::Folder(its_mode) | Content::Ghost(its_mode) | Content::File(its_mode, _) => mode(*its_mode),
            Content::Of(path) if !path.is_symlink() => mode(path.metadata().unwrap().permissions().mode() & 0o7777),
            Content::Of(_) | Content::Link(_) => {}
        }
    }
}

/// The kernel in a tree.
pub(crate) struct Kernel {
    /// Its package: `linux-image-6.12.57+deb13-amd64`.
    pub(crate) package: String,
    /// What it calls itself.
    pub(crate) version: String,
}

impl Kernel {
    /// Debian's newest.
    pub(crate) fn of(debian: &Packages) -> Kernel {
        let package = debian.needs(KERNEL, &[])[0];
        Kernel { package: package.to_owned(), version: package.trim_start_matches("linux-image-").to_owned() }
    }

    /// The folder of its modules.
    pub(crate) fn modules(&self) -> String {
        format!("{MODULES}/{}", self.version)
    }

    /// That folder in a tree.
    fn folder(&self, tree: &Path) -> PathBuf {
        tree.join(self.modules().trim_start_matches('/'))
    }

    /// Its modules whose paths below `kernel/` begin so, and those that they need: `kernel/fs/fuse/fuse.ko.xz`.
    pub(crate) fn chosen(&self, tree: &Path, begins: &[&str]) -> BTreeSet<String> {
        let text = std::fs::read_to_string(self.folder(tree).join("modules.dep")).unwrap();
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

    /// Copies the folder of its modules to one that is not there yet, and compresses them by zstd.
    pub(crate) fn compress(&self, tree: &Path, to: &Path) {
        run(Command::new("cp").arg("-a").arg(self.folder(tree)).arg(to));
        let each = |name: &str, command: &[&str]| {
            run(Command::new("find").arg(to).args(["-name", name, "-exec"]).args(command).args(["{}", "+"]));
        };
        each("*.ko.xz", &["xz", "--decompress", "--threads=0"]);
        each("*.ko", &["zstd", "--quiet", "--rm", "--threads=0"]);
    }

    /// What a file of /boot is called where it lies with the modules: `vmlinuz`.
    pub(crate) fn of_boot(&self, path: &str) -> Option<&'static str> {
        let is_it = |name: &&str| path == format!("/boot/{name}-{}", self.version);
        ["vmlinuz", "config", "System.map"].into_iter().find(is_it)
    }

    /// Where a distro has its files that has the image with the modules, and compresses these by zstd.
    pub(crate) fn moved(&self, path: &str) -> Option<String> {
        if let Some(name) = self.of_boot(path) {
            return Some(format!("{}/{name}", self.modules()));
        }
        let module = path.strip_suffix(".ko.xz").or(path.strip_suffix(".ko"))?;
        path.starts_with(MODULES).then(|| format!("{module}.ko.zst"))
    }
}

/// Folders and their modes.
pub(crate) type Folders = &'static [(&'static str, u32)];

/// Links, and where they lead.
pub(crate) type Links = &'static [(&'static str, &'static str)];

/// What differs from Debian.
pub(crate) trait Shape {
    /// Debian's package of the package manager.
    fn manager(&self) -> &'static str;

    /// Debian's packages that it has besides those of every shape.
    fn besides(&self) -> &'static [&'static str] {
        &[]
    }

    /// Debian's package, and the distro's: by the source package, and by name. All others keep theirs.
    fn names(&self) -> &'static [(&'static str, &'static str, &'static str)];

    /// The source package and the name of the kernel's.
    fn kernel(&self) -> (&'static str, &'static str);

    /// What `filesystem` has.
    fn filesystem(&self) -> (Folders, Links);

    /// The whole version of a package by its source package, and what Debian's is before and after the last hyphen.
    fn version(&self, source: &str, upstream: &str, revision: &str) -> String;

    /// Where the distro has a file of Debian's.
    fn moved(&self, path: &str) -> String;

    /// The distro's package of a file of Debian's package that is at a path there; none if nothing here needs that one.
    fn part(&self, debian: &str, main: &str, path: &str) -> Option<String>;
}

/// A distro's packages in the making.
pub(crate) struct Making<'a> {
    shape: &'a dyn Shape,
    debian: &'a Packages,
    kernel: &'a Kernel,
    tree: &'a Path,
    /// Modules that zstd has compressed.
    modules: PathBuf,
    pub(crate) all: All,
}

impl<'a> Making<'a> {
    /// What Debian's packages become; in `work` there is room.
    pub(crate) fn of(
        shape: &'a dyn Shape,
        debian: &'a Packages,
        kernel: &'a Kernel,
        tree: &'a Path,
        work: &Path,
    ) -> Making<'a> {
        let (modules, all) = (work.join("modules"), All::new());
        let mut making = Making { shape, debian, kernel, tree, modules, all };
        let of_all = ROOTS.iter().chain(shape.besides()).copied();
        let roots: Vec<&str> = of_all.chain([kernel.package.as_str(), shape.manager()]).collect();
        for name in debian.closure(&roots, WITHOUT) {
            making.add(name);
        }
        making
    }

    /// The distro's source package and name of a package of Debian's.
    fn called<'n>(&self, name: &'n str) -> (&'n str, &'n str) {
        if name == self.kernel.package {
            return self.shape.kernel();
        }
        let found = self.shape.names().iter().find(|(debian, _, _)| *debian == name);
        found.map_or((name, name), |(_, source, of_distro)| (*source, *of_distro))
    }

    /// Adds what a package of Debian's becomes.
    fn add(&mut self, name: &str) {
        let (source, main) = self.called(name);
        let package = self.debian.get(name);
        let needs: Vec<&str> =
            self.debian.needs(name, WITHOUT).into_iter().map(|needed| self.called(needed).1).collect();
        let made = self.entry(source, main, &package.version);
        made.needs.extend(needs.into_iter().filter(|needed| *needed != main).map(str::to_owned));
        if main == name {
            made.provides.extend(package.provides.iter().cloned());
        }
        let (folders, links) = self.shape.filesystem();
        for path in &package.paths {
            let mut from = self.tree.join(path.trim_start_matches('/'));
            if LEFT_OUT.iter().any(|out| format!("{path}/").starts_with(out)) || from.symlink_metadata().is_err() {
                continue;
            }
            let to = self.shape.moved(path);
            let is_of_filesystem =
                folders.iter().any(|(folder, _)| *folder == to) || links.iter().any(|(link, _)| *link == to);
            let Some(part) = self.shape.part(name, main, &to).filter(|_| !is_of_filesystem) else { continue };
            if to.ends_with(".ko.zst") && !path.ends_with(".ko.zst") {
                from = self.module(&to);
            }
            self.entry(source, &part, &package.version).files.entry(to).or_insert(Content::Of(from));
        }
    }

    /// A module that zstd has compressed; all are, once.
    fn module(&self, path: &str) -> PathBuf {
        if !self.modules.exists() {
            self.kernel.compress(self.tree, &self.modules);
        }
        self.modules.join(path.strip_prefix(&self.kernel.modules()).unwrap().trim_start_matches('/'))
    }

    /// The package of that name; the version is made of Debian's, for one that is not there yet.
    fn entry(&mut self, source: &str, name: &str, debian: &str) -> &mut Made {
        let whole = debian.split_once(':').map_or(debian, |(_, whole)| whole);
        let (upstream, revision) = whole.rsplit_once('-').unwrap_or((whole, "0"));
        let upstream = upstream.split_once('+').map_or(upstream, |(version, _)| version).replace('-', ".");
        let version = self.shape.version(source, &upstream, revision);
        let made = || Made { source: source.to_owned(), version, ..Made::default() };
        self.all.entry(name.to_owned()).or_insert_with(made)
    }

    /// Adds what the distro's packages say besides: name, source package, version (or Debian's package that has it), and
    /// lines.
    pub(crate) fn say(&mut self, besides: &[(&str, &str, &str, &[&str])]) {
        for (name, source, version, lines) in besides {
            let is_number = version.starts_with(|c: char| c.is_ascii_digit());
            let version = if is_number { *version } else { self.debian.get(version).version.as_str() };
            let made = self.entry(source, name, version);
            for line in *lines {
                match line.split_once(": ") {
                    Some(("Requires", needed)) => _ = made.needs.insert(needed.to_owned()),
                    Some(("Provides", provided)) => _ = made.provides.insert(provided.to_owned()),
                    _ => made.lines.push((*line).to_owned()),
                }
            }
        }
    }

    /// Puts something into a package that is there.
    pub(crate) fn put(&mut self, name: &str, path: &str, content: Content) {
        self.get(name).files.insert(path.to_owned(), content);
    }

    /// Puts a text into a package that is there.
    pub(crate) fn write(&mut self, name: &str, path: &str, mode: u32, text: &str) {
        self.put(name, path, Content::File(mode, text.to_owned()));
    }

    /// Has a package that is there run something.
    pub(crate) fn script(&mut self, name: &str, when: &'static str, lines: String) {
        self.get(name).scripts.push((when, lines));
    }

    /// A package that is there.
    pub(crate) fn get(&mut self, name: &str) -> &mut Made {
        self.all.get_mut(name).unwrap_or_else(|| panic!("there is no package {name}"))
    }

    /// Puts the folders and links of `filesystem` into it.
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
fn a_kernels_files_lie_with_its_modules_which_zstd_compresses() {
    let kernel = Kernel { package: "linux-image-6.12-amd64".to_owned(), version: "6.12-amd64".to_owned() };
    for (debian, moved) in [
        ("/boot/vmlinuz-6.12-amd64", Some("/usr/lib/modules/6.12-amd64/vmlinuz")),
        ("/boot/System.map-6.12-amd64", Some("/usr/lib/modules/6.12-amd64/System.map")),
        ("/usr/lib/modules/6.12-amd64/kernel/a/b.ko.xz", Some("/usr/lib/modules/6.12-amd64/kernel/a/b.ko.zst")),
        ("/usr/lib/modules/6.12-amd64/modules.order", None),
        ("/boot/vmlinuz-6.13-amd64", None),
        ("/usr/share/x.ko", None),
    ] {
        assert_eq!(kernel.moved(debian).as_deref(), moved, "{debian}");
    }
}
