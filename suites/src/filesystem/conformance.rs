//! pjdfstest: some four hundred checks of POSIX's requirements for each call.

use super::proves::POSIX;
use crate::check::{Check, Stop};
use crate::environment::Site;
use crate::outcome::Component;
use crate::row::{Row, row};
use crate::share::Share;
use crate::test::Need;
use std::fs;
use std::path::Path;
use std::time::Duration;

const SOURCE: &str = include_str!("conformance.rs");

pub(super) static ROWS: &[Row] =
    &[row!(BesideNative(pjdfstest_differs_in_nothing), POSIX).needs(&[Need::Mknod]).seconds(1200)];

/// The name, in [`Site::scratch`], of the file with the native filesystem's failures: a JSON list of strings.
pub const NATIVE_FAILURES: &str = "pjdfstest-native.json";

/// How long the whole suite may take: 20 s over virtio-fs in an emulated guest, minutes over 9p.
const DEADLINE: Duration = Duration::from_secs(900);

/// Checks that start a program of the system or mount something, which a guest without a system cannot do; they say
/// nothing about a share.
const NEED_A_SYSTEM: &[&str] = &["open::etxtbsy", "truncate::etxtbsy", "rmdir::ebusy"];

/// This check makes links until LINK_MAX, which the C library derives from the filesystem's magic number. Over 9p that
/// number is the host filesystem's, while the limit is not: the check waits for an EMLINK at the wrong count.
const GUESSES_THE_LIMIT: &str = "link::link_count_max";

/// Checks that are known to fail on a share, and the component to blame.
///
/// Linux's 9p client itself limits the resolution of times, and sends no request with nanoseconds (see
/// `times_keep_nanoseconds`).
const KNOWN: &[(Share, &str, Component)] = &[(Share::Virtio9p, "utimensat::subsecond", Component::Kernel)];

/// pjdfstest finds no difference between the share and the native filesystem: every check that fails on the share fails
/// natively too.
///
/// Kata ran this suite in its CI until 2022 (`conformance/posixfs`), first with nine 9p exceptions and then, for
/// virtio-fs, with none; failed checks are listed by name.
fn pjdfstest_differs_in_nothing(site: &Site) -> Check {
    let native = match site.share {
        Some(_) => read_native(&site.scratch.join(NATIVE_FAILURES))?,
        // The native run itself is under test: there is nothing to compare it with.
        None => {
            pjdfstest_failures(site)?;
            return Ok(());
        }
    };
    let failures = pjdfstest_failures(site)?;
    let guesses = site.share.is_some_and(|share| Share::SHARED.contains(&share));
    let differing: Vec<&str> = failures
        .iter()
        .filter(|name| !native.contains(name))
        .filter(|name| !guesses || *name != GUESSES_THE_LIMIT)
        .map(String::as_str)
        .collect();
    judge(site.share, &differing)
}

/// Judges the checks that fail on a share but not natively. Failures of unknown cause blame the component that serves
/// the share; another component is blamed only if all failures are known to be its fault.
fn judge(share: Option<Share>, differing: &[&str]) -> Check {
    let doing =
        |name: &str| KNOWN.iter().find(|(on, check, _)| Some(*on) == share && *check == name).map(|known| known.2);
    let (known, unknown): (Vec<&str>, Vec<&str>) = differing.iter().copied().partition(|name| doing(name).is_some());
    let expected = "expected pjdfstest to fail only where the native filesystem does";
    let more = |names: &[&str]| format!("{expected}, {} more fail: {}", names.len(), names.join(", "));
    match (known.first().copied().and_then(doing), unknown.is_empty()) {
        (None, true) => Ok(()),
        (None, false) => Err(Stop::fail(more(&unknown))),
        (Some(component), true) => Err(Stop::blame(component, more(&known))),
        (Some(component), false) => {
            Err(Stop::fail(format!("{}; besides, by the {component}'s doing: {}", more(&unknown), known.join(", "))))
        }
    }
}

fn read_native(path: &Path) -> Result<Vec<String>, Stop> {
    let text = fs::read(path).map_err(|e| {
        Stop::error(format!("reading the native filesystem's pjdfstest failures from {}: {e}", path.display()))
    })?;
    serde_json::from_slice(&text)
        .map_err(|e| Stop::error(format!("{}: expected a JSON list of names: {e}", path.display())))
}

/// Writes what [`pjdfstest_failures`] found natively to where the guest's comparison looks for it.
///
/// # Errors
///
/// When the file cannot be written.
pub fn record_native_failures(scratch: &Path, failures: &[String]) -> Result<(), Stop> {
    let path = scratch.join(NATIVE_FAILURES);
    let text = serde_json::to_vec(failures).map_err(|e| Stop::error(format!("writing names as JSON: {e}")))?;
    fs::write(&path, text).map_err(|e| Stop::error(format!("writing {}: {e}", path.display())))
}

/// Runs pjdfstest in the site's directory as root and returns the names of the failed checks, sorted.
///
/// It needs `/etc/passwd` and `/etc/group` with two users besides root.
///
/// # Errors
///
/// A skip if there is no binary, or the system has no two users, like a small one of SUSE's or Arch's; an error if
/// pjdfstest cannot be run or does not finish.
pub fn pjdfstest_failures(site: &Site) -> Result<Vec<String>, Stop> {
    let Some(program) = &site.pjdfstest else {
        return Err(Stop::skip("there is no static pjdfstest binary"));
    };
    let configuration = site.scratch.join("pjdfstest.toml");
    let (user, other) = accounts()?;
    fs::write(&configuration, toml(&user, &other))
        .map_err(|e| Stop::error(format!("writing pjdfstest's configuration: {e}")))?;
    let argv: [&Path; 5] = [program, Path::new("--configuration-file"), &configuration, Path::new("--path"), &site.dir];
    let argv = argv.map(|word| word.display().to_string());
    // Plain text, without back traces that hide the names.
    let variables = [("NO_COLOR", "1"), ("RUST_BACKTRACE", "0")];
    let output = (site.run)(&argv.each_ref().map(String::as_str), &variables, DEADLINE)?;
    let how = output.code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
    parse(&format!("{}\n{}", output.stdout, output.stderr))
        .map_err(|why| Stop::error(format!("pjdfstest ended with {how}: {why}")))
        .map(|failures| failures.into_iter().filter(|name| !NEED_A_SYSTEM.contains(&name.as_str())).collect())
}

/// A user and the name of its primary group.
type Account = (String, String);

/// Returns two users who are not root, with the names of their groups.
fn accounts() -> Result<(Account, Account), Stop> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|e| Stop::error(format!("reading {path}, which pjdfstest needs: {e}")))
    };
    let (users, groups) = (read("/etc/passwd")?, read("/etc/group")?);
    accounts_in(&users, &groups).ok_or_else(|| {
        Stop::skip("pjdfstest needs two users besides root, each with its group, in /etc/passwd and /etc/group")
    })
}

/// Returns two users from these files: nobody and daemon if they exist, as on most systems, otherwise users of
/// services.
fn accounts_in(users: &str, groups: &str) -> Option<(Account, Account)> {
    let named = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let usual = ["nobody", "daemon"].map(str::to_owned);
    let others = users.lines().map(named).filter(|name| !usual.contains(name));
    let all: Vec<String> = usual.iter().cloned().chain(others).collect();
    let mut accounts = all.into_iter().filter_map(|user| account_in(users, groups, &user).map(|group| (user, group)));
    Some((accounts.next()?, accounts.next()?))
}

/// Returns the name of the primary group of a user who is not root.
fn account_in(users: &str, groups: &str, user: &str) -> Option<String> {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let entry = users.lines().map(fields).find(|entry| entry.first().is_some_and(|name| name == user))?;
    let group = entry.get(3).filter(|_| entry.get(2).is_some_and(|id| id != "0"))?;
    let entry = groups.lines().map(fields).find(|entry| entry.get(2) == Some(group))?;
    entry.first().cloned()
}

fn toml(user: &Account, other: &Account) -> String {
    // The naptime is longer than a tick of the slowest kernel clock (100 Hz), which stamps the files.
    format!(
        "[features]\nposix_fallocate = {{}}\nrename_ctime = {{}}\nutime_now = {{}}\nutimensat = {{}}\n\n\
         [settings]\nnaptime = 0.02\nallow_remount = false\n\n\
         [dummy_auth]\nentries = [[\"{}\", \"{}\"], [\"{}\", \"{}\"]]\n",
        user.0, user.1, other.0, other.1
    )
}

/// Returns the last line that is not blank.
fn last_line(output: &str) -> String {
    output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no output").to_owned()
}

/// The reason why pjdfstest's output does not show which checks failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum OutputError {
    /// The output has no summary: pjdfstest did not finish.
    #[error("it printed no summary; its last line is {0:?}")]
    NoSummary(String),
    /// The number of failures in the summary is not the number of names marked FAILED.
    #[error("its summary says {summary:?}, but {marked} names are marked FAILED")]
    Disagreeing {
        /// The summary.
        summary: String,
        /// How many names are marked.
        marked: usize,
    },
    /// The output is not that of the whole suite.
    #[error("its summary says {summary:?}, expected some four hundred tests in all")]
    TooFew {
        /// The summary.
        summary: String,
    },
}

/// The failed checks, sorted; an error unless the summary is there and agrees.
fn parse(output: &str) -> Result<Vec<String>, OutputError> {
    let mut failed: Vec<String> = output
        .lines()
        .filter_map(|line| line.strip_suffix("FAILED"))
        .map(str::trim)
        .filter(|name| name.contains("::") && !name.contains(' '))
        .map(str::to_owned)
        .collect();
    failed.sort();
    let summary = output.lines().find_map(|line| line.strip_prefix("Summary: "));
    let summary = summary.ok_or_else(|| OutputError::NoSummary(last_line(output)))?;
    let number = |word: &str| -> Option<usize> {
        summary.split(", ").find_map(|part| part.strip_suffix(word))?.trim().parse().ok()
    };
    let (count, total) = (number("failed"), number("total"));
    if count != Some(failed.len()) {
        return Err(OutputError::Disagreeing { summary: summary.to_owned(), marked: failed.len() });
    }
    if total.is_none_or(|total| total < 300) {
        return Err(OutputError::TooFew { summary: summary.to_owned() });
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::{DEADLINE, account_in, accounts_in, judge, parse, pjdfstest_failures};
    use crate::check::Stop;
    use crate::environment::{CommandOutput, Effort, Site};
    use crate::outcome::Component;
    use crate::share::Share;

    /// Linux's 9p client sends no nanoseconds, whatever serves the share, so the kernel is blamed.
    #[test]
    fn a_failure_known_from_the_kernels_9p_client_blames_the_kernel() {
        let more = |names: &str| format!("expected pjdfstest to fail only where the native filesystem does, {names}");
        let subsecond = "utimensat::subsecond";
        let one = more("1 more fail: utimensat::subsecond");
        assert_eq!(judge(Some(Share::Virtio9p), &[]), Ok(()));
        assert_eq!(judge(Some(Share::Virtio9p), &[subsecond]), Err(Stop::blame(Component::Kernel, one.clone())));
        assert_eq!(judge(Some(Share::VirtioFs), &[subsecond]), Err(Stop::fail(one)), "virtio-fs sends them");
        let other = more("1 more fail: link::max");
        assert_eq!(judge(Some(Share::Virtio9p), &["link::max"]), Err(Stop::fail(other.clone())));
        let both = format!("{other}; besides, by the kernel's doing: utimensat::subsecond");
        assert_eq!(judge(Some(Share::Virtio9p), &["link::max", subsecond]), Err(Stop::fail(both)));
    }

    #[test]
    fn pjdfstest_is_run_and_both_its_streams_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut site = Site {
            dir: "/share/dir".into(),
            small: None,
            root: "/share".into(),
            share: None,
            pjdfstest: Some("/pjdfstest".into()),
            run: |argv, variables, deadline| {
                assert_eq!(
                    [argv[0], argv[1], argv[3], argv[4]],
                    ["/pjdfstest", "--configuration-file", "--path", "/share/dir"]
                );
                assert!(std::fs::read_to_string(argv[2]).unwrap().contains("nobody"));
                assert!(variables.contains(&("NO_COLOR", "1")) && deadline == DEADLINE);
                let stdout = "link::max   FAILED\nopen::etxtbsy   FAILED\nSummary: 2 failed, 396 passed, 398 total";
                Ok(CommandOutput {
                    code: Some(1),
                    stdout: stdout.to_owned(),
                    stderr: "Error: Some tests have failed\n".to_owned(),
                })
            },
            scratch: dir.path().into(),
            fsx: None,
            effort: Effort::default(),
        };
        assert_eq!(pjdfstest_failures(&site).unwrap(), ["link::max"]);
        site.run = |_, _, _| {
            Ok(CommandOutput { code: None, stdout: "a::b   ok\n".to_owned(), stderr: "out of memory\n".to_owned() })
        };
        let stop = pjdfstest_failures(&site).unwrap_err();
        let expected = "pjdfstest ended with a signal: it printed no summary; its last line is \"out of memory\"";
        assert!(matches!(&stop, Stop::Error { message } if message == expected), "{stop:?}");
    }

    #[test]
    fn failures_are_read_by_name_and_the_summary_must_agree() {
        let text = "a::b   ok\nlink::max   FAILED\n\tassertion FAILED\nopen::x   skipped\n\tno\n\n\
                    Summary: 1 failed, 1 skipped, 396 passed, 0 expected failures, 398 total\nError: Some tests have failed\n";
        assert_eq!(parse(text), Ok(vec!["link::max".to_owned()]));
        assert!(parse(&text.replace("1 failed", "2 failed")).is_err_and(|e| e.to_string().contains("marked FAILED")));
        assert!(parse(&text.replace("398 total", "3 total")).is_err());
        assert!(parse("error: nobody: no such user\n").is_err_and(|e| e.to_string().contains("no such user")));
    }

    #[test]
    fn accounts_are_found_with_the_group_of_the_same_number() {
        let users = "root:x:0:0::/:\nnobody:x:65534:65534::/:\n";
        assert_eq!(account_in(users, "nogroup:x:65534:\n", "nobody").as_deref(), Some("nogroup"));
        assert_eq!(account_in(users, "nogroup:x:1:\n", "nobody"), None);
        let groups = "n:x:65534:\nd:x:1:\nk:x:5:\n";
        let names =
            |users: &str| accounts_in(users, groups).map(|((one, _), (other, group))| [one, other, group].join(" "));
        let (nobody, two) = ("nobody:x:65534:65534:::\n", "root2:x:0:1:::\nk:x:5:5:::\n");
        assert_eq!(names(&format!("{two}{nobody}")).as_deref(), Some("nobody k k"), "root2 is root");
        assert_eq!(names(&format!("{nobody}{two}daemon:x:1:1:::\n")).as_deref(), Some("nobody daemon d"));
        assert_eq!(names(two), None);
    }
}
