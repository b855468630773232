//! Real files in a folder of their own. Another owner, an immutable file and a mount need root.

mod hostile;
mod kills;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kept::Content;
use super::*;
use crate::inventory::{AfterFailure, Healed};
use crate::model::ErrorCode;

const RIGHT: &str = "listen 80;\npassword hunter2;\n";
const WRONG: &str = "listen 81;\npassword swordfish;\n";

fn site() -> Name {
    "site".parse().unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

/// A file, its baseline, and a place that is nobody's business.
struct Bench {
    home: tempfile::TempDir,
    config: Config,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for folder in ["etc", "base", "outside"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
        }
        let bench = Self { config: config(home.path()), home };
        write(&bench.config.baseline, RIGHT, 0o644);
        bench
    }

    fn hand(&self) -> ConfigHand {
        hand(&self.config)
    }

    fn file(&self) -> &Path {
        &self.config.path
    }

    fn outside(&self) -> PathBuf {
        self.home.path().join("outside/a.conf")
    }

    fn status(&self) -> ConfigStatus {
        self.hand().status(&site(), soon()).unwrap()
    }

    fn prepare(&self) -> Result<PreparedConfig, GuestError> {
        self.hand().prepare(ConfigVerb::Restore, &site(), soon())
    }

    fn restore(&self) -> (Option<ConfigUndo>, Outcome) {
        let prepared = self.prepare().unwrap();
        (prepared.undo().cloned(), self.hand().perform(prepared, soon()))
    }

    fn put_back(&self, undo: &ConfigUndo) -> Outcome {
        self.hand().put_back(&site(), undo, soon())
    }

    fn reconcile(&self, undo: Option<&ConfigUndo>) -> Reconciled {
        self.hand().reconcile(ConfigVerb::Restore, &site(), undo, soon())
    }

    /// The names in the folder of the file.
    fn names(&self) -> Vec<String> {
        names(self.file().parent().unwrap())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn config(home: &Path) -> Config {
    Config {
        path: home.join("etc/a.conf"),
        baseline: home.join("base/a.conf"),
        owner: None,
        mode: None,
        groups: Default::default(),
        protected: false,
        of: None,
        healed: Healed { successes: 1, grace: Duration::ZERO, deadline: Duration::from_secs(1) },
        unhealed: AfterFailure::Undo,
    }
}

fn hand(config: &Config) -> ConfigHand {
    let inventory = Inventory { configs: [(site(), config.clone())].into(), ..Inventory::default() };
    ConfigHand::new(&inventory)
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn code(outcome: Outcome) -> (ErrorCode, String) {
    let error = outcome.into_reply().unwrap_err();
    (error.code, error.message)
}

fn done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done { reply: Reply::Config(status) } if status.state == ConfigState::Matches)
}

#[test]
fn what_differs_is_said_and_restored() {
    let mut bench = Bench::new();
    write(bench.file(), WRONG, 0o600);
    let status = bench.status();
    assert_eq!((status.state, status.differs), (ConfigState::Differs, vec!["content".to_owned(), "mode".to_owned()]));
    let reading = bench.hand().check(&site(), soon());
    assert_eq!((reading.verdict, reading.seen.as_str()), (Verdict::Failed, "differs in content, mode"));
    let (undo, outcome) = bench.restore();
    assert!(undo.is_some() && done(&outcome), "{outcome:?}");
    assert_eq!(read(bench.file()), RIGHT);
    assert_eq!(std::fs::metadata(bench.file()).unwrap().mode() & 0o7777, 0o644);
    assert_eq!(bench.hand().check(&site(), soon()).verdict, Verdict::Healthy);
    assert_eq!(bench.names(), ["a.conf"]);
    // The operator's own word on the mode wins over the baseline's.
    bench.config.mode = Some(0o640);
    assert_eq!(bench.status().differs, ["mode"]);
    assert!(done(&bench.restore().1));
    assert_eq!(std::fs::metadata(bench.file()).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn what_matches_is_left_alone() {
    let bench = Bench::new();
    write(bench.file(), RIGHT, 0o644);
    let before = std::fs::metadata(bench.file()).unwrap();
    let (undo, outcome) = bench.restore();
    assert!(undo.is_none() && done(&outcome), "{outcome:?}");
    let after = std::fs::metadata(bench.file()).unwrap();
    assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
    assert_eq!(bench.reconcile(None), Reconciled::Done);
}

#[test]
fn a_missing_file_is_made_and_its_restore_taken_back() {
    let bench = Bench::new();
    assert_eq!(bench.status().state, ConfigState::Missing);
    let (undo, outcome) = bench.restore();
    assert!(done(&outcome), "{outcome:?}");
    let undo = undo.unwrap();
    assert!(matches!(bench.put_back(&undo), Outcome::Done { .. }));
    assert!(matches!(bench.put_back(&undo), Outcome::Done { .. }), "twice is once");
    assert!(bench.names().is_empty());
    // Its twin: made by the restore, and worked on since.
    let undo = bench.restore().0.unwrap();
    write(bench.file(), "mine", 0o644);
    let (code, message) = code(bench.put_back(&undo));
    assert!(code == ErrorCode::Failed && message.contains("changed since"), "{message}");
    assert_eq!(read(bench.file()), "mine");
}

#[test]
fn what_was_there_comes_back_whole() {
    let bench = Bench::new();
    write(bench.file(), WRONG, 0o751);
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789);
    std::fs::File::options().write(true).open(bench.file()).unwrap().set_modified(old).unwrap();
    let root = std::os::unix::fs::chown(bench.file(), Some(7), Some(8)).is_ok();
    let labelled = rustix::fs::setxattr(bench.file(), "user.note", b"mine", rustix::fs::XattrFlags::empty()).is_ok();
    let before = std::fs::metadata(bench.file()).unwrap();
    assert_eq!(bench.status().differs.contains(&"owner".to_owned()), root);
    let undo = bench.restore().0.unwrap();
    assert_eq!(bench.reconcile(Some(&undo)), Reconciled::Done);
    // As it comes from the journal.
    let undo: ConfigUndo = serde_json::from_slice(&serde_json::to_vec(&undo).unwrap()).unwrap();
    for _ in 0..2 {
        assert!(matches!(bench.put_back(&undo), Outcome::Done { .. }));
        let after = std::fs::metadata(bench.file()).unwrap();
        let marks = |of: &std::fs::Metadata| (of.mode(), of.uid(), of.gid(), of.mtime(), of.mtime_nsec(), of.len());
        assert_eq!(marks(&before), marks(&after));
        assert_eq!(read(bench.file()), WRONG);
        let mut note = [0; 16];
        let found = rustix::fs::getxattr(bench.file(), "user.note", note.as_mut_slice());
        assert_eq!(found.is_ok(), labelled);
    }
    assert_eq!(bench.reconcile(Some(&undo)), Reconciled::NotDone);
    assert_eq!(bench.names(), ["a.conf"]);
}

#[test]
fn work_since_the_restore_is_not_undone() {
    let bench = Bench::new();
    write(bench.file(), WRONG, 0o644);
    let undo = bench.restore().0.unwrap();
    let works: [&dyn Fn(); 4] = [
        &|| write(bench.file(), "mine", 0o644),
        &|| write(bench.file(), RIGHT, 0o600),
        &|| std::fs::remove_file(bench.file()).unwrap(),
        &|| symlink(bench.outside(), bench.file()).unwrap(),
    ];
    for work in works {
        work();
        let before = std::fs::symlink_metadata(bench.file()).ok().map(|seen| (seen.ino(), seen.ctime_nsec()));
        let (code, message) = code(bench.put_back(&undo));
        assert!(code == ErrorCode::Failed && message.contains("changed since"), "{message}");
        let after = std::fs::symlink_metadata(bench.file()).ok().map(|seen| (seen.ino(), seen.ctime_nsec()));
        assert_eq!(before, after);
        assert_eq!(bench.reconcile(Some(&undo)), Reconciled::Unknown);
    }
}

#[test]
fn what_changed_since_it_was_looked_at_is_not_touched() {
    let bench = Bench::new();
    let folder = bench.file().parent().unwrap().to_owned();
    let moved = folder.with_file_name("moved");
    type Act<'a> = &'a dyn Fn();
    let changes: [(Act<'_>, Act<'_>); 5] = [
        (&|| write(bench.file(), "mine", 0o644), &|| assert_eq!(read(bench.file()), "mine")),
        (&|| write(bench.file(), WRONG, 0o600), &|| assert_eq!(read(bench.file()), WRONG)),
        (&|| std::fs::remove_file(bench.file()).unwrap(), &|| assert!(!bench.file().exists())),
        (&|| write(bench.file(), RIGHT, 0o600), &|| {
            assert_eq!(std::fs::metadata(bench.file()).unwrap().mode() & 0o777, 0o600);
        }),
        (
            &|| {
                std::fs::rename(&folder, &moved).unwrap();
                std::fs::create_dir(&folder).unwrap();
                write(bench.file(), WRONG, 0o644);
            },
            &|| assert!(read(bench.file()) == WRONG && read(&moved.join("a.conf")) == WRONG),
        ),
    ];
    for (change, stands) in changes {
        write(bench.file(), WRONG, 0o644);
        let prepared = bench.prepare().unwrap();
        change();
        let (code, message) = code(bench.hand().perform(prepared, soon()));
        assert!(code == ErrorCode::Busy && message.contains("nothing was done"), "{message}");
        stands();
        assert!(bench.names().iter().all(|name| name == "a.conf"), "{:?}", bench.names());
    }
    // The other way round: nothing was there, and then something is. And: nothing to do, and then there is.
    std::fs::remove_file(bench.file()).unwrap();
    let prepared = bench.prepare().unwrap();
    write(bench.file(), "mine", 0o644);
    assert_eq!(code(bench.hand().perform(prepared, soon())).0, ErrorCode::Busy);
    write(bench.file(), RIGHT, 0o644);
    let prepared = bench.prepare().unwrap();
    write(bench.file(), "mine", 0o644);
    assert_eq!(code(bench.hand().perform(prepared, soon())).0, ErrorCode::Busy);
    // And the baseline itself.
    let prepared = bench.prepare().unwrap();
    write(&bench.config.baseline, "other", 0o644);
    assert_eq!(code(bench.hand().perform(prepared, soon())).0, ErrorCode::Busy);
    assert_eq!(read(bench.file()), "mine");
}

#[test]
fn a_baseline_that_others_can_write_is_no_authority() {
    let bench = Bench::new();
    write(bench.file(), WRONG, 0o644);
    let refused = |words: &str| {
        for error in [
            bench.prepare().map(|_| ()).unwrap_err(),
            bench.hand().observe(&site(), soon()).into_reply().unwrap_err(),
            bench.hand().touch(&site()).map(|_| ()).unwrap_err().into_guest_error(),
        ] {
            assert!(error.code == ErrorCode::Unavailable && error.message.contains(words), "{error}");
        }
        let reading = bench.hand().check(&site(), soon());
        assert!(reading.verdict == Verdict::Unknown && reading.seen.contains(words), "{reading:?}");
    };
    assert!(bench.prepare().is_ok() && bench.hand().touch(&site()).unwrap().contains("differs in content"));
    write(&bench.config.baseline, RIGHT, 0o666);
    refused("chmod go-w");
    write(&bench.config.baseline, RIGHT, 0o644);
    let folder = bench.config.baseline.parent().unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    refused("chmod go-w");
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    write(&bench.config.baseline, &"x".repeat(usize::try_from(LARGEST).unwrap() + 1), 0o644);
    refused("larger than");
    std::fs::remove_file(&bench.config.baseline).unwrap();
    refused("is not there");
    symlink(bench.file(), &bench.config.baseline).unwrap();
    refused("no regular file");
    assert_eq!(read(bench.file()), WRONG);
}

#[test]
fn errors_say_what_to_do_and_nothing_of_what_stands_in_a_file() {
    let mut bench = Bench::new();
    write(bench.file(), WRONG, 0o644);
    let prepared = bench.prepare().unwrap();
    let undo = prepared.undo().cloned().unwrap();
    let mut said = format!("{prepared:?} {undo:?} {:?}", bench.hand());
    said += &serde_json::to_string(&bench.hand().perform(prepared, soon())).unwrap();
    said += &format!("{:?} {:?}", bench.status(), bench.hand().check(&site(), soon()));
    write(bench.file(), "password correct horse", 0o644);
    said += &format!("{:?} {:?}", bench.put_back(&undo), bench.hand().by_hand(ConfigVerb::Restore, &site()));
    bench.config.owner = Some("nobody-here".to_owned());
    let error = bench.prepare().unwrap_err();
    assert!(error.message.contains("/etc/passwd"), "{error}");
    said += &error.to_string();
    for secret in ["hunter2", "swordfish", "horse", "password", "cGFzc3dvcmQ"] {
        assert!(!said.contains(secret), "{said}");
    }
    // It is kept all the same, at the one place for it.
    let journal = serde_json::to_value(&undo).unwrap();
    let kept = journal["was"]["content"].as_str().unwrap();
    assert_eq!(Content::try_from(kept.to_owned()).unwrap().0, WRONG.as_bytes());
    let unknown = bench.hand().prepare(ConfigVerb::Restore, &"other".parse().unwrap(), soon()).unwrap_err();
    assert!(unknown.code == ErrorCode::NotFound && unknown.message.contains("[config.other]"), "{unknown}");
    let late = bench.hand().prepare(ConfigVerb::Restore, &site(), Deadline::after(Duration::ZERO)).unwrap_err();
    assert_eq!(late.code, ErrorCode::Timeout);
}

#[test]
fn by_hand_it_is_one_line() {
    let mut bench = Bench::new();
    bench.config.owner = Some("root:root".to_owned());
    bench.config.mode = Some(0o640);
    let (from, to) = (bench.config.baseline.display(), bench.file().display());
    let line = bench.hand().by_hand(ConfigVerb::Restore, &site()).unwrap();
    assert_eq!(line, format!("install -o root -g root -m 0640 {from} {to}"));
    bench.config.path = bench.home.path().join("etc/it's.conf");
    assert!(bench.hand().by_hand(ConfigVerb::Check, &site()).unwrap().ends_with(r"it'\''s.conf'"));
}
