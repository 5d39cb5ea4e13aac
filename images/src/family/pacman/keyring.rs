//! Whose signatures count: what `pacman-key --init --populate` makes of a distro's keyrings, made here by gpg in a folder
//! of its own, because pacman-key takes them from nowhere but the machine's.
//!
//! A distro's few main keys are trusted, and packagers' keys as far as these have signed them.

use super::KEPT;
use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::family;
use crate::progress::Phase;
use crate::runner::Runner;
use crate::tree;
use model::package::is_plain;
use operator::process::sandbox::Network;
use root::Root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What verifies.
pub(super) const PROGRAM: &str = "gpg";
/// Where a system has them: `NAME.gpg`, `NAME-trusted`, `NAME-revoked`.
pub(super) const OF_SYSTEM: &str = "/usr/share/pacman/keyrings";
/// Below the image's folder: these files, and gpg's own folder.
const KEYRINGS: &str = "pacman/keyrings";
const HOME: &str = "pacman/gnupg";
/// Bytes of a keyring; Arch's has 2 MB.
const MAX_KEYRING: u64 = 64 << 20;

/// Makes the keyring of a release: of the files that the caller names, else of a system's.
pub(super) fn make(
    runner: &Runner<'_>,
    folder: &Path,
    system: Option<&Root>,
    files: &[PathBuf],
) -> Result<(), Failure> {
    for part in [KEPT, KEYRINGS] {
        family::folder::make(&folder.join(part))?;
    }
    let home = folder.join(HOME);
    std::fs::create_dir(&home).context("creating", &home)?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&home, private).context("changing the mode of", &home)?;
    match (files, system) {
        ([], Some(root)) => copy(root, folder)?,
        _ => bring(runner, folder, files)?,
    }
    let names = family::folder::names(&folder.join(KEYRINGS))?;
    let keyrings: Vec<&String> = names.iter().filter(|name| name.ends_with(".gpg")).collect();
    if keyrings.is_empty() {
        let detail = "no key is given by a base or with --mirror-key".to_owned();
        return Err(ImageErrorKind::Untrusted { detail }.into());
    }
    let seen = family::seen(folder).join(KEYRINGS);
    // Who vouches for the main keys; it never leaves this folder.
    gpg(runner, folder, |gpg| gpg.args(["--quick-generate-key", "kata-qualify", "rsa2048", "cert", "never"]))?;
    gpg(runner, folder, |gpg| gpg.arg("--import").args(keyrings.iter().map(|name| seen.join(name))))?;
    for name in names.iter().filter(|name| name.ends_with("-revoked")) {
        for key in fingerprints(&folder.join(KEYRINGS).join(name))? {
            // Of keys that were never there nothing is removed.
            let _ = gpg(runner, folder, |gpg| gpg.args(["--delete-keys", &key]));
            runner.check()?;
        }
    }
    for name in names.iter().filter(|name| name.ends_with("-trusted")) {
        for key in fingerprints(&folder.join(KEYRINGS).join(name))? {
            gpg(runner, folder, |gpg| gpg.args(["--quick-lsign-key", &key]))?;
        }
        gpg(runner, folder, |gpg| gpg.arg("--import-ownertrust").arg(seen.join(name)))?;
    }
    Ok(())
}

/// Takes a system's keyrings.
fn copy(root: &Root, folder: &Path) -> Result<(), Failure> {
    for name in root.list(Path::new(OF_SYSTEM)).map_err(tree::failed)?.iter().filter(|name| is_plain(name)) {
        let content = root.read(&Path::new(OF_SYSTEM).join(name), MAX_KEYRING).map_err(tree::failed)?;
        let to = folder.join(KEYRINGS).join(name);
        std::fs::write(&to, content).context("writing", &to)?;
    }
    Ok(())
}

/// Takes the caller's keys, which are trusted themselves.
fn bring(runner: &Runner<'_>, folder: &Path, files: &[PathBuf]) -> Result<(), Failure> {
    for (n, file) in files.iter().enumerate() {
        let at = |end: &str| format!("{KEYRINGS}/{n}{end}");
        let keyring = folder.join(at(".gpg"));
        std::fs::write(&keyring, std::fs::read(file).context("reading the key", file)?).context("writing", &keyring)?;
        let mut show = command(folder)?;
        show.args(["--show-keys", "--with-colons"]).arg(family::seen(folder).join(at(".gpg")));
        let trusted = trusted(&runner.output(Phase::Resolve, &mut show)?);
        let path = folder.join(at("-trusted"));
        std::fs::write(&path, trusted).context("writing", &path)?;
    }
    Ok(())
}

/// What `gpg --show-keys --with-colons` says, as gpg imports trust: the fingerprint after each main key's line.
fn trusted(shown: &str) -> String {
    let mut text = String::new();
    let mut is_main = false;
    for line in shown.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        match (fields.first(), fields.get(9)) {
            (Some(&"pub"), _) => is_main = true,
            (Some(&"fpr"), Some(fingerprint)) if std::mem::take(&mut is_main) => text += &format!("{fingerprint}:4:\n"),
            _ => {}
        }
    }
    text
}

/// The fingerprints in a file, `FINGERPRINT:4:` or alone on a line.
fn fingerprints(file: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(file).context("reading", file)?;
    let is_one = |word: &&str| word.len() >= 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    Ok(text
        .lines()
        .filter_map(|line| line.split(':').next())
        .map(str::trim)
        .filter(is_one)
        .map(str::to_owned)
        .collect())
}

/// Checks that a file of the image's folder is signed, by the file of its name with `.sig` behind it.
///
/// # Errors
/// [`ImageErrorKind::Untrusted`], naming the file and the key.
pub(super) fn verify(runner: &Runner<'_>, folder: &Path, phase: Phase, name: &str) -> Result<(), Failure> {
    let seen = family::seen(folder);
    let mut verify = command(folder)?;
    verify.args(["--status-fd", "1", "--verify"]).arg(seen.join(format!("{name}.sig"))).arg(seen.join(name));
    let said = runner.output(phase, &mut verify).map_err(|failure| match failure.cause {
        ImageErrorKind::Untrusted { detail } => Failure {
            cause: ImageErrorKind::Untrusted { detail: format!("{name}: {detail}") },
            command: failure.command,
        },
        _ => failure,
    })?;
    judge(&said).map_err(|error| ImageErrorKind::Untrusted { detail: format!("{name}: {error}") }.into())
}

/// A signature is not good, or its key is not trusted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of the release's keys has signed {key}")]
struct UntrustedSignature {
    /// The key's fingerprint, or what is said in its place.
    key: String,
}

/// Reads gpg's status: good, and by a key that is trusted; else which key it is.
fn judge(said: &str) -> Result<(), UntrustedSignature> {
    let status = |word: &str| {
        said.lines().filter_map(|line| line.strip_prefix("[GNUPG:] ")).find(|line| line.split(' ').next() == Some(word))
    };
    let is_trusted = status("TRUST_FULLY").or_else(|| status("TRUST_ULTIMATE")).is_some();
    match status("VALIDSIG") {
        Some(_) if is_trusted => Ok(()),
        Some(valid) => Err(UntrustedSignature { key: valid.split(' ').nth(1).unwrap_or_default().to_owned() }),
        None => Err(UntrustedSignature { key: "a missing key".to_owned() }),
    }
}

/// What gpg's complaint among these lines means, and about which key it is, as gpg 2.2 of Debian 12 words it; nothing where
/// none is gpg's.
pub(super) fn cause(lines: &[String]) -> Option<ImageErrorKind> {
    let line = lines.iter().find(|line| line.starts_with("gpg: ") && is_no_good(line))?;
    let key = lines.iter().find_map(|line| line.split_once(" key ").filter(|_| line.starts_with("gpg:  ")));
    let key = key.map(|(_, key)| format!(" ({key})")).unwrap_or_default();
    Some(ImageErrorKind::Untrusted { detail: format!("{}{key}", line.trim_start_matches("gpg: ")) })
}

fn is_no_good(line: &str) -> bool {
    [
        "BAD signature",
        "Can't check signature",
        "no valid OpenPGP data",
        "no signature found",
        "the signature could not be verified",
    ]
    .iter()
    .any(|phrase| line.contains(phrase))
}

fn gpg(
    runner: &Runner<'_>,
    folder: &Path,
    arguments: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<(), Failure> {
    let mut gpg = command(folder)?;
    runner.run(Phase::Resolve, arguments(&mut gpg))
}

fn command(folder: &Path) -> Result<Command, Failure> {
    let mut gpg = family::of_machine(folder, Network::None, PROGRAM, KEPT)?;
    gpg.arg("--homedir").arg(family::seen(folder).join(HOME));
    gpg.args(["--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]);
    Ok(gpg)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As gpg 2.2 of Debian 12 says it.
    #[test]
    fn only_a_good_signature_of_a_trusted_key_counts() {
        let of =
            |trust: &str| format!("[GNUPG:] GOODSIG 2433 good\n[GNUPG:] VALIDSIG A595FFA1 2026-11-29 1 0\n{trust}\n");
        assert_eq!(judge(&of("[GNUPG:] TRUST_FULLY 0 pgp")), Ok(()));
        assert_eq!(judge(&of("[GNUPG:] TRUST_ULTIMATE 0 pgp")), Ok(()));
        for trust in
            ["[GNUPG:] TRUST_UNDEFINED 0 pgp", "[GNUPG:] TRUST_NEVER", "[GNUPG:] TRUST_MARGINAL 0 pgp", "TRUST_FULLY"]
        {
            assert_eq!(judge(&of(trust)), Err(UntrustedSignature { key: "A595FFA1".to_owned() }), "{trust}");
        }
        assert!(judge("[GNUPG:] BADSIG 2433 good\n[GNUPG:] TRUST_FULLY 0 pgp\n").is_err());
        // The name of a key may say anything.
        assert!(judge("[GNUPG:] GOODSIG 2433 VALIDSIG x\nx [GNUPG:] VALIDSIG A\n[GNUPG:] TRUST_FULLY\n").is_err());
    }

    #[test]
    fn main_keys_are_trusted_and_their_parts_are_not() {
        let shown = "pub:-:2048:1:2433BBC9789B2666:1795934400:::-:::scSC::::::23::0:\nfpr:::::::::A595FFA188FAE07BD5DC310E2433BBC9789B2666:\n\
            uid:-::::1795934400::X::good <good@b.example>::::::::::0:\nsub:-:2048:1:X:1::::::e::::::23:\nfpr:::::::::0000FFA188FAE07BD5DC310E2433BBC9789B2666:\n";
        assert_eq!(trusted(shown), "A595FFA188FAE07BD5DC310E2433BBC9789B2666:4:\n");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x-trusted");
        std::fs::write(&file, format!("{}# a comment\n-rf\n", trusted(shown))).unwrap();
        assert_eq!(fingerprints(&file).unwrap(), ["A595FFA188FAE07BD5DC310E2433BBC9789B2666"]);
    }
}
