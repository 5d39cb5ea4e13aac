//! `kata-qualify merge`: merges several runs into one, and writes the result for a pipeline.

use crate::cli::accepted::{GivenCells, has_no_cell, without_flaws};
use crate::cli::arguments::MergeArguments;
use crate::cli::input_run::{self, future_end_reason, join};
use crate::cli::{Exit, UsageError, records, redact, report};
use crate::progress::tell;
use crate::shards::{AgainPlan, ExpectedCell};
use anyhow::Context as _;
use model::database::Database;
use model::profile::Profile;
use reports::journal::{CellId, Journal};
use reports::merge::Refused;
use reports::pipeline::{Gap, Pipeline};
use reports::standing::{Recorded, Standings};

/// The directory of the files for a pipeline.
const FOLDER: &str = "pipeline";

/// Runs the command.
pub(super) fn merge(what: &MergeArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.judged.records.as_deref())?;
    let given = what.plan.as_deref().map(GivenCells::read).transpose()?;
    let (mut runs, mut refused, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    // An unusable run must not hide the others, and must be reported.
    let mut leave_out = |why: String| {
        let why = redact(&why);
        tell(format_args!("warning: skipped {why}"));
        unread.push(why);
    };
    for path in &what.runs {
        match input_run::read(path) {
            Ok(mut one) => match future_end_reason(&one) {
                None => {
                    let strange = given.as_ref().and_then(|given| given.restrict(&mut one, path));
                    if !(strange.is_some() && has_no_cell(&one)) {
                        runs.push(one);
                    }
                    strange.into_iter().for_each(&mut leave_out);
                }
                Some(why) => {
                    leave_out(format!("{}: {why}", one.name));
                    refused.push(Refused { journal: one.journal, why });
                }
            },
            Err(why) if given.is_some() => leave_out(why.to_string()),
            // Nobody knows which cells an unreadable run is about, so no report could mention it.
            Err(why) => return Err(why.into()),
        }
    }
    // A pipeline publishes and keeps the merged run, which is as unfinished or shaped as any of its runs.
    let runs = if given.is_some() { without_flaws(runs, &mut leave_out) } else { runs };
    if runs.is_empty() && !refused.is_empty() {
        return Err(UsageError("none of the runs can be merged".to_owned()).into());
    }
    // With a plan, the pipeline fails anyhow because of the refused runs.
    let reported: &[Refused] = if given.is_some() { &[] } else { &refused };
    let journal = join(&runs, reported, &what.out)?;
    match given {
        Some(given) => pipeline(&journal, &given.planned, unread, &database, what),
        None => report::reports_of(&journal, &database, &what.out, what.judged.strict, what.judged.format),
    }
}

/// Writes the reports and the pipeline's files, reports what was not judged, and returns the pipeline's exit code.
fn pipeline(
    journal: &Journal,
    plan: &[ExpectedCell],
    unread: Vec<String>,
    database: &Database,
    what: &MergeArguments,
) -> anyhow::Result<Exit> {
    let matrix = report::matrix_in(journal, Profile::all(), Some(database), &what.out);
    let standings = Standings::new(&matrix, Recorded::of(database.records()), what.judged.strict);
    let cells: Vec<CellId> = plan.iter().map(|one| one.cell.clone()).collect();
    let pipeline = Pipeline::new(&standings, &cells).without(unread);
    // The reports agree with the pipeline's result, which may differ from the run's alone.
    let held = standings.clone().held(pipeline.held());
    report::write(&held, database, &what.out)?;
    report::print(&held, what.judged.format)?;
    tell(format_args!("reports: {}", what.out.display()));
    let again = AgainPlan::of(plan, |cell| pipeline.gaps().contains_key(cell));
    let json = |value: serde_json::Result<String>| Ok::<String, serde_json::Error>(value? + "\n");
    let folder = what.out.join(FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for (name, text) in [
        ("again.json", json(serde_json::to_string_pretty(&again))?),
        ("annotations", pipeline.annotations()),
        ("issues.json", json(serde_json::to_string_pretty(&pipeline.issues()))?),
        ("summary.md", pipeline.summary()),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    for (cell, gap) in pipeline.gaps() {
        match gap {
            Gap::Missing => tell(format_args!("missing: {cell}: no run finished it")),
            Gap::Unjudged(why) => tell(format_args!("warning: {cell} was not judged: {why}")),
            Gap::Optional(what) => tell(format_args!("note: {cell}: optional capabilities were not judged: {what}")),
        }
    }
    Ok(report::exit(&held))
}
