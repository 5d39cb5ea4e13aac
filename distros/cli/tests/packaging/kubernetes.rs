//! The example DaemonSet, by Kubernetes' own types.

use crate::repository;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Container, Namespace};
use serde::Deserialize;
use serde::de::DeserializeOwned;

fn manifest() -> String {
    std::fs::read_to_string(repository("packaging/kubernetes/daemonset.yaml")).expect("the manifest")
}

/// Namespace and DaemonSet; the first key that Kubernetes does not know, or what is wrong, otherwise.
fn objects(text: &str) -> Result<(Namespace, DaemonSet), String> {
    let documents: Vec<_> = serde_yaml::Deserializer::from_str(text).collect();
    let [namespace, daemon_set] = documents.try_into().map_err(|_| "expected two documents".to_owned())?;
    Ok((object(namespace)?, object(daemon_set)?))
}

/// One object; as an API server that validates strictly, it takes no key that it does not know.
fn object<T: DeserializeOwned>(document: serde_yaml::Deserializer<'_>) -> Result<T, String> {
    // By way of a value, so that repeated keys are told.
    let value = serde_yaml::Value::deserialize(document).map_err(|e| e.to_string())?;
    let mut unknown = Vec::new();
    let object = serde_ignored::deserialize(value, |path| unknown.push(path.to_string())).map_err(|e| e.to_string())?;
    if unknown.is_empty() { Ok(object) } else { Err(unknown.join(", ")) }
}

fn container(daemon_set: &DaemonSet) -> &Container {
    let pod = daemon_set.spec.as_ref().expect("a spec").template.spec.as_ref().expect("a pod");
    let [container] = pod.containers.as_slice() else { panic!("one container") };
    container
}

#[test]
fn the_daemon_set_is_one_that_kubernetes_takes() {
    let (namespace, daemon_set) = objects(&manifest()).expect("valid");
    assert_eq!(daemon_set.metadata.namespace, namespace.metadata.name);
    let spec = daemon_set.spec.as_ref().expect("a spec");
    assert_eq!(spec.selector.match_labels, spec.template.metadata.as_ref().expect("metadata").labels);
    let pod = spec.template.spec.as_ref().expect("a pod");
    let container = container(&daemon_set);
    // The host's root is mounted where --root points, and cannot be written to.
    let mounts = container.volume_mounts.as_deref().expect("mounts");
    let volumes = pod.volumes.as_deref().expect("volumes");
    let ([mount], [volume]) = (mounts, volumes) else { panic!("one of each") };
    assert_eq!((&mount.name, mount.read_only), (&volume.name, Some(true)));
    assert_eq!(volume.host_path.as_ref().expect("the host's").path, "/");
    let security = container.security_context.as_ref().expect("a context");
    assert_eq!((security.run_as_non_root, security.allow_privilege_escalation), (Some(true), Some(false)));
    assert_eq!((security.read_only_root_filesystem, security.privileged), (Some(true), None));
}

#[test]
fn mistakes_in_the_manifest_are_found() {
    let wrong = |from: &str, to: &str| {
        let text = manifest();
        assert!(text.contains(from), "{from}");
        objects(&text.replacen(from, to, 1)).expect_err(to)
    };
    assert_eq!(
        wrong("readOnlyRootFilesystem", "readonlyRootFilesystem"),
        "spec.?.template.?.spec.?.containers.?.0.securityContext.?.readonlyRootFilesystem"
    );
    assert!(wrong("periodSeconds: 600", "periodSeconds: often").contains("invalid type"));
    assert!(wrong("kind: DaemonSet", "kind: Deployment").contains("DaemonSet"));
    assert!(wrong("apps/v1", "apps/v1beta1").contains("apps/v1"));
    assert!(wrong("      volumes:", "      containers: []\n      volumes:").contains("duplicate"));
}

#[test]
fn the_manifests_commands_work_on_a_root() {
    let (_, daemon_set) = objects(&manifest()).expect("valid");
    let container = container(&daemon_set);
    let probe = container.readiness_probe.as_ref().and_then(|p| p.exec.as_ref()).expect("a probe");
    let probe = probe.command.as_deref().expect("a command").join(" ");
    let shell = container.args.as_deref().expect("arguments").concat();
    for line in [probe.as_str(), shell.split(" || ").next().expect("a command")] {
        let words: Vec<&str> = line.split(' ').collect();
        let dir = tempfile::tempdir().expect("a root");
        std::fs::create_dir_all(dir.path().join("etc")).expect("made");
        std::fs::write(dir.path().join("etc/os-release"), "ID=debian\nVERSION_ID=13\n").expect("written");
        let host = dir.path().display().to_string();
        let arguments = words[1..].iter().map(|w| if *w == "/host" { host.as_str() } else { w });
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_kata-osinfo")).args(arguments).output();
        let output = output.expect("it runs");
        assert_eq!(words[0], "kata-osinfo");
        assert_eq!(output.status.code(), Some(1), "nothing is installed there: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("vmm qemu: not installed"), "{output:?}");
    }
}
