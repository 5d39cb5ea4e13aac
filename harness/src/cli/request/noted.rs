//! The parts of `kata-qualify run`'s arguments that the journal records: nothing secret, no host names.

use crate::cli::arguments::{ImageArguments, In, RunArguments};
use images::external_file::ExternalFile;
use reports::journal::{RunFacts, RunFilter};
use std::path::PathBuf;
use suites::environment::Effort;

/// Returns the facts on which reports base decisions.
pub(super) fn facts(arguments: &RunArguments) -> RunFacts {
    RunFacts {
        filter: RunFilter::matching(&arguments.filters),
        repeat: (arguments.repeat > 1).then_some(arguments.repeat),
        vm_memory_mib: arguments.environments.contains(&In::Vm).then_some(arguments.vm_memory),
        has_callers_keys: !arguments.images.mirror_keys.is_empty(),
        has_callers_image: given_images(&arguments.images).next().is_some(),
        strict: arguments.strict,
        // Known only once the mirrors were asked.
        unasked: Vec::new(),
    }
}

/// Returns the images that are given, by their options; unparseable ones are refused elsewhere.
fn given_images(arguments: &ImageArguments) -> impl Iterator<Item = (&'static str, ExternalFile)> {
    let sources = [("--cloud-image", &arguments.cloud_image), ("--oci-image", &arguments.oci_image)];
    sources.into_iter().filter_map(|(option, text)| Some((option, ExternalFile::parse(text.as_deref()?).ok()?)))
}

/// Returns the options of the run, as text.
pub(super) fn options(arguments: &RunArguments) -> Vec<String> {
    let images = &arguments.images;
    let mut options = Vec::new();
    for (is_given, word) in [
        (images.accept_expired, "--accept-expired"),
        (arguments.offline, "--offline"),
        (images.mirror.is_some(), "--mirror"),
        (images.security_mirror.is_some(), "--security-mirror"),
        (!images.mirror_keys.is_empty(), "--mirror-key"),
        (images.overlay.is_some(), "--overlay"),
        (arguments.records.is_some(), "--records"),
        (arguments.thorough, "--thorough"),
    ] {
        if is_given {
            options.push(word.to_owned());
        }
    }
    options.extend(facts(arguments).vm_memory_option());
    for (word, source) in given_images(images) {
        // Without a checksum nobody knows which image it is, which a reader of the journal must see.
        let named = |source: ExternalFile| {
            let checksum = source.checksum.as_ref().map(|checksum| format!("#{checksum}")).unwrap_or_default();
            format!("{word} {}{checksum}", source.name())
        };
        options.push(named(source));
    }
    if arguments.seed != Effort::SEED {
        options.push(format!("--seed {}", arguments.seed));
    }
    if arguments.repeat > 1 {
        options.push(format!("--repeat {}", arguments.repeat));
    }
    options.extend(images.install.iter().map(|package| format!("--install {package}")));
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    options.extend(images.with_packages.iter().map(|path| format!("--with-packages {}", name(path))));
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Command};
    use clap::Parser as _;

    fn parsed(more: &[&str]) -> RunArguments {
        let words = [&["kata-qualify", "run", "debian:13"], more].concat();
        let Command::Run(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
        *arguments
    }

    #[test]
    fn an_image_is_noted_with_its_checksum_or_without_one() {
        let noted = |image: &str| options(&parsed(&["--oci-image", image]));
        let sum = "0".repeat(64);
        assert_eq!(noted("of/x.tar"), ["--oci-image x.tar"]);
        assert_eq!(noted(&format!("of/x.tar#{sum}")), [format!("--oci-image x.tar#sha256:{sum}")]);
    }

    /// The journal must record the same shapes that `--write-back` refuses.
    #[test]
    fn run_facts_follow_from_the_arguments() {
        assert_eq!(facts(&parsed(&[])), RunFacts::default());
        let all = parsed(&["--in", "vm", "--vm-memory", "4096", "--repeat", "5", "--test", "rerun of r1"]);
        let expected = RunFacts {
            filter: Some(RunFilter::Matching("rerun of r1".to_owned())),
            repeat: Some(5),
            vm_memory_mib: Some(4096),
            ..RunFacts::default()
        };
        assert_eq!(facts(&all), expected);
        assert_eq!(options(&all), ["--vm-memory 4096", "--repeat 5"]);
        for words in [&["--test", "host::,vmm.vsock"][..], &["--test", "host::", "--test", "vmm.vsock"]] {
            let several = RunFilter::Matching("host::,vmm.vsock".to_owned());
            assert_eq!(facts(&parsed(words)), RunFacts { filter: Some(several), ..RunFacts::default() });
        }
        assert!(facts(&parsed(&["--strict"])).strict);
        let checked = format!("x.tar#{}", "0".repeat(64));
        let key = ["--mirror", "file:///m", "--mirror-key", "k"];
        for more in
            [&["--oci-image", "x.tar"][..], &["--cloud-image", "x.qcow2"], &["--oci-image", checked.as_str()], &key]
        {
            let arguments = parsed(more);
            let by_caller = crate::cli::vouched::by_options(&arguments.images);
            assert_eq!(facts(&arguments).is_shaped(), by_caller.is_some(), "{more:?}");
            // Facts as they are read from the options in an older program's journal.
            assert_eq!(RunFacts::of_run_start(None, None, &options(&arguments)), facts(&arguments), "{more:?}");
        }
    }
}
