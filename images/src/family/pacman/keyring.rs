//! The trusted keys of a distro: the equivalent of `pacman-key --init --populate`, made here by gpg in a directory of
//! its own, because pacman-key only reads the machine's keyrings.
//!
//! A distro's few main keys are trusted, and the keys of packagers as far as the main keys have signed them.

use super::KEPT;
use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::family;
use crate::progress::ImagePhase;
use crate::runner::Runner;
use crate::tree;
use model::package::is_plain;
use operator::process::sandbox::Network;
use root::Root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Program that verifies signatures.
pub(super) const PROGRAM: &str = "gpg";
/// Directory of a system's keyrings: `NAME.gpg`, `NAME-trusted`, `NAME-revoked`.
pub(super) const OF_SYSTEM: &str = "/usr/share/pacman/keyrings";
/// Directories below the image's directory for the keyrings and for gpg's home.
const KEYRINGS: &str = "pacman/keyrings";
const HOME: &str = "pacman/gnupg";
/// Size limit of a keyring, in bytes; Arch's has 2 MB.
const MAX_KEYRING: u64 = 64 << 20;

/// Makes the keyring of a release, from the files that the caller names, or else from a system's keyrings.
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
        _ => copy_named_keys(runner, folder, files)?,
    }
    let names = family::folder::names(&folder.join(KEYRINGS))?;
    let keyrings: Vec<&String> = names.iter().filter(|name| name.ends_with(".gpg")).collect();
    if keyrings.is_empty() {
        let detail = "no key is given by a base or with --mirror-key".to_owned();
        return Err(ImageErrorKind::Untrusted { detail }.into());
    }
    let sandbox_path = family::sandbox_path(folder).join(KEYRINGS);
    // A key that certifies the main keys; it never leaves this directory.
    gpg(runner, folder, |gpg| gpg.args(["--quick-generate-key", "kata-qualify", "rsa2048", "cert", "never"]))?;
    gpg(runner, folder, |gpg| gpg.arg("--import").args(keyrings.iter().map(|name| sandbox_path.join(name))))?;
    for name in names.iter().filter(|name| name.ends_with("-revoked")) {
        for key in fingerprints(&folder.join(KEYRINGS).join(name))? {
            // Deleting a revoked key fails if the key was never imported.
            let _ = gpg(runner, folder, |gpg| gpg.args(["--delete-keys", &key]));
            runner.check()?;
        }
    }
    for name in names.iter().filter(|name| name.ends_with("-trusted")) {
        for key in fingerprints(&folder.join(KEYRINGS).join(name))? {
            gpg(runner, folder, |gpg| gpg.args(["--quick-lsign-key", &key]))?;
        }
        gpg(runner, folder, |gpg| gpg.arg("--import-ownertrust").arg(sandbox_path.join(name)))?;
    }
    Ok(())
}

/// Copies a system's keyrings.
fn copy(root: &Root, folder: &Path) -> Result<(), Failure> {
    for name in root.list(Path::new(OF_SYSTEM)).map_err(tree::failed)?.iter().filter(|name| is_plain(name)) {
        let content = root.read(&Path::new(OF_SYSTEM).join(name), MAX_KEYRING).map_err(tree::failed)?;
        let to = folder.join(KEYRINGS).join(name);
        std::fs::write(&to, content).context("writing", &to)?;
    }
    Ok(())
}

/// Copies the caller's keys, which are trusted themselves.
fn copy_named_keys(runner: &Runner<'_>, folder: &Path, files: &[PathBuf]) -> Result<(), Failure> {
    for (n, file) in files.iter().enumerate() {
        let file_name = |end: &str| format!("{KEYRINGS}/{n}{end}");
        let keyring = folder.join(file_name(".gpg"));
        std::fs::write(&keyring, std::fs::read(file).context("reading the key", file)?).context("writing", &keyring)?;
        let mut show = command(folder)?;
        show.args(["--show-keys", "--with-colons"]).arg(family::sandbox_path(folder).join(file_name(".gpg")));
        let trusted = trusted(&runner.output(ImagePhase::Resolve, &mut show)?);
        let path = folder.join(file_name("-trusted"));
        std::fs::write(&path, trusted).context("writing", &path)?;
    }
    Ok(())
}

/// Converts the output of `gpg --show-keys --with-colons` to gpg's ownertrust format: the fingerprint after each main
/// key's line.
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

/// Returns the fingerprints in a file, `FINGERPRINT:4:` or alone on a line.
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

/// Checks that a file of the image's directory is signed, by the file with the same name and `.sig` appended.
///
/// # Errors
/// [`ImageErrorKind::Untrusted`], naming the file and the key.
pub(super) fn verify(runner: &Runner<'_>, folder: &Path, phase: ImagePhase, name: &str) -> Result<(), Failure> {
    let sandbox_path = family::sandbox_path(folder);
    let mut verify = command(folder)?;
    verify
        .args(["--status-fd", "1", "--verify"])
        .arg(sandbox_path.join(format!("{name}.sig")))
        .arg(sandbox_path.join(name));
    let status_output = runner.output(phase, &mut verify).map_err(|failure| match failure.cause {
        ImageErrorKind::Untrusted { detail } => Failure {
            cause: ImageErrorKind::Untrusted { detail: format!("{name}: {detail}") },
            command: failure.command,
        },
        _ => failure,
    })?;
    judge(&status_output).map_err(|error| ImageErrorKind::Untrusted { detail: format!("{name}: {error}") }.into())
}

/// A bad signature, or one by a key that is not trusted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of the release's keys has signed {key}")]
struct UntrustedSignature {
    /// Fingerprint of the key, or a text in its place.
    key: String,
}

/// Checks gpg's status for a good signature by a trusted key; otherwise returns the key.
fn judge(output: &str) -> Result<(), UntrustedSignature> {
    let status = |word: &str| {
        output
            .lines()
            .filter_map(|line| line.strip_prefix("[GNUPG:] "))
            .find(|line| line.split(' ').next() == Some(word))
    };
    let is_trusted = status("TRUST_FULLY").or_else(|| status("TRUST_ULTIMATE")).is_some();
    match status("VALIDSIG") {
        Some(_) if is_trusted => Ok(()),
        Some(valid) => Err(UntrustedSignature { key: valid.split(' ').nth(1).unwrap_or_default().to_owned() }),
        None => Err(UntrustedSignature { key: "a missing key".to_owned() }),
    }
}

/// Returns the meaning of gpg's error among these lines and the key, as worded by gpg 2.2 of Debian 12; `None` if no
/// line is gpg's.
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
    runner.run(ImagePhase::Resolve, arguments(&mut gpg))
}

fn command(folder: &Path) -> Result<Command, Failure> {
    let mut gpg = family::of_machine(folder, Network::None, PROGRAM, KEPT)?;
    gpg.arg("--homedir").arg(family::sandbox_path(folder).join(HOME));
    gpg.args(["--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]);
    Ok(gpg)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of gpg 2.2 of Debian 12.
    #[test]
    fn only_a_good_signature_of_a_trusted_key_is_accepted() {
        let status_with =
            |trust: &str| format!("[GNUPG:] GOODSIG 2433 good\n[GNUPG:] VALIDSIG A595FFA1 2026-11-29 1 0\n{trust}\n");
        assert_eq!(judge(&status_with("[GNUPG:] TRUST_FULLY 0 pgp")), Ok(()));
        assert_eq!(judge(&status_with("[GNUPG:] TRUST_ULTIMATE 0 pgp")), Ok(()));
        for trust in
            ["[GNUPG:] TRUST_UNDEFINED 0 pgp", "[GNUPG:] TRUST_NEVER", "[GNUPG:] TRUST_MARGINAL 0 pgp", "TRUST_FULLY"]
        {
            assert_eq!(judge(&status_with(trust)), Err(UntrustedSignature { key: "A595FFA1".to_owned() }), "{trust}");
        }
        assert!(judge("[GNUPG:] BADSIG 2433 good\n[GNUPG:] TRUST_FULLY 0 pgp\n").is_err());
        // The name of a key may be any text.
        assert!(judge("[GNUPG:] GOODSIG 2433 VALIDSIG x\nx [GNUPG:] VALIDSIG A\n[GNUPG:] TRUST_FULLY\n").is_err());
    }

    #[test]
    fn primary_keys_are_trusted_and_subkeys_are_not() {
        let shown = "pub:-:2048:1:2433BBC9789B2666:1795934400:::-:::scSC::::::23::0:\nfpr:::::::::A595FFA188FAE07BD5DC310E2433BBC9789B2666:\n\
            uid:-::::1795934400::X::good <good@b.example>::::::::::0:\nsub:-:2048:1:X:1::::::e::::::23:\nfpr:::::::::0000FFA188FAE07BD5DC310E2433BBC9789B2666:\n";
        assert_eq!(trusted(shown), "A595FFA188FAE07BD5DC310E2433BBC9789B2666:4:\n");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x-trusted");
        std::fs::write(&file, format!("{}# a comment\n-rf\n", trusted(shown))).unwrap();
        assert_eq!(fingerprints(&file).unwrap(), ["A595FFA188FAE07BD5DC310E2433BBC9789B2666"]);
    }
}
