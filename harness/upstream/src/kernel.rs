//! Comparison of the options of Kata's own guest kernel with Kata's configuration fragments.
//!
//! Every option is compared at the release from which the options were taken, and at later releases and `main`, where a
//! difference is a later change.

use crate::checkout::{Checkout, CheckoutError, MAIN, Tree};
use crate::report::{Report, SourceDifference};
use crate::source::assignments;
use model::arch::Arch;
use model::kata_version::KataVersion;
use model::kernel::{Condition, FOLDER, Fragment, Fragments, folder_of};
use std::collections::{BTreeMap, BTreeSet};

/// Directories that are left out of the options; `fragments.yaml` has the reasons.
const LEFT_OUT: [&str; 4] = ["build-type/", "debug/", "gpu/", "riscv/"];
/// List of the options that Kata's build may lack.
const MAY_LACK: &str = "whitelist.conf";

/// Compares the options with a checkout.
///
/// # Errors
/// When the checkout cannot be read.
pub(crate) fn compare(checkout: &Checkout, report: &mut Report) -> Result<(), CheckoutError> {
    compare_fragments(checkout, Fragments::kata(), report)
}

fn compare_fragments(checkout: &Checkout, kata: &Fragments, report: &mut Report) -> Result<(), CheckoutError> {
    let mut tags = vec![kata.tag.clone()];
    if let Ok(version) = kata.tag.parse::<KataVersion>() {
        let releases = checkout.releases_from(version)?;
        tags.extend(releases.into_iter().filter(|release| *release != version).map(|release| release.to_string()));
    }
    tags.push(MAIN.to_owned());
    for tag in tags {
        match checkout.tree(&tag, &[FOLDER])? {
            Some(tree) => compare_tree(&tree, kata, &tag, report),
            None => report.differences.push(SourceDifference {
                place: FOLDER.to_owned(),
                what: "there is no such tag in the checkout".to_owned(),
                tag,
            }),
        }
    }
    Ok(())
}

fn compare_tree(tree: &Tree, kata: &Fragments, tag: &str, report: &mut Report) {
    let difference = |place: String, what: String| SourceDifference { tag: tag.to_owned(), place, what };
    let mut seen = BTreeSet::new();
    for (file, text) in tree.within(FOLDER) {
        let left_out = LEFT_OUT.iter().any(|folder| file.starts_with(folder)) || file.starts_with("whitelist");
        let options = assignments(text);
        // The text of a symbolic link is its target and has no options.
        if left_out || !file.ends_with(".conf") || options.is_empty() {
            continue;
        }
        seen.insert(file);
        let place = format!("{FOLDER}/{file}");
        let Some(fragment) = kata.fragments.iter().find(|fragment| fragment.file == file) else {
            report.differences.push(difference(place, "the options do not have this fragment".to_owned()));
            continue;
        };
        report.values += options.len();
        report.differences.extend(options_of(fragment, &options).into_iter().map(|(line, what)| {
            let place = line.map_or_else(|| place.clone(), |line| format!("{place}:{line}"));
            difference(place, what)
        }));
        report.differences.extend(conditions_of(fragment, text).map(|what| difference(place, what)));
    }
    let gone = kata.fragments.iter().filter(|fragment| !seen.contains(fragment.file.as_str()));
    report.differences.extend(gone.map(|fragment| {
        difference(
            format!("{FOLDER}/{}", fragment.file),
            "there is no such fragment, though the options have it".into(),
        )
    }));
    let listed: BTreeSet<String> = tree
        .within(FOLDER)
        .filter(|(file, _)| *file == MAY_LACK)
        .flat_map(|(_, text)| text.lines().filter_map(|line| line.trim().strip_prefix("CONFIG_")).map(str::to_owned))
        .collect();
    report.values += listed.len();
    let place = format!("{FOLDER}/{MAY_LACK}");
    let more = listed.difference(&kata.may_lack).map(|name| format!("{name} may be lacking, by Kata"));
    let less = kata.may_lack.difference(&listed).map(|name| format!("{name} may be lacking, by the options alone"));
    report.differences.extend(more.chain(less).map(|what| difference(place.clone(), what)));
}

/// Returns the differences between a fragment and its options, with the line in Kata's fragment if there is one.
fn options_of(fragment: &Fragment, found: &[(String, &str, usize)]) -> Vec<(Option<usize>, String)> {
    let ours: BTreeMap<&str, &str> = fragment.all().map(|option| (option.name, option.kata_value.value())).collect();
    let theirs: BTreeMap<&str, (&str, usize)> =
        found.iter().filter_map(|(name, value, line)| Some((name.strip_prefix("CONFIG_")?, (*value, *line)))).collect();
    let changed = theirs.iter().filter_map(|(name, (value, line))| match ours.get(name) {
        Some(ours) if ours == value => None,
        Some(ours) => Some((Some(*line), format!("{name} is {value}, and {ours} in the options"))),
        None => Some((Some(*line), format!("{name}={value} is not among the options"))),
    });
    let missing = ours.keys().filter(|name| !theirs.contains_key(*name));
    changed.chain(missing.map(|name| (None, format!("{name} is gone, and among the options")))).collect()
}

/// Returns the difference between the options and the header of a common fragment, which names architectures that it is
/// not for.
fn conditions_of(fragment: &Fragment, text: &str) -> Option<String> {
    if !fragment.file.starts_with("common/") {
        return None;
    }
    let comments = text.lines().filter(|line| line.starts_with('#'));
    let words: BTreeSet<&str> = comments
        .flat_map(|line| line.split('!').skip(1))
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default())
        .collect();
    let except: BTreeSet<Arch> = words.iter().filter_map(|word| arch_of(word)).collect();
    let ours: BTreeSet<Arch> = fragment.except.iter().copied().collect();
    let confidential = words.contains("confidential");
    if except != ours {
        let names = |arches: &BTreeSet<Arch>| arches.iter().map(|arch| arch.name()).collect::<Vec<_>>().join(", ");
        return Some(format!("it is not for [{}], and not for [{}] in the options", names(&except), names(&ours)));
    }
    (confidential != (fragment.when == Some(Condition::NotConfidential)))
        .then(|| "whether it is for confidential guests differs from the options".to_owned())
}

/// Returns the architecture with this name of Kata or Linux; `None` if records do not support it.
fn arch_of(word: &str) -> Option<Arch> {
    Arch::ALL.iter().copied().find(|arch| arch.name() == word || folder_of(*arch) == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kata(more: &str) -> Fragments {
        let text = format!(
            "tag: 4.1.0\nmay-lack: [OLD]\nfragments:\n  - {{file: common/a.conf, except: [s390x], options: [ONE, TWO]}}\n{more}"
        );
        serde_yaml::from_str(&text).unwrap()
    }

    fn compared(kata: &Fragments, files: &[(&str, &str)]) -> (Vec<String>, usize) {
        let files = files.iter().map(|(file, text)| (format!("{FOLDER}/{file}"), (*text).into())).collect();
        let mut report = Report::default();
        compare_tree(&Tree::made(files), kata, "4.1.0", &mut report);
        (report.differences.iter().map(ToString::to_string).collect(), report.values)
    }

    const A: &str = "# !s390x !riscv\nCONFIG_ONE=y\n\nCONFIG_TWO=y\n";
    const MAY: (&str, &str) = ("whitelist.conf", "# a comment\nCONFIG_OLD\n");

    #[test]
    fn katas_own_kernel_options_show_no_difference() {
        let other = [("riscv/base.conf", "CONFIG_R=y\n"), ("x86_64/confidential/snp.conf", "../snp/snp.conf")];
        let files = [&[("common/a.conf", A), MAY][..], &other].concat();
        assert_eq!(compared(&kata(""), &files), (vec![], 3));
    }

    #[test]
    fn changed_kernel_options_are_reported_with_their_line() {
        let more = "  - {file: x86_64/b.conf, values: {NR: \"240\"}}\n";
        let files = [
            ("common/a.conf", "# !powerpc !confidential\nCONFIG_ONE=m\n# CONFIG_THREE is not set\n"),
            ("common/new.conf", "CONFIG_NEW=y\n"),
            ("whitelist.conf", "CONFIG_NEWER\n"),
        ];
        insta::assert_snapshot!(compared(&kata(more), &files).0.join("\n"));
    }

    #[test]
    fn architectures_are_known_by_their_name_and_by_katas_folder() {
        for arch in Arch::ALL.iter().copied() {
            assert_eq!((arch_of(arch.name()), arch_of(folder_of(arch))), (Some(arch), Some(arch)));
        }
        assert_eq!((arch_of("powerpc"), arch_of("riscv")), (Some(Arch::Ppc64le), None));
    }

    #[test]
    fn excluded_architectures_and_guests_are_compared_too() {
        let for_all = A.replace("# !s390x !riscv\n", "");
        let differences = compared(&kata(""), &[("common/a.conf", for_all.as_str()), MAY]).0;
        assert!(differences[0].ends_with("it is not for [], and not for [s390x] in the options"), "{differences:?}");
        let hidden = A.replace("!s390x", "!s390x !confidential");
        let differences = compared(&kata(""), &[("common/a.conf", hidden.as_str()), MAY]).0;
        assert!(
            differences[0].ends_with("whether it is for confidential guests differs from the options"),
            "{differences:?}"
        );
    }
}
