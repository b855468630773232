//! The contract itself: every item says what it means and since when, and nothing in it is of a kind that the sandbox
//! refuses.

use guardian::model::{Interface, Verb};
use wit_parser::{FunctionKind, Resolve, Stability, TypeDefKind, WorldItem};

fn contract() -> Resolve {
    let mut resolve = Resolve::default();
    resolve.push_dir(guardian_tests::workspace().join("wit")).unwrap();
    resolve
}

#[test]
fn every_item_has_words_and_a_version() {
    let resolve = contract();
    let mut without = Vec::new();
    let mut check = |name: String, stability: &Stability, words: Option<&str>| {
        let since = matches!(stability, Stability::Stable { since, .. } if since.to_string().starts_with("0.1."));
        if !since || words.is_none_or(|words| words.trim().is_empty()) {
            without.push(name);
        }
    };
    for (_, interface) in &resolve.interfaces {
        let home = interface.name.clone().unwrap();
        check(home.clone(), &interface.stability, interface.docs.contents.as_deref());
        for (name, function) in &interface.functions {
            check(format!("{home}.{name}"), &function.stability, function.docs.contents.as_deref());
        }
        for (name, id) in &interface.types {
            let found = &resolve.types[*id];
            // `use types.{error}` is another name for something that has its words elsewhere.
            let words = match found.kind {
                TypeDefKind::Type(_) => Some("see there"),
                _ => found.docs.contents.as_deref(),
            };
            check(format!("{home}.{name}"), &found.stability, words);
            match &found.kind {
                TypeDefKind::Record(record) => {
                    for field in &record.fields {
                        let words = field.docs.contents.as_deref();
                        check(format!("{home}.{name}.{}", field.name), &found.stability, words);
                    }
                }
                TypeDefKind::Enum(kinds) => {
                    for case in &kinds.cases {
                        let words = case.docs.contents.as_deref();
                        check(format!("{home}.{name}.{}", case.name), &found.stability, words);
                    }
                }
                _ => {}
            }
        }
    }
    assert!(without.is_empty(), "no documentation or no @since: {without:?}");
}

#[test]
fn the_contract_uses_nothing_that_the_sandbox_refuses() {
    let resolve = contract();
    for (_, found) in resolve.types.iter() {
        let refused = matches!(
            found.kind,
            TypeDefKind::Resource | TypeDefKind::Handle(_) | TypeDefKind::Future(_) | TypeDefKind::Stream(_)
        );
        assert!(!refused, "{:?}", found.name);
    }
    for (_, interface) in &resolve.interfaces {
        assert!(interface.functions.values().all(|function| function.kind == FunctionKind::Freestanding));
    }
}

/// The table of verbs and the WIT files name the same functions, and each of them can fail with a typed error.
#[test]
fn the_table_of_verbs_is_the_contract() {
    let resolve = contract();
    let (_, world) = resolve.worlds.iter().next().unwrap();
    let mut found = Vec::new();
    for item in world.imports.values() {
        let WorldItem::Interface { id, .. } = item else { panic!("the world imports more than interfaces") };
        let interface = &resolve.interfaces[*id];
        let home = interface.name.clone().unwrap();
        for name in interface.functions.keys() {
            found.push(format!("{home}.{name}"));
        }
        assert!(home == "types" || Interface::from_word(&home).is_some(), "{home} is no capability");
    }
    let mut verbs: Vec<String> = Verb::ALL.into_iter().map(|verb| verb.id().to_owned()).collect();
    verbs.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, verbs);
}
