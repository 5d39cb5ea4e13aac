//! The mandatory fields of a new bug in a Bugzilla, as its REST interface names them
//! (<https://bugzilla.readthedocs.io/en/latest/api/core/v1/bug.html#create-bug>).

use super::plain;
use crate::bug::sections::BugReport;
use serde_json::json;

/// Maximum length of a summary, in characters.
const SUMMARY: usize = 255;

/// Returns the fields, as JSON.
pub(super) fn fields(report: &BugReport<'_>) -> serde_json::Result<String> {
    let failed = report.failed;
    let component = report.package().source.map_or(failed.failure.component.name().to_owned(), String::from);
    let fields = json!({
        "product": report.destination.product,
        "component": component,
        "version": report.destination.version,
        "summary": report.subject().chars().take(SUMMARY).collect::<String>(),
        "description": plain::body(report),
        "op_sys": "Linux",
        "rep_platform": failed.cell.cell.arch.name(),
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&fields)?))
}
