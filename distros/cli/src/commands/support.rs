//! The distro's support of a release.

use jiff::civil::Date;
use model::record::{ReleaseEntry, known};

/// Support of a release on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    /// By the distro; also if no end is known, as for rolling releases.
    Full,
    /// By long-term support alone.
    LongTerm {
        /// The last day of long-term support.
        until: Date,
    },
    /// Support has ended.
    Ended {
        /// The last day of support.
        on: Date,
    },
    /// The release is not out yet.
    Unreleased,
}

impl Support {
    /// Returns the support of a release on a day.
    pub(crate) fn of(entry: &ReleaseEntry, day: Date) -> Support {
        let (eol, lts) = (known(&entry.eol).copied(), known(&entry.lts).copied());
        if known(&entry.released).is_some_and(|released| day < *released) {
            return Support::Unreleased;
        }
        match (eol, lts) {
            (Some(eol), _) if day <= eol => Support::Full,
            (_, Some(lts)) if eol.is_some() && day <= lts => Support::LongTerm { until: lts },
            (Some(eol), lts) => Support::Ended { on: lts.unwrap_or(eol) },
            (None, Some(lts)) if day > lts => Support::Ended { on: lts },
            (None, _) => Support::Full,
        }
    }

    /// Whether anybody supports the release.
    pub(crate) fn is_given(self) -> bool {
        matches!(self, Support::Full | Support::LongTerm { .. })
    }

    /// Returns a note for people; `None` if the support is full.
    pub(crate) fn words(self) -> Option<String> {
        match self {
            Support::Full => None,
            Support::LongTerm { until } => Some(format!("long-term support until {until}")),
            Support::Ended { on } => Some(format!("support ended on {on}")),
            Support::Unreleased => Some("not released yet".to_owned()),
        }
    }
}

/// Returns the support of a release today.
pub(crate) fn today(entry: &ReleaseEntry) -> Support {
    Support::of(entry, jiff::Zoned::now().date())
}

/// Notes on standard error that support has ended, if it has.
pub(crate) fn warn(name: &dyn std::fmt::Display, entry: &ReleaseEntry) {
    if let Support::Ended { on } = today(entry) {
        eprintln!("note: {name}: support ended on {on}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use model::record::Record;
    use std::path::Path;

    fn support(dates: &str, day: Date) -> Support {
        let text = format!(
            "distro: d\npackage-manager: apt\narch: x86_64\nreleases:\n  - {{version: 1, released: 2020-01-01{dates}}}\n"
        );
        let record = Record::parse(Path::new("d.yaml"), &text).unwrap();
        Support::of(&record.releases[0], day)
    }

    #[test]
    fn support_lasts_through_its_last_day() {
        let both = ", eol: 2024-08-14, lts: 2026-08-31";
        assert_eq!(support(both, date(2019, 12, 31)), Support::Unreleased);
        assert_eq!(support(both, date(2024, 8, 14)), Support::Full);
        assert_eq!(support(both, date(2024, 8, 15)), Support::LongTerm { until: date(2026, 8, 31) });
        assert_eq!(support(both, date(2026, 9, 1)), Support::Ended { on: date(2026, 8, 31) });
        assert_eq!(support(", eol: 2024-08-14", date(2024, 8, 15)), Support::Ended { on: date(2024, 8, 14) });
        for unknown in ["", ", eol: unknown"] {
            assert_eq!(support(unknown, date(2040, 1, 1)), Support::Full);
        }
        assert_eq!(support(", lts: 2026-08-31", date(2026, 9, 1)), Support::Ended { on: date(2026, 8, 31) });
        let words = Support::Ended { on: date(2024, 8, 14) }.words();
        assert_eq!(words.as_deref(), Some("support ended on 2024-08-14"));
    }
}
