//! The base tree by the distro family's own tool: `mmdebstrap` for Debian and Ubuntu.

use crate::apt::Apt;
use crate::command::{Network, Runner, contained};
use crate::error::{Cause, Context, Failure, Phase};
use crate::mirror::{self, Mirrors};
use kata_osinfo::release::{Archive, Release};
use std::path::Path;

/// Whether this machine has the tool.
pub(crate) fn available() -> bool {
    crate::install::in_path("mmdebstrap")
}

/// The mirrors that `mmdebstrap` takes when it is told none: it writes a `sources.list`, nothing is downloaded.
pub(crate) fn default_mirrors(runner: &Runner<'_>, release: &Release, scratch: &Path) -> Result<Mirrors, Failure> {
    let Some(suite) = release.suites.iter().find(|s| s.archive == Archive::Main) else {
        return Err(Cause::RecordLacks { what: "suite".to_owned(), source_kind: "bootstrap".to_owned() }.into());
    };
    let target = scratch.join("skeleton");
    let mut command = contained(None, Network::Machine, "mmdebstrap")?;
    command
        .env("LC_ALL", "C")
        .args(["--mode=root", "--variant=custom", "--format=directory"])
        .args(["--skip=update,download,extract,cleanup,check/signed-by", &suite.name])
        .arg(&target);
    runner.run(Phase::Resolve, &mut command)?;
    let list = target.join("etc/apt/sources.list");
    let text = std::fs::read_to_string(&list).context("reading", &list)?;
    Ok(mirror::of_list(&text, &release.distro))
}

/// `deb` lines for the release's suites.
pub(crate) fn sources(release: &Release, mirrors: &Mirrors) -> Vec<String> {
    let line = |suite: &kata_osinfo::release::PackageSuite| {
        let mirror = mirrors.get(suite.archive)?;
        Some(format!("deb {mirror} {} {}", suite.name, suite.components.join(" ")))
    };
    release.suites.iter().filter_map(line).collect()
}

/// Makes the base tree: essential packages and apt, with the package lists kept for the next step.
pub(crate) fn bootstrap(
    runner: &Runner<'_>,
    release: &Release,
    mirrors: &Mirrors,
    apt: &Apt,
    tree: &Path,
) -> Result<(), Failure> {
    let mut command = contained(None, Network::Machine, "mmdebstrap")?;
    command
        .env("LC_ALL", "C")
        .args(["--mode=root", "--variant=minbase", "--format=directory"])
        // The lists are needed at once for the native packages: fetching them again would double the download.
        .arg("--skip=cleanup/apt/lists")
        .arg(format!("--architectures={}", release.arch.debian_name()))
        .arg("--dpkgopt=force-unsafe-io");
    for (key, value) in apt.settings() {
        command.arg(format!("--aptopt={key} \"{value}\""));
    }
    command.arg("").arg(tree).args(sources(release, mirrors));
    runner.run(Phase::Bootstrap, &mut command)?;
    // Settings for the bootstrap, not for the release.
    for file in ["etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"] {
        let _ = std::fs::remove_file(tree.join(file));
    }
    // mmdebstrap copies these from the machine.
    for (file, text) in [("etc/resolv.conf", ""), ("etc/hostname", release.distro.as_str())] {
        let path = tree.join(file);
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, format!("{text}\n").trim_start()).context("writing", &path)?;
    }
    Ok(())
}
