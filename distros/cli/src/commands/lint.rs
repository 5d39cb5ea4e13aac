//! `lint`: errors in records.

use super::{Exit, Failed, json};
use clap::{Args, ValueEnum};
use model::diagnostic::{Diagnostic, printable};
use model::distro::ReleaseVersion;
use model::known_issues;
use model::lint::{FileForm, fix_as, lint_as};
use model::record::{self, Record};
use model::sources::{self, Sources};
use model::verified;
use rayon::prelude::*;
use std::io::{ErrorKind, IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub(crate) struct LintArguments {
    /// Files, or folders of files. They are records, except in folders named `verified` (verdicts), `known-issues`, and
    /// `sources` (where facts were read).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Apply the unambiguous corrections to the files.
    #[arg(long)]
    fix: bool,
    /// Accept partial records, such as an admin's, which override others: keys may be missing.
    #[arg(long)]
    part: bool,
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t = LintFormat::Human)]
    format: LintFormat,
}

impl LintArguments {
    /// Whether the answer is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.format == LintFormat::Json
    }
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LintFormat {
    /// For people, with the lines they are about.
    Human,
    /// For programs, one document.
    Json,
    /// For GitHub Actions, which shows each beside its line.
    Github,
}

pub(crate) fn run(arguments: &LintArguments) -> anyhow::Result<Exit> {
    let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut files = Vec::new();
    for named in &arguments.files {
        match named.is_dir() {
            true => files.extend(files_in(named)?),
            false => files.push(named.clone()),
        }
    }
    let checked: Vec<Checked> = files.par_iter().map(|file| check(file, arguments)).collect::<anyhow::Result<_>>()?;
    let mut out = stdout().lock();
    for file in &checked {
        for diagnostic in &file.found {
            match arguments.format {
                LintFormat::Human => writeln!(out, "{}\n", diagnostic.human(&file.text, colour))?,
                LintFormat::Github => writeln!(out, "{}", diagnostic.github())?,
                LintFormat::Json => {}
            }
        }
    }
    let unread = checked.iter().filter_map(|file| file.unread).max_by_key(|exit| *exit as u8);
    let all: Vec<Diagnostic> = checked.into_iter().flat_map(|file| file.found).collect();
    drop(out);
    if arguments.is_json() {
        let problems: Vec<serde_json::Value> = all.iter().map(problem).collect();
        json(&serde_json::json!({ "version": 1, "diagnostics": all, "problems": problems }))?;
    }
    Ok(unread.unwrap_or(if all.is_empty() { Exit::Ok } else { Exit::No }))
}

/// Returns a finding as the reason of the exit code, in the form of all answers for programs.
fn problem(found: &Diagnostic) -> serde_json::Value {
    let mut problem = serde_json::json!({ "file": found.file, "line": found.line, "message": found.message });
    if let Some(hint) = &found.hint {
        problem["hint"] = hint.as_str().into();
    }
    problem
}

/// Returns the records of a directory, and the verdicts, known issues and sources in it.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    let failed = |e: std::io::Error| {
        let exit = if e.kind() == ErrorKind::PermissionDenied { Exit::Unknown } else { Exit::BadInput };
        Failed::new(exit, "unreadable", format!("the folder {} cannot be read: {e}", folder.display()))
    };
    let mut files = Vec::new();
    let below = [verified::FOLDER, known_issues::FOLDER, sources::FOLDER].map(|name| folder.join(name));
    for folder in std::iter::once(folder.to_owned()).chain(below) {
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            files.push(entry.map_err(failed)?.path());
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    match files.is_empty() {
        true => Err(Failed::new(Exit::BadInput, "no-records", format!("no *.yaml file in {}", folder.display()))),
        false => Ok(files),
    }
}

/// A file and its findings.
struct Checked {
    text: String,
    found: Vec<Diagnostic>,
    /// The exit code if there is no text to check.
    unread: Option<Exit>,
}

fn check(file: &Path, arguments: &LintArguments) -> anyhow::Result<Checked> {
    let releases = releases_beside(file);
    let form = match (releases.as_deref(), record_of_issues(file)) {
        (Some(releases), _) => FileForm::Verified { releases },
        (None, Some(record)) => {
            let manager = record.map(|record| record.package_manager);
            FileForm::KnownIssues { manager, today: jiff::Zoned::now().date() }
        }
        (None, None) if arguments.part => FileForm::Layer,
        (None, None) => FileForm::Record,
    };
    let bytes = record::bytes(file);
    let is_closed = bytes.as_ref().is_err_and(|error| error.is_unreadable());
    let text = match record::text(file, bytes) {
        Ok(text) => text,
        Err(problem) => {
            let exit = if is_closed { Exit::Unknown } else { Exit::BadInput };
            let unread = problem.is_unreadable().then_some(exit);
            return Ok(Checked { text: String::new(), found: vec![*problem], unread });
        }
    };
    if let Some(record) = record_beside(file, sources::FOLDER) {
        let found = sources::lint(file, &text, record.as_ref());
        return Ok(Checked { text, found, unread: None });
    }
    let text = if arguments.fix { fixed(file, text, form)? } else { text };
    let mut found = lint_as(file, &text, form);
    if form == FileForm::Record {
        found.extend(without_source(file, &text));
        found.sort_by_key(|one| one.start);
    }
    Ok(Checked { text, found, unread: None })
}

/// For a file of verdicts, the releases of the record beside its folder, none where there is no such record.
fn releases_beside(file: &Path) -> Option<Vec<ReleaseVersion>> {
    let releases = record_beside(file, verified::FOLDER)?.map(|record| record.releases).unwrap_or_default();
    Some(releases.into_iter().map(|release| release.version).collect())
}

/// For a file in a directory named `folder_name`, returns the record of the same file name next to that directory, if
/// it is usable.
fn record_beside(file: &Path, folder_name: &str) -> Option<Option<Record>> {
    let file = std::path::absolute(file).ok()?;
    let folder = file.parent().filter(|folder| folder.file_name().is_some_and(|name| name == folder_name))?;
    let record = folder.parent().zip(file.file_name()).map(|(records, name)| Record::read(&records.join(name)));
    Some(record.and_then(Result::ok))
}

/// For a file of known issues, returns the record of its distro if it is usable: from the parent directory, or from
/// `records` there.
fn record_of_issues(file: &Path) -> Option<Option<Record>> {
    let above = record_beside(file, known_issues::FOLDER)?;
    let beside = || {
        let file = std::path::absolute(file).ok()?;
        let records = file.parent()?.parent()?.join("records");
        Record::read(&records.join(file.file_name()?)).ok()
    };
    Some(above.or_else(beside))
}

/// Returns the facts of a record without a source, if there is a directory of sources next to it.
fn without_source(file: &Path, text: &str) -> Vec<Diagnostic> {
    let Some((folder, name)) = file.parent().map(|folder| folder.join(sources::FOLDER)).zip(file.file_name()) else {
        return Vec::new();
    };
    if !folder.is_dir() {
        return Vec::new();
    }
    let path = folder.join(name);
    let sources = record::read_text(&path).ok().and_then(|text| Sources::parse(&path, &text).ok());
    sources::lint_record(file, text, sources.as_ref())
}

/// Returns the text with its fixes, after writing them to the file.
fn fixed(file: &Path, text: String, form: FileForm<'_>) -> anyhow::Result<String> {
    let Some(fixed) = fix_as(file, &text, form) else {
        return Ok(text);
    };
    verified::write_file(file, &fixed).map_err(|e| anyhow::anyhow!("cannot write {}: {e}", file.display()))?;
    eprintln!("fixed {}", printable(&file.display().to_string()));
    Ok(fixed)
}
