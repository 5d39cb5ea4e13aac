//! A program of the release, root in its container, can open no file of the host and gain no namespace.
//!
//! `escape.c` tries every mount as an anchor; a container without kata-qualify's filter shows that the exploit
//! works.
//! Needs Docker, its command-line client and a C compiler that links statically.

use crate::command::{CommandOutput, run_to_end};
use harness::environments::container::{self, OwningRun};
use harness::sweep::RunLock;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(lacks = "docker-command", ignore = "needs Docker and its command")]
async fn a_container_cannot_open_files_of_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let image = Image::with_the_exploit(dir.path()).unwrap();
    let control = run_without_filter(&image.0);
    assert!(
        control.code == Some(1) && control.stdout.contains("not refused"),
        "the exploit fails without a filter, too: {}{}",
        control.stdout,
        control.stderr
    );
    let lock = RunLock::take(dir.path(), &image.0).unwrap();
    let docker = container::connect().await.unwrap();
    let agent = harness::built_in::AGENT;
    let lock_path = lock.path().to_string_lossy().into_owned();
    let owner = OwningRun { run: image.0.clone(), lock: lock_path, cache: "none".to_owned(), kept: None };
    let container = container::start(&docker, &image.0, agent, &owner, None).await.unwrap();
    let tried = run_to_end(Command::new("docker").args(["exec", container.id(), "/escape"]));
    let limit =
        run_to_end(Command::new("docker").args(["inspect", "--format={{.HostConfig.PidsLimit}}", container.id()]));
    container.remove().await.unwrap();
    // An engine without the controller discards the limit.
    assert!(["8192", "<nil>", "<no value>"].contains(&limit.stdout.trim()), "{}{}", limit.stdout, limit.stderr);
    assert_eq!(tried.code, Some(0), "{}{}", tried.stdout, tried.stderr);
    assert!(tried.stdout.contains(" 0 passed"), "{}", tried.stdout);
}

/// Runs the exploit with the same capabilities and the same kind of volume, but without the filter.
fn run_without_filter(image: &str) -> CommandOutput {
    run_to_end(
        Command::new("docker")
            .args(["run", "--rm", "--network=none", "--cap-add=DAC_READ_SEARCH", "--security-opt=seccomp=unconfined"])
            .args(["--mount=type=volume,target=/kata-qualify", image, "/escape", "handles"]),
    )
}

/// An image that contains only the exploit, removed when dropped.
struct Image(String);

impl Image {
    fn with_the_exploit(dir: &Path) -> Result<Image, String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/escape.c");
        let program: PathBuf = dir.join("escape");
        run_successfully(Command::new("cc").args(["-static", "-O1", "-o"]).arg(&program).arg(source))?;
        run_successfully(Command::new("docker").arg("info"))?;
        let name = format!("kata-qualify-escape:{}", std::process::id());
        run_successfully(Command::new("tar").args(["--create", "--file=image.tar", "escape"]).current_dir(dir))?;
        run_successfully(Command::new("docker").arg("import").arg(dir.join("image.tar")).arg(&name))?;
        Ok(Image(name))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = run_successfully(Command::new("docker").args(["image", "rm", &self.0]));
    }
}

fn run_successfully(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", stderr.trim())) }
}
