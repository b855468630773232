//! Playbooks that are not what they should be: refused before a byte of them runs, and the store as it was.

use std::path::PathBuf;

use guardian_tests::{House, playbooks, text};

/// A house with a publisher's key and a copy of the signed healing playbook, not yet added.
struct Post {
    house: House,
    wasm: PathBuf,
}

impl Post {
    fn new() -> Self {
        let house = House::empty();
        house.ok(&["init"]);
        let wasm = house.root().join("p.wasm");
        std::fs::copy(playbooks().join("service_crashed-1.wasm"), &wasm).expect("a built playbook");
        let key = text(&house.root().join("k.key"));
        house.ok(&["key", "new", &key]);
        house.ok(&["trust", "add", &format!("{key}.pub"), "--publisher", "guardian"]);
        house.ok(&["playbook", "sign", &text(&wasm), "--key", &key]);
        Self { house, wasm }
    }

    fn envelope(&self) -> PathBuf {
        self.house.root().join("p.wasm.dsse.json")
    }

    /// Verify and add say the same no.
    fn refused(&self, code: i32, words: &[&str]) {
        let file = text(&self.wasm);
        self.house.refused(&["playbook", "verify", &file], code, words);
        self.house.refused(&["playbook", "add", &file], code, words);
        assert_eq!(
            self.house.ok(&["playbook", "list", "--json"]).json()["playbooks"].as_array().map(Vec::len),
            Some(0)
        );
    }
}

#[test]
fn changed_bytes_are_refused() {
    let post = Post::new();
    let good = std::fs::read(&post.wasm).expect("a component");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (bytes, words) in [
        (&flipped[..], "changed after signing"),
        (&good[..good.len() / 2], "changed after signing"),
        (&good[..8], "changed after signing"),
        (b"", "changed after signing"),
        (b"\x7fELF not a component at all", "changed after signing"),
    ] {
        std::fs::write(&post.wasm, bytes).expect("written");
        post.refused(3, &[words]);
        let said = post.house.guardian(&["playbook", "inspect", &text(&post.wasm)]);
        said.nothing_raw();
        assert!(said.code == 3 || bytes == flipped, "{said:?}");
        post.house.refused(
            &["playbook", "sign", &text(&post.wasm), "--key", &text(&post.house.root().join("k.key"))],
            3,
            &[],
        );
    }
    std::fs::write(&post.wasm, &good).expect("mended");
    post.house.ok(&["playbook", "add", &text(&post.wasm)]);
}

#[test]
fn a_malformed_or_missing_envelope_is_refused() {
    let post = Post::new();
    let good = std::fs::read_to_string(post.envelope()).expect("an envelope");
    for (content, words) in [
        ("", "signature file"),
        ("{}", "signature file"),
        ("{\"payloadType\":1}", "signature file"),
        (&good[..good.len() - 20], "signature file"),
        (&good.replace("payloadType", "payload\u{1b}Type"), "signature file"),
        (&good.replacen("application/", "text/", 1), "none of its signatures"),
    ] {
        std::fs::write(post.envelope(), content).expect("written");
        post.refused(3, &[words]);
    }
    std::fs::remove_file(post.envelope()).expect("removed");
    post.refused(3, &["not signed", "guardian playbook sign"]);
    let refused = post.house.records("refused");
    assert!(
        refused.last().is_some_and(|record| record["reason"].as_str().is_some_and(|why| why.contains("not signed")))
    );
    std::fs::remove_file(&post.wasm).expect("removed");
    post.refused(2, &[&text(&post.wasm)]);
}

#[test]
fn days_are_for_the_first_signature() {
    let post = Post::new();
    let (house, file) = (&post.house, text(&post.wasm));
    let key = text(&house.root().join("second.key"));
    house.ok(&["key", "new", &key]);
    house.refused(&["playbook", "sign", &file, "--key", &key, "--days", "30"], 2, &["leave out --days", "dsse.json"]);
    house.ok(&["playbook", "sign", &file, "--key", &key]);
    std::fs::remove_file(post.envelope()).expect("removed");
    house.ok(&["playbook", "sign", &file, "--key", &key, "--days", "30"]);
}

#[test]
fn a_publisher_signs_only_its_own_names() {
    let post = Post::new();
    let house = &post.house;
    let key = text(&house.root().join("other.key"));
    house.ok(&["key", "new", &key]);
    house.ok(&["trust", "add", &format!("{key}.pub"), "--publisher", "other"]);
    std::fs::remove_file(post.envelope()).expect("removed");
    house.ok(&["playbook", "sign", &text(&post.wasm), "--key", &key]);
    post.refused(3, &["other", "guardian"]);
    house.ok(&["trust", "remove", "other"]);
    post.refused(3, &["guardian"]);
    // A key file that is there is never written over.
    house.refused(&["key", "new", &key], 2, &["other.key"]);
    std::fs::remove_file(&key).expect("removed");
    house.refused(&["key", "new", &key], 2, &["other.key.pub"]);
}

#[test]
fn what_is_not_granted_is_refused_at_load_with_all_its_names() {
    let house = House::new();
    let run = ["run", "guardian/service_crashed", "--incident", "service_crashed", "--target", "service.web"];
    let permits = house.permits().join("service_crashed.cedar");
    std::fs::write(
        &permits,
        "@id(\"only-clock\")\npermit (principal == Guardian::Playbook::\"guardian/service_crashed\", action == Guardian::Action::\"clock.now\", resource == Guardian::Run::\"self\");\n",
    )
    .expect("a narrow permit");
    house.refused(&run, 3, &["service", "probe"]);
    std::fs::remove_file(&permits).expect("removed");
    house.refused(&run, 3, &["service", "probe"]);
    assert_eq!(house.web(), None);
    assert!(house.records("run-start").is_empty());
    assert!(!house.records("refused").is_empty(), "a refusal is on the trail");
}
