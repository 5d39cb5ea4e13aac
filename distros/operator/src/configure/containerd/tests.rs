use super::*;

const SHIM: &str = "/opt/kata/bin/containerd-shim-kata-v2";
const CONFIG: &str = "/opt/kata/configuration.toml";
/// A handler of others.
const MINE: &str =
    "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.mine]\nruntime_type = \"io.containerd.runc.v2\"\n";

fn machine(main: Option<&str>) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("etc/containerd/conf.d")).unwrap();
    if let Some(text) = main {
        std::fs::write(dir.path().join("etc/containerd/config.toml"), text).unwrap();
    }
    let root = Root::new(dir.path()).unwrap();
    (dir, root)
}

fn changes(root: &Root, version: Option<(u32, u32)>) -> Result<Vec<FileChange>, HandlerError> {
    Ok(with_handler(root, version.map(ContainerdVersion::from))?.0)
}

fn with_handler(
    root: &Root,
    version: Option<ContainerdVersion>,
) -> Result<(Vec<FileChange>, ContainerdHandler), HandlerError> {
    let wanted = WantedHandler { shim: Path::new(SHIM), config: Path::new(CONFIG), version };
    let before = |path: &Path| super::super::change::original(root, None, path);
    containerd(root, &before, &before, &find_containerd_config(root, None)?, wanted, &Replaced::new())
}

#[test]
fn containerd_1_is_edited_in_place() {
    let main = "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"] # CRI\n  sandbox_image = \"p:1\"\n";
    let (_dir, root) = machine(Some(main));
    let changes = changes(&root, Some((1, 6))).unwrap();
    assert_eq!(changes.len(), 1);
    insta::assert_snapshot!(changes[0].after, @r#"
    version = 2

    [plugins."io.containerd.grpc.v1.cri"] # CRI
      sandbox_image = "p:1"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]
    runtime_type = "io.containerd.kata.v2"
    runtime_path = "/opt/kata/bin/containerd-shim-kata-v2"
    privileged_without_host_devices = true
    pod_annotations = ["io.katacontainers.*"]

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata.options]
    ConfigPath = "/opt/kata/configuration.toml"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    "#);
}

#[test]
fn runc_is_not_added_where_containerd_1_has_another_runtime() {
    let section = "plugins.\"io.containerd.grpc.v1.cri\".containerd";
    let stated = format!("version = 2\n[{section}.runtimes.crun]\nruntime_type = \"io.containerd.runc.v2\"\n");
    let (_dir, root) = machine(Some(&stated));
    let changes = changes(&root, Some((1, 7))).unwrap();
    assert!(!changes[0].after.contains("runtimes.runc"), "{}", changes[0].after);
}

/// While no runtime is configured there is an implicit `runc`, whichever runtime is the default.
#[test]
fn runc_is_written_whatever_default_runtime_containerd_1_has() {
    let section = "plugins.\"io.containerd.grpc.v1.cri\".containerd";
    for default in ["runc", "kata", "mine", "${RUNTIME}"] {
        let main = format!("version = 2\n[{section}]\ndefault_runtime_name = \"{default}\"\n");
        let (_dir, root) = machine(Some(&main));
        let after = &changes(&root, Some((1, 7))).unwrap()[0].after;
        assert!(after.contains("runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\""), "{default}: {after}");
    }
}

/// Once the first handler is configured, the implicit `runc` would be gone.
#[test]
fn runc_is_written_beside_a_deprecated_default_and_in_a_drop_in() {
    const RUNC: &str = "containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n";
    let deprecated = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.default_runtime]\nruntime_type = \"x\"\n";
    for more in ["", "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndefault_runtime_name = \"mine\"\n"] {
        let (_dir, root) = machine(Some(&format!("version = 2\n{more}{deprecated}")));
        let edited = changes(&root, Some((1, 6))).unwrap();
        assert!(edited[0].after.contains(RUNC), "{}", edited[0].after);
    }
    // k3s' main file is rebuilt, and gets a drop-in also for containerd 1.7.
    let folder = "var/lib/rancher/k3s/agent/etc/containerd";
    let main = format!(
        "version = 2\nimports = [\"/{folder}/config.toml.d/*.toml\"]\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"/opt\"\n"
    );
    let (dir, root) = machine(None);
    std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    std::fs::write(dir.path().join(folder).join("config.toml"), main).unwrap();
    let changes = changes(&root, Some((1, 7))).unwrap();
    assert_eq!(changes.len(), 1);
    assert!(changes[0].path.ends_with("config.toml.d/50-kata-osinfo.toml"), "{}", changes[0].path.display());
    assert!(changes[0].after.contains(RUNC), "{}", changes[0].after);
}

#[test]
fn containerd_2_gets_a_drop_in_that_is_imported_once() {
    let (dir, root) = machine(Some("version = 3\nimports = [\"/etc/other.toml\"]\n"));
    std::fs::write(dir.path().join("etc/other.toml"), "").unwrap();
    let two = changes(&root, Some((2, 1))).unwrap();
    assert_eq!(two.len(), 2);
    insta::assert_snapshot!(two[0].after, @r#"
    # Written by kata-osinfo; `kata-osinfo unconfigure` removes it.
    version = 3

    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata]
    runtime_type = "io.containerd.kata.v2"
    runtime_path = "/opt/kata/bin/containerd-shim-kata-v2"
    privileged_without_host_devices = true
    pod_annotations = ["io.katacontainers.*"]

    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata.options]
    ConfigPath = "/opt/kata/configuration.toml"
    "#);
    assert_eq!(
        two[1].after,
        "version = 3\nimports = [\"/etc/other.toml\", \"/etc/containerd/conf.d/50-kata-osinfo.toml\"]\n"
    );
    let (_dir, root) = machine(Some("version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n"));
    assert_eq!(changes(&root, Some((2, 2))).unwrap().len(), 1);
    let (_dir, root) = machine(None);
    for version in [(2, 0), (2, 2), (2, 3)] {
        let both = changes(&root, Some(version)).unwrap();
        assert_eq!(both[1].after, "version = 3\nimports = [\"/etc/containerd/conf.d/50-kata-osinfo.toml\"]\n");
    }
    // A file of version 3 shows that it is for containerd 2; a file of version 2 may be for either.
    let (_dir, root) = machine(Some("version = 3\n"));
    assert_eq!(changes(&root, None).unwrap().len(), 2);
    let (_dir, root) = machine(Some("version = 2\n"));
    let in_place = changes(&root, None).unwrap();
    assert_eq!((in_place.len(), in_place[0].path.as_path()), (1, Path::new("/etc/containerd/config.toml")));
}

#[test]
fn a_replaced_section_an_old_version_or_broken_toml_is_refused() {
    let (dir, root) = machine(Some("version = 2\nimports = [\"conf.d/*.toml\"]\n"));
    let import = dir.path().join("etc/containerd/conf.d/x.toml");
    std::fs::write(&import, "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"p\"\n").unwrap();
    assert!(matches!(changes(&root, Some((1, 7))), Err(HandlerError::Replaced { .. })));
    std::fs::write(&import, "[plugins.\"io.containerd.internal.v1.opt\"]\nx = 1\n").unwrap();
    assert!(changes(&root, Some((1, 7))).is_ok());
    let (_dir, root) = machine(Some("[plugins.cri]\nx = 1\n"));
    for (version, advice) in [(None, "config default"), (Some((1, 7)), "config default"), (Some((2, 0)), "a drop-in")] {
        match changes(&root, version) {
            Err(e) => assert!(e.to_string().contains("version 1 of") && e.to_string().contains(advice), "{e}"),
            Ok(changes) => assert_eq!((advice, changes.len()), ("a drop-in", 2)),
        }
    }
    let (_dir, root) = machine(Some("version = [\n"));
    assert!(matches!(changes(&root, None), Err(HandlerError::Edit { .. })));
}

/// Follows `resolveImports` at v1.6.20, v1.6.39, v1.7.15 and v1.7.24.
#[test]
fn a_relative_import_is_resolved_as_that_containerd_does() {
    const REPLACES: &str = "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"p\"\n";
    let main = "version = 2\nimports = [\"conf.d/*.toml\"]\n";
    let expected =
        "imports the relative path `conf.d/*.toml`: containerd before 1.6.29, and 1.7 before 1.7.16, looks for it in";
    // The place of the file that replaces the main file's section, and whether containerd finds it.
    for (folder, by_old, by_new) in [("etc/containerd/conf.d", false, true), ("conf.d", true, false)] {
        let (dir, root) = machine(Some(main));
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        std::fs::write(dir.path().join(folder).join("x.toml"), REPLACES).unwrap();
        for (numbers, is_found, is_reported) in [
            (&[1, 6, 20][..], by_old, true),
            (&[1, 7, 15], by_old, true),
            (&[1, 6, 29], by_new, false),
            (&[1, 7, 24], by_new, false),
            // The patch version is not known.
            (&[1, 6], true, true),
            (&[1, 7], true, true),
        ] {
            let message = match with_handler(&root, ContainerdVersion::of_numbers(numbers)) {
                Ok((_, handler)) => {
                    assert!(!is_found, "{folder} {numbers:?}");
                    handler.working_folder(&root, &Replaced::new()).unwrap_or_default()
                }
                Err(error @ HandlerError::Replaced { .. }) => {
                    assert!(is_found, "{folder} {numbers:?}");
                    error.to_string()
                }
                Err(error) => panic!("{folder} {numbers:?}: {error}"),
            };
            assert_eq!(message.contains(expected), is_reported, "{folder} {numbers:?}: {message}");
            assert_eq!(message.contains("/ for a service without WorkingDirectory="), is_reported, "{message}");
        }
    }
    // All versions resolve a name without a pattern relative to the file, and an absolute path is unambiguous.
    for import in ["conf.d/x.toml", "/etc/containerd/conf.d/*.toml"] {
        let (dir, root) = machine(Some(&format!("version = 2\nimports = [\"{import}\"]\n")));
        std::fs::write(dir.path().join("etc/containerd/conf.d/x.toml"), REPLACES).unwrap();
        for numbers in [&[1, 6, 20][..], &[1, 7, 24], &[1, 7]] {
            match with_handler(&root, ContainerdVersion::of_numbers(numbers)) {
                Err(HandlerError::Replaced { note: None, .. }) => {}
                other => panic!("{import} {numbers:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn losing_a_foreign_handler_is_reported_for_every_version() {
    let (dir, root) = machine(Some("version = 2\n"));
    let written = changes(&root, Some((1, 7))).unwrap();
    std::fs::write(dir.path().join("etc/containerd/config.toml"), format!("{}\n{MINE}", written[0].after)).unwrap();
    let replaced = Replaced::from([(written[0].path.clone(), written[0].before.clone())]);
    for numbers in [&[][..], &[1, 6, 20], &[1, 7], &[1, 7, 15], &[1, 7, 24], &[2, 1, 9], &[2, 3, 0]] {
        let why = loss(&root, &[&written[0]], &replaced, ContainerdVersion::of_numbers(numbers)).unwrap_or_default();
        assert!(why.starts_with("handler mine of /etc/containerd/config.toml:"), "{numbers:?}: {why}");
    }
}

/// k0s joins the files for its containerd 1.7: no drop-in's section replaces another's.
#[test]
fn on_k0s_a_removed_handler_is_lost_and_a_moved_one_is_not() {
    let (dir, root) = machine(None);
    std::fs::create_dir_all(dir.path().join("etc/k0s/containerd.d")).unwrap();
    let main = "# k0s_managed=true\nversion = 2\nimports = [\"/run/k0s/containerd-cri.toml\"]\n";
    std::fs::write(dir.path().join("etc/k0s/containerd.toml"), main).unwrap();
    let written = changes(&root, Some((1, 7))).unwrap();
    let [ours] = &written[..] else { panic!("one drop-in: {written:?}") };
    assert_eq!(ours.path, Path::new("/etc/k0s/containerd.d/50-kata-osinfo.toml"));
    std::fs::write(dir.path().join(&ours.path.display().to_string()[1..]), format!("{}\n{MINE}", ours.after)).unwrap();
    // This file is read before kata-osinfo's drop-in.
    let added = ours.path.with_file_name("50-kata-osinfo-added.toml");
    let lost = Replaced::from([(ours.path.clone(), Some(ours.after.clone()))]);
    let mut moved = lost.clone();
    moved.insert(added, Some(format!("version = 2\n{MINE}")));
    for numbers in [&[][..], &[1, 6, 20], &[1, 7], &[1, 7, 24]] {
        let loss_for = |planned| loss(&root, &[ours], planned, ContainerdVersion::of_numbers(numbers));
        let why = loss_for(&lost).unwrap_or_default();
        assert!(why.starts_with("handler mine of /etc/k0s/containerd.d/50-kata-osinfo.toml:"), "{numbers:?}: {why}");
        assert_eq!(loss_for(&moved), None, "{numbers:?}");
    }
}

/// 1.6 loads the same files.
#[test]
fn a_start_failure_of_containerd_1_7_alone_is_reported() {
    let (dir, root) = machine(Some("version = 2\n"));
    let written = changes(&root, Some((1, 7))).unwrap();
    let text = format!("{}\n[plugins.\"a.b.c.d\"]\nx = 1\n", written[0].after);
    std::fs::write(dir.path().join("etc/containerd/config.toml"), text).unwrap();
    let problems = |version: (u32, u32)| in_effect::problems(&root, &[&written[0]], Some(version.into())).unwrap();
    assert!(problems((1, 6)).is_empty(), "{:?}", problems((1, 6)));
    let expected = "containerd would not start: `a.b.c.d` is not a plugin's name";
    assert!(problems((1, 7)).iter().any(|problem| problem.message.starts_with(expected)), "{:?}", problems((1, 7)));
}
