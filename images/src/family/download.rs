//! Files from a mirror, fetched by this machine's curl for families whose own program selects packages but does not
//! fetch.
//!
//! curl may write only to the image's directory, and only curl gets credentials: they are in a file for root that is
//! removed at once, and in no argument.
//! Fetched files are trusted only after verification.

use super::credentials::Login;
use super::folder;
use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::progress::ImagePhase;
use crate::runner::Runner;
use operator::process::sandbox::Network;
use std::path::Path;

/// Name of the program.
pub(super) const PROGRAM: &str = "curl";
/// Directory below the image's directory for curl's configuration.
const FOLDER: &str = "download";
/// Size limit of a file, in bytes.
const MAX_FILE: u64 = 8 << 30;

/// A file to fetch, and its name below the image's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DownloadRequest {
    pub(super) address: String,
    pub(super) name: String,
}

/// Fetches files; the target directories must exist.
pub(super) fn fetch(
    runner: &Runner<'_>,
    phase: ImagePhase,
    folder: &Path,
    requests: &[DownloadRequest],
    logins: &[Login],
) -> Result<(), Failure> {
    if requests.is_empty() {
        return Ok(());
    }
    let private = folder.join(FOLDER);
    folder::make_private(&private)?;
    let settings = settings(&super::sandbox_path(folder), requests, logins);
    let fetched = folder::write_private(&private.join("config"), &settings).and_then(|()| {
        let mut curl = super::of_machine(folder, Network::Machine, PROGRAM, FOLDER)?;
        // Must be the first argument: without it curl reads the settings of the user who calls it.
        curl.arg("--disable").arg("--config").arg(super::sandbox_path(folder).join(FOLDER).join("config"));
        runner.run(phase, &mut curl)
    });
    let removed = std::fs::remove_dir_all(&private).context("removing", &private);
    fetched.and(removed)
}

/// Returns the configuration in the format of curl(1).
fn settings(sandbox_path: &Path, requests: &[DownloadRequest], logins: &[Login]) -> String {
    let mut text = String::new();
    for (n, one) in requests.iter().enumerate() {
        if n > 0 {
            text += "next\n";
        }
        text += "fail-early\nsilent\nshow-error\nfail\nlocation\nmax-redirs = 5\nretry = 2\nconnect-timeout = 30\nspeed-time = 60\nspeed-limit = 100\n";
        text += "proto = \"=http,https,file\"\nproto-redir = \"=http,https\"\n";
        text += &format!("max-filesize = {MAX_FILE}\n");
        let output = sandbox_path.join(&one.name).display().to_string();
        text += &format!("url = {}\noutput = {}\n", quoted(&one.address), quoted(&output));
        let is_its = |login: &&Login| {
            one.address
                .strip_prefix(login.address.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(login) = logins.iter().find(is_its) {
            text += &format!("user = {}\n", quoted(&format!("{}:{}", login.user, login.password)));
        }
    }
    text
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out + "\""
}

/// Returns the meaning of curl's message among these lines, as worded by curl 7.88 of Debian 12; `None` if no line is
/// curl's.
pub(super) fn cause(lines: &[String]) -> Option<ImageErrorKind> {
    lines.iter().find_map(|line| cause_of(line))
}

fn cause_of(line: &str) -> Option<ImageErrorKind> {
    let code = line.strip_prefix("curl: (")?.split(')').next()?.parse::<u8>().ok()?;
    let missing = line.contains("error: 404") || line.contains("error: 410");
    Some(match code {
        // A `file:` address that does not exist.
        37 => ImageErrorKind::NoSuchRelease { what: "a file of the repository".to_owned() },
        22 if missing => ImageErrorKind::NoSuchRelease { what: "a file of the repository".to_owned() },
        23 if line.contains("No space left") => ImageErrorKind::DiskFull,
        _ => ImageErrorKind::MirrorUnreachable { detail: line.to_owned(), cached_age: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::credentials;

    #[test]
    fn credentials_are_set_only_for_their_mirror_and_values_are_quoted() {
        let login = credentials::split("http://me:p%22w@a.example/arch").unwrap().1.unwrap();
        let requests = ["http://a.example/arch/core.db", "http://a.example/archive/x\"\nuser = \"y"];
        let requests =
            requests.map(|address| DownloadRequest { address: address.to_owned(), name: "sync/core.db".to_owned() });
        let text = settings(Path::new("/tmp"), &requests, &[login]);
        let (first, second) = text.split_once("next\n").unwrap();
        assert!(first.contains("output = \"/tmp/sync/core.db\"\nuser = \"me:p\\\"w\"\n"), "{first}");
        assert!(second.contains("url = \"http://a.example/archive/x\\\"user = \\\"y\"\n"), "{second}");
        assert!(!second.contains("\nuser"), "{second}");
    }

    #[test]
    fn missing_files_and_unreachable_mirrors_are_distinguished() {
        let missing = |line: &str| matches!(cause_of(line), Some(ImageErrorKind::NoSuchRelease { .. }));
        assert!(missing("curl: (37) Couldn't open file /nonexist"));
        assert!(missing("curl: (22) The requested URL returned error: 404"));
        let silent = |line: &str| matches!(cause_of(line), Some(ImageErrorKind::MirrorUnreachable { .. }));
        assert!(silent("curl: (7) Failed to connect to 127.0.0.1 port 9 after 0 ms: Couldn't connect to server"));
        assert!(silent("curl: (22) The requested URL returned error: 503"));
        let lines = ["gpg: (7) x", "curl: (23) No space left on device"].map(str::to_owned);
        assert!(matches!(cause(&lines), Some(ImageErrorKind::DiskFull)));
        assert!(cause(&lines[..1]).is_none());
    }
}
