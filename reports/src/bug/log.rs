//! Logs for a bug report: the log of the component at fault, from the last attempt that failed, and the lines around
//! the failure's own words.
//!
//! A healthy guest prints much that has nothing to do with the failure: a log of anything but the component is shown
//! only if it contains the failure's words.

use super::case::FailedTest;
use suites::outcome::Component;

/// Lines shown before the failure's words, and lines shown after them.
const BEFORE: usize = 15;
const BEHIND: usize = 10;
/// Number of last lines shown of a component's log that does not contain the failure's words.
const LAST: usize = 30;
/// Minimum size of words to search for, in bytes: shorter ones are in many lines.
const FEWEST: usize = 12;
/// Maximum of word sequences of a failure to search for.
const MOST: usize = 20;
/// Log files of a guest.
const OF_A_GUEST: &[&str] = &["serial.log", "console.log", "qemu.log", "vmm.log", "virtiofsd.log"];

/// An excerpt of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogExcerpt {
    /// The file, below the run's directory.
    pub file: String,
    /// The lines.
    pub lines: String,
    /// Whether the lines are those around the failure's words, or else the last lines.
    pub has_the_failure: bool,
}

impl FailedTest<'_> {
    /// Returns the log that shows the failure, if any; `read` returns the end of a file, in printable lines.
    pub fn log(&self, read: impl Fn(&str) -> Option<String>) -> Option<LogExcerpt> {
        let words = words(&self.failure.observed);
        let component = self.failure.component;
        let (own, others): (Vec<&str>, Vec<&str>) =
            self.artifacts.iter().copied().partition(|file| is_of(component, file));
        let texts = |files: Vec<&str>| -> Vec<(String, String)> {
            files.into_iter().rev().filter_map(|file| Some((file.to_owned(), read(file)?))).collect()
        };
        let own = texts(own);
        let found = |(file, text): &(String, String)| {
            Some(LogExcerpt { file: file.clone(), lines: around(text, &words)?, has_the_failure: true })
        };
        if let Some(log) = own.iter().find_map(found).or_else(|| texts(others).iter().find_map(found)) {
            return Some(log);
        }
        let (file, text) = own.into_iter().next()?;
        let lines = last(&text);
        (!lines.is_empty()).then_some(LogExcerpt { file, lines, has_the_failure: false })
    }
}

/// Checks whether a file is a component's own log.
fn is_of(component: Component, file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    match component {
        Component::Qemu => name == "qemu.log",
        Component::CloudHypervisor | Component::Firecracker => name == "vmm.log",
        Component::Virtiofsd => name == "virtiofsd.log",
        Component::Kernel => matches!(name, "serial.log" | "console.log"),
        // The log of containerd, to which Kata's shim logs, too.
        Component::Containerd | Component::Kata => !OF_A_GUEST.contains(&name),
        Component::Packages | Component::Record => false,
    }
}

/// Returns the words to search for in a log: the lines of the observation, and their clauses, the longest first.
fn words(observed: &str) -> Vec<&str> {
    let lines = observed.lines().flat_map(|line| [line].into_iter().chain(line.split(": ")).chain(line.split("; ")));
    let mut all: Vec<&str> = lines.map(str::trim).filter(|words| words.len() >= FEWEST).collect();
    all.sort_by_key(|words| std::cmp::Reverse(words.len()));
    all.dedup();
    all.truncate(MOST);
    all
}

/// Returns the lines around the last one that contains the words; earlier words in the list take precedence.
fn around(text: &str, words: &[&str]) -> Option<String> {
    let lines: Vec<&str> = lines(text);
    let at = words.iter().find_map(|words| lines.iter().rposition(|line| line.contains(words)))?;
    Some(lines.get(at.saturating_sub(BEFORE)..lines.len().min(at + BEHIND + 1))?.join("\n"))
}

fn last(text: &str) -> String {
    let lines = lines(text);
    lines.get(lines.len().saturating_sub(LAST)..).unwrap_or_default().join("\n")
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_component_has_its_own_log() {
        let all = ["g1/serial.log", "g1/console.log", "g1/qemu.log", "g2/vmm.log", "g1/virtiofsd.log", "kq1/kq1x.log"];
        let own = |component| all.into_iter().filter(|file| is_of(component, file)).collect::<Vec<_>>();
        assert_eq!(own(Component::Qemu), ["g1/qemu.log"]);
        assert_eq!(own(Component::CloudHypervisor), ["g2/vmm.log"]);
        assert_eq!(own(Component::Virtiofsd), ["g1/virtiofsd.log"]);
        assert_eq!(own(Component::Kernel), ["g1/serial.log", "g1/console.log"]);
        assert_eq!(own(Component::Containerd), ["kq1/kq1x.log"]);
        assert_eq!(own(Component::Kata), ["kq1/kq1x.log"]);
        for component in [Component::Packages, Component::Record] {
            assert!(own(component).is_empty(), "{component}");
        }
    }

    #[test]
    fn the_lines_around_the_failure_are_shown() {
        let mut text: String = (0..100).map(|number| format!("line {number}\n\n")).collect();
        text = text
            .replace("line 40\n", "the device was refused\n")
            .replace("line 50\n", "it: the device was refused, too \n");
        let shown = around(&text, &words("x: the device was refused")).unwrap();
        let shown: Vec<&str> = shown.lines().collect();
        assert_eq!((shown[0], shown[15], shown[25]), ("line 35", "it: the device was refused, too", "line 60"));
        assert_eq!(shown.len(), 26, "the last time");
        // The whole line takes precedence over its clauses.
        assert_eq!(words("a: the device was refused"), ["a: the device was refused", "the device was refused"]);
        assert_eq!(words("no reply"), Vec::<&str>::new(), "any log may have that");
        assert_eq!(around(&text, &words("the device has vanished")), None);
        assert_eq!(
            around("the device was refused", &words("the device was refused")).unwrap(),
            "the device was refused"
        );
        assert_eq!(last(&text).lines().count(), LAST);
        assert_eq!(last(""), "");
    }
}
