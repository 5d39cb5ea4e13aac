//! A container as an OCI runtime specification (1.0), and its root filesystem on disk.

use super::image::FOLDERS;
use super::probe::LINGER;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use suites::containers::{Container, ContainerDisk, ContainerLimits, ContainerMount, ContainerSandbox, PROBE};

/// The capabilities that containerd gives a container by default (`defaultUnixCaps` in its `oci/spec.go`).
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// CRI's annotations, by which shims recognize pods (containerd's `pkg/cri/annotations`).
const CONTAINER_TYPE: &str = "io.kubernetes.cri.container-type";
const SANDBOX_ID: &str = "io.kubernetes.cri.sandbox-id";

/// Inputs of the specification in addition to the container.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Path of the root filesystem on the host.
    pub root: PathBuf,
    /// Control group: `/kq12r/kq12r-1`.
    pub cgroup: String,
    /// Id of the container.
    pub id: String,
    /// For a pod's container, the id and the process of its sandbox.
    pub pod: Option<(String, u32)>,
    /// Path of Kata's configuration, if it is passed by annotation.
    pub kata_configuration: Option<String>,
    /// Whether the host has only cgroup v2, which CRI requires for a cgroup namespace.
    pub unified: bool,
    /// Whether the host has swap, which a memory limit must then forbid.
    pub swap: bool,
    /// Time that the probe stays after its last output, in milliseconds.
    pub linger: Option<u32>,
}

/// Returns the specification as JSON.
pub fn specification(container: &Container, around: &Surroundings) -> Value {
    let mut environment = vec!["PATH=/".to_owned()];
    environment.extend(container.environment.iter().map(|(name, value)| format!("{name}={value}")));
    environment.extend(around.linger.map(|milliseconds| format!("{LINGER}={milliseconds}")));
    let mut arguments = vec![PROBE.to_owned()];
    arguments.extend(container.command.iter().cloned());
    let default = || CAPABILITIES.map(str::to_owned).to_vec();
    let capabilities = container.capabilities.clone().unwrap_or_else(default);
    let mut groups = vec![container.group];
    groups.extend(&container.groups);
    let mut linux = json!({
        "cgroupsPath": around.cgroup,
        "resources": resources(container.limits, &container.disks, around.swap),
        "namespaces": namespaces(container, around),
        "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    if !container.disks.is_empty() {
        let node = |disk: &ContainerDisk| {
            let ContainerDisk { major, minor, to } = disk;
            json!({ "path": to, "type": "b", "major": major, "minor": minor, "fileMode": 0o660, "uid": 0, "gid": 0 })
        };
        linux["devices"] = container.disks.iter().map(node).collect();
    }
    if !container.denied.is_empty() {
        linux["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": container.denied, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM }],
        });
    }
    let mut specification = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": container.user, "gid": container.group, "additionalGids": groups },
            "args": arguments,
            "env": environment,
            "cwd": container.folder,
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "noNewPrivileges": !container.gains_privileges,
        },
        "root": { "path": around.root, "readonly": container.read_only },
        "mounts": mounts(container),
        "annotations": annotations(container, around),
        "linux": linux,
    });
    if let Some(limit) = container.open_files {
        specification["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": limit, "hard": limit }]);
    }
    if !container.sysctls.is_empty() {
        specification["linux"]["sysctl"] = json!(container.sysctls.iter().cloned().collect::<BTreeMap<_, _>>());
    }
    // The hostname cannot be set in the namespace of another container.
    if let (Some(hostname), None) = (&container.hostname, &around.pod) {
        specification["hostname"] = json!(hostname);
    }
    specification
}

fn resources(limits: ContainerLimits, disks: &[ContainerDisk], swap: bool) -> Value {
    let device = |major: u32, minor: Option<u32>| {
        let mut rule = json!({ "allow": true, "type": "c", "major": major, "access": "rwm" });
        if let Some(minor) = minor {
            rule["minor"] = json!(minor);
        }
        rule
    };
    let mut devices = vec![json!({ "allow": false, "access": "rwm" })];
    // null, zero, full, random, urandom; tty, console, ptmx; pseudo-terminals.
    devices.extend([3, 5, 7, 8, 9].map(|minor| device(1, Some(minor))));
    devices.extend([0, 1, 2].map(|minor| device(5, Some(minor))));
    devices.push(device(136, None));
    devices.extend(disks.iter().map(|ContainerDisk { major, minor, .. }| {
        json!({ "allow": true, "type": "b", "major": major, "minor": minor, "access": "rwm" })
    }));
    let mut resources = json!({ "devices": devices });
    if let Some(limit) = limits.pids {
        resources["pids"] = json!({ "limit": limit });
    }
    if let Some(limit) = limits.memory {
        resources["memory"] = if swap { json!({ "limit": limit, "swap": limit }) } else { json!({ "limit": limit }) };
    }
    if let Some(limit) = limits.huge_pages {
        resources["hugepageLimits"] = json!([{ "pageSize": "2MB", "limit": limit }]);
    }
    if let Some(millis) = limits.cpu_millis {
        resources["cpu"] = json!({ "quota": u64::from(millis) * 100, "period": 100_000 });
    }
    resources
}

fn namespaces(container: &Container, around: &Surroundings) -> Vec<Value> {
    let own = |kind: &str| json!({ "type": kind });
    // As in CRI: a pod's containers share network, ipc and uts of its sandbox.
    let pods = |kind: &str, name: &str| match &around.pod {
        Some((_, pid)) => json!({ "type": kind, "path": format!("/proc/{pid}/ns/{name}") }),
        None => own(kind),
    };
    let network = match &container.netns {
        Some(path) => json!({ "type": "network", "path": path }),
        None => pods("network", "net"),
    };
    let processes = if container.shares_processes { pods("pid", "pid") } else { own("pid") };
    let mut all = vec![processes, own("mount"), pods("ipc", "ipc"), pods("uts", "uts"), network];
    if around.unified {
        all.push(own("cgroup"));
    }
    all
}

fn mounts(container: &Container) -> Vec<Value> {
    let kernel = |to: &str, kind: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": kind, "options": options });
    let mut all = vec![
        kernel("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        kernel("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        kernel("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        kernel("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        kernel("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        kernel("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ];
    all.extend(container.mounts.iter().map(|mount| match mount {
        ContainerMount::Bind { from, to, read_only } => json!({
            "destination": to,
            "type": "bind",
            "source": from,
            "options": ["rbind", "rprivate", if *read_only { "ro" } else { "rw" }],
        }),
        ContainerMount::Tmpfs { to, kib } => {
            kernel(to, "tmpfs", &["nosuid", "nodev", "mode=1777", &format!("size={kib}k")])
        }
    }));
    all
}

fn annotations(container: &Container, around: &Surroundings) -> Value {
    let mut all = Map::new();
    let mut annotate = |key: &str, value: &str| drop(all.insert(key.to_owned(), json!(value)));
    match &around.pod {
        Some((sandbox, _)) => {
            annotate(CONTAINER_TYPE, "container");
            annotate(SANDBOX_ID, sandbox);
        }
        None if container.sandbox == ContainerSandbox::Pod => {
            annotate(CONTAINER_TYPE, "sandbox");
            annotate(SANDBOX_ID, &around.id);
        }
        None => {}
    }
    if let Some(path) = &around.kata_configuration {
        // `ConfigPathKey` in src/runtime/virtcontainers/pkg/annotations/annotations.go@3.30.0.
        annotate("io.katacontainers.config_path", path);
    }
    if !container.denied.is_empty() {
        // Kata's shipped configuration disables seccomp in the guest; an agent may be built without it.
        annotate("io.katacontainers.config.runtime.disable_guest_seccomp", "false");
    }
    Value::Object(all)
}

/// Makes a root filesystem with the probe in it.
///
/// # Errors
/// If a file cannot be made or copied.
pub fn make_root(root: &Path, probe: &Path, folder: &str) -> io::Result<()> {
    for name in FOLDERS {
        fs::create_dir_all(root.join(name))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::create_dir_all(root.join(folder.trim_start_matches('/')))?;
    let inside = root.join(PROBE.trim_start_matches('/'));
    fs::copy(probe, &inside)?;
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings {
            root: "/r".into(),
            cgroup: "/kq1r/kq1r-1".into(),
            id: "kq1r-1".into(),
            pod: None,
            kata_configuration: None,
            unified: false,
            swap: false,
            linger: None,
        }
    }

    #[test]
    fn a_pods_container_joins_its_sandbox_and_has_no_own_hostname() {
        let container = Container { hostname: Some("x".into()), ..Container::new(&["stay"]) };
        let alone = specification(&container, &around());
        assert_eq!(alone["hostname"], "x");
        assert_eq!(alone["annotations"].get(CONTAINER_TYPE), None);
        let joined = specification(&container, &Surroundings { pod: Some(("kq1r-0".into(), 77)), ..around() });
        assert_eq!(joined.get("hostname"), None);
        assert_eq!(joined["annotations"][SANDBOX_ID], "kq1r-0");
        let text = joined["linux"]["namespaces"].to_string();
        assert!(text.contains("/proc/77/ns/uts") && text.contains("/proc/77/ns/net"), "{text}");
        assert!(!text.contains("/proc/77/ns/pid"), "{text}");
        let shared = Container { shares_processes: true, ..Container::new(&["stay"]) };
        let shared = specification(&shared, &Surroundings { pod: Some(("kq1r-0".into(), 77)), ..around() });
        assert_eq!(shared["linux"]["namespaces"][0], json!({ "type": "pid", "path": "/proc/77/ns/pid" }));
    }

    #[test]
    fn the_linger_variable_is_set_only_if_requested() {
        let environment = |linger| {
            let container = Container::new(&["exit", "0"]);
            specification(&container, &Surroundings { linger, ..around() })["process"]["env"].clone()
        };
        assert_eq!(environment(None), json!(["PATH=/"]));
        assert_eq!(environment(Some(20)), json!(["PATH=/", "KATA_QUALIFY_LINGER=20"]));
    }

    #[test]
    fn rlimits_and_sysctls_are_set_only_if_requested() {
        let none = specification(&Container::new(&["stay"]), &around());
        assert_eq!((none["process"].get("rlimits"), none["linux"].get("sysctl")), (None, None));
        let sysctls = vec![("kernel.shm_rmid_forced".to_owned(), "1".to_owned())];
        let container = Container { open_files: Some(64), sysctls, ..Container::new(&["stay"]) };
        let spec = specification(&container, &around());
        let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 64 }]);
        assert_eq!(spec["process"]["rlimits"], limit);
        assert_eq!(spec["linux"]["sysctl"], json!({ "kernel.shm_rmid_forced": "1" }));
    }

    #[test]
    fn a_disk_has_a_device_node_and_an_access_rule() {
        let disks = vec![ContainerDisk { major: 7, minor: 3, to: "/dev/xda".into() }];
        let spec = specification(&Container { disks, ..Container::new(&["stay"]) }, &around());
        let node = &spec["linux"]["devices"][0];
        assert_eq!((&node["path"], &node["type"], &node["minor"]), (&json!("/dev/xda"), &json!("b"), &json!(3)));
        let rules = spec["linux"]["resources"]["devices"].to_string();
        assert!(rules.contains(r#""major":7,"minor":3"#), "{rules}");
        let none = specification(&Container::new(&["stay"]), &around());
        assert_eq!(none["linux"].get("devices"), None);
    }

    #[test]
    fn limits_are_in_the_specifications_units() {
        let limits =
            ContainerLimits { pids: Some(5), memory: Some(1 << 20), cpu_millis: Some(250), huge_pages: Some(2 << 20) };
        let container = Container { limits, ..Container::new(&["stay"]) };
        let resources =
            specification(&container, &Surroundings { swap: true, ..around() })["linux"]["resources"].clone();
        assert_eq!(resources["pids"]["limit"], 5);
        assert_eq!(resources["hugepageLimits"], json!([{ "pageSize": "2MB", "limit": 2 << 20 }]));
        assert_eq!(resources["memory"], json!({ "limit": 1 << 20, "swap": 1 << 20 }));
        assert_eq!(resources["cpu"], json!({ "quota": 25_000, "period": 100_000 }));
        let none = specification(&Container::new(&["stay"]), &around())["linux"]["resources"].clone();
        assert_eq!(none.get("memory"), None);
    }
}
