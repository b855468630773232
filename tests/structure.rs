//! The house keeps its shape: floors, sizes, one noun in six places, and no rooms without a name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    guardian_tests::workspace()
}

fn sources(below: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the tree") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).expect("a source file")));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no sources below {below}");
    found
}

const FLOORS: [(&str, u8); 17] = [
    ("model", 0),
    ("durable", 0),
    ("trust", 1),
    ("registry", 1),
    ("policy", 1),
    ("audit", 1),
    ("inventory", 1),
    ("orders", 1),
    ("capability", 2),
    ("sandbox", 3),
    ("gate", 3),
    ("run", 4),
    ("heal", 5),
    ("api", 6),
    ("cli", 6),
    ("dashboard", 6),
    ("app", 7),
];

#[test]
fn imports_go_down_only() {
    let floors: BTreeMap<&str, u8> = FLOORS.into_iter().collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (file, text) in sources("host/src") {
        let room = file.trim_start_matches("host/src/").split(['/', '.']).next().unwrap_or_default().to_owned();
        if matches!(room.as_str(), "main" | "lib") {
            continue;
        }
        let own = *floors
            .get(room.as_str())
            .unwrap_or_else(|| panic!("{file}: `{room}` stands on no floor; add it to the table"));
        // `durable` acts on files with the words of no other room; `model` knows nobody.
        assert!(
            !text.contains("use crate::{"),
            "{file}: one `use crate::room::` per room, so that this test sees them all"
        );
        for (at, _) in text.match_indices("crate::") {
            let named: String = text[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if let Some(floor) = floors.get(named.as_str()) {
                seen += 1;
                if named != room && *floor >= own {
                    wrong.push(format!("{file} (floor {own}) names {named} (floor {floor})"));
                }
            }
        }
    }
    assert!(seen > 50, "the test no longer sees imports");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_sandbox_knows_wasmtime_and_only_the_gate_names_all_three() {
    for (file, text) in sources("host/src") {
        let inside = file.starts_with("host/src/sandbox");
        assert!(inside || !text.contains("wasmtime::"), "{file} names wasmtime; only the sandbox may");
        if inside {
            for room in ["crate::policy", "crate::audit", "crate::capability"] {
                assert!(
                    !text.contains(room),
                    "{file} names {room}; the sandbox reaches the world only through the gate"
                );
            }
        }
        let policy = text.contains("crate::policy::") && text.contains("crate::audit::");
        let names_all = policy && text.contains("crate::capability::");
        // Beside the gate only what wires a home together, and the list of its rooms' errors.
        let wires = ["host/src/run/site.rs", "host/src/run/error.rs"].contains(&file.as_str());
        let gate = file == "host/src/gate.rs" || file.starts_with("host/src/gate/");
        let allowed = gate || wires;
        assert!(
            !names_all || allowed,
            "{file} names policy, audit and capability together; only the gate (and who wires it) may"
        );
    }
}

#[test]
fn files_and_functions_stay_small() {
    let mut wrong = Vec::new();
    for below in ["host", "guest-sdk", "playbooks", "tests"] {
        for (file, text) in sources(below) {
            let lines = text.lines().count();
            if lines > 600 {
                wrong.push(format!("{file}: {lines} lines (600)"));
            }
            if file.starts_with("host/src") {
                wrong.extend(long_functions(&file, &text));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Functions over 70 lines, by rustfmt's indentation: a function ends at the brace in its own column.
fn long_functions(file: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let modifiers = ["pub", "const", "async", "unsafe", "extern"];
        let before = code.split("fn ").next().unwrap_or_default();
        let is_function = code.contains("fn ")
            && before
                .split_whitespace()
                .all(|word| modifiers.contains(&word.split('(').next().unwrap_or(word)) || word.ends_with(')'));
        if !is_function {
            continue;
        }
        let end = lines
            .iter()
            .skip(start)
            .position(|line| line.len() > indent && line[..].starts_with(&format!("{}}}", " ".repeat(indent))));
        if let Some(length) = end.filter(|length| *length > 70) {
            found.push(format!("{file}:{}: {length} lines (70)", start + 1));
        }
    }
    found
}

#[test]
fn every_room_has_a_name_of_its_own() {
    for below in ["host", "guest-sdk", "playbooks", "tests"] {
        for (file, text) in sources(below) {
            let name = Path::new(&file).file_stem().expect("a name").to_string_lossy().into_owned();
            for word in ["mod", "util", "utils", "common", "helper", "helpers", "misc", "manager"] {
                assert_ne!(name, word, "{file}: give it the name of what it does");
            }
            assert!(!below.starts_with("host") || text.starts_with("//!"), "{file} opens without saying what it is");
        }
    }
}

#[test]
fn one_noun_stands_in_six_places() {
    let action = std::fs::read_to_string(root().join("host/src/model/verb.rs")).expect("the table of verbs");
    let coverage = std::fs::read_to_string(root().join("tests/coverage.rs")).expect("the coverage test");
    for interface in guardian::model::Interface::ALL {
        let word = interface.word();
        for place in [
            format!("wit/{word}.wit"),
            format!("host/src/capability/{word}.rs"),
            format!("host/src/sandbox/import/{word}.rs"),
            format!("guest-sdk/src/{word}.rs"),
        ] {
            assert!(root().join(&place).is_file(), "`{word}` has no {place}");
        }
        assert!(action.contains(&format!("\"{word}\"")), "`{word}` is not in the table of verbs");
        for verb in interface.verbs() {
            assert!(coverage.contains(&format!("\"{}\"", verb.id())), "`{verb}` has no row in tests/coverage.rs");
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for below in ["host", "guest-sdk", "playbooks"] {
        for (file, text) in sources(below) {
            for word in ["todo!(", "unimplemented!(", "FIXME", "XXX", "#[ignore"] {
                assert!(!text.contains(word), "{file} contains {word}");
            }
        }
    }
}
