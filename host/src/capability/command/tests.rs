//! Real commands below a real worker: the program `guardian` beside this test (`cargo build --workspace`).

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::*;
use crate::capability::left_out::left_out;
use crate::model::ErrorCode;

fn worker() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("guardian");
    assert!(program.exists(), "build the program first: cargo build --workspace");
    program
}

fn name() -> Name {
    "rebuild".parse().unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn run_of(argv: &[&str]) -> Command {
    Command {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        user: None,
        directory: "/".into(),
        environment: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        timeout: Duration::from_secs(20),
        output_bytes: 16 * 1_024,
        ok: BTreeSet::from([0]),
        groups: BTreeSet::new(),
        protected: false,
        of: None,
    }
}

fn sh(script: &str) -> Command {
    run_of(&["/bin/sh", "-c", script])
}

fn hand(command: &Command) -> CommandHand {
    let inventory = Inventory { commands: [(name(), command.clone())].into(), ..Inventory::default() };
    CommandHand::new(&inventory, &worker())
}

fn run(command: &Command) -> Outcome {
    let hand = hand(command);
    let prepared = hand.prepare(&name(), soon()).unwrap();
    hand.perform(prepared, soon())
}

fn result(command: &Command) -> CommandResult {
    match run(command) {
        Outcome::Done { reply: Reply::Command(result) } => result,
        other => panic!("{other:?}"),
    }
}

/// A command of its own that can be found again.
fn marker(number: u32) -> String {
    format!("{}{number:02}", 1_000_000 + std::process::id())
}

fn alive(marker: &str) -> usize {
    let wanted = format!("sleep\0{marker}\0");
    let line = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    std::fs::read_dir("/proc").unwrap().flatten().map(line).filter(|line| line == wanted.as_bytes()).count()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn how_it_ended_is_a_result() {
    let said = result(&sh("echo out; echo err >&2; exit 3"));
    assert_eq!((said.exit, said.success, said.output.as_str()), (ExitStatus::Code(3), false, "out\nerr\n"));
    assert_eq!((said.output_bytes, said.assumed), (8, false));
    let allowed = Command { ok: BTreeSet::from([0, 3]), ..sh("exit 3") };
    assert!(result(&allowed).success);
    let killed = result(&sh("kill -TERM $$"));
    assert_eq!((killed.exit, killed.success), (ExitStatus::Signal(15), false));
    assert_eq!(result(&sh("printf 'a\\377b'")).output, "a\u{fffd}b");
}

#[test]
fn nothing_is_inherited() {
    let mut command = run_of(&["/usr/bin/env"]);
    command.environment = [("LANG".to_owned(), "C".to_owned()), ("A".to_owned(), "b c".to_owned())].into();
    assert_eq!(result(&command).output, "A=b c\nLANG=C\n");
    let script = "pwd; umask; ulimit -c; ulimit -n; cat; ls /proc/self/fd | tr '\\n' ' '; \
                  read -r _ _ _ _ group session _ < /proc/$$/stat; test $group = $$ && echo group; \
                  test $session = $PPID && echo session; echo $2";
    let mut command = run_of(&["/bin/sh", "-c", script, "sh", "one", "two; echo three"]);
    command.environment.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    command.directory = "/usr".into();
    let said = result(&command).output;
    // 3 is the folder that `ls` reads. An argument is an argument, whatever stands in it.
    assert_eq!(said, "/usr\n0022\n0\n1024\n0 1 2 3 group\nsession\ntwo; echo three\n");
}

#[test]
fn it_runs_as_its_own_user_and_with_no_group_more() {
    if !rustix::process::geteuid().is_root() {
        return left_out("running a command as another user (CAP_SETUID)");
    }
    assert_eq!(result(&run_of(&["/usr/bin/id", "-G"])).output, "0\n");
    let other = Command { user: Some("65533:65532".to_owned()), ..sh("id -u; id -g; id -G") };
    assert_eq!(result(&other).output, "65533\n65532\n65532\n");
}

#[test]
fn a_flood_is_drained_counted_and_cut() {
    let said = result(&sh("head -c 50000000 /dev/zero | tr '\\0' x; echo the end"));
    assert_eq!(said.output_bytes, 50_000_008);
    assert!(said.output.len() == 16 * 1_024 && said.output.ends_with("xthe end\n"));
    // One that never stops.
    let endless = Command { timeout: Duration::from_millis(500), ..run_of(&["/usr/bin/yes"]) };
    let begun = Instant::now();
    assert!(matches!(run(&endless), Outcome::Indeterminate { .. }));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn what_hangs_is_ended_and_nobody_knows_what_it_did() {
    let sleeps = [
        // Goes by itself when asked.
        (1, "sleep MARK"),
        // Ignores it, and so does its child.
        (2, "trap '' TERM; sleep MARK; sleep MARK"),
        // Stopped: it cannot even hear it.
        (3, "sleep MARK & kill -STOP $! $$; wait"),
        // Ends in its own way, with a success that comes too late.
        (4, "trap 'exit 0' TERM; sleep MARK & wait"),
        // Far away: other sessions, orphans, deaf ones.
        (5, "(setsid sh -c 'trap \"\" TERM HUP; sleep MARK; sleep MARK' &); setsid setsid sleep MARK & sleep MARK"),
        // Output closed.
        (6, "exec >&- 2>&-; sleep MARK"),
    ];
    for (number, script) in sleeps {
        let marker = marker(number);
        let command = Command { timeout: Duration::from_millis(300), ..sh(&script.replace("MARK", &marker)) };
        let begun = Instant::now();
        match run(&command) {
            Outcome::Indeterminate { error } => {
                assert!(error.code == ErrorCode::Indeterminate && error.message.contains("in time"), "{error}");
            }
            other => panic!("{script}: {other:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{script}: {:?}", begun.elapsed());
        assert_eq!(alive(&marker), 0, "{script} left something behind");
    }
}

#[test]
fn what_it_leaves_behind_is_ended_with_it() {
    let marker = marker(10);
    for script in [
        // Holds the pipe, so its end never comes.
        "sleep MARK & echo done",
        "(setsid sh -c 'trap \"\" TERM HUP; sleep MARK; sleep MARK' &); sleep 0.1; echo done",
        "for i in 1 2 3 4 5 6 7 8 9; do (setsid setsid sleep MARK &) & done; sleep 0.1; echo done",
    ] {
        let begun = Instant::now();
        let said = result(&sh(&script.replace("MARK", &marker)));
        assert_eq!((said.output.as_str(), said.success), ("done\n", true));
        assert!(begun.elapsed() < Duration::from_secs(8), "{script}");
        assert_eq!(alive(&marker), 0, "{script} left something behind");
    }
}

#[test]
fn what_cannot_be_started_has_failed_and_is_found_early() {
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("program");
    let text = program.to_str().unwrap().to_owned();
    let mode = |bits| std::fs::set_permissions(&program, std::fs::Permissions::from_mode(bits)).unwrap();
    let command = run_of(&[&text]);
    let refused = |command: &Command, words: &str| {
        let error = hand(command).prepare(&name(), soon()).unwrap_err();
        assert!(error.code == ErrorCode::Unavailable && error.message.contains(words), "{error}");
        assert!(hand(command).touch(&name()).unwrap_err().to_string().contains(words));
    };
    refused(&command, "is not there");
    std::fs::write(&program, "#!/bin/sh\necho hello\n").unwrap();
    mode(0o644);
    refused(&command, "chmod +x");
    mode(0o775);
    refused(&command, "chmod go-w");
    mode(0o755);
    assert!(hand(&command).touch(&name()).unwrap().contains("as Guardian's own user"));
    assert_eq!(result(&command).output, "hello\n");
    refused(&Command { user: Some("no-such-user".to_owned()), ..command.clone() }, "/etc/passwd");
    refused(&Command { directory: home.path().join("none"), ..command.clone() }, "correct `directory`");
    // Exchanged between the look and the run.
    let prepared = hand(&command).prepare(&name(), soon()).unwrap();
    mode(0o757);
    assert!(matches!(hand(&command).perform(prepared, soon()), Outcome::Failed { .. }));
    mode(0o755);
    std::fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    refused(&command, "/no/such/interpreter");
    std::fs::write(&program, "\0no program").unwrap();
    match run(&command) {
        Outcome::Failed { error } => {
            assert!(error.code == ErrorCode::Failed && error.message.contains("was not started"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let nobody = CommandHand { worker: "/no/such/worker".into(), ..hand(&sh("true")) };
    let prepared = nobody.prepare(&name(), soon()).unwrap();
    assert!(matches!(nobody.perform(prepared, soon()), Outcome::Failed { .. }));
    let unknown = nobody.prepare(&"other".parse().unwrap(), soon()).unwrap_err();
    assert!(unknown.code == ErrorCode::NotFound && unknown.message.contains("[command.other]"), "{unknown}");
}

#[test]
fn without_the_time_for_it_nothing_is_started() {
    let home = tempfile::tempdir().unwrap();
    let command = sh(&format!("touch {}/acted", home.path().display()));
    let hand = hand(&command);
    let prepared = hand.prepare(&name(), soon()).unwrap();
    let error = hand.perform(prepared, Deadline::after(Duration::from_secs(5))).into_reply().unwrap_err();
    assert!(error.code == ErrorCode::Timeout && error.message.contains("nothing was changed"), "{error}");
    assert!(!home.path().join("acted").exists());
    assert!(result(&command).success && home.path().join("acted").exists());
}

const RUNS: &str = "GUARDIAN_TEST_RUNS";

/// Guardian is killed: what it ran is ended, because nobody would ever learn how it ended.
#[test]
fn a_command_does_not_outlive_its_guardian() {
    let marker = marker(20);
    let mut guardian = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["capability::command::tests::runs_until_it_is_killed", "--exact", "--nocapture"])
        .env(RUNS, &marker)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(guardian.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")));
    eventually("it runs", || alive(&marker) == 3);
    guardian.kill().unwrap();
    guardian.wait().unwrap();
    eventually("it is ended", || alive(&marker) == 0);
}

#[test]
fn runs_until_it_is_killed() {
    let Some(marker) = std::env::var_os(RUNS) else { return };
    let script = "trap '' TERM HUP; (setsid sleep MARK &); sleep MARK & sleep MARK";
    let command = sh(&script.replace("MARK", marker.to_str().unwrap()));
    println!("ready");
    let _ = run(&command);
}

/// The worker is killed: what it watched is ended from Guardian's side, and the call is unsure.
#[test]
fn a_command_does_not_outlive_its_worker() {
    let home = tempfile::tempdir().unwrap();
    let marker = marker(30);
    let file = home.path().join("worker");
    let command = sh(&format!("echo $PPID > {}; sleep {marker} & sleep {marker}", file.display()));
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| run(&command));
        eventually("it runs", || alive(&marker) == 2);
        let worker: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(worker).unwrap(), Signal::KILL).unwrap();
        let outcome = ran.join().unwrap();
        assert!(matches!(outcome, Outcome::Indeterminate { .. }), "{outcome:?}");
    });
    assert_eq!(alive(&marker), 0);
}

#[test]
fn by_hand_it_is_one_line_without_a_secret() {
    let mut command = run_of(&["/bin/echo", "it's", "a b"]);
    command.environment = [("TOKEN".to_owned(), "hunter2".to_owned())].into();
    command.directory = "/srv".into();
    command.user = Some("app".to_owned());
    let line = hand(&command).by_hand(&name()).unwrap();
    assert_eq!(line, r#"cd /srv && runuser -u app -- env -i TOKEN="${TOKEN}" /bin/echo 'it'\''s' 'a b'"#);
    command.user = Some("7:8".to_owned());
    assert!(hand(&command).by_hand(&name()).unwrap().contains("setpriv --reuid=7 --regid=8 --clear-groups --"));
    let prepared = hand(&run_of(&["/bin/true"])).prepare(&name(), soon()).unwrap();
    match hand(&command).imagine(&prepared) {
        Outcome::Done { reply: Reply::Command(result) } => {
            assert_eq!((result.exit, result.success, result.assumed), (ExitStatus::Code(0), true, true));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_script_is_judged_like_the_program_that_reads_it() {
    let home = tempfile::tempdir().unwrap();
    let script = home.path().join("script");
    std::fs::write(&script, "echo it ran").unwrap();
    let mode = |mode| std::fs::set_permissions(&script, std::fs::Permissions::from_mode(mode)).unwrap();
    let (path, option) = (script.to_str().unwrap(), format!("--file={}", script.display()));
    let commands = [
        run_of(&["/bin/sh", path]),
        run_of(&["/bin/sh", "-e", path]),
        run_of(&["/bin/echo", &option]),
        // On the way in by its first line.
        run_of(&[home.path().join("program").to_str().unwrap()]),
    ];
    let program = home.path().join("program");
    std::fs::write(&program, format!("#! {} -x\n", script.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    for command in &commands {
        mode(0o755);
        hand(command).touch(&name()).unwrap();
        for wrong in [0o775, 0o757] {
            mode(wrong);
            let error = hand(command).touch(&name()).unwrap_err().to_string();
            assert!(error.contains("chmod go-w") && error.contains(path), "{error}");
            assert_eq!(hand(command).prepare(&name(), soon()).unwrap_err().code, ErrorCode::Unavailable);
        }
    }
    mode(0o644);
    assert_eq!(result(&commands[0]).output, "it ran\n");
    // What is no file is an argument and no more.
    for word in ["/dev/null", "/tmp", "/no/such/file", "a=b", "--file=/no/such/file", "relative"] {
        hand(&run_of(&["/bin/echo", word])).touch(&name()).unwrap();
    }
}
