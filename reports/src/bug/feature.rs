//! Releases of QEMU and virtiofsd: the series of a package, the series whose bugs upstream takes, and features that
//! older releases lack.

use model::foreign::qemu::Complaint;
use model::package::PackageVersion;
use model::record::Record;
use std::fmt;
use suites::outcome::{Component, Failure, FailureDetail};

/// A series of a program's releases, such as `10.0`; QEMU has three a year since 4.0, `.0` to `.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    major: u32,
    minor: u32,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The second number of QEMU's last series of a year: `.2`.
const LAST_OF_A_YEAR: u32 = 2;

impl Series {
    pub(super) const fn new(major: u32, minor: u32) -> Series {
        Series { major, minor }
    }

    /// Parses the series from a package's version, of any distro: `1:10.0.13+ds-0+deb13u1`.
    pub fn of_package(version: &PackageVersion) -> Option<Series> {
        let numbers = version.numbers();
        Some(Series { major: *numbers.first()?, minor: numbers.get(1).copied().unwrap_or(0) })
    }

    /// Returns the previous series of QEMU.
    pub fn before(self) -> Series {
        match self.minor {
            0 => Series { major: self.major.saturating_sub(1), minor: LAST_OF_A_YEAR },
            minor => Series { minor: minor - 1, ..self },
        }
    }

    /// Returns the newest series of QEMU in the records of any distro: upstream has at least this one.
    pub fn newest<'r>(records: impl IntoIterator<Item = &'r Record>) -> Option<Series> {
        let entries = records.into_iter().flat_map(|record| &record.verified).filter(|entry| !entry.shaped);
        let versions = entries.flat_map(|entry| &entry.versions);
        let qemus = versions.filter(|(package, _)| package.as_str().starts_with("qemu"));
        qemus.filter_map(|(_, version)| Series::of_package(version)).max()
    }
}

/// A feature that a program has from some release on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Feature {
    /// The program.
    of: Component,
    /// The sign in a failure that the feature is missing.
    sign: Sign,
    /// The feature's name.
    pub(super) what: &'static str,
    /// The first release with the feature.
    pub(super) since: Series,
    /// The evidence in the program's source.
    pub(super) source: &'static str,
}

/// A sign in a failure that a feature is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// QEMU has no such object, by its list or by its refusal.
    NoObject(&'static str),
    /// QEMU complained of this.
    Complaint(Complaint<'static>),
    /// virtiofsd keeps descriptors.
    NoFileHandles,
}

impl Sign {
    fn is_of(self, failure: &Failure) -> bool {
        match self {
            Sign::NoObject(name) => is_not_listed(failure, name) || is_refused(failure, name),
            Sign::Complaint(complaint) => failure.detail.complaint() == complaint,
            Sign::NoFileHandles => failure.detail == FailureDetail::NoFileHandles,
        }
    }
}

fn is_not_listed(failure: &Failure, object: &str) -> bool {
    let FailureDetail::NotListed { names } = &failure.detail else { return false };
    names.iter().any(|listed| listed.flag == "-object" && listed.name == object)
}

fn is_refused(failure: &Failure, object: &str) -> bool {
    let FailureDetail::QemuRefusal { flag, value, words: _ } = &failure.detail else { return false };
    flag == "-object" && value.split(',').next() == Some(object)
}

/// Features that Kata uses or relies on, and older releases lack.
const FEATURES: &[Feature] = &[
    Feature {
        of: Component::Qemu,
        sign: Sign::NoObject("tdx-guest"),
        what: "the object tdx-guest",
        since: Series::new(10, 1),
        source: "qapi/qom.json@v10.1.0",
    },
    Feature {
        of: Component::Qemu,
        sign: Sign::NoObject("sev-snp-guest"),
        what: "the object sev-snp-guest",
        since: Series::new(9, 1),
        source: "qapi/qom.json@v9.1.0",
    },
    Feature {
        of: Component::Qemu,
        sign: Sign::NoObject("iommufd"),
        what: "the object iommufd",
        since: Series::new(9, 0),
        source: "qapi/qom.json@v9.0.0",
    },
    Feature {
        of: Component::Qemu,
        sign: Sign::Complaint(Complaint::NoProperty { of: "memory-backend-file", name: "readonly" }),
        what: "the property memory-backend-file.readonly",
        since: Series::new(6, 0),
        source: "qapi/qom.json@v6.0.0",
    },
    // Kata switches the bridge's own controller off (`shpc=off`); ACPI then does the hotplugging.
    Feature {
        of: Component::Qemu,
        sign: Sign::Complaint(Complaint::NoHotplug { bus: "pci-bridge-0" }),
        what: "ACPI's hotplug below PCI bridges on q35",
        since: Series::new(6, 1),
        source: "pc_compat_6_0 in hw/i386/pc.c@v6.1.0",
    },
    // Kata passes no option, so that the default decides; up to 1.13 it is `never`.
    Feature {
        of: Component::Virtiofsd,
        sign: Sign::NoFileHandles,
        what: "file handles by default",
        since: Series::new(1, 14),
        source: "--inode-file-handles in src/main.rs@v1.14.0",
    },
];

/// Returns the feature that a failure shows to be missing, if the program has it only from a later release on than
/// `series`. `None` stands for the program's predecessor (virtiofsd in C), which never has the feature.
pub(super) fn later_feature(failure: &Failure, series: Option<Series>) -> Option<&'static Feature> {
    let mut own = FEATURES.iter().filter(|feature| feature.of == failure.component && feature.sign.is_of(failure));
    own.find(|feature| series.is_none_or(|series| series < feature.since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::database::Database;
    use suites::outcome::ListedName;

    #[test]
    fn the_series_is_parsed_from_any_distros_package_version() {
        for (version, expected) in [
            ("1:10.0.13+ds-0+deb13u1", Some(Series::new(10, 0))),
            ("2:10.1.2-1.fc43", Some(Series::new(10, 1))),
            ("1:5.2+dfsg-11+deb11u5", Some(Series::new(5, 2))),
            ("11.1.0-r2", Some(Series::new(11, 1))),
            ("10-1", Some(Series::new(10, 0))),
            ("rolling", None),
        ] {
            assert_eq!(Series::of_package(&version.parse().unwrap()), expected, "{version}");
        }
    }

    #[test]
    fn the_previous_series_crosses_major_versions() {
        let befores = [(11, 1, "11.0"), (11, 0, "10.2"), (10, 2, "10.1")];
        for (major, minor, before) in befores {
            assert_eq!(Series::new(major, minor).before().to_string(), before);
        }
    }

    #[test]
    fn the_newest_series_is_taken_from_the_records() {
        let newest = Series::newest(Database::embedded().records()).unwrap();
        assert!(newest >= Series::new(11, 1), "{newest}");
        assert_eq!(Series::newest([]), None);
    }

    #[test]
    fn features_newer_than_the_release_are_recognised() {
        let tdx = ListedName { flag: "-object".to_owned(), name: "tdx-guest".to_owned() };
        let device = ListedName { flag: "-device".to_owned(), ..tdx.clone() };
        let failure =
            |component, detail: &FailureDetail| Failure { detail: detail.clone(), ..Failure::new(component, "x") };
        let of_qemu = |detail: &FailureDetail, major, minor| {
            later_feature(&failure(Component::Qemu, detail), Some(Series::new(major, minor)))
        };
        let not_listed = FailureDetail::NotListed { names: vec![tdx] };
        assert_eq!(of_qemu(&not_listed, 10, 0).unwrap().since, Series::new(10, 1));
        assert_eq!(of_qemu(&not_listed, 10, 1), None, "it should have that");
        assert_eq!(of_qemu(&FailureDetail::NotListed { names: vec![device] }, 10, 0), None, "that is no object");
        assert_eq!(of_qemu(&FailureDetail::Other, 5, 2), None);
        let refused = |flag: &str, value: &str, words: &str| {
            let [flag, value, words] = [flag, value, words].map(str::to_owned);
            FailureDetail::QemuRefusal { flag, value, words }
        };
        let object = refused("-object", "tdx-guest,id=tdx", "invalid object type: tdx-guest");
        assert_eq!(of_qemu(&object, 10, 0).unwrap().since, Series::new(10, 1));
        let property = refused("-object", "x", "Property 'memory-backend-file.readonly' not found");
        assert_eq!(of_qemu(&property, 5, 2).unwrap().since, Series::new(6, 0));
        let [command, class, description] =
            ["device_add", "GenericError", "Bus 'pci-bridge-0' does not support hotplugging"].map(str::to_owned);
        let bus = FailureDetail::QmpRefusal { command, class, description };
        assert_eq!(of_qemu(&bus, 5, 2).unwrap().since, Series::new(6, 1));
        let handles = &FailureDetail::NoFileHandles;
        let of_daemon = |series| later_feature(&failure(Component::Virtiofsd, handles), series);
        assert_eq!(of_daemon(Some(Series::new(1, 13))).unwrap().since, Series::new(1, 14));
        assert_eq!(of_daemon(Some(Series::new(1, 14))), None, "it should have them");
        assert!(of_daemon(None).is_some(), "the daemon in C has no such series");
        assert_eq!(of_qemu(handles, 1, 0), None, "QEMU has nothing of it");
    }
}
