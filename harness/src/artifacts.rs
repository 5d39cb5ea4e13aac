//! Logs and other files of an environment, copied out while it lives.
//!
//! At most 16 MiB of a file, and 64 MiB and 4096 files of a cell are kept. Bytes are counted as they arrive, because
//! the environment may claim any size, and a line for people says what was left out.

use crate::line::{Line, LineError, ask};
use protocol::message::{Base64Bytes, CHUNK, EnvironmentReply, EnvironmentRequest};
use reports::journal::CellId;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tokio::sync::Mutex;

/// Bytes that are kept of all files of a cell.
const ROOM: u64 = 64 << 20;
/// Bytes that are kept of one file.
const MAX_FILE: u64 = 16 << 20;
/// Number of files that are kept of a cell. Each takes an inode of this machine, however small it is, and a round trip.
const MAX_FILES: usize = 4096;
/// Parts of a path below the output directory. Directories take inodes, too; the agent's paths have at most five parts.
const MAX_PARTS: usize = 12;

/// Limits for the files of a cell. An environment may claim any size, so bytes are counted as they arrive.
#[derive(Clone, Copy)]
struct Limits {
    room: u64,
    file: u64,
    files: usize,
    parts: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { room: ROOM, file: MAX_FILE, files: MAX_FILES, parts: MAX_PARTS }
    }
}

/// Files that were copied out of a cell's environments so far.
#[derive(Default)]
pub(crate) struct Artifacts {
    limits: Limits,
    state: Mutex<CopiedFiles>,
}

#[derive(Default)]
struct CopiedFiles {
    /// All known files by path below the output directory, including files that could not be copied.
    known: BTreeMap<String, Known>,
    /// Paths that there was no room for; at most as many as files may be kept.
    left_out: BTreeSet<String>,
}

/// A file that was requested.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The size that the current environment reported.
    claimed: u64,
    /// Bytes in the output folder.
    kept: u64,
    /// Whether more arrived than could be kept.
    cut: bool,
}

impl Artifacts {
    /// Resets the sizes for a fresh environment, whose files have the same names as the previous one's but are
    /// different files.
    pub(crate) async fn begin(&self) {
        self.state.lock().await.known.values_mut().for_each(|known| known.claimed = 0);
    }

    /// Copies files that are new or have grown. A file that cannot be copied is missing, which is not fatal.
    ///
    /// `resumed` is how often the run was resumed.
    pub(crate) async fn fetch(&self, out: &Path, cell: &CellId, resumed: u32, line: &Line) {
        let mut state = self.state.lock().await;
        let Ok(EnvironmentReply::Artifacts { files }) = ask(line, EnvironmentRequest::ListArtifacts, 60).await else {
            return;
        };
        for (path, size) in files {
            let target = artifact_path(cell, resumed, &path);
            let Some(room) = state.room(&self.limits, &target, size) else { continue };
            match copy(line, &path, &out.join(&target), room).await {
                Ok((kept, cut)) => {
                    state.left_out.remove(&target);
                    state.known.insert(target, Known { claimed: size, kept, cut });
                }
                Err(e) => {
                    state.known.entry(target).or_default();
                    tracing::debug!("fetching {path}: {e}");
                }
            }
        }
    }

    /// Describes the files that were not kept, as one line for people; `None` if everything was kept.
    pub(crate) async fn left_out(&self) -> Option<String> {
        let state = self.state.lock().await;
        let (cut, omitted) = (state.known.values().filter(|known| known.cut).count(), state.left_out.len());
        if cut + omitted == 0 {
            return None;
        }
        let Limits { room, file, files, .. } = self.limits;
        let more = if omitted >= files { " or more" } else { "" };
        let mib = |bytes: u64| bytes >> 20;
        Some(format!(
            "{cut} log files were truncated and {omitted}{more} were not kept: the limits are {} MiB per file, {} MiB and \
             {files} files per cell",
            mib(file),
            mib(room)
        ))
    }
}

impl CopiedFiles {
    /// Returns how many bytes of a file may be fetched; `None` if nothing is new, or there is no room.
    fn room(&mut self, limits: &Limits, target: &str, size: u64) -> Option<u64> {
        let known = self.known.get(target).copied();
        let Known { claimed, kept, .. } = known.unwrap_or_default();
        if size <= claimed {
            return None;
        }
        let others = self.known.values().map(|known| known.kept).sum::<u64>() - kept;
        let room = limits.file.min(limits.room.saturating_sub(others));
        let is_one_too_many = known.is_none() && self.known.len() >= limits.files;
        if room == 0 || is_one_too_many || target.split('/').count() > limits.parts {
            if self.left_out.len() < limits.files {
                self.left_out.insert(target.to_owned());
            }
            return None;
        }
        // A full file is not fetched again, because nothing more of it can be kept.
        match self.known.get_mut(target) {
            Some(known) if claimed > 0 && kept >= room => {
                known.cut = true;
                None
            }
            _ => Some(room),
        }
    }
}

/// Reason why a file could not be copied.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("unexpected answer from the agent: {0}")]
    Unexpected(String),
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Copies a file or its first `room` bytes, a chunk at a time: the logs of all cells would take most of a run's memory.
/// Returns the number of copied bytes and whether the file has more.
async fn copy(line: &Line, path: &str, target: &Path, room: u64) -> Result<(u64, bool), CopyError> {
    let folder = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // The earlier copy stays until the new copy is complete.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    let mut written = 0;
    let cut = loop {
        let request = EnvironmentRequest::GetFile { path: path.to_owned(), offset: written };
        match ask(line, request, 60).await? {
            EnvironmentReply::Chunk { bytes: Base64Bytes(bytes) } => {
                let remaining = usize::try_from(room - written).unwrap_or(usize::MAX);
                let part = &bytes[..bytes.len().min(remaining)];
                file.write_all(part)?;
                written += part.len() as u64;
                if part.len() < bytes.len() || bytes.len() < CHUNK {
                    break part.len() < bytes.len();
                }
            }
            other => return Err(CopyError::Unexpected(format!("{other:?}"))),
        }
    };
    file.persist(target).map_err(|e| e.error)?;
    Ok((written, cut))
}

/// Returns the path of `/kata-qualify/artifacts/g3/serial.log` of a cell, relative to the output directory.
pub(crate) fn artifact_path(cell: &CellId, resumed: u32, path: &str) -> String {
    let below = path.split_once("/artifacts/").map_or(path, |(_, below)| below).trim_start_matches('/');
    // The agent makes these names, but its answer came through an environment, so no path may lead out of the
    // directory.
    let safe: Vec<&str> = below.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    format!("{}/{}", artifact_folder(cell, resumed), safe.join("/"))
}

/// Returns the directory of a cell's artifacts, relative to the output directory.
///
/// Files from before a run was resumed stay: each resumed process has its own directory.
pub(crate) fn artifact_folder(cell: &CellId, resumed: u32) -> String {
    let folder = format!("artifacts/{}", cell.to_string().replace([':', '/'], "-"));
    if resumed == 0 { folder } else { format!("{folder}/resumed-{resumed}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::AgentOutput;
    use protocol::frame::{self, Decoder};
    use protocol::message::{Message, NumberedRequest, VERSION};
    use std::sync::{Arc, Mutex as Lock};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::io::ReaderStream;

    /// Files of an environment with the size that each claims, and the paths that were requested.
    type Files = Arc<Lock<(BTreeMap<String, (u64, Vec<u8>)>, Vec<String>)>>;

    /// Adds or replaces a file.
    fn put(files: &Files, name: &str, claimed: u64, bytes: &[u8]) {
        let path = format!("/kata-qualify/artifacts/{name}");
        files.lock().unwrap().0.insert(path, (claimed, bytes.to_vec()));
    }

    /// Returns the names of the files that were requested since the last call.
    fn requested(files: &Files) -> Vec<String> {
        let paths = std::mem::take(&mut files.lock().unwrap().1);
        paths.iter().map(|path| path.replace("/kata-qualify/artifacts/", "")).collect()
    }

    /// Starts an agent that has files and nothing else.
    async fn agent_with(files: Files) -> Line {
        agent(move |request| answer(&files, request)).await
    }

    /// Starts an agent that replies with `answer`.
    async fn agent(answer: impl Fn(&EnvironmentRequest) -> EnvironmentReply + Send + 'static) -> Line {
        let (here, there) = tokio::io::duplex(1 << 20);
        let (from, to) = tokio::io::split(here);
        let (mut reader, mut writer) = tokio::io::split(there);
        tokio::spawn(async move {
            let send =
                |message: &Message<EnvironmentReply>| frame::encode(&serde_json::to_vec(message).unwrap()).unwrap();
            writer.write_all(&send(&Message::Hello { version: VERSION, role: "test".to_owned() })).await.unwrap();
            let (mut decoder, mut buffer) = (Decoder::default(), [0; 4096]);
            while let Ok(n @ 1..) = reader.read(&mut buffer).await {
                decoder.push(&buffer[..n]);
                while let Some(payload) = decoder.next_payload() {
                    let NumberedRequest { id, request } = serde_json::from_slice(&payload).unwrap();
                    let reply = answer(&request);
                    writer.write_all(&send(&Message::Reply { id, reply })).await.unwrap();
                }
            }
        });
        let reader = ReaderStream::new(from);
        let reader = futures_util::StreamExt::map(reader, |read| read.map(|bytes| AgentOutput::Frames(bytes.to_vec())));
        Line::open(Box::pin(reader), to, Duration::from_secs(5)).await.unwrap()
    }

    fn answer(files: &Files, request: &EnvironmentRequest) -> EnvironmentReply {
        let mut files = files.lock().unwrap();
        match request {
            EnvironmentRequest::ListArtifacts => EnvironmentReply::Artifacts {
                files: files.0.iter().map(|(path, (claimed, _))| (path.clone(), *claimed)).collect(),
            },
            EnvironmentRequest::GetFile { path, offset } => {
                files.1.push(path.clone());
                let bytes = files.0[path].1.get(usize::try_from(*offset).unwrap()..).unwrap_or_default();
                EnvironmentReply::Chunk { bytes: Base64Bytes(bytes.iter().copied().take(CHUNK).collect()) }
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn new_and_grown_files_are_copied_and_unchanged_ones_are_not() {
        let files: Files = Arc::default();
        let put = |name: &str, text: &str| put(&files, name, text.len() as u64, text.as_bytes());
        let line = agent_with(Arc::clone(&files)).await;
        let out = tempfile::tempdir().unwrap();
        let cell: CellId = "debian:13/x86_64/container".parse().unwrap();
        let stored = |name: &str| {
            std::fs::read_to_string(out.path().join(artifact_path(&cell, 0, &format!("/artifacts/{name}")))).ok()
        };
        let artifacts = Artifacts::default();
        put("g1/serial.log", "boots");
        put("g1/qemu.log", "");
        artifacts.fetch(out.path(), &cell, 0, &line).await;
        assert_eq!((stored("g1/serial.log").as_deref(), stored("g1/qemu.log")), (Some("boots"), None));
        assert_eq!(requested(&files), ["g1/serial.log"]);
        artifacts.fetch(out.path(), &cell, 0, &line).await;
        assert!(requested(&files).is_empty(), "nothing has changed");
        put("g1/serial.log", "boots and panics");
        put("../../../etc/passwd", "root");
        artifacts.fetch(out.path(), &cell, 0, &line).await;
        assert_eq!(stored("g1/serial.log").as_deref(), Some("boots and panics"));
        assert_eq!(stored("etc/passwd").as_deref(), Some("root"), "nothing leads out of the cell's folder");
        assert_eq!(artifacts.left_out().await, None);
        assert_eq!(
            artifact_path(&cell, 2, "/kata-qualify/artifacts/g1/x"),
            "artifacts/debian-13-x86_64-container/resumed-2/g1/x"
        );
        // A shorter file of the same name from another machine.
        put("g1/serial.log", "resets");
        artifacts.begin().await;
        artifacts.fetch(out.path(), &cell, 0, &line).await;
        assert_eq!(stored("g1/serial.log").as_deref(), Some("resets"));
    }

    /// Returns the bytes and the number of the files below a directory.
    fn measured(folder: &Path) -> (u64, usize) {
        let mut sum = (0, 0);
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let meta = entry.metadata().unwrap();
            let (bytes, files) = if meta.is_dir() { measured(&entry.path()) } else { (meta.len(), 1) };
            sum = (sum.0 + bytes, sum.1 + files);
        }
        sum
    }

    /// Held in memory as a whole, the logs of five releases were most of a run's memory.
    #[tokio::test]
    async fn received_parts_of_a_file_are_written_at_once() {
        let out = tempfile::tempdir().unwrap();
        let (folder, seen) = (out.path().to_owned(), Arc::new(Lock::new(Vec::new())));
        let recorder = Arc::clone(&seen);
        let line = agent(move |request| match request {
            EnvironmentRequest::ListArtifacts => {
                EnvironmentReply::Artifacts { files: vec![("/artifacts/log".to_owned(), 3 * CHUNK as u64)] }
            }
            EnvironmentRequest::GetFile { offset, .. } => {
                recorder.lock().unwrap().push((*offset, measured(&folder).0));
                let whole = *offset < 2 * CHUNK as u64;
                EnvironmentReply::Chunk { bytes: Base64Bytes(vec![7; if whole { CHUNK } else { 5 }]) }
            }
            other => panic!("{other:?}"),
        })
        .await;
        let cell: CellId = "debian:13/x86_64/container".parse().unwrap();
        Artifacts::default().fetch(out.path(), &cell, 0, &line).await;
        let chunk = CHUNK as u64;
        assert_eq!(*seen.lock().unwrap(), [(0, 0), (chunk, chunk), (2 * chunk, 2 * chunk)]);
        let stored = out.path().join(artifact_path(&cell, 0, "/artifacts/log"));
        assert_eq!(stored.metadata().unwrap().len(), 2 * chunk + 5);
        assert_eq!(measured(out.path()).1, 1, "nothing else is left there");
        let other = out.path().join("other");
        std::fs::write(&other, "").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&stored), mode(&other), "who may read other files may read it, too");
    }

    #[tokio::test]
    async fn limits_count_received_bytes_and_not_claimed_sizes() {
        let files: Files = Arc::default();
        let line = agent_with(Arc::clone(&files)).await;
        let out = tempfile::tempdir().unwrap();
        let cell: CellId = "debian:13/x86_64/container".parse().unwrap();
        let limits = Limits { room: 100, file: 40, files: 10, parts: 5 };
        let artifacts = Artifacts { limits, ..Artifacts::default() };
        for name in ["a", "b", "c", "d", "e"] {
            put(&files, name, 1, &[b'x'; 60]);
        }
        artifacts.fetch(out.path(), &cell, 0, &line).await;
        assert_eq!(measured(out.path()), (100, 3));
        assert_eq!(requested(&files), ["a", "b", "c"]);
        let message = artifacts.left_out().await.unwrap();
        assert!(
            message.starts_with("3 log files were truncated and 2 were not kept: the limits are 0 MiB per file"),
            "{message}"
        );
        // A full file is not fetched again for the rest that could not be kept.
        put(&files, "a", 70, &[b'x'; 70]);
        artifacts.fetch(out.path(), &cell, 0, &line).await;
        assert_eq!((measured(out.path()), requested(&files)), ((100, 3), vec![]));
    }

    #[tokio::test]
    async fn the_number_and_depth_of_files_are_limited() {
        let files: Files = Arc::default();
        let line = agent_with(Arc::clone(&files)).await;
        let out = tempfile::tempdir().unwrap();
        let cell: CellId = "debian:13/x86_64/container".parse().unwrap();
        let artifacts =
            Artifacts { limits: Limits { files: 3, parts: 5, ..Limits::default() }, ..Artifacts::default() };
        for name in ["1/2/3/4", "a", "b", "c/d", "e", "f"] {
            put(&files, name, 1, b"x");
        }
        artifacts.fetch(out.path(), &cell, 0, &line).await;
        assert_eq!(requested(&files), ["a", "b", "c/d"]);
        assert_eq!(measured(out.path()), (3, 3));
        let message = artifacts.left_out().await.unwrap();
        assert!(
            message
                .starts_with("0 log files were truncated and 3 or more were not kept: the limits are 16 MiB per file"),
            "{message}"
        );
    }
}
