//! What comes from the network, by the machine's own apt, before a program of the tree is run.
//!
//! Whoever fetches may write to the image's folder and nowhere else, and alone knows credentials: they lie in a folder for
//! root that goes with this value, and in no argument and no tree.

use crate::apt::Apt;
use crate::command::{Network, Runner, at_desk, tied};
use crate::error::{Cause, Context, Failure, Phase};
use crate::login::Login;
use crate::tree::{self, Named};
use kata_osinfo::arch::Arch;
use kata_osinfo::root::Root;
use rustix::fs::{Mode, OFlags, fchmod, mkdirat, openat};
use rustix::io::Errno;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Below the desk.
const FOLDER: &str = "fetch";
/// The package lists, and the suites that they are of.
pub(crate) const LISTS: &str = "apt/lists";
pub(crate) const SOURCES: &str = "apt/sources.list";
/// Packages.
pub(crate) const ARCHIVES: &str = "archives";

/// A key of an archive, and all of a release's.
const MAX_KEY: u64 = 1 << 20;
const MAX_KEYS: usize = 100;

/// The machine's apt at a desk: an image's folder while it is made.
pub(crate) struct Fetch {
    desk: PathBuf,
    /// Where the desk is for the programs at it.
    at: PathBuf,
}

/// A file to fetch, as the tree's apt names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    address: String,
    name: String,
    hash: String,
}

impl Fetch {
    /// Prepares the settings for a desk.
    pub(crate) fn new(desk: &Path, apt: &Apt, logins: &[Login], arch: Arch) -> Result<Fetch, Failure> {
        // Whoever is not root has nothing to give up, and no namespaces.
        let is_root = rustix::process::geteuid().is_root();
        let at = if is_root { PathBuf::from("/tmp") } else { desk.to_owned() };
        let fetch = Fetch { desk: desk.to_owned(), at };
        let folder = fetch.folder();
        std::fs::DirBuilder::new().mode(0o700).create(&folder).context("creating", &folder)?;
        let mut who = String::new();
        for login in logins {
            who += &login.line()?;
        }
        who += &of_machine();
        fetch.keep("auth.conf", &who)?;
        fetch.keep("acquire.conf", &acquire(apt, &fetch.at)?)?;
        fetch.keep("apt.conf", &settings(arch, &fetch.at))?;
        Ok(fetch)
    }

    fn folder(&self) -> PathBuf {
        self.desk.join(FOLDER)
    }

    fn keep(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.folder().join(name);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).context("writing", &path)
    }

    /// mmdebstrap at the desk: it has settings of its own, and the machine's keys.
    pub(crate) fn mmdebstrap(&self) -> Result<Command, Failure> {
        let mut command = self.command("mmdebstrap")?;
        command.env_remove("APT_CONFIG");
        Ok(command)
    }

    /// A program of this machine at the desk.
    pub(crate) fn command(&self, program: &str) -> Result<Command, Failure> {
        let mut command = match rustix::process::geteuid().is_root() {
            true => at_desk(&self.desk, Network::Machine, program)?,
            false => tied(program),
        };
        let folder = self.at.join(FOLDER);
        command.env("APT_CONFIG", folder.join("apt.conf")).env("HOME", &folder).env("TMPDIR", &folder);
        command.env("LC_ALL", "C");
        Ok(command)
    }

    /// Fetches one file to a name at the desk.
    pub(crate) fn file(&self, runner: &Runner<'_>, address: &str, name: &str) -> Result<(), Failure> {
        let mut command = self.command("/usr/lib/apt/apt-helper")?;
        command.args(["-q", "download-file", address]).arg(self.at.join(name));
        runner.run(Phase::Resolve, &mut command)
    }

    /// Fetches the package lists of the suites in [`SOURCES`], verified by the tree's own keys.
    pub(crate) fn update(&self, runner: &Runner<'_>, tree: &Path) -> Result<(), Failure> {
        self.take_keys(&tree::open(tree)?)?;
        let lists = self.desk.join(LISTS).join("partial");
        std::fs::create_dir_all(&lists).context("creating", &lists)?;
        let mut update = self.command("apt-get")?;
        update.args(["-q", "--error-on=any", "update"]);
        runner.run(Phase::Install, &mut update)
    }

    /// Copies the keys that the release trusts its archive by: links among them are followed in its tree.
    fn take_keys(&self, root: &Root) -> Result<(), Failure> {
        let keys = self.folder().join("keys");
        std::fs::create_dir_all(&keys).context("creating", &keys)?;
        // Others' keyrings lie there, too, and keys that are no longer to be trusted.
        let counts = |folder: &Path, name: &str| folder.ends_with("trusted.gpg.d") || name.contains("-archive-keyring");
        let is_key = |name: &String| name.ends_with(".gpg") || name.ends_with(".asc") || name.ends_with(".pgp");
        for folder in ["/etc/apt/trusted.gpg.d", "/usr/share/keyrings"].map(Path::new) {
            let names = root.list(folder).map_err(tree::failed)?;
            // `trusted.gpg.d` knows two of the three endings, though the third is another word for one of them.
            let to = |name: &str| name.strip_suffix(".pgp").map_or_else(|| name.to_owned(), |n| format!("{n}.gpg"));
            for name in names.iter().filter(|n| is_key(n) && counts(folder, n)).take(MAX_KEYS) {
                let Ok(key) = root.read(&folder.join(name), MAX_KEY) else { continue };
                let path = keys.join(to(name));
                std::fs::write(&path, key).context("writing", &path)?;
            }
        }
        Ok(())
    }

    /// Fetches packages to [`ARCHIVES`], each checked against its hash.
    pub(crate) fn packages(&self, runner: &Runner<'_>, wanted: &[Wanted]) -> Result<(), Failure> {
        passable(&self.desk.join(ARCHIVES).join("partial"))?;
        // A call for all of them would have more arguments than there may be.
        for some in wanted.chunks(100) {
            let mut download = self.command("/usr/lib/apt/apt-helper")?;
            download.args(["-q", "download-file"]);
            for file in some {
                download.arg(&file.address).arg(self.at.join(ARCHIVES).join(&file.name)).arg(&file.hash);
            }
            runner.run(Phase::Install, &mut download)?;
        }
        Ok(())
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(self.folder()) {
            tracing::warn!(%error, "credentials were not removed");
        }
    }
}

/// What apt prints for `--print-uris`, which is a tree's own program: only packages of these mirrors, by plain names.
///
/// # Errors
/// What else it asks for.
pub(crate) fn wanted(printed: &str, mirrors: &[String]) -> Result<Vec<Wanted>, Failure> {
    let mut all = Vec::new();
    for line in printed.lines() {
        let Some((address, rest)) = line.strip_prefix('\'').and_then(|l| l.split_once("' ")) else { continue };
        let mut words = rest.split(' ');
        let (name, hash) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
        if address.starts_with("file:") || address.starts_with("copy:") {
            continue;
        }
        let plain = |text: &str, more: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.as_bytes().contains(&b))
        };
        let ours = mirrors.iter().any(|m| address.strip_prefix(m.as_str()).is_some_and(|path| path.starts_with('/')));
        let sound = plain(address, ":/._-+~%@=,") && plain(name, "._-+~%") && name.ends_with(".deb");
        if !ours || !sound || !plain(hash, ":") {
            let what = address.chars().filter(|c| !c.is_control()).take(200).collect();
            let reason = "the release's apt asks for it, and it is no package of its mirrors".to_owned();
            return Err(Cause::BadAddress { address: what, reason }.into());
        }
        all.push(Wanted { address: address.to_owned(), name: name.to_owned(), hash: hash.to_owned() });
    }
    Ok(all)
}

/// The addresses in a `sources.list` that this program wrote.
pub(crate) fn mirrors_of(sources: &str) -> Vec<String> {
    sources.lines().filter_map(|l| Some(l.strip_prefix("deb ")?.split(' ').next()?.to_owned())).collect()
}

/// What the machine's own apt knows of credentials.
fn of_machine() -> String {
    let parts = std::fs::read_dir("/etc/apt/auth.conf.d").into_iter().flatten().flatten().map(|e| e.path());
    let mut files: Vec<PathBuf> = parts.filter(|p| p.extension().is_some_and(|e| e == "conf")).collect();
    files.sort();
    files.insert(0, PathBuf::from("/etc/apt/auth.conf"));
    files.iter().filter_map(|f| std::fs::read_to_string(f).ok()).map(|text| text + "\n").collect()
}

/// How to fetch, for mmdebstrap's own apt, too.
fn acquire(apt: &Apt, at: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    for (key, value) in apt.settings() {
        if value.contains(['"', '\n', '\r']) || key.contains(char::is_whitespace) {
            let (address, reason) =
                (key, "the machine's apt has a setting that cannot be written down again".to_owned());
            return Err(Cause::BadAddress { address, reason }.into());
        }
        text += &format!("{key} \"{value}\";\n");
    }
    // Namespaces are what keeps it in its place; its own user could not reach the desk.
    let at = at.display();
    text += "APT::Sandbox::User \"root\";\n";
    text += &format!("Dir::Etc::netrc \"{at}/{FOLDER}/auth.conf\";\nDir::Etc::netrcparts \"/dev/null\";\n");
    Ok(text)
}

/// apt apart from the machine's own: no hook, no solver, no list of it.
fn settings(arch: Arch, at: &Path) -> String {
    let (arch, at) = (arch.debian_name(), at.display());
    format!(
        "Dir::Etc::main \"/dev/null\";\n\
        Dir::Etc::parts \"/dev/null\";\n\
        Dir::Etc::preferences \"/dev/null\";\n\
        Dir::Etc::preferencesparts \"/dev/null\";\n\
        Dir::Etc::sourcelist \"{at}/{SOURCES}\";\n\
        Dir::Etc::sourceparts \"/dev/null\";\n\
        Dir::Etc::trusted \"/dev/null\";\n\
        Dir::Etc::trustedparts \"{at}/fetch/keys/\";\n\
        Dir::State \"{at}/fetch/state\";\n\
        Dir::State::lists \"{at}/{LISTS}\";\n\
        Dir::State::status \"/dev/null\";\n\
        Dir::Cache \"{at}/fetch/cache\";\n\
        Dir::Log \"{at}/fetch/log\";\n\
        APT::Architecture \"{arch}\";\n\
        APT::Architectures \"{arch}\";\n\
        #include \"{at}/fetch/acquire.conf\";\n"
    )
}

/// A folder that programs of namespaces may pass through, made in one of ours where it is missing.
///
/// A link of its name is an error and not followed: programs that are not trusted may have been where it lies.
pub(crate) fn passable(folder: &Path) -> Result<(), Failure> {
    below(&above(folder)?, folder).map(drop)
}

/// Such a folder, empty but for these in it: whatever stands there goes, and nothing is followed.
pub(crate) fn empty(folder: &Path, parts: &[&str]) -> Result<(), Failure> {
    let above = above(folder)?;
    let again = above.try_clone().context("opening", folder)?;
    Named::new(again, folder.file_name().unwrap_or_default(), folder.to_owned()).remove()?;
    let made = below(&above, folder)?;
    parts.iter().try_for_each(|part| below(&made, &folder.join(part)).map(drop))
}

/// The folder that a path lies in.
fn above(path: &Path) -> Result<OwnedFd, Failure> {
    let folder = path.parent().unwrap_or(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty()).map_err(io::Error::from).context("opening", folder)
}

/// The folder of that path in the one that it lies in.
fn below(above: &OwnedFd, path: &Path) -> Result<OwnedFd, Failure> {
    let (name, mode) = (path.file_name().unwrap_or_default(), Mode::from_raw_mode(0o755));
    let made = match mkdirat(above, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {
            openat(above, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        }
        Err(errno) => Err(errno),
    };
    // Whatever this process's umask is.
    let made = made.and_then(|folder| fchmod(&folder, mode).map(|()| folder));
    made.map_err(io::Error::from).context("making the folder", path)
}

/// The names in a folder of ours, sorted.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let entries = std::fs::read_dir(folder).context("reading", folder)?;
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_of_the_releases_mirrors_are_fetched() {
        let mirrors = ["http://mirror.example/debian".to_owned()];
        let of = |text: &str| wanted(text, &mirrors);
        let good = "Reading package lists...\n'http://mirror.example/debian/pool/main/h/hello/hello_2.10-5%2bb1_amd64.deb' hello_2.10-5+b1_amd64.deb 53128 SHA256:00ff\n\
            'file:/var/cache/apt/archives/x_1_all.deb' x_1_all.deb 3 SHA256:00\n";
        let found = of(good).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].hash.as_str()), ("hello_2.10-5+b1_amd64.deb", "SHA256:00ff"));
        for bad in [
            "'http://other.example/debian/x.deb' x.deb 1 SHA256:00",
            "'http://mirror.example/debianx/x.deb' x.deb 1 SHA256:00",
            "'http://mirror.example/debian/x.deb' ../x.deb 1 SHA256:00",
            "'http://mirror.example/debian/x.deb' -o.deb/ 1 SHA256:00",
            "'http://mirror.example/debian/x.deb' x.deb 1",
            "'http://mirror.example/debian/x.deb\u{1b}' x.deb 1 SHA256:00",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert_eq!(mirrors_of("deb http://m.example/debian trixie main\n"), ["http://m.example/debian"]);
    }

    #[test]
    fn a_folder_is_made_where_it_is_to_be_and_nowhere_else() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
        let (desk, victim) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::set_permissions(victim.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(victim.path().join("file"), "precious").unwrap();
        let (folder, partial) = (desk.path().join("archives"), desk.path().join("archives/partial"));
        let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().mode() & 0o177_777;
        let unharmed = || {
            assert_eq!(mode(victim.path()), 0o040_700);
            assert_eq!(std::fs::read_to_string(victim.path().join("file")).unwrap(), "precious");
        };
        passable(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        passable(&folder).unwrap();
        assert_eq!(mode(&folder), 0o040_755);
        symlink(victim.path(), &partial).unwrap();
        assert!(passable(&partial).is_err());
        unharmed();
        empty(&folder, &["partial"]).unwrap();
        unharmed();
        assert_eq!((mode(&folder), mode(&partial)), (0o040_755, 0o040_755));
        std::fs::remove_dir_all(&folder).unwrap();
        symlink(victim.path(), &folder).unwrap();
        assert!(passable(&folder).is_err());
        empty(&folder, &["partial"]).unwrap();
        unharmed();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        // Neither is what is no folder at all opened and waited for.
        std::fs::remove_dir(&partial).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &partial, Mode::RUSR).unwrap();
        assert!(passable(&partial).is_err());
    }

    #[test]
    fn credentials_lie_in_a_folder_for_root_and_go_with_it() {
        use std::os::unix::fs::MetadataExt as _;
        let desk = tempfile::tempdir().unwrap();
        let login = crate::login::part("http://user:pw@mirror.example/debian").unwrap().1.unwrap();
        let fetch = Fetch::new(desk.path(), &Apt::default(), &[login], Arch::X86_64).unwrap();
        let folder = desk.path().join(FOLDER);
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700);
        let auth = folder.join("auth.conf");
        assert_eq!(auth.metadata().unwrap().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&auth).unwrap();
        assert!(text.starts_with("machine http://mirror.example/debian login user password pw\n"), "{text}");
        drop(fetch);
        assert!(!folder.exists());
    }
}
