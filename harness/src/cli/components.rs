//! `--component`: files on this machine, and components of other releases.

use crate::cli::UsageError;
use crate::donor::Donation;
use crate::replacement::Replacement;
use model::arch::Arch;
use model::database::Database;
use model::diagnostic::error_chain;
use std::collections::BTreeSet;

/// Parses the replacements of the distro's own components: `NAME=PATH` is a file, `NAME@RELEASE` another release's
/// component.
///
/// # Errors
/// If the form is wrong, or a component is given twice.
pub(super) fn components(
    texts: &[String],
    database: &Database,
    arch: Arch,
) -> Result<(Vec<Replacement>, Vec<Donation>), UsageError> {
    let (mut files, mut donations, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for text in texts {
        let component = match Donation::parse(text, database, arch) {
            Some(donation) => {
                let donation = donation.map_err(|e| UsageError(format!("--component {text}: {}", error_chain(&e))))?;
                let component = donation.component;
                donations.push(donation);
                component
            }
            None => {
                let file = Replacement::parse(text).map_err(|e| UsageError(format!("--component {e}")))?;
                let component = file.component;
                files.push(file);
                component
            }
        };
        if !seen.insert(component) {
            return Err(UsageError(format!("--component {text}: this component is given twice")));
        }
    }
    Ok((files, donations))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_files_or_releases_and_given_only_once_each() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("virtiofsd");
        std::fs::write(&file, "daemon").unwrap();
        let file = format!("virtiofsd={}", file.display());
        let of = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            components(&texts, &Database::embedded(), Arch::X86_64).map_err(|e| e.to_string())
        };
        let (files, donations) = of(&[&file, "qemu@debian:12", "kernel@debian:13"]).unwrap();
        assert_eq!((files.len(), donations.len()), (1, 2));
        for (wrong, expected) in [
            (&[file.as_str(), "virtiofsd@debian:13"][..], "given twice"),
            (&["qemu@debian:12", "qemu@debian:13"], "given twice"),
            (&["qemu@debian"], "--component qemu@debian: `debian` matches several releases"),
            (&["qemu"], "NAME=PATH"),
        ] {
            let error = of(wrong).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
