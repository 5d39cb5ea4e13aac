//! Logs and other files of an environment, copied out while it lives.

use crate::cell::ask;
use crate::line::Line;
use agent::protocol::{Bytes, CHUNK, EnvironmentReply, EnvironmentRequest};
use reports::journal::CellId;
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::Mutex;

/// Bytes that are kept of a cell's files.
const ROOM: u64 = 64 << 20;
/// Bytes that are kept of one file.
const MAX_FILE: usize = 16 << 20;

/// What was copied out of one environment so far.
#[derive(Default)]
pub(crate) struct Artifacts {
    /// By the path in the environment: how large it was then.
    copied: Mutex<BTreeMap<String, u64>>,
}

impl Artifacts {
    /// Copies what is new or has grown since; what cannot be copied is missed, not fatal.
    pub(crate) async fn fetch(&self, out: &Path, cell: &CellId, line: &Line) {
        let mut copied = self.copied.lock().await;
        let Ok(EnvironmentReply::Artifacts { files }) = ask(line, EnvironmentRequest::ListArtifacts, 60).await else {
            return;
        };
        for (path, size) in files {
            let before = copied.get(&path).copied().unwrap_or(0);
            let others = copied.values().sum::<u64>() - before;
            if size <= before || size > ROOM.saturating_sub(others) {
                continue;
            }
            match copy(line, &path, &out.join(artifact_path(cell, &path))).await {
                Ok(()) => drop(copied.insert(path, size)),
                Err(e) => tracing::debug!("fetching {path}: {e}"),
            }
        }
    }
}

async fn copy(line: &Line, path: &str, target: &Path) -> Result<(), String> {
    let mut whole = Vec::new();
    loop {
        let request = EnvironmentRequest::GetFile { path: path.to_owned(), offset: whole.len() as u64 };
        match ask(line, request, 60).await.map_err(|e| e.to_string())? {
            EnvironmentReply::Chunk { bytes: Bytes(bytes) } if bytes.is_empty() => break,
            EnvironmentReply::Chunk { bytes: Bytes(bytes) } => {
                let last = bytes.len() < CHUNK;
                whole.extend_from_slice(&bytes);
                if last || whole.len() > MAX_FILE {
                    break;
                }
            }
            other => return Err(format!("{other:?}")),
        }
    }
    let parent = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).and_then(|()| std::fs::write(target, &whole)).map_err(|e| e.to_string())
}

/// `/kata-qualify/artifacts/g3/serial.log` of a cell, relative to the output folder.
pub(crate) fn artifact_path(cell: &CellId, path: &str) -> String {
    let below = path.split_once("/artifacts/").map_or(path, |(_, below)| below).trim_start_matches('/');
    // The agent makes these names, but its answer came through an environment: nothing may lead out of the folder.
    let safe: Vec<&str> = below.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    format!("{}/{}", artifact_folder(cell), safe.join("/"))
}

/// Where a cell's artifacts lie, relative to the output folder.
pub(crate) fn artifact_folder(cell: &CellId) -> String {
    format!("artifacts/{}", cell.to_string().replace([':', '/'], "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Heard;
    use agent::frame::{self, Decoder};
    use agent::protocol::{Message, Numbered, VERSION};
    use std::sync::{Arc, Mutex as Lock};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::io::ReaderStream;

    /// Files of an environment, and which of them were asked for.
    type Files = Arc<Lock<(BTreeMap<String, Vec<u8>>, Vec<String>)>>;

    /// An agent that has files and nothing else.
    async fn agent_with(files: Files) -> Line {
        let (here, there) = tokio::io::duplex(1 << 20);
        let (from, to) = tokio::io::split(here);
        let (mut heard, mut said) = tokio::io::split(there);
        tokio::spawn(async move {
            let send =
                |message: &Message<EnvironmentReply>| frame::encode(&serde_json::to_vec(message).unwrap()).unwrap();
            said.write_all(&send(&Message::Hello { version: VERSION, role: "test".to_owned() })).await.unwrap();
            let (mut decoder, mut buffer) = (Decoder::default(), [0; 4096]);
            while let Ok(n @ 1..) = heard.read(&mut buffer).await {
                decoder.push(&buffer[..n]);
                while let Some(payload) = decoder.next_payload() {
                    let Numbered { id, request } = serde_json::from_slice(&payload).unwrap();
                    let reply = answer(&files, &request);
                    said.write_all(&send(&Message::Reply { id, reply })).await.unwrap();
                }
            }
        });
        let heard = ReaderStream::new(from);
        let heard = futures_util::StreamExt::map(heard, |read| {
            read.map(|bytes| Heard::Frames(bytes.to_vec())).map_err(|e| e.to_string())
        });
        Line::open(Box::pin(heard), to, Duration::from_secs(5)).await.unwrap()
    }

    fn answer(files: &Files, request: &EnvironmentRequest) -> EnvironmentReply {
        let mut files = files.lock().unwrap();
        match request {
            EnvironmentRequest::ListArtifacts => EnvironmentReply::Artifacts {
                files: files.0.iter().map(|(path, bytes)| (path.clone(), bytes.len() as u64)).collect(),
            },
            EnvironmentRequest::GetFile { path, offset } => {
                files.1.push(path.clone());
                let bytes = files.0[path].get(usize::try_from(*offset).unwrap()..).unwrap_or_default();
                EnvironmentReply::Chunk { bytes: Bytes(bytes.to_vec()) }
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_new_or_has_grown_is_copied_and_nothing_twice() {
        let files: Files = Arc::default();
        let put = |name: &str, text: &str| {
            files.lock().unwrap().0.insert(format!("/kata-qualify/artifacts/{name}"), text.into());
        };
        let asked = || std::mem::take(&mut files.lock().unwrap().1);
        let line = agent_with(Arc::clone(&files)).await;
        let out = tempfile::tempdir().unwrap();
        let cell: CellId = "debian:13/x86_64/container".parse().unwrap();
        let kept = |name: &str| {
            std::fs::read_to_string(out.path().join(artifact_path(&cell, &format!("/artifacts/{name}")))).ok()
        };
        let artifacts = Artifacts::default();
        put("g1/serial.log", "boots");
        put("g1/qemu.log", "");
        artifacts.fetch(out.path(), &cell, &line).await;
        assert_eq!((kept("g1/serial.log").as_deref(), kept("g1/qemu.log")), (Some("boots"), None));
        assert_eq!(asked(), ["/kata-qualify/artifacts/g1/serial.log"]);
        artifacts.fetch(out.path(), &cell, &line).await;
        assert!(asked().is_empty(), "nothing has changed");
        put("g1/serial.log", "boots and panics");
        put("../../../etc/passwd", "root");
        artifacts.fetch(out.path(), &cell, &line).await;
        assert_eq!(kept("g1/serial.log").as_deref(), Some("boots and panics"));
        assert_eq!(kept("etc/passwd").as_deref(), Some("root"), "nothing leads out of the cell's folder");
    }
}
