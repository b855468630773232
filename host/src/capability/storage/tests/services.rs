//! Deleted files that a real service holds. The keeper is the program `guardian` beside this test: `cargo build -p guardian`.

use super::*;

#[test]
fn a_deleted_file_is_closed_by_a_reload() {
    let Some(bench) = Bench::new("size=4m", "") else { return };
    let file = bench.data().join("held.log");
    // Opens its log anew on SIGHUP, as services do.
    let script = format!(
        "trap 'exec 3>>{0}; echo again >&3' HUP; exec 3>>{0}; head -c 3500000 /dev/zero >&3; rm {0}; \
         echo ready > {1}; while :; do sleep 0.05; done",
        file.display(),
        bench.home.path().join("ready").display()
    );
    let text = format!(
        "{}\n[service.web]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\nreload_signal = 'SIGHUP'\nenvironment = {{ PATH = '/usr/bin:/bin' }}\n",
        text(bench.home.path(), "{ holders = ['service.web'] }")
    );
    let hand = hand_of(bench.home.path(), &text);
    let web: Name = "web".parse().unwrap();
    hand.services.by_person(ServiceVerb::Start, &web, soon()).unwrap();
    let ready = bench.home.path().join("ready");
    while !ready.exists() {
        assert!(soon().pause(Duration::from_millis(10)));
    }
    assert!(!hand.services.processes(&web, soon()).is_empty());
    assert!(!bench.usage().enough);
    let imagined = hand.imagine(&hand.prepare(StorageVerb::Reclaim, &logs(), soon()).unwrap()).0;
    assert!(done(imagined).usage.enough);
    let prepared = hand.prepare(StorageVerb::Reclaim, &logs(), soon()).unwrap();
    assert!(prepared.undo().is_none());
    let reclaimed = done(hand.perform(prepared, soon()));
    hand.services.by_person(ServiceVerb::Stop, &web, soon()).unwrap();
    assert_eq!((reclaimed.steps, reclaimed.files), (vec!["holders service.web".to_owned()], 1));
    assert!(reclaimed.usage.enough && reclaimed.bytes >= 3_500_000, "{:?}", reclaimed.usage);
    let unknown = hand.reconcile(StorageVerb::Reclaim, &logs(), None, soon());
    assert_eq!(unknown, Reconciled::Unknown);
}
