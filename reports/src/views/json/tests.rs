use super::*;
use crate::sample;

/// The document as programs get it, without the capabilities that no test of the run is required for.
#[test]
fn a_small_run_as_json() {
    let matrix = sample::small_matrix();
    let standings = sample::standings(&matrix);
    let mut document = document(&standings);
    for verdicts in document.cells.iter_mut().flat_map(|cell| cell.verdicts.values_mut()) {
        verdicts.retain(|_, judgement| judgement.required > 0);
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
}

#[test]
fn every_cell_has_each_verdict_and_each_test() {
    let matrix = sample::matrix();
    let text = render(&sample::standings(&matrix)).unwrap();
    assert_eq!(text.lines().count(), 1);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["schema"], SCHEMA);
    assert_eq!(document["ending"], "killed");
    let cells = document["cells"].as_array().unwrap();
    assert_eq!(cells.len(), matrix.cells.len());
    for (cell, report) in cells.iter().zip(&matrix.cells) {
        assert_eq!(cell["cell"], report.cell.to_string());
        assert_eq!(cell["complete"], report.complete);
        assert_eq!(cell["errors"].as_array().unwrap().len(), report.errors.len());
        assert_eq!(cell["tests"].as_array().unwrap().len(), report.instances.len());
        for profile in &matrix.profiles {
            let verdicts = cell["verdicts"][profile.name.as_str()].as_object().unwrap();
            assert_eq!(verdicts.len(), Capability::ALL.len());
            for capability in Capability::ALL {
                let judgement = report.judgement(&profile.name, *capability).unwrap();
                assert_eq!(verdicts[capability.name()]["verdict"], judgement.verdict.name());
            }
        }
    }
}
