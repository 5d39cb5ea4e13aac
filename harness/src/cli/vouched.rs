//! Who vouches for what an image is made of: the distro, or the caller.

use crate::cli::UsageError;
use crate::cli::arguments::ImageArguments;
use images::external_file::ExternalFile;
use model::database::Database;
use std::path::Path;

/// What vouches for the packages in the distro's place, if anything does: keys of the caller's, or an image by its path
/// alone, which brings packages, and of most distros the repositories and their keys, too.
///
/// With the checksum that its publisher names, an image is the one that was published.
pub(super) fn in_the_distros_place(arguments: &ImageArguments) -> Option<String> {
    if !arguments.mirror_keys.is_empty() {
        return Some("keys that --mirror-key names vouch for the packages".to_owned());
    }
    let images = [("--cloud-image", &arguments.cloud_image), ("--oci-image", &arguments.oci_image)];
    images.into_iter().find_map(|(option, given)| {
        // What cannot be read is refused elsewhere.
        let image = ExternalFile::parse(given.as_deref()?).ok()?;
        image.checksum.is_none().then(|| format!("an image without its publisher's checksum is anybody's ({option})"))
    })
}

/// Refuses to write what only the caller vouches for beside the shipped records, which speak of distros' own packages.
pub(super) fn is_not_shipped(what: &str, records: Option<&Path>) -> Result<(), UsageError> {
    let why = format!("--write-back: {what}, and the shipped records speak of each distro's own");
    let Some(folder) = records else {
        return Err(UsageError(format!("{why}; name a folder of your own with --records")));
    };
    // A folder of one's own changes some records; only the repository has all of them.
    let shipped = Database::embedded();
    let is_there = |distro: &str| folder.join(format!("{distro}.yaml")).exists();
    match shipped.records().all(|record| is_there(&record.distro)) {
        true => Err(UsageError(format!("{why}; {} has these records, name another folder", folder.display()))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Command};
    use clap::Parser as _;

    #[test]
    fn an_image_by_its_path_alone_is_anybodys_and_one_by_its_checksum_is_its_publishers() {
        let sum = format!("#sha256:{}", "0".repeat(64));
        let vouched = |more: &[&str]| {
            let words = [&["kata-qualify", "run", "debian:13"], more].concat();
            let Command::Run(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
            in_the_distros_place(&arguments.images)
        };
        assert_eq!(vouched(&[]), None);
        assert_eq!(vouched(&["--source", "oci", "--mirror", "http://a.example/debian"]), None);
        for (option, file) in [("--oci-image", "x.tar"), ("--cloud-image", "x.qcow2")] {
            assert!(vouched(&[option, file]).unwrap().contains(option));
            let named = format!("{file}{sum}");
            assert_eq!(vouched(&[option, &named]), None);
            let with_key = vouched(&[option, &named, "--mirror", "file:///m", "--mirror-key", "k"]);
            assert!(with_key.unwrap().contains("--mirror-key"));
        }
    }
}
