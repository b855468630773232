//! People approve a plan, from outside: what waits does nothing, what was approved is done once, and what was not approved
//! exactly so is not done at all.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use guardian_tests::{House, Said, text, wait_until};

use super::releases::release;

/// Appends to `guardian.toml`.
pub(crate) fn more(house: &House, text: &str) {
    let toml = house.root().join("etc/guardian.toml");
    let before = std::fs::read_to_string(toml).expect("toml");
    house.configure(&format!("{before}\n{text}"));
}

/// The file of a new key.
pub(crate) fn key(house: &House, name: &str) -> String {
    let key = text(&house.root().join(format!("{name}.person")));
    house.ok(&["key", "new", &key]);
    key
}

/// The line of a key's public half.
pub(crate) fn public(key: &str) -> String {
    std::fs::read_to_string(format!("{key}.pub")).expect("a public key").trim().to_owned()
}

/// A person with a new key and a role; gives the key's file.
pub(crate) fn person(house: &House, name: &str, role: &str) -> String {
    let key = key(house, name);
    more(house, &format!("[person.{name}]\nkeys = ['{}']\nroles = ['{role}']\n", public(&key)));
    key
}

/// A gate before starting a service.
pub(crate) fn gate(house: &House, id: &str, role: &str, quorum: u32) {
    let text = format!(
        "@id(\"{id}\")\n@gate(\"approval\")\n@approvers(\"{role}\")\n@quorum(\"{quorum}\")\nforbid (principal, action == Guardian::Action::\"service.start\", resource) unless {{ context.approvals.contains(\"{role}\") }};\n"
    );
    std::fs::write(house.root().join(format!("etc/policy/gates/{id}.cedar")), text).expect("a gate");
}

/// A house where starting a service needs one of `oncall`, and ann, who is.
pub(crate) fn house() -> (House, String) {
    let house = House::new();
    gate(&house, "ask-first", "oncall", 1);
    let ann = person(&house, "ann", "oncall");
    (house, ann)
}

/// A run that waits.
pub(crate) fn waiting(house: &House) -> String {
    let said = house.heal(&["--json"]);
    assert_eq!(said.code, 6, "{said:?}");
    nothing_done(house);
    said.json()["run"].as_str().expect("a run").to_owned()
}

pub(crate) fn nothing_done(house: &House) {
    assert_eq!(house.web(), None, "something was started");
    assert!(house.records("intent").is_empty());
}

fn resume(house: &House, run: &str) -> Said {
    house.guardian(&["run", "--resume", run])
}

pub(crate) fn says(said: &Said, code: i32, words: &str) {
    assert_eq!(said.code, code, "{said:?}");
    assert!(said.out.contains(words) || said.err.contains(words), "no `{words}`: {said:?}");
    said.nothing_raw();
}

#[test]
fn what_people_approved_is_done_once() {
    let (house, ann) = house();
    let run = waiting(&house);
    says(&resume(&house, &run), 6, "so far: nobody");
    house.ok(&["approve", &run, "--key", &ann]);
    nothing_done(&house);
    says(&resume(&house, &run), 0, "healed");
    assert!(house.web().is_some());
    for kind in ["run-start", "waiting", "approved", "run-end"] {
        let records = house.records(kind);
        assert_eq!(records.len(), 1, "{kind}: {records:?}");
        assert_eq!(records[0]["run"], run.as_str(), "{kind}");
    }
    assert_eq!(house.records("approved")[0]["people"][0], "ann");
    says(&resume(&house, &run), 2, "does not wait");
    says(&house.guardian(&["approve", &run, "--key", &ann]), 2, "does not wait");
    assert_eq!(house.records("intent").len(), 1);
    house.ok(&["audit", "verify"]);
}

#[test]
fn an_approval_is_used_up_by_a_run_that_is_killed() {
    let (house, ann) = house();
    let run = waiting(&house);
    house.ok(&["approve", &run, "--key", &ann]);
    let word = house.root().join(format!("var/state/approvals/{run}.ann.word"));
    let (asked, word_bytes) = (word.with_file_name(format!("{run}.json")), std::fs::read(&word).expect("the word"));
    let asked_bytes = std::fs::read(&asked).expect("the plan");
    let mut resumed = house
        .command(&["run", "--resume", &run])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("guardian starts");
    wait_until("it goes on", || !house.records("approved").is_empty());
    let _ = resumed.kill();
    resumed.wait().expect("an end");
    // Whoever can put the files back finds them used.
    std::fs::write(&word, word_bytes).expect("put back");
    std::fs::write(&asked, asked_bytes).expect("put back");
    let starts = house.records("intent").len();
    says(&resume(&house, &run), 2, "does not wait");
    assert_eq!(house.records("intent").len(), starts);
    assert_eq!(house.records("approved").len(), 1);
    let end = house.heal(&[]);
    assert!(matches!(end.code, 0 | 6 | 7), "{end:?}");
    house.ok(&["audit", "verify"]);
}

#[test]
fn what_a_person_holds_back_does_not_use_the_approval_up() {
    let (house, ann) = house();
    more(&house, "[service.db]\ncommand = ['/bin/sleep', '9']\nstop_time = '300ms'\n");
    let run = waiting(&house);
    house.ok(&["approve", &run, "--key", &ann]);
    for (order, lift, word) in [
        (
            &["pause", "service.web", "--for", "5m", "--reason", "a deployment"][..],
            &["unpause", "service.web", "--reason", "done"][..],
            "service.web is paused until",
        ),
        (
            &["freeze", "--for", "5m", "--reason", "nobody moves"],
            &["unfreeze", "--reason", "done"],
            "everything is frozen until",
        ),
    ] {
        house.ok(order);
        for _ in 0..2 {
            let said = resume(&house, &run);
            says(&said, 6, word);
            assert!(said.line().contains(&format!("run --resume {run}")), "{said:?}");
        }
        nothing_done(&house);
        assert!(house.records("approved").is_empty());
        house.ok(lift);
    }
    // A pause of something else is none of its business.
    house.ok(&["pause", "service.db", "--for", "5m", "--reason", "another"]);
    says(&resume(&house, &run), 0, "healed");
    assert_eq!(house.records("approved").len(), 1);
}

#[test]
fn of_a_hundred_who_resume_one_acts() {
    let (house, ann) = house();
    let run = waiting(&house);
    let said: Vec<Said> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..100)
            .map(|_| {
                let (house, run, ann) = (&house, &run, &ann);
                scope.spawn(move || {
                    let _ = house.guardian(&["approve", run, "--key", ann]);
                    house.guardian(&["run", "--resume", run, "--wait", "100s"])
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().expect("an end")).collect()
    });
    assert_eq!(said.iter().filter(|said| said.code == 0).count(), 1, "{said:?}");
    for said in said.iter().filter(|said| said.code != 0) {
        says(said, 2, "does not wait");
    }
    assert_eq!((house.records("approved").len(), house.records("intent").len()), (1, 1));
    house.ok(&["audit", "verify"]);
}

#[test]
fn a_word_counts_for_its_own_run_and_plan() {
    let (house, ann) = house();
    let (first, second) = (waiting(&house), waiting(&house));
    house.ok(&["approve", &first, "--key", &ann]);
    let approvals = house.root().join("var/state/approvals");
    let word = std::fs::read(approvals.join(format!("{first}.ann.word"))).expect("the word");
    std::fs::write(approvals.join(format!("{second}.ann.word")), &word).expect("copied");
    let said = resume(&house, &second);
    says(&said, 6, "does not count");
    says(&said, 6, "about another plan");
    nothing_done(&house);
    // The plan on the disk: what it does, whom it asks, how many, until when. Each is what was signed and is on the trail.
    let file = approvals.join(format!("{first}.json"));
    let good = std::fs::read_to_string(&file).expect("the plan");
    let document: serde_json::Value = serde_json::from_str(&good).expect("JSON");
    let (until, incident) = (&document["until"], &document["incident"]);
    for (from, to) in [
        ("service.start", "service.restart"),
        ("[1,[\"oncall\"]]", "[0,[\"oncall\"]]"),
        ("[1,[\"oncall\"]]", "[1,[\"intern\"]]"),
        ("{\"ask-first\":[1,[\"oncall\"]]}", "{}"),
        (&until.to_string(), "9999999999999"),
        ("\"release\":1", "\"release\":2"),
        ("\"severity\":5", "\"severity\":9"),
        ("\"opened_at\":1", "\"opened_at\":2"),
        (",\"bindings\":", ",\"labels\":{\"team\":\"db\"},\"bindings\":"),
        (&format!("\"id\":\"{}\"", incident["id"].as_str().expect("an id")), "\"id\":\"i-0\""),
        ("\"playbook\":\"guardian/", "\"playbook\":\"stranger/"),
        ("\"says\":\"runs ", "\"says\":\"does "),
    ] {
        let changed = good.replace(from, to);
        assert_ne!(changed, good, "{from}");
        std::fs::write(&file, changed).expect("changed");
        says(&resume(&house, &first), 3, "not the one that the trail speaks of");
        nothing_done(&house);
    }
    std::fs::write(&file, "{").expect("changed");
    says(&resume(&house, &first), 2, "cannot be read");
    std::fs::write(&file, good).expect("mended");
    says(&resume(&house, &first), 0, "healed");
}

#[test]
fn what_changed_since_it_was_asked_is_asked_anew() {
    let policy = |house: &House| {
        let rule = "@id(\"never\") forbid (principal, action == Guardian::Action::\"service.stop\", resource);";
        std::fs::write(house.root().join("etc/policy/hard/never.cedar"), rule).expect("a rule");
    };
    let playbook = |house: &House| drop(house.ok(&["playbook", "add", &text(&release(house, 2, "second"))]));
    let binding = |house: &House| more(house, "[playbook.\"guardian/service_crashed\"]\nbind = { target = 'db' }\n");
    let command = |house: &House| {
        let toml = std::fs::read_to_string(house.root().join("etc/guardian.toml")).expect("toml");
        house.configure(&toml.replace("[service.web]\n", "[service.web]\nenvironment = { MODE = 'other' }\n"));
    };
    type Change = fn(&House);
    let changes: [(&str, Change); 4] = [
        ("what stands behind `service.web` in guardian.toml", command),
        ("the policy has changed", policy),
        ("the playbook has changed", playbook),
        ("what guardian.toml binds has changed", binding),
    ];
    for (words, change) in changes {
        let (house, ann) = house();
        more(&house, "[service.db]\ncommand = ['/bin/sleep', '9']\nstop_time = '300ms'\n");
        let run = waiting(&house);
        house.ok(&["approve", &run, "--key", &ann]);
        change(&house);
        says(&resume(&house, &run), 3, words);
        nothing_done(&house);
        assert_eq!(house.records("run-end")[0]["state"], "refused");
        says(&resume(&house, &run), 2, "does not wait");
    }
}

#[test]
fn words_and_plans_run_out() {
    let (house, ann) = house();
    let run = waiting(&house);
    house.ok(&["approve", &run, "--key", &ann, "--for", "1s"]);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    says(&resume(&house, &run), 6, "does not count");
    nothing_done(&house);
    more(&house, "[approval]\nwait = \"1s\"\n");
    let (run, left) = (waiting(&house), waiting(&house));
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    says(&house.guardian(&["approve", &run, "--key", &ann]), 3, "counts until");
    says(&resume(&house, &run), 4, "nobody approved it in time");
    nothing_done(&house);
    // The one that nobody came back to has its end as well, by whoever came next.
    let ends = house.records("run-end");
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert!(ends.iter().all(|end| end["state"] == "not-healed"), "{ends:?}");
    assert!(ends.iter().any(|end| end["run"] == left.as_str()));
}

#[test]
fn a_quorum_counts_people_in_the_role() {
    let house = House::new();
    gate(&house, "two-of-us", "oncall", 2);
    let keys = [key(&house, "one"), key(&house, "two")];
    let both = format!("'{}', '{}'", public(&keys[0]), public(&keys[1]));
    more(&house, &format!("[person.ann]\nkeys = [{both}]\nroles = ['oncall']\n"));
    let (bob, eve) = (person(&house, "bob", "oncall"), person(&house, "eve", "intern"));
    let stranger = key(&house, "stranger");
    let run = waiting(&house);
    let says_yes = |key: &str| house.guardian(&["approve", &run, "--key", key]);
    says(&says_yes(&keys[0]), 0, "still needed");
    let one = house.root().join(format!("var/state/approvals/{run}.ann.word"));
    std::fs::copy(&one, one.with_file_name(format!("{run}.zed.word"))).expect("copied");
    says(&says_yes(&keys[1]), 0, "still needed");
    says(&resume(&house, &run), 6, "so far: ann");
    says(&says_yes(&eve), 3, "none of the roles");
    says(&says_yes(&stranger), 3, "none of the people");
    says(&resume(&house, &run), 6, "so far: ann");
    nothing_done(&house);
    says(&says_yes(&bob), 0, "go on with");
    says(&resume(&house, &run), 0, "healed");
    assert_eq!(house.records("approved")[0]["people"], serde_json::json!(["ann", "bob"]));
}

#[test]
fn who_wrote_the_code_does_not_approve_it() {
    let (house, _) = house();
    let own = text(&house.root().join("guardian.key"));
    more(&house, &format!("[person.author]\nkeys = ['{}']\nroles = ['oncall']\n", public(&own)));
    let run = waiting(&house);
    says(&house.guardian(&["approve", &run, "--key", &own]), 3, "cannot approve its runs");
    says(&resume(&house, &run), 6, "so far: nobody");
}

#[test]
fn no_wins_over_yes() {
    let (house, ann) = house();
    let bob = person(&house, "bob", "oncall");
    let run = waiting(&house);
    house.ok(&["approve", &run, "--key", &ann]);
    house.ok(&["reject", &run, "--key", &bob, "--reason", "not \u{1b}[2Jnow"]);
    let end = house.records("run-end")[0].clone();
    assert!(end["state"] == "refused" && end["reason"].to_string().contains("bob rejected it: not"), "{end}");
    // It is over: nobody takes it back, not even who said it.
    for key in [&bob, &ann] {
        says(&house.guardian(&["approve", &run, "--key", key]), 2, "does not wait");
    }
    says(&house.guardian(&["reject", &run, "--key", &bob, "--reason", "again"]), 2, "does not wait");
    says(&resume(&house, &run), 2, "does not wait");
    nothing_done(&house);
}

#[test]
fn each_gate_wants_its_own_people() {
    let (house, ann) = house();
    gate(&house, "data", "dba", 1);
    let (bob, dan) = (person(&house, "bob", "oncall"), person(&house, "dan", "dba"));
    let run = waiting(&house);
    house.ok(&["approve", &run, "--key", &ann]);
    says(&house.guardian(&["approve", &run, "--key", &bob]), 0, "data wants 1 of dba");
    says(&resume(&house, &run), 6, "data wants 1 of dba");
    nothing_done(&house);
    house.ok(&["approve", &run, "--key", &dan]);
    says(&resume(&house, &run), 0, "healed");
}

fn ssh(house: &House, arguments: &[&str]) {
    let done = std::process::Command::new("ssh-keygen")
        .args(arguments)
        .current_dir(house.root())
        .output()
        .expect("ssh-keygen is installed: scripts/test-packages");
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn ssh_keygen_is_enough_to_approve() {
    let (house, _) = house();
    ssh(&house, &["-q", "-t", "ed25519", "-N", "", "-f", "cat", "-C", "cat's own"]);
    let line = std::fs::read_to_string(house.root().join("cat.pub")).expect("a key");
    more(&house, &format!("[person.cat]\nkeys = [\"{}\"]\nroles = ['oncall']\n", line.trim()));
    let run = waiting(&house);
    let path = |name: &str| text(&house.root().join(name));
    std::fs::write(path("word"), house.ok(&["approve", &run, "--print"]).out).expect("written");
    let give =
        || house.guardian(&["approve", &run, "--statement", &path("word"), "--ssh-signature", &path("word.sig")]);
    ssh(&house, &["-q", "-Y", "sign", "-n", "file", "-f", "cat", "word"]);
    says(&give(), 3, "another purpose");
    std::fs::remove_file(path("word.sig")).expect("removed");
    ssh(&house, &["-q", "-Y", "sign", "-n", "guardian-approval", "-f", "cat", "word"]);
    let word = std::fs::read_to_string(path("word")).expect("the word");
    std::fs::write(path("word"), word.replace("\"exact\":false", "\"exact\":true")).expect("changed");
    says(&give(), 3, "none of the people");
    std::fs::write(path("word"), word).expect("as it was signed");
    says(&give(), 0, "approved by cat");
    says(&resume(&house, &run), 0, "healed");
}

#[test]
fn a_key_is_one_persons_however_it_is_written() {
    let (house, _) = house();
    ssh(&house, &["-q", "-t", "ed25519", "-N", "", "-f", "cat"]);
    let line = std::fs::read_to_string(house.root().join("cat.pub")).expect("a key");
    let blob = STANDARD.decode(line.split_whitespace().nth(1).expect("a key")).expect("base64");
    let own = format!("guardian-ed25519:{}", STANDARD.encode(&blob[blob.len() - 32..]));
    more(&house, &format!("[person.cat]\nkeys = [\"{}\"]\n[person.dog]\nkeys = ['{own}']\n", line.trim()));
    house.refused(&["status"], 2, &["`dog`", "`cat`", "same key"]);
    assert_eq!(house.heal(&[]).code, 2);
}

#[test]
fn people_see_what_they_approve() {
    let (house, ann) = house();
    let toml = std::fs::read_to_string(house.root().join("etc/guardian.toml")).expect("toml");
    house.configure(&toml.replace("[service.web]\n", "[service.web]\nenvironment = { TOKEN = 'hunter2' }\n"));
    let said = house.heal(&["--label", "team=web"]);
    let run = house.records("waiting")[0]["run"].as_str().expect("a run").to_owned();
    let approved = house.ok(&["approve", &run, "--key", &ann]);
    for said in [&said, &approved] {
        for words in [
            "service.start service.web",
            "claims team = web",
            "target = web",
            "service.web runs ",
            "ask-first: 1 of oncall",
        ] {
            says(said, said.code, words);
        }
        assert!(!said.out.contains("hunter2") && !said.err.contains("hunter2"), "{said:?}");
    }
    let plan = std::fs::read_to_string(house.root().join(format!("var/state/approvals/{run}.json"))).expect("the plan");
    assert!(!plan.contains("hunter2"), "{plan}");
}

#[test]
fn a_plan_waits_on_one_trail() {
    let ((here, ann), (there, _)) = (house(), house());
    let run = waiting(&here);
    here.ok(&["approve", &run, "--key", &ann]);
    waiting(&there);
    more(&there, &format!("[person.both]\nkeys = ['{}']\nroles = ['oncall']\n", public(&ann)));
    let folder = |house: &House| house.root().join("var/state/approvals");
    let mut moved = 0;
    for file in std::fs::read_dir(folder(&here)).expect("the approvals") {
        let file = file.expect("an entry");
        moved += std::fs::copy(file.path(), folder(&there).join(file.file_name())).expect("copied");
    }
    assert!(moved > 0);
    for command in [&["run", "--resume", &run][..], &["approve", &run, "--key", &ann]] {
        says(&there.guardian(command), 2, "another home");
    }
    nothing_done(&there);
}
