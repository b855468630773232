//! Files of the operator that are wrong, or that others could have written.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use guardian_tests::{House, text};

const RUN: [&str; 6] = ["run", "guardian/service_crashed", "--incident", "service_crashed", "--target", "service.web"];
const PLAN: [&str; 6] =
    ["plan", "guardian/service_crashed", "--incident", "service_crashed", "--target", "service.web"];

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn a_wrong_configuration_is_named_with_its_line() {
    let house = House::new();
    let file = house.root().join("etc/guardian.toml");
    let good = std::fs::read_to_string(&file).expect("the configuration");
    for (from, to, words) in [
        ("run_seconds", "run_secnds", &["guardian.toml:2:", "did you mean `run_seconds`"][..]),
        ("run_seconds = 15", "run_seconds = 0", &["guardian.toml:2:", "at least 1"]),
        ("wait = \"2s\"", "wait = \"2\"", &["guardian.toml:8:", "unit"]),
        ("reserve_mib = 1", "reserve_mib = 2", &["guardian.toml:7:", "a quarter of `segment_mib`"]),
        ("[service.web]", "[servce.web]", &["guardian.toml:10:", "did you mean `service`"]),
        ("settle_time = \"50ms\"", "settle_time = \"50 parsecs\"", &["guardian.toml:13:", "parsecs"]),
        ("[service.web]", "[service.web", &["guardian.toml:10:"]),
        (
            "[service.web]",
            "[storage.logs]\npath = '/var'\nfree = '1%'\nsteps = [{ holders = ['service.wbe'] }]\n\n[service.web]",
            &["guardian.toml:10:", "[service.wbe]"],
        ),
        ("groups = [\"front\"]", "groups = [\"fr\\u001b[2Jont\"]", &["guardian.toml:12:", "\\u{1b}"]),
    ] {
        std::fs::write(&file, good.replacen(from, to, 1)).expect("a wrong configuration");
        for command in [&RUN[..], &PLAN, &["status"], &["policy", "check"], &["trust", "reset-clock", "--reason", "x"]]
        {
            house.refused(command, 2, words);
        }
    }
    std::fs::write(&file, b"a = \"\xff\"").expect("not text");
    house.refused(&RUN, 2, &["guardian.toml:1:", "UTF-8"]);
    std::fs::remove_file(&file).expect("removed");
    house.refused(&RUN, 2, &["guardian.toml"]);
    std::fs::write(&file, good).expect("mended");
    assert_eq!(house.heal(&[]).code, 0);
}

#[test]
fn what_others_can_write_refuses_the_start_as_sshd_does() {
    let house = House::new();
    for (path, code) in [
        ("", 2),
        ("etc", 2),
        ("etc/guardian.toml", 2),
        ("etc/guardian.d", 2),
        ("etc/policy", 3),
        ("etc/policy/permits", 3),
        ("etc/policy/permits/service_crashed.cedar", 3),
        ("etc/trust", 3),
        ("etc/trust/publishers.toml", 3),
        ("var", 2),
        ("var/keys", 2),
        ("var/store", 2),
        ("var/cache", 2),
        ("var/state", 2),
    ] {
        // Without the slash that joining nothing leaves.
        let place = house.root().join(path).components().collect::<std::path::PathBuf>();
        let mode = std::fs::metadata(&place).unwrap_or_else(|error| panic!("{path}: {error}")).permissions().mode();
        for open in [0o002, 0o020] {
            set_mode(&place, mode | open);
            house.refused(&RUN, code, &[&text(&place), "written by others", "chmod go-w"]);
            house.refused(&PLAN, code, &[&text(&place), "chmod go-w"]);
        }
        set_mode(&place, mode);
    }
    for path in ["var/audit", "var/audit/log", "var/audit/seg"] {
        let place = house.root().join(path);
        let mode = std::fs::metadata(&place).expect("a folder").permissions().mode();
        set_mode(&place, mode | 0o020);
        house.refused(&RUN, 5, &[&text(&place), "written by others", "chmod go-w"]);
        set_mode(&place, mode);
    }
    let stray = house.root().join("etc/guardian.d/web.tml");
    std::fs::write(&stray, "").expect("a stray file");
    set_mode(&stray, 0o644);
    house.refused(&PLAN, 2, &[&text(&stray), "rename it to end in `.toml`"]);
    std::fs::remove_file(&stray).expect("removed");
    let key =
        std::fs::read_dir(house.root().join("var/keys")).expect("keys").next().expect("a key").expect("a key").path();
    let mode = std::fs::metadata(&key).expect("a key").permissions().mode();
    set_mode(&key, 0o644);
    let said = house.guardian(&RUN);
    assert!(
        matches!(said.code, 2 | 5) && said.line().contains(&text(&key)) && said.line().contains("chmod"),
        "{said:?}"
    );
    set_mode(&key, mode);
    assert_eq!(house.ok(&PLAN).code, 0);
}

#[test]
fn a_policy_that_does_not_load_is_shown_with_a_caret_and_runs_nothing() {
    let house = House::new();
    let file = house.permits().join("broken.cedar");
    for (policy, words) in [
        (
            "@id(\"a\")\npermit (principal == Guardian::Playbook::\"a/b\", action == Guardian::Action::\"service.restrat\", resource);\n",
            "service.restrat",
        ),
        ("@id(\"a\")\npermit (principal, action, resource)", "broken.cedar:2"),
        ("@id(\"a\")\npermit (principal, action, resource);\n", "wide"),
        (
            "permit (principal == Guardian::Playbook::\"a/b\", action == Guardian::Action::\"log.write\", resource == Guardian::Run::\"self\");",
            "@id",
        ),
        (
            "@id(\"a\")\nforbid (principal == Guardian::Playbook::\"a/b\", action == Guardian::Action::\"log.write\", resource == Guardian::Run::\"self\");",
            "forbid",
        ),
        ("\u{1b}[2J", "broken.cedar:1"),
    ] {
        std::fs::write(&file, policy).expect("a wrong policy");
        let check = house.guardian(&["policy", "check"]);
        check.nothing_raw();
        assert_eq!(check.code, 3, "{check:?}");
        for word in ["broken.cedar:", "^", words] {
            assert!(check.out.contains(word), "no `{word}` about {policy}: {}", check.out);
        }
        let shape = house.guardian(&["policy", "check", "--json"]);
        assert_eq!((shape.code, shape.json()["ok"].as_bool()), (3, Some(false)));
        house.refused(&RUN, 3, &["broken.cedar"]);
        house.refused(&PLAN, 3, &["broken.cedar"]);
        assert_eq!(house.web(), None);
    }
    std::fs::remove_file(&file).expect("mended");
    house.ok(&["policy", "check"]);
}

#[test]
fn a_wrong_trust_file_refuses() {
    let house = House::new();
    let file = house.root().join("etc/trust/publishers.toml");
    for content in [&b"= nonsense"[..], b"version = 1\nunknown = 2\n", b"\xff", b""] {
        let good = std::fs::read(&file).expect("the trust file");
        std::fs::write(&file, content).expect("a wrong trust file");
        house.refused(&RUN, 3, &["publishers.toml"]);
        house.refused(&["trust", "list"], 3, &["publishers.toml"]);
        std::fs::write(&file, good).expect("mended");
    }
    house.ok(&["trust", "list"]);
}

#[test]
fn the_trail_has_one_writer_and_its_loss_stops_everything() {
    let house = House::new();
    house.configure(
        &std::fs::read_to_string(house.root().join("etc/guardian.toml"))
            .expect("toml")
            .replace("run_seconds = 15", "run_seconds = 4"),
    );
    house.publish("stranger", "hostile-1.wasm");
    let mut command = house.command(&[
        "run",
        "stranger/hostile",
        "--incident",
        "service_crashed",
        "--target",
        "service.web",
        "--label",
        "attack=loop",
    ]);
    let mut holder = command.stdout(std::process::Stdio::null()).spawn().expect("guardian starts");
    guardian_tests::wait_until("the run holds the trail", || !house.records("run-start").is_empty());
    let waits = RUN.iter().copied().chain(["--wait", "300ms"]).collect::<Vec<_>>();
    let said = house.guardian(&waits);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.line().contains(&format!("process {}", holder.id())), "{said:?}");
    // Readers need no turn.
    house.ok(&["audit", "verify"]);
    house.ok(&["status"]);
    assert_eq!(holder.wait().expect("an end").code(), Some(4));

    let segments = house.root().join("var/audit/seg");
    set_mode(&segments, 0o777);
    house.refused(&RUN, 5, &[&text(&segments)]);
    set_mode(&segments, 0o700);
    let first = std::fs::read_dir(&segments)
        .expect("segments")
        .map(|entry| entry.expect("an entry").path())
        .min()
        .expect("one");
    let aside = house.root().join("aside");
    std::fs::rename(&first, &aside).expect("moved");
    let said = house.guardian(&RUN);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.line().contains(&text(&house.root().join("var/audit"))), "{said:?}");
    assert_eq!(house.guardian(&["audit", "verify"]).code, 5);
    assert_eq!(house.web(), None, "nothing acts without a trail");
    std::fs::rename(&aside, &first).expect("moved back");
    assert_eq!(house.heal(&[]).code, 0);
}

#[test]
fn a_pipe_where_a_file_should_be_hangs_nobody() {
    let house = House::new();
    let pipe = |path: &Path| {
        let made = std::process::Command::new("mkfifo").arg("-m").arg("644").arg(path).status().expect("mkfifo");
        assert!(made.success());
    };
    let component = house.root().join("pipe-1.wasm");
    pipe(&component);
    house.refused(&["playbook", "verify", &text(&component)], 2, &["pipe-1.wasm", "no regular file"]);
    for (place, code) in [("etc/policy/permits/pipe.cedar", 3), ("etc/guardian.d/pipe.toml", 2)] {
        let place = house.root().join(place);
        pipe(&place);
        let said = house.guardian(&PLAN);
        assert!(said.code == code && said.line().contains("no regular file"), "{said:?}");
        std::fs::remove_file(&place).expect("removed");
    }
    assert_eq!(house.ok(&PLAN).code, 0);
}

#[test]
fn a_home_may_lie_behind_a_link() {
    let place = tempfile::tempdir().expect("a folder");
    let (real, link) = (place.path().join("real"), place.path().join("link"));
    std::fs::create_dir(&real).expect("a folder");
    std::os::unix::fs::symlink(&real, &link).expect("a link");
    let home = text(&link.join("new/home"));
    for command in [&["init"][..], &["status"], &["audit", "verify"]] {
        let mut program = std::process::Command::new(guardian_tests::program());
        let output = program.args(["--home", &home]).args(command).output().expect("guardian starts");
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
    assert!(real.join("new/home/etc/guardian.toml").is_file());
}

#[test]
fn what_was_withdrawn_while_a_run_waited_does_not_count() {
    let house = House::new();
    let mut holder = std::process::Command::new("flock")
        .arg(house.root().join("var/audit"))
        .args(["sh", "-c", "echo held; sleep 3"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("flock starts");
    let mut held = [0; 4];
    holder.stdout.as_mut().expect("a pipe").read_exact(&mut held).expect("it holds the lock");
    let mut run = house.command(&[&RUN[..], &["--wait", "20s"]].concat());
    let waiting = std::thread::spawn(move || run.output().expect("guardian starts"));
    // Long enough for a run that reads first and waits then.
    std::thread::sleep(std::time::Duration::from_millis(700));
    let file = house.root().join("etc/trust/publishers.toml");
    let trust = std::fs::read_to_string(&file).expect("the trust file");
    std::fs::write(&file, trust.split("[publisher").next().expect("a head")).expect("nobody is trusted");
    let output = waiting.join().expect("it ended");
    assert!(holder.wait().expect("it ended").success());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(house.web(), None, "code of somebody who is no longer trusted has acted");
}
