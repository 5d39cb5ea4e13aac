//! virtiofsd's limit of open files, read from its own processes, because a program of the image can lower its inherited
//! limit, which no probe of the environment detects.

use crate::process;
use model::procfs;
use rustix::process::{Resource, getrlimit};
use suites::catalogue::Need;
use suites::check::Stop;
use suites::environment::Effort;
use suites::outcome::Component;

/// A limit of open files (RLIMIT_NOFILE) that a program has lowered below what the tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lowered {
    has: u64,
    /// Inherited limit; `None` if there was no limit.
    given: Option<u64>,
}

impl Lowered {
    /// Returns the lowered limit of a program and its child processes, if this process gave it more.
    pub(crate) fn of(pid: u32, effort: Effort) -> Option<Lowered> {
        let family = process::family(pid).into_iter();
        let limits = family.filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/limits")).ok());
        Lowered::below(getrlimit(Resource::Nofile).maximum, limits, effort)
    }

    /// Returns a lowered limit below the tests' need: virtiofsd itself lowers a very high limit to a million, which is
    /// no fault.
    fn below(given: Option<u64>, limits: impl Iterator<Item = String>, effort: Effort) -> Option<Lowered> {
        let hard = |text: String| procfs::limit(&text, "Max open files")?.1.parse::<u64>().ok();
        let has = limits.filter_map(hard).min()?;
        let is_lower = given.is_none_or(|given| has < given) && has < Need::OpenFiles.amount(effort)?;
        is_lower.then_some(Lowered { has, given })
    }

    /// Adds the limit to a failure that blames virtiofsd; other stops stay unchanged. `usual` is the component that the
    /// test blames.
    pub(crate) fn explains(self, mut stop: Stop, usual: Component) -> Stop {
        if let Stop::Fail { message, blames, .. } = &mut stop
            && blames.unwrap_or(usual) == Component::Virtiofsd
        {
            let Lowered { has, given } = self;
            let given = given.map_or_else(|| "without a limit".to_owned(), |given| format!("with a limit of {given}"));
            message.push_str(&format!(
                "; virtiofsd may have {has} files open (RLIMIT_NOFILE), and was started {given}: its own program in the \
                 image lowers it"
            ));
        }
        stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn limits(hard: &str) -> String {
        format!(
            "Limit                     Soft Limit  Hard Limit  Units\nMax open files            256  {hard}  files\n"
        )
    }

    #[test]
    fn only_a_limit_below_the_given_one_counts_as_lowered() {
        let below = |given, all: &[&str]| Lowered::below(given, all.iter().map(|hard| limits(hard)), Effort::default());
        assert_eq!(below(Some(1_000_000), &["1000000", "512"]), Some(Lowered { has: 512, given: Some(1_000_000) }));
        assert_eq!(below(None, &["512"]), Some(Lowered { has: 512, given: None }));
        // The engine gave no more, and the tests that need more were skipped.
        assert_eq!(below(Some(4096), &["4096"]), None);
        // virtiofsd's own choice, no limit, and a process that has ended.
        assert_eq!(below(Some(1_048_576), &["1000000"]), None);
        assert_eq!(below(Some(4096), &["unlimited"]), None);
        assert_eq!(below(Some(4096), &[]), None);
    }

    #[test]
    fn only_a_failure_that_blames_virtiofsd_is_explained() {
        let lowered = Lowered { has: 512, given: Some(1_000_000) };
        let explained = lowered.explains(Stop::fail("making file-482: Too many open files"), Component::Virtiofsd);
        let expected = "making file-482: Too many open files; virtiofsd may have 512 files open (RLIMIT_NOFILE), and was \
                        started with a limit of 1000000: its own program in the image lowers it";
        assert_eq!(explained, Stop::fail(expected));
        for other in [Stop::blame(Component::Kernel, "x"), Stop::error("x"), Stop::skip("x")] {
            assert_eq!(lowered.explains(other.clone(), Component::Virtiofsd), other);
        }
        assert_eq!(lowered.explains(Stop::fail("x"), Component::Qemu), Stop::fail("x"));
    }

    /// As with a wrapper at the record's path of virtiofsd.
    #[test]
    fn a_limit_lowered_by_a_wrapper_is_seen_in_its_child() {
        let start = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        };
        let seen = |script: &str| {
            let mut child = start(script);
            // The script prints a line once the limit is set.
            let mut line = [0; 3];
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
            let seen = Lowered::of(child.id(), Effort::default());
            let _ = child.stdin.take().map(|mut stdin| stdin.write_all(b"\n"));
            child.wait().unwrap();
            seen
        };
        let given = getrlimit(Resource::Nofile).maximum;
        assert_eq!(seen("(ulimit -n 64; echo up; read line); true"), Some(Lowered { has: 64, given }));
        assert_eq!(seen("echo up; read line"), None);
    }
}
