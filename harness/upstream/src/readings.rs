//! Functions and settings that were read, and the records of their changes.

use crate::checkout::Tree;
use crate::report::SourceDifference;
use crate::source::{assignments, items, without_comments};
use model::profile::{Family, Runtime};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

static GO: LazyLock<Readings> = LazyLock::new(|| {
    embedded(&[
        include_str!("../readings/go/arguments.yaml"),
        include_str!("../readings/go/qmp.yaml"),
        include_str!("../readings/go/defaults.yaml"),
        include_str!("../readings/go/settings.yaml"),
        include_str!("../readings/go/kernel.yaml"),
    ])
});
static RS: LazyLock<Readings> = LazyLock::new(|| {
    embedded(&[
        include_str!("../readings/rs/arguments.yaml"),
        include_str!("../readings/rs/qmp.yaml"),
        include_str!("../readings/rs/defaults.yaml"),
    ])
});

#[expect(clippy::expect_used, reason = "the files are part of the program and parsed by a test")]
fn embedded(texts: &[&str]) -> Readings {
    let mut all = Readings { read: Vec::new(), settings: Vec::new(), changes: Vec::new() };
    for text in texts {
        let Readings { read, settings, changes } = Readings::parse(text).expect("embedded readings are well-formed");
        all.read.extend(read);
        all.settings.extend(settings);
        all.changes.extend(changes);
    }
    all
}

/// Error of a text that cannot be parsed as readings.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ReadingsError(#[from] serde_yaml::Error);

/// The functions of a runtime that make arguments, its shipped settings, and all changes of them that were read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Readings {
    #[serde(default)]
    read: Vec<FileItems>,
    #[serde(default)]
    settings: Vec<ReadAssignments>,
    changes: Vec<UpstreamChange>,
}

/// Items of one file that were read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileItems {
    /// The file's path, followed by its former paths.
    file: Vec<String>,
    /// Names of the items.
    items: Vec<String>,
}

/// Assignments in some files: a Makefile, the shipped configuration, or the guest kernel's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ReadAssignments {
    /// Paths of the files. A directory stands for the files below it that end in `.conf`; a setting in a subdirectory
    /// has this in its name: `signing/CONFIG_MODULES`.
    files: Vec<String>,
    /// Prefixes of the names that are read; empty for all names.
    #[serde(default)]
    begin: Vec<String>,
    /// Words in the names of settings of other VMMs and platforms, which are not read.
    #[serde(default)]
    others: Vec<String>,
}

impl ReadAssignments {
    fn is_read(&self, name: &str) -> bool {
        let begins = self.begin.is_empty() || self.begin.iter().any(|begin| name.starts_with(begin.as_str()));
        begins && !self.others.iter().any(|other| name.split('_').skip(1).any(|word| word == other))
    }
}

/// Items that changed at a release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct UpstreamChange {
    /// The release, or `main`.
    at: String,
    /// The items.
    items: Vec<String>,
    /// The profile that begins at this release and has the change.
    profile: Option<String>,
    /// The reason why the change has no effect on the profile's arguments.
    no_effect: Option<String>,
}

impl Readings {
    /// Returns the readings of a runtime that are built into the program.
    pub fn of(runtime: Runtime) -> &'static Readings {
        match runtime {
            Runtime::Go => &GO,
            Runtime::Rs => &RS,
        }
    }

    /// Parses readings from YAML.
    ///
    /// # Errors
    /// When the text cannot be parsed as readings.
    pub fn parse(text: &str) -> Result<Readings, ReadingsError> {
        Ok(serde_yaml::from_str(text)?)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        let settings = self.settings.iter().flat_map(|set| &set.files);
        self.read.iter().flat_map(|read| &read.file).chain(settings).map(String::as_str)
    }

    pub(crate) fn reader(&self) -> ReleaseReader<'_> {
        ReleaseReader { readings: self, before: None, used: BTreeSet::new() }
    }
}

/// Reads the releases in order and remembers each item's text at the previous one.
pub(crate) struct ReleaseReader<'a> {
    readings: &'a Readings,
    /// Items and settings at the previous release, by name.
    before: Option<BTreeMap<String, String>>,
    /// Release and item of each change that was found.
    used: BTreeSet<(String, String)>,
}

impl ReleaseReader<'_> {
    /// Reads the next release, adds all changes since the previous one that no reading accounts for to `found`, and
    /// returns the number of changes.
    pub(crate) fn next(&mut self, tag: &str, tree: &Tree, family: &Family, found: &mut Vec<SourceDifference>) -> usize {
        let mut now = BTreeMap::new();
        let mut places = BTreeMap::new();
        for read in &self.readings.read {
            let paths: Vec<&str> = read.file.iter().map(String::as_str).collect();
            let Some((path, text)) = tree.first(&paths) else { continue };
            for item in items(text).into_iter().filter(|item| read.items.contains(&item.name)) {
                places.entry(item.name.clone()).or_insert_with(|| format!("{path}:{}", item.line));
                // A type may have several blocks with the same head.
                let text: &mut String = now.entry(item.name).or_default();
                text.push_str(&without_comments(item.text));
            }
        }
        for set in &self.readings.settings {
            for (path, folder, text) in set.files.iter().flat_map(|path| tree.below(path, ".conf")) {
                for (name, value, line) in assignments(text).into_iter().filter(|(name, ..)| set.is_read(name)) {
                    let name = format!("{folder}{name}");
                    places.entry(name.clone()).or_insert_with(|| format!("{path}:{line}"));
                    // If a Makefile's condition selects among several values, all of them count.
                    let values: &mut String = now.entry(name).or_default();
                    values.push_str(value);
                    values.push('\n');
                }
            }
        }
        let Some(before) = self.before.replace(now.clone()) else {
            let read: BTreeSet<&String> = self.readings.read.iter().flat_map(|read| &read.items).collect();
            found.extend(
                read.into_iter()
                    .filter(|name| !now.contains_key(*name))
                    .filter(|name| !self.readings.changes.iter().any(|change| change.items.contains(name)))
                    .map(|name| SourceDifference {
                        tag: tag.to_owned(),
                        place: "-".to_owned(),
                        what: format!("`{name}` is to be read and is nowhere"),
                    }),
            );
            return 0;
        };
        let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let changed: Vec<&String> = names.into_iter().filter(|name| before.get(*name) != now.get(*name)).collect();
        for name in &changed {
            let reading = self.readings.changes.iter().find(|change| change.at == tag && change.items.contains(name));
            let what = match reading.map(|change| (change.profile.as_deref(), change.no_effect.as_deref())) {
                Some((Some(profile), _)) => {
                    let begins = family.profiles().iter().any(|p| p.name == *profile && p.tag == tag);
                    (!begins).then(|| {
                        format!("`{name}` changed; it is assigned to the profile {profile}, which does not begin here")
                    })
                }
                Some((None, Some(why))) if !why.trim().is_empty() => None,
                Some((None, _)) => {
                    Some(format!("`{name}` changed; nothing says which profile has it or why that has no effect"))
                }
                None => Some(format!("`{name}` changed, and no reading accounts for it")),
            };
            self.used.insert((tag.to_owned(), (*name).clone()));
            let place = places.get(*name).cloned().unwrap_or_else(|| "-".to_owned());
            found.extend(what.map(|what| SourceDifference { tag: tag.to_owned(), place, what }));
        }
        changed.len()
    }

    /// Returns the changes in the readings that did not happen.
    pub(crate) fn unused(self) -> Vec<SourceDifference> {
        let ReleaseReader { readings, used, .. } = self;
        let all = readings
            .changes
            .iter()
            .flat_map(|change| change.items.iter().map(|name| (change.at.clone(), name.clone())));
        all.filter(|one| !used.contains(one))
            .map(|(tag, name)| SourceDifference {
                tag,
                place: "-".to_owned(),
                what: format!("`{name}` did not change, though a reading says so"),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::profile::Profile;

    #[test]
    fn each_change_in_the_programs_own_readings_names_a_profile_or_a_reason() {
        for family in Family::all() {
            let readings = Readings::of(family.runtime());
            assert!(!readings.read.is_empty() && !readings.changes.is_empty(), "{:?}", family.runtime());
            for change in &readings.changes {
                assert!(!change.items.is_empty(), "{change:?}");
                match (&change.profile, &change.no_effect) {
                    (Some(profile), None) => {
                        let begins = |p: &Profile| *p.name == **profile && p.tag == change.at;
                        assert!(family.profiles().iter().any(begins), "no profile begins so: {change:?}");
                    }
                    (None, Some(reason)) => assert!(!reason.trim().is_empty(), "{change:?}"),
                    _ => panic!("expected either a profile or a reason: {change:?}"),
                }
            }
        }
    }
}
