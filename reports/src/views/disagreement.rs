//! What the environments of one release see differently.

use crate::matrix::{CellReport, Matrix};
use crate::verdict::agreement::settle;
use model::arch::Arch;
use model::environment::Environment;
use model::verified::Verdict;
use std::collections::BTreeMap;

/// Where the environments of one release decided differently, in words, each with the verdict that counts.
pub(crate) fn disagreements(matrix: &Matrix) -> Vec<String> {
    let of = |environment: Environment| matrix.cells.iter().filter(move |c| c.cell.environment == environment);
    let containers: BTreeMap<_, &CellReport> = of(Environment::Container).map(|cell| (target(cell), cell)).collect();
    let mut said = Vec::new();
    for cell in of(Environment::Vm) {
        let Some(sibling) = containers.get(&target(cell)) else { continue };
        for (profile, judgements) in &cell.judgements {
            for (capability, judgement) in judgements {
                let Some(other) = sibling.judgement(profile, *capability) else { continue };
                let (vm, container) = (judgement.verdict, other.verdict);
                if container.is_decided() && vm != container && vm != Verdict::NotApplicable {
                    said.push(format!(
                        "{} {}: {capability} under {profile} is {} in a virtual machine and {} in a container: {} counts.",
                        cell.cell.distro,
                        cell.cell.release,
                        vm.name(),
                        container.name(),
                        settle(vm, container).name()
                    ));
                }
            }
        }
    }
    said
}

fn target(cell: &CellReport) -> (&str, &str, Arch) {
    (&cell.cell.distro, &cell.cell.release, cell.cell.arch)
}
