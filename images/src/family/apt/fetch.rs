//! Files from the network, fetched by the machine's own apt before a program of the tree is run.
//!
//! The fetching program may write only to the image's directory, and only this program gets credentials: they are in a
//! directory for root that is removed with [`Fetch`], and in no argument and no tree.

use super::settings::{AptSettings, PHASED};
use crate::error::{Context, Failure, ImageErrorKind};
use crate::family;
use crate::family::credentials::Login;
use crate::family::folder::{self, PrivateFolder};
use crate::progress::ImagePhase;
use crate::runner::Runner;
use crate::tree;
use model::arch::Arch;
use model::distro::DistroId;
use model::redact::{one_line, without_controls};
use operator::process::sandbox::Network;
use root::Root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directory below the image's directory with settings and credentials.
const FOLDER: &str = "fetch";
/// Directories below `FOLDER` with the keys of the release, and those for fetching its base.
const KEYS: &str = "keys";
const MACHINE_KEYS: &str = "machine-keys";
/// The package lists, and the suites that they belong to.
pub(crate) const LISTS: &str = "apt/lists";
pub(crate) const SOURCES: &str = "apt/sources.list";
/// Directory of the fetched packages.
pub(crate) const ARCHIVES: &str = "archives";

/// Beginning of a key in text form.
const ARMOUR: &[u8] = b"-----BEGIN PGP ";
/// Size limit of a key of an archive, in bytes, and maximum number of a release's keys.
const MAX_KEY: u64 = 1 << 20;
const MAX_KEYS: usize = 100;

/// The machine's apt, working in an image's folder while the image is made.
pub(crate) struct Fetch {
    folder: PathBuf,
    /// Path at which its programs see that directory.
    sandbox_path: PathBuf,
    /// Settings, credentials and keys.
    private: PrivateFolder,
    /// Key files from the caller, which replace all others.
    named: Vec<PathBuf>,
}

/// A file to fetch, as the tree's apt names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Download {
    address: String,
    name: String,
    hash: String,
}

impl Fetch {
    /// Writes the settings and credentials into the directory; `named` are the key files of [`Options::keys`].
    ///
    /// [`Options::keys`]: crate::options::Options::keys
    pub(crate) fn new(
        folder: &Path,
        settings: &AptSettings,
        logins: &[Login],
        named: &[PathBuf],
        arch: Arch,
    ) -> Result<Fetch, Failure> {
        let private = PrivateFolder::make(folder.join(FOLDER))?;
        let mut credentials = String::new();
        for login in logins {
            credentials += &auth_line(login)?;
        }
        credentials += &credentials_of_machine();
        let sandbox_path = family::sandbox_path(folder);
        private.write("auth.conf", &credentials)?;
        private.write("acquire.conf", &acquire(settings, &sandbox_path)?)?;
        private.write("apt.conf", &configuration(arch, &sandbox_path))?;
        Ok(Fetch { folder: folder.to_owned(), sandbox_path, private, named: named.to_owned() })
    }

    /// Returns the command of mmdebstrap, which has settings of its own. It trusts the keys that the caller names, or
    /// else those of this machine's apt and the distro's keyring on this machine.
    ///
    /// The keyring is often only in `/usr/share/keyrings`, where apt uses it only for sources that name it.
    pub(crate) fn mmdebstrap(&self, distro: &DistroId) -> Result<Command, Failure> {
        self.copy_keys(&tree::open(Path::new("/"))?, MACHINE_KEYS, |name| is_keyring_of(name, distro))?;
        let mut command = self.command("mmdebstrap")?;
        command.env_remove("APT_CONFIG");
        command.arg(format!("--keyring={}", self.sandbox_path.join(FOLDER).join(MACHINE_KEYS).display()));
        if !self.named.is_empty() {
            // Disables the machine's `trusted.gpg`.
            command.arg("--keyring=/dev/null");
        }
        Ok(command)
    }

    /// Returns a command for a program of this machine, working in the directory.
    pub(crate) fn command(&self, program: &str) -> Result<Command, Failure> {
        let mut command = family::of_machine(&self.folder, Network::Machine, program, FOLDER)?;
        command.env("APT_CONFIG", self.sandbox_path.join(FOLDER).join("apt.conf"));
        Ok(command)
    }

    /// Fetches one file into the directory, under the given name.
    pub(crate) fn file(&self, runner: &Runner<'_>, address: &str, name: &str) -> Result<(), Failure> {
        let mut command = self.command("/usr/lib/apt/apt-helper")?;
        command.args(["-q", "download-file", address]).arg(self.sandbox_path.join(name));
        runner.run(ImagePhase::Resolve, &mut command)
    }

    /// Fetches the package lists of the suites in [`SOURCES`], verified with the caller's keys, or else with the tree's
    /// own.
    pub(crate) fn update(&self, runner: &Runner<'_>, tree: &Path) -> Result<(), Failure> {
        // The directory also has keyrings of third parties, and keys that are no longer trusted.
        self.copy_keys(&tree::open(tree)?, KEYS, |name| name.contains("-archive-keyring"))?;
        let lists = self.folder.join(LISTS).join("partial");
        std::fs::create_dir_all(&lists).context("creating", &lists)?;
        let mut update = self.command("apt-get")?;
        update.args(["-q", "--error-on=any", "update"]);
        runner.run(ImagePhase::Install, &mut update)
    }

    /// Copies the keys that the caller names, or else those that a system trusts for archives and those of its accepted
    /// keyrings; links to keys are followed inside the system's tree.
    fn copy_keys(&self, root: &Root, to: &str, is_wanted: impl Fn(&str) -> bool) -> Result<(), Failure> {
        let keys = self.private.path().join(to);
        std::fs::create_dir_all(&keys).context("creating", &keys)?;
        for (n, file) in self.named.iter().enumerate() {
            let key = std::fs::read(file).context("reading the key", file)?;
            // apt relies on the extension, but the caller's file may have any name.
            let ending = if key.trim_ascii_start().starts_with(ARMOUR) { "asc" } else { "gpg" };
            let path = keys.join(format!("{n}.{ending}"));
            std::fs::write(&path, key).context("writing", &path)?;
        }
        if !self.named.is_empty() {
            return Ok(());
        }
        let counts = |folder: &Path, name: &str| folder.ends_with("trusted.gpg.d") || is_wanted(name);
        let is_key = |name: &String| name.ends_with(".gpg") || name.ends_with(".asc") || name.ends_with(".pgp");
        for folder in ["/etc/apt/trusted.gpg.d", "/usr/share/keyrings"].map(Path::new) {
            let names = root.list(folder).map_err(tree::failed)?;
            // apt ignores `.pgp` in `trusted.gpg.d`, although the format is the same as that of `.gpg`.
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
    pub(crate) fn packages(&self, runner: &Runner<'_>, downloads: &[Download]) -> Result<(), Failure> {
        folder::make(&self.folder.join(ARCHIVES).join("partial"))?;
        // One call for all of them would have too many arguments.
        for some in downloads.chunks(100) {
            let mut download = self.command("/usr/lib/apt/apt-helper")?;
            download.args(["-q", "download-file"]);
            for file in some {
                download.arg(&file.address).arg(self.sandbox_path.join(ARCHIVES).join(&file.name)).arg(&file.hash);
            }
            runner.run(ImagePhase::Install, &mut download)?;
        }
        Ok(())
    }
}

/// Returns whether a file of `/usr/share/keyrings` has the keys of a distro's archive.
fn is_keyring_of(name: &str, distro: &DistroId) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, _)| stem == format!("{distro}-archive-keyring"))
}

/// Returns a line of apt_auth.conf(5).
///
/// # Errors
/// If the format cannot express the login.
fn auth_line(login: &Login) -> Result<String, Failure> {
    login.check_readable_by("apt")?;
    if login.user.starts_with('#') {
        let reason = "a mirror's user must not begin with `#`: apt reads the line as a comment";
        return Err(ImageErrorKind::BadAddress { address: login.address.clone(), reason: reason.to_owned() }.into());
    }
    Ok(format!("machine {} login {} password {}\n", login.address, login.user, login.password))
}

/// Reads the tree's apt's output for `--print-uris`: only packages of these mirrors with plain names are accepted.
///
/// # Errors
/// If the tree's apt asks for anything else.
pub(crate) fn downloads(printed: &str, mirrors: &[String]) -> Result<Vec<Download>, Failure> {
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
        let is_from_mirror =
            mirrors.iter().any(|m| address.strip_prefix(m.as_str()).is_some_and(|path| path.starts_with('/')));
        let sound = plain(address, ":/._-+~%@=,") && plain(name, "._-+~%") && name.ends_with(".deb");
        if !is_from_mirror || !sound || !plain(hash, ":") {
            let what = one_line(&without_controls(address, 200), 200);
            let reason = "the release's apt asks for it, but its mirrors do not have it".to_owned();
            return Err(ImageErrorKind::BadAddress { address: what, reason }.into());
        }
        all.push(Download { address: address.to_owned(), name: name.to_owned(), hash: hash.to_owned() });
    }
    Ok(all)
}

/// Returns the addresses in a `sources.list` that this program wrote.
pub(crate) fn mirrors_of(sources: &str) -> Vec<String> {
    sources.lines().filter_map(|l| Some(l.strip_prefix("deb ")?.split(' ').next()?.to_owned())).collect()
}

/// Returns the credentials of the machine's own apt.
fn credentials_of_machine() -> String {
    let parts = std::fs::read_dir("/etc/apt/auth.conf.d").into_iter().flatten().flatten().map(|e| e.path());
    let mut files: Vec<PathBuf> = parts.filter(|p| p.extension().is_some_and(|e| e == "conf")).collect();
    files.sort();
    files.insert(0, PathBuf::from("/etc/apt/auth.conf"));
    files.iter().filter_map(|f| std::fs::read_to_string(f).ok()).map(|text| text + "\n").collect()
}

/// Returns the settings for fetching, which mmdebstrap's own apt reads, too.
fn acquire(settings: &AptSettings, sandbox_path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    for (key, value) in settings.all() {
        if value.contains(['"', '\n', '\r']) || key.contains(char::is_whitespace) {
            let (address, reason) = (key, "this machine's apt has a setting that cannot be copied".to_owned());
            return Err(ImageErrorKind::BadAddress { address, reason }.into());
        }
        text += &format!("{key} \"{value}\";\n");
    }
    // Namespaces confine apt, and its own user could not reach the directory.
    let sandbox = sandbox_path.display();
    text += "APT::Sandbox::User \"root\";\n";
    text += &format!("{PHASED} \"true\";\n");
    text += &format!("Dir::Etc::netrc \"{sandbox}/{FOLDER}/auth.conf\";\nDir::Etc::netrcparts \"/dev/null\";\n");
    Ok(text)
}

/// Returns apt's configuration, independent of the machine's: none of the machine's hooks, solvers and lists.
fn configuration(arch: Arch, sandbox_path: &Path) -> String {
    let (arch, sandbox) = (arch.debian_name(), sandbox_path.display());
    format!(
        "Dir::Etc::main \"/dev/null\";\n\
        Dir::Etc::parts \"/dev/null\";\n\
        Dir::Etc::preferences \"/dev/null\";\n\
        Dir::Etc::preferencesparts \"/dev/null\";\n\
        Dir::Etc::sourcelist \"{sandbox}/{SOURCES}\";\n\
        Dir::Etc::sourceparts \"/dev/null\";\n\
        Dir::Etc::trusted \"/dev/null\";\n\
        Dir::Etc::trustedparts \"{sandbox}/{FOLDER}/{KEYS}/\";\n\
        Dir::State \"{sandbox}/fetch/state\";\n\
        Dir::State::lists \"{sandbox}/{LISTS}\";\n\
        Dir::State::status \"/dev/null\";\n\
        Dir::Cache \"{sandbox}/fetch/cache\";\n\
        Dir::Log \"{sandbox}/fetch/log\";\n\
        APT::Architecture \"{arch}\";\n\
        APT::Architectures \"{arch}\";\n\
        #include \"{sandbox}/fetch/acquire.conf\";\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::credentials;

    #[test]
    fn only_packages_of_the_releases_mirrors_are_fetched() {
        let mirrors = ["http://mirror.example/debian".to_owned()];
        let parse = |text: &str| downloads(text, &mirrors);
        let good = "Reading package lists...\n'http://mirror.example/debian/pool/main/h/hello/hello_2.10-5%2bb1_amd64.deb' hello_2.10-5+b1_amd64.deb 53128 SHA256:00ff\n\
            'file:/var/cache/apt/archives/x_1_all.deb' x_1_all.deb 3 SHA256:00\n";
        let found = parse(good).unwrap();
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
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(mirrors_of("deb http://m.example/debian trixie main\n"), ["http://m.example/debian"]);
    }

    #[test]
    fn only_apts_keys_and_the_distros_keyrings_are_copied() {
        let machine = tempfile::tempdir().unwrap();
        for file in [
            "etc/apt/trusted.gpg.d/house.asc",
            "usr/share/keyrings/devuan-archive-keyring.pgp",
            "usr/share/keyrings/other-archive-keyring.gpg",
            "usr/share/keyrings/devuan-archive-removed-keys.gpg",
        ] {
            let path = machine.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let fetch = Fetch::new(folder.path(), &AptSettings::default(), &[], &[], Arch::X86_64).unwrap();
        let root = tree::open(machine.path()).unwrap();
        fetch.copy_keys(&root, MACHINE_KEYS, |name| is_keyring_of(name, &"devuan".parse().unwrap())).unwrap();
        let names = folder::names(&fetch.private.path().join(MACHINE_KEYS)).unwrap();
        assert_eq!(names, ["devuan-archive-keyring.gpg", "house.asc"]);
    }

    #[test]
    fn keys_in_the_options_replace_those_of_the_system() {
        let (machine, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let trusted = machine.path().join("etc/apt/trusted.gpg.d");
        std::fs::create_dir_all(&trusted).unwrap();
        std::fs::write(trusted.join("house.asc"), "of the machine").unwrap();
        // The file names do not match the contents.
        let [text, binary] = ["key", "key.asc"].map(|name| own.path().join(name));
        std::fs::write(&text, "\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n").unwrap();
        std::fs::write(&binary, b"\x99\x01").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let named = [text.clone(), binary];
        let fetch = Fetch::new(folder.path(), &AptSettings::default(), &[], &named, Arch::X86_64).unwrap();
        let root = tree::open(machine.path()).unwrap();
        fetch.copy_keys(&root, KEYS, |_| true).unwrap();
        assert_eq!(folder::names(&fetch.private.path().join(KEYS)).unwrap(), ["0.asc", "1.gpg"]);
        std::fs::remove_file(&text).unwrap();
        let error = fetch.copy_keys(&root, KEYS, |_| true).unwrap_err().cause.to_string();
        assert!(error.contains(&text.display().to_string()), "{error}");
    }

    #[test]
    fn credentials_that_auth_conf_cannot_express_are_refused() {
        let line = |url| auth_line(&credentials::split(url).unwrap().1.unwrap());
        let expected = "machine https://mirror.example:8080/debian login a@b password p:w\"\n";
        assert_eq!(line("https://a%40b:p%3aw%22@mirror.example:8080/debian").unwrap(), expected);
        assert!(line("http://user:p%20w@h/").unwrap_err().cause.to_string().contains("apt cannot read them"));
        assert!(line("http://%23user:pw@h/").unwrap_err().cause.to_string().contains("begin with `#`"));
    }

    #[test]
    fn credentials_are_in_a_private_folder_that_is_removed() {
        use std::os::unix::fs::MetadataExt as _;
        let desk = tempfile::tempdir().unwrap();
        let login = credentials::split("http://user:pw@mirror.example/debian").unwrap().1.unwrap();
        let fetch = Fetch::new(desk.path(), &AptSettings::default(), &[login], &[], Arch::X86_64).unwrap();
        let folder = desk.path().join(FOLDER);
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700);
        let auth = folder.join("auth.conf");
        assert_eq!(auth.metadata().unwrap().mode() & 0o777, 0o600);
        let settings = std::fs::read_to_string(folder.join("acquire.conf")).unwrap();
        assert!(settings.contains("APT::Get::Always-Include-Phased-Updates \"true\";\n"), "{settings}");
        let text = std::fs::read_to_string(&auth).unwrap();
        assert!(text.starts_with("machine http://mirror.example/debian login user password pw\n"), "{text}");
        drop(fetch);
        assert!(!folder.exists());
    }
}
