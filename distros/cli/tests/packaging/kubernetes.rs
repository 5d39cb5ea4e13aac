//! The example DaemonSet and the example Job, checked with Kubernetes' own types.

use crate::repository;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, Namespace, PersistentVolumeClaim};
use serde::Deserialize;
use serde::de::DeserializeOwned;

fn manifest() -> String {
    std::fs::read_to_string(repository("packaging/kubernetes/daemonset.yaml")).expect("the manifest")
}

/// Parses Namespace and DaemonSet; the error is an unknown key, or what is wrong.
fn objects(text: &str) -> Result<(Namespace, DaemonSet), String> {
    let documents: Vec<_> = serde_yaml::Deserializer::from_str(text).collect();
    let [namespace, daemon_set] = documents.try_into().map_err(|_| "expected two documents".to_owned())?;
    Ok((object(namespace)?, object(daemon_set)?))
}

/// Parses one object; like an API server with strict validation, it rejects unknown keys.
fn object<T: DeserializeOwned>(document: serde_yaml::Deserializer<'_>) -> Result<T, String> {
    // By way of a value, so that repeated keys are errors.
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
fn the_daemon_set_is_valid_and_mounts_the_host_read_only() {
    let (namespace, daemon_set) = objects(&manifest()).expect("valid");
    assert_eq!(daemon_set.metadata.namespace, namespace.metadata.name);
    let spec = daemon_set.spec.as_ref().expect("a spec");
    assert_eq!(spec.selector.match_labels, spec.template.metadata.as_ref().expect("metadata").labels);
    let pod = spec.template.spec.as_ref().expect("a pod");
    let container = container(&daemon_set);
    // The host's root is mounted read-only at the path of `--root`.
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

fn job_manifest() -> String {
    std::fs::read_to_string(repository("packaging/kubernetes/job.yaml")).expect("the manifest")
}

/// Parses Namespace, claim and Job; the error is what is wrong.
fn job_objects(text: &str) -> Result<(Namespace, PersistentVolumeClaim, Job), String> {
    let documents: Vec<_> = serde_yaml::Deserializer::from_str(text).collect();
    let [namespace, claim, job] = documents.try_into().map_err(|_| "expected three documents".to_owned())?;
    Ok((object(namespace)?, object(claim)?, object(job)?))
}

#[test]
fn the_job_is_valid_and_indexed_by_shard() {
    let (namespace, claim, job) = job_objects(&job_manifest()).expect("valid");
    for metadata in [&claim.metadata, &job.metadata] {
        assert_eq!(metadata.namespace, namespace.metadata.name);
    }
    let spec = job.spec.as_ref().expect("a spec");
    assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
    let (completions, parallelism) = (spec.completions.expect("completions"), spec.parallelism.expect("parallelism"));
    assert!(parallelism <= completions && completions <= 256, "a plan has 256 shards at most");
    // Both keys are valid only for indexed Jobs, and the first one excludes `backoffLimit`.
    assert!(
        spec.backoff_limit_per_index.is_some() && spec.max_failed_indexes.is_some() && spec.backoff_limit.is_none()
    );
    let pod = spec.template.spec.as_ref().expect("a pod");
    // `podFailurePolicy` requires this.
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    let [container] = pod.containers.as_slice() else { panic!("one container") };
    let rules = &spec.pod_failure_policy.as_ref().expect("a policy").rules;
    for codes in rules.iter().filter_map(|rule| rule.on_exit_codes.as_ref()) {
        assert_eq!(codes.container_name.as_ref(), Some(&container.name));
        // Sorted, without duplicates, and 0 is not a failure.
        assert!(codes.values.is_sorted() && !codes.values.contains(&0) && !codes.values.contains(&3));
    }
    let volumes = pod.volumes.as_deref().expect("volumes");
    for mount in container.volume_mounts.as_deref().expect("mounts") {
        assert!(volumes.iter().any(|volume| volume.name == mount.name), "{}", mount.name);
    }
    let claimed = volumes.iter().find_map(|volume| volume.persistent_volume_claim.as_ref()).expect("a claim");
    assert_eq!(Some(&claimed.claim_name), claim.metadata.name.as_ref());
}

#[test]
fn mistakes_in_the_job_are_found() {
    let wrong = |from: &str, to: &str| {
        let text = job_manifest();
        assert!(text.contains(from), "{from}");
        job_objects(&text.replacen(from, to, 1)).expect_err(to)
    };
    assert_eq!(wrong("  completionMode:", "  completionmode:"), "spec.?.completionmode");
    assert!(wrong("\n  completions: 8", "\n  completions: eight").contains("invalid type"));
    assert!(wrong("kind: Job", "kind: CronJob").contains("Job"));
    assert!(wrong("containerName: kata-qualify", "container: kata-qualify").contains("container"));
}

/// A pod whose results are worse than recorded ends normally, by the variable of `run-shard`; a pod that could not judge
/// is replaced. The script is PID 1, so `run-shard` must replace it to get the pod's signals.
#[test]
#[cfg_attr(lacks = "bash", ignore = "needs bash")]
fn a_pod_runs_the_shard_of_its_index() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_, _, job) = job_objects(&job_manifest()).expect("valid");
    let pod = job.spec.and_then(|spec| spec.template.spec).expect("a pod");
    let [container] = pod.containers.as_slice() else { panic!("one container") };
    assert_eq!(container.command.as_deref(), Some(&["sh".to_owned(), "-c".to_owned()][..]));
    let script = container.args.as_deref().expect("arguments").concat();
    let (run_shard, plan) = ("/usr/share/kata-qualify/run-shard", "/plan/plan.json");
    assert!(script.starts_with(&format!("exec {run_shard} ")) && script.contains(plan), "{script}");
    let mut variables = container.env.as_deref().expect("variables").iter();
    let is_done = variables.find(|one| one.name == "KATA_QUALIFY_WORSE_IS_DONE").expect("the variable");
    assert_eq!(is_done.value.as_deref(), Some("yes"));
    for (ends, expected) in [(0, 0), (1, 1), (2, 2), (3, 3), (137, 137)] {
        let dir = tempfile::tempdir().expect("a folder");
        let program = dir.path().join("run-shard");
        std::fs::write(&program, format!("#!/bin/sh\necho \"$*\"\nexit {ends}\n")).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
        let script = script.replace(run_shard, &program.display().to_string());
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-c", &script]).env("JOB_COMPLETION_INDEX", "5").output().expect("it runs");
        assert_eq!(output.status.code(), Some(expected), "{ends}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{plan} 5 /results\n"));
    }
}
