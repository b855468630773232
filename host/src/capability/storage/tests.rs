//! Real small file systems in memory, filled to the brim. Mounting them needs root.

mod hostile;
mod kernel;
mod kills;
mod lever;
mod services;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::*;
use crate::capability::left_out::left_out;
use crate::capability::service::{SYSTEM_BUS, ServiceTools};
use crate::inventory::Configuration;
use crate::model::{ErrorCode, Reclaimed};

/// A day, in seconds.
const DAY: u64 = 86_400;

fn logs() -> Name {
    "logs".parse().unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A small file system; it goes away with this value.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, options: &str) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at).status();
        if status.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        left_out("mounting a small file system (CAP_SYS_ADMIN)");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A storage on a file system of its own, and a trash on another one.
struct Bench {
    // In this order: what is mounted goes before the folder that it is mounted in.
    _data: Disk,
    _trash: Disk,
    home: tempfile::TempDir,
    steps: String,
}

impl Bench {
    /// `options` of the data's file system, like `size=4m`.
    fn new(options: &str, steps: &str) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let data = Disk::mount(home.path().join("data"), options)?;
        let trash = Disk::mount(home.path().join("trash"), "size=64m")?;
        Some(Self { _data: data, _trash: trash, home, steps: steps.to_owned() })
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn trash(&self) -> PathBuf {
        self.home.path().join("trash")
    }

    fn hand(&self) -> StorageHand {
        hand(self.home.path(), &self.steps)
    }

    fn prepare(&self, verb: StorageVerb) -> PreparedStorage {
        self.hand().prepare(verb, &logs(), soon()).unwrap()
    }

    /// Acts, and gives what would put it back.
    fn act(&self, verb: StorageVerb) -> (Option<StorageUndo>, Outcome) {
        let hand = self.hand();
        let prepared = hand.prepare(verb, &logs(), soon()).unwrap();
        // Through its written form, as the host keeps it.
        let undo = prepared.undo().map(|undo| serde_json::from_slice(&serde_json::to_vec(undo).unwrap()).unwrap());
        (undo, hand.perform(prepared, soon()))
    }

    fn usage(&self) -> StorageUsage {
        self.hand().usage(&logs(), soon()).unwrap()
    }

    fn put_back(&self, undo: &StorageUndo) -> Outcome {
        self.hand().put_back(&logs(), undo, soon())
    }

    fn reconcile(&self, undo: Option<&StorageUndo>) -> Reconciled {
        self.hand().reconcile(StorageVerb::Reclaim, &logs(), undo, soon())
    }

    /// Writes a file of that age.
    fn file(&self, path: &str, content: &[u8], days: u64) {
        let path = self.data().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        age(&path, days);
    }

    /// Fills the data's file system up to so many free bytes, with one young file.
    fn fill(&self, free: u64) {
        let path = self.data().join("filler");
        let size = self.usage().bytes_free.saturating_sub(free) / 4_096 * 4_096;
        std::fs::write(path, vec![7; usize::try_from(size).unwrap()]).unwrap();
    }
}

fn text(home: &Path, steps: &str) -> String {
    let home = home.display();
    format!(
        "[storage.logs]\npath = '{home}/data'\ntrash = '{home}/trash'\nfree = '25%'\ninodes = '25%'\nsteps = [{steps}]\n"
    )
}

fn hand(home: &Path, steps: &str) -> StorageHand {
    hand_of(home, &text(home, steps))
}

fn hand_of(home: &Path, text: &str) -> StorageHand {
    let inventory = Configuration::parse(Path::new("guardian.toml"), text).unwrap().inventory;
    StorageHand::new(&inventory, Arc::new(services(home, &inventory)))
}

fn services(home: &Path, inventory: &Inventory) -> ServiceHand {
    let test = std::env::current_exe().unwrap();
    let keeper = test.parent().and_then(Path::parent).unwrap().join("guardian");
    let tools = ServiceTools { folder: home.join("keeper"), bus: SYSTEM_BUS.to_owned(), keeper };
    ServiceHand::new(inventory, &tools).unwrap()
}

fn age(path: &Path, days: u64) {
    // Not a whole second: nanoseconds have to come back as well.
    let then = SystemTime::now() - Duration::from_secs(days * DAY) - Duration::from_nanos(123_456);
    std::fs::File::open(path).unwrap().set_modified(then).unwrap();
}

/// What logs look like: much of the same.
fn log(size: usize) -> Vec<u8> {
    let lines = (0_u64..).flat_map(|line| format!("2026-01-01 GET /item/{} 200\n", line * 7_919).into_bytes());
    lines.take(size).collect()
}

/// What no compressor makes smaller.
fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

type Tree = BTreeMap<PathBuf, (Vec<u8>, u32, u32, u32, i64, i64)>;

/// Every file below, as it is known to its users.
fn tree(folder: &Path) -> Tree {
    let mut files = Tree::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let seen = std::fs::symlink_metadata(&path).unwrap();
        if seen.is_dir() {
            files.extend(tree(&path));
        } else if seen.is_file() {
            let facts = (seen.uid(), seen.gid(), seen.mode(), seen.mtime(), seen.mtime_nsec());
            let content = std::fs::read(&path).unwrap();
            files.insert(path, (content, facts.0, facts.1, facts.2, facts.3, facts.4));
        }
    }
    files
}

fn done(outcome: Outcome) -> Reclaimed {
    match outcome.into_reply() {
        Ok(Reply::Reclaimed(done)) => done,
        other => panic!("{other:?}"),
    }
}

fn code(outcome: Outcome) -> (ErrorCode, String) {
    let error = outcome.into_reply().unwrap_err();
    (error.code, error.message)
}

const BOTH: &str = "{ compress = 'app', match = '*.log.*', older_than = '1d' }, \
                    { trash = 'archive', match = '*', older_than = '2d' }";

/// Logs that compress, an archive that does not, with owners and modes of their own; and little room.
fn full(bench: &Bench) -> Tree {
    for (count, days) in [(1, 9), (2, 5), (3, 3)] {
        bench.file(&format!("app/deep/a.log.{count}"), &log(200_000), days);
        bench.file(&format!("archive/{count}.bin"), &noise(500_000), days);
    }
    let (mode, path) = (std::fs::Permissions::from_mode(0o640), bench.data().join("app/deep/a.log.1"));
    std::fs::set_permissions(&path, mode.clone()).unwrap();
    std::os::unix::fs::chown(&path, Some(4_242), Some(4_243)).unwrap();
    let path = bench.data().join("archive/1.bin");
    std::fs::set_permissions(&path, mode).unwrap();
    std::os::unix::fs::chown(&path, Some(4_244), Some(4_245)).unwrap();
    bench.file("app/young.log.1", &log(10_000), 0);
    bench.file("app/other", &log(10_000), 9);
    bench.fill(300_000);
    tree(&bench.data())
}

#[test]
fn a_full_disk_is_healed_and_put_back_byte_for_byte() {
    let Some(bench) = Bench::new("size=4m", BOTH) else { return };
    let before = full(&bench);
    let hand = bench.hand();
    let reading = hand.check(&logs(), soon());
    assert_eq!(reading.verdict, Verdict::Failed);
    assert!(reading.seen.ends_with("% of bytes free, 25% wanted"), "{}", reading.seen);
    let (undo, outcome) = bench.act(StorageVerb::Reclaim);
    let done = done(outcome);
    assert_eq!(done.steps, ["compress app/*.log.*", "trash archive/*"]);
    assert!(done.usage.enough && bench.usage().enough, "{done:?}");
    // The oldest first, and no more than needed: one of the archive is still there.
    assert!(!bench.data().join("archive/1.bin").exists() && bench.data().join("archive/3.bin").exists());
    assert!(bench.data().join("app/young.log.1").exists() && bench.data().join("app/other").exists());
    let zipped = std::fs::metadata(bench.data().join("app/deep/a.log.1.gz")).unwrap();
    assert_eq!((zipped.uid(), zipped.gid(), zipped.mode() & 0o7777), (4_242, 4_243, 0o640));
    assert_eq!(hand.check(&logs(), soon()).verdict, Verdict::Healthy);
    // A person finds the right thing in it.
    let gzip = Command::new("gzip").arg("-dc").arg(bench.data().join("app/deep/a.log.1.gz")).output().unwrap();
    assert_eq!(gzip.stdout, log(200_000));

    let undo = undo.unwrap();
    assert_eq!(bench.reconcile(Some(&undo)), Reconciled::Done);
    for _ in 0..2 {
        assert!(matches!(bench.put_back(&undo), Outcome::Done { .. }));
        assert!(tree(&bench.data()) == before, "not as it was");
        assert!(tree(&bench.trash()).is_empty());
    }
    assert_eq!(bench.reconcile(Some(&undo)), Reconciled::NotDone);
}

#[test]
fn where_enough_is_free_nothing_is_done() {
    let Some(bench) = Bench::new("size=4m", BOTH) else { return };
    bench.file("app/a.log.1", &log(100_000), 9);
    let (undo, outcome) = bench.act(StorageVerb::Reclaim);
    assert_eq!(undo, None);
    let done = done(outcome);
    assert_eq!((done.files, done.bytes, done.steps.len()), (0, 0, 0));
    assert!(bench.data().join("app/a.log.1").exists());
    assert_eq!(bench.reconcile(None), Reconciled::NotDone);
}

#[test]
fn a_purge_gives_inodes_back_and_compressing_is_not_tried_for_them() {
    let steps =
        "{ compress = '.', match = '*', older_than = '1d' }, { purge = 'cache', match = '*', older_than = '1d' }";
    let Some(bench) = Bench::new("size=16m,nr_inodes=200", steps) else { return };
    for count in 0..1_000_u64 {
        let path = bench.data().join(format!("cache/{count}"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if std::fs::write(&path, log(9_000)).is_err() {
            break;
        }
        age(&path, 2 + count);
    }
    assert_eq!(bench.usage().inodes_free, 0);
    let reading = bench.hand().check(&logs(), soon());
    assert!(reading.seen == "0.0% of inodes free, 25% wanted", "{}", reading.seen);
    let before = tree(&bench.data());
    assert_eq!(done(bench.act(StorageVerb::Reclaim).1).files, 0);
    assert!(tree(&bench.data()) == before);
    let (undo, outcome) = bench.act(StorageVerb::Purge);
    let done = done(outcome);
    assert!(undo.is_none() && done.usage.enough && done.steps == ["purge cache/*"], "{done:?}");
    assert_eq!(done.files, 50, "no more than needed");
    let purge = bench.hand().reconcile(StorageVerb::Purge, &logs(), None, soon());
    assert_eq!(purge, Reconciled::Unknown);
}

#[test]
fn a_plan_counts_a_file_once() {
    let steps = format!("{BOTH}, {{ purge = 'archive', match = '*', older_than = '1d' }}");
    let Some(bench) = Bench::new("size=4m", &steps) else { return };
    let before = full(&bench);
    let hand = bench.hand();
    let first = bench.prepare(StorageVerb::Reclaim);
    let (outcome, assumed) = hand.imagine(&first);
    let imagined = done(outcome);
    assert!(imagined.usage.assumed && imagined.usage.enough && imagined.files > 0, "{imagined:?}");
    let mut assumed = assumed.unwrap();
    assumed.usage.bytes_free = 0;
    let again = hand.imagine(&bench.prepare(StorageVerb::Purge).after(&assumed)).0;
    // Three in the archive; what the trash would have taken is not purged.
    let in_trash = imagined.files - 3;
    assert_eq!(done(again).files, 3 - in_trash);
    assert!(tree(&bench.data()) == before);
}

#[test]
fn a_plan_fits_the_journal_and_begins_with_the_oldest() {
    let steps = "{ trash = '.', match = '*', older_than = '1d' }";
    let Some(bench) = Bench::new("size=64m,nr_inodes=20000", steps) else { return };
    // Control characters are the longest that a path can get in JSON.
    let name = |count: u64| format!("{}{count}", "\u{1}".repeat(60));
    for count in 0..11_000 {
        std::fs::write(bench.data().join(name(count)), "").unwrap();
        age(&bench.data().join(name(count)), 2 + count % 9_000);
    }
    bench.fill(100_000);
    let prepared = bench.prepare(StorageVerb::Reclaim);
    let undo = prepared.undo().unwrap();
    let bytes = serde_json::to_vec(undo).unwrap().len();
    assert!(bytes <= 4 << 20, "{bytes} bytes of {} files", undo.items.len());
    assert!(undo.items.len() > 1_000 && undo.items[0].path == name(8_999), "{}", undo.items.len());
}

#[test]
fn a_full_inventory_is_touched_and_typed() {
    let steps = format!("{BOTH}, {{ purge = \"it's\", match = '*', older_than = '7d' }}");
    let Some(bench) = Bench::new("size=4m", &steps) else { return };
    let hand = bench.hand();
    let error = hand.touch(&logs()).unwrap_err().to_string();
    assert!(error.contains("data/app") && error.contains("not there"), "{error}");
    for folder in ["app", "archive", "it's"] {
        std::fs::create_dir(bench.data().join(folder)).unwrap();
    }
    assert!(hand.touch(&logs()).unwrap().ends_with("100.0% of bytes free; 3 steps"));
    for (verb, words) in [
        (StorageVerb::Usage, "df -h"),
        (StorageVerb::Reclaim, "-name '*.log.*' -mmin +1440 -links 1 ! -name '*.gz' -exec gzip {} +"),
        (StorageVerb::Reclaim, "-exec mv -n -t "),
        (StorageVerb::Purge, r"it'\''s' -xdev -maxdepth 9 -type f -name '*' -mmin +10080 -delete"),
    ] {
        let typed = hand.by_hand(verb, &logs()).unwrap();
        assert!(typed.contains(words), "{typed}");
    }
}
