//! What a load refuses, with the place and the way to mend it.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use guardian::durable::Folder;
use guardian::policy::{DEFAULT_BASICS, DEFAULT_HARD, PolicyError, PolicySet, World};

use super::{complaints, inventory, load};

const GOOD: &str = "permit (principal == Guardian::Playbook::\"acme/fix\", \
    action == Guardian::Action::\"service.restart\", resource == Guardian::Service::\"web\")";

/// Each text is refused with a line that holds each of the words; `GOOD` with an id is what they are made from.
fn refused(path: &str, text: &str, words: &[&str]) {
    let found = complaints(&[("permits/basics.cedar", DEFAULT_BASICS), (path, text)]);
    assert!(found.iter().any(|line| words.iter().all(|word| line.contains(word))), "{text}\n{found:#?}");
    assert!(found.iter().all(|line| line.starts_with(path) && !line.contains('\n')), "{found:#?}");
}

#[test]
fn the_good_one_is_accepted() {
    assert_eq!(complaints(&[("permits/a.cedar", &format!("@id(\"a\") @why(\"w\") @owner(\"o\") {GOOD};"))]), [""; 0]);
    assert_eq!(complaints(&[("hard/a.cedar", DEFAULT_HARD), ("permits/a.cedar", DEFAULT_BASICS)]), [""; 0]);
}

#[test]
fn an_empty_set_is_refused() {
    for sources in [vec![], vec![("hard/a.cedar", DEFAULT_HARD)], vec![("permits/a.cedar", "// nothing yet\n")]] {
        let found = complaints(&sources);
        assert!(found.len() == 1 && found[0].contains("holds no permit"), "{found:?}");
    }
}

#[test]
fn annotations_are_known_unique_and_filled() {
    let path = "permits/a.cedar";
    refused(path, &format!("{GOOD};"), &["has no `@id`"]);
    refused(path, &format!("@id(\"\") {GOOD};"), &["`@id` is empty"]);
    refused(path, &format!("@id(\"Ä b\") {GOOD};"), &["the id `Ä b`", "for example"]);
    refused(path, &format!("@id(\"basics\") {GOOD};"), &["the id `basics` is taken by permits/basics.cedar:3"]);
    refused(path, &format!("@id(\"a\")\n@wyh(\"x\") {GOOD};"), &["a.cedar:2:1", "`@wyh`", "did you mean `@why`?"]);
    refused(path, &format!("@id(\"a\") @gate(\"approval\") {GOOD};"), &["unknown annotation `@gate` in `permits/`"]);
    refused(path, &format!("@id(\"a\") @id(\"b\") {GOOD};"), &["duplicate annotation"]);
    refused(path, &format!("@id(\"a\") @wide {GOOD};"), &["`@wide` is empty"]);
}

#[test]
fn effects_fit_their_folder() {
    let forbid = GOOD.replacen("permit", "forbid", 1);
    refused("permits/a.cedar", &format!("@id(\"a\") {forbid};"), &["`permits/` can only permit", "move it to `hard/`"]);
    refused("hard/a.cedar", &format!("@id(\"a\") {GOOD};"), &["`hard/` can only forbid", "move it to `permits/`"]);
    refused("gates/a.cedar", &format!("@id(\"a\") {GOOD};"), &["`gates/` can only forbid"]);
    refused("elsewhere/a.cedar", &format!("@id(\"a\") {GOOD};"), &["lies in no policy folder"]);
}

#[test]
fn a_permit_that_is_too_wide_is_refused_unless_it_says_why() {
    for (scope, what) in [
        (
            "(principal, action == Guardian::Action::\"service.restart\", resource == Guardian::Service::\"web\")",
            "one playbook or publisher",
        ),
        (
            "(principal is Guardian::Playbook, action == Guardian::Action::\"service.restart\", resource == Guardian::Service::\"web\")",
            "one playbook or publisher",
        ),
        ("(principal == Guardian::Playbook::\"a/b\", action, resource == Guardian::Service::\"web\")", "an action"),
        (
            "(principal == Guardian::Playbook::\"a/b\", action == Guardian::Action::\"service.restart\", resource)",
            "a resource",
        ),
        (
            "(principal in Guardian::Publisher::\"a\", action in Guardian::Action::\"service\", resource is Guardian::Service)",
            "a resource",
        ),
        ("(principal, action, resource)", "an action"),
    ] {
        refused("permits/a.cedar", &format!("@id(\"a\") permit {scope};"), &["wider than it may be", what, "@wide"]);
        let wide = format!("@id(\"a\") @wide(\"because\") permit {scope};");
        assert_eq!(complaints(&[("permits/a.cedar", &wide)]), [""; 0]);
    }
}

#[test]
fn what_waits_for_a_time_window_is_refused_until_there_are_windows() {
    let when = "when { context.windows.contains(\"trading\") }";
    let hard = "@id(\"h\") forbid (principal, action == Guardian::Action::\"service.stop\", resource)";
    let gate = hard.replace("\"h\")", "\"g\") @gate(\"approval\") @approvers(\"sre\") @quorum(\"1\")");
    for (path, text) in [
        ("permits/a.cedar", format!("@id(\"a\")\n{GOOD}\n{when};")),
        ("hard/a.cedar", format!("\n{hard}\n{when};")),
        ("hard/a.cedar", format!("\n{hard}\nwhen {{ context[\"\\u{{77}}indows\"].contains(\"x\") }};")),
        ("gates/a.cedar", format!("\n{gate}\n{when} unless {{ context.approvals.contains(\"sre\") }};")),
    ] {
        refused(path, &text, &["a.cedar:", "no time windows yet", "context.now"]);
    }
    refused("hard/a.cedar", &format!("\n{hard}\n{when};"), &["a.cedar:3:"]);
    let now = hard.to_owned() + " when { context.now.toTime() >= duration(\"22h\") };";
    assert_eq!(complaints(&[("hard/a.cedar", &now), ("permits/a.cedar", DEFAULT_BASICS)]), [""; 0]);
}

#[test]
fn gates_can_be_opened_by_somebody() {
    let gate = |notes: &str, when: &str| {
        format!("@id(\"g\") {notes} forbid (principal, action == Guardian::Action::\"service.stop\", resource) {when};")
    };
    let open = "unless { context.approvals.contains(\"sre\") }";
    let path = "gates/a.cedar";
    let whole = "@gate(\"approval\") @approvers(\"sre\") @quorum(\"2\")";
    assert_eq!(complaints(&[(path, &gate(whole, open)), ("permits/a.cedar", DEFAULT_BASICS)]), [""; 0]);
    refused(path, &gate("@approvers(\"sre\") @quorum(\"1\")", open), &["no `@gate`", "@gate(\"approval\")"]);
    refused(path, &gate("@gate(\"approval\") @quorum(\"1\")", open), &["no `@approvers`"]);
    refused(path, &gate("@gate(\"approval\") @approvers(\"sre\")", open), &["no `@quorum`"]);
    refused(path, &gate("@gate(\"vote\") @approvers(\"sre\") @quorum(\"1\")", open), &["only kind of gate"]);
    refused(path, &gate("@gate(\"approval\") @approvers(\"sre,\") @quorum(\"1\")", open), &["an approver"]);
    for quorum in ["0", "-1", "+1", "one", "1.5", "99999999999"] {
        let notes = format!("@gate(\"approval\") @approvers(\"sre\") @quorum(\"{quorum}\")");
        refused(path, &gate(&notes, open), &["`@quorum`", quorum]);
    }
    refused(path, &gate(whole, ""), &["no approval can open this gate"]);
    // Who is asked is who opens it.
    let both = whole.replace("\"sre\"", "\"sre, dba\"");
    refused(
        path,
        &gate(&both, open),
        &["a.cedar:1:", "`dba` is asked and cannot open", "context.approvals.contains(\"dba\")"],
    );
    let wrong = open.replace("sre", "lead");
    refused(path, &gate(whole, &wrong), &["a.cedar:1:", "`sre` is asked and cannot open"]);
    refused(path, &gate(whole, &wrong), &["approval of `lead`", "`@approvers` does not name it"]);
    refused(path, &gate(whole, "unless { !context.approvals.isEmpty() }"), &["nobody can tell", "contains(\"ROLE\")"]);
    let two = "unless { context.approvals.contains(\"sre\") || context.approvals.containsAll([\"dba\"]) }";
    assert_eq!(complaints(&[(path, &gate(&both, two)), ("permits/a.cedar", DEFAULT_BASICS)]), [""; 0]);
    refused(path, &gate(&whole.replace("approvers", "approver"), open), &["`@approver`", "did you mean `@approvers`?"]);
}

#[test]
fn what_is_named_must_exist() {
    let named = |resource: &str| {
        format!(
            "@id(\"a\") permit (principal == Guardian::Playbook::\"acme/fix\", \
             action == Guardian::Action::\"service.restart\", resource {resource});"
        )
    };
    let path = "permits/a.cedar";
    refused(path, &named("== Guardian::Service::\"wbe\""), &["no service `wbe`", "did you mean `web`?"]);
    refused(path, &named("in Guardian::Group::\"frnt\""), &["no group `frnt`", "did you mean `front`?"]);
    refused(path, &named("in Guardian::Target::\"q\""), &["no target", "guardian.toml"]);
    refused(path, &named("== Guardian::Service::\"web\"").replace("restart", "restrat"), &["service.restrat"]);
    refused(path, &named("== Guardian::Service::\"web\"").replace("acme/fix", "acme"), &["`acme` is not a playbook"]);
    refused(path, &named("== Guardian::Service::\"w\u{435}b\""), &["no service"]);
    refused(path, &named("== Guardian::Service::\"web\\0\""), &["no service `web\\u{0}`"]);
    refused(path, &named("== Guardian::Service::\"web\\\"::x\""), &["no service"]);
    refused(
        "hard/a.cedar",
        "@id(\"h\") forbid (principal, action, resource in Guardian::Group::\"bakc\");",
        &["did you mean `back`?"],
    );
}

#[test]
fn cedar_itself_is_strict() {
    let path = "permits/a.cedar";
    let with = |condition: &str| format!("@id(\"a\")\n{GOOD}\nwhen {{ {condition} }};");
    refused(path, &with("resource.protectd"), &["a.cedar:3:", "protectd"]);
    refused(path, &with("context.used.h2 < 3"), &["a.cedar:3:", "h2"]);
    refused(path, &with("context.used.h1 < \"3\""), &["a.cedar:3:"]);
    refused(path, &with("false"), &["a.cedar:"]);
    refused(
        path,
        &GOOD.replacen("Service::\"web\"", "Probe::\"login\"", 1).replacen("permit", "@id(\"a\") permit", 1),
        &["a.cedar:1:"],
    );
    refused(
        path,
        &format!("@id(\"a\") {};", GOOD.replacen("== Guardian::Playbook::\"acme/fix\"", "== ?principal", 1)),
        &["template"],
    );
    refused(path, &format!("@id(\"a\") {GOOD}"), &["a.cedar:"]);
    refused(path, "@id(\"a\") permit (principal,, action, resource);", &["a.cedar:1:"]);
    refused(path, &format!("@id(\"a\") {GOOD}; what"), &["a.cedar:1:"]);
}

#[test]
fn everything_is_reported_at_once_with_a_caret() {
    let text = format!(
        "@id(\"a\") {GOOD}\nwhen {{ resource.protectd }};\n\n@id(\"b\") @wyh(\"x\") {GOOD};\n@id(\"c\") permit (;\n"
    );
    let error = load(&[("permits/a.cedar", &text)]).unwrap_err();
    let lines: Vec<usize> = error.findings().iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [2, 4, 5], "{}", error.render());
    assert!(
        error.to_string().contains("(and 2 more: run `guardian policy check`)") && !error.to_string().contains('\n')
    );
    let render = error.render();
    assert!(render.contains(" --> permits/a.cedar:4:10\n"), "{render}");
    assert!(render.contains("\n  |          ^^^^\n"), "{render}");
}

#[test]
fn a_reload_that_fails_leaves_the_old_set() {
    let old = load(&[("permits/a.cedar", DEFAULT_BASICS)]).unwrap();
    let digest = old.digest();
    assert!(load(&[("permits/a.cedar", "permit")]).is_err());
    assert_eq!((old.digest(), old.len()), (digest, 1));
    let other = load(&[("permits/b.cedar", DEFAULT_BASICS)]).unwrap();
    assert_ne!(other.digest(), digest, "the path is part of the digest");
}

#[test]
fn fragments_name_their_own_playbook_only() {
    let fragment = |text: &str| PolicySet::load_fragment(&"acme/fix".parse().unwrap(), "permits.cedar", text);
    let own = format!("@id(\"a\") {GOOD};");
    assert_eq!(fragment(&own).unwrap(), ["a"]);
    // Names of resources are the author's examples.
    assert_eq!(fragment(&own.replace("\"web\"", "\"their-web\"")).unwrap(), ["a"]);
    for (text, word) in [
        (own.replace("acme/fix", "acme/look"), "no other principal"),
        (
            own.replace("principal == Guardian::Playbook::\"acme/fix\"", "principal in Guardian::Publisher::\"acme\""),
            "no other principal",
        ),
        (own.replace("principal ==", "principal in"), "no other principal"),
        (
            format!("@wide(\"x\") {}", own.replace("principal == Guardian::Playbook::\"acme/fix\"", "principal")),
            "no other principal",
        ),
        (format!("@wide(\"x\") {own}"), "cannot be wide"),
        (own.replacen("permit", "forbid", 1), "can only permit"),
        (own.replace(");", ") when { context.claimed.labels.isEmpty() };"), "context.claimed"),
        (own.replace(");", ") when { resource.x };"), "`x`"),
    ] {
        let error = fragment(&text).unwrap_err().render();
        assert!(error.contains(word), "{text}\n{error}");
    }
}

#[test]
fn the_deepest_accepted_policy_does_not_exhaust_a_small_stack() {
    let with = |condition: String| format!("@id(\"a\") {GOOD}\nwhen {{ {condition} }};");
    let texts = [
        with(format!("context.used.h1 < {}1", "1+".repeat(460))),
        with(format!("{}context.used.h1 < 1", "context.used.d1<1||".repeat(95))),
        with(format!("{}true", "if context.used.h1 < 1 then true else ".repeat(80))),
        with(format!("{}context.used.h1 < 1{}", "(".repeat(62), ")".repeat(62))),
        with(format!("{}.a", "context".to_owned() + &".used".repeat(460))),
    ];
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let judge = |text: &String| {
        let found = complaints(&[("permits/a.cedar", text)]);
        assert!(!found.iter().any(|line| line.contains("longer than") || line.contains("nested")), "{found:?}");
        if let Ok(set) = load(&[("permits/a.cedar", text)]) {
            let call = super::action(guardian::model::Verb::Service(guardian::model::ServiceVerb::Restart), "web");
            drop(super::ask(&set, "acme/fix", &call, &super::facts()));
            let (playbook, resource) = ("acme/fix".parse().unwrap(), "service.web".parse().unwrap());
            drop(set.explain(&playbook, call.verb(), &resource, &super::facts()));
        }
    };
    thread.spawn(move || texts.iter().for_each(judge)).unwrap().join().unwrap();
}

fn write(home: &Path, path: &str, text: &str) {
    let path = home.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "hard/protected.cedar", DEFAULT_HARD);
    write(home.path(), "permits/basics.cedar", DEFAULT_BASICS);
    for path in ["hard", "permits", "hard/protected.cedar", "permits/basics.cedar"] {
        mode(&home.path().join(path), if path.contains('.') { 0o644 } else { 0o755 });
    }
    home
}

fn load_home(home: &Path) -> Result<PolicySet, PolicyError> {
    PolicySet::load(&Folder::open(home)?, &inventory(), None)
}

#[test]
fn a_folder_is_read_whole() {
    let home = home();
    let set = load_home(home.path()).unwrap();
    assert_eq!(set.len(), 2);
    let same = load(&[("permits/basics.cedar", DEFAULT_BASICS), ("hard/protected.cedar", DEFAULT_HARD)]).unwrap();
    assert_eq!(set.digest(), same.digest(), "the digest does not depend on where the folder lies");
}

#[test]
fn a_kept_verdict_counts_for_the_same_files_and_for_no_others() {
    let home = home();
    let load = |verdict| PolicySet::load(&Folder::open(home.path()).unwrap(), &inventory(), verdict);
    let set = load(None).unwrap();
    assert_eq!(load(Some(set.verdict())).unwrap().digest(), set.digest());
    // Only strict validation finds this one; the verdict on the files as they were says nothing about it.
    let typo = r#"@id("typo") permit (principal == Guardian::Playbook::"acme/fix", action == Guardian::Action::"service.restart", resource == Guardian::Service::"web") when { resource.protectd };"#;
    write(home.path(), "permits/typo.cedar", typo);
    mode(&home.path().join("permits/typo.cedar"), 0o644);
    for verdict in [None, Some(set.verdict()), Some(set.digest())] {
        let refused = load(verdict).unwrap_err().to_string();
        assert!(refused.contains("protectd"), "{refused}");
    }
    // What the verdict does not speak of is looked at whatever it says.
    std::fs::remove_file(home.path().join("permits/typo.cedar")).unwrap();
    mode(&home.path().join("permits/basics.cedar"), 0o666);
    assert!(load(Some(set.verdict())).is_err());
}

#[test]
fn what_others_can_write_refuses_the_load() {
    for path in [".", "hard", "permits", "hard/protected.cedar", "permits/basics.cedar"] {
        for open in [0o020, 0o002] {
            let home = home();
            let path = home.path().join(path);
            let base = if path.is_dir() { 0o755 } else { 0o644 };
            mode(&path, base | open);
            let error = load_home(home.path()).unwrap_err().to_string();
            assert!(error.contains("can be written by others") && error.contains("chmod go-w"), "{error}");
            mode(&path, base);
            load_home(home.path()).unwrap();
        }
    }
}

#[test]
fn links_strangers_and_odd_bytes_refuse_the_load() {
    let refused = |make: &dyn Fn(&Path), word: &str| {
        let home = home();
        make(home.path());
        let error = load_home(home.path()).unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains('\n'), "{error}");
    };
    refused(&|home| symlink(home.join("hard/protected.cedar"), home.join("hard/link.cedar")).unwrap(), "symbolic link");
    refused(&|home| symlink(home.join("hard"), home.join("gates")).unwrap(), "symbolic link");
    refused(&|home| write(home, "permits/web.cedar~", ""), "is not a policy file");
    refused(&|home| write(home, "notes.txt", ""), "does not belong into the policy folder");
    refused(&|home| write(home, "permit/web.cedar", ""), "does not belong into the policy folder");
    refused(&|home| write(home, "permits/more/web.cedar", ""), "is not a policy file");
    refused(&|home| std::fs::write(home.join("permits/a.cedar"), [0xff, 0xfe]).unwrap(), "is not UTF-8");
    refused(&|home| write(home, "permits/a.cedar", &" ".repeat((1 << 20) + 1)), "larger than");
    refused(&|home| std::fs::remove_file(home.join("permits/basics.cedar")).unwrap(), "holds no permit");
    refused(&|home| std::fs::remove_dir_all(home.join("permits")).unwrap(), "holds no permit");
}

#[test]
fn a_resource_that_stands_twice_is_refused() {
    let web = super::fact("service.web", &[], false, "service.web");
    let error = World::build(&[web.clone(), web]).unwrap_err().to_string();
    assert!(error.contains("`service.web` stands twice"), "{error}");
    let run = super::fact("run.self", &[], true, "run.self");
    assert!(World::build(&[run]).is_err(), "the run itself is not the inventory's to describe");
}

#[test]
fn an_action_that_does_not_exist_gets_one_finding_with_the_nearest() {
    for (action, words) in [
        (
            "Guardian::Action::\"service.restrat\"",
            &["no action `service.restrat`", "Guardian::Action::\"service.restart\"`?"][..],
        ),
        ("Action::\"service.restart\"", &["with their namespace", "Guardian::Action::\"service.restart\"`?"]),
        ("Guardian::Action::\"zzz\"", &["no action `zzz`"]),
    ] {
        let text = format!("@id(\"a\") {};", GOOD.replace("Guardian::Action::\"service.restart\"", action));
        refused("permits/a.cedar", &text, words);
        assert_eq!(complaints(&[("permits/a.cedar", &text)]).len(), 1, "{action}");
    }
}

#[test]
fn the_caret_points_at_the_name_and_not_at_a_word_like_it() {
    let text =
        format!("@id(\"a\")\n@why(\"the wbe is down\")\n{};", GOOD.replace("Service::\"web\"", "Service::\"wbe\""));
    refused("permits/a.cedar", &text, &["a.cedar:3:", "service `wbe`", "did you mean `web`"]);
}
