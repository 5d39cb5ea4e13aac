//! Kubernetes distributions that ship a containerd of their own: the files that it reads, and signs of the
//! distribution.

use super::super::state::is_plain;
use model::syntax::out_of_bounds;
use root::{PATH, Root, RootError};
use serde_yaml::Mapping;
use std::path::{Path, PathBuf};

/// Path of the file that the containerd of k3s or RKE2 reads first, below their data directory.
const BELOW_DATA: &str = "agent/etc/containerd/config.toml";

/// Directories with services that may start a distribution.
const SERVICES: [&str; 4] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/etc/init.d"];

/// The owner of a containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ContainerdOwner {
    /// The machine's own.
    Machine,
    /// k0s.
    K0s,
    /// k3s.
    K3s,
    /// MicroK8s.
    Microk8s,
    /// RKE2.
    Rke2,
}

impl ContainerdOwner {
    /// Returns the name of the owner's program.
    pub(super) fn name(self) -> &'static str {
        match self {
            ContainerdOwner::Machine => "containerd",
            ContainerdOwner::K0s => "k0s",
            ContainerdOwner::K3s => "k3s",
            ContainerdOwner::Microk8s => "microk8s",
            ContainerdOwner::Rke2 => "rke2",
        }
    }
}

/// A Kubernetes distribution.
#[derive(Debug)]
pub(super) struct Distribution {
    /// The owner of its containerd.
    pub(super) owner: ContainerdOwner,
    /// The file that its containerd reads first, or from which that file is generated; for k3s and RKE2 in the default
    /// data directory.
    pub(super) main: &'static str,
    /// Signs of the distribution: files that it reads or leaves behind, the clearest first.
    traces: &'static [&'static str],
}

/// All known distributions.
///
/// `get_containerd_paths` in `tools/packaging/kata-deploy/binary/src/config.rs` and `containerdConfPath` in
/// `helm-chart/kata-deploy/templates/_helpers.tpl` at Kata 4.1.0, and for k0s its own `docs/runtime.md` at 1.36.
pub(super) const ALL: &[Distribution] = &[
    Distribution {
        owner: ContainerdOwner::K3s,
        main: "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
        traces: &["/etc/rancher/k3s/config.yaml", "/etc/rancher/k3s", "/var/lib/rancher/k3s"],
    },
    Distribution {
        owner: ContainerdOwner::Rke2,
        main: "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
        traces: &["/etc/rancher/rke2/config.yaml", "/etc/rancher/rke2", "/var/lib/rancher/rke2"],
    },
    Distribution {
        owner: ContainerdOwner::K0s,
        main: "/etc/k0s/containerd.toml",
        traces: &["/etc/k0s", "/var/lib/k0s"],
    },
    Distribution {
        owner: ContainerdOwner::Microk8s,
        main: "/var/snap/microk8s/current/args/containerd-template.toml",
        traces: &["/var/snap/microk8s"],
    },
];

/// Reasons why a configuration file of k3s or RKE2 is not evaluated.
#[derive(Debug, thiserror::Error)]
pub(super) enum StatedError {
    /// The text exceeds the limits for parsing.
    #[error("{} {why}, more than kata-osinfo reads", .file.display())]
    OutOfBounds {
        /// The file.
        file: PathBuf,
        /// The exceeded limit, as a phrase that follows the file's name.
        why: String,
    },
    /// The file is not a YAML map.
    #[error("{} is not a YAML map", .file.display())]
    NoMap {
        /// The file.
        file: PathBuf,
    },
}

/// Reasons why it is unknown which file a distribution's containerd reads first.
#[derive(Debug, thiserror::Error)]
pub(super) enum MainError {
    /// A file that may set the data directory is not evaluated.
    #[error("{0}: fix the file, because it can set the data directory")]
    NotEvaluated(StatedError),
    /// The data directory in a file is not a plain absolute path.
    #[error("the value of {key} in {} is not a plain absolute path: fix it", .file.display())]
    NoPath {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
    },
}

impl Distribution {
    /// Returns the file that its containerd reads first, or from which that file is generated; or why its place is
    /// unknown.
    ///
    /// # Errors
    ///
    /// One of the files that may set the data directory cannot be read.
    pub(super) fn main(&self, root: &Root) -> Result<Result<PathBuf, MainError>, RootError> {
        let Some(default) = self.main.strip_suffix(BELOW_DATA) else { return Ok(Ok(PathBuf::from(self.main))) };
        let stated = match stated(root, self.owner)? {
            Ok(stated) => stated,
            Err(why) => return Ok(Err(MainError::NotEvaluated(why))),
        };
        let mut data = PathBuf::from(default);
        for (file, keys) in stated {
            for (key, value) in &keys {
                let Some(key) = named(key).filter(|key| ["data-dir", "d"].contains(key)) else { continue };
                data = match value.as_str() {
                    None if value.is_null() => PathBuf::from(default),
                    Some("") => PathBuf::from(default),
                    Some(path) if is_plain(Path::new(path)) => PathBuf::from(path),
                    _ => return Ok(Err(MainError::NoPath { file, key: key.to_owned() })),
                };
            }
        }
        Ok(Ok(data.join(BELOW_DATA)))
    }

    /// Returns the first sign of the distribution: its program, a service, its configuration or its data.
    ///
    /// # Errors
    ///
    /// One of the possible places cannot be searched.
    pub(super) fn sign(&self, root: &Root) -> Result<Option<PathBuf>, RootError> {
        let name = self.owner.name();
        // k3s' choice if /usr/local is not writable, the directory of RKE2's archive, and snapd's.
        let others = ["/opt/bin".to_owned(), format!("/opt/{name}/bin"), "/snap/bin".to_owned()];
        for folder in PATH.split(':').map(str::to_owned).chain(others) {
            let program = Path::new(&folder).join(name);
            if root.has_file(&program)? {
                return Ok(Some(program));
            }
        }
        for folder in SERVICES {
            for pattern in [format!("{folder}/{name}*"), format!("{folder}/snap.{name}.*")] {
                if let Some(service) = root.glob(&pattern)?.into_iter().next() {
                    return Ok(Some(service));
                }
            }
        }
        for trace in self.traces {
            if root.look(Path::new(trace))?.is_some() {
                return Ok(Some(PathBuf::from(trace)));
            }
        }
        Ok(None)
    }
}

/// Returns the settings of k3s or RKE2, file by file: `config.yaml`, then the files in `config.yaml.d`, of which the
/// last one counts (`readConfigFile` in `pkg/configfilearg/parser.go` of k3s); or why one of them is not evaluated.
fn stated(root: &Root, owner: ContainerdOwner) -> Result<Result<Vec<(PathBuf, Mapping)>, StatedError>, RootError> {
    let config = PathBuf::from(format!("/etc/rancher/{}/config.yaml", owner.name()));
    let folder = config.with_file_name("config.yaml.d");
    let names = root.list_if_any(&folder)?;
    let is_read = |name: &&String| [".yaml", ".yml"].iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    let drop_ins = names.iter().filter(is_read).map(|name| folder.join(name));
    let mut all = Vec::new();
    for file in [config].into_iter().chain(drop_ins) {
        let Some(text) = root.text_if_any(&file)? else { continue };
        if let Some(why) = out_of_bounds(&text) {
            return Ok(Err(StatedError::OutOfBounds { file, why }));
        }
        // The parser's own message may quote a token.
        let Ok(keys) = serde_yaml::from_str::<Option<Mapping>>(&text) else {
            return Ok(Err(StatedError::NoMap { file }));
        };
        all.extend(keys.map(|keys| (file, keys)));
    }
    Ok(Ok(all))
}

/// Returns a key's name without a final `+`, which appends to earlier values.
fn named(key: &serde_yaml::Value) -> Option<&str> {
    key.as_str().map(|key| key.strip_suffix('+').unwrap_or(key))
}

/// Returns the handler that k3s or RKE2 is configured to use by default, with the file that sets it.
///
/// # Errors
///
/// One of these files cannot be read.
pub(super) fn default_runtime(root: &Root, owner: ContainerdOwner) -> Result<Option<(PathBuf, String)>, RootError> {
    let mut found = None;
    // The search for the main file reports a file that is no YAML.
    for (file, keys) in stated(root, owner)?.unwrap_or_default() {
        for (_, value) in keys.iter().filter(|(key, _)| named(key) == Some("default-runtime")) {
            found = value.as_str().map(|name| (file.clone(), name.to_owned()));
        }
    }
    Ok(found)
}

/// Returns the distribution whose containerd reads a file first; `None` if there is none.
///
/// # Errors
///
/// A distribution's configuration cannot be read.
pub(super) fn reader(root: &Root, main: &Path) -> Result<Option<ContainerdOwner>, RootError> {
    for distribution in ALL {
        if Path::new(distribution.main) == main || distribution.main(root)?.is_ok_and(|path| path == main) {
            return Ok(Some(distribution.owner));
        }
    }
    // The data directory may have been set on the command line.
    let of_data = main.ends_with(BELOW_DATA);
    let is_rke2 = main.iter().any(|name| name == "rke2");
    Ok(of_data.then_some(if is_rke2 { ContainerdOwner::Rke2 } else { ContainerdOwner::K3s }))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Files<'a> = &'a [(&'a str, &'a str)];

    fn machine(files: Files<'_>) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn data_dir_is_read_from_the_last_file_that_sets_it() {
        const MAIN: &str = "etc/rancher/rke2/config.yaml";
        const ONE: &str = "etc/rancher/rke2/config.yaml.d/10-one.yaml";
        const TWO: &str = "etc/rancher/rke2/config.yaml.d/20-two.YML";
        let rke2 = ALL.iter().find(|d| d.owner == ContainerdOwner::Rke2).unwrap();
        let cases: [(Files<'_>, Result<&str, &str>); 12] = [
            (&[], Ok("/var/lib/rancher/rke2")),
            (&[(MAIN, "# nothing\n")], Ok("/var/lib/rancher/rke2")),
            (&[(MAIN, "data-dir: ''\n")], Ok("/var/lib/rancher/rke2")),
            (&[(MAIN, "token: x\ndata-dir: /data # big\n")], Ok("/data")),
            (&[(MAIN, "d: /data/\n")], Ok("/data")),
            (&[(MAIN, "data-dir: /data\n"), (TWO, "data-dir: \"/two\"\n"), (ONE, "data-dir: /one\n")], Ok("/two")),
            (&[(ONE, "data-dir: /one\n"), ("etc/rancher/rke2/config.yaml.d/old.txt", "data-dir: /old\n")], Ok("/one")),
            (&[("etc/rancher/k3s/config.yaml", "data-dir: /data\n")], Ok("/var/lib/rancher/rke2")),
            (
                &[(MAIN, "data-dir: data\n")],
                Err("the value of data-dir in /etc/rancher/rke2/config.yaml is not a plain absolute path"),
            ),
            (&[(MAIN, "data-dir: [/data]\n")], Err("the value of data-dir in /etc/rancher/rke2/config.yaml")),
            (&[(MAIN, "data-dir: /a/../b\n")], Err("the value of data-dir in /etc/rancher/rke2/config.yaml")),
            (
                &[(ONE, "my-secret\n")],
                Err("/etc/rancher/rke2/config.yaml.d/10-one.yaml is not a YAML map: fix the file, because"),
            ),
        ];
        for (files, expected) in cases {
            let (_dir, root) = machine(files);
            match (rke2.main(&root).unwrap(), expected) {
                (Ok(main), Ok(data)) => assert_eq!(main, Path::new(data).join(BELOW_DATA), "{files:?}"),
                (Err(why), Err(expected)) => assert!(why.to_string().starts_with(expected), "{why}"),
                (found, _) => panic!("{files:?}: {found:?}"),
            }
        }
    }

    /// libyaml's time grows with the square of the depth: the first text would take a minute.
    #[test]
    fn yaml_that_is_too_deep_or_too_large_is_refused() {
        let large = format!("data-dir: /data\n{}", "# comment\n".repeat(110_000));
        let tag = format!("a: !{}\n", "x".repeat(100_000));
        for (text, expected) in [
            (
                format!("a: {}", "[".repeat(100_000)),
                "is nested more than 32 levels deep, more than kata-osinfo reads: fix the file",
            ),
            (large, "has more than 1048576 bytes, more than kata-osinfo reads: fix the file"),
            (tag, "has a tag (`!name`) of more than 64 bytes, more than kata-osinfo reads: fix the file"),
        ] {
            for name in ["etc/rancher/k3s/config.yaml", "etc/rancher/k3s/config.yaml.d/1.yaml"] {
                let (_dir, root) = machine(&[(name, &text)]);
                let why = ALL[0].main(&root).unwrap().unwrap_err().to_string();
                assert!(why.starts_with(&format!("/{name} {expected}")), "{why}");
            }
        }
    }

    #[test]
    fn the_distribution_is_recognized_by_the_path_of_its_main_file() {
        let (_dir, root) = machine(&[("etc/rancher/rke2/config.yaml", "data-dir: /data\n")]);
        for (main, expected) in [
            ("/data/agent/etc/containerd/config.toml", Some(ContainerdOwner::Rke2)),
            ("/var/lib/rancher/rke2/agent/etc/containerd/config.toml", Some(ContainerdOwner::Rke2)),
            ("/srv/rke2/agent/etc/containerd/config.toml", Some(ContainerdOwner::Rke2)),
            ("/srv/agent/etc/containerd/config.toml", Some(ContainerdOwner::K3s)),
            ("/etc/k0s/containerd.toml", Some(ContainerdOwner::K0s)),
            ("/etc/containerd/config.toml", None),
        ] {
            assert_eq!(reader(&root, Path::new(main)).unwrap(), expected, "{main}");
        }
    }
}
