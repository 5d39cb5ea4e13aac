//! Disagreement between the environments of a release.

use crate::matrix::{CellReport, Matrix};
use crate::verdict::agreement::settle;
use model::arch::Arch;
use model::distro::{DistroId, ReleaseVersion};
use model::environment::Environment;
use model::verified::Verdict;
use std::collections::BTreeMap;

/// Describes where the environments of a release decided differently, each with the verdict that counts; if their
/// packages differ, neither verdict counts for the other environment.
pub(crate) fn disagreements(matrix: &Matrix) -> Vec<String> {
    let of = |environment: Environment| matrix.cells.iter().filter(move |c| c.cell.environment == environment);
    let containers: BTreeMap<_, &CellReport> = of(Environment::Container).map(|cell| (target(cell), cell)).collect();
    let mut lines = Vec::new();
    for cell in of(Environment::Vm) {
        let Some(sibling) = containers.get(&target(cell)) else { continue };
        let both = cell.measured().zip(sibling.measured());
        let are_the_same = both.is_none_or(|(one, other)| one.is_of_the_same(&other));
        for (profile, judgements) in &cell.judgements {
            for (capability, judgement) in judgements {
                let Some(other) = sibling.judgement(profile, *capability) else { continue };
                let (vm, container) = (judgement.verdict, other.verdict);
                if container.is_decided() && vm != container && vm != Verdict::NotApplicable {
                    let counts = match are_the_same {
                        true => format!("{} counts", settle(vm, container).name()),
                        false => "their packages differ, so neither result replaces the other".to_owned(),
                    };
                    lines.push(format!(
                        "{} {}: {capability} under {profile} is {} in a virtual machine and {} in a container: {counts}.",
                        cell.cell.distro,
                        cell.cell.release,
                        vm.name(),
                        container.name(),
                    ));
                }
            }
        }
    }
    lines
}

fn target(cell: &CellReport) -> (&DistroId, &ReleaseVersion, Arch) {
    (&cell.cell.distro, &cell.cell.release, cell.cell.arch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{QMP, fail, judged, run};
    use suites::outcome::Component;

    #[test]
    fn disagreements_are_settled_only_for_the_same_packages() {
        let mut matrix = judged(&run(|test| (test == QMP).then(|| fail(Component::Qemu, "no reply"))));
        let mut machine = judged(&run(|_| None)).cells.remove(0);
        machine.cell.environment = Environment::Vm;
        matrix.cells.push(machine);
        let differ =
            "debian 13: vmm.qmp under go-3.29 is supported in a virtual machine and unsupported in a container: ";
        assert_eq!(disagreements(&matrix), [format!("{differ}supported counts.")]);
        let versions = &mut matrix.cells[1].facts.as_mut().unwrap().versions;
        versions.insert("virtiofsd".parse().unwrap(), "1.0-1".parse().unwrap());
        let neither = format!("{differ}their packages differ, so neither result replaces the other.");
        assert_eq!(disagreements(&matrix), [neither]);
    }
}
