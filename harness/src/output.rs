//! Outputs of a run: its journal, its display, and the directory of its logs.

use crate::artifacts::{Artifacts, artifact_folder, artifact_path};
use crate::event_log::EventLog;
use crate::line::Line;
use crate::progress::Progress;
use reports::journal::{CellId, Event};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Outputs of a run.
pub struct Output {
    /// The journal.
    pub events: EventLog,
    /// The display.
    pub progress: Progress,
    /// The directory of the logs and of the reports.
    pub folder: PathBuf,
    /// How often the run was resumed.
    pub resumed: u32,
}

/// Outputs of one cell of a run.
pub struct CellOutput {
    run: Arc<Output>,
    cell: CellId,
    artifacts: Artifacts,
}

impl CellOutput {
    /// Makes the outputs of a cell that has written nothing yet.
    pub fn new(run: Arc<Output>, cell: CellId) -> CellOutput {
        CellOutput { run, cell, artifacts: Artifacts::default() }
    }

    /// Returns the cell.
    pub fn cell(&self) -> &CellId {
        &self.cell
    }

    /// Writes an event into the journal.
    pub fn write(&self, event: Event) {
        self.run.events.write(event);
    }

    /// Prints a line about the cell, above the live lines.
    pub fn say(&self, text: &str) {
        self.run.progress.say(&format!("{}: {text}", self.cell));
    }

    /// Prints a warning about the cell, above the live lines.
    pub fn warn(&self, text: &str) {
        self.run.progress.say(&format!("warning: {}: {text}", self.cell));
    }

    /// Returns the directory of the run: of its journal, its logs and its reports.
    pub fn folder(&self) -> &Path {
        &self.run.folder
    }

    /// Returns the directory of the cell's logs.
    pub fn logs(&self) -> PathBuf {
        self.run.folder.join(artifact_folder(&self.cell, self.run.resumed))
    }

    /// Prepares for a fresh environment, whose files are different from those of the previous one.
    pub async fn begin_artifacts(&self) {
        self.artifacts.begin().await;
    }

    /// Copies the logs out of the environment that is at the other end of the line.
    pub async fn fetch_artifacts(&self, line: &Line) {
        self.artifacts.fetch(&self.run.folder, &self.cell, self.run.resumed, line).await;
    }

    /// Returns the path below the output directory for a file of the environment.
    pub fn artifact(&self, path: &str) -> String {
        artifact_path(&self.cell, self.run.resumed, path)
    }

    /// Reports which logs were not kept, if any.
    pub async fn report_omitted_artifacts(&self) {
        if let Some(left_out) = self.artifacts.left_out().await {
            self.say(&left_out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::journal::Writer;

    #[test]
    fn cells_share_a_journal_and_have_folders_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Writer::create(folder.path()).unwrap();
        let file = journal.path().to_owned();
        let progress = Progress::new();
        let events = EventLog::new(journal, progress.clone());
        let output = Arc::new(Output { events, progress, folder: folder.path().to_owned(), resumed: 0 });
        let cells = ["debian:13/x86_64/container", "debian:13/x86_64/vm"].map(|cell| {
            let id: CellId = cell.parse().unwrap();
            let output = CellOutput::new(Arc::clone(&output), id.clone());
            output.write(Event::CellStarted { cell: id });
            output
        });
        assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), cells.len());
        assert!(cells.iter().all(|cell| cell.folder() == folder.path()));
        assert_eq!(cells[0].logs(), folder.path().join("artifacts/debian-13-x86_64-container"));
        assert_eq!(cells[1].logs(), folder.path().join("artifacts/debian-13-x86_64-vm"));
    }
}
