//! `kata-qualify bug`: writes a report about a failed test for the maintainers concerned; nothing is sent.
//!
//! The report uses only data of the run's bundle, so that everything hidden in the bundle stays hidden.

use crate::bundle::lay_out;
use crate::cli::arguments::BugArguments;
use crate::cli::chosen::{Case, chosen};
use crate::cli::{Exit, UsageError, blame, bundle, history, input_run, print, records, report, usage};
use crate::private::Private;
use crate::progress::tell;
use anyhow::Context as _;
use images::packed::is_plain;
use model::database::Database;
use model::known_issues::KnownIssue;
use model::profile::Profile;
use model::share::Share;
use qemu::virtiofsd::{VirtiofsdInstance, argv};
use reports::bug::script::{WORK, script};
use reports::bug::{
    BugError, BugReport, FailedTest, Form, Reproduced, Route, Ruling, Series, Sighting, destination, passed_in,
};
use reports::redact::{Redactor, without_folders};
use reports::standing::{Recorded, Standings};
use reports::views::write::end;
use root::Root;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use suites::catalogue;

mod reproduced;

/// The script in the report's directory.
const SCRIPT: &str = "repro.sh";
/// The log with the script's output.
const SAID: &str = "repro.log";
/// The file that says where to send the report.
const WHERE: &str = "where.txt";
/// Bytes of `blame`'s result that are read.
const MOST_BLAME: u64 = 64 << 10;
/// Bytes at the end of a log that are searched for the failure: the bundle has no more of the log.
const MOST_LOG: usize = 64 << 10;

/// Runs the command.
pub(super) fn bug(what: &BugArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.records.as_deref())?;
    let input = input_run::read(&what.failed.dir)?;
    let run = &input.folder;
    input_run::is_free(&what.out)?;
    let folder = tempfile::tempdir().context("creating a folder")?;
    let journal = lay_out(run, folder.path()).context("packing the run")?;
    // The journal that is laid out has no folders any more.
    let hidden = Private::of_run(run, &input.journal).people();
    let redactor = reports::run::redactor(&journal).hiding(hidden.clone());
    let matrix = report::matrix_in(&journal, Profile::all(), Some(&database), folder.path());
    let case = chosen(&matrix, &what.failed)?;
    let record = database.record(&case.cell.distro).map_err(|e| usage(&e))?;
    let release = record.release(&case.cell.release, case.cell.arch).map_err(|e| usage(&e))?;
    let test = catalogue::find(&case.test)
        .ok_or_else(|| UsageError(format!("this version of kata-qualify no longer has the test {}", case.test)))?;
    let profile = Profile::find(&case.profile).map_err(|e| usage(&e))?;
    let failed = FailedTest::of(&matrix, &case.cell, profile, test, (record, &release))
        .ok_or_else(|| UsageError(format!("{} did not fail in its last attempt", case.test)))?;
    let standings = Standings::new(&matrix, Recorded::of(database.records()), false);
    if let Some(issue) = known(&standings, &case) {
        let KnownIssue { id, url, owner, expires, .. } = issue;
        let why =
            format!("this is the known issue {id} (owner {owner}, until {expires}): add new information to {url}");
        return Err(UsageError(format!("no report was written: {why}")).into());
    }
    let route = Route::of(&failed, Series::newest(database.records()));
    if matches!(route.ruling, Ruling::Wish(_)) && !what.wishlist {
        let why = &route.why;
        return Err(UsageError(format!(
            "no report was written, because this is not a bug: {why} Use --wishlist to report it as \
                                a wish"
        ))
        .into());
    }
    let destination = destination(&failed, &route, what.to.map(Form::from)).map_err(|e| usage(&e))?;
    // The run's texts in it are hidden already. What else is hidden may be a part of its quoting: a stranger's run says
    // what is hidden of it, and could turn quoted text into commands.
    let script = script(&failed, &daemon(&failed))
        .and_then(|script| if hidden.hidden(&script) == script { Ok(script) } else { Err(BugError::Hidden) });
    let tried = match (&script, what.reproduce) {
        (Ok(script), true) => Some(reproduced::in_clean_trees(what, &failed, script, &database)?),
        _ => None,
    };
    let of_all = |tried: &Vec<_>| Reproduced::Ran(tried.iter().map(|one: &crate::reproduce::Tried| one.code).collect());
    let bundle = bundle::name(&journal);
    let report = BugReport {
        worked: worked(&failed, what, &database),
        swap: swap(run, &case, &redactor)?,
        log: failed.log(|file| end(&folder.path().join(file), MOST_LOG)),
        reproduced: tried.as_ref().map_or(Reproduced::NotRun, of_all),
        failed: &failed,
        route: &route,
        destination: &destination,
        script,
        bundle,
    };
    let written = report.written().context("writing the report")?;
    let to = hidden.hidden(&report.where_to(&written));
    std::fs::create_dir_all(&what.out).map_err(|e| UsageError(format!("--out {}: {e}", what.out.display())))?;
    bundle::pack(&journal, folder.path(), &database, &what.out.join(&report.bundle))?;
    let put = |file: &str, text: &str| {
        let path = what.out.join(file);
        std::fs::write(&path, hidden.hidden(text)).with_context(|| format!("writing {}", path.display()))
    };
    put(written.file, &written.text)?;
    put(WHERE, &to)?;
    if let Ok(script) = &report.script {
        put(SCRIPT, script)?;
        let path = what.out.join(SCRIPT);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(tried) = &tried {
        put(SAID, &reproduced::log(tried, &redactor))?;
    }
    print(&to)?;
    tell(format_args!("bug report: {}", what.out.display()));
    Ok(match &report.reproduced {
        Reproduced::Ran(_) if !report.reproduced.each_time() => Exit::Worse,
        Reproduced::Ran(_) | Reproduced::NotRun => Exit::AsRecorded,
    })
}

/// Returns the known issue that matches the failure.
fn known<'m>(standings: &Standings<'m>, case: &Case) -> Option<&'m KnownIssue> {
    let cell = standings.cells.iter().find(|cell| cell.report.cell == case.cell)?;
    cell.profile(&case.profile)?.known.get(case.test.as_str()).copied()
}

/// Returns the profile's arguments for the release's virtiofsd, in the script's directory; none if the record names no
/// daemon.
fn daemon(failed: &FailedTest<'_>) -> Vec<String> {
    let Some(path) = failed.release.filesystem(Share::VirtioFs).and_then(|driver| driver.path.as_ref()) else {
        return Vec::new();
    };
    let below = |name: &str| format!("{WORK}/{name}");
    argv(
        failed.profile,
        &VirtiofsdInstance { path: path.to_string(), shared_dir: below("share"), socket: below("socket") },
    )
}

/// Lists where the test was seen to pass, from the record and from kept runs, the latest first.
fn worked(failed: &FailedTest<'_>, what: &BugArguments, database: &Database) -> Vec<Sighting> {
    let mut all = failed.works_in();
    for run in history::runs(&what.runs) {
        match report::judged(&run, Profile::all(), Some(database)) {
            Ok(matrix) if matrix.run != failed.matrix.run => all.extend(passed_in(&matrix, failed)),
            Ok(_) => {}
            Err(e) => tell(format_args!("warning: {}: {e:#}", run.display())),
        }
    }
    all.sort();
    all.dedup();
    all.reverse();
    all
}

/// Returns the latest finding of `blame` about the failure.
fn swap(run: &Path, case: &Case, redactor: &Redactor) -> anyhow::Result<Option<String>> {
    let Ok(entries) = std::fs::read_dir(run.join(blame::FOLDER)) else { return Ok(None) };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_plain(name))
        .collect();
    names.sort();
    let head = format!("{} in {} under {}", case.test, case.cell, case.profile);
    // With this root, no link leads out of the run's directory.
    let root = Root::new(run)?;
    for name in names.iter().rev() {
        let file = Path::new("/").join(blame::FOLDER).join(name).join(blame::FILE);
        let Ok(bytes) = root.read(&file, MOST_BLAME) else { continue };
        let text = redactor.text(&String::from_utf8_lossy(&bytes));
        if text.lines().next() == Some(head.as_str()) {
            return Ok(Some(without_folders(&text)));
        }
    }
    Ok(None)
}
