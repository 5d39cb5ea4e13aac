//! Reproducers: POSIX shell scripts that show a failure without this program.
//!
//! A script exits with 0 if it has reproduced the failure, with 1 if not, and with [`CANNOT_TELL`] if it cannot tell.
//! It prints the versions that it runs, and begins with a control: a check that must pass, or the result means nothing.
//! The kind of a test's script is in the test's row ([`Reproducer`]); the words that the script searches for come from
//! the failure itself.

mod command;
mod guest;

use super::case::{FailedTest, HEADLINE};
use super::error::BugError;
use model::package_manager::PackageManager;
use model::shell::quoted;
use suites::reproducer::Reproducer;

/// The exit code of a script that cannot tell.
pub const CANNOT_TELL: i32 = 77;

/// The script's own directory, removed at the end; in an argument this text is replaced by the directory.
pub const WORK: &str = "$work";

/// Returns the script of a failure; `daemon` are the profile's arguments of virtiofsd, with [`WORK`] in place of its
/// directory.
///
/// # Errors
/// Why there is no script, as a fragment.
pub fn script(failed: &FailedTest<'_>, daemon: &[String]) -> Result<String, BugError> {
    let kind = failed.test.reproducer.ok_or(BugError::NoReproducer)?;
    let body = match kind {
        Reproducer::QemuLists => command::qemu_lists(failed),
        Reproducer::QemuRefuses => command::qemu_refuses(failed),
        Reproducer::DaemonRefuses => command::daemon_refuses(failed, daemon),
        Reproducer::KernelOptions => command::kernel_options(failed),
        Reproducer::Plugs(plug) => command::plugs(failed, &plug(failed.profile)),
        Reproducer::Guest(commands) => guest::of_commands(failed, &commands),
        Reproducer::SystemCalls(program) => guest::of_system_calls(failed, program),
    }?;
    Ok(format!("{}{body}", head(failed)))
}

/// Returns the packages, by Debian's names, that scripts of this kind need in addition to the tested ones.
pub fn needs(kind: Reproducer) -> &'static [&'static str] {
    match kind {
        Reproducer::Guest(_) => &["busybox-static", "kmod", "xz-utils", "zstd"],
        Reproducer::SystemCalls(_) => &["busybox-static", "gcc", "kmod", "libc6-dev", "xz-utils", "zstd"],
        Reproducer::QemuLists
        | Reproducer::QemuRefuses
        | Reproducer::DaemonRefuses
        | Reproducer::KernelOptions
        | Reproducer::Plugs(_) => &[],
    }
}

/// Returns the start of every script.
fn head(failed: &FailedTest<'_>) -> String {
    let needs = failed.test.reproducer.map(needs).unwrap_or_default();
    let needs = match needs.is_empty() {
        true => String::new(),
        false => format!("# Needs, by Debian's names, besides: {}; run it as root.\n", needs.join(" ")),
    };
    let package = failed.package().binary.map(|name| versions(failed.release.package_manager, name.as_str()));
    format!(
        "#!/bin/sh
# {summary}
#
# What the test {test} of kata-qualify saw under {profile} (Kata Containers {range}).
# Ends with 0 if it has reproduced that, with 1 if not, with {CANNOT_TELL} if it cannot tell.
{needs}set -u
export LC_ALL=C

reproduced() {{
    echo \"reproduced: $*\"
    exit 0
}}
not_reproduced() {{
    echo \"not reproduced: $*\"
    exit 1
}}
cannot_tell() {{
    echo \"cannot tell: $*\"
    exit {CANNOT_TELL}
}}

work=$(mktemp -d) || cannot_tell \"no temporary folder can be made\"
trap 'rm -rf \"$work\"' EXIT
trap 'exit {CANNOT_TELL}' HUP INT TERM

echo \"== versions\"
sed -n 's/^PRETTY_NAME=//p' /etc/os-release
echo \"run under $(uname -srm)\"
{package}",
        summary = failed.summary(HEADLINE),
        test = failed.test.id,
        profile = failed.profile.name,
        // The range's dash is not ASCII.
        range = failed.profile.range.replace('\u{2013}', "-"),
        package = package.unwrap_or_default(),
    )
}

/// Returns the command that asks the package manager for a package's version.
fn versions(manager: PackageManager, package: &str) -> String {
    let command = manager.questions().map(|questions| questions.version.join(" "));
    command.map(|command| format!("{command} {} 2>&1\n", quoted(package))).unwrap_or_default()
}

/// Quotes a word of the script, in which only [`WORK`] is expanded, to the directory: some words come from a journal,
/// which a stranger may have written.
fn word(text: &str) -> String {
    if !text.contains(WORK) {
        return quoted(text);
    }
    let literal = |piece: &str| -> String {
        let escaped = |c: char| "\\\"$`".contains(c).then_some('\\').into_iter().chain([c]);
        piece.chars().flat_map(escaped).collect()
    };
    format!("\"{}\"", text.split(WORK).map(literal).collect::<Vec<_>>().join(WORK))
}

/// Quotes words and joins them on one line.
fn line<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    words.into_iter().map(|text| word(text.as_ref())).collect::<Vec<_>>().join(" ")
}

/// Returns the lines that set QEMU's path from the record, and check it.
fn qemu(failed: &FailedTest<'_>) -> Result<String, BugError> {
    let qemu = failed.release.qemu().ok_or(BugError::NoQemu)?;
    Ok(format!(
        "\nqemu={}\n[ -x \"$qemu\" ] || cannot_tell \"$qemu is not there\"\n\"$qemu\" --version | head -n 1\n",
        quoted(qemu.path.as_str())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_quoted_as_one_shell_word() {
        for (text, expected) in [
            ("size=1,readonly=on", "'size=1,readonly=on'"),
            ("$(id)", "'$(id)'"),
            ("$work/file", "\"$work/file\""),
            ("a=$work/file,b=$(id)`id`\"\\", "\"a=$work/file,b=\\$(id)\\`id\\`\\\"\\\\\""),
        ] {
            assert_eq!(word(text), expected);
        }
        let script = format!("work=/w\nprintf %s {}", word("$work/$(id)`id`\"\\$HOME"));
        let stdout = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
        assert_eq!(String::from_utf8(stdout).unwrap(), "/w/$(id)`id`\"\\$HOME");
    }
}
