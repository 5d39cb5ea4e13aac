//! Confinement: a guest cannot leave the share.

use super::proves::{SANDBOX_NONE, SHARED_FILES};
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::{Action, Bytes, Pair, Reply};
use crate::row::{Row, row};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const SOURCE: &str = include_str!("confinement.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Pair(symlinks_of_the_host_do_not_lead_out), SHARED_FILES).also_with(SANDBOX_NONE),
    row!(Pair(symlinks_of_the_guest_do_not_lead_out), SHARED_FILES).also_with(SANDBOX_NONE),
    row!(Pair(dot_dot_does_not_lead_out), SHARED_FILES).also_with(SANDBOX_NONE),
];

const SECRET: &[u8] = b"a file of the host outside of the share";

/// A directory of the host outside of the share, with a secret in it; removed at the end.
struct Outside {
    directory: PathBuf,
}

impl Outside {
    /// Creates the directory next to the share's root, or in the directory for temporary files.
    fn of(pair: &Pair<'_>) -> Result<Outside, Stop> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("outside-of-the-share-{}-{number}", std::process::id());
        let share = share_root(pair)?;
        let beside = share.parent().map(|parent| parent.join(&name));
        let temporary = std::env::temp_dir().join(&name);
        let places = beside.into_iter().chain([temporary]);
        let made = places.into_iter().find(|place| fs::create_dir(place).is_ok());
        let directory = made.ok_or_else(|| Stop::error("there is no place for a file outside of the share"))?;
        let outside = Outside { directory };
        fs::write(outside.secret(), SECRET)
            .map_err(|e| Stop::error(format!("writing a file outside of the share: {e}")))?;
        Ok(outside)
    }

    fn secret(&self) -> PathBuf {
        self.directory.join("secret")
    }

    fn must_be_untouched(&self, by: &str) -> Check {
        let names: Vec<_> = fs::read_dir(&self.directory)
            .map_err(|e| {
                Stop::fail(format!("{by}: the host's directory outside of the share cannot be listed any more: {e}"))
            })?
            .filter_map(Result::ok)
            .map(|entry| entry.file_name())
            .collect();
        ensure!(
            names == ["secret"],
            "{by}: expected only \"secret\" outside of the share, saw {names:?}: the guest got out"
        );
        let seen = fs::read(self.secret()).doing("reading the file outside of the share")?;
        ensure!(
            seen == SECRET,
            "{by}: expected the host's file outside of the share unchanged, saw {} other bytes: the guest got out",
            seen.len()
        );
        Ok(())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // Any remains are in a directory for temporary files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Returns the host's path of the share's root.
fn share_root(pair: &Pair<'_>) -> Result<PathBuf, Stop> {
    let host =
        fs::canonicalize(&pair.host).map_err(|e| Stop::error(format!("resolving {}: {e}", pair.host.display())))?;
    let levels = pair.relative.components().count();
    host.ancestors().nth(levels).map(Path::to_path_buf).ok_or_else(|| Stop::error("the share's root is above /"))
}

/// Returns `../../…/` from the test's directory up to the root of the host and down to `path`.
fn climbing_to(path: &Path) -> PathBuf {
    let mut climb: PathBuf = std::iter::repeat_n("..", 40).collect();
    climb.extend(path.components().skip(1));
    climb
}

/// Checks that the guest does not read the host's secret at `path`.
fn must_not_read(pair: &mut Pair<'_>, path: Bytes, what: &str) -> Check {
    match pair.guest.act(Action::Read { path })? {
        Reply::Data { data } if data.0 == SECRET => {
            Err(Stop::fail(format!("{what}: expected the guest to stay inside, but it read the host's file")))
        }
        Reply::Data { .. } | Reply::Refused { .. } => Ok(()),
        other => Err(Stop::error(format!("asked the guest to read, it replied {other:?}"))),
    }
}

fn try_everything(pair: &mut Pair<'_>, outside: &Outside, name: &str, what: &str) -> Check {
    must_not_read(pair, pair.in_guest(name), what)?;
    let write =
        Action::Write { path: pair.in_guest(name), data: Bytes(b"overwritten".to_vec()), append: false, sync: false };
    let truncate = Action::Truncate { path: pair.in_guest(name), length: 0 };
    let chmod = Action::Chmod { path: pair.in_guest(name), mode: 0o777 };
    for action in [write, truncate, chmod] {
        // Both are fine: a refusal, and an action inside the guest.
        pair.guest.act(action)?;
        outside.must_be_untouched(what)?;
    }
    Ok(())
}

/// Symlinks in the share that point to a file of the host, absolute or by `..`, are resolved in the guest: it never
/// reads, writes or changes the host's file.
///
/// The guest is untrusted, which is why it is a VM; a server that follows links on the host gives it access to the
/// node, as QEMU's 9p server did (CVE-2016-9602). Kata's threat model relies on the daemon for this
/// (docs/threat-model/threat-model.md@4.1.0).
fn symlinks_of_the_host_do_not_lead_out(pair: &mut Pair<'_>) -> Check {
    let outside = Outside::of(pair)?;
    symlink(outside.secret(), pair.on_host("absolute")).doing("the host, making an absolute symlink")?;
    symlink(climbing_to(&outside.secret()), pair.on_host("relative")).doing("the host, making a relative symlink")?;
    symlink(&outside.directory, pair.on_host("directory")).doing("the host, making a symlink to a directory")?;
    try_everything(pair, &outside, "absolute", "through an absolute symlink of the host")?;
    try_everything(pair, &outside, "relative", "through a relative symlink of the host")?;
    try_everything(pair, &outside, "directory/secret", "through a symlink to a directory of the host")?;
    pair.guest.act(Action::Write {
        path: pair.in_guest("directory/new"),
        data: Bytes(Vec::new()),
        append: false,
        sync: false,
    })?;
    outside.must_be_untouched("creating through a symlink to a directory of the host")
}

/// Symlinks that the guest makes do not lead out of the share, and do not mislead the daemon when it makes, renames or
/// links files below them.
///
/// A container can choose these links freely; the daemon must use openat(2) with O_NOFOLLOW or O_PATH and its own
/// namespace, never paths. Kata's threat model relies on the daemon for this (docs/threat-model/threat-model.md@4.1.0).
fn symlinks_of_the_guest_do_not_lead_out(pair: &mut Pair<'_>) -> Check {
    let outside = Outside::of(pair)?;
    let targets = [
        ("absolute", outside.secret()),
        ("relative", climbing_to(&outside.secret())),
        ("directory", outside.directory.clone()),
        ("climbing", climbing_to(&outside.directory)),
    ];
    for (name, target) in &targets {
        let action = Action::Symlink { target: Bytes::from(target), path: pair.in_guest(name) };
        pair.done(&format!("making the symlink {name}"), action)?;
    }
    pair.guest_writes("file", b"inside", false)?;
    for name in ["absolute", "relative", "directory/secret", "climbing/secret"] {
        try_everything(pair, &outside, name, &format!("through the guest's symlink {name}"))?;
    }
    for below in ["directory/new", "climbing/new"] {
        let (file, to) = (pair.in_guest("file"), pair.in_guest(below));
        let actions = [
            Action::Link { from: file.clone(), to: to.clone() },
            Action::Mkdir { path: to.clone() },
            Action::Rename { from: file.clone(), to: to.clone() },
        ];
        for action in actions {
            pair.guest.act(action)?;
            outside.must_be_untouched(&format!("through the guest's {below}"))?;
        }
    }
    Ok(())
}

/// `..` at the share's root stays in the share: it shows nothing of the host's parent directory, and nothing can be
/// made there.
///
/// FUSE and 9p requests name a parent and an entry, and the guest itself resolves `..` at the root; a server that
/// resolved it would leave its directory. Kata's threat model relies on the daemon for this
/// (docs/threat-model/threat-model.md@4.1.0).
fn dot_dot_does_not_lead_out(pair: &mut Pair<'_>) -> Check {
    let outside = Outside::of(pair)?;
    let climb: PathBuf = std::iter::repeat_n("..", 40).collect();
    let host = outside.secret();
    must_not_read(pair, Bytes::from(&climbing_to(&host)), "climbing by .. from the share's root")?;
    let levels = pair.relative.components().count();
    let up: PathBuf = std::iter::repeat_n("..", levels + 1).collect();
    let share = share_root(pair)?;
    if let Ok(beside) = host.strip_prefix(share.parent().unwrap_or(Path::new("/"))) {
        let path = Bytes::from(&pair.relative.join(&up).join(beside));
        must_not_read(pair, path, "stepping beside the share by ..")?;
    }
    let mark = format!("made-by-dot-dot-{}", std::process::id());
    for way in [pair.relative.join(&up).join(&mark), climb.join(&mark)] {
        let reply = pair.guest.act(Action::Mkdir { path: Bytes::from(&way) })?;
        let places = share.ancestors().skip(1).map(|place| place.join(&mark));
        let escaped = places.into_iter().find(|place| place.exists());
        // Remove the guest's own directory only after checking that the host's is untouched.
        if reply == Reply::Done {
            pair.guest.act(Action::Remove { path: Bytes::from(&way) })?;
        }
        ensure!(
            escaped.is_none(),
            "mkdir by ..: expected nothing of it on the host, saw {escaped:?}: the guest got out"
        );
    }
    outside.must_be_untouched("climbing by ..")
}
