use super::*;
use std::collections::BTreeSet;

fn document() -> serde_json::Value {
    serde_json::from_str(&record().unwrap()).unwrap()
}

#[test]
fn the_schema_keys_equal_the_decoder_keys() {
    let schema = document();
    let keys = |of: &serde_json::Value| of["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let set = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let (of_record, of_release) = crate::record::keys();
    assert_eq!(keys(&schema), set(of_record));
    assert_eq!(keys(&schema["$defs"]["ReleaseFile"]), set(of_release));
    let arches = crate::arch::Arch::ALL.iter().map(|arch| arch.name()).collect();
    assert_eq!(keys(&schema["$defs"]["EachArch"]), set(arches), "what a value has for each architecture");
    let issues: serde_json::Value = serde_json::from_str(&known_issues().unwrap()).unwrap();
    assert_eq!(keys(&issues), set(crate::known_issues::KEYS.to_vec()));
    assert_eq!(keys(&issues["$defs"]["Issue"]), set(crate::known_issues::ENTRY_KEYS.to_vec()));
}

#[test]
fn the_schema_enums_equal_the_names_of_the_types() {
    let schema = document();
    let verdicts: serde_json::Value = serde_json::from_str(&verified().unwrap()).unwrap();
    let words = |name: &str| {
        let defined = [&schema, &verdicts].into_iter().find(|s| s["$defs"].get(name).is_some()).unwrap();
        let of = &defined["$defs"][name];
        let listed = of["enum"].as_array().cloned().unwrap_or_default();
        let one_of = of["oneOf"].as_array().cloned().unwrap_or_default();
        let all = listed.into_iter().chain(one_of.iter().flat_map(|o| match o["enum"].as_array() {
            Some(list) => list.clone(),
            None => vec![o["const"].clone()],
        }));
        all.filter_map(|w| w.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(words("Arch"), crate::arch::Arch::ALL.iter().map(|a| a.name().to_owned()).collect::<Vec<_>>());
    assert_eq!(
        words("Confidence"),
        crate::record::Confidence::ALL.iter().map(|c| c.name().to_owned()).collect::<Vec<_>>()
    );
    let environments = crate::environment::Environment::ALL;
    assert_eq!(words("Environment"), environments.iter().map(|e| e.name().to_owned()).collect::<Vec<_>>());
    let bases = crate::verified::Basis::ALL;
    assert_eq!(words("Basis"), bases.iter().map(|b| b.name().to_owned()).collect::<Vec<_>>());
    assert_eq!(words("Runtime"), crate::profile::Runtime::ALL.iter().map(|r| r.name().to_owned()).collect::<Vec<_>>());
    let verdicts = crate::verified::Verdict::ALL;
    assert_eq!(words("Verdict"), verdicts.iter().map(|v| v.name().to_owned()).collect::<Vec<_>>());
}
