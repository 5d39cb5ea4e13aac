//! Search for the configuration that Kata actually reads.

use super::located::LocatedConfiguration;
use super::{MergedConfiguration, containerd, copy};
use model::kata_version::KataVersion;
use model::profile::Runtime;
use root::{Root, RootError};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use toml_edit::DocumentMut;

/// Paths that the Go runtime searches: the system's file, then that of the prefix it was built for.
///
/// `GetDefaultConfigFilePaths` in `src/runtime/pkg/katautils/config.go@3.30.0`, with the paths of
/// `src/runtime/Makefile@3.30.0` for the prefixes `/usr` and `/opt/kata`, and those of Fedora's package.
const GO: &[&str] = &[
    "/etc/kata-containers/configuration.toml",
    "/usr/share/defaults/kata-containers/configuration.toml",
    "/opt/kata/share/defaults/kata-containers/configuration.toml",
    "/usr/share/kata-containers/defaults/configuration.toml",
];

/// Paths that the Rust runtime searches, in this order: `src/libs/kata-types/src/config/default.rs@4.0.0`.
const RS: &[&str] = &[
    "/etc/kata-containers/runtime-rs/configuration.toml",
    "/usr/share/defaults/kata-containers/runtime-rs/configuration.toml",
    "/opt/kata/share/defaults/kata-containers/runtime-rs/configuration.toml",
];

/// Reasons why no configuration was found.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The named file does not exist.
    #[error("no Kata configuration at {0}: give the file that Kata reads with --kata-config")]
    Missing(PathBuf),
    /// The source of a copy does not exist any more.
    #[error(
        "{copy} is kata-osinfo's copy of {of}, which no longer exists: run `kata-osinfo unconfigure`, then configure again"
    )]
    SourceGone {
        /// The copy.
        copy: PathBuf,
        /// The source of the copy.
        of: PathBuf,
    },
    /// None of the runtime's paths exists.
    #[error("no Kata configuration at {}: install Kata first, or give the file with --kata-config", .0.join(", "))]
    Nowhere(Vec<&'static str>),
    /// containerd's handlers name different configurations.
    #[error("containerd's Kata handlers read {}: choose one with --kata-config", .0.join(", "))]
    Several(Vec<String>),
    /// A link or directory on the way cannot be followed.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Finds the configuration that a runtime reads: the one that is named, containerd's `ConfigPath`, or the first of the
/// runtime's own list.
///
/// # Errors
///
/// There is none, containerd's handlers of this runtime name several, or one of these paths cannot be examined.
pub fn locate(root: &Root, runtime: Runtime, named: Option<&Path>) -> Result<LocatedConfiguration, LocateError> {
    let searched = search(root, runtime);
    let mut unread = |_: &Path, error: RootError| Err(error);
    let places = containerd::each(root, &mut unread)?;
    let handlers = containerd::config_paths(&containerd::read_files(root, &places, &mut unread)?);
    let mut paths: Vec<String> = handlers.into_iter().filter(|(of, _)| *of == runtime).map(|(_, path)| path).collect();
    paths.sort();
    paths.dedup();
    if let Some(named) = named {
        let located = located_at(root, named, "--kata-config")?;
        let found = paths.is_empty() && searched.is_ok_and(|s| s.path == located.path);
        return Ok(LocatedConfiguration { searched: found, ..located });
    }
    match paths.as_slice() {
        [] => searched,
        [one] => located_at(root, Path::new(one), "containerd's ConfigPath"),
        _ => Err(LocateError::Several(paths)),
    }
}

/// Returns the first existing file of the runtime's own list.
fn search(root: &Root, runtime: Runtime) -> Result<LocatedConfiguration, LocateError> {
    let places = match runtime {
        Runtime::Go => GO,
        Runtime::Rs => RS,
    };
    let found = root.first_file(places.iter().map(Path::new))?;
    let Some(first) = found else { return Err(LocateError::Nowhere(places.to_vec())) };
    let mut located = LocatedConfiguration { searched: true, ..located_at(root, first, "the runtime's own search")? };
    // The Rust runtime has one fixed order, and the file in /etc always comes first; among Go's prefixes the build
    // decides.
    if runtime == Runtime::Go && located.named == first && first != Path::new(places[0]) {
        for place in places.iter().map(Path::new).skip_while(|place| *place != first).skip(1) {
            if root.has_file(place)? {
                located.others.push(place.to_owned());
            }
        }
    }
    Ok(located)
}

/// Returns all paths that either runtime searches.
pub(super) fn places() -> impl Iterator<Item = &'static Path> {
    GO.iter().chain(RS).map(Path::new)
}

/// Returns the path that the runtime searches first.
pub(super) fn first_place(runtime: Runtime) -> &'static Path {
    Path::new(match runtime {
        Runtime::Go => GO[0],
        Runtime::Rs => RS[0],
    })
}

/// Returns the configuration at a path, or the source if the file is a copy made by this program.
fn located_at(root: &Root, named: &Path, by: &str) -> Result<LocatedConfiguration, LocateError> {
    if !root.has_file(named)? {
        return Err(LocateError::Missing(named.to_owned()));
    }
    let path = root.resolve_new(named)?;
    let named = match copy::source(&root.utf8(&path)?) {
        Some(source) if !root.has_file(&source)? => return Err(LocateError::SourceGone { copy: path, of: source }),
        Some(source) => source,
        None => named.to_owned(),
    };
    let path = root.resolve_new(&named)?;
    Ok(LocatedConfiguration { named, path, by: by.to_owned(), others: Vec::new(), searched: false })
}

/// A configuration in the same directory as another one, with which it shares its drop-ins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sibling {
    /// The path of the configuration.
    pub path: PathBuf,
    /// Whether it is also for ordinary guests of QEMU, and not for another VMM or for confidential guests.
    pub alike: bool,
}

/// Returns other configurations in the same directory, merged with others' drop-ins but without kata-osinfo's.
///
/// # Errors
///
/// The directory, one of the configurations or their drop-ins cannot be read.
pub fn siblings(
    root: &Root,
    located: &LocatedConfiguration,
    runtime: Runtime,
    kata: KataVersion,
) -> Result<Vec<Sibling>, RootError> {
    let Some(folder) = located.path.parent() else { return Ok(Vec::new()) };
    let is_one = |text: &String| text.parse::<DocumentMut>().is_ok_and(|d| d.get("hypervisor").is_some());
    let mut siblings = Vec::new();
    for name in root.list_if_any(folder)?.iter().filter(|n| n.starts_with("configuration") && n.ends_with(".toml")) {
        let path = folder.join(name);
        // Links to other configurations are skipped, because their targets are listed.
        if root.resolve_new(&path).is_ok_and(|p| p != located.path && p == path)
            && let Some(text) = root.text_if_any(&path)?.filter(is_one)
        {
            let named = path.clone();
            let it = LocatedConfiguration { named, path, by: String::new(), others: Vec::new(), searched: false };
            let merged = MergedConfiguration::of_others(root, &it, (runtime, kata), &text)?;
            let shared = merged.get(&["hypervisor", "qemu", "shared_fs"]).and_then(Value::as_str);
            let alike = merged.is_of_qemu() && merged.confidential().is_none() && shared != Some("none");
            siblings.push(Sibling { path: it.path, alike });
        }
    }
    Ok(siblings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const QEMU: &str = "[hypervisor.qemu]\npath = \"/usr/bin/q\"\n";

    #[test]
    fn go_reads_etc_first_and_drop_ins_lie_beside_the_real_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let error = locate(&root, Runtime::Go, None).unwrap_err().to_string();
        assert!(error.contains("install Kata first"), "{error}");
        let opt = dir.path().join("opt/kata/share/defaults/kata-containers");
        std::fs::create_dir_all(&opt).unwrap();
        for name in ["configuration-qemu.toml", "configuration-qemu-snp.toml"] {
            std::fs::write(opt.join(name), QEMU).unwrap();
        }
        std::fs::write(opt.join("configuration-clh.toml"), "[hypervisor.clh]\n").unwrap();
        symlink("configuration-qemu.toml", opt.join("configuration.toml")).unwrap();
        let located = locate(&root, Runtime::Go, None).unwrap();
        assert_eq!(located.drop_ins(), Path::new("/opt/kata/share/defaults/kata-containers/config.d"));
        assert!(located.path.ends_with("configuration-qemu.toml"));
        std::fs::write(opt.join("configuration-qemu-snp.toml"), format!("{QEMU}confidential_guest = true\n")).unwrap();
        std::fs::write(opt.join("configuration-qemu-two.toml"), QEMU).unwrap();
        std::fs::write(opt.join("configuration-note.toml"), "x = 1\n").unwrap();
        let others = || -> Vec<(PathBuf, bool)> {
            let siblings = siblings(&root, &located, Runtime::Go, KataVersion::new(3, 30, 0)).unwrap();
            siblings.into_iter().map(|s| (s.path.file_name().unwrap().into(), s.alike)).collect()
        };
        let expected = |of_qemu| {
            let names = ["configuration-clh.toml", "configuration-qemu-snp.toml", "configuration-qemu-two.toml"];
            names.map(PathBuf::from).into_iter().zip([false, false, of_qemu]).collect::<Vec<_>>()
        };
        assert_eq!(others(), expected(true));
        // Drop-ins of others decide what a configuration is for; kata-osinfo's does not.
        std::fs::create_dir(opt.join("config.d")).unwrap();
        std::fs::write(opt.join("config.d/50-kata-osinfo.toml"), "[hypervisor.qemu]\nshared_fs = \"none\"\n").unwrap();
        assert_eq!(others(), expected(true));
        std::fs::write(opt.join("config.d/10.toml"), "[hypervisor.qemu]\nsev_snp_guest = true\n").unwrap();
        assert_eq!(others(), expected(false));
        std::fs::create_dir_all(dir.path().join("etc/kata-containers")).unwrap();
        std::fs::write(dir.path().join("etc/kata-containers/configuration.toml"), QEMU).unwrap();
        let located = locate(&root, Runtime::Go, None).unwrap();
        assert_eq!(located.path, Path::new("/etc/kata-containers/configuration.toml"));
        assert!(matches!(locate(&root, Runtime::Rs, None), Err(LocateError::Nowhere(_))));
    }

    #[test]
    fn the_path_that_containerd_names_precedes_the_default_list() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        std::fs::create_dir_all(dir.path().join("etc/containerd")).unwrap();
        std::fs::create_dir_all(dir.path().join("k")).unwrap();
        std::fs::write(dir.path().join("k/go.toml"), QEMU).unwrap();
        let handler = |name: &str, path: &str| {
            format!(
                "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{name}]\nruntime_type = \"io.containerd.kata.v2\"\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{name}.options]\nConfigPath = \"{path}\"\n"
            )
        };
        let config = dir.path().join("etc/containerd/config.toml");
        std::fs::write(&config, format!("version = 2\n{}", handler("kata", "/k/go.toml"))).unwrap();
        assert_eq!(locate(&root, Runtime::Go, None).unwrap().path, Path::new("/k/go.toml"));
        // Two handlers of the Go runtime, because neither path contains runtime-rs.
        let two = format!("version = 2\n{}{}", handler("a", "/k/go.toml"), handler("b", "/k/other.toml"));
        std::fs::write(&config, two).unwrap();
        assert!(matches!(locate(&root, Runtime::Go, None), Err(LocateError::Several(_))));
        // The shim distinguishes the runtimes, too.
        let rust = handler("b", "/k/other.toml")
            .replace("\nruntime_type", "\nruntime_path = \"/opt/kata/runtime-rs/bin/s\"\nruntime_type");
        std::fs::write(&config, format!("version = 2\n{}{rust}", handler("a", "/k/go.toml"))).unwrap();
        assert_eq!(locate(&root, Runtime::Go, None).unwrap().path, Path::new("/k/go.toml"));
        assert!(
            matches!(locate(&root, Runtime::Rs, None), Err(LocateError::Missing(p)) if p == Path::new("/k/other.toml"))
        );
        let named = locate(&root, Runtime::Go, Some(Path::new("/k/go.toml"))).unwrap();
        assert_eq!(named.by, "--kata-config");
        assert!(matches!(locate(&root, Runtime::Go, Some(Path::new("/k/no"))), Err(LocateError::Missing(_))));
    }
}
