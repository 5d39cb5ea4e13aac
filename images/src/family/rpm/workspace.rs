//! This machine's dnf, working in an image's directory: on repositories of its own, and on a copy of a tree's database.
//!
//! dnf may write only to the image's directory, and only dnf gets credentials: they are in a directory for root that is
//! removed with [`Workspace`], and in no argument and no tree.
//! The machine's plugins and repositories of dnf are not used.

use crate::error::{Context as _, Failure};
use crate::family::folder::PrivateFolder;
use crate::family::{self, credentials::Login, installed};
use crate::progress::ImagePhase;
use crate::runner::Runner;
use crate::tree;
use model::release::Release;
use operator::installer::DNF_QUIETLY;
use operator::os_release::OsRelease;
use operator::packages::rpm;
use operator::process::sandbox::Network;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the program.
pub(super) const PROGRAM: &str = "dnf";

/// Directory below the image's directory for settings and credentials.
const FOLDER: &str = "fetch";
/// Directory that is kept next to the tree, for candidates and disks derived from it.
pub(super) const KEPT: &str = "dnf";
pub(super) const KEYS: &str = "dnf/keys";
pub(super) const VARIABLES: &str = "dnf/vars";
pub(super) const REPOSITORIES: &str = "dnf/repositories.repo";
pub(super) const CACHE: &str = "dnf/cache";

/// Size limit of a file that enables a stream of a module, in bytes, and the directory of these files.
const MAX_MODULE: u64 = 1 << 16;
pub(super) const MODULES: &str = "/etc/dnf/modules.d";

/// The machine's dnf.
pub(super) struct Workspace {
    folder: PathBuf,
    /// Path at which its programs see that directory.
    sandbox_path: PathBuf,
    /// Settings, credentials and a copy of the tree's database.
    private: PrivateFolder,
    version: String,
}

/// Returns the value of `$releasever` in addresses: the record's number, or else the version in the system's
/// os-release.
pub(super) fn release_version(release: &Release, os: &OsRelease) -> String {
    let is_number = release.version.as_str().starts_with(|c: char| c.is_ascii_digit());
    os.get("VERSION_ID").filter(|_| !is_number).unwrap_or(release.version.as_str()).to_owned()
}

impl Workspace {
    /// Writes the settings into the directory, which has the repositories already; without a tree, dnf sees no
    /// installed packages.
    pub(super) fn new(
        folder: &Path,
        logins: &[Login],
        release: &Release,
        tree: Option<&Path>,
    ) -> Result<Workspace, Failure> {
        let os = tree.map(tree::open).transpose()?.and_then(|root| OsRelease::read(&root).ok()).unwrap_or_default();
        let workspace = Workspace {
            folder: folder.to_owned(),
            sandbox_path: family::sandbox_path(folder),
            private: PrivateFolder::make(folder.join(FOLDER))?,
            version: release_version(release, &os),
        };
        let private = workspace.private.path();
        let database = private.join("root/var/lib/rpm");
        for folder in [&database, &private.join("repos.d"), &private.join(format!("root{MODULES}"))] {
            std::fs::create_dir_all(folder).context("creating", folder)?;
        }
        // By default Debian's rpm has its database in the user's home.
        workspace.private.write(".rpmmacros", "%_dbpath /var/lib/rpm\n")?;
        workspace.private.write("dnf.conf", &configuration(release))?;
        let path = folder.join(REPOSITORIES);
        let repositories = std::fs::read_to_string(&path).context("reading", &path)?;
        workspace.private.write("repos.d/release.repo", &with_logins(&repositories, logins)?)?;
        if let Some(tree) = tree {
            workspace.look_at(tree, &database)?;
        }
        Ok(workspace)
    }

    /// Copies the parts of a tree that dnf needs: its package database, and the enabled modules.
    fn look_at(&self, tree: &Path, database: &Path) -> Result<(), Failure> {
        let root = tree::open(tree)?;
        rpm::copy_to(&root, database).map_err(installed::query_failure)?;
        for name in root.list(Path::new(MODULES)).map_err(tree::failed)?.iter().filter(|n| n.ends_with(".module")) {
            let content = root.read(&Path::new(MODULES).join(name), MAX_MODULE).map_err(tree::failed)?;
            let path = self.private.path().join(format!("root{MODULES}")).join(name);
            std::fs::write(&path, content).context("writing", &path)?;
        }
        Ok(())
    }

    /// Returns a path of the image's directory as its programs see it.
    pub(super) fn sandbox_path(&self, name: &str) -> PathBuf {
        self.sandbox_path.join(name)
    }

    /// Returns a command for a program of this machine, working in the directory.
    pub(super) fn command(&self, network: Network, program: &str) -> Result<Command, Failure> {
        family::of_machine(&self.folder, network, program, FOLDER)
    }

    /// Returns a command of dnf; without a network it uses what it has already fetched.
    pub(super) fn dnf(&self, network: Network) -> Result<Command, Failure> {
        let mut dnf = self.command(network, PROGRAM)?;
        let private = self.sandbox_path.join(FOLDER);
        dnf.arg(format!("--config={}", private.join("dnf.conf").display()));
        dnf.arg(format!("--installroot={}", private.join("root").display()));
        dnf.arg(format!("--setopt=reposdir={}", private.join("repos.d").display()));
        dnf.arg(format!("--setopt=varsdir={}", self.sandbox_path(VARIABLES).display()));
        dnf.arg(format!("--setopt=cachedir={}", self.sandbox_path(CACHE).display()));
        dnf.arg(format!("--releasever={}", self.version)).arg("--assumeyes").args(DNF_QUIETLY);
        if network == Network::None {
            dnf.arg("--cacheonly");
        }
        Ok(dnf)
    }

    /// Fetches the current indexes; dnf verifies each part by its hash, and the whole if it is signed.
    pub(super) fn refresh(&self, runner: &Runner<'_>) -> Result<(), Failure> {
        runner.run(ImagePhase::Resolve, self.dnf(Network::Machine)?.args(["makecache", "--refresh"]))
    }

    /// Enables modules, as a system would; returns the files that record this.
    pub(super) fn enable(
        &self,
        runner: &Runner<'_>,
        network: Network,
        modules: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        if modules.is_empty() {
            return Ok(Vec::new());
        }
        runner.run(ImagePhase::Install, self.dnf(network)?.args(["module", "enable"]).args(modules))?;
        let root = tree::open(&self.private.path().join("root"))?;
        let folder = Path::new(MODULES);
        let names = root.list(folder).map_err(tree::failed)?;
        let read = |name: String| -> Result<(String, Vec<u8>), Failure> {
            let content = root.read(&folder.join(&name), MAX_MODULE).map_err(tree::failed)?;
            Ok((name, content))
        };
        names.into_iter().filter(|name| name.ends_with(".module")).map(read).collect()
    }
}

/// Returns dnf's configuration: only the release's packages, the newest available, all of them signed.
fn configuration(release: &Release) -> String {
    let mut text = "[main]\nplugins=0\ngpgcheck=1\nlocalpkg_gpgcheck=0\nbest=1\nobsoletes=1\nskip_if_unavailable=0\n\
        deltarpm=0\nzchunk=0\nkeepcache=1\nretries=3\ntimeout=30\n"
        .to_owned();
    // A system's own package sets this, too, but a bootstrap does not have that package yet.
    if let Some(platform) = &release.module_platform {
        text += &format!("module_platform_id=platform:{platform}\n");
    }
    text
}

/// Adds credentials to the repositories that need them.
///
/// # Errors
/// If dnf's configuration cannot express them.
fn with_logins(repositories: &str, logins: &[Login]) -> Result<String, Failure> {
    let mut text = String::new();
    for line in repositories.lines() {
        text.extend([line, "\n"]);
        let address = line.strip_prefix("baseurl=");
        for login in logins.iter().filter(|login| address == Some(login.address.as_str())) {
            login.check_readable_by("dnf")?;
            text += &format!("username={}\npassword={}\n", login.user, login.password);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::credentials;
    use model::arch::Arch;
    use model::database::Database;

    #[test]
    fn credentials_are_written_only_for_their_repository() {
        let login = |url: &str| credentials::split(url).unwrap().1.unwrap();
        let repositories = "[a]\nbaseurl=http://a.example/os\n\n[b]\nbaseurl=http://b.example/os\n";
        let text = with_logins(repositories, &[login("http://me:pw@b.example/os")]).unwrap();
        assert_eq!(text, format!("{repositories}username=me\npassword=pw\n"));
        assert!(with_logins(repositories, &[login("http://me:p%20w@a.example/os")]).is_err());
    }

    #[test]
    fn credentials_are_in_a_private_folder_that_is_removed() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(KEPT)).unwrap();
        std::fs::write(dir.path().join(REPOSITORIES), "[a]\nbaseurl=http://a.example/os\n").unwrap();
        let login = credentials::split("http://me:secret@a.example/os").unwrap().1.unwrap();
        let workspace = Workspace::new(dir.path(), &[login], &crate::fixtures::release("9", "-"), None).unwrap();
        let private = dir.path().join(FOLDER);
        assert_eq!(private.metadata().unwrap().mode() & 0o777, 0o700);
        let file = private.join("repos.d/release.repo");
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(file).unwrap().ends_with("username=me\npassword=secret\n"));
        drop(workspace);
        assert!(!private.exists());
    }

    #[test]
    fn the_release_version_is_a_number_even_for_rawhide() {
        let os = OsRelease::parse("VERSION_ID=45\n");
        let version_of = |version: &str| release_version(&crate::fixtures::release(version, "-"), &os);
        assert_eq!([version_of("9"), version_of("rawhide")], ["9", "45"]);
    }

    #[test]
    fn the_module_platform_of_the_record_is_configured() {
        let database = Database::embedded();
        let mut with_modules = 0;
        for record in database.records() {
            for entry in &record.releases {
                let release = record.release(&entry.version, record.release_arches(entry)[0]).unwrap();
                with_modules += usize::from(!release.modules.is_empty());
                let is_configured = configuration(&release).contains("\nmodule_platform_id=platform:");
                assert!(release.modules.is_empty() || is_configured, "{}", release.name());
            }
        }
        assert!(with_modules >= 4, "only {with_modules} releases have modules");
        let configuration_of = |distro: &str, version: &str| {
            configuration(&database.record(distro).unwrap().release(version, Arch::X86_64).unwrap())
        };
        // Oracle's modules are RHEL's, and so is their platform.
        assert!(configuration_of("ol", "8").ends_with("\nmodule_platform_id=platform:el8\n"));
        assert!(configuration_of("centos", "stream9").ends_with("\nmodule_platform_id=platform:el9\n"));
        assert!(configuration_of("fedora", "43").ends_with("\nmodule_platform_id=platform:f43\n"));
        assert!(!configuration(&crate::fixtures::release("9", "-")).contains("platform"));
    }
}
