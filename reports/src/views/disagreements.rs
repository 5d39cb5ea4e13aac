//! What the environments of one release see differently.

use crate::matrix::Matrix;
use crate::verdict::agreement::settle;
use kata_osinfo::verified::Verdict;
use suites::environment::Kind;

/// Where the environments of one release decided differently, in words, each with the verdict that counts.
pub(crate) fn disagreements(matrix: &Matrix) -> Vec<String> {
    let mut said = Vec::new();
    for (cell, profile, capability, judgement) in matrix.judgements() {
        if cell.cell.environment != Kind::Vm {
            continue;
        }
        let sibling = matrix.cells.iter().find(|other| {
            let (a, b) = (&other.cell, &cell.cell);
            b.distro == a.distro && b.release == a.release && b.arch == a.arch && a.environment == Kind::Container
        });
        let Some(other) = sibling.and_then(|c| c.judgement(profile, capability)) else { continue };
        if other.verdict.is_decided()
            && judgement.verdict != other.verdict
            && judgement.verdict != Verdict::NotApplicable
        {
            said.push(format!(
                "{} {}: {capability} under {profile} is {} in a virtual machine and {} in a container: {} counts.",
                cell.cell.distro,
                cell.cell.release,
                judgement.verdict.name(),
                other.verdict.name(),
                settle(judgement.verdict, other.verdict).name()
            ));
        }
    }
    said
}
