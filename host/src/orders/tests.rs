//! What stands is seen by the next look, and two writers lose nobody's word.

#![allow(clippy::disallowed_methods, reason = "folders come and go as under the hands of other processes")]

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

fn pause(until: u64) -> Given {
    Given {
        what: Order::Pause { resource: "service.web".parse().unwrap() },
        at: Timestamp::from_millis(1_000),
        until: Timestamp::from_millis(until),
        reason: "a deployment".to_owned(),
        by: Actor { uid: 0, login_uid: None },
    }
}

fn below(home: &tempfile::TempDir) -> Orders {
    Orders::below(Folder::open(home.path()).unwrap())
}

fn orders() -> (tempfile::TempDir, Orders) {
    let home = tempfile::tempdir().unwrap();
    let orders = below(&home);
    (home, orders)
}

fn give(orders: &Orders, given: &Given) {
    orders.change().unwrap().give(given).unwrap();
}

fn stops(orders: &Orders, resource: &str, now: u64) -> Option<Stopped> {
    let now = Timestamp::from_millis(now);
    let target = "service.web".parse().unwrap();
    orders.standing(now).stops(&resource.parse().unwrap(), &target, now)
}

/// The machine's clock, because the folder's time is the machine's.
fn now() -> u64 {
    u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

#[test]
fn an_order_is_seen_by_the_next_look_and_ends_by_itself() {
    let (_home, orders) = orders();
    let now = now();
    for round in 0..50 {
        assert!(stops(&orders, "config.site", now).is_none(), "{round}");
        give(&orders, &pause(now + 60_000));
        assert!(stops(&orders, "config.site", now).is_some(), "it belongs to the target that is paused, round {round}");
        assert!(stops(&orders, "config.site", now + 60_000).is_none(), "it has ended");
        give(&orders, &pause(0));
    }
}

#[test]
fn an_order_that_cannot_be_read_stops_everything() {
    let (_home, orders) = orders();
    orders.place.as_ref().unwrap().state.make_sub(FOLDER).unwrap().create("freeze.json", b"{").unwrap();
    let now = Timestamp::from_millis(1);
    let standing = orders.standing(now);
    let resource = "service.db".parse().unwrap();
    assert!(matches!(standing.stops(&resource, &resource, now), Some(Stopped::Doubt(_))));
}

/// Each way in which the folder of orders can go away under a process that goes on, with what mends it.
#[test]
fn a_folder_that_is_gone_or_another_one_stops_everything_until_it_is_back() {
    type Way = fn(&std::path::Path);
    let ways: [(&str, Way, Way); 4] = [
        (
            "removed",
            |home| std::fs::rename(home.join("orders"), home.join("away")).unwrap(),
            |home| std::fs::rename(home.join("away"), home.join("orders")).unwrap(),
        ),
        (
            "replaced",
            |home| {
                std::fs::rename(home.join("orders"), home.join("away")).unwrap();
                std::fs::create_dir(home.join("orders")).unwrap();
            },
            |home| {
                std::fs::remove_dir(home.join("orders")).unwrap();
                std::fs::rename(home.join("away"), home.join("orders")).unwrap();
            },
        ),
        ("writable by others", |home| mode(&home.join("orders"), 0o777), |home| mode(&home.join("orders"), 0o700)),
        (
            "with all of the state",
            |home| {
                std::fs::rename(home, home.with_extension("away")).unwrap();
                std::fs::create_dir(home).unwrap();
            },
            |home| {
                std::fs::remove_dir(home).unwrap();
                std::fs::rename(home.with_extension("away"), home).unwrap();
            },
        ),
    ];
    for (word, goes, comes_back) in ways {
        let (home, orders) = orders();
        give(&orders, &pause(now() + 60_000));
        assert!(matches!(stops(&orders, "service.web", now()), Some(Stopped::By(_))), "{word}");
        assert!(!stopped(&orders, "service.db"), "{word}");
        goes(home.path());
        for _ in 0..2 {
            assert!(matches!(stops(&orders, "service.web", now()), Some(Stopped::Doubt(_))), "{word}");
            assert!(stopped(&orders, "service.db"), "{word}: everything stands still");
        }
        comes_back(home.path());
        assert!(matches!(stops(&orders, "service.web", now()), Some(Stopped::By(_))), "{word}: it is back");
        assert!(!stopped(&orders, "service.db"), "{word}: it is back");
    }
}

fn mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn stopped(orders: &Orders, resource: &str) -> bool {
    let now = Timestamp::from_millis(now());
    let resource = resource.parse().unwrap();
    orders.standing(now).stops(&resource, &resource, now).is_some()
}

#[test]
fn what_has_ended_is_cleared_and_what_was_ordered_anew_is_not() {
    let (home, orders) = orders();
    let (old, new) = (pause(0), pause(now() + 60_000));
    give(&orders, &old);
    orders.clear(&old).unwrap();
    assert_eq!(orders.change().unwrap().standing(&old.what), Ok(None));
    // The writer of the trail has read the old one; before it clears that away, another process orders anew.
    give(&orders, &old);
    give(&below(&home), &new);
    orders.clear(&old).unwrap();
    assert_eq!(orders.change().unwrap().standing(&old.what), Ok(Some(new)));
    // While somebody changes orders a run does not wait, and clears nothing.
    give(&orders, &old);
    let change = below(&home).change().unwrap();
    orders.clear(&old).unwrap();
    assert_eq!(change.standing(&old.what).as_ref(), Ok(&Some(old.clone())));
    drop(change);
    orders.clear(&old).unwrap();
    assert_eq!(orders.change().unwrap().standing(&old.what), Ok(None));
}

#[test]
fn of_those_who_change_orders_each_sees_what_the_one_before_left() {
    let (home, _) = orders();
    let most = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let change = below(&home).change().unwrap();
                    let until = change.standing(&pause(0).what).unwrap().map_or(0, |given| given.until.millis());
                    most.fetch_max(until + 1, Ordering::SeqCst);
                    change.give(&pause(until + 1)).unwrap();
                }
            });
        }
    });
    assert_eq!(most.into_inner(), 100, "nobody's change was lost");
}

#[test]
fn a_change_of_a_folder_that_was_replaced_is_made_in_the_one_that_is_there() {
    let (home, orders) = orders();
    give(&orders, &pause(1));
    let old = orders.change().unwrap();
    std::fs::remove_file(home.path().join("orders/pause.service.web.json")).unwrap();
    std::fs::remove_dir(home.path().join("orders")).unwrap();
    let new = below(&home).change().unwrap();
    new.give(&pause(2)).unwrap();
    drop(old);
    assert_eq!(new.standing(&pause(0).what), Ok(Some(pause(2))));
}
