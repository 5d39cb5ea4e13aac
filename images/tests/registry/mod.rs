//! A local registry, and Docker helpers of the tests.

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, LogsOptionsBuilder, PushImageOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptions, StartContainerOptions, WaitContainerOptions,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `docker-registry` on a free port of the loopback, its data in a temporary folder.
pub(crate) struct Registry {
    pub(crate) address: String,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Registry {
    pub(crate) fn start() -> Registry {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            dir.path().join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Registry { address, process, _dir: dir };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&registry.address).is_err() {
            assert!(Instant::now() < until, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Imports a tar archive, pushes it to the registry and removes it here.
pub(crate) async fn publish(docker: &Docker, tar: &Path, reference: &str) {
    let (repository, tag) = reference.rsplit_once(':').unwrap();
    let bytes = std::fs::read(tar).unwrap();
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(repository).tag(tag).build();
    let body = bollard::body_try_stream(stream::iter([Ok(bytes.into())]));
    docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.unwrap();
    let options = PushImageOptionsBuilder::new().tag(tag).build();
    docker.push_image(repository, Some(options), None).try_collect::<Vec<_>>().await.unwrap();
    forget(docker, reference).await;
}

/// Removes a reference from Docker's own store.
pub(crate) async fn forget(docker: &Docker, reference: &str) {
    docker.remove_image(reference, None::<RemoveImageOptions>, None).await.unwrap();
}

/// Runs a shell script in a container without network and returns what it printed.
pub(crate) async fn run(docker: &Docker, image: &str, script: &str) -> String {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
        network_disabled: Some(true),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap().id;
    docker.start_container(&id, None::<StartContainerOptions>).await.unwrap();
    docker.wait_container(&id, None::<WaitContainerOptions>).for_each(|_| async {}).await;
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
    let logs: Vec<LogOutput> = docker.logs(&id, Some(options)).try_collect().await.unwrap();
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    docker.remove_container(&id, Some(options)).await.unwrap();
    logs.into_iter().map(|l| l.to_string()).collect()
}
