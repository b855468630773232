//! Mistakes on the command line itself.

use guardian_tests::House;

/// A run of the healing playbook, with one thing wrong.
const RUN: [&str; 6] = ["run", "guardian/service_crashed", "--incident", "service_crashed", "--target", "service.web"];

fn run_with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    RUN.iter().copied().chain(more.iter().copied()).collect()
}

#[test]
fn without_a_home_every_command_says_how_to_make_one() {
    let house = House::empty();
    let wasm = guardian_tests::text(&guardian_tests::playbooks().join("service_crashed-1.wasm"));
    for arguments in [
        &RUN[..],
        &["plan", "a/b", "--incident", "c", "--target", "service.d"],
        &["status"],
        &["trust", "list"],
        &["trust", "remove", "acme"],
        &["playbook", "list"],
        &["playbook", "remove", "a/b"],
        &["policy", "check"],
        &["policy", "explain", "a/b", "service.start", "service.web"],
    ] {
        house.refused(arguments, 2, &["no Guardian home", "guardian init --home"]);
    }
    for arguments in [&["audit", "list"][..], &["audit", "verify"], &["audit", "tail"], &["audit", "show", "0"]] {
        house.refused(arguments, 5, &["no audit trail", "guardian init"]);
    }
    house.refused(&["playbook", "verify", &wasm], 3, &["not signed", "guardian playbook sign"]);
}

#[test]
fn a_trail_that_is_gone_is_not_a_home_that_was_never_made() {
    let house = House::empty();
    house.ok(&["init"]);
    let home = guardian_tests::text(&house.root().canonicalize().expect("a path"));
    for gone in ["var/keys/audit.key", "var/audit"] {
        let place = house.root().join(gone);
        std::fs::rename(&place, house.root().join("aside")).expect("moved");
        // What is proposed can be copied: it is about this home.
        let way_on = format!("`guardian audit recover --reason WHY --home {home}`");
        house.refused(&["trust", "remove", "acme"], 5, &["is gone", &way_on]);
        if gone == "var/audit" {
            house.refused(&["audit", "list"], 5, &["is gone", &way_on]);
        }
        std::fs::rename(house.root().join("aside"), &place).expect("moved back");
        house.ok(&["audit", "verify"]);
    }
    let said = house.guardian(&["audit", "recover", "--reason", "x"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.line().contains("it opens") && said.line().contains(&format!("audit fork --reason WHY --home {home}`"))
    );
}

#[test]
fn a_home_whose_var_is_gone_has_one_way_on() {
    let house = House::new();
    let home = guardian_tests::text(&house.root().canonicalize().expect("a path"));
    std::fs::remove_dir_all(house.root().join("var")).expect("removed");
    let aside = house.root().join("guardian.toml");
    let toml = house.root().join("etc/guardian.toml");
    for arguments in [&["init"][..], &["status"], &["playbook", "list"], &["audit", "list"], &["audit", "verify"], &RUN]
    {
        let words = ["var` is gone", "from a backup", "guardian.toml` aside", &format!("guardian init --home {home}`")];
        house.refused(arguments, 2, &words);
    }
    // The way that it says.
    std::fs::rename(&toml, &aside).expect("moved aside");
    house.ok(&["init"]);
    std::fs::rename(&aside, &toml).expect("moved back");
    house.ok(&["status"]);
    house.ok(&["playbook", "add", &guardian_tests::text(&house.root().join("service_crashed-1.wasm"))]);
    assert_eq!(house.heal(&[]).code, 0);
}

/// Who named no home may mean another than the machine's.
#[test]
fn without_a_home_of_the_machine_the_option_is_named() {
    let said = std::process::Command::new(guardian_tests::program()).arg("status").output().expect("guardian starts");
    let said: guardian_tests::Said = said.into();
    assert!(said.code == 2 && said.line().contains("--home DIR"), "{said:?}");
}

#[test]
fn a_refused_removal_leaves_everything_as_it_was() {
    let house = House::empty();
    house.ok(&["init"]);
    let store = guardian_tests::Snapshot::of(&house.root().join("var/store"), &[]);
    house.refused(&["playbook", "remove", "guardian/nothing"], 2, &["guardian/nothing"]);
    store.unchanged(&guardian_tests::Snapshot::of(&house.root().join("var/store"), &[]), "a refused removal");
}

#[test]
fn an_init_that_fails_leaves_nothing_and_takes_nothing() {
    let house = House::empty();
    let (etc, var) = (house.root().join("etc"), house.root().join("var"));
    std::fs::write(&var, "a file is in the way").expect("written");
    house.refused(&["init"], 2, &["var"]);
    assert!(!etc.exists());
    // What was there before stays.
    std::fs::create_dir_all(etc.join("policy/hard")).expect("a folder");
    std::fs::write(etc.join("policy/hard/own.cedar"), "// mine\n").expect("written");
    house.refused(&["init"], 2, &["var"]);
    assert!(!etc.join("trust").exists() && etc.join("policy/hard/own.cedar").exists());
    std::fs::remove_file(&var).expect("removed");
    house.ok(&["init"]);
    assert!(etc.join("policy/hard/own.cedar").exists());
}

#[test]
fn unknown_words_get_the_nearest() {
    let house = House::empty();
    for (arguments, words) in [
        (&["stauts"][..], &["stauts", "status"][..]),
        (&["status", "--jsno"], &["--jsno", "--json"]),
        (&["rnu"], &["rnu", "'run'"]),
        (&["audit", "lsit"], &["lsit", "'list'"]),
        (&["audit", "verfy"], &["verfy", "verify"]),
        (&["status", "--home"], &["--home"]),
        (&["completions", "zhs"], &["zhs", "zsh"]),
        (&["run", "a/b", "--target", "service.web"], &["--incident"]),
        (&["plan"], &["--incident", "--target"]),
        (&[], &["command"]),
        (&["run", "a/b", "--incident", "c", "--target", "service.d", "--severity", "many"], &["many", "--severity"]),
        (&["run", "a/b", "--incident", "c", "--target", "service.d", "--severity", "-1"], &["-1"]),
        (&["status", "\u{1b}[2Jx"], &["\\u{1b}[2Jx"]),
    ] {
        house.refused(arguments, 2, words);
    }
}

#[test]
fn a_request_that_makes_no_sense_is_named() {
    let house = House::new();
    for (arguments, words) in [
        (
            vec!["run", "guardian/service_crashed", "--incident", "service_crashed", "--target", "service.wbe"],
            &["service.wbe", "did you mean `service.web`"][..],
        ),
        (vec!["run", "guardian/service_crashed", "--incident", "service_crashed", "--target", "web"], &["web"]),
        (
            vec!["run", "guardian/service_crashed", "--incident", "Service Crashed", "--target", "service.web"],
            &["Service Crashed"],
        ),
        (
            vec!["run", "service_crashed", "--incident", "service_crashed", "--target", "service.web"],
            &["service_crashed", "/"],
        ),
        (
            vec!["run", "guardian/service_crahsed", "--incident", "service_crashed", "--target", "service.web"],
            &["did you mean `guardian/service_crashed`"],
        ),
        (
            vec!["run", "nobody/nothing", "--incident", "service_crashed", "--target", "service.web"],
            &["nobody/nothing"],
        ),
        (run_with(&["--severity", "0"]), &["severity", "1", "10"]),
        (run_with(&["--severity", "11"]), &["severity", "1", "10"]),
        (run_with(&["--label", "novalue"]), &["novalue", "="]),
        (run_with(&["--label", "=x"]), &["label"]),
        (run_with(&["--label", "a\u{1b}[2J"]), &["\\u{1b}[2J"]),
        (run_with(&["--wait", "5"]), &["--wait", "5", "unit"]),
        (
            vec![
                "plan",
                "guardian/service_crashed",
                "--incident",
                "service_crashed",
                "--target",
                "service.web",
                "--assume",
                "fail:0",
            ],
            &["fail:N"],
        ),
        (
            vec![
                "plan",
                "guardian/service_crashed",
                "--incident",
                "service_crashed",
                "--target",
                "service.web",
                "--assume",
                "win:1",
            ],
            &["fail:N", "win:1"],
        ),
        (
            vec!["policy", "explain", "guardian/service_crashed", "service.restrat", "service.web"],
            &["service.restrat", "did you mean `service.restart`"],
        ),
        (vec!["playbook", "remove", "guardian/service_crahsed"], &["did you mean `guardian/service_crashed`"]),
        (vec!["trust", "add", "/nowhere/a.pub", "--publisher", "acme"], &["/nowhere"]),
        (vec!["trust", "add", "/nowhere/a.pub", "--publisher", "Not A Name"], &["Not A Name"]),
        (vec!["init"], &["already", "nothing was changed"]),
    ] {
        house.refused(&arguments, 2, words);
    }
    house.refused(&["audit", "show", "100000"], 2, &["no record 100000", "numbered from 0"]);
    house.refused(&["audit", "list", "--run", "r"], 2, &["`r`"]);
    house.refused(&["audit", "list", "--run", "r-0000000000000000"], 2, &["r-0000000000000000", "guardian status"]);
    house.refused(&["audit", "list", "--type", "intnet"], 2, &["intnet", "did you mean `intent`"]);
    house.refused(&["trust", "remove", "guradian"], 2, &["did you mean `guardian`"]);
}

#[test]
fn completions_and_help_are_there() {
    let house = House::empty();
    for (shell, words) in [("bash", "complete -F"), ("zsh", "#compdef guardian"), ("fish", "complete -c guardian")] {
        let said = house.ok(&["completions", shell]);
        assert!(said.out.contains(words) && said.err.is_empty(), "{shell}");
    }
    let said = house.ok(&["--help"]);
    assert!(!said.out.contains('\u{1b}'));
    crate::golden::same("help.txt", &said.out);
    assert!(house.ok(&["--version"]).out.starts_with("guardian "));
}
