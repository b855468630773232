//! What a table of storage may say, and each mistake with its line.

use super::*;
use crate::inventory::Configuration;

fn storage(keys: &str) -> Result<Storage, InventoryError> {
    let text = format!("[storage.logs]\n{keys}");
    let read = Configuration::parse(Path::new("guardian.toml"), &text)?;
    Ok(read.inventory.storages.into_values().next().unwrap())
}

#[test]
fn everything_has_a_default_but_the_path() {
    let read = storage("path = '/var/log/app'").unwrap();
    assert_eq!((read.free, read.inodes), (Share::Percent(10), Share::Percent(5)));
    assert_eq!((read.trash, read.steps.len(), read.unhealed), (None, 0, AfterFailure::Leave));
    let read = storage("path = '/srv'\nfree = '2GiB'\ninodes = '10000'").unwrap();
    assert_eq!((read.free, read.inodes), (Share::Exactly(2 << 30), Share::Exactly(10_000)));
}

#[test]
fn steps_are_taken_in_the_order_of_harm() {
    let read = storage(
        "path = '/var/log/app'\ntrash = '/srv/trash'\nsteps = [\n\
         { purge = 'cache', match = '*', older_than = '7d' },\n\
         { trash = 'archive', match = '*', older_than = '30d' },\n\
         { compress = 'b', match = '*.log.?', older_than = '1d' },\n\
         { holders = ['service.web'] },\n\
         { compress = '.', match = '*', older_than = '1m' } ]",
    )
    .unwrap();
    let files = |folder: &str, matching: &str, seconds| Files {
        folder: folder.into(),
        matching: matching.to_owned(),
        older_than: Duration::from_secs(seconds),
    };
    assert_eq!(
        read.steps,
        [
            Step::Compress(files("b", "*.log.?", 86_400)),
            Step::Compress(files(".", "*", 60)),
            Step::Holders(vec!["web".parse().unwrap()]),
            Step::Trash(files("archive", "*", 30 * 86_400)),
            Step::Purge(files("cache", "*", 7 * 86_400)),
        ]
    );
}

#[test]
fn a_share_is_of_what_there_is() {
    assert_eq!(Share::Percent(10).of(1_000), 100);
    assert_eq!(Share::Percent(90).of(u64::MAX), u64::MAX / 100 * 90);
    assert_eq!(Share::Exactly(7).of(3), 7);
}

#[test]
fn each_mistake_is_named() {
    let step = |keys: &str| format!("path = '/var/log'\nsteps = [\n{{ {keys} }} ]");
    let cases = [
        ("path = 'log'".to_owned(), 2, "absolute"),
        ("path = '/var/../log'".to_owned(), 2, "`..`"),
        ("path = '/var/./log'".to_owned(), 2, "`..`"),
        ("path = '/var/log'\nfree = '10'".to_owned(), 3, "500MiB"),
        ("path = '/var/log'\nfree = '10GB'".to_owned(), 3, "500MiB"),
        ("path = '/var/log'\nfree = '-1%'".to_owned(), 3, "500MiB"),
        ("path = '/var/log'\nfree = '+1%'".to_owned(), 3, "500MiB"),
        ("path = '/var/log'\nfree = '91%'".to_owned(), 3, "at most 90%"),
        ("path = '/var/log'\ninodes = '5MiB'".to_owned(), 3, "10000"),
        ("path = '/var/log'\ntrash = '/var/log/trash'".to_owned(), 3, "another file system"),
        ("path = '/var/log'\ntrash = '/var'".to_owned(), 3, "another file system"),
        ("path = '/var/log'\ntrash = 'trash'".to_owned(), 3, "absolute"),
        ("path = '/var/log'\nfre = '1%'".to_owned(), 3, "did you mean `free`"),
        (step("compress = '.', purge = '.', match = '*', older_than = '1d'"), 4, "exactly one"),
        (step("match = '*', older_than = '1d'"), 4, "exactly one"),
        (step("compress = '/etc', match = '*', older_than = '1d'"), 4, "below `path`"),
        (step("compress = '../etc', match = '*', older_than = '1d'"), 4, "below `path`"),
        (step("purge = 'a/../../etc', match = '*', older_than = '1d'"), 4, "below `path`"),
        (step("purge = './a', match = '*', older_than = '1d'"), 4, "below `path`"),
        (step("purge = '', match = '*', older_than = '1d'"), 4, "below `path`"),
        (step("purge = '.', match = 'a/b', older_than = '1d'"), 4, "own name"),
        (step("purge = '.', match = '[ab]', older_than = '1d'"), 4, "own name"),
        (step("purge = '.', older_than = '1d'"), 4, "needs `match`"),
        (step("purge = '.', match = '*'"), 4, "needs `older_than`"),
        (step("purge = '.', match = '*', older_than = '59s'"), 4, "at least 1m"),
        (step("purge = '.', match = '*', older_than = '1'"), 4, "unit"),
        (step("trash = '.', match = '*', older_than = '1d'"), 4, "needs `trash"),
        (step("holders = []"), 4, "at least one"),
        (step("holders = ['storage.logs']"), 4, "names services"),
        (step("holders = ['service.web'], match = '*'"), 4, "for files"),
        (step("shred = '.'"), 4, "unknown key"),
    ];
    for (keys, line, words) in cases {
        match storage(&keys).unwrap_err() {
            InventoryError::Content { line: found, problem, .. } => {
                assert!(problem.contains(words) && !problem.contains('\n'), "{keys}: {problem}");
                assert_eq!(found, line, "{keys}: {problem}");
            }
            other => panic!("{other}"),
        }
    }
}
