//! Runs of a bug report's reproducer in clean trees of the release: each run has its own container, which runs nothing
//! else.
//!
//! Like the environment of tests, a container has no network, no privileges and the harness's own filter of system
//! calls, and carries the labels by which a later start removes the leftovers of a killed process.

use crate::environments::container::{OwningRun, PROCESSES, is_about_processes, seccomp};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, LogsOptions, RemoveContainerOptions, StartContainerOptions,
};
use futures_util::StreamExt as _;
use std::time::Duration;

/// Number of runs.
pub const TIMES: usize = 3;
/// Time that one run may take: an emulated guest boots in half a minute, and its script gives it five.
const DEADLINE: Duration = Duration::from_secs(900);
/// Bytes of the output that are kept.
const MOST: usize = 256 << 10;

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The script's exit code; `None` if it was ended from outside.
    pub code: Option<i32>,
    /// The script's output.
    pub output: String,
}

/// Runs a script in containers of a local image, one after the other.
///
/// # Errors
/// The engine's error.
pub async fn reproduce(
    docker: &Docker,
    image: &str,
    script: &str,
    owner: &OwningRun,
) -> Result<Vec<Tried>, bollard::errors::Error> {
    let mut all = Vec::new();
    for _ in 0..TIMES {
        let tried = match in_container(docker, image, script, owner, Some(PROCESSES)).await {
            Err(error) if is_about_processes(&error.to_string()) => {
                in_container(docker, image, script, owner, None).await
            }
            tried => tried,
        };
        all.push(tried?);
    }
    Ok(all)
}

/// Runs a script in a container of its own, with at most so many processes.
async fn in_container(
    docker: &Docker,
    image: &str,
    script: &str,
    owner: &OwningRun,
    processes: Option<i64>,
) -> Result<Tried, bollard::errors::Error> {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
        labels: Some(owner.labels()),
        host_config: Some(HostConfig {
            init: Some(true),
            network_mode: Some("none".to_owned()),
            pids_limit: processes,
            security_opt: Some(vec![format!("seccomp={}", seccomp::profile())]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None::<CreateContainerOptions>, body).await?.id;
    let tried = once(docker, &id).await;
    let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    docker.remove_container(&id, Some(options)).await?;
    tried
}

async fn once(docker: &Docker, id: &str) -> Result<Tried, bollard::errors::Error> {
    docker.start_container(id, None::<StartContainerOptions>).await?;
    let options = LogsOptions { follow: true, stdout: true, stderr: true, ..Default::default() };
    let mut lines = std::pin::pin!(docker.logs(id, Some(options)));
    let mut output = Vec::new();
    let read_all = async {
        while let Some(line) = lines.next().await {
            let bytes = line.map(LogOutput::into_bytes)?;
            let room = MOST.saturating_sub(output.len());
            output.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
        }
        Ok::<(), bollard::errors::Error>(())
    };
    let ended = match tokio::time::timeout(DEADLINE, read_all).await {
        Ok(result) => result.map(|()| true)?,
        Err(_) => false,
    };
    let state = docker.inspect_container(id, None::<InspectContainerOptions>).await?.state;
    let code = state.and_then(|state| state.exit_code).and_then(|code| i32::try_from(code).ok());
    // A code of 128 or above means that a signal ended the script.
    Ok(Tried { code: code.filter(|code| ended && *code < 128), output: String::from_utf8_lossy(&output).into_owned() })
}
